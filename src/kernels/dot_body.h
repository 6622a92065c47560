/* dot_body: number formats and dot products for x86 processors with AVX2, FMA and F16C; included by one source file for
 * each instruction set, which brings the one thing that differs:
 *
 *     __m256i add_products(__m256i sum, __m256i a, __m256i b)     lane i = sum[i] + a[2i] b[2i] + a[2i + 1] b[2i + 1]
 *
 * As in scalar_dot.c all formats come down to 32 unsigned bytes u with w = scale * u + offset. The products with u are
 * whole numbers below 2^28; scale and offset meet the step and the sum of the rounded x once a block. X rows of x are
 * worked on together; each has sums of its own, so its value does not depend on X. Weight rows are taken one by one:
 * two side by side break the processor's prefetching (half the speed on rows of 360 to 960 bytes, Zen 4).
 * `type` and X are constants wherever these functions are used: everything is inlined and the switches vanish. */
#ifndef KERNELS_DOT_BODY_H
#define KERNELS_DOT_BODY_H

#include "kernels/eight_body.h"
#include "kernels/formats_body.h"

#include <math.h>

INLINE __m256i add_products(__m256i sum, __m256i a, __m256i b);

enum { MAX_X = 4 }; /* four sums and what goes with them fit 16 registers */

INLINE float sum_lanes(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* Lane i = sum over e = 4i .. 4i + 3 of u[e] x[e]. Bytes become pairs of 16-bit integers, the even ones and the odd ones,
 * so the block of rounded x lies with its 16 even entries first. */
INLINE __m256i products(__m256i u, const int16_t *q)
{
    __m256i even = add_products(_mm256_setzero_si256(), even_bytes(u), load_32(q));
    return add_products(even, odd_bytes(u), load_32(q + 16));
}

/* Asks for the weights that come 2 KB later, across the ends of rows: 8 % over the processor's own prefetching. */
INLINE void prefetch(const char *weights) { _mm_prefetch(weights + 2048, _MM_HINT_T0); }

/* ---- blocks of 32 -------------------------------------------------------------------------------------------------- */

INLINE void dot_blocks(enum dtype type, int X, float *y, int64_t y_stride, const struct dot_rows *rows, int64_t i,
                       const char *w)
{
    __m256 sum[MAX_X];
    __m128 offset[MAX_X]; /* lane 1: sum of offset * sum of x; the other lanes are of no use */
    for (int b = 0; b < X; b++) sum[b] = _mm256_setzero_ps(), offset[b] = _mm_setzero_ps();
    int64_t n = rows->n / 32;
    for (int64_t k = 0; k < n; k++, w += block_bytes(type)) {
        prefetch(w);
        __m256i u = block_u(type, w);
        __m128 scale = block_scale(type, w);
        for (int b = 0; b < X; b++) {
            int64_t at = (i + b) * n + k;
            __m128 both = _mm_mul_ps(scale, _mm_castsi128_ps(load_8(rows->pair + 2 * at)));
            __m256 p = _mm256_cvtepi32_ps(products(u, rows->q + 32 * at));
            sum[b] = _mm256_fmadd_ps(p, _mm256_broadcastss_ps(both), sum[b]);
            offset[b] = _mm_add_ps(offset[b], both);
        }
    }
    for (int b = 0; b < X; b++)
        y[(i + b) * y_stride] = sum_lanes(sum[b]) + _mm_cvtss_f32(_mm_movehdup_ps(offset[b]));
}

/* ---- super-blocks of 256 --------------------------------------------------------------------------------------------- */

/* Lanes 0..3 = scale[0], 4..7 = scale[1]: the lanes of products() that belong to each 16. */
INLINE __m256 group_scale(enum dtype type, const float scale[2])
{
    if (type == DT_Q4_K || type == DT_Q5_K) return _mm256_broadcast_ss(scale);
    __m256 both = _mm256_castsi256_ps(_mm256_broadcastq_epi64(load_8(scale)));
    return _mm256_permutevar_ps(both, _mm256_set_epi32(1, 1, 1, 1, 0, 0, 0, 0));
}

INLINE void dot_supers(enum dtype type, int X, float *y, int64_t y_stride, const struct dot_rows *rows, int64_t i,
                       const char *w)
{
    __m256 sum[MAX_X], offset[MAX_X];
    for (int b = 0; b < X; b++) sum[b] = offset[b] = _mm256_setzero_ps();
    int64_t n = rows->n / SUPER;
    for (int64_t k = 0; k < n; k++, w += block_bytes(type)) {
        __m256 s[2], m[2];
        float scaled[MAX_X][16];
        for (int64_t line = 0; line < block_bytes(type); line += 64) prefetch(w + line);
        super_scales(type, w, s, m);
        for (int b = 0; b < X; b++)
            for (int h = 0; h < 2; h++) {
                int64_t at = 16 * ((i + b) * n + k) + 8 * h;
                _mm256_storeu_ps(scaled[b] + 8 * h, _mm256_mul_ps(s[h], _mm256_loadu_ps(rows->step + at)));
                offset[b] = _mm256_fmadd_ps(m[h], _mm256_loadu_ps(rows->sum + at), offset[b]);
            }
        for (int g = 0; g < 8; g++) {
            __m256i u = super_u(type, w, g);
            for (int b = 0; b < X; b++) {
                __m256 p = _mm256_cvtepi32_ps(products(u, rows->q + SUPER * ((i + b) * n + k) + 32 * g));
                sum[b] = _mm256_fmadd_ps(p, group_scale(type, scaled[b] + 2 * g), sum[b]);
            }
        }
    }
    for (int b = 0; b < X; b++) y[(i + b) * y_stride] = sum_lanes(_mm256_add_ps(sum[b], offset[b]));
}

/* ---- float formats --------------------------------------------------------------------------------------------------- */

INLINE int64_t float_bytes(enum dtype type) { return type == DT_F32 ? 4 : 2; }

/* Eight elements as f32. */
INLINE __m256 load_floats(enum dtype type, const void *p)
{
    switch (type) {
    case DT_F32: return _mm256_loadu_ps(p);
    case DT_F16: return _mm256_cvtph_ps(load_16(p));
    default: return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(p)), 16));
    }
}

