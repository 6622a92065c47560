/* Over-squashing: how much of each token reaches a row's vector, measured by gradients, beside the paths of attention. */
#include "probe/probe.h"

#include "model/grad.h"
#include "model/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t seed_bytes = (uint64_t)256 << 20;   /* of gradients that are held at once, unless one is larger */

/* A result with what it owns. */
struct squash {
    snellen_squash public;        /* first: the two share their address */
    double *sensitivity, *error, *beta;
    float *paths;
};

snellen_squash_options snellen_squash_options_default(void)
{
    return (snellen_squash_options){.row = -1, .n_probes = 8, .seed = 1, .paths = true, .n_repeats = 3,
                                    .session = snellen_session_options_default()};
}

/* ---- what is asked ------------------------------------------------------------------------------------------------------ */

/* The options of a backward pass through the memory of these. */
static snellen_status grad_options_of(const snellen_model *model, snellen_session_options o, int64_t n_tokens,
                                      struct grad_options *to, snellen_error *err)
{
    if (o.memory == SNELLEN_MEMORY_FULL) o.memory = snellen_model_get_memory(model)->kind;
    if (o.n_context < n_tokens) o.n_context = n_tokens;
    TRY(session_resolve(model, &o, err));
    const struct memory_ops *ops = memory_find(o.memory);
    FAIL_IF(o.attn_temp != 1 || o.attn_log || o.precision != SNELLEN_F32, SNELLEN_E_UNSUPPORTED,
            "gradients are worked out in f32 and with attention as the model was trained");
    *to = (struct grad_options){
        .n_seqs = 1, .n_tokens = n_tokens, .window = ops->room ? 0 : o.window, .sinks = ops->shifts_positions ? o.sinks : 0,
        .block = ops->room ? o.block : 0, .segments = ops->room ? o.segments : 0,
        .block_window = o.memory == SNELLEN_MEMORY_XL ? o.window : 0, .fam = ops->n_rows ? o.fam : 0,
        .fam_blocks = o.fam_blocks, .fam_positions = model->memory.fam_positions, .rmt = o.memory == SNELLEN_MEMORY_RMT,
        .checkpoint = true, .inputs_only = true, .n_threads = o.n_threads};
    if (to->rmt) to->segments = 0;
    return SNELLEN_OK;
}

/* ---- measured ----------------------------------------------------------------------------------------------------------- */

struct probes {
    const snellen_squash_options *options;
    int64_t n, d, n_all, at_once;  /* tokens; d_model; probes, and how many are in one pass */
    float *vectors, *gradients;    /* [at_once, d], [at_once, n, d] */
    struct grad_seed *seeds;
    double *squares;               /* [n] sums over probes of the fourth power of a gradient's length */
};

/* Vector `probe`: of the unit, or random. */
static void fill_vector(const struct probes *p, int64_t probe, float *vector)
{
    struct rng rng;
    memset(vector, 0, (size_t)p->d * sizeof *vector);
    if (!p->options->n_probes) {
        vector[probe] = 1;
        return;
    }
    rng_seed(&rng, p->options->seed, (uint64_t)probe);
    for (int64_t i = 0; i < p->d; i++) vector[i] = (float)rng_normal(&rng);
}

/* Adds to sensitivity [n] the squared lengths of a probe's gradients. */
static void add_probe(const struct probes *p, const float *gradients, double *sensitivity)
{
    for (int64_t t = 0; t < p->n; t++) {
        double sum = 0;
        for (int64_t i = 0; i < p->d; i++) sum += (double)gradients[t * p->d + i] * (double)gradients[t * p->d + i];
        sensitivity[t] += sum;
        p->squares[t] += sum * sum;
    }
}

/* Sums of squares -> lengths and their standard errors, by the error of the mean of the squares. */
static void conclude(const struct probes *p, double *sensitivity, double *error)
{
    double n = p->options->n_probes;
    for (int64_t t = 0; t < p->n; t++) {
        if (n > 0) {
            double mean = sensitivity[t] / n, variance = fmax(0, p->squares[t] / n - mean * mean) / (n - 1);
            sensitivity[t] = mean;
            error[t] = mean > 0 ? sqrt(variance) / (2 * sqrt(mean)) : n > 1 ? 0 : (double)NAN;
        }
        sensitivity[t] = sqrt(sensitivity[t]);
    }
}

static snellen_status measure(struct probes *p, struct grad *g, const int32_t *tokens, struct squash *s,
                              const snellen_progress *progress, snellen_error *err)
{
    struct part_progress part = {.all = progress, .n_parts = (uint64_t)((p->n_all + p->at_once - 1) / p->at_once)};
    const snellen_progress step = part_step(&part);
    TRY(NEW_ARRAY(&p->vectors, p->at_once * p->d, "probe vectors", err));
    TRY(NEW_ARRAY(&p->gradients, p->at_once * p->n * p->d, "gradients", err));
    TRY(NEW_ARRAY(&p->seeds, p->at_once, "probes", err));
    TRY(NEW_ARRAY(&p->squares, p->n, "probes", err));
    for (int64_t at = 0; at < p->n_all; at += p->at_once, part.part++) {
        int64_t n = MIN(p->at_once, p->n_all - at);
        for (int64_t i = 0; i < n; i++) {
            p->seeds[i] = (struct grad_seed){.row = p->n - 1, .vector = p->vectors + i * p->d};
            fill_vector(p, at + i, p->vectors + i * p->d);
        }
        TRY(grad_inputs(g, tokens, p->n, p->seeds, n, p->gradients, NULL, &step, err));
        for (int64_t i = 0; i < n; i++) add_probe(p, p->gradients + i * p->n * p->d, s->sensitivity);
    }
    conclude(p, s->sensitivity, s->error);
    return SNELLEN_OK;
}

