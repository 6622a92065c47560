/* grad_rows: the backward of rows.c. This file cuts the work into fixed pieces; rows_grad_body.h has the arithmetic. */
#include "base/base.h"
#include "kernels/grad.h"
#include "kernels/table.h"

#include <math.h>

/* Elements of a piece, below which a second thread costs more than it brings; columns of a sum over rows. */
enum { PIECE = 16384, SERIAL_ELEMENTS = 32768, COLUMNS = 64 };

#define PIECE_SIZE(at, n) MIN((n) - (at), PIECE)

/* ---- norms ------------------------------------------------------------------------------------------------------- */

/* Sums over rows, a slice of columns at a time. */
static void norm_weights(float *dw, float *db, const float *dy, const float *x, const float *stats, int64_t n_rows,
                         int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t j = 0; j < n; j += COLUMNS)
        for (int64_t i = 0; i < n_rows; i++)
            k->norm_weight_backward(dw + j, db ? db + j : NULL, dy + i * n + j, x + i * n + j, stats + 2 * i,
                                    MIN(n - j, COLUMNS));
}

void rms_norm_backward(float *dx, float *dw, const float *dy, const float *x, const float *w, float eps, int64_t n_rows,
                       int64_t n, float *stats)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t i = 0; i < n_rows; i++)
        k->rms_norm_backward(dx + i * n, stats + 2 * i, dy + i * n, x + i * n, w, eps, n);
    if (dw) norm_weights(dw, NULL, dy, x, stats, n_rows, n);
}

void layer_norm_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, float eps,
                         int64_t n_rows, int64_t n, float *stats)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t i = 0; i < n_rows; i++)
        k->layer_norm_backward(dx + i * n, stats + 2 * i, dy + i * n, x + i * n, w, eps, n);
    if (dw) norm_weights(dw, db, dy, x, stats, n_rows, n);
}

void add_bias_backward(float *db, const float *dy, int64_t n_rows, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t j = 0; j < n; j += COLUMNS)
        for (int64_t i = 0; i < n_rows; i++) k->add(db + j, dy + i * n + j, MIN(n - j, COLUMNS));
}

/* ---- element by element ------------------------------------------------------------------------------------------ */

void activate_backward(float *dy, const float *x, enum activation act, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE) k->activate_backward(dy + at, x + at, act, PIECE_SIZE(at, n));
}

void activate_gated_backward(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                             enum activation act, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE)
        k->activate_gated_backward(dgate + at, dup + at, dy + at, gate + at, up + at, act, PIECE_SIZE(at, n));
}

void rope_backward(float *dy, const float *cos_sin, int64_t n_rows, int64_t n_heads, int64_t head_dim, int64_t half,
                   bool interleaved)
{
    const struct row_kernels *k = kernels()->row;
    int64_t n = n_heads * head_dim;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t i = 0; i < n_rows; i++)
        k->rope_backward(dy + i * n, cos_sin + i * half * 2, n_heads, head_dim, half, interleaved);
}

void soft_cap_backward(float *dy, const float *y, float cap, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE) k->soft_cap_backward(dy + at, y + at, cap, PIECE_SIZE(at, n));
}

/* ---- cross entropy ----------------------------------------------------------------------------------------------- */

float cross_entropy_backward(float *logits, int64_t n, int64_t target, float scale)
{
    const struct row_kernels *k = kernels()->row;
    double log_sum = (double)k->max(logits, n);
    log_sum += log(k->sum_exp(logits, (float)log_sum, n));
    double loss = log_sum - (double)logits[target];
    k->softmax(logits, (float)log_sum, scale, n);
    logits[target] -= scale;
    return (float)loss;
}
