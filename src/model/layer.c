/* One layer of every supported architecture:
 *
 *     a = W_o attention(rope(norm_q(W_q h)), rope(norm_k(W_k h)), W_v h),   h = norm(x)
 *     x = x + post(a);  x = x + post(ffn(norm(x)))                          serial residual
 *     x = x + a + ffn(norm'(x))                                             parallel residual (GPT-NeoX)
 *
 * What a model does not have (q and k norms, post norms, biases, turns) is absent from its weights and skipped. Every
 * result is rounded as an activation, keys and values at last as the cache is; which is no operation in f32. */
#include "model/model.h"

#include <string.h>

/* ---- pieces --------------------------------------------------------------------------------------------------------- */

static void norm_rows(const struct snellen_model *model, const struct norm *norm, float *y, const float *x,
                      int64_t n_rows, int64_t n)
{
    float eps = (float)model->desc.norm_eps;
    if (model->arch->norm == NORM_RMS)
        rms_norm(y, x, norm->weight, eps, n_rows, n);
    else
        layer_norm(y, x, norm->weight, norm->bias, eps, n_rows, n);
}

void norm_forward(const struct snellen_model *model, const struct norm *norm, float *y, const float *x, int64_t n_rows,
                  int64_t n, const struct workspace *w)
{
    norm_rows(model, norm, y, x, n_rows, n);
    round_to(y, w->round.activations, n_rows * n);
}

/* y += scale (x A^T) B^T */
static void lora_forward(const struct linear *linear, float *y, const float *x, int64_t n_rows, float *low)
{
    const struct lora *lora = linear->lora;
    gemm(low, false, x, false, lora->a, true, n_rows, lora->rank, linear->weight.n_in);
    scale_by(low, lora->scale, n_rows * lora->rank);
    gemm(y, true, low, false, lora->b, true, n_rows, linear->weight.n_out, lora->rank);
}

/* What comes after the product with the weights. */
static void linear_rest(const struct linear *linear, float *y, const float *x, int64_t n_rows, const struct workspace *w)
{
    if (linear->lora) lora_forward(linear, y, x, n_rows, w->low);
    if (linear->bias) add_bias(y, linear->bias, n_rows, linear->weight.n_out);
}

void linear_product(const struct linear *linear, float *y, const float *x, int64_t n_rows, const struct workspace *w)
{
    if (w->exact)
        matmul_rounded(y, x, n_rows, &linear->weight, w->round.weights, w->scratch, w->scratch_bytes);
    else
        matmul(y, x, n_rows, &linear->weight, w->scratch, w->scratch_bytes);
    linear_rest(linear, y, x, n_rows, w);
}

void linear_forward(const struct linear *linear, float *y, const float *x, int64_t n_rows, const struct workspace *w)
{
    linear_product(linear, y, x, n_rows, w);
    round_to(y, w->round.activations, n_rows * linear->weight.n_out);
}

/* Several maps of the same rows, not rounded. */
enum { MOST_MAPS = 3 };
struct map_to {
    const struct linear *linear;
    float *y;
};
static void linear_products(const struct map_to *maps, int n_maps, const float *x, int64_t n_rows, const struct workspace *w)
{
    struct product products[MOST_MAPS];
    for (int i = 0; i < n_maps; i++) products[i] = (struct product){maps[i].y, &maps[i].linear->weight};
    if (!w->exact) matmul_several(products, n_maps, x, n_rows, w->scratch, w->scratch_bytes);
    for (int i = 0; i < n_maps; i++) {
        if (w->exact) linear_product(maps[i].linear, maps[i].y, x, n_rows, w);
        else linear_rest(maps[i].linear, maps[i].y, x, n_rows, w);
    }
}

/* x += y, the residual stream */
static void residual(struct workspace *w, const float *y, int64_t n)
{
    add_to(w->x, y, n);
    round_to(w->x, w->round.activations, n);
}

