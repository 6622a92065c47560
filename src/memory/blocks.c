/* bswa, xl and fam: the text in blocks of b tokens. A row sees its own block up to itself, and the keys of the m blocks
 * before it as they were computed when those blocks ran (arXiv 2404.09173, algorithm 1):
 *
 *     bswa    all of those blocks
 *     xl      of those blocks and its own the last `window` tokens
 *     fam     as bswa, and the memory's F rows (of the last k blocks), which ride behind the block's own rows: projected with its
 *             first batch, made with its last
 *
 * Keys lie in a ring of m + 1 blocks. The memory made of block t stands on the last F places of that block (or at
 * (last + 1/(F+1) ..), or at 0); the first one on the F places before the text. Memory and cost do not depend on how many
 * tokens were read. */
#include "memory/kv.h"

#include <stdlib.h>
#include <string.h>

struct blocks {
    struct memory base;
    struct memory_shape shape;
    struct kv_store kv;         /* (segments + 1) blocks */
    const struct batch *batch;
    /* fam */
    struct kv_store fam_kv;     /* fam_blocks memories of `fam` rows */
    float *rows;                /* [n_layers, fam, d_model] the newest memory */
    float *queries;             /* [n_layers, fam, n_heads * head_dim] of it, not turned */
    double *positions;          /* [fam] as asked for last */
    int64_t n_kept;             /* memories whose keys and values were kept: of n_kept blocks, the first one included */
    bool fresh;                 /* the rows are newer than those; so at the start of a block, and only there */
    bool due;                   /* the prompt has yet to run up through the layers */
    bool learned_start;         /* the first memory is a learned prompt: no context, so that it is not added to */
};

/* ---- sizes --------------------------------------------------------------------------------------------------------------- */

static bool fam_bytes(const struct memory_shape *s, uint64_t *bytes)
{
    uint64_t rows, kv;
    return size_mul((uint64_t)(s->n_layers * (s->d_model + s->n_heads * s->head_dim)), (uint64_t)s->fam * sizeof(float), &rows) &&
           kv_bytes(s, s->fam * s->fam_blocks, &kv) && size_add(rows, kv, bytes);
}

static bool blocks_bytes(const struct memory_shape *shape, uint64_t *bytes)
{
    uint64_t slots, fam = 0;
    return size_mul((uint64_t)shape->segments + 1, (uint64_t)shape->block, &slots) && slots < (uint64_t)1 << 40 &&
           kv_bytes(shape, (int64_t)slots, bytes) && (!shape->fam || fam_bytes(shape, &fam)) &&
           size_add(*bytes, fam, bytes);
}

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static void blocks_free(struct memory *m)
{
    struct blocks *b = (struct blocks *)m;
    if (!b) return;
    kv_free(&b->kv);
    kv_free(&b->fam_kv);
    mem_free(b->rows);
    mem_free(b->queries);
    mem_free(b->positions);
    free(b);
}

static void forget(struct blocks *b)
{
    const struct memory_shape *s = &b->shape;
    size_t n = (size_t)(s->fam * s->d_model) * (size_t)(s->prompt_each_layer ? s->n_layers : 1);
    b->base.length = b->n_kept = 0;
    b->fresh = b->learned_start = true;
    b->due = !s->prompt_each_layer;
    if (s->fam) memcpy(b->rows, s->prompt, n * sizeof *b->rows);
}

static snellen_status fam_init(struct blocks *b, snellen_error *err)
{
    const struct memory_shape *s = &b->shape;
    TRY(kv_init(&b->fam_kv, s, s->fam * s->fam_blocks, err));
    TRY(NEW_ARRAY(&b->rows, s->n_layers * s->fam * s->d_model, "memory rows", err));
    TRY(NEW_ARRAY(&b->queries, s->n_layers * s->fam * s->n_heads * s->head_dim, "memory rows", err));
    return NEW_ARRAY(&b->positions, s->fam, "positions", err);
}