/* n < 8 elements, then zeros. */
INLINE __m256 load_few_floats(enum dtype type, const void *p, int64_t n)
{
    char padded[32] = { 0 };
    memcpy(padded, p, (size_t)(n * float_bytes(type)));
    return load_floats(type, padded);
}

INLINE void dot_floats(enum dtype type, int X, float *y, int64_t y_stride, const struct dot_rows *rows, int64_t i,
                       const char *w)
{
    __m256 sum[MAX_X][2];
    for (int b = 0; b < X; b++) sum[b][0] = sum[b][1] = _mm256_setzero_ps();
    int64_t n = rows->n, k = 0;
    const float *x = rows->x + i * n;
    for (; k + 16 <= n; k += 16) {
        prefetch(w + k * float_bytes(type));
        for (int h = 0; h < 2; h++) {
            __m256 v = load_floats(type, w + (k + 8 * h) * float_bytes(type));
            for (int b = 0; b < X; b++)
                sum[b][h] = _mm256_fmadd_ps(v, _mm256_loadu_ps(x + b * n + k + 8 * h), sum[b][h]);
        }
    }
    for (; k < n; k += 8) {
        int64_t rest = n - k < 8 ? n - k : 8;
        __m256 v = load_few_floats(type, w + k * float_bytes(type), rest);
        for (int b = 0; b < X; b++)
            sum[b][0] = _mm256_fmadd_ps(v, load_few_floats(DT_F32, x + b * n + k, rest), sum[b][0]);
    }
    for (int b = 0; b < X; b++) y[(i + b) * y_stride] = sum_lanes(_mm256_add_ps(sum[b][0], sum[b][1]));
}

/* ---- the kernels ------------------------------------------------------------------------------------------------------- */

/* Products of X rows of x from row i on with the weight row at w. */
INLINE void dot_tile(enum dtype type, int X, float *y, int64_t y_stride, const struct dot_rows *rows, int64_t i,
                     const char *w)
{
    switch (kind_of(type)) {
    case KIND_FLOAT: dot_floats(type, X, y, y_stride, rows, i, w); break;
    case KIND_BLOCK: dot_blocks(type, X, y, y_stride, rows, i, w); break;
    case KIND_SUPER: dot_supers(type, X, y, y_stride, rows, i, w); break;
    }
}

/* Four rows of x meet all n_w weight rows before the next four do: what the caller hands over at a time should fit the
 * first cache. */
