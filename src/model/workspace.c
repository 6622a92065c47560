/* Working memory of a session: sized first, told, then taken once in one block. */
#include "model/model.h"

#include <string.h>

enum { LOGIT_ROWS = 64 };

static int64_t widest_input(const struct model_desc *d)
{
    return MAX(MAX(d->d_model, d->d_ff), d->n_heads * d->head_dim);
}

static void lay_out(struct workspace *w, struct layout *l, const struct snellen_model *model,
                    const struct workspace_shape *shape)
{
    const struct model_desc *d = &model->desc;
    int64_t rows = shape->rows, width_q = d->n_heads * d->head_dim, width_kv = d->n_kv_heads * d->head_dim;
    bool rotary = model->desc.positions == POSITION_ROTARY, local = rotary && d->window > 0;
    int64_t turns = model->rope.half * 2;
    struct attn_shape attn = {.n_heads = d->n_heads, .n_kv_heads = d->n_kv_heads, .head_dim = d->head_dim,
                              .kv_type = shape->kv_type};

    w->rows = rows;
    w->round = shape->round;
    w->kv_type = shape->kv_type;
    w->exact = shape->exact;
    w->temper = shape->temper;
    w->logit_rows = MIN(rows, LOGIT_ROWS);
    w->max_spans = shape->branches ? (size_t)rows * 2 : MEMORY_MAX_SPANS;
    w->max_spans = MAX(w->max_spans, (size_t)shape->lanes * MEMORY_MAX_SPANS);
    w->x = layout_rows(l, rows, d->d_model);
    w->h = layout_rows(l, rows, d->d_model);
    w->a = layout_rows(l, rows, d->d_model);
    w->picked = layout_rows(l, rows, d->d_model);
    w->q = layout_rows(l, rows, width_q);
    w->mix = layout_rows(l, rows, width_q);
    w->q_shifted = rotary && shape->shifts ? layout_rows(l, rows, width_q) : NULL;
    w->k = layout_rows(l, rows, width_kv);
    w->v = layout_rows(l, rows, width_kv);
    w->up = layout_rows(l, rows, d->d_ff);
    w->gate = model->arch->gated ? layout_rows(l, rows, d->d_ff) : NULL;
    w->turns = rotary ? layout_rows(l, rows, turns) : NULL;
    w->turns_local = local ? layout_rows(l, rows, turns) : NULL;
    w->turns_shifted = rotary && shape->shifts ? layout_rows(l, rows, turns) : NULL;
    w->turns_shifted_local = local && shape->shifts ? layout_rows(l, rows, turns) : NULL;
    w->logits = layout_rows(l, w->logit_rows, d->n_vocab);
    w->low = model->lora_rank ? layout_rows(l, rows, model->lora_rank) : NULL;
    w->sharpness = shape->temper.on ? layout_rows(l, rows, 1) : NULL;
    w->positions = layout_place(l, (uint64_t)rows, sizeof *w->positions);
    w->row_positions = layout_place(l, (uint64_t)rows, sizeof *w->row_positions);
    w->spans = layout_place(l, w->max_spans, sizeof *w->spans);
    w->scratch_bytes = shape->exact ? matmul_exact_scratch_bytes(shape->n_threads)
                                    : matmul_scratch_bytes(rows, widest_input(d), shape->n_threads);
    w->scratch_bytes = MAX(w->scratch_bytes, attention_scratch_bytes(&attn, shape->n_threads));
    w->scratch = layout_place(l, w->scratch_bytes, 1);
}

bool workspace_bytes(const struct snellen_model *model, const struct workspace_shape *shape, uint64_t *bytes)
{
    struct workspace unplaced;
    struct layout l = {0};
    lay_out(&unplaced, &l, model, shape);
    *bytes = l.used;
    return !l.overflow;
}

snellen_status workspace_init(struct workspace *w, const struct snellen_model *model, const struct workspace_shape *shape,
                              snellen_error *err)
{
    uint64_t bytes;
    memset(w, 0, sizeof *w);
    FAIL_IF(!workspace_bytes(model, shape, &bytes), SNELLEN_E_MEMORY,
            "working memory for %lld rows is more than any machine holds", (long long)shape->rows);
    char *block = NULL;
    TRY(NEW_ARRAY(&block, bytes, "working memory", err));
    struct layout l = {.block = block};
    lay_out(w, &l, model, shape);
    w->block = block;
    return SNELLEN_OK;
}

void workspace_free(struct workspace *w)
{
    mem_free(w->block);
    memset(w, 0, sizeof *w);
}
