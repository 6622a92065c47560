/* dtype: names and sizes of the number formats, and conversion of single 16-bit floats. The sizes are those of the
 * structs in quant.h. */
#include "kernels/kernels.h"
#include "kernels/quant.h"
#include "kernels/table.h"

const struct dtype_info dtype_infos[DT_COUNT] = {
    [DT_F32] = { "F32", 1, 4 },
    [DT_F16] = { "F16", 1, 2 },
    [DT_BF16] = { "BF16", 1, 2 },
    [DT_Q4_0] = { "Q4_0", 32, sizeof(struct q4_0) },
    [DT_Q4_1] = { "Q4_1", 32, sizeof(struct q4_1) },
    [DT_Q5_0] = { "Q5_0", 32, sizeof(struct q5_0) },
    [DT_Q5_1] = { "Q5_1", 32, sizeof(struct q5_1) },
    [DT_Q8_0] = { "Q8_0", 32, sizeof(struct q8_0) },
    [DT_Q2_K] = { "Q2_K", SUPER, sizeof(struct q2_k) },
    [DT_Q3_K] = { "Q3_K", SUPER, sizeof(struct q3_k) },
    [DT_Q4_K] = { "Q4_K", SUPER, sizeof(struct q4_k) },
    [DT_Q5_K] = { "Q5_K", SUPER, sizeof(struct q5_k) },
    [DT_Q6_K] = { "Q6_K", SUPER, sizeof(struct q6_k) },
};

_Static_assert(sizeof(struct q4_0) == 18, "bits per weight: 4.5");
_Static_assert(sizeof(struct q4_1) == 20, "bits per weight: 5");
_Static_assert(sizeof(struct q5_0) == 22, "bits per weight: 5.5");
_Static_assert(sizeof(struct q5_1) == 24, "bits per weight: 6");
_Static_assert(sizeof(struct q8_0) == 34, "bits per weight: 8.5");
_Static_assert(sizeof(struct q2_k) == 84, "bits per weight: 2.625");
_Static_assert(sizeof(struct q3_k) == 110, "bits per weight: 3.4375");
_Static_assert(sizeof(struct q4_k) == 144, "bits per weight: 4.5");
_Static_assert(sizeof(struct q5_k) == 176, "bits per weight: 5.5");
_Static_assert(sizeof(struct q6_k) == 210, "bits per weight: 6.5625");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read in place");

int64_t dtype_row_bytes(enum dtype type, int64_t n)
{
    const struct dtype_info *info = &dtype_infos[type];
    int64_t bytes;
    if (n < 0 || n % info->block || __builtin_mul_overflow(n / info->block, info->block_bytes, &bytes)) return -1;
    return bytes;
}

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    if (rest < 0x0400) { /* zero and denormals: rest units of 2^-24, exact in f32 */
        float f = (float)rest * 0x1p-24f;
        return float_of(bits_of(f) | sign);
    }
    uint32_t exponent = rest >= 0x7c00 ? 255u - 31u : 127u - 15u; /* infinity and NaN, or a new bias */
    return float_of(sign | ((rest << 13) + (exponent << 23)));
}

uint16_t f32_to_f16(float f)
{
    uint32_t u = bits_of(f), rest = u & 0x7fffffff;
    uint16_t sign = (uint16_t)((u >> 16) & 0x8000);
    if (rest > 0x7f800000) return sign | 0x7e00 | (uint16_t)((rest >> 13) & 0x1ff); /* NaN, made quiet */
    if (rest >= 0x47800000) return sign | 0x7c00;                                   /* 2^16 and more: infinity */
    if (rest < 0x38800000) /* below 2^-14: adding 0.5 leaves a sum whose last bit is worth 2^-24; it rounds for us */
        return sign | (uint16_t)(bits_of(float_of(rest) + 0.5f) - bits_of(0.5f));
    rest += 0x0fff + ((rest >> 13) & 1); /* to nearest, ties to even; may carry into the exponent, up to infinity */
    return sign | (uint16_t)((rest - ((127u - 15u) << 23)) >> 13);
}

float bf16_to_f32(uint16_t h) { return float_of((uint32_t)h << 16); }

uint16_t f32_to_bf16(float f)
{
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)((u >> 16) | 0x40); /* NaN, made quiet */
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

void f32_to_f16_row(uint16_t *y, const float *x, int64_t n) { kernels()->dot->f32_to_f16(y, x, n); }

void f16_to_f32_row(float *y, const uint16_t *x, int64_t n) { kernels()->dot->widen[DT_F16](y, x, n); }
