/* quantise: rows of f32 into the formats of files, rounded to nearest as the formats' references do (the PyPI package
 * `gguf`, gguf/quants.py). Not here: formats whose scales are searched for (Q4_K and its kin), which are only read. */
#include "kernels/kernels.h"
#include "kernels/quant.h"

#include <float.h>
#include <math.h>

enum { BLOCK = 32 };

/* ---- blocks of 32: false when a scale does not fit f16 ----------------------------------------------------------- */

static bool fits(uint16_t half)
{
    return (half & 0x7c00) != 0x7c00;   /* neither infinity nor NaN */
}

/* 1 / d; 0 where d is zero or so small that f16 makes it zero. */
static float inverse_of(float d)
{
    float inverse = d != 0 ? 1 / d : 0;
    return isfinite(inverse) ? inverse : 0;
}

/* The scale d makes the entry of largest magnitude -8 d: q = trunc(x / d + 8.5), at most 15. */
static bool put_q4_0(struct q4_0 *b, const float *x)
{
    float extreme = 0;
    for (int i = 0; i < BLOCK; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    float d = extreme / -8, inverse = inverse_of(d);
    b->d = f32_to_f16(d);
    uint8_t u[BLOCK];
    for (int i = 0; i < BLOCK; i++) u[i] = (uint8_t)fminf(15, x[i] * inverse + 8.5f);
    for (int i = 0; i < BLOCK / 2; i++) b->qs[i] = (uint8_t)(u[i] | u[i + BLOCK / 2] << 4);
    return fits(b->d);
}

/* The smallest entry is m, the largest m + 15 d. */
static bool put_q4_1(struct q4_1 *b, const float *x)
{
    float low = x[0], high = x[0];
    for (int i = 1; i < BLOCK; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    float d = (high - low) / 15, inverse = inverse_of(d);
    b->d = f32_to_f16(d);
    b->m = f32_to_f16(low);
    uint8_t u[BLOCK];
    for (int i = 0; i < BLOCK; i++) u[i] = (uint8_t)fminf(15, (x[i] - low) * inverse + 0.5f);
    for (int i = 0; i < BLOCK / 2; i++) b->qs[i] = (uint8_t)(u[i] | u[i + BLOCK / 2] << 4);
    return fits(b->d) && fits(b->m);
}

/* The entry of largest magnitude is 127 d; halves round away from zero. Loops without calls, since a q8_0 cache comes here for every
 * token: cut towards zero, and what was cut off says whether that was one too few. */
static bool put_q8_0(struct q8_0 *b, const float *x)
{
    float largest = 0;
    for (int i = 0; i < BLOCK; i++) {
        float size = fabsf(x[i]);
        largest = size > largest ? size : largest;
    }
    float d = largest / 127, inverse = inverse_of(d);
    b->d = f32_to_f16(d);
    for (int i = 0; i < BLOCK; i++) {
        float scaled = x[i] * inverse;
        int32_t whole = (int32_t)scaled;
        float cut = scaled - (float)whole;
        b->qs[i] = (int8_t)(whole + (cut >= 0.5f) - (cut <= -0.5f));
    }
    return fits(b->d);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static bool all_finite(const float *x, int64_t n)
{
    bool good = true;
    for (int64_t i = 0; i < n; i++) good &= fabsf(x[i]) <= FLT_MAX;
    return good;
}

bool dtype_can_write(enum dtype type)
{
    return type == DT_F32 || type == DT_F16 || type == DT_BF16 || type == DT_Q8_0 || type == DT_Q4_0 || type == DT_Q4_1;
}

bool quantise_row(enum dtype type, void *y, const float *x, int64_t n)
{
    bool good = all_finite(x, n);
    int64_t blocks = n / BLOCK;
    switch (type) {
    case DT_F32:
        memcpy(y, x, (size_t)n * sizeof *x);
        return good;
    case DT_F16:
        f32_to_f16_row(y, x, n);
        for (int64_t i = 0; i < n && good; i++) good = fits(((const uint16_t *)y)[i]);
        return good;
    case DT_BF16:
        for (int64_t i = 0; i < n; i++) ((uint16_t *)y)[i] = f32_to_bf16(x[i]);
        for (int64_t i = 0; i < n && good; i++) good = isfinite(bf16_to_f32(((const uint16_t *)y)[i]));
        return good;
    case DT_Q4_0:
        for (int64_t i = 0; i < blocks && good; i++) good = put_q4_0((struct q4_0 *)y + i, x + i * BLOCK);
        return good;
    case DT_Q4_1:
        for (int64_t i = 0; i < blocks && good; i++) good = put_q4_1((struct q4_1 *)y + i, x + i * BLOCK);
        return good;
    case DT_Q8_0:
        for (int64_t i = 0; i < blocks && good; i++) good = put_q8_0((struct q8_0 *)y + i, x + i * BLOCK);
        return good;
    default:
        return false;
    }
}
