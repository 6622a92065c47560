/* Attribution: what each context token did for each output, by gradients of logits or by attention rollout (arXiv
 * 2408.05506, section 5). Gradients of several outputs go down through the layers together, as many as memory allows. */
#include "probe/probe.h"

#include "model/grad.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t seed_bytes = (uint64_t)512 << 20;   /* of gradients that are held at once, unless one is larger */

/* A result with what it owns. */
struct attributing {
    snellen_attribution public;   /* first: the two share their address */
    float *values;
};

snellen_attribution_options snellen_attribution_options_default(void)
{
    return (snellen_attribution_options){.kind = SNELLEN_ATTRIBUTION_GXI};
}

snellen_status snellen_attribution_parse(const char *name, snellen_attribution_kind *kind, snellen_error *err)
{
    static const char *const names[] = {"gxi", "gxi-l2", "gradient", "rollout"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (!strcmp(names[i], name)) {
            *kind = (snellen_attribution_kind)i;
            return SNELLEN_OK;
        }
    FAIL(SNELLEN_E_USAGE, "attribution '%s' is not known: gxi, gxi-l2, gradient or rollout", name);
}

/* ---- one value ---------------------------------------------------------------------------------------------------------- */

static float value_of(snellen_attribution_kind kind, const float *gradient, const float *embedded, int64_t d)
{
    double sum = 0;
    for (int64_t i = 0; i < d; i++) {
        double g = (double)gradient[i], product = g * (double)embedded[i];
        sum += kind == SNELLEN_ATTRIBUTION_GXI ? product : kind == SNELLEN_ATTRIBUTION_GXI_L2 ? product * product : g * g;
    }
    return (float)(kind == SNELLEN_ATTRIBUTION_GXI ? fabs(sum) : sqrt(sum));
}

double snellen_attribution_mass(const snellen_attribution *result, int64_t row, const int64_t *right, size_t n_right)
{
    int64_t column = row - result->first_row;
    double all = 0, on_right = 0;
    if (column < 0 || column >= result->n_rows) return NAN;
    for (int64_t t = 0; t < result->n_tokens; t++) {
        double value = (double)result->values[t * result->n_rows + column];
        all += value;
        for (size_t i = 0; i < n_right; i++)
            if (right[i] == t) {
                on_right += value;
                break;
            }
    }
    return all > 0 ? on_right / all : (double)NAN;
}

/* ---- by gradients ---------------------------------------------------------------------------------------------------------- */

struct gradient_work {
    struct grad *grad;
    float *gradients, *embedded;   /* [seeds at once, n, d], [n, d] */
    struct grad_seed *seeds;
    int64_t at_once;
};

static snellen_status some_rows(struct attributing *a, struct gradient_work *w, const int32_t *tokens, int64_t column0,
                                int64_t n_seeds, snellen_attribution_kind kind, int64_t d,
                                const snellen_progress *progress, snellen_error *err)
{
    int64_t n = a->public.n_tokens;
    int64_t row = a->public.first_row + column0;
    for (int64_t i = 0; i < n_seeds; i++) w->seeds[i] = (struct grad_seed){.row = row + i, .id = tokens[row + i + 1]};
    TRY(grad_inputs(w->grad, tokens, n, w->seeds, n_seeds, w->gradients, w->embedded, progress, err));
    for (int64_t i = 0; i < n_seeds; i++)
        for (int64_t t = 0; t <= row + i; t++)
            a->values[t * a->public.n_rows + column0 + i] =
                value_of(kind, w->gradients + (i * n + t) * d, w->embedded + t * d, d);
    return SNELLEN_OK;
}

static snellen_status gradient_rows(struct attributing *a, struct gradient_work *w, const snellen_model *model,
                                    const int32_t *tokens, const snellen_attribution_options *o,
                                    const snellen_progress *progress, snellen_error *err)
{
    int64_t n = a->public.n_tokens, d = model->desc.d_model;
    const struct grad_options options = {.n_seqs = 1, .n_tokens = n, .window = o->window, .checkpoint = true,
                                         .inputs_only = true, .n_threads = o->n_threads};
    w->at_once = MAX(1, MIN((int64_t)(seed_bytes / ((uint64_t)(n * d) * sizeof(float))), a->public.n_rows));
    TRY(grad_new(model, &options, &w->grad, err));
    TRY(NEW_ARRAY(&w->gradients, w->at_once * n * d, "gradients", err));
    TRY(NEW_ARRAY(&w->embedded, n * d, "embedded tokens", err));
    TRY(NEW_ARRAY(&w->seeds, w->at_once, "rows", err));
    struct part_progress groups = {.all = progress,
                                   .n_parts = (uint64_t)((a->public.n_rows + w->at_once - 1) / w->at_once)};
    const snellen_progress step = part_step(&groups);
    for (int64_t at = 0; at < a->public.n_rows; at += w->at_once, groups.part++)
        TRY(some_rows(a, w, tokens, at, MIN(w->at_once, a->public.n_rows - at), o->kind, d, &step, err));
    return SNELLEN_OK;
}

static snellen_status by_gradients(struct attributing *a, const snellen_model *model, const int32_t *tokens,
                                   const snellen_attribution_options *o, const snellen_progress *progress,
                                   snellen_error *err)
{
    struct gradient_work w = {0};
    snellen_status status = gradient_rows(a, &w, model, tokens, o, progress, err);
    grad_free(w.grad);
    mem_free(w.gradients);
    mem_free(w.embedded);
    mem_free(w.seeds);
    return status;
}

/* ---- by rollout ------------------------------------------------------------------------------------------------------------- */

static snellen_status by_rollout(struct attributing *a, const snellen_model *model, const int32_t *tokens,
                                 const snellen_attribution_options *o, const snellen_progress *progress,
                                 snellen_error *err)
{
    snellen_attention_options options = snellen_attention_options_default();
    snellen_attention *maps;
    int64_t n = a->public.n_tokens;
    options.layer = options.head = 0;   /* one map is the least it holds */
    options.session.n_threads = o->n_threads;
    if (o->window > 0) {
        options.session.memory = SNELLEN_MEMORY_SWA;
        options.session.window = o->window;
    }
    TRY(snellen_probe_attention(model, tokens, (size_t)n, &options, progress, &maps, err));
    for (int64_t column = 0; column < a->public.n_rows; column++)
        for (int64_t t = 0; t < n; t++)
            a->values[t * a->public.n_rows + column] = maps->rollout[(a->public.first_row + column) * n + t];
    snellen_attention_free(maps);
    return SNELLEN_OK;
}

/* ---- the probe ----------------------------------------------------------------------------------------------------------------- */

static snellen_status attribute(struct attributing *a, const snellen_model *model, const int32_t *tokens,
                                const snellen_attribution_options *o, const snellen_progress *progress, snellen_error *err)
{
    int64_t n = a->public.n_tokens;
    a->public.first_row = o->first_row;
    a->public.n_rows = o->n_rows ? o->n_rows : n - 1 - o->first_row;
    FAIL_IF(n < 2 || o->first_row < 0 || a->public.n_rows < 1 || a->public.n_rows > n - 1 - o->first_row, SNELLEN_E_USAGE,
            "rows %lld to %lld of %lld tokens: every row must be followed by a token", (long long)o->first_row,
            (long long)(o->first_row + a->public.n_rows - 1), (long long)n);
    TRY(NEW_ARRAY(&a->values, n * a->public.n_rows, "attribution map", err));
    a->public.values = a->values;
    return (o->kind == SNELLEN_ATTRIBUTION_ROLLOUT ? by_rollout : by_gradients)(a, model, tokens, o, progress, err);
}

snellen_status snellen_probe_attribution(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                         const snellen_attribution_options *options, const snellen_progress *progress,
                                         snellen_attribution **result, snellen_error *err)
{
    snellen_attribution_options o = options ? *options : snellen_attribution_options_default();
    struct attributing *a = calloc(1, sizeof *a);
    FAIL_IF(!a, SNELLEN_E_MEMORY, "attribution: memory ran out");
    a->public.n_tokens = (int64_t)n_tokens;
    snellen_status status = attribute(a, model, tokens, &o, progress, err);
    *result = &a->public;
    if (status) {
        snellen_attribution_free(*result);
        *result = NULL;
    }
    return status;
}

void snellen_attribution_free(snellen_attribution *result)
{
    if (!result) return;
    mem_free(((struct attributing *)result)->values);
    free(result);
}
