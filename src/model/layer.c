/* One layer of every supported architecture:
 *
 *     a = W_o attention(rope(norm_q(W_q h)), rope(norm_k(W_k h)), W_v h),   h = norm(x)
 *     x = x + post(a);  x = x + post(ffn(norm(x)))                          serial residual
 *     x = x + a + ffn(norm'(x))                                             parallel residual (GPT-NeoX)
 *
 * What a model does not have (q and k norms, post norms, biases, turns) is absent from its weights and skipped. Every
 * result is rounded to the session's precision, which is no operation in f32. */
#include "model/model.h"

#include <string.h>

/* ---- pieces --------------------------------------------------------------------------------------------------------- */

void norm_forward(const struct snellen_model *model, const struct norm *norm, float *y, const float *x, int64_t n_rows,
                  int64_t n, const struct workspace *w)
{
    float eps = (float)model->desc.norm_eps;
    if (model->arch->norm == NORM_RMS)
        rms_norm(y, x, norm->weight, eps, n_rows, n);
    else
        layer_norm(y, x, norm->weight, norm->bias, eps, n_rows, n);
    round_to(y, w->rounding, n_rows * n);
}

/* y += scale (x A^T) B^T */
static void lora_forward(const struct linear *linear, float *y, const float *x, int64_t n_rows, float *low)
{
    const struct lora *lora = linear->lora;
    gemm(low, false, x, false, lora->a, true, n_rows, lora->rank, linear->weight.n_in);
    scale_by(low, lora->scale, n_rows * lora->rank);
    gemm(y, true, low, false, lora->b, true, n_rows, linear->weight.n_out, lora->rank);
}

void linear_forward(const struct linear *linear, float *y, const float *x, int64_t n_rows, const struct workspace *w)
{
    (w->exact ? matmul_exact : matmul)(y, x, n_rows, &linear->weight, w->scratch, w->scratch_bytes);
    if (linear->lora) lora_forward(linear, y, x, n_rows, w->low);
    if (linear->bias) add_bias(y, linear->bias, n_rows, linear->weight.n_out);
    round_to(y, w->rounding, n_rows * linear->weight.n_out);
}

/* x += y, the residual stream */
static void residual(struct workspace *w, const float *y, int64_t n)
{
    add_to(w->x, y, n);
    round_to(w->x, w->rounding, n);
}

static void turn(const struct snellen_model *model, const struct rope *rope, const struct workspace *w, float *rows,
                 const float *turns, int64_t n_rows, int64_t n_heads)
{
    rope_apply(rows, turns, n_rows, n_heads, model->desc.head_dim, rope->half, model->desc.rope_interleaved);
    round_to(rows, w->rounding, n_rows * n_heads * model->desc.head_dim);
}

/* ---- attention ------------------------------------------------------------------------------------------------------- */

/* q, k and v of the normed rows in w->h, not turned yet. */
static void project_qkv(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n)
{
    const struct model_desc *d = &model->desc;
    const struct layer_weights *lw = &model->layers[layer];
    linear_forward(&lw->q, w->q, w->h, n, w);
    linear_forward(&lw->k, w->k, w->h, n, w);
    linear_forward(&lw->v, w->v, w->h, n, w);
    if (lw->q_norm.weight) norm_forward(model, &lw->q_norm, w->q, w->q, n * d->n_heads, d->head_dim, w);
    if (lw->k_norm.weight) norm_forward(model, &lw->k_norm, w->k, w->k, n * d->n_kv_heads, d->head_dim, w);
}

/* To the rows' positions. Queries for spans whose positions have shifted (sink) are turned a second time, into
 * w->q_shifted. */
static void turn_qk(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, bool shifted)
{
    const struct model_desc *d = &model->desc;
    if (d->positions != POSITION_ROTARY) return;
    bool local = model_layer_windowed(model, layer);
    const struct rope *rope = local ? &model->rope_local : &model->rope;
    if (shifted) {
        memcpy(w->q_shifted, w->q, (size_t)(n * d->n_heads * d->head_dim) * sizeof(float));
        turn(model, rope, w, w->q_shifted, local ? w->turns_shifted_local : w->turns_shifted, n, d->n_heads);
    }
    const float *turns = local ? w->turns_local : w->turns;
    turn(model, rope, w, w->q, turns, n, d->n_heads);
    turn(model, rope, w, w->k, turns, n, d->n_kv_heads);
}

/* Scores are linear in the query, so that its factor is theirs; ALiBi's slopes get it in attention. */
static void sharpen_queries(const struct workspace *w, float *q, int64_t n_rows, int64_t width)
{
    for (int64_t i = 0; i < n_rows; i++) scale_by(q + i * width, w->sharpness[i], width);
    round_to(q, w->rounding, n_rows * width);
}

