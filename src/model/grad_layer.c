/* One layer forward, keeping what its backward needs, and backward. The equations are those of layer.c, in f32:
 *
 *     a = post(W_o attention(..)),  f = post(W_down act(..))
 *     x_mid = x + a;  y = x_mid + f(norm(x_mid))              dx_mid = dy + f'(dy);  dx = dx_mid + a'(dx_mid)
 *     y = x + a(norm(x)) + f(norm'(x))                        dx = dy + a'(dy) + f'(dy)      (parallel residual)
 *
 * where f'(g) is the gradient g taken back through f. */
#include "model/grad.h"

#include <string.h>

/* ---- maps and norms ---------------------------------------------------------------------------------------------- */

/* db += dy^T (scale x A^T);  da += (scale dy B)^T x;  dx += (scale dy B) A */
static void lora_backward(struct grad *g, const struct linear *linear, float *dx, const float *dy, const float *x,
                          int64_t n_rows)
{
    const struct lora *lora = linear->lora;
    int64_t n_out = linear->weight.n_out, n_in = linear->weight.n_in, rank = lora->rank;
    gemm(g->s.dlow, false, dy, false, lora->b, false, n_rows, rank, n_out);
    scale_by(g->s.dlow, lora->scale, n_rows * rank);
    if (dx) gemm(dx, true, g->s.dlow, false, lora->a, false, n_rows, n_in, rank);
    if (g->options.inputs_only) return;
    gemm(g->s.low, false, x, false, lora->a, true, n_rows, rank, n_in);
    scale_by(g->s.low, lora->scale, n_rows * rank);
    gemm(lora->db, true, dy, true, g->s.low, false, n_out, rank, n_rows);
    gemm(lora->da, true, g->s.dlow, true, x, false, rank, n_in, n_rows);
}

void linear_backward(struct grad *g, const struct linear *linear, float *dx, bool add, const float *dy, const float *x,
                     int64_t n_rows)
{
    if (dx) matmul_backward_input(dx, add, dy, n_rows, &linear->weight, g->s.panel);
    if (linear->lora) lora_backward(g, linear, dx, dy, x, n_rows);
    if (g->options.inputs_only) return;
    if (linear->dweight)
        matmul_backward_weight(linear->dweight, dy, x, n_rows, linear->weight.n_out, linear->weight.n_in);
    if (linear->dbias) add_bias_backward(linear->dbias, dy, n_rows, linear->weight.n_out);
}

void norm_backward(struct grad *g, const struct norm *norm, float *dx, const float *dy, const float *x, int64_t n_rows,
                   int64_t n)
{
    float eps = (float)g->model->desc.norm_eps;
    float *dweight = g->options.inputs_only ? NULL : norm->dweight;
    if (g->model->arch->norm == NORM_RMS)
        rms_norm_backward(dx, dweight, dy, x, norm->weight, eps, n_rows, n, g->s.stats);
    else
        layer_norm_backward(dx, dweight, dweight ? norm->dbias : NULL, dy, x, norm->weight, eps, n_rows, n, g->s.stats);
}

/* ---- attention: who sees what ------------------------------------------------------------------------------------ */

static struct attn_shape attention_shape(const struct model_desc *d, const float *alibi)
{
    return (struct attn_shape){.n_heads = d->n_heads, .n_kv_heads = d->n_kv_heads, .head_dim = d->head_dim,
                               .scale = (float)d->attn_scale, .soft_cap = (float)d->attn_soft_cap, .alibi = alibi,
                               .kv_type = DT_F32};
}

struct grad_span grad_span_at(const struct grad *g, int64_t layer, int64_t row, int64_t n_keys, int64_t position,
                              bool gradient)
{
    const struct grad_kv *kv = &g->kv[layer];
    int64_t width = g->model->desc.n_kv_heads * g->model->desc.head_dim, at = row * width;
    struct grad_span s = {.k = kv->k + at, .v = kv->v + at, .stride = width, .n_keys = n_keys,
                          .first_position = position};
    if (gradient) {
        s.dk = kv->dk + at;
        s.dv = kv->dv + at;
    }
    return s;
}

