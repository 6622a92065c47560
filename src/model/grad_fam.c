/* The rows of a feedback memory in training (arXiv 2404.09173). They go through each layer as further rows of their
 * block, behind the tokens: norms, maps and feed-forward are the same products. What differs:
 *
 *     places      their queries stand on the last places of the block, their keys where the memory was made before
 *     attention   tokens see the memory's keys; a memory's rows see these and the whole block (grad_layer.c)
 *     after it    a layer's result for them is its own next memory, the input of the same layer at the next block
 *
 * so the gradient of block t's result comes from block t + 1. Block -1 is the prompt on its way up, once for all
 * sequences: the input of each layer there is the layer's first memory. */
#include "model/grad.h"

#include <string.h>

static size_t rows_bytes(const struct grad *g, int64_t n)
{
    return (size_t)(n * g->model->desc.d_model) * sizeof(float);
}

static float *memory_part(const struct grad *g, const struct grad_block *b, float *rows)
{
    return rows + b->n_tokens * g->model->desc.d_model;
}

static float *dmemory_of(const struct grad *g, int64_t layer)
{
    return g->dmemory + layer * g->group * g->options.fam * g->model->desc.d_model;
}

/* ---- who sees what ----------------------------------------------------------------------------------------------- */

/* The memories that were there at the last `most` blocks, this one's last. */
static size_t list_memories(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq, int64_t most,
                            struct grad_span *spans)
{
    int64_t fam = g->options.fam, each = g->block_each;
    size_t n = 0;
    for (int64_t t = MAX(0, b->index - most + 1); t <= b->index; t++, n++) {
        int64_t row0 = t * g->n_seqs * (each + fam), tokens = t == b->index ? b->n_tokens : g->n_seqs * each;
        int64_t position = b->position - (b->index - t) * each - fam;
        spans[n] = grad_span_at(g, layer, row0 + tokens + seq * fam, fam, position, true);
        spans[n].rule = SPAN_ALL;
    }
    return n;
}

static size_t token_spans(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq,
                          struct grad_span *spans)
{
    return list_memories(g, layer, b, seq, g->options.fam_blocks, spans);
}