static void probes_free(struct probes *p)
{
    mem_free(p->vectors);
    mem_free(p->gradients);
    mem_free(p->seeds);
    mem_free(p->squares);
}

/* ---- the probe ------------------------------------------------------------------------------------------------------------ */

static snellen_status squash_paths(struct squash *s, struct grad *g, const int32_t *tokens, int64_t n_repeats,
                                   const snellen_progress *progress, snellen_error *err)
{
    int64_t n = s->public.n_tokens, n_layers = s->public.n_layers, n_products = n_layers + n_repeats;
    double *last;
    TRY(NEW_ARRAY(&s->beta, n_layers, "lengths of norms", err));
    TRY(NEW_ARRAY(&s->paths, n_products * n, "paths", err));
    TRY(grad_reach(g, tokens, n, n_repeats, s->beta, s->paths, progress, err));
    s->public.n_products = n_products;
    s->public.beta = s->beta;
    s->public.paths = s->paths;
    TRY(NEW_ARRAY(&last, n, "paths", err));
    for (int64_t t = 0; t < n; t++) last[t] = (double)s->paths[(n_layers - 1) * n + t];
    snellen_status status = rank_correlation(s->sensitivity, last, n, &s->public.rank_correlation, err);
    mem_free(last);
    return status;
}

static snellen_status squash_with(struct squash *s, struct grad *g, const snellen_model *model, const int32_t *tokens,
                                  const snellen_squash_options *o, const snellen_progress *progress, snellen_error *err)
{
    int64_t n = s->public.n_tokens, d = model->desc.d_model;
    struct probes p = {.options = o, .n = n, .d = d, .n_all = o->n_probes ? o->n_probes : d};
    p.at_once = MAX(1, MIN((int64_t)(seed_bytes / ((uint64_t)(n * d) * sizeof(float))), p.n_all));
    TRY(NEW_ARRAY(&s->sensitivity, n, "sensitivities", err));
    TRY(NEW_ARRAY(&s->error, n, "sensitivities", err));
    snellen_status status = measure(&p, g, tokens, s, progress, err);
    probes_free(&p);
    TRY(status);
    s->public.sensitivity = s->sensitivity;
    s->public.error = s->error;
    return o->paths ? squash_paths(s, g, tokens, o->n_repeats, progress, err) : SNELLEN_OK;
}

static snellen_status squash(struct squash *s, const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                             const snellen_squash_options *o, const snellen_progress *progress, snellen_error *err)
{
    struct grad_options options;
    struct grad *g;
    int64_t row = o->row < 0 ? (int64_t)n_tokens - 1 : o->row;
    FAIL_IF(!n_tokens || o->row < -1 || (uint64_t)row >= n_tokens, SNELLEN_E_USAGE, "row %lld of %zu tokens",
            (long long)o->row, n_tokens);
    FAIL_IF(o->n_probes > 65536 || o->n_repeats < 0 || o->n_repeats > 65536, SNELLEN_E_USAGE,
            "%u probes and %lld repeats, at most 65536 expected", o->n_probes, (long long)o->n_repeats);
    s->public.n_tokens = row + 1;
    s->public.n_layers = model->desc.n_layers;
    TRY(grad_options_of(model, o->session, row + 1, &options, err));
    FAIL_IF(options.rmt && o->paths, SNELLEN_E_UNSUPPORTED, "memory rmt: its rows go from the last layer to the first, and no "
            "product of the layers' attention follows them; its sensitivity can be measured alone");
    TRY(grad_new(model, &options, &g, err));
    snellen_status status = squash_with(s, g, model, tokens, o, progress, err);
    grad_free(g);
    return status;
}

snellen_status snellen_probe_squash(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                    const snellen_squash_options *options, const snellen_progress *progress,
                                    snellen_squash **result, snellen_error *err)
{
    snellen_squash_options o = options ? *options : snellen_squash_options_default();
    struct squash *s = calloc(1, sizeof *s);
    *result = NULL;
    FAIL_IF(!s, SNELLEN_E_MEMORY, "squash: memory ran out");
    s->public.rank_correlation = NAN;
    snellen_status status = squash(s, model, tokens, n_tokens, &o, progress, err);
    if (status) snellen_squash_free(&s->public);
    else *result = &s->public;
    return status;
}

void snellen_squash_free(snellen_squash *result)
{
    struct squash *s = (struct squash *)result;
    if (!s) return;
    mem_free(s->sensitivity);
    mem_free(s->error);
    mem_free(s->beta);
    mem_free(s->paths);
    free(s);
}