static snellen_status blocks_create(const struct memory_shape *shape, const struct memory_ops *ops, struct memory **out,
                                    snellen_error *err)
{
    struct blocks *b = calloc(1, sizeof *b);
    FAIL_IF(!b, SNELLEN_E_MEMORY, "memory ran out");
    b->base.ops = ops;
    b->shape = *shape;
    if (ops->kind != SNELLEN_MEMORY_FAM) b->shape.fam = 0;
    if (ops->kind != SNELLEN_MEMORY_XL) b->shape.window = 0;
    snellen_status status = kv_init(&b->kv, shape, (shape->segments + 1) * shape->block, err);
    if (!status && b->shape.fam) status = fam_init(b, err);
    if (status) {
        blocks_free(&b->base);
        return status;
    }
    forget(b);
    *out = &b->base;
    return SNELLEN_OK;
}

static snellen_status bswa_create(const struct memory_shape *shape, struct memory **out, snellen_error *err)
{
    return blocks_create(shape, memory_find(SNELLEN_MEMORY_BSWA), out, err);
}

static snellen_status xl_create(const struct memory_shape *shape, struct memory **out, snellen_error *err)
{
    return blocks_create(shape, memory_find(SNELLEN_MEMORY_XL), out, err);
}

static snellen_status fam_create(const struct memory_shape *shape, struct memory **out, snellen_error *err)
{
    return blocks_create(shape, memory_find(SNELLEN_MEMORY_FAM), out, err);
}

static bool bswa_bytes(const struct memory_shape *shape, uint64_t *bytes)
{
    struct memory_shape s = *shape;
    s.fam = 0;
    return blocks_bytes(&s, bytes);
}

/* ---- the text's rows ------------------------------------------------------------------------------------------------------- */

static int64_t blocks_capacity(const struct memory *m)
{
    return ((const struct blocks *)m)->shape.max_position;
}

static int64_t blocks_room(const struct memory *m)
{
    const struct blocks *b = (const struct blocks *)m;
    return b->shape.block - m->length % b->shape.block;
}

static void blocks_begin(struct memory *m, const struct batch *batch)
{
    ((struct blocks *)m)->batch = batch;
}

/* Slot of the first token of a block. */
static int64_t slot_of(const struct blocks *b, int64_t block)
{
    return block % (b->shape.segments + 1) * b->shape.block;
}

static void blocks_store(struct memory *m, int64_t layer, const float *k, const float *v)
{
    struct blocks *b = (struct blocks *)m;
    int64_t size = b->shape.block;
    kv_put(&b->kv, layer, slot_of(b, m->length / size) + m->length % size, k, v, 0, b->batch->n_rows);
}

/* A span with the band of xl, or of a layer that the model gave a window of its own. */
static struct attn_span banded(const struct blocks *b, int64_t layer, struct attn_span span)
{
    bool own = b->shape.windowed && b->shape.windowed[layer] && b->shape.model_window > 0;
    int64_t window = b->shape.window;
    if (own) window = window ? MIN(window, b->shape.model_window) : b->shape.model_window;
    if (!window) return span;
    span.rule = SPAN_BAND;
    span.band = window;
    return span;
}

/* Blocks [first, last] as far as they lie together in the ring; own: how much of the last is there. */
static size_t spans_of_blocks(const struct blocks *b, int64_t layer, int64_t first, int64_t last, struct attn_span *spans)
{
    size_t n = 0;
    int64_t size = b->shape.block, ring = b->shape.segments + 1;
    while (first <= last) {
        int64_t run = MIN(last - first + 1, ring - first % ring);
        struct attn_span span = kv_span(&b->kv, layer, slot_of(b, first), run * size, first * size);
        span.rule = SPAN_ALL;
        spans[n++] = banded(b, layer, span);
        first += run;
    }
    return n;
}

static size_t blocks_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    const struct blocks *b = (const struct blocks *)m;
    int64_t size = b->shape.block, t = m->length / size, fam = b->shape.fam;
    size_t n = spans_of_blocks(b, layer, MAX(t - b->shape.segments, 0), t - 1, spans);
    int64_t made = b->n_kept + b->fresh, seen = MIN(made, b->shape.fam_blocks);
    for (int64_t i = made - seen; fam && i < made; i++) {
        spans[n] = kv_span(&b->fam_kv, layer, i % b->shape.fam_blocks * fam, fam, i * size - fam);
        spans[n++].rule = SPAN_ALL;
    }
    spans[n] = kv_span(&b->kv, layer, slot_of(b, t), m->length % size + b->batch->n_rows, t * size);
    spans[n] = banded(b, layer, spans[n]);
    return n + 1;
}

