/* rows: norms, activations, rotary positions, rounding: what is done to each row or element by itself. This file cuts
 * the work into fixed pieces for the threads; the arithmetic is in rows_body.h. */
#include "base/base.h"
#include "kernels/table.h"

#include <math.h>

/* Elements of a piece, and below which a second thread costs more than it brings. */
#define PIECE 16384
#define SERIAL_ELEMENTS 32768

/* Piece at [at, at + PIECE_SIZE) of n elements. */
#define PIECE_SIZE(at, n) MIN((n) - (at), PIECE)

void rms_norm(float *y, const float *x, const float *w, float eps, int64_t n_rows, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t i = 0; i < n_rows; i++) k->rms_norm(y + i * n, x + i * n, w, eps, n);
}

void layer_norm(float *y, const float *x, const float *w, const float *b, float eps, int64_t n_rows, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t i = 0; i < n_rows; i++) k->layer_norm(y + i * n, x + i * n, w, b, eps, n);
}

void add_bias(float *x, const float *b, int64_t n_rows, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t i = 0; i < n_rows; i++) k->add(x + i * n, b, n);
}

void add_to(float *y, const float *x, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE) k->add(y + at, x + at, PIECE_SIZE(at, n));
}

void scale_by(float *y, float s, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE) k->scale(y + at, s, PIECE_SIZE(at, n));
}

void activate(float *y, enum activation act, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE) k->activate(y + at, act, PIECE_SIZE(at, n));
}

void activate_gated(float *gate, const float *up, enum activation act, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE) k->activate_gated(gate + at, up + at, act, PIECE_SIZE(at, n));
}

void soft_cap(float *x, float cap, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE) k->soft_cap(x + at, cap, PIECE_SIZE(at, n));
}

void round_to(float *x, enum rounding to, int64_t n)
{
    if (to == ROUND_NONE) return;
    const struct row_kernels *k = kernels()->row;
#pragma omp parallel for schedule(static) if (n >= SERIAL_ELEMENTS)
    for (int64_t at = 0; at < n; at += PIECE) k->round_to(x + at, to, PIECE_SIZE(at, n));
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

static void angles_at(float *to, double position, const double *inv_freq, int64_t half, float scale)
{
    for (int64_t i = 0; i < half; i++) {
        double s, c;
        sincos(position * inv_freq[i], &s, &c);
        to[2 * i] = (float)(c * (double)scale);
        to[2 * i + 1] = (float)(s * (double)scale);
    }
}

void rope_angles(float *cos_sin, const int64_t *positions, int64_t n_rows, const double *inv_freq, int64_t half,
                 float scale)
{
    /* a sine costs as much as a dozen elements elsewhere */
#pragma omp parallel for schedule(static) if (n_rows * half * 16 >= SERIAL_ELEMENTS)
    for (int64_t row = 0; row < n_rows; row++)
        angles_at(cos_sin + row * half * 2, (double)positions[row], inv_freq, half, scale);
}

void rope_angles_between(float *cos_sin, const double *positions, int64_t n_rows, const double *inv_freq, int64_t half,
                         float scale)
{
    for (int64_t row = 0; row < n_rows; row++)
        angles_at(cos_sin + row * half * 2, positions[row], inv_freq, half, scale);
}

void rope_apply(float *y, const float *cos_sin, int64_t n_rows, int64_t n_heads, int64_t head_dim, int64_t half,
                bool interleaved)
{
    const struct row_kernels *k = kernels()->row;
    int64_t n = n_heads * head_dim;
#pragma omp parallel for schedule(static) if (n_rows * n >= SERIAL_ELEMENTS)
    for (int64_t i = 0; i < n_rows; i++)
        k->rope(y + i * n, cos_sin + i * half * 2, n_heads, head_dim, half, interleaved);
}

/* ---- cross entropy ----------------------------------------------------------------------------------------------- */

float cross_entropy(const float *logits, int64_t n, int64_t target)
{
    const struct row_kernels *k = kernels()->row;
    float max = k->max(logits, n);
    if (max == -INFINITY) return logits[target] == -INFINITY ? INFINITY : NAN;
    return (float)(log(k->sum_exp(logits, max, n)) + ((double)max - (double)logits[target]));
}