/* w->mix = what the queries in w->q get from the spans */
static void mix_spans(const struct snellen_model *model, int64_t layer, struct workspace *w, const struct batch *batch,
                      size_t n_spans)
{
    const struct model_desc *d = &model->desc;
    int64_t n = batch->n_rows, width = d->n_heads * d->head_dim;
    if (w->sharpness) sharpen_queries(w, w->q, n, width);
    struct attn_shape shape = {
        .n_heads = d->n_heads, .n_kv_heads = d->n_kv_heads, .head_dim = d->head_dim,
        .scale = (float)d->attn_scale, .soft_cap = (float)d->attn_soft_cap, .alibi = model->alibi,
        .slope_factors = w->sharpness,
        .kv_type = w->kv_type,
    };
    if (w->watch) w->watch->see(w->watch, layer, w->q, batch, w->spans, n_spans, &shape);
    attention(w->mix, w->q, batch->positions, n, w->spans, n_spans, &shape, w->scratch, w->scratch_bytes);
    round_to(w->mix, w->rounding, n * width);
}

static void attend(const struct snellen_model *model, int64_t layer, struct workspace *w, const struct batch *batch,
                   struct memory *memory)
{
    int64_t n = batch->n_rows;
    const int64_t *shifted = memory->ops->query_positions(memory);
    project_qkv(model, layer, w, n);
    turn_qk(model, layer, w, n, shifted != NULL);
    memory->ops->store(memory, layer, w->k, w->v);
    size_t n_spans = memory->ops->spans(memory, layer, w->spans);
    for (size_t i = 0; i < n_spans; i++)
        if (w->spans[i].q_positions) w->spans[i].q = w->q_shifted; /* NULL without turns: the rows' own queries */
    if (w->sharpness && shifted && w->q_shifted)
        sharpen_queries(w, w->q_shifted, n, model->desc.n_heads * model->desc.head_dim);
    mix_spans(model, layer, w, batch, n_spans);
}

/* ---- feed-forward ------------------------------------------------------------------------------------------------------ */

/* h = W_down (act(W_gate h) * W_up h), or h = W_down act(W_up h) */
static void feed_forward(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n)
{
    const struct layer_weights *lw = &model->layers[layer];
    int64_t n_ff = n * model->desc.d_ff;
    linear_forward(&lw->up, w->up, w->h, n, w);
    float *mixed = w->up;
    if (model->arch->gated) {
        linear_forward(&lw->gate, w->gate, w->h, n, w);
        activate_gated(w->gate, w->up, model->desc.activation, n_ff);
        mixed = w->gate;
    } else {
        activate(w->up, model->desc.activation, n_ff);
    }
    round_to(mixed, w->rounding, n_ff);
    linear_forward(&lw->down, w->h, mixed, n, w);
}

/* ---- the layer ----------------------------------------------------------------------------------------------------------- */

/* From attention's result in w->mix to the layer's: x = x + .., or without the rows' own x: x = 0 + .. */
static void finish(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, bool with_x)
{
    const struct layer_weights *lw = &model->layers[layer];
    int64_t d = model->desc.d_model;
    bool parallel = model->desc.parallel_residual;

    linear_forward(&lw->output, w->a, w->mix, n, w);
    if (lw->post_attn_norm.weight) norm_forward(model, &lw->post_attn_norm, w->a, w->a, n, d, w);
    if (parallel) norm_forward(model, &lw->ffn_norm, w->h, w->x, n, d, w);
    if (!with_x) memset(w->x, 0, (size_t)(n * d) * sizeof *w->x);
    residual(w, w->a, n * d);

    if (!parallel) norm_forward(model, &lw->ffn_norm, w->h, w->x, n, d, w);
    feed_forward(model, layer, w, n);
    if (lw->post_ffn_norm.weight) norm_forward(model, &lw->post_ffn_norm, w->h, w->h, n, d, w);
    residual(w, w->h, n * d);
}

void layer_forward(const struct snellen_model *model, int64_t layer, struct workspace *w, const struct batch *batch,
                   struct memory *memory)
{
    norm_forward(model, &model->layers[layer].attn_norm, w->h, w->x, batch->n_rows, model->desc.d_model, w);
    attend(model, layer, w, batch, memory);
    finish(model, layer, w, batch->n_rows, true);
}

/* ---- a memory's own rows ------------------------------------------------------------------------------------------------- */

void layer_project(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, float *queries)
{
    norm_forward(model, &model->layers[layer].attn_norm, w->h, w->x, n, model->desc.d_model, w);
    project_qkv(model, layer, w, n);
    memcpy(queries, w->q, (size_t)(n * model->desc.n_heads * model->desc.head_dim) * sizeof *queries);
    turn_qk(model, layer, w, n, false);
}

void layer_attend(const struct snellen_model *model, int64_t layer, struct workspace *w, const struct batch *rows,
                  const float *queries, size_t n_spans, bool with_x)
{
    const struct model_desc *d = &model->desc;
    bool local = model_layer_windowed(model, layer);
    memcpy(w->q, queries, (size_t)(rows->n_rows * d->n_heads * d->head_dim) * sizeof *queries);
    if (d->positions == POSITION_ROTARY)
        turn(model, local ? &model->rope_local : &model->rope, w, w->q, local ? w->turns_local : w->turns, rows->n_rows,
             d->n_heads);
    mix_spans(model, layer, w, rows, n_spans);
    finish(model, layer, w, rows->n_rows, with_x);
}