static void turn_queries(const struct snellen_model *model, const struct rope *rope, const struct workspace *w,
                         float *rows, const float *turns, int64_t n_rows)
{
    const struct model_desc *d = &model->desc;
    rope_apply(rows, turns, n_rows, d->n_heads, d->head_dim, rope->half, d->rope_interleaved);
    round_to(rows, w->round.activations, n_rows * d->n_heads * d->head_dim);
}

/* Keys are activations until they are what is kept: each step rounds what it takes, the last result is the cache's. */
static void turn_keys(const struct snellen_model *model, const struct rope *rope, const struct workspace *w,
                      const float *turns, int64_t n_rows)
{
    const struct model_desc *d = &model->desc;
    round_to(w->k, w->round.activations, n_rows * d->n_kv_heads * d->head_dim);
    rope_apply(w->k, turns, n_rows, d->n_kv_heads, d->head_dim, rope->half, d->rope_interleaved);
}

/* ---- attention ------------------------------------------------------------------------------------------------------- */

/* q, k and v of the normed rows in w->h, not turned yet; k and v not rounded. */
static void project_qkv(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n)
{
    const struct model_desc *d = &model->desc;
    const struct layer_weights *lw = &model->layers[layer];
    linear_products((const struct map_to[]){{&lw->q, w->q}, {&lw->k, w->k}, {&lw->v, w->v}}, 3, w->h, n, w);
    round_to(w->q, w->round.activations, n * d->n_heads * d->head_dim);
    if (lw->q_norm.weight) norm_forward(model, &lw->q_norm, w->q, w->q, n * d->n_heads, d->head_dim, w);
    if (!lw->k_norm.weight) return;
    round_to(w->k, w->round.activations, n * d->n_kv_heads * d->head_dim);
    norm_rows(model, &lw->k_norm, w->k, w->k, n * d->n_kv_heads, d->head_dim);
}

/* Queries for spans whose positions have shifted (sink) are turned a second time, into w->q_shifted. */
static void turn_qk(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, bool shifted)
{
    const struct model_desc *d = &model->desc;
    bool local = model_layer_windowed(model, layer);
    const struct rope *rope = local ? &model->rope_local : &model->rope;
    if (shifted) {
        memcpy(w->q_shifted, w->q, (size_t)(n * d->n_heads * d->head_dim) * sizeof(float));
        turn_queries(model, rope, w, w->q_shifted, local ? w->turns_shifted_local : w->turns_shifted, n);
    }
    const float *turns = local ? w->turns_local : w->turns;
    turn_queries(model, rope, w, w->q, turns, n);
    turn_keys(model, rope, w, turns, n);
}

/* q and k to the rows' positions, where they turn at all; then k and v are as they are kept. */
static void place_qkv(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, bool shifted)
{
    int64_t n_kept = n * model->desc.n_kv_heads * model->desc.head_dim;
    if (model->desc.positions == POSITION_ROTARY) turn_qk(model, layer, w, n, shifted);
    round_to(w->k, w->round.cache, n_kept);
    round_to(w->v, w->round.cache, n_kept);
}

/* Scores are linear in the query, so that its factor is theirs; ALiBi's slopes get it in attention. */
static void sharpen_queries(const struct workspace *w, float *q, int64_t n_rows, int64_t width)
{
    for (int64_t i = 0; i < n_rows; i++) scale_by(q + i * width, w->sharpness[i], width);
    round_to(q, w->round.activations, n_rows * width);
}

/* w->mix = what n rows' queries in w->q get from the first n_spans of w->spans; n_tokens of them are a batch's. */
static void mix_spans(const struct snellen_model *model, int64_t layer, struct workspace *w, const int64_t *positions,
                      int64_t n, int64_t n_tokens, size_t n_spans)
{
    const struct model_desc *d = &model->desc;
    struct attn_shape shape = {
        .n_heads = d->n_heads, .n_kv_heads = d->n_kv_heads, .head_dim = d->head_dim,
        .scale = (float)d->attn_scale, .soft_cap = (float)d->attn_soft_cap, .alibi = model->alibi,
        .slope_factors = w->sharpness,
        .kv_type = w->kv_type,
    };
    if (w->sharpness) sharpen_queries(w, w->q, n, d->n_heads * d->head_dim);
    const struct attn_shown shown = {.q = w->q, .positions = positions, .n_rows = n, .n_tokens = n_tokens,
                                     .spans = w->spans, .n_spans = n_spans, .shape = &shape};
    if (w->watch) w->watch->see(w->watch, layer, &shown);
    attention(w->mix, w->q, positions, n, w->spans, n_spans, &shape, w->scratch, w->scratch_bytes);
    round_to(w->mix, w->round.activations, n * d->n_heads * d->head_dim);
}

