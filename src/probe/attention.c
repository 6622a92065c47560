/* Attention maps: what each token of a prompt looks at, by layer and head, and the rollout over all layers (arXiv
 * 2005.00928). The decoder runs as always and shows its queries and spans; the weights are worked out a second time
 * here, plainly, from the definition.
 *
 * The prompt is one batch, so that row t of every map is token t and the rollout needs no row of an earlier batch. */
#include "probe/probe.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TOKENS = 8192 };

struct watching {
    struct attn_watch watch;     /* first: the two share their address */
    snellen_attention public;
    int64_t n_model_heads;
    float *weights, *rollout;
    float *head;                 /* [T, T] the map of one head */
    float *mean, *product;       /* [T, T] rollout: mean over heads, then (mean + I) / 2; its product with the layers before */
};

snellen_attention_options snellen_attention_options_default(void)
{
    return (snellen_attention_options){.layer = -1, .head = -1, .rollout = true,
                                       .session = snellen_session_options_default()};
}

/* ---- all maps --------------------------------------------------------------------------------------------------------- */

/* rollout = (mean + I) / 2 times what the layers below gave; below the first layer that is I. */
static void roll(struct watching *w, int64_t layer)
{
    int64_t n = w->public.n_tokens;
    for (int64_t i = 0; i < n * n; i++) w->mean[i] *= 0.5f;
    for (int64_t i = 0; i < n; i++) w->mean[i * n + i] += 0.5f;
    if (layer == 0) {
        memcpy(w->rollout, w->mean, (size_t)(n * n) * sizeof(float));
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)n, (int)n, 1.0f, w->mean, (int)n, w->rollout,
                (int)n, 0.0f, w->product, (int)n);
    memcpy(w->rollout, w->product, (size_t)(n * n) * sizeof(float));
}

/* Keys stand where their positions say. */
static void map_head(float *map, int64_t n_tokens, const struct attn_shown *shown, int64_t head)
{
    int64_t places[MEMORY_MAX_SPANS];
    for (size_t s = 0; s < shown->n_spans; s++) places[s] = shown->spans[s].first_position;
    #pragma omp parallel for schedule(dynamic, 16)
    for (int64_t row = 0; row < n_tokens; row++)
        attention_row(map + row * n_tokens, n_tokens, shown, places, head, row);
}

static void see(struct attn_watch *watch, int64_t layer, const struct attn_shown *shown)
{
    struct watching *w = (struct watching *)watch;
    const struct attn_shape *shape = shown->shape;
    const snellen_attention *a = &w->public;
    int64_t n = a->n_tokens;
    bool wanted = layer >= a->first_layer && layer < a->first_layer + a->n_layers;
    if (!wanted && !w->rollout) return;
    if (w->rollout) memset(w->mean, 0, (size_t)(n * n) * sizeof(float));
    for (int64_t h = 0; h < shape->n_heads; h++) {
        bool kept = wanted && h >= a->first_head && h < a->first_head + a->n_heads;
        if (!kept && !w->rollout) continue;
        float *map = w->head;
        if (kept) map = w->weights + ((layer - a->first_layer) * a->n_heads + h - a->first_head) * n * n;
        map_head(map, n, shown, h);
        if (!w->rollout) continue;
        for (int64_t i = 0; i < n * n; i++) w->mean[i] += map[i] / (float)shape->n_heads;
    }
    if (w->rollout) roll(w, layer);
}

/* ---- the probe ---------------------------------------------------------------------------------------------------------- */

static snellen_status one_of(int64_t wanted, int64_t n, const char *what, int64_t *first, int64_t *count,
                             snellen_error *err)
{
    FAIL_IF(wanted < -1 || wanted >= n, SNELLEN_E_USAGE, "%s %lld, 0 to %lld expected", what, (long long)wanted,
            (long long)n - 1);
    *first = MAX(wanted, 0);
    *count = wanted < 0 ? n : 1;
    return SNELLEN_OK;
}

