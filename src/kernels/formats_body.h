/* formats_body: the block formats for x86 processors with AVX2 and F16C; included by the bodies that are compiled once
 * for each instruction set. As in scalar_dot.c all formats come down to 32 unsigned bytes u with w = scale * u + offset.
 * `type` is a constant wherever these functions are used: everything is inlined and the switches vanish. */
#ifndef KERNELS_FORMATS_BODY_H
#define KERNELS_FORMATS_BODY_H

#include "kernels/quant.h"
#include "kernels/table.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m256i load_32(const void *p) { return _mm256_loadu_si256((const __m256i_u *)p); }

INLINE __m128i load_16(const void *p) { return _mm_loadu_si128((const __m128i_u *)p); }

INLINE __m128i load_8(const void *p) { return _mm_loadl_epi64((const __m128i_u *)p); }

INLINE __m128i load_4(const void *p)
{
    int32_t i;
    memcpy(&i, p, 4);
    return _mm_cvtsi32_si128(i);
}

/* 32 bytes as 16-bit integers. */
INLINE __m256i even_bytes(__m256i u) { return _mm256_and_si256(u, _mm256_set1_epi16(0xff)); }
INLINE __m256i odd_bytes(__m256i u) { return _mm256_srli_epi16(u, 8); }

enum kind { KIND_FLOAT, KIND_BLOCK, KIND_SUPER };

INLINE enum kind kind_of(enum dtype type)
{
    return type <= DT_BF16 ? KIND_FLOAT : type <= DT_Q8_0 ? KIND_BLOCK : KIND_SUPER;
}

INLINE int64_t block_bytes(enum dtype type)
{
    switch (type) {
    case DT_Q4_0: return sizeof(struct q4_0);
    case DT_Q4_1: return sizeof(struct q4_1);
    case DT_Q5_0: return sizeof(struct q5_0);
    case DT_Q5_1: return sizeof(struct q5_1);
    case DT_Q8_0: return sizeof(struct q8_0);
    case DT_Q2_K: return sizeof(struct q2_k);
    case DT_Q3_K: return sizeof(struct q3_k);
    case DT_Q4_K: return sizeof(struct q4_k);
    case DT_Q5_K: return sizeof(struct q5_k);
    default: return sizeof(struct q6_k);
    }
}

/* ---- blocks of 32 -------------------------------------------------------------------------------------------------- */

INLINE __m256i low_bits(__m256i v, int shift, char mask)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, shift), _mm256_set1_epi8(mask));
}

INLINE __m256i nibbles(const uint8_t qs[16])
{
    __m256i twice = _mm256_broadcastsi128_si256(load_16(qs));
    return _mm256_and_si256(_mm256_srlv_epi64(twice, _mm256_set_epi64x(4, 4, 0, 0)), _mm256_set1_epi8(15));
}

/* Byte e = 16 where bit e of qh is set. */
INLINE __m256i fifth_bits(const uint8_t qh[4])
{
    const __m256i byte_of = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
    const __m256i bit_of = _mm256_set1_epi64x((long long)0x8040201008040201ull);
    __m256i v = _mm256_shuffle_epi8(_mm256_broadcastd_epi32(load_4(qh)), byte_of);
    v = _mm256_cmpeq_epi8(_mm256_and_si256(v, bit_of), bit_of);
    return _mm256_and_si256(v, _mm256_set1_epi8(16));
}

INLINE __m256i block_u(enum dtype type, const void *block)
{
    switch (type) {
    case DT_Q4_0: return nibbles(((const struct q4_0 *)block)->qs);
    case DT_Q4_1: return nibbles(((const struct q4_1 *)block)->qs);
    case DT_Q5_0: {
        const struct q5_0 *b = block;
        return _mm256_or_si256(nibbles(b->qs), fifth_bits(b->qh));
    }
    case DT_Q5_1: {
        const struct q5_1 *b = block;
        return _mm256_or_si256(nibbles(b->qs), fifth_bits(b->qh));
    }
    default: /* Q8_0 */
        return _mm256_xor_si256(load_32(((const struct q8_0 *)block)->qs), _mm256_set1_epi8(-128));
    }
}

