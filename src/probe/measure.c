/* How far two vectors and two predictions lie apart. Pure functions on plain arrays; sums in double. */
#include "probe/probe.h"

#include <math.h>
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
