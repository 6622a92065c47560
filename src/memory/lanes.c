/* Lanes: many memories of one kind behind one batch. Each group of rows of a batch belongs to one lane, whose own
 * memory sees a batch of those rows only; what it answers is moved to where the rows stand in the whole batch. */
#include "model/memory.h"

#include <stdlib.h>
#include <string.h>

struct lanes {
    struct memory base;
    struct memory **lane;       /* [n] */
    int64_t n, width;           /* n_kv_heads * head_dim */
    const struct batch *batch;
    struct batch *parts;        /* [n] each group as a batch of its own */
    int64_t *query_positions;   /* [rows] of the whole batch; the lanes' own where they have some */
    bool shifted;
};

struct memory *memory_lane(const struct memory *m, int64_t lane)
{
    return ((const struct lanes *)m)->lane[lane];
}

static void lanes_free(struct memory *m)
{
    struct lanes *lanes = (struct lanes *)m;
    for (int64_t i = 0; lanes->lane && i < lanes->n; i++)
        if (lanes->lane[i]) lanes->lane[i]->ops->free(lanes->lane[i]);
    mem_free(lanes->lane);
    mem_free(lanes->parts);
    mem_free(lanes->query_positions);
    free(lanes);
}

/* Lane and part of group i. */
static struct memory *group_lane(const struct lanes *lanes, size_t i)
{
    return lanes->lane[lanes->batch->groups[i].lane];
}

static void lanes_begin(struct memory *m, const struct batch *batch)
{
    struct lanes *lanes = (struct lanes *)m;
    lanes->batch = batch;
    lanes->shifted = false;
    memcpy(lanes->query_positions, batch->positions, (size_t)batch->n_rows * sizeof *batch->positions);
    for (size_t i = 0; i < batch->n_groups; i++) {
        const struct row_group *g = &batch->groups[i];
        struct memory *lane = group_lane(lanes, i);
        lanes->parts[i] = (struct batch){.tokens = batch->tokens + g->row0, .positions = batch->positions + g->row0,
                                         .n_rows = g->rows};
        lane->ops->begin(lane, &lanes->parts[i]);
        const int64_t *own = lane->ops->query_positions(lane);
        if (!own) continue;
        memcpy(lanes->query_positions + g->row0, own, (size_t)g->rows * sizeof *own);
        lanes->shifted = true;
    }
}

static void lanes_store(struct memory *m, int64_t layer, const float *k, const float *v)
{
    struct lanes *lanes = (struct lanes *)m;
    for (size_t i = 0; i < lanes->batch->n_groups; i++) {
        int64_t at = lanes->batch->groups[i].row0 * lanes->width;
        struct memory *lane = group_lane(lanes, i);
        lane->ops->store(lane, layer, k + at, v + at);
    }
}

static size_t lanes_spans(const struct memory *m, int64_t layer, struct attn_span *spans)
{
    const struct lanes *lanes = (const struct lanes *)m;
    size_t n = 0;
    for (size_t i = 0; i < lanes->batch->n_groups; i++) {
        const struct row_group *g = &lanes->batch->groups[i];
        const struct memory *lane = group_lane(lanes, i);
        for (size_t end = n + lane->ops->spans(lane, layer, spans + n); n < end; n++) {
            spans[n].row0 = g->row0;
            spans[n].rows = g->rows;
            if (spans[n].q_positions) spans[n].q_positions = lanes->query_positions;
        }
    }
    return n;
}

static const int64_t *lanes_query_positions(const struct memory *m)
{
    const struct lanes *lanes = (const struct lanes *)m;
    return lanes->shifted ? lanes->query_positions : NULL;
}

static void lanes_end(struct memory *m)
{
    struct lanes *lanes = (struct lanes *)m;
    for (size_t i = 0; i < lanes->batch->n_groups; i++) {
        struct memory *lane = group_lane(lanes, i);
        lane->ops->end(lane);
    }
}

/* What the decoder calls; lanes are made, measured and cut back one by one. */
static const struct memory_ops lanes_ops = {
    .name = "lanes", .free = lanes_free, .begin = lanes_begin, .store = lanes_store, .spans = lanes_spans,
    .query_positions = lanes_query_positions, .end = lanes_end,
};

snellen_status memory_lanes_create(const struct memory_ops *ops, const struct memory_shape *shape, int64_t n_lanes,
                                   int64_t rows, struct memory **out, snellen_error *err)
{
    struct lanes *lanes = calloc(1, sizeof *lanes);
    FAIL_IF(!lanes, SNELLEN_E_MEMORY, "memory ran out");
    lanes->base.ops = &lanes_ops;
    lanes->n = n_lanes;
    lanes->width = shape->n_kv_heads * shape->head_dim;
    snellen_status status = NEW_ARRAY(&lanes->lane, n_lanes, "lanes", err);
    if (!status) status = NEW_ARRAY(&lanes->parts, n_lanes, "lanes", err);
    if (!status) status = NEW_ARRAY(&lanes->query_positions, rows, "positions", err);
    for (int64_t i = 0; i < n_lanes && !status; i++) status = ops->create(shape, &lanes->lane[i], err);
    if (status) {
        lanes_free(&lanes->base);
        return status;
    }
    *out = &lanes->base;
    return SNELLEN_OK;
}