static const int64_t *blocks_query_positions(const struct memory *m)
{
    (void)m;
    return NULL;
}

static void blocks_end(struct memory *m)
{
    struct blocks *b = (struct blocks *)m;
    m->length += b->batch->n_rows;
    b->n_kept += b->fresh;
    b->fresh = m->length % b->shape.block == 0;
}

/* Back to the start, or within the block that is being filled; a memory that was made of it cannot be unmade. */
static bool blocks_truncate(struct memory *m, int64_t n)
{
    struct blocks *b = (struct blocks *)m;
    int64_t size = b->shape.block, begin = (m->length - 1) / size * size;
    if (n == 0) {
        forget(b);
        return true;
    }
    if (n <= begin || (b->shape.fam && b->fresh)) return false;
    m->length = n;
    return true;
}

/* ---- the memory's rows (fam) --------------------------------------------------------------------------------------------------- */

static int64_t fam_n_rows(const struct memory *m)
{
    return ((const struct blocks *)m)->shape.fam;
}

static float *fam_rows(struct memory *m, int64_t layer)
{
    struct blocks *b = (struct blocks *)m;
    return b->rows + layer * b->shape.fam * b->shape.d_model;
}

static float *fam_queries(struct memory *m, int64_t layer)
{
    struct blocks *b = (struct blocks *)m;
    return b->queries + layer * b->shape.fam * b->shape.n_heads * b->shape.head_dim;
}

static void fam_replace(struct memory *m, int64_t layer, const float *rows)
{
    const struct memory_shape *s = &((struct blocks *)m)->shape;
    memcpy(fam_rows(m, layer), rows, (size_t)(s->fam * s->d_model) * sizeof *rows);
}

/* Of a memory that was made when `length` tokens were read. */
static const double *positions_at(const struct blocks *b, int64_t length)
{
    int64_t fam = b->shape.fam;
    double last = (double)length - 1;
    for (int64_t i = 0; i < fam; i++) {
        switch (b->shape.fam_positions) {
        case SNELLEN_FAM_FLOAT: b->positions[i] = last + (double)(i + 1) / (double)(fam + 1); break;
        case SNELLEN_FAM_ZERO: b->positions[i] = 0; break;
        default: b->positions[i] = last - (double)(fam - 1 - i);
        }
    }
    return b->positions;
}

static const double *fam_key_positions(const struct memory *m)
{
    return positions_at((const struct blocks *)m, m->length);
}

static const double *fam_query_positions(const struct memory *m)
{
    const struct blocks *b = (const struct blocks *)m;
    return positions_at(b, m->length + b->batch->n_rows);
}

static bool fam_project(const struct memory *m)
{
    return ((const struct blocks *)m)->fresh;
}

static bool fam_attend(const struct memory *m)
{
    const struct blocks *b = (const struct blocks *)m;
    return (m->length + b->batch->n_rows) % b->shape.block == 0;
}

static void fam_keep(struct memory *m, int64_t layer, const float *k, const float *v)
{
    struct blocks *b = (struct blocks *)m;
    kv_put(&b->fam_kv, layer, b->n_kept % b->shape.fam_blocks * b->shape.fam, k, v, 0, b->shape.fam);
}

/* The memory before this block. */
static struct attn_span newest_span(const struct blocks *b, int64_t layer)
{
    int64_t fam = b->shape.fam, newest = b->n_kept + b->fresh - 1;
    struct attn_span span = kv_span(&b->fam_kv, layer, newest % b->shape.fam_blocks * fam, fam, newest * b->shape.block - fam);
    span.rule = SPAN_ALL;
    return span;
}