/* Of two windows, 0 = none. */
static int64_t narrower(int64_t a, int64_t b) { return a > 0 && b > 0 ? MIN(a, b) : MAX(a, b); }

/* The blocks before that a block's rows see, and the block itself. */
static size_t list_spans(struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq,
                         struct grad_span *spans)
{
    const struct grad_options *o = &g->options;
    if (grad_sink_layer(g, layer)) return grad_sink_spans(g, layer, b, seq, spans);
    int64_t own = model_layer_windowed(g->model, layer) ? g->model->desc.window : 0;
    int64_t each = o->block, band = narrower(narrower(own, o->window), o->block_window);
    size_t n = 0;
    for (int64_t t = MAX(0, b->index - o->segments); t < b->index; t++, n++) {
        int64_t row = t * g->n_seqs * (each + g->extra) + seq * each, position = b->position - (b->index - t) * each;
        spans[n] = grad_span_at(g, layer, row, each, position, !o->stop_gradient);
        spans[n].rule = band > 0 ? SPAN_BAND : SPAN_ALL;
        spans[n].band = band;
    }
    if (g->rows_of) n += g->rows_of->token_spans(g, layer, b, seq, spans + n);
    spans[n] = grad_span_at(g, layer, b->row0 + seq * b->rows_each, b->rows_each, b->position, true);
    spans[n].rule = band > 0 ? SPAN_BAND : SPAN_CAUSAL;
    spans[n].band = band;
    return n + 1;
}

static struct grad_sequence sequence_at(const struct grad *g, const struct tape *t, int64_t row, int64_t n_rows,
                                        const float *dout, float *dq)
{
    const struct model_desc *d = &g->model->desc;
    int64_t width = d->n_heads * d->head_dim;
    return (struct grad_sequence){
        .q = t->q + row * width, .out = t->mix + row * width, .lse = t->lse + row * d->n_heads,
        .dout = dout ? dout + row * width : NULL, .dq = dq ? dq + row * width : NULL,
        .positions = g->s.positions + row, .n_rows = n_rows};
}

/* Gives the tokens' rows their queries near the first tokens. */
static void see_from_near(const struct grad *g, int64_t row, bool backward, struct grad_sequence *s)
{
    int64_t width = g->model->desc.n_heads * g->model->desc.head_dim;
    s->q_near = g->s.q_near + row * width;
    s->dq_near = backward ? g->s.dq_near + row * width : NULL;
    s->near = g->s.near + row;
}

/* All lists of a block: the tokens' of each sequence, then those of its memory's rows, kind by kind. */
struct lists {
    size_t n_tokens, n_rows;    /* of the tokens; of each kind of rows */
    int n_kinds;
};

static struct lists list_sequences(struct grad *g, int64_t layer, const struct grad_block *b, const struct tape *t,
                                   const float *dout, float *dq)
{
    const struct grad_memory *m = g->rows_of;
    int64_t fam = g->options.fam, most = grad_spans_each(&g->options);
    struct lists lists = {b->index < 0 ? 0 : (size_t)g->n_seqs, b->index < 0 ? 1 : (size_t)g->n_seqs, m ? m->n_kinds : 0};
    struct grad_sequence *s = g->s.sequences;
    struct grad_span *spans = g->s.spans;
    for (int64_t seq = 0; seq < (int64_t)lists.n_tokens; seq++, s++, spans += most) {
        *s = sequence_at(g, t, seq * b->rows_each, b->rows_each, dout, dq);
        if (grad_sink_layer(g, layer)) see_from_near(g, seq * b->rows_each, dq != NULL, s);
        s->spans = spans;
        s->n_spans = list_spans(g, layer, b, seq, spans);
    }
    for (int kind = 0; kind < lists.n_kinds; kind++)
        for (int64_t seq = 0; seq < (int64_t)lists.n_rows; seq++, s++, spans += most) {
            *s = sequence_at(g, t, grad_memory_row(g, b, seq, kind) - b->row0, fam, dout, dq);
            s->spans = spans;
            s->n_spans = m->row_spans(g, layer, b, seq, kind, spans);
        }
    return lists;
}

