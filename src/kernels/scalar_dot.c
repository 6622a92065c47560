/* scalar_dot: number formats and dot products without any instruction set; the oracle of the others.
 *
 * Every block format comes down to one function that gives a group of 32 weights as w = scale * u + offset, u unsigned
 * and scale, offset for each 16. scale * u is exact in f32 for all formats, so w has one rounding however it is made. */
#include "kernels/quant.h"
#include "kernels/table.h"

#include <math.h>

struct group {
    uint8_t u[32];
    float scale[2], offset[2]; /* of elements 0..15 and 16..31 */
};

static void set_scale(struct group *g, float scale, float offset)
{
    g->scale[0] = g->scale[1] = scale;
    g->offset[0] = g->offset[1] = offset;
}

/* ---- groups of each format ------------------------------------------------------------------------------------------- */

static void nibbles(struct group *g, const uint8_t qs[16])
{
    for (int e = 0; e < 16; e++) {
        g->u[e] = qs[e] & 15;
        g->u[e + 16] = qs[e] >> 4;
    }
}

static void fifth_bits(struct group *g, const uint8_t qh[4])
{
    for (int e = 0; e < 32; e++) g->u[e] |= (uint8_t)(((qh[e / 8] >> (e % 8)) & 1) << 4);
}

static void group_q4_0(struct group *g, const void *row, int64_t i)
{
    const struct q4_0 *b = (const struct q4_0 *)row + i;
    float d = f16_to_f32(b->d);
    nibbles(g, b->qs);
    set_scale(g, d, -8 * d);
}

static void group_q4_1(struct group *g, const void *row, int64_t i)
{
    const struct q4_1 *b = (const struct q4_1 *)row + i;
    nibbles(g, b->qs);
    set_scale(g, f16_to_f32(b->d), f16_to_f32(b->m));
}

static void group_q5_0(struct group *g, const void *row, int64_t i)
{
    const struct q5_0 *b = (const struct q5_0 *)row + i;
    float d = f16_to_f32(b->d);
    nibbles(g, b->qs);
    fifth_bits(g, b->qh);
    set_scale(g, d, -16 * d);
}

static void group_q5_1(struct group *g, const void *row, int64_t i)
{
    const struct q5_1 *b = (const struct q5_1 *)row + i;
    nibbles(g, b->qs);
    fifth_bits(g, b->qh);
    set_scale(g, f16_to_f32(b->d), f16_to_f32(b->m));
}

static void group_q8_0(struct group *g, const void *row, int64_t i)
{
    const struct q8_0 *b = (const struct q8_0 *)row + i;
    float d = f16_to_f32(b->d);
    for (int e = 0; e < 32; e++) g->u[e] = (uint8_t)(b->qs[e] + 128);
    set_scale(g, d, -128 * d);
}

/* Two bits of each element of group i, see quant.h. */
static void two_bits(struct group *g, const uint8_t qs[64], int i)
{
    for (int e = 0; e < 32; e++) g->u[e] = (qs[i / 4 * 32 + e] >> (i % 4 * 2)) & 3;
}

static void group_q2_k(struct group *g, const void *row, int64_t i)
{
    const struct q2_k *b = (const struct q2_k *)row + i / 8;
    float d = f16_to_f32(b->d), dmin = f16_to_f32(b->dmin);
    two_bits(g, b->qs, (int)(i % 8));
    for (int h = 0; h < 2; h++) {
        uint8_t s = b->scales[i % 8 * 2 + h];
        g->scale[h] = d * (s & 15);
        g->offset[h] = -(dmin * (s >> 4));
    }
}

static void group_q3_k(struct group *g, const void *row, int64_t i)
{
    const struct q3_k *b = (const struct q3_k *)row + i / 8;
    float d = f16_to_f32(b->d);
    uint32_t words[4];
    uint8_t s[16];
    q3_k_scales(b->scales, words);
    memcpy(s, words, sizeof(s));
    two_bits(g, b->qs, (int)(i % 8));
    for (int e = 0; e < 32; e++) g->u[e] |= (uint8_t)(((b->hmask[e] >> (i % 8)) & 1) << 2);
    for (int h = 0; h < 2; h++) {
        g->scale[h] = d * (s[i % 8 * 2 + h] - 32);
        g->offset[h] = -4 * g->scale[h];
    }
}

