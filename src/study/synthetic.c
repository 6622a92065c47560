/* One head of attention over random numbers. */
#include "study/synthetic.h"

#include <math.h>
#include <string.h>

enum { D = SYNTHETIC_WIDTH };

/* n tokens and the last one once more: keys and values of n + 1 places, queries of the last two. */
struct head {
    int64_t n;
    double *k, *v;        /* [n + 1, D] */
    double q[2][D];
    double *x;            /* [n + 1, D] scratch */
    double w[D * D];
};

/* ---- positions --------------------------------------------------------------------------------------------------- */

static void add_sinusoid(double *row, int64_t place)
{
    for (int i = 0; i < D; i += 2) {
        double angle = (double)place * pow(10000, -(double)i / D);
        row[i] += sin(angle);
        row[i + 1] += cos(angle);
    }
}

static void turn(double *row, int64_t place)
{
    for (int i = 0; i < D; i += 2) {
        double angle = (double)place * pow(10000, -(double)i / D), a = row[i], b = row[i + 1];
        row[i] = a * cos(angle) - b * sin(angle);
        row[i + 1] = a * sin(angle) + b * cos(angle);
    }
}

static void place_rows(const struct synthetic_layer *layer, struct head *h)
{
    if (layer->positions == SYNTHETIC_SINUSOIDAL && !layer->projected) {
        for (int64_t i = 0; i <= h->n; i++) add_sinusoid(h->k + i * D, i);
        for (int last = 0; last < 2; last++) add_sinusoid(h->q[last], h->n - 1 + last);
    }
    if (layer->positions == SYNTHETIC_ROTARY) {
        for (int64_t i = 0; i <= h->n; i++) turn(h->k + i * D, i);
        for (int last = 0; last < 2; last++) turn(h->q[last], h->n - 1 + last);
    }
}

/* ---- random rows ------------------------------------------------------------------------------------------------- */

/* n random rows and the last one once more. */
static void draw_rows(double *rows, int64_t n, double size, struct rng *rng)
{
    for (int64_t i = 0; i < n * D; i++) rows[i] = size * rng_normal(rng);
    memcpy(rows + n * D, rows + (n - 1) * D, D * sizeof *rows);
}

/* to [n, D] = x W, a new W. */
static void project(struct head *h, const double *x, int64_t n, double *to, struct rng *rng)
{
    for (int i = 0; i < D * D; i++) h->w[i] = rng_normal(rng) / D;
    for (int64_t row = 0; row < n; row++) {
        double sum[D] = {0};
        for (int i = 0; i < D; i++)
            for (int j = 0; j < D; j++) sum[j] += x[row * D + i] * h->w[i * D + j];
        memcpy(to + row * D, sum, sizeof sum);
    }
}

static void draw(const struct synthetic_layer *layer, struct head *h, struct rng *rng)
{
    const int64_t n = h->n;
    draw_rows(h->x, n, layer->projected ? 1 : 1 / sqrt(D), rng);
    if (layer->projected) {
        for (int64_t i = 0; i <= n && layer->positions == SYNTHETIC_SINUSOIDAL; i++) add_sinusoid(h->x + i * D, i);
        project(h, h->x, n + 1, h->k, rng);
        project(h, h->x, n + 1, h->v, rng);
        project(h, h->x + (n - 1) * D, 2, h->q[0], rng);
    } else {
        memcpy(h->q[0], h->x + (n - 1) * D, sizeof h->q);
        draw_rows(h->k, n, 1 / sqrt(D), rng);
        draw_rows(h->v, n, 1 / sqrt(D), rng);
    }
    place_rows(layer, h);
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

/* y [D] of the row at place n - 1 or n, which sees all before it and itself. */
static void attend(const struct synthetic_layer *layer, const struct head *h, int last, double *scores, double y[D])
{
    int64_t n = h->n + last;
    double top = -INFINITY, all = 0;
    for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        for (int i = 0; i < D; i++) sum += h->q[last][i] * h->k[j * D + i];
        scores[j] = sum / sqrt(D) - layer->slope * (double)(n - 1 - j);
        top = fmax(top, scores[j]);
    }
    memset(y, 0, D * sizeof *y);
    for (int64_t j = 0; j < n; j++) {
        double p = exp(scores[j] - top);
        all += p;
        for (int i = 0; i < D; i++) y[i] += p * h->v[j * D + i];
    }
    for (int i = 0; i < D; i++) y[i] = y[i] / all + (layer->residual ? h->v[(n - 1) * D + i] : 0);
}

static void layer_norm(double y[D])
{
    double mean = 0, variance = 0;
    for (int i = 0; i < D; i++) mean += y[i] / D;
    for (int i = 0; i < D; i++) variance += (y[i] - mean) * (y[i] - mean) / D;
    for (int i = 0; i < D; i++) y[i] = (y[i] - mean) / sqrt(variance + 1e-5);
}

snellen_status synthetic_repeat(const struct synthetic_layer *layer, int64_t n, uint64_t seed, struct synthetic_distance *out,
                                snellen_error *err)
{
    struct head h = {.n = n};
    struct rng rng;
    double *rows, y[2][D];
    FAIL_IF(n < 1 || n > 1 << 24, SNELLEN_E_USAGE, "%lld tokens, 1 to %d expected", (long long)n, 1 << 24);
    TRY(NEW_ARRAY(&rows, 3 * (n + 1) * D, "random rows", err));
    h.x = rows;
    h.k = rows + (n + 1) * D;
    h.v = h.k + (n + 1) * D;
    rng_seed(&rng, seed, (uint64_t)n);
    draw(layer, &h, &rng);
    for (int last = 0; last < 2; last++) {
        attend(layer, &h, last, h.x, y[last]);   /* x is spent: the scores go there */
        if (layer->norm) layer_norm(y[last]);
    }
    *out = (struct synthetic_distance){0};
    for (int i = 0; i < D; i++) {
        double difference = fabs(y[0][i] - y[1][i]);
        out->l1 += difference;
        out->linf = fmax(out->linf, difference);
    }
    mem_free(rows);
    return SNELLEN_OK;
}

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

snellen_status synthetic_softmax(int64_t n, uint64_t seed, double *variation, snellen_error *err)
{
    enum { NOISY = 200 };
    struct rng rng;
    double *p, sum = 0, noisy_sum = 0;
    FAIL_IF(n < 1 || n > 1 << 24, SNELLEN_E_USAGE, "%lld numbers, 1 to %d expected", (long long)n, 1 << 24);
    TRY(NEW_ARRAY(&p, 2 * n, "random numbers", err));
    rng_seed(&rng, seed, (uint64_t)n);
    for (int64_t i = 0; i < n; i++) {
        double x = rng_uniform(&rng), e = i < NOISY ? 0.1 * rng_uniform(&rng) : 0;
        sum += p[i] = exp(x);
        noisy_sum += p[n + i] = exp(x + e);
    }
    *variation = 0;
    for (int64_t i = 0; i < n; i++) *variation += fabs(p[i] / sum - p[n + i] / noisy_sum);
    mem_free(p);
    return SNELLEN_OK;
}
