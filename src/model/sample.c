/* Sampling: from logits to a token. */
#include "model/session.h"

#include <math.h>
#include <stdlib.h>

struct candidate {
    float logit, p;
    int32_t id;
};

struct snellen_sampler {
    snellen_sampling sampling;
    struct rng rng;
    int64_t n_vocab;
    struct candidate *candidates;   /* [n_vocab] */
};

snellen_sampling snellen_sampling_default(void)
{
    return (snellen_sampling){.temp = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 1};
}

snellen_status snellen_sampler_new(const snellen_sampling *sampling, int64_t n_vocab, snellen_sampler **out,
                                   snellen_error *err)
{
    snellen_sampling s = sampling ? *sampling : snellen_sampling_default();
    FAIL_IF(!(s.temp >= 0) || !isfinite(s.temp), SNELLEN_E_USAGE, "temp is %g, 0 or more expected", (double)s.temp);
    FAIL_IF(s.top_k < 0, SNELLEN_E_USAGE, "top_k is %d, 0 or more expected", s.top_k);
    FAIL_IF(!(s.top_p > 0 && s.top_p <= 1), SNELLEN_E_USAGE, "top_p is %g, above 0 and at most 1 expected", (double)s.top_p);
    FAIL_IF(!(s.min_p >= 0 && s.min_p <= 1), SNELLEN_E_USAGE, "min_p is %g, 0 to 1 expected", (double)s.min_p);
    FAIL_IF(n_vocab < 1 || n_vocab > INT32_MAX, SNELLEN_E_USAGE, "a vocabulary of %lld tokens", (long long)n_vocab);
    snellen_sampler *sampler = calloc(1, sizeof *sampler);
    FAIL_IF(!sampler, SNELLEN_E_MEMORY, "memory ran out");
    sampler->sampling = s;
    sampler->n_vocab = n_vocab;
    rng_seed(&sampler->rng, s.seed, 0);
    snellen_status status = NEW_ARRAY(&sampler->candidates, n_vocab, "sampling", err);
    if (status) {
        free(sampler);
        return status;
    }
    *out = sampler;
    return SNELLEN_OK;
}

void snellen_sampler_free(snellen_sampler *sampler)
{
    if (!sampler) return;
    mem_free(sampler->candidates);
    free(sampler);
}

static int32_t likeliest(const float *logits, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (logits[i] > logits[best] || isnan(logits[best])) best = i;
    return (int32_t)best;
}

/* Falling logits, ties by rising id: one order for one input. */
static int by_logit(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* Moves the k first in order of by_logit to the front, in that order: a selection that costs n + k log k. */
static void select_top(struct candidate *c, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high && k < n) {
        struct candidate pivot = c[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (by_logit(&c[i], &pivot) < 0) i++;
            while (by_logit(&c[j], &pivot) > 0) j--;
            if (i > j) break;
            struct candidate swap = c[i];
            c[i++] = c[j];
            c[j--] = swap;
        }
        if (k - 1 <= j)
            high = j;
        else if (k - 1 >= i)
            low = i;
        else
            break;
    }
    qsort(c, (size_t)MIN(k, n), sizeof *c, by_logit);
}

/* p = softmax(logit / temp) over c[0..n), the largest first. */
static void softmax_candidates(struct candidate *c, int64_t n, double temp)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(((double)c[i].logit - (double)c[0].logit) / temp);
    for (int64_t i = 0; i < n; i++) c[i].p = (float)(exp(((double)c[i].logit - (double)c[0].logit) / temp) / sum);
}

int32_t snellen_sample(snellen_sampler *sampler, const float *logits)
{
    const snellen_sampling *s = &sampler->sampling;
    struct candidate *c = sampler->candidates;
    if (s->temp == 0) return likeliest(logits, sampler->n_vocab);
    int64_t n = 0;
    for (int64_t i = 0; i < sampler->n_vocab; i++)
        if (logits[i] > -INFINITY) c[n++] = (struct candidate){.logit = logits[i], .id = (int32_t)i};
    if (!n) return 0;
    int64_t k = s->top_k ? MIN((int64_t)s->top_k, n) : n;
    select_top(c, n, k);
    n = k;
    softmax_candidates(c, n, 1);
    if (s->top_p < 1) {
        double sum = 0;
        int64_t kept = 0;
        while (kept < n && sum < (double)s->top_p) sum += (double)c[kept++].p;
        n = MAX(kept, 1);
    }
    float floor_p = s->min_p * c[0].p;
    while (n > 1 && c[n - 1].p < floor_p) n--;
    softmax_candidates(c, n, (double)s->temp);
    double u = rng_uniform(&sampler->rng), sum = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += (double)c[i].p;
        if (u < sum) return c[i].id;
    }
    return c[n - 1].id;
}

void sampler_state(snellen_sampler *sampler, struct state *state)
{
    int64_t there = sampler != NULL;
    struct rng rng = {{0}};
    state_number(state, &there, 0, 1, "sampler");
    if (!there) return;
    if (state->saving) rng = sampler->rng;
    state_bytes(state, &rng, sizeof rng);
    if (state->saving || state->status) return;
    if (!(rng.state[0] | rng.state[1] | rng.state[2] | rng.state[3]))
        state_fail(state, SNELLEN_E_FORMAT, "random numbers that cannot be");
    else if (sampler)
        sampler->rng = rng;
}
