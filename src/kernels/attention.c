/* attention: the softmax over spans. This file decides who computes what: which keys a row may see, how the work is cut
 * into items, how partial results come together; the arithmetic is in attention_body.h.
 *
 * An item is (kv head, piece of its query heads, block of rows): at most ATTN_LANES queries ("lanes") that share one
 * pass over K and V. Within it, a span that many lanes see goes through panels (lanes side by side in vectors, K and V
 * widened to f32 once a block), one that few see through the dot products of attn_queries. Both keep a running softmax;
 * finish_item() adds them up. When there are few items (decoding), each is cut along the keys into parts whose results
 * are merged in order. Items and parts follow from the sizes of the call alone, so the thread count changes no byte.
 *
 * Hidden keys of a block that some row sees get the weight 0. That is as if they were not there, except that 0 times an
 * infinity or NaN in V is NaN: such a value can reach rows of its block that do not see its key. */
#include "base/base.h"
#include "kernels/table.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#define LOG2E 1.4426950408889634

/* Most (item, part) pairs whose partial results are kept at once, and the fewest blocks of keys worth a part. */
#define MAX_PARTIALS 64
#define MIN_PART_BLOCKS 4
/* Multiply-adds below which a second thread costs more than it brings. */
#define SERIAL_WORK 65536

struct call {
    float *out;
    const float *q;
    const int64_t *positions;
    int64_t n_rows;
    const struct attn_span *spans;
    size_t n_spans;
    const struct attn_shape *shape;
    const struct row_kernels *row;

    int64_t group;                 /* query heads of a kv head */
    int64_t item_heads, pieces;    /* query heads of an item, pieces of a group */
    int64_t item_rows, row_blocks; /* rows of an item, blocks of rows */
    int64_t n_items, n_parts;
    int64_t n_blocks;              /* blocks of keys that any row sees, over all spans; parts divide these */
    int64_t stride;                /* head_dim rounded up to 16 */
    float q_factor, cap;
    float *partials;               /* [n_items * n_parts, ATTN_LANES, 2 + head_dim]: max, sum, out */
};

/* Scratch of one thread. The first half belongs to panels, [ATTN_LANES / panel] of each. */
struct work {
    float *panel_q, *panel_out;      /* [panels, head_dim, panel] */
    float *panel_max, *panel_sum;    /* [ATTN_LANES] */
    float *scores;                   /* [ATTN_KEY_BLOCK, panel] */
    float *k, *v;                    /* [ATTN_KEY_BLOCK, head_dim] */
    float *row_q, *row_out;          /* [ATTN_LANES, stride] */
    float *row_max, *row_sum;        /* [ATTN_LANES] */
    float *slopes, *distances, *first_key, *end_key; /* [ATTN_LANES] */
    int64_t *first, *end;            /* [ATTN_LANES] keys that each row of the item sees in a span */
};

struct item {
    int64_t kv_head, head0, n_heads, row0, n_rows, lanes, panels;
    bool panels_used, rows_used;
    const float *panel_source;       /* whose queries panel_q holds */
};

/* A stretch of keys or rows [begin, end). */
struct range {
    int64_t begin, end;
};

/* ---- scratch ----------------------------------------------------------------------------------------------------- */

static size_t work_floats(int64_t head_dim, int64_t stride)
{
    size_t dim = (size_t)head_dim, lanes = ATTN_LANES, block = ATTN_KEY_BLOCK;
    return 2 * lanes * dim + 2 * block * dim + 2 * lanes * (size_t)stride + block * lanes + 8 * lanes + 2 * lanes * 2;
}

static int64_t padded(int64_t head_dim) { return (head_dim + 15) / 16 * 16; }

static size_t partial_floats(int64_t head_dim) { return (size_t)MAX_PARTIALS * ATTN_LANES * (size_t)(head_dim + 2); }

size_t attention_scratch_bytes(const struct attn_shape *shape, int n_threads)
{
    size_t threads = (size_t)(n_threads > 0 ? n_threads : 1);
    size_t floats = partial_floats(shape->head_dim) + threads * work_floats(shape->head_dim, padded(shape->head_dim));
    return floats * sizeof(float) + 64;
}

