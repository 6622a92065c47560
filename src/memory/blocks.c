/* bswa, xl and fam: the text in blocks of b tokens. A row sees its own block up to itself, and the keys of the m blocks
 * before it as they were computed when those blocks ran (arXiv 2404.09173, algorithm 1):
 *
 *     bswa    all of those blocks
 *     xl      of those blocks and its own the last `window` tokens
 *     fam     as bswa, and the memory's F rows (of the last k blocks): feedback.c makes them where a block is complete
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
    double *positions;          /* [fam] where the memory that is being made stands */
    int64_t n_made;             /* memories that were made, the first one included */
    int64_t compressed;         /* tokens that are in them */
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
    b->base.length = b->compressed = b->n_made = 0;
    b->learned_start = true;
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
    int64_t seen = MIN(b->n_made, b->shape.fam_blocks);
    for (int64_t i = b->n_made - seen; fam && i < b->n_made; i++) {
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
    m->length += ((struct blocks *)m)->batch->n_rows;
}

/* Back to the start, or within the block that is being filled. */
static bool blocks_truncate(struct memory *m, int64_t n)
{
    struct blocks *b = (struct blocks *)m;
    int64_t size = b->shape.block, begin = (m->length - 1) / size * size;
    if (n == 0) {
        forget(b);
        return true;
    }
    if (n <= begin || (b->shape.fam && b->compressed > begin)) return false;
    m->length = n;
    return true;
}

/* ---- the memory's rows (fam) --------------------------------------------------------------------------------------------------- */

static enum memory_work fam_work(const struct memory *m)
{
    const struct blocks *b = (const struct blocks *)m;
    if (!b->n_made) return b->shape.prompt_each_layer || !b->learned_start ? MEMORY_START_ROWS : MEMORY_START_PROMPT;
    return m->length - b->compressed == b->shape.block ? MEMORY_UPDATE : MEMORY_NOTHING;
}

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

static const double *fam_positions(const struct memory *m)
{
    const struct blocks *b = (const struct blocks *)m;
    int64_t fam = b->shape.fam;
    double last = (double)m->length - 1;
    for (int64_t i = 0; i < fam; i++) {
        switch (b->shape.fam_positions) {
        case SNELLEN_FAM_FLOAT: b->positions[i] = last + (double)(i + 1) / (double)(fam + 1); break;
        case SNELLEN_FAM_ZERO: b->positions[i] = 0; break;
        default: b->positions[i] = last - (double)(fam - 1 - i);
        }
    }
    return b->positions;
}

/* Its own rows as they were kept last, and the block. */
static size_t fam_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    const struct blocks *b = (const struct blocks *)m;
    int64_t fam = b->shape.fam, size = b->shape.block, block = m->length / size - 1;
    bool start = fam_work(m) != MEMORY_UPDATE;
    int64_t newest = start ? 0 : b->n_made - 1;
    spans[0] = kv_span(&b->fam_kv, layer, newest % b->shape.fam_blocks * fam, fam, newest * size - fam);
    spans[0].rule = SPAN_ALL;
    if (start) return 1;
    spans[1] = kv_span(&b->kv, layer, slot_of(b, block), size, block * size);
    spans[1].rule = SPAN_ALL;
    return 2;
}

static void fam_keep(struct memory *m, int64_t layer, const float *k, const float *v)
{
    struct blocks *b = (struct blocks *)m;
    kv_put(&b->fam_kv, layer, b->n_made % b->shape.fam_blocks * b->shape.fam, k, v, 0, b->shape.fam);
}

static bool fam_carries(const struct memory *m)
{
    const struct blocks *b = (const struct blocks *)m;
    return b->n_made > 1 || !b->learned_start;
}

static void fam_done(struct memory *m)
{
    struct blocks *b = (struct blocks *)m;
    b->n_made++;
    b->compressed = m->length;
}

static void fam_carry(struct memory *m)
{
    ((struct blocks *)m)->learned_start = false;
}

static const struct memory_feedback feedback = {
    .work = fam_work, .n_rows = fam_n_rows, .rows = fam_rows, .queries = fam_queries, .positions = fam_positions,
    .spans = fam_spans, .keep = fam_keep, .carries = fam_carries, .done = fam_done,
    .carry = fam_carry,
};

/* ---- as part of a state ---------------------------------------------------------------------------------------------------------- */

/* How many memories were made, and from how much, follows from the length: a whole block waits for the token after it. */
static void blocks_state(struct memory *m, struct state *s)
{
    struct blocks *b = (struct blocks *)m;
    const struct memory_shape *shape = &b->shape;
    int64_t n_rows = shape->n_layers * shape->fam, learned = b->learned_start;
    kv_state(&b->kv, 0, MIN(m->length, b->kv.slots), s);
    if (!shape->fam) return;
    kv_state(&b->fam_kv, 0, b->fam_kv.slots, s);
    state_bytes(s, b->rows, (uint64_t)(n_rows * shape->d_model) * sizeof *b->rows);
    state_bytes(s, b->queries, (uint64_t)(n_rows * shape->n_heads * shape->head_dim) * sizeof *b->queries);
    state_number(s, &learned, 0, 1, "start of the memory");
    b->learned_start = learned;
    b->compressed = m->length ? (m->length - 1) / shape->block * shape->block : 0;
    b->n_made = m->length ? b->compressed / shape->block + 1 : 0;
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
    .name = "fam", .kind = SNELLEN_MEMORY_FAM, .bytes = blocks_bytes, .create = fam_create, .feedback = &feedback, BLOCKS};