/* What the batch's rows may see; queries that were turned a second time go with their spans. */
static size_t batch_spans(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n,
                          const struct memory *memory)
{
    size_t n_spans = memory->ops->spans(memory, layer, w->spans);
    for (size_t i = 0; i < n_spans; i++)
        if (w->spans[i].q_positions) w->spans[i].q = w->q_shifted; /* NULL without turns: the rows' own queries */
    if (w->sharpness && memory->ops->query_positions(memory) && w->q_shifted)
        sharpen_queries(w, w->q_shifted, n, model->desc.n_heads * model->desc.head_dim);
    return n_spans;
}

static void attend(const struct snellen_model *model, int64_t layer, struct workspace *w, const struct batch *batch,
                   struct memory *memory)
{
    int64_t n = batch->n_rows;
    project_qkv(model, layer, w, n);
    place_qkv(model, layer, w, n, memory->ops->query_positions(memory) != NULL);
    memory->ops->store(memory, layer, w->k, w->v);
    mix_spans(model, layer, w, batch->positions, n, n, batch_spans(model, layer, w, n, memory));
}

/* ---- feed-forward ------------------------------------------------------------------------------------------------------ */

/* h = W_down (act(W_gate h) * W_up h), or h = W_down act(W_up h) */
static void feed_forward(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n)
{
    const struct layer_weights *lw = &model->layers[layer];
    int64_t n_ff = n * model->desc.d_ff;
    linear_products((const struct map_to[]){{&lw->up, w->up}, {&lw->gate, w->gate}}, model->arch->gated ? 2 : 1, w->h, n, w);
    round_to(w->up, w->round.activations, n_ff);
    float *mixed = w->up;
    if (model->arch->gated) {
        round_to(w->gate, w->round.activations, n_ff);
        activate_gated(w->gate, w->up, model->desc.activation, n_ff);
        mixed = w->gate;
    } else {
        activate(w->up, model->desc.activation, n_ff);
    }
    round_to(mixed, w->round.activations, n_ff);
    linear_forward(&lw->down, w->h, mixed, n, w);
}

/* ---- the layer ----------------------------------------------------------------------------------------------------------- */

/* From attention's result in w->mix to the layer's: x = x + .., but x = 0 + .. for rows from `bare` on. */
static void finish(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, int64_t bare)
{
    const struct layer_weights *lw = &model->layers[layer];
    int64_t d = model->desc.d_model;
    bool parallel = model->desc.parallel_residual;

    linear_forward(&lw->output, w->a, w->mix, n, w);
    if (lw->post_attn_norm.weight) norm_forward(model, &lw->post_attn_norm, w->a, w->a, n, d, w);
    if (parallel) norm_forward(model, &lw->ffn_norm, w->h, w->x, n, d, w);
    if (bare < n) memset(w->x + bare * d, 0, (size_t)((n - bare) * d) * sizeof *w->x);
    residual(w, w->a, n * d);

    if (!parallel) norm_forward(model, &lw->ffn_norm, w->h, w->x, n, d, w);
    feed_forward(model, layer, w, n);
    if (lw->post_ffn_norm.weight) norm_forward(model, &lw->post_ffn_norm, w->h, w->h, n, d, w);
    residual(w, w->h, n * d);
}

static void norm_in(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n)
{
    norm_forward(model, &model->layers[layer].attn_norm, w->h, w->x, n, model->desc.d_model, w);
}