static struct work work_at(float *p, int64_t head_dim, int64_t stride)
{
    struct work w;
    w.first = (int64_t *)(void *)p, p += 2 * ATTN_LANES;
    w.end = (int64_t *)(void *)p, p += 2 * ATTN_LANES;
    float **const lanes[] = { &w.panel_max, &w.panel_sum, &w.row_max, &w.row_sum,
                              &w.slopes, &w.distances, &w.first_key, &w.end_key };
    for (size_t i = 0; i < sizeof(lanes) / sizeof(lanes[0]); i++, p += ATTN_LANES) *lanes[i] = p;
    w.scores = p, p += ATTN_KEY_BLOCK * ATTN_LANES;
    w.panel_q = p, p += ATTN_LANES * head_dim;
    w.panel_out = p, p += ATTN_LANES * head_dim;
    w.row_q = p, p += ATTN_LANES * stride;
    w.row_out = p, p += ATTN_LANES * stride;
    w.k = p, p += ATTN_KEY_BLOCK * head_dim;
    w.v = p;
    return w;
}

/* ---- who sees what ----------------------------------------------------------------------------------------------- */

/* a - b, or the nearest number that fits. */
static int64_t difference(int64_t a, int64_t b)
{
    int64_t d;
    if (__builtin_sub_overflow(a, b, &d)) return a < b ? INT64_MIN / 2 : INT64_MAX / 2;
    return d < INT64_MIN / 2 ? INT64_MIN / 2 : d > INT64_MAX / 2 ? INT64_MAX / 2 : d;
}

