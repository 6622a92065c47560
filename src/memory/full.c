/* full: every token sees all before it; layers that have a window of their own see that window. Keys and values lie in
 * the order of the text: slot = position. A batch of branches puts its rows behind the last slot in use, where the next
 * rows of the session will overwrite them; a branch of several batches is alone in each, behind its own earlier rows. */
#include "memory/kv.h"

#include <stdlib.h>

struct full {
    struct memory base;
    struct kv_store kv;
    const uint8_t *windowed;    /* the model's */
    int64_t window, n_context;
    const struct batch *batch;
};

/* One more chunk of slots than tokens, for branches. */
static int64_t full_slots(const struct memory_shape *shape)
{
    return shape->n_context + shape->chunk;
}

static bool full_bytes(const struct memory_shape *shape, uint64_t *bytes)
{
    return kv_bytes(shape, full_slots(shape), bytes);
}

static void full_free(struct memory *m)
{
    struct full *full = (struct full *)m;
    if (full) kv_free(&full->kv);
    free(full);
}

static snellen_status full_create(const struct memory_shape *shape, struct memory **out, snellen_error *err)
{
    struct full *full = calloc(1, sizeof *full);
    FAIL_IF(!full, SNELLEN_E_MEMORY, "memory ran out");
    full->base.ops = memory_find(SNELLEN_MEMORY_FULL);
    full->windowed = shape->windowed;
    full->window = shape->model_window;
    full->n_context = shape->n_context;
    snellen_status status = kv_init(&full->kv, shape, full_slots(shape), err);
    if (status) {
        full_free(&full->base);
        return status;
    }
    *out = &full->base;
    return SNELLEN_OK;
}

static int64_t full_capacity(const struct memory *m)
{
    return ((const struct full *)m)->n_context;
}

static void full_begin(struct memory *m, const struct batch *batch)
{
    ((struct full *)m)->batch = batch;
}

static void full_store(struct memory *m, int64_t layer, const float *k, const float *v)
{
    struct full *full = (struct full *)m;
    int64_t placed = full->batch->groups ? full->batch->groups[0].placed : 0;
    kv_put(&full->kv, layer, m->length + placed, k, v, 0, full->batch->n_rows);
}

static size_t full_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    const struct full *full = (const struct full *)m;
    const struct batch *batch = full->batch;
    size_t n = 0;
    if (!batch->groups) spans[n++] = kv_span(&full->kv, layer, 0, m->length + batch->n_rows, 0);
    for (size_t i = 0; i < batch->n_groups; i++) {
        const struct row_group *g = &batch->groups[i];
        spans[n] = kv_span(&full->kv, layer, 0, g->keep, 0);
        spans[n + 1] = kv_span(&full->kv, layer, m->length + g->row0, g->placed + g->rows, g->keep);
        for (int j = 0; j < 2; j++, n++) {
            spans[n].row0 = g->row0;
            spans[n].rows = g->rows;
        }
    }
    if (full->window > 0 && full->windowed && full->windowed[layer])
        for (size_t i = 0; i < n; i++) {
            spans[i].rule = SPAN_BAND;
            spans[i].band = full->window;
        }
    return n;
}

static const int64_t *full_query_positions(const struct memory *m)
{
    (void)m;
    return NULL;
}

static void full_end(struct memory *m)
{
    const struct batch *batch = ((struct full *)m)->batch;
    if (!batch->groups) m->length += batch->n_rows;
}

static bool full_truncate(struct memory *m, int64_t n)
{
    m->length = n;
    return true;
}

static void full_state(struct memory *m, struct state *s)
{
    kv_state(&((struct full *)m)->kv, 0, m->length, s);
}

const struct memory_ops memory_full = {
    .name = "full", .kind = SNELLEN_MEMORY_FULL, .branches = true, .bytes = full_bytes, .create = full_create,
    .free = full_free, .capacity = full_capacity, .begin = full_begin, .store = full_store, .spans = full_spans,
    .query_positions = full_query_positions, .end = full_end, .truncate = full_truncate,
    .state = full_state,
};
