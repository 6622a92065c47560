/* The rows of a recurrent memory in training (arXiv 2207.06881), as src/memory/rmt.c runs them. Behind the tokens of each
 * sequence in a block come F rows that are read and F rows that are written:
 *
 *     places      read rows on the F places before the block, written rows on its last F
 *     attention   read rows see one another, tokens see these and their block, written rows see all three
 *     after it    what the written rows are after the last layer goes into the first layer of the next block, as both
 *
 * so the gradient of a block's written rows comes from the input of the next block. */
#include "model/grad.h"

#include <string.h>

enum { READ, WRITTEN };

static size_t memory_bytes(const struct grad *g)
{
    return (size_t)(g->options.fam * g->model->desc.d_model) * sizeof(float);
}

/* Rows of a kind in x [rows of the block, d]. */
static float *part(const struct grad *g, const struct grad_block *b, int64_t seq, int kind, float *x)
{
    return x + (grad_memory_row(g, b, seq, kind) - b->row0) * g->model->desc.d_model;
}

/* ---- places and spans --------------------------------------------------------------------------------------------- */

static void turn_rows(const struct grad *g, const struct rope *rope, const int64_t *positions, int64_t row, float *turns,
                      float *key_turns)
{
    int64_t n = 2 * rope->half;
    if (!turns) return;
    rope_angles(turns + row * n, positions + row, g->options.fam, rope->inv_freq, rope->half, rope->scale);
    memcpy(key_turns + row * n, turns + row * n, (size_t)(g->options.fam * n) * sizeof *turns);
}

static void enter_block(struct grad *g, const struct grad_block *b)
{
    struct grad_scratch *s = &g->s;
    const struct rope *rope = &g->model->rope, *local = &g->model->rope_local;
    int64_t fam = g->options.fam;
    if (s->turns) memcpy(s->key_turns, s->turns, (size_t)(b->n_tokens * 2 * rope->half) * sizeof(float));
    if (s->turns_local)
        memcpy(s->key_turns_local, s->turns_local, (size_t)(b->n_tokens * 2 * local->half) * sizeof(float));
    for (int64_t seq = 0; seq < g->n_seqs; seq++)
        for (int kind = READ; kind <= WRITTEN; kind++) {
            int64_t row = grad_memory_row(g, b, seq, kind) - b->row0, end = b->position + (kind == READ ? 0 : b->rows_each);
            for (int64_t i = 0; i < fam; i++) s->positions[row + i] = end - fam + i;
            turn_rows(g, rope, s->positions, row, s->turns, s->key_turns);
            turn_rows(g, local, s->positions, row, s->turns_local, s->key_turns_local);
        }
}

static struct grad_span span_of(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq, int kind)
{
    int64_t end = b->position + (kind == READ ? 0 : b->rows_each);
    struct grad_span s = grad_span_at(g, layer, grad_memory_row(g, b, seq, kind), g->options.fam, end - g->options.fam, true);
    s.rule = SPAN_ALL;
    return s;
}

static size_t token_spans(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq,
                          struct grad_span *spans)
{
    spans[0] = span_of(g, layer, b, seq, READ);
    return 1;
}

static size_t row_spans(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq, int kind,
                        struct grad_span *spans)
{
    spans[0] = span_of(g, layer, b, seq, kind);
    if (kind == READ) return 1;
    spans[1] = grad_span_at(g, layer, b->row0 + seq * b->rows_each, b->rows_each, b->position, true);
    spans[1].rule = SPAN_ALL;
    spans[2] = span_of(g, layer, b, seq, READ);
    return 3;
}

/* ---- up and on ------------------------------------------------------------------------------------------------------ */

/* A memory [fam, d] enters a block's first layer. */
static void enter(const struct grad *g, const struct grad_block *b, int64_t seq, const float *memory)
{
    float *x = g->inputs[b->index * g->model->desc.n_layers];
    memcpy(part(g, b, seq, READ, x), memory, memory_bytes(g));
    memcpy(part(g, b, seq, WRITTEN, x), memory, memory_bytes(g));
}

/* The block behind b; its tokens are those that are left. */
static struct grad_block next_block(const struct grad *g, const struct grad_block *b)
{
    int64_t each = MIN(g->block_each, g->n_tokens - (b->index + 1) * g->block_each);
    return (struct grad_block){.index = b->index + 1, .row0 = b->row0 + b->n_rows, .n_tokens = each * g->n_seqs};
}

static void start(struct grad *g)
{
    const float *rows = g->memory_start ? g->memory_start : g->model->memory.prompt;
    const struct grad_block first = {.n_tokens = MIN(g->block_each, g->n_tokens) * g->n_seqs};
    for (int64_t seq = 0; seq < g->n_seqs; seq++) enter(g, &first, seq, rows);
    if (g->first_group) memcpy(g->memory_rows, rows, memory_bytes(g));
}

static void pass_on(struct grad *g, int64_t layer, const struct grad_block *b, const float *x)
{
    int64_t n_layers = g->model->desc.n_layers, d = g->model->desc.d_model;
    float *up = layer + 1 < n_layers ? g->inputs[b->index * n_layers + layer + 1] : g->x;
    memcpy(up, x, (size_t)(b->n_rows * d) * sizeof *x);
    if (layer + 1 < n_layers || b->rows_each < g->block_each) return;   /* only a full block is written */
    if (g->first_group) memcpy(g->memory_rows, part(g, b, 0, WRITTEN, g->x), memory_bytes(g));
    struct grad_block next = next_block(g, b);
    for (int64_t seq = 0; next.n_tokens > 0 && seq < g->n_seqs; seq++) {
        float *memory = part(g, b, seq, WRITTEN, g->x);
        grad_add_noise(g, memory, g->options.fam);
        enter(g, &next, seq, memory);
    }
}

/* ---- back ------------------------------------------------------------------------------------------------------------ */

static void take_back(struct grad *g, int64_t layer, const struct grad_block *b, float *dx)
{
    int64_t size = g->options.fam * g->model->desc.d_model;
    for (int64_t seq = 0; layer == g->model->desc.n_layers - 1 && seq < g->n_seqs; seq++) {
        memset(part(g, b, seq, READ, dx), 0, memory_bytes(g));
        memcpy(part(g, b, seq, WRITTEN, dx), g->dmemory + seq * size, memory_bytes(g));
    }
}

static void hand_back(struct grad *g, int64_t layer, const struct grad_block *b, const float *dx)
{
    int64_t size = g->options.fam * g->model->desc.d_model;
    for (int64_t seq = 0; layer == 0 && seq < g->n_seqs; seq++) {
        const float *rows = dx + (grad_memory_row(g, b, seq, READ) - b->row0) * g->model->desc.d_model;
        memcpy(g->dmemory + seq * size, rows, memory_bytes(g));
        add_to(g->dmemory + seq * size, rows + size, size);
    }
}

static void start_backward(struct grad *g)
{
    int64_t size = g->options.fam * g->model->desc.d_model;
    float *dprompt = g->memory_start ? NULL : g->model->memory_dprompt;
    for (int64_t seq = 0; dprompt && seq < g->n_seqs; seq++) add_to(dprompt, g->dmemory + seq * size, size);
}

const struct grad_memory grad_rmt = {
    .n_kinds = 2, .enter_block = enter_block, .start = start, .start_backward = start_backward, .token_spans = token_spans,
    .row_spans = row_spans, .pass_on = pass_on, .take_back = take_back, .hand_back = hand_back,
};