static snellen_status make_room(struct watching *w, bool rollout, snellen_error *err)
{
    const snellen_attention *a = &w->public;
    uint64_t map = (uint64_t)a->n_tokens * (uint64_t)a->n_tokens, n_maps = (uint64_t)(a->n_layers * a->n_heads), bytes;
    bool fits = size_mul(map, (n_maps + 4) * sizeof(float), &bytes) && bytes <= mem_available();
    FAIL_IF(!fits, SNELLEN_E_MEMORY, "%llu maps of %lld x %lld need %.1f MB, %.1f MB are available; ask for one layer or head",
            (unsigned long long)n_maps, (long long)a->n_tokens, (long long)a->n_tokens,
            (double)map * (double)(n_maps + 4) * sizeof(float) / 1e6, (double)mem_available() / 1e6);
    TRY(NEW_ARRAY(&w->weights, map * n_maps, "attention maps", err));
    TRY(NEW_ARRAY(&w->head, map, "attention map", err));
    if (!rollout) return SNELLEN_OK;
    TRY(NEW_ARRAY(&w->rollout, map, "rollout", err));
    TRY(NEW_ARRAY(&w->mean, map, "rollout", err));
    return NEW_ARRAY(&w->product, map, "rollout", err);
}

static snellen_status watch_prompt(struct watching *w, const snellen_model *model, const int32_t *tokens,
                                   const snellen_attention_options *o, const snellen_progress *progress,
                                   snellen_error *err)
{
    const snellen_model_info *info = snellen_model_get_info(model);
    int64_t n = w->public.n_tokens;
    FAIL_IF(o->session.memory != SNELLEN_MEMORY_FULL && o->session.memory != SNELLEN_MEMORY_SWA, SNELLEN_E_UNSUPPORTED,
            "memory %s: maps by position are drawn for full and swa", snellen_memory_name(o->session.memory));
    TRY(one_of(o->layer, info->n_layers, "layer", &w->public.first_layer, &w->public.n_layers, err));
    TRY(one_of(o->head, info->n_heads, "head", &w->public.first_head, &w->public.n_heads, err));
    TRY(make_room(w, o->rollout, err));
    snellen_session_options session = o->session;
    session.chunk = session.n_context = n;
    snellen_session *s;
    TRY(snellen_session_new(model, &session, &s, err));
    snellen_session_set_progress(s, progress);
    session_watch(s, &w->watch);
    snellen_status status = snellen_session_feed(s, tokens, (size_t)n, NULL, err);
    snellen_session_free(s);
    return status;
}

snellen_status snellen_probe_attention(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                       const snellen_attention_options *options, const snellen_progress *progress,
                                       snellen_attention **result, snellen_error *err)
{
    snellen_attention_options o = options ? *options : snellen_attention_options_default();
    FAIL_IF(n_tokens < 1 || n_tokens > MOST_TOKENS, SNELLEN_E_USAGE, "%zu tokens, 1 to %d expected", n_tokens, MOST_TOKENS);
    struct watching *w = calloc(1, sizeof *w);
    FAIL_IF(!w, SNELLEN_E_MEMORY, "attention maps: memory ran out");
    w->watch.see = see;
    w->public.n_tokens = (int64_t)n_tokens;
    snellen_status status = watch_prompt(w, model, tokens, &o, progress, err);
    w->public.weights = w->weights;
    w->public.rollout = w->rollout;
    *result = &w->public;
    if (status) {
        snellen_attention_free(*result);
        *result = NULL;
    }
    return status;
}

void snellen_attention_free(snellen_attention *result)
{
    if (!result) return;
    struct watching *w = (struct watching *)((char *)result - offsetof(struct watching, public));
    mem_free(w->weights);
    mem_free(w->rollout);
    mem_free(w->head);
    mem_free(w->mean);
    mem_free(w->product);
    free(w);
}
