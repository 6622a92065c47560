/* Lanes: many timelines over a model that go through the layers together. A session's batch has rows of one
 * timeline; here each group of its rows continues another one, so that writing a token in each of many short texts
 * costs one pass.
 *
 * A lane has at most LANE_ROWS rows in a batch, so that its memory keeps little room for rows on their way. */
#include "model/model.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { LANE_ROWS = 64, DEFAULT_ROWS = 512 };

struct snellen_lanes {
    const snellen_model *model;
    snellen_session_options options;   /* resolved; chunk = rows of one lane in a batch */
    int64_t n_lanes, rows;             /* rows of a batch */
    struct memory *memory;
    struct workspace w;
    struct batch batch;                /* in the making */
    int32_t *tokens;                   /* [rows] */
    struct row_group *groups;          /* [n_lanes] */
    size_t *owner;                     /* [n_lanes] the feed that a group belongs to */
    size_t *done;                      /* [n_lanes] tokens of each feed that were read */
    bool *taken;                       /* [n_lanes] a feed of this call has the lane */
    int64_t *picked;                   /* [logit rows] */
};

/* ---- life -------------------------------------------------------------------------------------------------------- */

static snellen_status lanes_fit(const snellen_lanes *l, const struct memory_shape *m, const struct workspace_shape *w,
                                snellen_error *err)
{
    uint64_t cache, scratch, total, available = mem_available();
    bool fits = memory_find(l->options.memory)->bytes(m, &cache) && workspace_bytes(l->model, w, &scratch) &&
                size_mul(cache, (uint64_t)l->n_lanes, &cache) && size_add(cache, scratch, &total) && total <= available;
    FAIL_IF(!fits, SNELLEN_E_MEMORY, "%lld lanes of %lld tokens do not fit into the %.1f MB available; fewer lanes, or "
            "a smaller context, need less", (long long)l->n_lanes, (long long)l->options.n_context,
            (double)available / 1e6);
    return SNELLEN_OK;
}

static snellen_status lanes_init(snellen_lanes *l, snellen_error *err)
{
    struct memory_shape m = session_memory_shape(l->model, &l->options);
    struct workspace_shape w = session_workspace_shape(&m, &l->options);
    w.rows = l->rows;
    w.lanes = l->n_lanes;
    TRY(lanes_fit(l, &m, &w, err));
    TRY(memory_lanes_create(memory_find(l->options.memory), &m, l->n_lanes, l->rows, &l->memory, err));
    TRY(workspace_init(&l->w, l->model, &w, err));
    TRY(NEW_ARRAY(&l->tokens, l->rows, "rows", err));
    TRY(NEW_ARRAY(&l->groups, l->n_lanes, "lanes", err));
    TRY(NEW_ARRAY(&l->owner, l->n_lanes, "lanes", err));
    TRY(NEW_ARRAY(&l->done, l->n_lanes, "lanes", err));
    TRY(NEW_ARRAY(&l->taken, l->n_lanes, "lanes", err));
    return NEW_ARRAY(&l->picked, l->w.logit_rows, "rows", err);
}

snellen_status snellen_lanes_new(const snellen_model *model, const snellen_session_options *options, int64_t n_lanes,
                                 snellen_lanes **lanes, snellen_error *err)
{
    snellen_session_options o = options ? *options : snellen_session_options_default();
    int64_t rows = o.chunk ? o.chunk : DEFAULT_ROWS;
    TRY(session_resolve(model, &o, err));
    FAIL_IF(n_lanes < 1 || n_lanes > SNELLEN_MAX_LANES, SNELLEN_E_USAGE, "lanes are %lld, 1 to %d expected",
            (long long)n_lanes, SNELLEN_MAX_LANES);
    FAIL_IF(memory_find(o.memory)->room, SNELLEN_E_UNSUPPORTED, "lanes have no memory of blocks (%s): full, swa or sink "
            "expected", memory_find(o.memory)->name);
    o.chunk = MIN(o.chunk, LANE_ROWS);
    snellen_lanes *l = calloc(1, sizeof *l);
    FAIL_IF(!l, SNELLEN_E_MEMORY, "memory ran out");
    *l = (snellen_lanes){.model = model, .options = o, .n_lanes = n_lanes, .rows = rows};
    snellen_status status = lanes_init(l, err);
    if (status) {
        snellen_lanes_free(l);
        return status;
    }
    *lanes = l;
    return SNELLEN_OK;
}

void snellen_lanes_free(snellen_lanes *l)
{
    if (!l) return;
    if (l->memory) l->memory->ops->free(l->memory);
    workspace_free(&l->w);
    mem_free(l->tokens);
    mem_free(l->groups);
    mem_free(l->owner);
    mem_free(l->done);
    mem_free(l->taken);
    mem_free(l->picked);
    free(l);
}

void snellen_lanes_clear(snellen_lanes *l, int64_t lane)
{
    struct memory *m = lane >= 0 && lane < l->n_lanes ? memory_lane(l->memory, lane) : NULL;
    if (m) m->ops->truncate(m, 0);
}

/* ---- feeding ----------------------------------------------------------------------------------------------------- */