static size_t fam_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    const struct blocks *b = (const struct blocks *)m;
    int64_t size = b->shape.block, block = m->length / size;
    spans[0] = newest_span(b, layer);
    spans[1] = kv_span(&b->kv, layer, slot_of(b, block), size, block * size);
    spans[1].rule = SPAN_ALL;
    return 2;
}

static bool fam_carry_on(const struct memory *m)
{
    const struct blocks *b = (const struct blocks *)m;
    return m->length >= b->shape.block || !b->learned_start;
}

static void fam_carried(struct memory *m)
{
    struct blocks *b = (struct blocks *)m;
    b->learned_start = b->due = false;
}

/* ---- its start: the prompt runs up, and what enters a layer is that layer's first memory -------------------------------------------- */

static const float *start_run(struct memory *m)
{
    struct blocks *b = (struct blocks *)m;
    return b->due ? b->rows : NULL;
}

static void start_enter(struct memory *m, int64_t layer, const float *x)
{
    const struct memory_shape *s = &((struct blocks *)m)->shape;
    memcpy(fam_rows(m, layer), x, (size_t)(s->fam * s->d_model) * sizeof *x);
}

static size_t start_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    spans[0] = newest_span((const struct blocks *)m, layer);
    return 1;
}

static void start_done(struct memory *m, const float *x)
{
    (void)x;
    ((struct blocks *)m)->due = false;
}

static const struct memory_passes fam_passes = {
    .run = start_run, .positions = fam_key_positions, .enter = start_enter, .keep = fam_keep, .spans = start_spans,
    .done = start_done,
};

static const struct memory_riders fam_riders = {
    .project = fam_project, .attend = fam_attend, .rows = fam_rows, .queries = fam_queries,
    .key_positions = fam_key_positions, .query_positions = fam_query_positions, .keep = fam_keep, .spans = fam_spans,
    .carry_on = fam_carry_on, .carried = fam_carried,
};

/* ---- as part of a state ---------------------------------------------------------------------------------------------------------- */

/* How many memories were kept follows from the length. */
static void blocks_state(struct memory *m, struct state *s)
{
    struct blocks *b = (struct blocks *)m;
    const struct memory_shape *shape = &b->shape;
    int64_t n_rows = shape->n_layers * shape->fam, learned = b->learned_start, due = b->due;
    kv_state(&b->kv, 0, MIN(m->length, b->kv.slots), s);
    if (!shape->fam) return;
    kv_state(&b->fam_kv, 0, b->fam_kv.slots, s);
    state_bytes(s, b->rows, (uint64_t)(n_rows * shape->d_model) * sizeof *b->rows);
    state_bytes(s, b->queries, (uint64_t)(n_rows * shape->n_heads * shape->head_dim) * sizeof *b->queries);
    state_number(s, &learned, 0, 1, "start of the memory");
    state_number(s, &due, 0, m->length == 0, "start of the memory");
    b->learned_start = learned;
    b->due = due;
    b->fresh = m->length % shape->block == 0;
    b->n_kept = m->length / shape->block + !b->fresh;
}

/* ---- the three --------------------------------------------------------------------------------------------------------------------- */

#define BLOCKS                                                                                                         \
    .free = blocks_free, .capacity = blocks_capacity, .begin = blocks_begin, .store = blocks_store,                    \
    .spans = blocks_spans, .query_positions = blocks_query_positions, .end = blocks_end, .room = blocks_room,          \
    .truncate = blocks_truncate, .state = blocks_state

const struct memory_ops memory_bswa = {
    .name = "bswa", .kind = SNELLEN_MEMORY_BSWA, .bytes = bswa_bytes, .create = bswa_create, BLOCKS};
const struct memory_ops memory_xl = {
    .name = "xl", .kind = SNELLEN_MEMORY_XL, .bytes = bswa_bytes, .create = xl_create, BLOCKS};
const struct memory_ops memory_fam = {
    .name = "fam", .kind = SNELLEN_MEMORY_FAM, .bytes = blocks_bytes, .create = fam_create, .n_rows = fam_n_rows,
    .replace = fam_replace,
    .passes = &fam_passes, .riders = &fam_riders, BLOCKS};
