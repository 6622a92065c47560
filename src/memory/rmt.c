/* rmt: recurrent memory (arXiv 2207.06881). The text in blocks of b tokens, each between F rows that are read and F rows that
 * are written; nothing else goes from block to block:
 *
 *     read rows      see one another
 *     block's rows   see the read rows and their own block up to themselves
 *     write rows     see the read rows, the whole block and one another
 *
 * Both enter the first layer as the same rows, the memory; what the write rows are after the last layer, before the final
 * norm, is the memory of the next block. A block that is not full is never written. Read rows stand on the F places before
 * the block, write rows on its last F. */
#include "memory/kv.h"

#include <stdlib.h>
#include <string.h>

struct rmt {
    struct memory base;
    struct memory_shape shape;
    struct kv_store kv;         /* of the block, then of the read rows, then of the write rows */
    float *rows;                /* [fam, d_model] the memory */
    double *positions;          /* [fam] */
    const struct batch *batch;
    bool write_due, read_due;   /* passes to make before the next batch, in this order */
};

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static int64_t slots_of(const struct memory_shape *s)
{
    return s->block + 2 * s->fam;
}

static bool rmt_bytes(const struct memory_shape *s, uint64_t *bytes)
{
    uint64_t rows;
    return kv_bytes(s, slots_of(s), bytes) && size_mul((uint64_t)(s->fam * s->d_model), sizeof(float), &rows) &&
           size_add(*bytes, rows, bytes);
}

static void rmt_free(struct memory *m)
{
    struct rmt *r = (struct rmt *)m;
    if (!r) return;
    kv_free(&r->kv);
    mem_free(r->rows);
    mem_free(r->positions);
    free(r);
}

static void forget(struct rmt *r)
{
    r->base.length = 0;
    r->write_due = false;
    r->read_due = true;
    memcpy(r->rows, r->shape.prompt, (size_t)(r->shape.fam * r->shape.d_model) * sizeof *r->rows);
}

static snellen_status rmt_create(const struct memory_shape *shape, struct memory **out, snellen_error *err)
{
    FAIL_IF(shape->prompt_each_layer, SNELLEN_E_USAGE, "memory rmt: one prompt expected, not one for each layer");
    struct rmt *r = calloc(1, sizeof *r);
    FAIL_IF(!r, SNELLEN_E_MEMORY, "memory ran out");
    r->base.ops = memory_find(SNELLEN_MEMORY_RMT);
    r->shape = *shape;
    snellen_status status = kv_init(&r->kv, shape, slots_of(shape), err);
    if (!status) status = NEW_ARRAY(&r->rows, shape->fam * shape->d_model, "memory rows", err);
    if (!status) status = NEW_ARRAY(&r->positions, shape->fam, "positions", err);
    if (status) {
        rmt_free(&r->base);
        return status;
    }
    forget(r);
    *out = &r->base;
    return SNELLEN_OK;
}

static int64_t rmt_capacity(const struct memory *m)
{
    return ((const struct rmt *)m)->shape.max_position;
}

static int64_t rmt_room(const struct memory *m)
{
    int64_t block = ((const struct rmt *)m)->shape.block;
    return block - m->length % block;
}

static bool rmt_truncate(struct memory *m, int64_t n)
{
    struct rmt *r = (struct rmt *)m;
    if (n == 0) {
        forget(r);
        return true;
    }
    if (n <= (m->length - 1) / r->shape.block * r->shape.block) return false;
    m->length = n;
    r->write_due = false;
    return true;
}

/* What is due follows from the length. */
static void rmt_state(struct memory *m, struct state *s)
{
    struct rmt *r = (struct rmt *)m;
    int64_t block = r->shape.block, filled = m->length ? (m->length - 1) % block + 1 : 0;
    kv_state(&r->kv, 0, filled, s);
    kv_state(&r->kv, block, 2 * r->shape.fam, s);
    state_bytes(s, r->rows, (uint64_t)(r->shape.fam * r->shape.d_model) * sizeof *r->rows);
    r->write_due = filled == block;
    r->read_due = m->length == 0;
}

/* ---- the text's rows ------------------------------------------------------------------------------------------------------- */

/* Memory rows on the F places before `end`: those that are read, or written. */
static struct attn_span memory_span(const struct rmt *r, int64_t layer, bool written, int64_t end)
{
    int64_t fam = r->shape.fam;
    struct attn_span span = kv_span(&r->kv, layer, r->shape.block + (written ? fam : 0), fam, end - fam);
    span.rule = SPAN_ALL;
    return span;
}