void layer_pass(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, struct memory *memory)
{
    const struct memory_passes *p = memory->ops->passes;
    norm_in(model, layer, w, n);
    project_qkv(model, layer, w, n);
    place_qkv(model, layer, w, n, false);
    p->keep(memory, layer, w->k, w->v);
    mix_spans(model, layer, w, w->row_positions, n, 0, p->spans(memory, layer, w->spans));
    finish(model, layer, w, n, n);
}

/* ---- rows that ride behind a batch's --------------------------------------------------------------------------------------- */

/* The queries of riders, which wait not turned, behind the batch's, turned to where the new rows will stand; and what they
 * see, behind what the batch's rows see. */
static size_t seat_riders(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, int64_t n_riders,
                          size_t n_spans, struct memory *memory)
{
    const struct memory_riders *r = memory->ops->riders;
    const struct model_desc *d = &model->desc;
    bool local = model_layer_windowed(model, layer);
    const struct rope *rope = local ? &model->rope_local : &model->rope;
    const float *turns = local ? w->turns_local : w->turns;
    int64_t width = d->n_heads * d->head_dim;
    float *q = w->q + n * width;
    memcpy(q, r->queries(memory, layer), (size_t)(n_riders * width) * sizeof *q);
    if (d->positions == POSITION_ROTARY)
        turn_queries(model, rope, w, q, turns + (n + n_riders) * rope->half * 2, n_riders);
    for (size_t i = 0; i < n_spans; i++) w->spans[i].row0 = 0, w->spans[i].rows = n;
    size_t n_more = r->spans(memory, layer, w->spans + n_spans);
    for (size_t i = n_spans; i < n_spans + n_more; i++) w->spans[i].row0 = n, w->spans[i].rows = n_riders;
    return n_spans + n_more;
}

/* layer_forward() with rows behind the batch's: projected with them, or attending with them, or both. */
static void forward_with_riders(const struct snellen_model *model, int64_t layer, struct workspace *w,
                                const struct batch *batch, bool project, bool attending, struct memory *memory)
{
    const struct memory_riders *r = memory->ops->riders;
    const struct model_desc *d = &model->desc;
    int64_t n = batch->n_rows, n_riders = memory->ops->n_rows(memory), width = d->n_heads * d->head_dim;
    int64_t n_in = n + (project ? n_riders : 0), n_out = n + (attending ? n_riders : 0);
    size_t bytes = (size_t)(n_riders * d->d_model) * sizeof(float);
    memcpy(w->x + n * d->d_model, r->rows(memory, layer), bytes);
    norm_in(model, layer, w, n_in);
    project_qkv(model, layer, w, n_in);
    if (project) memcpy(r->queries(memory, layer), w->q + n * width, (size_t)(n_riders * width) * sizeof(float));
    place_qkv(model, layer, w, n_in, false);
    memory->ops->store(memory, layer, w->k, w->v);
    int64_t kv = n * d->n_kv_heads * d->head_dim;
    if (project) r->keep(memory, layer, w->k + kv, w->v + kv);
    size_t n_spans = batch_spans(model, layer, w, n, memory);
    if (attending) n_spans = seat_riders(model, layer, w, n, n_riders, n_spans, memory);
    mix_spans(model, layer, w, w->row_positions, n_out, n, n_spans);
    finish(model, layer, w, n_out, r->carry_on(memory) ? n_out : n);
    if (attending) memcpy(r->rows(memory, layer), w->x + n * d->d_model, bytes);
}

/* ---- a batch ---------------------------------------------------------------------------------------------------------------- */

void layer_forward(const struct snellen_model *model, int64_t layer, struct workspace *w, const struct batch *batch,
                   struct memory *memory)
{
    const struct memory_riders *r = memory->ops->riders;
    bool project = r && r->project(memory), attending = r && r->attend(memory);
    if (project || attending) {
        forward_with_riders(model, layer, w, batch, project, attending, memory);
        return;
    }
    norm_in(model, layer, w, batch->n_rows);
    attend(model, layer, w, batch, memory);
    finish(model, layer, w, batch->n_rows, batch->n_rows);
}