static int64_t clamp(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

/* The keys of the span that a row at position p sees. */
static struct range seen_keys(const struct attn_span *s, int64_t p)
{
    struct range r = { 0, s->n_keys };
    if (s->rule == SPAN_ALL) return r;
    int64_t at = difference(p, s->first_position);
    r.end = clamp(at + 1, 0, s->n_keys);
    if (s->rule == SPAN_BAND) r.begin = clamp(at - clamp(s->band, 0, INT64_MAX / 4) + 1, 0, r.end);
    return r;
}

/* Which of rows [begin, end) the span is for. */
static struct range span_rows(const struct attn_span *s, int64_t begin, int64_t end)
{
    struct range r = { begin, end };
    if (s->n_keys <= 0) r.end = r.begin;
    else if (s->rows > 0) {
        r.begin = clamp(s->row0, begin, end);
        r.end = clamp(s->row0 + s->rows, r.begin, end);
    }
    return r;
}

/* The keys that any of the rows sees; when `first` is given also those of each row, as entries row - row0 of first and
 * end. */
static struct range seen_by_rows(const struct call *c, const struct attn_span *s, struct range rows, int64_t row0,
                                 int64_t *first, int64_t *end)
{
    struct range all = { INT64_MAX, 0 };
    for (int64_t i = rows.begin; i < rows.end; i++) {
        struct range r = seen_keys(s, c->positions[i]);
        if (first) {
            first[i - row0] = r.begin;
            end[i - row0] = r.end;
        }
        if (r.begin >= r.end) continue;
        if (r.begin < all.begin) all.begin = r.begin;
        if (r.end > all.end) all.end = r.end;
    }
    return all.end ? all : (struct range){ 0, 0 };
}

/* The same in whole blocks, for all rows of the call. */
static struct range span_blocks(const struct call *c, const struct attn_span *s)
{
    struct range keys = seen_by_rows(c, s, span_rows(s, 0, c->n_rows), 0, NULL, NULL);
    return (struct range){ keys.begin / ATTN_KEY_BLOCK, (keys.end + ATTN_KEY_BLOCK - 1) / ATTN_KEY_BLOCK };
}

/* ---- one item ---------------------------------------------------------------------------------------------------- */

static struct item item_at(const struct call *c, int64_t index)
{
    /* last rows first: with a causal rule they have the most to do */
    int64_t block = c->row_blocks - 1 - index / (c->shape->n_kv_heads * c->pieces);
    int64_t piece = index % c->pieces;
    struct item it = { .kv_head = index / c->pieces % c->shape->n_kv_heads, .row0 = block * c->item_rows };
    it.head0 = it.kv_head * c->group + piece * c->item_heads;
    it.n_heads = clamp(c->group - piece * c->item_heads, 0, c->item_heads);
    it.n_rows = clamp(c->n_rows - it.row0, 0, c->item_rows);
    it.lanes = it.n_rows * it.n_heads;
    it.panels = (it.lanes + c->row->panel - 1) / c->row->panel;
    return it;
}

static void fill(float *x, float value, int64_t n)
{
    for (int64_t i = 0; i < n; i++) x[i] = value;
}

/* Lane l is row l / n_heads, head l % n_heads of the item. */
static const float *lane_query(const struct call *c, const struct item *it, const float *q, int64_t lane)
{
    int64_t row = it->row0 + lane / it->n_heads, head = it->head0 + lane % it->n_heads;
    return q + (row * c->shape->n_heads + head) * c->shape->head_dim;
}

/* panel_q = the item's queries, turned so that lanes are contiguous; lanes past the last are zero. */
static void load_panels(const struct call *c, struct item *it, struct work *w, const float *q)
{
    int64_t panel = c->row->panel, dim = c->shape->head_dim;
    if (!it->panels_used) {
        fill(w->panel_max, -INFINITY, it->panels * panel);
        memset(w->panel_sum, 0, sizeof(float) * (size_t)(it->panels * panel));
        memset(w->panel_out, 0, sizeof(float) * (size_t)(it->panels * panel * dim));
        it->panels_used = true;
    }
    if (it->panel_source == q) return;
    it->panel_source = q;
    for (int64_t l = 0; l < it->panels * panel; l++) {
        float *to = w->panel_q + l / panel * panel * dim + l % panel;
        const float *from = l < it->lanes ? lane_query(c, it, q, l) : NULL;
        for (int64_t d = 0; d < dim; d++) to[d * panel] = from ? from[d] * c->q_factor : 0;
    }
}

/* row_q = the queries of rows [begin, end) of the item's lanes. */
static void load_rows(const struct call *c, struct item *it, struct work *w, const float *q, struct range rows)
{
    int64_t dim = c->shape->head_dim;
    if (!it->rows_used) {
        fill(w->row_max, -INFINITY, it->lanes);
        memset(w->row_sum, 0, sizeof(float) * (size_t)it->lanes);
        memset(w->row_out, 0, sizeof(float) * (size_t)(it->lanes * c->stride));
        memset(w->row_q, 0, sizeof(float) * (size_t)(it->lanes * c->stride));
        it->rows_used = true;
    }
    for (int64_t l = (rows.begin - it->row0) * it->n_heads; l < (rows.end - it->row0) * it->n_heads; l++) {
        const float *from = lane_query(c, it, q, l);
        for (int64_t d = 0; d < dim; d++) w->row_q[l * c->stride + d] = from[d] * c->q_factor;
    }
}

/* ALiBi of lanes [lane0, lane0 + n): slopes in units of log2, distances from key `at` of the span. */
static void load_distances(const struct call *c, const struct item *it, struct work *w, const struct attn_span *s,
                           int64_t lane0, int64_t n, int64_t at)
{
    const int64_t *positions = s->q_positions ? s->q_positions : c->positions;
    for (int64_t l = 0; l < n; l++) {
        bool exists = lane0 + l < it->lanes;
        int64_t row = it->row0 + (lane0 + l) / it->n_heads, head = it->head0 + (lane0 + l) % it->n_heads;
        double factor = exists && c->shape->slope_factors ? (double)c->shape->slope_factors[row] : 1;
        w->slopes[l] = exists ? (float)((double)c->shape->alibi[head] * factor * LOG2E) : 0;
        w->distances[l] = exists ? (float)((double)positions[row] - (double)s->first_position - (double)at) : 0;
    }
}

/* Keys [begin, end) of one block through every panel that sees some of them. */
static void panels_block(const struct call *c, const struct item *it, struct work *w, const struct attn_span *s,
                         const float *k, const float *v, int64_t begin, int64_t end)
{
    int64_t panel = c->row->panel, dim = c->shape->head_dim;
    for (int64_t p = 0; p < it->panels; p++) {
        int64_t lane0 = p * panel, lane_end = clamp(lane0 + panel, 0, it->lanes);
        int64_t row_first = lane0 / it->n_heads, row_last = (lane_end - 1) / it->n_heads;
        int64_t some_first = end, some_end = begin, all_first = begin, all_end = end;
        for (int64_t i = row_first; i <= row_last; i++) {
            some_first = MIN(some_first, w->first[i]), all_first = MAX(all_first, w->first[i]);
            some_end = MAX(some_end, w->end[i]), all_end = MIN(all_end, w->end[i]);
        }
        int64_t from = MAX(begin, some_first), to = MIN(end, some_end);
        if (from >= to) continue;
        struct attn_rule rule = { .cap = c->cap };
        if (c->shape->alibi) {
            load_distances(c, it, w, s, lane0, panel, from);
            rule.slopes = w->slopes, rule.distances = w->distances;
        }
        if (all_first > from || all_end < to) {
            for (int64_t l = 0; l < panel; l++) {
                int64_t i = (lane0 + l) / it->n_heads; /* lanes past the last see everything and are not read */
                w->first_key[l] = lane0 + l < it->lanes ? (float)clamp(w->first[i] - from, 0, ATTN_KEY_BLOCK) : 0;
                w->end_key[l] = lane0 + l < it->lanes ? (float)clamp(w->end[i] - from, 0, ATTN_KEY_BLOCK)
                                                      : (float)ATTN_KEY_BLOCK;
            }
            rule.first = w->first_key, rule.end = w->end_key;
        }
        struct attn_panel state = { w->panel_q + lane0 * dim, w->scores, w->panel_max + lane0, w->panel_sum + lane0,
                                    w->panel_out + lane0 * dim };
        c->row->attn_panel(&state, k + (from - begin) * dim, v + (from - begin) * dim, to - from, dim, &rule);
    }
}

/* Keys [begin, end) of one block, which lie at k and v, for each of the rows by itself; keys to `last` come after them. */
static void rows_block(const struct call *c, const struct item *it, struct work *w, const struct attn_span *s,
                       struct range rows, const void *k, const void *v, bool half, int64_t begin, int64_t end, int64_t last)
{
    size_t size = half ? sizeof(uint16_t) : sizeof(float);
    for (int64_t i = rows.begin - it->row0; i < rows.end - it->row0; i++) {
        int64_t from = MAX(begin, w->first[i]), to = MIN(end, w->end[i]), lane0 = i * it->n_heads;
        if (from >= to) continue;
        struct attn_rule rule = { .cap = c->cap };
        if (c->shape->alibi) {
            load_distances(c, it, w, s, lane0, it->n_heads, from);
            rule.slopes = w->slopes, rule.distances = w->distances;
        }
        struct attn_queries state = { it->n_heads, c->stride, w->row_q + lane0 * c->stride, w->row_max + lane0,
                                      w->row_sum + lane0, w->row_out + lane0 * c->stride };
        size_t offset = (size_t)((from - begin) * c->shape->head_dim) * size;
        c->row->attn_queries(&state, (const char *)k + offset, (const char *)v + offset, half, to - from,
                             MIN(last - to, ATTN_KEY_BLOCK), c->shape->head_dim, &rule);
    }
}

/* n elements as f32. */
static void widen(enum dtype type, float *y, const void *x, int64_t n)
{
    kernels()->dot->widen[type](y, x, n);
}

/* The item's share of one span: the blocks of keys in `blocks`. */
static void attend_span(const struct call *c, struct item *it, struct work *w, const struct attn_span *s,
                        struct range blocks)
{
    struct range rows = span_rows(s, it->row0, it->row0 + it->n_rows);
    if (rows.begin >= rows.end) return;
    struct range keys = seen_by_rows(c, s, rows, it->row0, w->first, w->end);
    int64_t begin = MAX(keys.begin, blocks.begin * ATTN_KEY_BLOCK), end = MIN(keys.end, blocks.end * ATTN_KEY_BLOCK);
    if (begin >= end) return;

    const float *q = s->q ? s->q : c->q;
    bool by_rows = (rows.end - rows.begin) * it->n_heads * 2 <= c->row->panel;
    if (by_rows) load_rows(c, it, w, q, rows);
    else {
        load_panels(c, it, w, q);
        for (int64_t i = 0; i < it->n_rows; i++)
            if (i + it->row0 < rows.begin || i + it->row0 >= rows.end) w->first[i] = w->end[i] = 0;
    }
    int64_t dim = c->shape->head_dim;
    enum dtype type = c->shape->kv_type;
    bool half = by_rows && type == DT_F16;   /* read where they lie, as f32 is */
    for (int64_t to; begin < end; begin = to) {
        to = MIN(end, (begin / ATTN_KEY_BLOCK + 1) * ATTN_KEY_BLOCK);
        int64_t at = dtype_row_bytes(type, it->kv_head * s->head_stride + begin * dim);
        const void *k = (const char *)s->k + at, *v = (const char *)s->v + at;
        if (type != DT_F32 && !half) {
            widen(type, w->k, k, (to - begin) * dim);
            widen(type, w->v, v, (to - begin) * dim);
            k = w->k, v = w->v;
        }
        if (by_rows) rows_block(c, it, w, s, rows, k, v, half, begin, to, type == DT_F32 || half ? end : to);
        else panels_block(c, it, w, s, k, v, begin, to);
    }
}

/* ---- putting results together ------------------------------------------------------------------------------------ */

/* A running softmax of one query: adds another one (max, sum, x [n] with steps of `step` elements). */
static void merge(float *max, float *sum, float *out, float other_max, float other_sum, const float *x, int64_t step,
                  int64_t n)
{
    if (other_sum == 0) return;
    float m = *sum == 0 || other_max > *max ? other_max : *max;
    float a = *sum == 0 ? 0 : exp2f(*max - m), b = exp2f(other_max - m);
    *sum = *sum * a + other_sum * b;
    *max = m;
    for (int64_t d = 0; d < n; d++) out[d] = out[d] * a + x[d * step] * b;
}

static void normalise(float *out, float sum, int64_t n)
{
    if (sum == 0) return; /* saw nothing: out is zero */
    float inv = 1 / sum;
    for (int64_t d = 0; d < n; d++) out[d] *= inv;
}

static float *lane_out(const struct call *c, const struct item *it, int64_t lane)
{
    int64_t row = it->row0 + lane / it->n_heads, head = it->head0 + lane % it->n_heads;
    return c->out + (row * c->shape->n_heads + head) * c->shape->head_dim;
}

static float *partial_at(const struct call *c, int64_t index, int64_t part, int64_t lane)
{
    return c->partials + ((index * c->n_parts + part) * ATTN_LANES + lane) * (c->shape->head_dim + 2);
}

/* The item's lanes go to the output, or to the partial results of (index, part). */
static void finish_item(const struct call *c, const struct item *it, const struct work *w, int64_t index, int64_t part)
{
    int64_t panel = c->row->panel, dim = c->shape->head_dim;
    for (int64_t l = 0; l < it->lanes; l++) {
        float max = -INFINITY, sum = 0;
        float *partial = c->n_parts > 1 ? partial_at(c, index, part, l) : NULL;
        float *out = partial ? partial + 2 : lane_out(c, it, l);
        memset(out, 0, sizeof(float) * (size_t)dim);
        if (it->panels_used)
            merge(&max, &sum, out, w->panel_max[l], w->panel_sum[l],
                  w->panel_out + l / panel * panel * dim + l % panel, panel, dim);
        if (it->rows_used) merge(&max, &sum, out, w->row_max[l], w->row_sum[l], w->row_out + l * c->stride, 1, dim);
        if (partial) partial[0] = max, partial[1] = sum;
        else normalise(out, sum, dim);
    }
}

static void merge_parts(const struct call *c, int64_t index)
{
    struct item it = item_at(c, index);
    int64_t dim = c->shape->head_dim;
    for (int64_t l = 0; l < it.lanes; l++) {
        float max = -INFINITY, sum = 0, *out = lane_out(c, &it, l);
        memset(out, 0, sizeof(float) * (size_t)dim);
        for (int64_t part = 0; part < c->n_parts; part++) {
            const float *p = partial_at(c, index, part, l);
            merge(&max, &sum, out, p[0], p[1], p + 2, 1, dim);
        }
        normalise(out, sum, dim);
    }
}

/* One part of one item from its first span to its results. */
static void attend_item(const struct call *c, int64_t index, int64_t part, struct work *w)
{
    struct item it = item_at(c, index);
    int64_t begin = c->n_blocks * part / c->n_parts, end = c->n_blocks * (part + 1) / c->n_parts, block = 0;
    for (size_t i = 0; i < c->n_spans; i++) {
        const struct attn_span *s = &c->spans[i];
        struct range blocks = { 0, INT64_MAX / ATTN_KEY_BLOCK };
        if (c->n_parts > 1) {
            blocks = span_blocks(c, s);
            int64_t n = blocks.end - blocks.begin, first = blocks.begin;
            blocks.begin = first + clamp(begin - block, 0, n);
            blocks.end = first + clamp(end - block, 0, n);
            block += n;
        }
        attend_span(c, &it, w, s, blocks);
    }
    finish_item(c, &it, w, index, part);
}

/* ---- the call ---------------------------------------------------------------------------------------------------- */

/* Items, and parts of items where there are few. */
static void plan(struct call *c)
{
    const struct attn_shape *shape = c->shape;
    c->group = shape->n_heads / shape->n_kv_heads;
    c->item_heads = MIN(c->group, ATTN_LANES);
    c->pieces = (c->group + c->item_heads - 1) / c->item_heads;
    c->item_rows = ATTN_LANES / c->item_heads;
    c->row_blocks = (c->n_rows + c->item_rows - 1) / c->item_rows;
    c->n_items = shape->n_kv_heads * c->pieces * c->row_blocks;
    c->n_parts = 1;
    c->stride = padded(shape->head_dim);
    c->cap = shape->soft_cap > 0 ? (float)((double)shape->soft_cap * LOG2E) : 0;
    c->q_factor = shape->soft_cap > 0 ? shape->scale / shape->soft_cap : (float)((double)shape->scale * LOG2E);
    if (c->n_items > MAX_PARTIALS) return;
    for (size_t i = 0; i < c->n_spans; i++) {
        struct range blocks = span_blocks(c, &c->spans[i]);
        c->n_blocks += blocks.end - blocks.begin;
    }
    c->n_parts = clamp(c->n_blocks / MIN_PART_BLOCKS, 1, MAX_PARTIALS / c->n_items);
}

void attention(float *out, const float *q, const int64_t *positions, int64_t n_rows, const struct attn_span *spans,
               size_t n_spans, const struct attn_shape *shape, void *scratch, size_t scratch_bytes)
{
    if (n_rows <= 0) return;
    struct call c = { .out = out, .q = q, .positions = positions, .n_rows = n_rows, .spans = spans,
                      .n_spans = n_spans, .shape = shape, .row = kernels()->row };
    plan(&c);

    size_t pad = -(uintptr_t)scratch % 64, one = work_floats(shape->head_dim, c.stride);
    size_t fit = ((scratch_bytes - pad) / sizeof(float) - partial_floats(shape->head_dim)) / one;
    c.partials = (float *)(void *)((char *)scratch + pad);
    float *works = c.partials + partial_floats(shape->head_dim);

    int64_t n_tasks = c.n_items * c.n_parts, per_block = ATTN_KEY_BLOCK * 2 * shape->head_dim * shape->n_heads;
    bool small = n_tasks <= MAX_PARTIALS && c.n_blocks * n_rows <= SERIAL_WORK / per_block;
    int n_threads = (int)MAX(1, MIN(MIN((int64_t)fit, (int64_t)omp_get_max_threads()), small ? 1 : n_tasks));
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    {
        struct work w = work_at(works + (size_t)omp_get_thread_num() * one, shape->head_dim, c.stride);
#pragma omp for schedule(dynamic, 1)
        for (int64_t t = 0; t < n_tasks; t++) attend_item(&c, t / c.n_parts, t % c.n_parts, &w);
        if (c.n_parts > 1) {
#pragma omp for schedule(static)
            for (int64_t i = 0; i < c.n_items; i++) merge_parts(&c, i);
        }
    }
}