/* n tokens of the block that begins at `begin`. */
static struct attn_span block_span(const struct rmt *r, int64_t layer, int64_t begin, int64_t n)
{
    const struct memory_shape *s = &r->shape;
    struct attn_span span = kv_span(&r->kv, layer, 0, n, begin);
    if (s->windowed && s->windowed[layer] && s->model_window > 0) {
        span.rule = SPAN_BAND;
        span.band = s->model_window;
    }
    return span;
}

static void rmt_begin(struct memory *m, const struct batch *batch)
{
    ((struct rmt *)m)->batch = batch;
}

static void rmt_store(struct memory *m, int64_t layer, const float *k, const float *v)
{
    struct rmt *r = (struct rmt *)m;
    kv_put(&r->kv, layer, m->length % r->shape.block, k, v, 0, r->batch->n_rows);
}

static size_t rmt_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    const struct rmt *r = (const struct rmt *)m;
    int64_t within = m->length % r->shape.block;
    spans[0] = memory_span(r, layer, false, m->length - within);
    spans[1] = block_span(r, layer, m->length - within, within + r->batch->n_rows);
    return 2;
}

static const int64_t *rmt_query_positions(const struct memory *m)
{
    (void)m;
    return NULL;
}

static void rmt_end(struct memory *m)
{
    struct rmt *r = (struct rmt *)m;
    m->length += r->batch->n_rows;
    r->write_due = m->length % r->shape.block == 0;
}

/* ---- the memory's rows ------------------------------------------------------------------------------------------------------- */

static int64_t rmt_n_rows(const struct memory *m)
{
    return ((const struct rmt *)m)->shape.fam;
}

static const float *rmt_run(struct memory *m)
{
    const struct rmt *r = (const struct rmt *)m;
    return r->write_due || r->read_due ? r->rows : NULL;
}

/* The last places of a block that was read are those before the next. */
static const double *rmt_positions(const struct memory *m)
{
    const struct rmt *r = (const struct rmt *)m;
    for (int64_t i = 0; i < r->shape.fam; i++) r->positions[i] = (double)(m->length - r->shape.fam + i);
    return r->positions;
}

static void rmt_keep(struct memory *m, int64_t layer, const float *k, const float *v)
{
    struct rmt *r = (struct rmt *)m;
    kv_put(&r->kv, layer, r->shape.block + (r->write_due ? r->shape.fam : 0), k, v, 0, r->shape.fam);
}

static size_t run_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    const struct rmt *r = (const struct rmt *)m;
    int64_t block = r->shape.block;
    spans[0] = memory_span(r, layer, r->write_due, m->length);
    if (!r->write_due) return 1;
    spans[1] = block_span(r, layer, m->length - block, block);
    spans[1].rule = SPAN_ALL;
    spans[2] = memory_span(r, layer, false, m->length - block);
    return 3;
}

static void rmt_done(struct memory *m, const float *x)
{
    struct rmt *r = (struct rmt *)m;
    if (r->write_due) memcpy(r->rows, x, (size_t)(r->shape.fam * r->shape.d_model) * sizeof *x);
    r->read_due = r->write_due;
    r->write_due = false;
}

static void rmt_replace(struct memory *m, int64_t layer, const float *rows)
{
    struct rmt *r = (struct rmt *)m;
    (void)layer;
    memcpy(r->rows, rows, (size_t)(r->shape.fam * r->shape.d_model) * sizeof *rows);
    r->write_due = false;
    r->read_due = true;
}

static const struct memory_passes passes = {
    .run = rmt_run, .positions = rmt_positions, .keep = rmt_keep, .spans = run_spans, .done = rmt_done,
};

const struct memory_ops memory_rmt = {
    .name = "rmt", .kind = SNELLEN_MEMORY_RMT, .bytes = rmt_bytes, .create = rmt_create, .free = rmt_free,
    .capacity = rmt_capacity, .begin = rmt_begin, .store = rmt_store, .spans = rmt_spans,
    .query_positions = rmt_query_positions, .end = rmt_end, .room = rmt_room, .n_rows = rmt_n_rows,
    .replace = rmt_replace, .passes = &passes,
    .truncate = rmt_truncate, .state = rmt_state,
};
