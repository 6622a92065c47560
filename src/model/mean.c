/* The mean of the weights of several models that were trained on from one: where each has mistakes of its own, the mean
 * often has neither's (stochastic weight averaging, arXiv 1803.05407; model soups, arXiv 2203.05482). */
#include "model/grad.h"

#include <string.h>

static snellen_status another_shape(const snellen_model *model, const snellen_model *other, const char *what,
                                    snellen_error *err)
{
    FAIL(SNELLEN_E_USAGE, "%s: its %s is not that of %s; a mean is of models of one shape", other->file->path, what,
         model->file->path);
}

static bool same_memory(const snellen_model_memory *a, const snellen_model_memory *b)
{
    return a->kind == b->kind && a->block == b->block && a->segments == b->segments && a->window == b->window &&
           a->fam == b->fam && a->fam_blocks == b->fam_blocks && a->fam_positions == b->fam_positions &&
           !a->prompt == !b->prompt && a->prompt_rows == b->prompt_rows;
}

static snellen_status same_shape(const snellen_model *model, const snellen_model *other, snellen_error *err)
{
    struct weight_entry a, b;
    size_t i = 0, j = 0;
    const struct model_desc *d = &model->desc, *e = &other->desc;
    if (strcmp(d->arch, e->arch)) return another_shape(model, other, "architecture", err);
    if (d->n_heads != e->n_heads || d->n_kv_heads != e->n_kv_heads)
        return another_shape(model, other, "number of heads", err);
    for (;;) {
        bool one = weights_next(model, &i, &a), two = weights_next(other, &j, &b);
        if (one != two) return another_shape(model, other, "list of tensors", err);
        if (!one) break;
        if (strcmp(a.name, b.name) || a.n_dims != b.n_dims || memcmp(a.shape, b.shape, sizeof a.shape))
            return another_shape(model, other, b.name, err);
    }
    if (!same_memory(&model->memory, &other->memory)) return another_shape(model, other, "memory", err);
    return SNELLEN_OK;
}

/* sum += the weights of `other`, in the order of the list; its prompt is the last. row: as long as the longest one. */
static void add_weights(const struct params *params, const snellen_model *other, float *row)
{
    struct weight_entry e;
    size_t n = 0;
    for (size_t i = 0; weights_next(other, &i, &e); n++)
        for (int64_t r = 0; r < e.weight.n_out; r++) {
            weight_row(row, &e.weight, r);
            for (int64_t j = 0; j < e.weight.n_in; j++) params->list[n].value[r * e.weight.n_in + j] += row[j];
        }
    for (uint64_t j = 0; n < params->n && j < params->list[n].n; j++) params->list[n].value[j] += other->memory.prompt[j];
}

snellen_status snellen_model_mean(snellen_model *model, const snellen_model *const *others, size_t n, snellen_error *err)
{
    struct params *params;
    struct weight_entry e;
    int64_t longest = 1;
    float *row;
    for (size_t i = 0; i < n; i++) TRY(same_shape(model, others[i], err));
    for (size_t i = 0; weights_next(model, &i, &e);) longest = MAX(longest, e.weight.n_in);
    TRY(NEW_ARRAY(&row, (uint64_t)longest, "a row of weights", err));
    snellen_status status = params_full(model, &params, err);
    for (size_t i = 0; i < n && !status; i++) add_weights(params, others[i], row);
    for (uint64_t i = 0; !status && i < params->n_values; i++) params->values[i] /= (float)(n + 1);
    mem_free(row);
    return status;
}