static snellen_status check_feed(const snellen_lanes *l, const snellen_lane_feed *feed, size_t i, snellen_error *err)
{
    FAIL_IF(feed->lane < 0 || feed->lane >= l->n_lanes, SNELLEN_E_USAGE, "feed %zu is for lane %lld of %lld", i,
            (long long)feed->lane, (long long)l->n_lanes);
    FAIL_IF(l->taken[feed->lane], SNELLEN_E_USAGE, "feed %zu: lane %lld is fed twice", i, (long long)feed->lane);
    FAIL_IF(feed->n_tokens < 1, SNELLEN_E_USAGE, "feed %zu has no token", i);
    const struct memory *m = memory_lane(l->memory, feed->lane);
    FAIL_IF(feed->n_tokens > (uint64_t)(m->ops->capacity(m) - m->length), SNELLEN_E_CONTEXT,
            "lane %lld: %zu tokens after %lld are more than the context of %lld", (long long)feed->lane, feed->n_tokens,
            (long long)m->length, (long long)m->ops->capacity(m));
    return session_check_tokens(l->model, feed->tokens, feed->n_tokens, err);
}

/* Puts the next rows of a feed into the batch, as many as there are and fit. */
static void add_rows(snellen_lanes *l, const snellen_lane_feed *feed, size_t i)
{
    int64_t row0 = l->batch.n_rows, start = memory_lane(l->memory, feed->lane)->length;
    int64_t n = MIN(MIN((int64_t)(feed->n_tokens - l->done[i]), l->rows - row0), l->options.chunk);
    l->owner[l->batch.n_groups] = i;
    l->groups[l->batch.n_groups++] = (struct row_group){.row0 = row0, .rows = n, .lane = feed->lane};
    memcpy(l->tokens + row0, feed->tokens + l->done[i], (size_t)n * sizeof *l->tokens);
    for (int64_t j = 0; j < n; j++) l->w.positions[row0 + j] = start + j;
    l->done[i] += (size_t)n;
    l->batch.n_rows += n;
}

/* The logits of the feeds whose last row went through in this batch. */
static void give_logits(snellen_lanes *l, const snellen_lane_feed *feeds, float *logits)
{
    int64_t vocab = l->model->desc.n_vocab;
    size_t tile[64], n = 0;
    int64_t most = MIN(l->w.logit_rows, (int64_t)COUNT_OF(tile));
    for (size_t g = 0; g < l->batch.n_groups; g++) {
        size_t i = l->owner[g];
        if (l->done[i] == feeds[i].n_tokens) {
            l->picked[n] = l->groups[g].row0 + l->groups[g].rows - 1;
            tile[n++] = i;
        }
        if (n == 0 || ((int64_t)n < most && g + 1 < l->batch.n_groups)) continue;
        decoder_logits(l->model, &l->w, l->picked, (int64_t)n, l->w.logits);
        for (size_t j = 0; j < n; j++)
            memcpy(logits + tile[j] * (size_t)vocab, l->w.logits + j * (size_t)vocab, (size_t)vocab * sizeof *logits);
        n = 0;
    }
}

static snellen_status flush(snellen_lanes *l, const snellen_lane_feed *feeds, float *logits, snellen_error *err)
{
    static const struct batch_outputs nothing;
    if (!l->batch.n_rows) return SNELLEN_OK;
    TRY(decoder_forward(l->model, &l->w, &l->batch, l->memory, &nothing, err));
    give_logits(l, feeds, logits);
    l->batch.n_rows = 0;
    l->batch.n_groups = 0;
    return SNELLEN_OK;
}

/* Rounds over the feeds: in each one every lane has one group of rows at most. */
static snellen_status feed_rounds(snellen_lanes *l, const snellen_lane_feed *feeds, size_t n, float *logits,
                                  snellen_error *err)
{
    l->batch = (struct batch){.tokens = l->tokens, .positions = l->w.positions, .groups = l->groups};
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < n; i++) {
            if (l->done[i] == feeds[i].n_tokens) continue;
            if (l->batch.n_rows == l->rows) TRY(flush(l, feeds, logits, err));
            add_rows(l, &feeds[i], i);
            more = more || l->done[i] < feeds[i].n_tokens;
        }
        TRY(flush(l, feeds, logits, err));
    }
    return SNELLEN_OK;
}

snellen_status snellen_lanes_feed(snellen_lanes *l, const snellen_lane_feed *feeds, size_t n, float *logits,
                                  snellen_error *err)
{
    FAIL_IF(n > (size_t)l->n_lanes, SNELLEN_E_USAGE, "%zu feeds for %lld lanes", n, (long long)l->n_lanes);
    memset(l->taken, 0, (size_t)l->n_lanes * sizeof *l->taken);
    memset(l->done, 0, (size_t)l->n_lanes * sizeof *l->done);
    for (size_t i = 0; i < n; i++) {
        TRY(check_feed(l, &feeds[i], i, err));
        l->taken[feeds[i].lane] = true;
    }
    int threads = omp_get_max_threads();
    omp_set_num_threads(l->options.n_threads);
    snellen_status status = feed_rounds(l, feeds, n, logits, err);
    omp_set_num_threads(threads);
    return status;
}
