/* What the rows of a memory look at while a block is compressed. The session reads as always and shows its queries and
 * spans; rows behind a batch's (fam) or alone (rmt, behind their block) are the memory's. */
#include "probe/probe.h"

#include "model/session.h"

#include <stdlib.h>
#include <string.h>

/* Spans of rows that compress a block. Fewer: they see themselves alone, at the start of a text or a block. */
enum { FAM_SPANS = 2, RMT_SPANS = 3 };

struct watching {
    struct attn_watch watch;           /* first: the two share their address */
    snellen_memory_attention public;
    float *weights;
    float *row;                        /* [n_rows, n_seen] one head's */
    int64_t n_seen_blocks;             /* of those kept, compressed so far */
};

snellen_memory_options snellen_memory_options_default(void)
{
    return (snellen_memory_options){.n_answer = 1, .n_cuts = 16, .session = snellen_session_options_default()};
}

/* ---- one block in one layer -------------------------------------------------------------------------------------- */

/* Mean over heads of the rows' weights. */
static void add_heads(struct watching *w, const struct attn_shown *own, const int64_t *places, float *to)
{
    int64_t n = w->public.n_seen, n_rows = w->public.n_rows, n_heads = own->shape->n_heads;
    for (int64_t head = 0; head < n_heads; head++) {
        #pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n_rows; i++)
            attention_row(w->row + i * n, n, own, places, head, own->n_tokens + i);
        for (int64_t i = 0; i < n_rows * n; i++) to[i] += w->row[i] / (float)n_heads;
    }
}

static void see(struct attn_watch *watch, int64_t layer, const struct attn_shown *shown)
{
    struct watching *w = (struct watching *)watch;
    const snellen_memory_attention *a = &w->public;
    if (shown->n_rows == shown->n_tokens) return;
    struct attn_shown own = *shown;
    while (own.n_tokens && own.n_spans && own.spans->row0 < own.n_tokens) own.spans++, own.n_spans--;
    /* fam: memory before, block; rmt: the rows themselves, block, memory before */
    const int64_t fam[FAM_SPANS] = {0, a->n_rows}, rmt[RMT_SPANS] = {a->n_rows + a->block, a->n_rows, 0};
    if (own.n_spans < FAM_SPANS) return;
    int64_t block = own.spans[1].first_position / a->block - a->first_block;
    if (block < 0 || block >= a->n_blocks) return;
    add_heads(w, &own, own.n_spans == FAM_SPANS ? fam : rmt,
              w->weights + (layer * a->n_blocks + block) * a->n_rows * a->n_seen);
    w->n_seen_blocks = MAX(w->n_seen_blocks, block + (layer == a->n_layers - 1));
}

/* ---- the probe --------------------------------------------------------------------------------------------------- */

/* Which blocks: fam compresses one with its last token, rmt before the next. */
static snellen_status choose_blocks(snellen_memory_attention *a, const snellen_session *s, int64_t n_tokens,
                                    const snellen_memory_options *o, snellen_error *err)
{
    int64_t n = (n_tokens - !s->memory->ops->riders) / a->block;
    FAIL_IF(n < 1, SNELLEN_E_USAGE, "%lld tokens: no block of %lld tokens is complete", (long long)n_tokens,
            (long long)a->block);
    FAIL_IF(o->first_block < 0 || o->first_block >= n, SNELLEN_E_USAGE, "first block %lld, 0 to %lld expected",
            (long long)o->first_block, (long long)n - 1);
    FAIL_IF(o->n_blocks < 0, SNELLEN_E_USAGE, "%lld blocks, 0 (all) or more expected", (long long)o->n_blocks);
    a->first_block = o->first_block;
    a->n_blocks = MIN(n - a->first_block, o->n_blocks ? o->n_blocks : n);
    return SNELLEN_OK;
}

static snellen_status make_room(struct watching *w, snellen_error *err)
{
    const snellen_memory_attention *a = &w->public;
    uint64_t map = (uint64_t)a->n_rows * (uint64_t)a->n_seen, n, bytes;
    bool fits = size_mul(map, (uint64_t)a->n_layers * (uint64_t)a->n_blocks + 1, &n) &&
                size_mul(n, sizeof(float), &bytes) && bytes <= mem_available();
    FAIL_IF(!fits, SNELLEN_E_MEMORY, "the attention of %lld rows to %lld places in %lld layers and %lld blocks "
            "does not fit into %.1f MB; ask for fewer blocks", (long long)a->n_rows, (long long)a->n_seen,
            (long long)a->n_layers, (long long)a->n_blocks, (double)mem_available() / 1e6);
    TRY(NEW_ARRAY(&w->weights, n - map, "memory's attention", err));
    return NEW_ARRAY(&w->row, map, "memory's attention", err);
}

/* Layers lie n_blocks apart: after an interruption they move together. */
static void keep_first(struct watching *w)
{
    snellen_memory_attention *a = &w->public;
    int64_t map = a->n_rows * a->n_seen, n = w->n_seen_blocks;
    size_t bytes = (size_t)(n * map) * sizeof(float);
    for (int64_t layer = 1; layer < a->n_layers; layer++)
        memmove(w->weights + layer * n * map, w->weights + layer * a->n_blocks * map, bytes);
    a->n_blocks = n;
}

static snellen_status read_text(struct watching *w, snellen_session *s, const int32_t *tokens, int64_t n_tokens,
                                const snellen_memory_options *o, const snellen_progress *progress, snellen_error *err)
{
    snellen_memory_attention *a = &w->public;
    bool riders = s->memory->ops->riders;
    a->n_layers = s->model->desc.n_layers;
    a->n_rows = s->options.fam;
    a->block = s->options.block;
    a->n_seen = a->block + (riders ? 1 : 2) * a->n_rows;
    TRY(choose_blocks(a, s, n_tokens, o, err));
    TRY(make_room(w, err));
    session_watch(s, &w->watch);
    snellen_session_set_progress(s, progress);
    int64_t needed = (a->first_block + a->n_blocks) * a->block + !riders;
    return snellen_session_feed(s, tokens, (size_t)needed, NULL, err);
}

snellen_status snellen_probe_memory_attention(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                              const snellen_memory_options *options, const snellen_progress *progress,
                                              snellen_memory_attention **result, snellen_error *err)
{
    snellen_memory_options o = options ? *options : snellen_memory_options_default();
    snellen_session *s;
    *result = NULL;
    FAIL_IF(n_tokens > INT64_MAX / sizeof *tokens, SNELLEN_E_USAGE, "%zu tokens", n_tokens);
    TRY(memory_session(model, &o.session, true, &s, err));
    struct watching *w = calloc(1, sizeof *w);
    snellen_status status = w ? SNELLEN_OK : error_set(err, SNELLEN_E_MEMORY, "memory's attention: memory ran out");
    if (w) w->watch.see = see;
    if (!status) status = read_text(w, s, tokens, (int64_t)n_tokens, &o, progress, err);
    snellen_session_free(s);
    if (!w) return status;
    w->public.weights = w->weights;
    bool some = status == SNELLEN_E_CANCELLED && w->n_seen_blocks;
    if (some) keep_first(w);
    if (!status || some) *result = &w->public;
    else snellen_memory_attention_free(&w->public);
    return status;
}

void snellen_memory_attention_free(snellen_memory_attention *result)
{
    if (!result) return;
    struct watching *w = (struct watching *)((char *)result - offsetof(struct watching, public));
    mem_free(w->weights);
    mem_free(w->row);
    free(w);
}