/* (scale, offset) of a block in lanes 0 and 1. All blocks begin with d, or d and m. */
INLINE __m128 block_scale(enum dtype type, const void *block)
{
    __m128 dm = _mm_cvtph_ps(load_4(block));
    if (type == DT_Q4_1 || type == DT_Q5_1) return dm;
    float offset = type == DT_Q4_0 ? -8.0f : type == DT_Q5_0 ? -16.0f : -128.0f;
    return _mm_mul_ps(_mm_moveldup_ps(dm), _mm_set_ps(0, 0, offset, 1));
}

/* ---- super-blocks of 256 --------------------------------------------------------------------------------------------- */

/* Group g = 0..7 of 32 elements. */
INLINE __m256i super_u(enum dtype type, const void *block, int g)
{
    switch (type) {
    case DT_Q2_K: return low_bits(load_32(((const struct q2_k *)block)->qs + g / 4 * 32), g % 4 * 2, 3);
    case DT_Q3_K: {
        const struct q3_k *b = block;
        __m256i high = _mm256_slli_epi16(low_bits(load_32(b->hmask), g, 1), 2);
        return _mm256_or_si256(low_bits(load_32(b->qs + g / 4 * 32), g % 4 * 2, 3), high);
    }
    case DT_Q4_K: return low_bits(load_32(((const struct q4_k *)block)->qs + g / 2 * 32), g % 2 * 4, 15);
    case DT_Q5_K: {
        const struct q5_k *b = block;
        __m256i high = _mm256_slli_epi16(low_bits(load_32(b->qh), g, 1), 4);
        return _mm256_or_si256(low_bits(load_32(b->qs + g / 2 * 32), g % 2 * 4, 15), high);
    }
    default: { /* Q6_K */
        const struct q6_k *b = block;
        int half = g / 4, part = g % 4;
        __m256i high = _mm256_slli_epi16(low_bits(load_32(b->qh + 32 * half), part * 2, 3), 4);
        return _mm256_or_si256(low_bits(load_32(b->ql + 64 * half + part % 2 * 32), part / 2 * 4, 15), high);
    }
    }
}

/* out[16] = d * bytes[16] */
INLINE void scale_bytes(__m256 out[2], __m128i bytes, __m256 d)
{
    out[0] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), d);
    out[1] = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))), d);
}

/* 16 bytes: each of the 8 twice. */
INLINE __m128i doubled(const uint32_t words[2])
{
    __m128i v = _mm_set_epi32(0, 0, (int)words[1], (int)words[0]);
    return _mm_unpacklo_epi8(v, v);
}

INLINE __m256 half_float(uint16_t h) { return _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(h))); }

INLINE __m256 minus_half_float(uint16_t h) { return _mm256_xor_ps(half_float(h), _mm256_set1_ps(-0.0f)); }

/* Scales and offsets of the 16 groups of 16; formats with one for each 32 give each twice. */
INLINE void super_scales(enum dtype type, const void *block, __m256 scale[2], __m256 offset[2])
{
    switch (type) {
    case DT_Q2_K: {
        const struct q2_k *b = block;
        __m128i both = load_16(b->scales), mask = _mm_set1_epi8(15);
        scale_bytes(scale, _mm_and_si128(both, mask), half_float(b->d));
        scale_bytes(offset, _mm_and_si128(_mm_srli_epi16(both, 4), mask), minus_half_float(b->dmin));
        break;
    }
    case DT_Q4_K:
    case DT_Q5_K: {
        const struct q4_k *b = block; /* Q5_K begins alike */
        uint32_t s[2], m[2];
        q4_k_scales(b->scales, s, m);
        scale_bytes(scale, doubled(s), half_float(b->d));
        scale_bytes(offset, doubled(m), minus_half_float(b->dmin));
        break;
    }
    case DT_Q3_K: {
        const struct q3_k *b = block;
        uint32_t s[4];
        q3_k_scales(b->scales, s);
        __m128i bytes = _mm_set_epi32((int)s[3], (int)s[2], (int)s[1], (int)s[0]);
        scale_bytes(scale, _mm_sub_epi8(bytes, _mm_set1_epi8(32)), half_float(b->d));
        for (int h = 0; h < 2; h++) offset[h] = _mm256_mul_ps(scale[h], _mm256_set1_ps(-4));
        break;
    }
    default: { /* Q6_K */
        const struct q6_k *b = block;
        scale_bytes(scale, load_16(b->scales), half_float(b->d));
        for (int h = 0; h < 2; h++) offset[h] = _mm256_mul_ps(scale[h], _mm256_set1_ps(-32));
    }
    }
}

#endif
