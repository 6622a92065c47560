/* What holds for the tensors of any container: sizes follow from type and shape without overflow, no byte belongs to
 * two tensors. */
#include "format/inner.h"

#include <stdlib.h>

snellen_status tensor_measure(struct tensor *t, const char *file, snellen_error *err)
{
    FAIL_IF(t->n_dims < 1 || t->n_dims > 4, SNELLEN_E_FORMAT, "%s: tensor '%s': %d dimensions, 1 to 4 expected", file,
            t->name, t->n_dims);
    uint64_t rows = 1, elements;
    for (int i = 0; i < t->n_dims; i++) {
        FAIL_IF(t->shape[i] < 1, SNELLEN_E_FORMAT, "%s: tensor '%s': dimension %d is %lld, at least 1 expected", file,
                t->name, i, (long long)t->shape[i]);
        bool fits = i == t->n_dims - 1 || size_mul(rows, (uint64_t)t->shape[i], &rows);
        FAIL_IF(!fits, SNELLEN_E_FORMAT, "%s: tensor '%s': its dimensions multiply to more than 64 bits hold", file,
                t->name);
    }
    int64_t row = t->shape[t->n_dims - 1], row_bytes = dtype_row_bytes(t->type, row);
    const struct dtype_info *info = &dtype_infos[t->type];
    FAIL_IF(row % info->block, SNELLEN_E_FORMAT,
            "%s: tensor '%s': rows of %lld elements, whole blocks of %lld expected for %s", file, t->name, (long long)row, (long long)info->block, info->name);
    bool fits = row_bytes > 0 && size_mul(rows, (uint64_t)row, &elements) && elements <= INT64_MAX &&
                size_mul(rows, (uint64_t)row_bytes, &t->n_bytes) && t->n_bytes <= INT64_MAX;
    FAIL_IF(!fits, SNELLEN_E_FORMAT, "%s: tensor '%s': its dimensions multiply to more than 64 bits hold", file,
            t->name);
    return SNELLEN_OK;
}

static int extent_order(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

snellen_status extents_check(struct extent *extents, size_t n, const char *file, snellen_error *err)
{
    qsort(extents, n, sizeof *extents, extent_order);
    for (size_t i = 1; i < n; i++)
        if (extents[i].begin < extents[i - 1].end)
            return error_at(err, SNELLEN_E_FORMAT, extents[i].begin,
                            "%s: tensor '%s': data begins at byte %llu, inside that of tensor '%s', which ends at %llu",
                            file, extents[i].name, (unsigned long long)extents[i].begin, extents[i - 1].name,
                            (unsigned long long)extents[i - 1].end);
    return SNELLEN_OK;
}