/* Tokens and the kinds of rows add to the same keys' gradients, so each are a call of their own. */
static void lists_backward(const struct grad *g, const struct lists *lists, const struct attn_shape *shape)
{
    struct grad_sequence *s = g->s.sequences;
    attention_backward(s, lists->n_tokens, shape, g->options.n_threads, g->s.attention);
    s += lists->n_tokens;
    for (int kind = 0; kind < lists->n_kinds; kind++, s += lists->n_rows)
        attention_backward(s, lists->n_rows, shape, g->options.n_threads, g->s.attention);
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

static const float *turns_of(const struct grad *g, int64_t layer, const struct rope **rope, const float **key_turns)
{
    bool local = model_layer_windowed(g->model, layer);
    *rope = local ? &g->model->rope_local : &g->model->rope;
    *key_turns = local ? g->s.key_turns_local : g->s.key_turns;
    return local ? g->s.turns_local : g->s.turns;
}

/* q, and k and v in their place among those of all blocks */
static void project_qkv(struct grad *g, int64_t layer, const struct grad_block *b, struct tape *t, float *k, float *v)
{
    const struct model_desc *d = &g->model->desc;
    const struct layer_weights *lw = &g->model->layers[layer];
    int64_t n = b->n_rows;
    linear_forward(&lw->q, lw->q_norm.weight ? t->q_raw : t->q, t->h, n, &g->w);
    linear_forward(&lw->k, lw->k_norm.weight ? t->k_raw : k, t->h, n, &g->w);
    linear_forward(&lw->v, v, t->h, n, &g->w);
    if (lw->q_norm.weight) norm_forward(g->model, &lw->q_norm, t->q, t->q_raw, n * d->n_heads, d->head_dim, &g->w);
    if (lw->k_norm.weight) norm_forward(g->model, &lw->k_norm, k, t->k_raw, n * d->n_kv_heads, d->head_dim, &g->w);
    if (d->positions != POSITION_ROTARY) return;
    const struct rope *rope;
    const float *key_turns, *turns = turns_of(g, layer, &rope, &key_turns);
    rope_apply(t->q, turns, n, d->n_heads, d->head_dim, rope->half, d->rope_interleaved);
    rope_apply(k, key_turns, n, d->n_kv_heads, d->head_dim, rope->half, d->rope_interleaved);
}

static void attend(struct grad *g, int64_t layer, const struct grad_block *b, struct tape *t)
{
    const struct model_desc *d = &g->model->desc;
    int64_t at = b->row0 * d->n_kv_heads * d->head_dim;
    struct attn_shape shape = attention_shape(d, g->model->alibi);
    project_qkv(g, layer, b, t, g->kv[layer].k + at, g->kv[layer].v + at);
    if (grad_sink_layer(g, layer)) grad_sink_turn(g, layer, t->q, b->n_rows);
    struct lists lists = list_sequences(g, layer, b, t, NULL, NULL);
    attention_forward(g->s.sequences, lists.n_tokens + (size_t)lists.n_kinds * lists.n_rows, &shape, g->options.n_threads,
                      g->s.attention);
}

void grad_attend_backward(struct grad *g, int64_t layer, const struct grad_block *b, const struct tape *t)
{
    struct attn_shape shape = attention_shape(&g->model->desc, g->model->alibi);
    bool sink = grad_sink_layer(g, layer);
    if (sink) grad_sink_turn(g, layer, t->q, b->n_rows);
    struct lists lists = list_sequences(g, layer, b, t, g->s.dmix, g->s.dq);
    lists_backward(g, &lists, &shape);
    if (sink) grad_sink_turn_back(g, layer, g->s.dq, b->n_rows);
}

/* da [rows, d] by attention's share before its post norm -> dh [rows, d] by the normed input */
static void attend_backward(struct grad *g, int64_t layer, const struct grad_block *b, const struct tape *t,
                            const float *da, float *dh)
{
    const struct model_desc *d = &g->model->desc;
    const struct layer_weights *lw = &g->model->layers[layer];
    struct grad_scratch *s = &g->s;
    int64_t n = b->n_rows, at = b->row0 * d->n_kv_heads * d->head_dim;
    float *dk = g->kv[layer].dk + at, *dv = g->kv[layer].dv + at;
    linear_backward(g, &lw->output, s->dmix, false, da, t->mix, n);
    grad_attend_backward(g, layer, b, t);
    if (d->positions == POSITION_ROTARY) {
        const struct rope *rope;
        const float *key_turns, *turns = turns_of(g, layer, &rope, &key_turns);
        rope_backward(s->dq, turns, n, d->n_heads, d->head_dim, rope->half, d->rope_interleaved);
        rope_backward(dk, key_turns, n, d->n_kv_heads, d->head_dim, rope->half, d->rope_interleaved);
    }
    /* dmix is free again: the gradients before the QK norms go there, one after the other */
    const float *dq_raw = s->dq, *dk_raw = dk;
    if (lw->q_norm.weight) {
        norm_backward(g, &lw->q_norm, s->dmix, s->dq, t->q_raw, n * d->n_heads, d->head_dim);
        dq_raw = s->dmix;
    }
    linear_backward(g, &lw->q, dh, false, dq_raw, t->h, n);
    if (lw->k_norm.weight) {
        norm_backward(g, &lw->k_norm, s->dmix, dk, t->k_raw, n * d->n_kv_heads, d->head_dim);
        dk_raw = s->dmix;
    }
    linear_backward(g, &lw->k, dh, true, dk_raw, t->h, n);
    linear_backward(g, &lw->v, dh, true, dv, t->h, n);
}

/* ---- feed-forward ------------------------------------------------------------------------------------------------ */

static void feed_forward(struct grad *g, int64_t layer, int64_t n, struct tape *t)
{
    const struct layer_weights *lw = &g->model->layers[layer];
    int64_t n_ff = n * g->model->desc.d_ff;
    bool gated = g->model->arch->gated;
    linear_forward(&lw->up, t->up, t->h2, n, &g->w);
    if (gated) linear_forward(&lw->gate, t->gate, t->h2, n, &g->w);
    memcpy(t->act, gated ? t->gate : t->up, (size_t)n_ff * sizeof(float));
    if (gated) activate_gated(t->act, t->up, g->model->desc.activation, n_ff);
    else activate(t->act, g->model->desc.activation, n_ff);
    linear_forward(&lw->down, t->f, t->act, n, &g->w);
}

/* df [rows, d] by the feed-forward's share before its post norm -> dh [rows, d] by its normed input */
static void feed_forward_backward(struct grad *g, int64_t layer, int64_t n, const struct tape *t, const float *df,
                                  float *dh)
{
    const struct layer_weights *lw = &g->model->layers[layer];
    enum activation act = g->model->desc.activation;
    int64_t n_ff = n * g->model->desc.d_ff;
    float *dup = g->s.dup;
    linear_backward(g, &lw->down, dup, false, df, t->act, n);
    if (!g->model->arch->gated) {
        activate_backward(dup, t->up, act, n_ff);
        linear_backward(g, &lw->up, dh, false, dup, t->h2, n);
        return;
    }
    activate_gated_backward(g->s.dgate, dup, dup, t->gate, t->up, act, n_ff);
    linear_backward(g, &lw->gate, dh, false, g->s.dgate, t->h2, n);
    linear_backward(g, &lw->up, dh, true, dup, t->h2, n);
}

/* ---- the layer --------------------------------------------------------------------------------------------------- */

/* The share that joins the residual stream: the post norm of `raw` where there is one. */
static const float *share_of(struct grad *g, const struct norm *post, const float *raw, int64_t n, float *to)
{
    if (!post->weight) return raw;
    norm_forward(g->model, post, to, raw, n, g->model->desc.d_model, &g->w);
    return to;
}

/* The rows of a learned prompt carry nothing of the text: what the layer makes of them replaces them. */
static void drop_bare(const struct grad *g, const struct grad_block *b, float *rows)
{
    int64_t d = g->model->desc.d_model;
    if (b->bare) memset(rows + b->n_tokens * d, 0, (size_t)((b->n_rows - b->n_tokens) * d) * sizeof *rows);
}

void grad_layer_attend(struct grad *g, int64_t layer, const struct grad_block *b, struct tape *t)
{
    norm_forward(g->model, &g->model->layers[layer].attn_norm, t->h, t->x, b->n_rows, g->model->desc.d_model, &g->w);
    attend(g, layer, b, t);
}

void grad_layer_forward(struct grad *g, int64_t layer, const struct grad_block *b, struct tape *t, float *x)
{
    const struct layer_weights *lw = &g->model->layers[layer];
    int64_t n = b->n_rows, d = g->model->desc.d_model;
    bool parallel = g->model->desc.parallel_residual;
    size_t bytes = (size_t)(n * d) * sizeof(float);

    grad_layer_attend(g, layer, b, t);
    linear_forward(&lw->output, t->a, t->mix, n, &g->w);
    const float *a = share_of(g, &lw->post_attn_norm, t->a, n, g->s.t1);
    if (!parallel) {
        memcpy(t->x_mid, t->x, bytes);
        drop_bare(g, b, t->x_mid);
        add_to(t->x_mid, a, n * d);
    }
    norm_forward(g->model, &lw->ffn_norm, t->h2, parallel ? t->x : t->x_mid, n, d, &g->w);
    feed_forward(g, layer, n, t);
    if (!x) return;
    const float *f = share_of(g, &lw->post_ffn_norm, t->f, n, g->s.t2);
    if (x != t->x) memcpy(x, parallel ? t->x : t->x_mid, bytes);
    if (parallel) drop_bare(g, b, x);
    if (parallel) add_to(x, a, n * d);
    add_to(x, f, n * d);
}

void grad_layer_backward(struct grad *g, int64_t layer, const struct grad_block *b, const struct tape *t, float *dx)
{
    const struct layer_weights *lw = &g->model->layers[layer];
    struct grad_scratch *s = &g->s;
    int64_t n = b->n_rows, d = g->model->desc.d_model;
    bool parallel = g->model->desc.parallel_residual;

    /* feed-forward: t1 = what comes back to its norm's input; in the serial form it joins dx before attention */
    const float *df = dx;
    if (lw->post_ffn_norm.weight) {
        norm_backward(g, &lw->post_ffn_norm, s->t1, dx, t->f, n, d);
        df = s->t1;
    }
    feed_forward_backward(g, layer, n, t, df, s->dh);
    norm_backward(g, &lw->ffn_norm, s->t1, s->dh, parallel ? t->x : t->x_mid, n, d);
    if (!parallel) add_to(dx, s->t1, n * d);

    const float *da = dx;
    if (lw->post_attn_norm.weight) {
        norm_backward(g, &lw->post_attn_norm, s->t2, dx, t->a, n, d);
        da = s->t2;
    }
    attend_backward(g, layer, b, t, da, s->dh);
    norm_backward(g, &lw->attn_norm, s->t2, s->dh, t->x, n, d);
    drop_bare(g, b, dx);
    add_to(dx, s->t2, n * d);
    if (parallel) add_to(dx, s->t1, n * d);
}
