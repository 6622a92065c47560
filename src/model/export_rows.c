/* Rows of an exported tensor: found in the model, put in the container's order, and rounded to the type that is wanted.
 * Rows whose type stays pass as bytes. */
#include "model/export.h"

#include <string.h>

/* ---- where a row comes from -------------------------------------------------------------------------------------- */

/* Row r of `t` as a row of one of its parts; false for a row of zeros. */
static bool locate(const struct snellen_model *model, const struct export_tensor *t, int64_t r,
                   const struct weight **part, int64_t *row)
{
    *part = &t->parts[0];
    *row = r;
    int64_t width = model->desc.head_dim, turning = model->rope.half * 2, in_head = r % MAX(width, 1);
    switch (t->order) {
    case ROWS_PAIRED:
        if (in_head < turning) *row += in_head / 2 + in_head % 2 * model->rope.half - in_head;
        return true;
    case ROWS_UNPAIRED:
        if (in_head < turning) *row += in_head % model->rope.half * 2 + in_head / model->rope.half - in_head;
        return true;
    case ROWS_WOVEN:
        *part = &t->parts[r / width % 3];
        *row = r / (3 * width) * width + in_head;
        return true;
    case ROWS_AFTER_TWO:
        *row = r - 2;
        return r >= 2;
    default:
        for (int i = 0; i < t->n_parts - 1 && *row >= (*part)->n_out; i++) *row -= (*part)++->n_out;
        return true;
    }
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void position_row(const struct snellen_model *model, float *y, int64_t position)
{
    if (position >= 0 && positions_added(model))
        position_vector(model, y, position);
    else
        memset(y, 0, (size_t)model->desc.d_model * sizeof *y);
}

static void row_values(const struct snellen_model *model, const struct export_tensor *t, int64_t r, float *y)
{
    int64_t n = t->out.shape[1], row;
    const struct weight *part;
    if (t->order == ROWS_POSITIONS || t->order == ROWS_POSITIONS_AFTER_TWO) {
        position_row(model, y, t->order == ROWS_POSITIONS ? r : r - 2);
        return;
    }
    if (locate(model, t, r, &part, &row))
        weight_row(y, part, row);
    else
        memset(y, 0, (size_t)n * sizeof *y);
    for (int64_t i = 0; i < n && t->minus_one; i++) y[i] -= 1;
}

/* Columns [row0, row0 + n) of the parts, which stand above each other, as rows y [n, all their rows]; `scratch` holds
 * one row of theirs. */
static void column_values(const struct export_tensor *t, int64_t row0, int64_t n, float *y, float *scratch)
{
    int64_t at = 0, height = t->out.shape[1];
    for (int i = 0; i < t->n_parts; i++)
        for (int64_t j = 0; j < t->parts[i].n_out; j++, at++) {
            weight_row(scratch, &t->parts[i], j);
            for (int64_t k = 0; k < n; k++) y[k * height + at] = scratch[row0 + k];
        }
}

static bool passes_as_bytes(const struct export_tensor *t)
{
    return t->parts[0].type == t->out.type && !t->minus_one && t->order != ROWS_COLUMNS && t->order != ROWS_POSITIONS &&
           t->order != ROWS_POSITIONS_AFTER_TWO;
}

int64_t export_scratch(const struct export_tensor *t, int64_t n)
{
    return n * t->out.shape[1] + t->parts[0].n_in;
}

snellen_status export_rows(const struct snellen_model *model, const struct export_tensor *t, int64_t row0, int64_t n,
                           void *rows, float *scratch, snellen_error *err)
{
    int64_t width = t->out.shape[1], row_bytes = dtype_row_bytes(t->out.type, width);
    bool bytes = passes_as_bytes(t), good = true;
    if (t->order == ROWS_COLUMNS) column_values(t, row0, n, scratch, scratch + n * width);
#pragma omp parallel for reduction(&& : good)
    for (int64_t i = 0; i < n; i++) {
        char *to = (char *)rows + i * row_bytes;
        const struct weight *part;
        int64_t row;
        if (bytes) {
            if (locate(model, t, row0 + i, &part, &row))
                memcpy(to, (const char *)part->data + row * row_bytes, (size_t)row_bytes);
            else
                memset(to, 0, (size_t)row_bytes);
            continue;
        }
        float *values = scratch + i * width;
        if (t->order != ROWS_COLUMNS) row_values(model, t, row0 + i, values);
        good = quantise_row(t->out.type, to, values, width) && good;
    }
    FAIL_IF(!good, SNELLEN_E_OVERFLOW, "tensor '%s': a value does not fit %s (not finite, or too large); f32 or bf16 "
            "may hold it", t->out.name, dtype_infos[t->out.type].name);
    return SNELLEN_OK;
}