INLINE void dot_any(enum dtype type, float *y, int64_t y_stride, const struct dot_rows *rows, const char *w,
                    int64_t row_bytes, int64_t n_w)
{
    int64_t i = 0, eights = kind_of(type) == KIND_BLOCK ? n_w / EIGHT * EIGHT : 0;
    for (; eights && i + EIGHT_X <= rows->n_rows; i += EIGHT_X)
        for (int64_t j = 0; j < eights; j += EIGHT)
            dot_eight(type, EIGHT_X, y + j, y_stride, rows, i, w + j * row_bytes, row_bytes);
    for (; eights && i < rows->n_rows; i++)
        for (int64_t j = 0; j < eights; j += EIGHT)
            dot_eight(type, 1, y + j, y_stride, rows, i, w + j * row_bytes, row_bytes);
    y += eights, w += eights * row_bytes, n_w -= eights;
    for (i = 0; i + MAX_X <= rows->n_rows; i += MAX_X)
        for (int64_t j = 0; j < n_w; j++) dot_tile(type, MAX_X, y + j, y_stride, rows, i, w + j * row_bytes);
    for (; i < rows->n_rows; i++)
        for (int64_t j = 0; j < n_w; j++) dot_tile(type, 1, y + j, y_stride, rows, i, w + j * row_bytes);
}

/* y[32] from bytes u with a scale and an offset for each 16. */
INLINE void widen_group(float *y, __m256i u, const float scale[2], const float offset[2])
{
    uint8_t bytes[32];
    _mm256_storeu_si256((__m256i_u *)bytes, u);
    for (int e = 0; e < 32; e += 8) {
        __m256 v = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_8(bytes + e)));
        v = _mm256_fmadd_ps(v, _mm256_broadcast_ss(scale + e / 16), _mm256_broadcast_ss(offset + e / 16));
        _mm256_storeu_ps(y + e, v);
    }
}

INLINE void widen_any(enum dtype type, float *y, const char *row, int64_t n)
{
    int64_t k = 0;
    switch (kind_of(type)) {
    case KIND_FLOAT:
        for (; k + 8 <= n; k += 8) _mm256_storeu_ps(y + k, load_floats(type, row + k * float_bytes(type)));
        if (k < n) {
            float last[8];
            _mm256_storeu_ps(last, load_few_floats(type, row + k * float_bytes(type), n - k));
            memcpy(y + k, last, (size_t)(n - k) * sizeof(float));
        }
        break;
    case KIND_BLOCK:
        for (; k < n; k += 32, row += block_bytes(type)) {
            float both[4];
            _mm_storeu_ps(both, block_scale(type, row));
            widen_group(y + k, block_u(type, row), (float[2]){ both[0], both[0] }, (float[2]){ both[1], both[1] });
        }
        break;
    case KIND_SUPER:
        for (; k < n; k += SUPER, row += block_bytes(type)) {
            __m256 s[2], m[2];
            float scale[16], offset[16];
            super_scales(type, row, s, m);
            for (int h = 0; h < 2; h++) {
                _mm256_storeu_ps(scale + 8 * h, s[h]);
                _mm256_storeu_ps(offset + 8 * h, m[h]);
            }
            for (int g = 0; g < 8; g++)
                widen_group(y + k + 32 * g, super_u(type, row, g), scale + 2 * g, offset + 2 * g);
        }
        break;
    }
}

/* ---- rows of x ----------------------------------------------------------------------------------------------------------- */

/* Largest absolute value as bits: as integers these order like floats, infinities and NaN above all others. */
INLINE int32_t largest_bits(const __m256 x[4])
{
    const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
    __m256i m = _mm256_setzero_si256();
    for (int e = 0; e < 4; e++) m = _mm256_max_epi32(m, _mm256_and_si256(_mm256_castps_si256(x[e]), no_sign));
    __m128i s = _mm_max_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/* Sum of 16 16-bit integers. */
INLINE int32_t sum_of_16(__m256i q)
{
    __m256i m = _mm256_madd_epi16(q, _mm256_set1_epi16(1));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(m), _mm256_extracti128_si256(m, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* Eight and eight whole numbers as 16-bit integers, in order. */
INLINE __m256i round_16(__m256 a, __m256 b, float inverse)
{
    __m256 f = _mm256_set1_ps(inverse);
    __m256i q = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(a, f)), _mm256_cvtps_epi32(_mm256_mul_ps(b, f)));
    return _mm256_permute4x64_epi64(q, 0xd8);
}

INLINE void store_rounded(int16_t *q, __m256i q0, __m256i q1)
{
    __m256i even = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_slli_epi32(q0, 16), 16),
                                      _mm256_srai_epi32(_mm256_slli_epi32(q1, 16), 16));
    __m256i odd = _mm256_packs_epi32(_mm256_srai_epi32(q0, 16), _mm256_srai_epi32(q1, 16));
    _mm256_storeu_si256((__m256i_u *)q, _mm256_permute4x64_epi64(even, 0xd8));
    _mm256_storeu_si256((__m256i_u *)(q + 16), _mm256_permute4x64_epi64(odd, 0xd8));
}

