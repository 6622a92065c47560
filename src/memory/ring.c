/* swa and sink: keys and values of the last tokens in a ring, slot = position mod slots; cost and memory do not depend on
 * how many tokens were read.
 *
 *     swa     row at position p sees p - window < q <= p
 *     sink    and the first `sinks` tokens, for ever (StreamingLLM, arXiv 2309.17453)
 *
 * Positions under sink are counted inside the cache: 0 .. sinks-1 for the first tokens, then the window. Keys keep the
 * angles they were stored with. Inside the window only differences matter, and those are true; towards the first tokens
 * the query is turned to its position in the cache, min(p, sinks + window - 1), as if nothing lay between. */
#include "memory/kv.h"

#include <stdlib.h>

struct ring {
    struct memory base;
    struct kv_store kv;         /* slots of the window, then `sinks` slots of the first tokens */
    const uint8_t *windowed;
    int64_t model_window, window, sinks, slots, max_position;
    const struct batch *batch;
    int64_t *cache_positions;   /* [chunk] of the batch's rows */
    bool shifted;               /* some of the batch's rows lie beyond the cache */
};

/* The window of the first row and all rows of the batch are there at once. */
static int64_t ring_slots(const struct memory_shape *shape)
{
    return shape->window + shape->chunk;
}

static bool ring_bytes(const struct memory_shape *shape, uint64_t *bytes)
{
    return kv_bytes(shape, ring_slots(shape) + shape->sinks, bytes);
}

static void ring_free(struct memory *m)
{
    struct ring *ring = (struct ring *)m;
    if (!ring) return;
    kv_free(&ring->kv);
    mem_free(ring->cache_positions);
    free(ring);
}

static snellen_status ring_create(const struct memory_shape *shape, const struct memory_ops *ops, int64_t sinks,
                                  struct memory **out, snellen_error *err)
{
    struct ring *ring = calloc(1, sizeof *ring);
    FAIL_IF(!ring, SNELLEN_E_MEMORY, "memory ran out");
    ring->base.ops = ops;
    ring->windowed = shape->windowed;
    ring->model_window = shape->model_window;
    ring->window = shape->window;
    ring->sinks = sinks;
    ring->slots = ring_slots(shape);
    ring->max_position = shape->max_position;
    snellen_status status = kv_init(&ring->kv, shape, ring->slots + sinks, err);
    if (!status) status = NEW_ARRAY(&ring->cache_positions, shape->chunk, "positions", err);
    if (status) {
        ring_free(&ring->base);
        return status;
    }
    *out = &ring->base;
    return SNELLEN_OK;
}

static snellen_status swa_create(const struct memory_shape *shape, struct memory **out, snellen_error *err)
{
    return ring_create(shape, memory_find(SNELLEN_MEMORY_SWA), 0, out, err);
}

static snellen_status sink_create(const struct memory_shape *shape, struct memory **out, snellen_error *err)
{
    return ring_create(shape, memory_find(SNELLEN_MEMORY_SINK), shape->sinks, out, err);
}

static int64_t ring_capacity(const struct memory *m)
{
    return ((const struct ring *)m)->max_position;
}

static void ring_begin(struct memory *m, const struct batch *batch)
{
    struct ring *ring = (struct ring *)m;
    int64_t last = ring->sinks + ring->window - 1;
    ring->batch = batch;
    ring->shifted = ring->sinks > 0 && m->length + batch->n_rows - 1 > last;
    for (int64_t i = 0; i < batch->n_rows; i++) ring->cache_positions[i] = MIN(m->length + i, last);
}

static void ring_store(struct memory *m, int64_t layer, const float *k, const float *v)
{
    struct ring *ring = (struct ring *)m;
    int64_t n = ring->batch->n_rows, start = m->length;
    for (int64_t i = 0; i < n;) {
        int64_t slot = (start + i) % ring->slots, run = MIN(n - i, ring->slots - slot);
        kv_put(&ring->kv, layer, slot, k, v, i, run);
        i += run;
    }
    if (start < ring->sinks) kv_put(&ring->kv, layer, ring->slots + start, k, v, 0, MIN(n, ring->sinks - start));
}

/* The first tokens as one span, then what lies in the window (two spans where the ring wraps). A layer that the model gave
 * a window of its own keeps just that: it never saw the first tokens from afar, and so a sink memory that holds the whole
 * text is full attention for every model. */
static size_t ring_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    const struct ring *ring = (const struct ring *)m;
    bool own = ring->windowed && ring->windowed[layer] && ring->model_window > 0 && ring->model_window <= ring->window;
    int64_t end = m->length + ring->batch->n_rows, window = own ? ring->model_window : ring->window;
    int64_t sinks = own ? 0 : ring->sinks, n_first = MIN(sinks, end);
    size_t n = 0;
    if (n_first > 0) {
        spans[n] = kv_span(&ring->kv, layer, ring->slots, n_first, 0);
        if (ring->shifted) spans[n].q_positions = ring->cache_positions;
        n++;
    }
    for (int64_t at = MAX(m->length - window + 1, sinks); at < end;) {
        int64_t slot = at % ring->slots, run = MIN(end - at, ring->slots - slot);
        spans[n] = kv_span(&ring->kv, layer, slot, run, at);
        spans[n].rule = SPAN_BAND;
        spans[n].band = window;
        at += run;
        n++;
    }
    return n;
}

static const int64_t *ring_query_positions(const struct memory *m)
{
    const struct ring *ring = (const struct ring *)m;
    return ring->shifted ? ring->cache_positions : NULL;
}

static void ring_end(struct memory *m)
{
    m->length += ((struct ring *)m)->batch->n_rows;
}

static bool ring_truncate(struct memory *m, int64_t n)
{
    const struct ring *ring = (const struct ring *)m;
    if (n > 0 && m->length > ring->slots) return false;
    m->length = n;
    return true;
}

/* Slots hold the tokens modulo their number, which the chunk is part of. */
static void ring_state(struct memory *m, struct state *s)
{
    struct ring *ring = (struct ring *)m;
    state_same(s, ring->slots - ring->window, "chunk");
    kv_state(&ring->kv, 0, MIN(m->length, ring->slots), s);
    kv_state(&ring->kv, ring->slots, MIN(m->length, ring->sinks), s);
}

const struct memory_ops memory_swa = {
    .name = "swa", .kind = SNELLEN_MEMORY_SWA, .bytes = ring_bytes, .create = swa_create, .free = ring_free,
    .capacity = ring_capacity, .begin = ring_begin, .store = ring_store, .spans = ring_spans,
    .query_positions = ring_query_positions, .end = ring_end, .truncate = ring_truncate,
    .state = ring_state,
};

const struct memory_ops memory_sink = {
    .name = "sink", .kind = SNELLEN_MEMORY_SINK, .shifts_positions = true, .bytes = ring_bytes, .create = sink_create,
    .free = ring_free, .capacity = ring_capacity, .begin = ring_begin, .store = ring_store, .spans = ring_spans,
    .query_positions = ring_query_positions, .end = ring_end, .truncate = ring_truncate,
    .state = ring_state,
};