/* A memory's rows see the memory, and the whole block. */
static size_t row_spans(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq, int kind,
                        struct grad_span *spans)
{
    (void)kind;
    if (b->index < 0) {
        spans[0] = grad_span_at(g, layer, b->row0, g->options.fam, b->position - g->options.fam, true);
        spans[0].rule = SPAN_ALL;
        return 1;
    }
    size_t n = list_memories(g, layer, b, seq, 1, spans);
    spans[n] = grad_span_at(g, layer, b->row0 + seq * b->rows_each, b->rows_each, b->position, true);
    spans[n].rule = SPAN_ALL;
    return n + 1;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

/* Of a memory that was made of the tokens up to position `last`. */
static void places_after(const struct grad *g, double last, double *places)
{
    int64_t fam = g->options.fam;
    for (int64_t i = 0; i < fam; i++) {
        switch (g->options.fam_positions) {
        case SNELLEN_FAM_FLOAT: places[i] = last + (double)(i + 1) / (double)(fam + 1); break;
        case SNELLEN_FAM_ZERO: places[i] = 0; break;
        default: places[i] = last - (double)(fam - 1 - i);
        }
    }
}

/* The turns of memory rows [row, row + fam), for full and windowed layers. */
static void turn_places(struct grad *g, const double *places, int64_t row, float *turns, float *turns_local)
{
    const struct rope *rope = &g->model->rope, *local = &g->model->rope_local;
    if (turns)
        rope_angles_between(turns + row * 2 * rope->half, places, g->options.fam, rope->inv_freq, rope->half, rope->scale);
    if (turns_local)
        rope_angles_between(turns_local + row * 2 * local->half, places, g->options.fam, local->inv_freq, local->half,
                            local->scale);
}

static void enter_block(struct grad *g, const struct grad_block *b)
{
    const struct model_desc *d = &g->model->desc;
    struct grad_scratch *s = &g->s;
    int64_t fam = g->options.fam, n_memories = b->index < 0 ? 1 : g->n_seqs, half = 2 * g->model->rope.half;
    double last_key = (double)b->position - 1, last_query = b->index < 0 ? last_key : last_key + (double)b->rows_each;
    if (s->turns) memcpy(s->key_turns, s->turns, (size_t)(b->n_tokens * half) * sizeof(float));
    if (s->turns_local)
        memcpy(s->key_turns_local, s->turns_local, (size_t)(b->n_tokens * 2 * g->model->rope_local.half) * sizeof(float));
    for (int64_t i = 0; i < n_memories; i++) {
        int64_t row = b->n_tokens + i * fam;
        places_after(g, last_query, s->places);
        for (int64_t j = 0; j < fam; j++) s->positions[row + j] = (int64_t)s->places[j];
        if (d->positions != POSITION_ROTARY) continue;
        turn_places(g, s->places, row, s->turns, s->turns_local);
        places_after(g, last_key, s->places);
        turn_places(g, s->places, row, s->key_turns, s->key_turns_local);
    }
}

/* ---- block -1 ---------------------------------------------------------------------------------------------------- */

static struct grad_block start_block(const struct grad *g)
{
    return (struct grad_block){.index = -1, .row0 = g->total_rows, .n_rows = g->options.fam, .position = g->position};
}

/* Rows [fam, d] become the memory of a layer before the first block, of every sequence. */
static void begin_with(struct grad *g, int64_t layer, const float *rows)
{
    int64_t n = g->options.fam * g->model->desc.d_model, each = MIN(g->block_each, g->n_tokens);
    float *to = g->inputs[layer] + g->n_seqs * each * g->model->desc.d_model;
    for (int64_t seq = 0; seq < g->n_seqs; seq++) memcpy(to + seq * n, rows, (size_t)n * sizeof *rows);
    if (g->first_group) memcpy(g->memory_rows + layer * n, rows, (size_t)n * sizeof *rows);
}

static bool each_layer_learned(const struct grad *g)
{
    return g->model->memory.prompt_rows > g->options.fam;
}

static void start(struct grad *g)
{
    int64_t n = g->options.fam * g->model->desc.d_model, n_layers = g->model->desc.n_layers;
    const float *rows = g->memory_start ? g->memory_start : g->model->memory.prompt;
    if (g->memory_start || each_layer_learned(g)) {
        for (int64_t layer = 0; layer < n_layers; layer++) begin_with(g, layer, rows + layer * n);
        return;
    }
    struct grad_block b = start_block(g);
    enter_block(g, &b);
    memcpy(g->starts[0], rows, (size_t)n * sizeof *rows);
    for (int64_t layer = 0; layer < n_layers; layer++) {
        g->start_tape.x = g->starts[layer];
        begin_with(g, layer, g->starts[layer]);
        grad_layer_forward(g, layer, &b, &g->start_tape, layer + 1 < n_layers ? g->starts[layer + 1] : g->raised);
    }
}

/* dx [fam, d] += what came back to a layer's first memory from all sequences */
static void gather(const struct grad *g, int64_t layer, float *dx)
{
    int64_t n = g->options.fam * g->model->desc.d_model;
    for (int64_t seq = 0; seq < g->n_seqs; seq++) add_to(dx, dmemory_of(g, layer) + seq * n, n);
}

static void start_backward(struct grad *g)
{
    int64_t n = g->options.fam * g->model->desc.d_model, n_layers = g->model->desc.n_layers;
    float *dprompt = g->model->memory_dprompt, *dx = g->raised;
    if (g->memory_start) return;
    if (each_layer_learned(g)) {
        for (int64_t layer = 0; layer < n_layers && dprompt; layer++) gather(g, layer, dprompt + layer * n);
        return;
    }
    struct grad_block b = start_block(g);
    enter_block(g, &b);
    memset(dx, 0, (size_t)n * sizeof *dx);
    for (int64_t layer = n_layers - 1; layer >= 0; layer--) {
        g->start_tape.x = g->starts[layer];
        grad_layer_forward(g, layer, &b, &g->start_tape, NULL);
        grad_layer_backward(g, layer, &b, &g->start_tape, dx);
        gather(g, layer, dx);
    }
    if (dprompt) add_to(dprompt, dx, n);
}

/* ---- between blocks ------------------------------------------------------------------------------------------------ */

static void pass_on(struct grad *g, int64_t layer, const struct grad_block *b, const float *x)
{
    int64_t n_layers = g->model->desc.n_layers, d = g->model->desc.d_model, fam = g->options.fam;
    const float *memory = x + b->n_tokens * d;
    float *up = layer + 1 < n_layers ? g->inputs[b->index * n_layers + layer + 1] : g->x;
    memcpy(up, x, rows_bytes(g, b->n_tokens));
    if (b->rows_each < g->block_each) return;   /* only a full block is compressed */
    if (g->first_group) memcpy(g->memory_rows + layer * fam * d, memory, rows_bytes(g, fam));
    int64_t read = (b->index + 1) * g->block_each, next = MIN(g->block_each, g->n_tokens - read);
    if (next <= 0) return;
    float *to = g->inputs[(b->index + 1) * n_layers + layer] + g->n_seqs * next * d;
    memcpy(to, memory, rows_bytes(g, g->n_seqs * fam));
    grad_add_noise(g, to, g->n_seqs * fam);
}

static void take_back(struct grad *g, int64_t layer, const struct grad_block *b, float *dx)
{
    memcpy(memory_part(g, b, dx), dmemory_of(g, layer), rows_bytes(g, g->n_seqs * g->options.fam));
}

static void hand_back(struct grad *g, int64_t layer, const struct grad_block *b, const float *dx)
{
    memcpy(dmemory_of(g, layer), dx + b->n_tokens * g->model->desc.d_model, rows_bytes(g, g->n_seqs * g->options.fam));
}

const struct grad_memory grad_fam = {
    .n_kinds = 1, .enter_block = enter_block, .start = start, .start_backward = start_backward, .token_spans = token_spans,
    .row_spans = row_spans, .pass_on = pass_on, .take_back = take_back, .hand_back = hand_back,
};