static void round_row(const struct dot_rows *rows, int64_t i)
{
    int64_t blocks = rows->n / ROUND_BLOCK;
    for (int64_t b = i * blocks; b < (i + 1) * blocks; b++) {
        __m256 x[4];
        for (int e = 0; e < 4; e++) x[e] = _mm256_loadu_ps(rows->x + ROUND_BLOCK * b + 8 * e);
        int32_t bits = largest_bits(x), sum[2] = { 0, 0 };
        float largest, step = bits >= 0x7f800000 ? NAN : 0;
        memcpy(&largest, &bits, 4);
        __m256i q0 = _mm256_setzero_si256(), q1 = q0;
        if (bits < 0x7f800000 && largest >= 0x1p-100f) {
            float inverse = ROUND_MAX / largest;
            step = largest / ROUND_MAX;
            q0 = round_16(x[0], x[1], inverse);
            q1 = round_16(x[2], x[3], inverse);
            sum[0] = sum_of_16(q0);
            sum[1] = sum_of_16(q1);
        }
        store_rounded(rows->q + ROUND_BLOCK * b, q0, q1);
        for (int h = 0; h < 2; h++) {
            rows->step[2 * b + h] = step;
            rows->sum[2 * b + h] = step * (float)sum[h];
        }
        rows->pair[2 * b] = step;
        rows->pair[2 * b + 1] = step * (float)(sum[0] + sum[1]);
    }
}

static void f32_to_f16_any(uint16_t *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i_u *)(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    if (i < n) {
        uint16_t last[8];
        __m256 v = load_few_floats(DT_F32, x + i, n - i);
        _mm_storeu_si128((__m128i_u *)last, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
        memcpy(y + i, last, (size_t)(n - i) * sizeof(*y));
    }
}

#define KERNELS_OF(type)                                                                                               \
    static void widen_##type(float *y, const void *row, int64_t n) { widen_any(DT_##type, y, row, n); }                \
    static void dot_##type(float *y, int64_t y_stride, const struct dot_rows *rows, const void *w, int64_t row_bytes,  \
                           int64_t n_w)                                                                                \
    {                                                                                                                  \
        dot_any(DT_##type, y, y_stride, rows, w, row_bytes, n_w);                                                      \
    }
KERNELS_OF(F32)
KERNELS_OF(F16)
KERNELS_OF(BF16)
KERNELS_OF(Q4_0)
KERNELS_OF(Q4_1)
KERNELS_OF(Q5_0)
KERNELS_OF(Q5_1)
KERNELS_OF(Q8_0)
KERNELS_OF(Q2_K)
KERNELS_OF(Q3_K)
KERNELS_OF(Q4_K)
KERNELS_OF(Q5_K)
KERNELS_OF(Q6_K)

#define EACH_FORMAT(f)                                                                                                 \
    {                                                                                                                  \
        [DT_F32] = f##_F32, [DT_F16] = f##_F16, [DT_BF16] = f##_BF16, [DT_Q4_0] = f##_Q4_0, [DT_Q4_1] = f##_Q4_1,      \
        [DT_Q5_0] = f##_Q5_0, [DT_Q5_1] = f##_Q5_1, [DT_Q8_0] = f##_Q8_0, [DT_Q2_K] = f##_Q2_K, [DT_Q3_K] = f##_Q3_K,  \
        [DT_Q4_K] = f##_Q4_K, [DT_Q5_K] = f##_Q5_K, [DT_Q6_K] = f##_Q6_K,                                              \
    }

#define DOT_KERNELS                                                                                                    \
    {                                                                                                                  \
        .widen = EACH_FORMAT(widen), .round_row = round_row, .dot = EACH_FORMAT(dot), .f32_to_f16 = f32_to_f16_any,    \
    }

#endif
