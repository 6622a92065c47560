/* How far two vectors and two predictions lie apart. Pure functions on plain arrays; sums in double. */
#include "probe/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void collapse_measure(const float *v, const float *w, int64_t d, int64_t n_heads, snellen_collapse_row *row)
{
    double l1 = 0, size = 0, low = INFINITY, high = 0, sum = 0;
    bool nan = false;
    for (int64_t h = 0; h < n_heads; h++) {
        double linf = 0;
        for (int64_t i = h * d / n_heads; i < (h + 1) * d / n_heads; i++) {
            double difference = fabs((double)v[i] - (double)w[i]);
            nan |= isnan(difference);
            l1 += difference;
            size += fabs((double)v[i]);
            linf = fmax(linf, difference);
        }
        low = fmin(low, linf);
        high = fmax(high, linf);
        sum += linf;
    }
    row->linf_mean = nan ? (double)NAN : sum / (double)n_heads;
    row->linf_min = nan ? (double)NAN : low;
    row->linf_max = nan ? (double)NAN : high;
    row->l1 = l1; /* a NaN carries through sums, not through fmax */
    row->mean_abs = l1 / (double)d;
    row->relative = size > 0 ? l1 / size : nan ? (double)NAN : 0;
    row->bit_equal = !memcmp(v, w, (size_t)d * sizeof *v);
}

/* log of the sum of exp(x), and where x is largest (the first such place). */
static double log_sum_exp(const float *x, int64_t n, int64_t *top)
{
    *top = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[*top]) *top = i;
    double sum = 0, largest = (double)x[*top];
    for (int64_t i = 0; i < n; i++) sum += exp((double)x[i] - largest);
    return largest + log(sum);
}

void collapse_predictions(const float *a, const float *b, int64_t n_vocab, snellen_collapse_row *row)
{
    int64_t top_a, top_b;
    double norm_a = log_sum_exp(a, n_vocab, &top_a), norm_b = log_sum_exp(b, n_vocab, &top_b);
    double distance = 0;
    for (int64_t i = 0; i < n_vocab; i++) distance += fabs(exp((double)a[i] - norm_a) - exp((double)b[i] - norm_b));
    row->same_logits = !memcmp(a, b, (size_t)n_vocab * sizeof *a);
    row->same_top = top_a == top_b;
    row->shift = 0.5 * distance;
}

/* Rows of one n, over prompts: is every pair bit-equal; the mean of measure (a). */
static void judge_length(const snellen_collapse *result, int64_t layer, int64_t n, bool *equal, double *linf)
{
    double sum = 0;
    uint64_t count = 0;
    *equal = true;
    for (size_t i = 0; i < result->n_rows; i++) {
        const snellen_collapse_row *row = &result->rows[i];
        if (row->n != n || row->layer != layer) continue;
        *equal = *equal && row->bit_equal;
        sum += row->linf_mean;
        count++;
    }
    *linf = sum / (double)count;
}

void collapse_judge(snellen_collapse *result, int64_t layer)
{
    const double line = 1.0 / 128; /* 2^-7 */
    result->blind_at = result->faint_at = -1;
    /* Prompt 0 has every n, ascending. */
    for (size_t i = 0; i < result->n_rows; i++) {
        const snellen_collapse_row *row = &result->rows[i];
        if (row->prompt || row->layer != layer) continue;
        bool equal;
        double linf;
        judge_length(result, layer, row->n, &equal, &linf);
        if (!equal) result->blind_at = -1;
        else if (result->blind_at < 0) result->blind_at = row->n;
        if (!(linf < line)) result->faint_at = -1;
        else if (result->faint_at < 0) result->faint_at = row->n;
    }
}

/* ---- ranks ------------------------------------------------------------------------------------------------------- */

struct placed {
    double value;
    int64_t at;
};

static int by_value(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;
    return (x->value > y->value) - (x->value < y->value);
}

/* rank [n], less their mean. */
static void ranks_of(const double *values, int64_t n, struct placed *order, double *rank)
{
    for (int64_t i = 0; i < n; i++) order[i] = (struct placed){values[i], i};
    qsort(order, (size_t)n, sizeof *order, by_value);
    for (int64_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && order[end].value == order[i].value; end++) {}
        for (int64_t k = i; k < end; k++) rank[order[k].at] = (double)(i + end - n) / 2;
    }
}

snellen_status rank_correlation(const double *a, const double *b, int64_t n, double *correlation, snellen_error *err)
{
    struct placed *order;
    double *ranks, ab = 0, aa = 0, bb = 0;
    TRY(NEW_ARRAY(&ranks, 2 * n, "ranks", err));
    snellen_status status = NEW_ARRAY(&order, n, "ranks", err);
    if (!status) {
        ranks_of(a, n, order, ranks);
        ranks_of(b, n, order, ranks + n);
        for (int64_t i = 0; i < n; i++) {
            ab += ranks[i] * ranks[n + i];
            aa += ranks[i] * ranks[i];
            bb += ranks[n + i] * ranks[n + i];
        }
        *correlation = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : (double)NAN;
        mem_free(order);
    }
    mem_free(ranks);
    return status;
}