/* Scale and offset of group i of Q4_K and Q5_K. */
static void scale_min(struct group *g, uint16_t d, uint16_t dmin, const uint8_t scales[12], int i)
{
    uint32_t s_words[2], m_words[2];
    uint8_t s[8], m[8];
    q4_k_scales(scales, s_words, m_words);
    memcpy(s, s_words, sizeof(s)), memcpy(m, m_words, sizeof(m));
    set_scale(g, f16_to_f32(d) * s[i], -(f16_to_f32(dmin) * m[i]));
}

static void four_bits(struct group *g, const uint8_t qs[128], int i)
{
    for (int e = 0; e < 32; e++) g->u[e] = (qs[i / 2 * 32 + e] >> (i % 2 * 4)) & 15;
}

static void group_q4_k(struct group *g, const void *row, int64_t i)
{
    const struct q4_k *b = (const struct q4_k *)row + i / 8;
    four_bits(g, b->qs, (int)(i % 8));
    scale_min(g, b->d, b->dmin, b->scales, (int)(i % 8));
}

static void group_q5_k(struct group *g, const void *row, int64_t i)
{
    const struct q5_k *b = (const struct q5_k *)row + i / 8;
    four_bits(g, b->qs, (int)(i % 8));
    for (int e = 0; e < 32; e++) g->u[e] |= (uint8_t)(((b->qh[e] >> (i % 8)) & 1) << 4);
    scale_min(g, b->d, b->dmin, b->scales, (int)(i % 8));
}

static void group_q6_k(struct group *g, const void *row, int64_t i)
{
    const struct q6_k *b = (const struct q6_k *)row + i / 8;
    int half = (int)(i % 8 / 4), part = (int)(i % 4);
    float d = f16_to_f32(b->d);
    for (int e = 0; e < 32; e++) {
        int low = (b->ql[64 * half + part % 2 * 32 + e] >> (part / 2 * 4)) & 15;
        int high = (b->qh[32 * half + e] >> (part * 2)) & 3;
        g->u[e] = (uint8_t)(low | high << 4);
    }
    for (int h = 0; h < 2; h++) {
        g->scale[h] = d * b->scales[i % 8 * 2 + h];
        g->offset[h] = -32 * g->scale[h];
    }
}

/* Group i of a row. */
typedef void group_fn(struct group *g, const void *row, int64_t i);

/* ---- float formats --------------------------------------------------------------------------------------------------- */

static float load_f32(const void *row, int64_t i)
{
    float f;
    memcpy(&f, (const char *)row + 4 * i, 4);
    return f;
}

static uint16_t load_u16(const void *row, int64_t i)
{
    uint16_t h;
    memcpy(&h, (const char *)row + 2 * i, 2);
    return h;
}

static float load_f16(const void *row, int64_t i) { return f16_to_f32(load_u16(row, i)); }

static float load_bf16(const void *row, int64_t i) { return bf16_to_f32(load_u16(row, i)); }

/* Element i of a row. */
typedef float load_fn(const void *row, int64_t i);

/* ---- the kernels ------------------------------------------------------------------------------------------------------- */

static void widen_floats(float *y, const void *row, int64_t n, load_fn *load)
{
    for (int64_t i = 0; i < n; i++) y[i] = load(row, i);
}

static void widen_groups(float *y, const void *row, int64_t n, group_fn *group)
{
    for (int64_t i = 0; i < n / 32; i++) {
        struct group g;
        group(&g, row, i);
        for (int e = 0; e < 32; e++) y[32 * i + e] = g.scale[e / 16] * g.u[e] + g.offset[e / 16];
    }
}

static void dot_floats(float *y, int64_t y_stride, const struct dot_rows *rows, const void *w, int64_t row_bytes,
                       int64_t n_w, load_fn *load)
{
    for (int64_t i = 0; i < rows->n_rows; i++)
        for (int64_t j = 0; j < n_w; j++) {
            const float *x = rows->x + i * rows->n;
            const void *row = (const char *)w + j * row_bytes;
            float sum = 0;
            for (int64_t k = 0; k < rows->n; k++) sum += load(row, k) * x[k];
            y[i * y_stride + j] = sum;
        }
}

/* sum of 16 products of u <= 255 and |q| <= 32512: below 2^27. */
static int32_t dot_16(const uint8_t *u, const int16_t *q)
{
    int32_t sum = 0;
    for (int e = 0; e < 16; e++) sum += u[e] * q[e];
    return sum;
}

