/* Gradients through memory sink: the first tokens stay in sight, and are seen from a place inside the cache. A row at p has its
 * query turned on from p to min(p, sinks + window - 1); keys keep their angles. */
#include "model/grad.h"

#include <string.h>

bool grad_sink_layer(const struct grad *g, int64_t layer)
{
    bool own = model_layer_windowed(g->model, layer) && g->model->desc.window <= g->options.window;
    return g->options.sinks > 0 && !own;
}

static void turns_between(const struct grad *g, const struct rope *rope, int64_t n, float *turns)
{
    if (turns) rope_angles(turns, g->s.near, n, rope->inv_freq, rope->half, 1);
}

void grad_sink_enter_block(struct grad *g, const struct grad_block *b)
{
    const int64_t *stands = g->s.stands, last = g->options.sinks + g->options.window - 1;
    for (int64_t i = 0; i < b->n_tokens; i++) g->s.near[i] = MIN(stands[i], last) - stands[i];
    turns_between(g, &g->model->rope, b->n_tokens, g->s.near_turns);
    turns_between(g, &g->model->rope_local, b->n_tokens, g->s.near_turns_local);
    for (int64_t i = 0; i < b->n_tokens; i++) g->s.near[i] = MIN(stands[i], last);
}

size_t grad_sink_spans(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq, struct grad_span *spans)
{
    int64_t row = b->row0 + seq * b->rows_each, n = MIN(g->options.sinks, b->rows_each);
    spans[0] = grad_span_at(g, layer, row, n, b->position, true);
    spans[0].rule = SPAN_CAUSAL;
    spans[0].near = true;
    if (n == b->rows_each) return 1;
    spans[1] = grad_span_at(g, layer, row + n, b->rows_each - n, b->position + n, true);
    spans[1].rule = SPAN_BAND;
    spans[1].band = g->options.window;
    return 2;
}

static const float *turns_of(const struct grad *g, int64_t layer, const struct rope **rope)
{
    bool local = model_layer_windowed(g->model, layer);
    *rope = local ? &g->model->rope_local : &g->model->rope;
    return local ? g->s.near_turns_local : g->s.near_turns;
}

void grad_sink_turn(struct grad *g, int64_t layer, const float *q, int64_t n_rows)
{
    const struct model_desc *d = &g->model->desc;
    const struct rope *rope;
    const float *turns = turns_of(g, layer, &rope);
    memcpy(g->s.q_near, q, (size_t)(n_rows * d->n_heads * d->head_dim) * sizeof *q);
    if (turns) rope_apply(g->s.q_near, turns, n_rows, d->n_heads, d->head_dim, rope->half, d->rope_interleaved);
}

void grad_sink_turn_back(struct grad *g, int64_t layer, float *dq, int64_t n_rows)
{
    const struct model_desc *d = &g->model->desc;
    const struct rope *rope;
    const float *turns = turns_of(g, layer, &rope);
    if (turns) rope_backward(g->s.dq_near, turns, n_rows, d->n_heads, d->head_dim, rope->half, d->rope_interleaved);
    add_to(dq, g->s.dq_near, n_rows * d->n_heads * d->head_dim);
}