static void dot_groups(float *y, int64_t y_stride, const struct dot_rows *rows, const void *w, int64_t row_bytes,
                       int64_t n_w, group_fn *group)
{
    int64_t n = rows->n;
    for (int64_t j = 0; j < n_w; j++) {
        for (int64_t i = 0; i < rows->n_rows; i++) y[i * y_stride + j] = 0;
        for (int64_t b = 0; b < n / 32; b++) {
            struct group g;
            group(&g, (const char *)w + j * row_bytes, b);
            for (int64_t i = 0; i < rows->n_rows; i++)
                for (int h = 0; h < 2; h++) {
                    int64_t k = i * (n / 16) + 2 * b + h;
                    float product = (float)dot_16(g.u + 16 * h, rows->q + 16 * k);
                    y[i * y_stride + j] += g.scale[h] * rows->step[k] * product + g.offset[h] * rows->sum[k];
                }
        }
    }
}

static void round_row(const struct dot_rows *rows, int64_t i)
{
    int64_t blocks = rows->n / ROUND_BLOCK;
    for (int64_t b = i * blocks; b < (i + 1) * blocks; b++) {
        const float *x = rows->x + ROUND_BLOCK * b;
        float largest = 0;
        bool finite = true;
        for (int e = 0; e < ROUND_BLOCK; e++) {
            largest = fmaxf(largest, fabsf(x[e]));
            finite = finite && isfinite(x[e]);
        }
        bool some = finite && largest >= 0x1p-100f;
        float step = !finite ? NAN : some ? largest / ROUND_MAX : 0, inverse = some ? ROUND_MAX / largest : 0;
        int32_t sum[2] = { 0, 0 };
        for (int e = 0; e < ROUND_BLOCK; e++) {
            int16_t q = some ? (int16_t)lrintf(x[e] * inverse) : 0;
            rows->q[ROUND_BLOCK * b + e] = q;
            sum[e / 16] += q;
        }
        for (int h = 0; h < 2; h++) {
            rows->step[2 * b + h] = step;
            rows->sum[2 * b + h] = step * (float)sum[h];
        }
        rows->pair[2 * b] = step;
        rows->pair[2 * b + 1] = step * (float)(sum[0] + sum[1]);
    }
}

static void to_f16(uint16_t *y, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = f32_to_f16(x[i]);
}

/* One pair of functions for each format: the generic one with its element or group function. */
#define KERNELS_OF(type, kind, fn)                                                                                     \
    static void widen_##type(float *y, const void *row, int64_t n) { widen_##kind(y, row, n, fn); }                    \
    static void dot_##type(float *y, int64_t y_stride, const struct dot_rows *rows, const void *w, int64_t row_bytes,  \
                           int64_t n_w)                                                                                \
    {                                                                                                                  \
        dot_##kind(y, y_stride, rows, w, row_bytes, n_w, fn);                                                          \
    }
KERNELS_OF(f32, floats, load_f32)
KERNELS_OF(f16, floats, load_f16)
KERNELS_OF(bf16, floats, load_bf16)
KERNELS_OF(q4_0, groups, group_q4_0)
KERNELS_OF(q4_1, groups, group_q4_1)
KERNELS_OF(q5_0, groups, group_q5_0)
KERNELS_OF(q5_1, groups, group_q5_1)
KERNELS_OF(q8_0, groups, group_q8_0)
KERNELS_OF(q2_k, groups, group_q2_k)
KERNELS_OF(q3_k, groups, group_q3_k)
KERNELS_OF(q4_k, groups, group_q4_k)
KERNELS_OF(q5_k, groups, group_q5_k)
KERNELS_OF(q6_k, groups, group_q6_k)

#define EACH_FORMAT(f)                                                                                                 \
    {                                                                                                                  \
        [DT_F32] = f##_f32, [DT_F16] = f##_f16, [DT_BF16] = f##_bf16, [DT_Q4_0] = f##_q4_0, [DT_Q4_1] = f##_q4_1,      \
        [DT_Q5_0] = f##_q5_0, [DT_Q5_1] = f##_q5_1, [DT_Q8_0] = f##_q8_0, [DT_Q2_K] = f##_q2_k, [DT_Q3_K] = f##_q3_k,  \
        [DT_Q4_K] = f##_q4_k, [DT_Q5_K] = f##_q5_k, [DT_Q6_K] = f##_q6_k,                                              \
    }

const struct dot_kernels dot_kernels_scalar = {
    .widen = EACH_FORMAT(widen),
    .round_row = round_row,
    .dot = EACH_FORMAT(dot),
    .f32_to_f16 = to_f16,
};
