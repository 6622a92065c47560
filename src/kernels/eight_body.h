/* eight_body: dot products of eight weight rows at once, for the formats of blocks of 32; included by dot_body.h.
 *
 * One row by itself spends half its instructions on scales and on sums across lanes. Here lane j of a vector is row j:
 * the 16 bytes that eight rows have at one place are turned, so that vector i has bytes 4i .. 4i + 3 of each,
 *
 *     row 0 | b0 b1 b2 b3 | b4 ..              vector i | row 0: b4i .. b4i+3 | row 1: b4i .. b4i+3 | .. | row 7 |
 *     row 1 | b0 b1 b2 b3 | b4 ..      ->
 *
 * and meet pairs of entries of x that are the same for all lanes. Sums, scales and offsets stay in their lanes to the
 * end. The sums of products are the same whole numbers as one row's; scales meet them block by block in order. */
#ifndef KERNELS_EIGHT_BODY_H
#define KERNELS_EIGHT_BODY_H

#include "kernels/formats_body.h"

INLINE __m256i add_products(__m256i sum, __m256i a, __m256i b);

enum { EIGHT = 8, EIGHT_X = 4 }; /* rows of weights, most rows of x */

/* out[i] lane j = bytes 4i .. 4i + 3 of the 16 at p + j * row_bytes */
INLINE void turn_16(__m256i out[4], const char *p, int64_t row_bytes)
{
    __m256i r[4];
    for (int j = 0; j < 4; j++)
        r[j] = _mm256_inserti128_si256(_mm256_castsi128_si256(load_16(p + j * row_bytes)), load_16(p + (j + 4) * row_bytes), 1);
    __m256i a = _mm256_unpacklo_epi32(r[0], r[1]), b = _mm256_unpacklo_epi32(r[2], r[3]);
    __m256i c = _mm256_unpackhi_epi32(r[0], r[1]), d = _mm256_unpackhi_epi32(r[2], r[3]);
    out[0] = _mm256_unpacklo_epi64(a, b), out[1] = _mm256_unpackhi_epi64(a, b);
    out[2] = _mm256_unpacklo_epi64(c, d), out[3] = _mm256_unpackhi_epi64(c, d);
}

/* lane j = the four bytes at p + j * row_bytes */
INLINE __m256i turn_4(const char *p, int64_t row_bytes)
{
    __m128i half[2];
    for (int h = 0; h < 2; h++, p += 4 * row_bytes)
        half[h] = _mm_unpacklo_epi64(_mm_unpacklo_epi32(load_4(p), load_4(p + row_bytes)),
                                     _mm_unpacklo_epi32(load_4(p + 2 * row_bytes), load_4(p + 3 * row_bytes)));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(half[0]), half[1], 1);
}

/* Scale and offset of the rows' blocks at p, which begin with d, or d and m. */
INLINE void eight_scales(enum dtype type, const char *p, int64_t row_bytes, __m256 *scale, __m256 *offset)
{
    __m256i v = turn_4(p, row_bytes), d = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
    __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi32(d, _mm256_srli_epi32(v, 16)), 0xd8); /* d d .. m m .. */
    *scale = _mm256_cvtph_ps(_mm256_castsi256_si128(both));
    if (type == DT_Q4_1 || type == DT_Q5_1) *offset = _mm256_cvtph_ps(_mm256_extracti128_si256(both, 1));
    else *offset = _mm256_mul_ps(*scale, _mm256_set1_ps(type == DT_Q4_0 ? -8.0f : type == DT_Q5_0 ? -16.0f : -128.0f));
}

/* Entries 2i and 2i + 1 of a block of rounded x in all lanes. */
INLINE __m256i pair_of(const int16_t *q, int i)
{
    int32_t both;
    memcpy(&both, q + 2 * i, 4);
    return _mm256_set1_epi32(both);
}

/* Words of turned bytes with four bits hold elements | e + 17 | e + 1 | e + 16 | e |.
 *
 * One row of x: what is left where it stands is 16 and 256 times as large, below 2^30 in the sum of eight, and is
 * shifted once a block instead of once a word. */
INLINE __m256i dot_nibbles_of_one(const __m256i v[4], const int16_t *q)
{
    const __m256i low = _mm256_set1_epi16(0x000f), second = _mm256_set1_epi16(0x00f0), third = _mm256_set1_epi16(0x0f00);
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0;
    for (int i = 0; i < 4; i++) {   /* of q: even entries, then odd ones */
        s0 = add_products(s0, _mm256_and_si256(v[i], low), pair_of(q, i));
        s1 = add_products(s1, _mm256_and_si256(v[i], second), pair_of(q, i + 4));
        s2 = add_products(s2, _mm256_and_si256(v[i], third), pair_of(q, i + 8));
        s0 = add_products(s0, _mm256_srli_epi16(v[i], 12), pair_of(q, i + 12));
    }
    return _mm256_add_epi32(s0, _mm256_add_epi32(_mm256_srai_epi32(s1, 4), _mm256_srai_epi32(s2, 8)));
}

/* More rows: one sum each. */
INLINE void dot_nibbles(int X, __m256i p[EIGHT_X], const __m256i v[4], const int16_t *q, int64_t q_stride)
{
    const __m256i low = _mm256_set1_epi16(0x000f);
    for (int b = 0; b < X; b++) p[b] = _mm256_setzero_si256();
    for (int i = 0; i < 4; i++)
        for (int part = 0; part < 4; part++) {
            __m256i u = _mm256_and_si256(_mm256_srli_epi16(v[i], 4 * part), low);
            for (int b = 0; b < X; b++) p[b] = add_products(p[b], u, pair_of(q + b * q_stride, i + 4 * part));
        }
}

/* Adds products with whole bytes: u[i] has elements 4i .. 4i + 3 of one half of the block. */
INLINE void dot_bytes(int X, __m256i p[EIGHT_X], const __m256i u[4], const int16_t *q, int64_t q_stride)
{
    for (int i = 0; i < 4; i++) {
        __m256i even = even_bytes(u[i]), odd = odd_bytes(u[i]);
        for (int b = 0; b < X; b++) {
            p[b] = add_products(p[b], even, pair_of(q + b * q_stride, i));
            p[b] = add_products(p[b], odd, pair_of(q + b * q_stride, i + 8));
        }
    }
}

/* Bytes 16 where the fifth bit of elements 4i .. 4i + 3 of half h is set; qh has those of all 32. */
INLINE __m256i eight_fifths(__m256i qh, int h, int i)
{
    int byte = 2 * h + i / 2, shift = i % 2 * 4;
    const __m256i every = _mm256_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0, 0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    const __m256i bit_of = _mm256_set1_epi32((int)(0x08040201u << shift));
    __m256i bits = _mm256_shuffle_epi8(qh, _mm256_add_epi8(every, _mm256_set1_epi8((char)byte)));
    bits = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit_of), bit_of);
    return _mm256_and_si256(bits, _mm256_set1_epi8(16));
}

/* Sums of products of one block of each row. */
INLINE void dot_block_of_eight(enum dtype type, int X, __m256i p[EIGHT_X], const char *w, int64_t row_bytes,
                               const int16_t *q, int64_t q_stride)
{
    __m256i v[4], u[4], qh;
    if (type != DT_Q8_0) turn_16(v, w + block_bytes(type) - 16, row_bytes);   /* nibbles come last */
    if (type == DT_Q4_0 || type == DT_Q4_1) {
        if (X == 1) p[0] = dot_nibbles_of_one(v, q);
        else dot_nibbles(X, p, v, q, q_stride);
        return;
    }
    for (int b = 0; b < X; b++) p[b] = _mm256_setzero_si256();
    if (type != DT_Q8_0) qh = turn_4(w + block_bytes(type) - 20, row_bytes);
    for (int h = 0; h < 2; h++) {
        if (type == DT_Q8_0) turn_16(v, w + 2 + 16 * h, row_bytes);
        for (int i = 0; i < 4; i++)
            u[i] = type == DT_Q8_0 ? _mm256_xor_si256(v[i], _mm256_set1_epi8(-128))
                                   : _mm256_or_si256(low_bits(v[i], 4 * h, 15), eight_fifths(qh, h, i));
        dot_bytes(X, p, u, q + 8 * h, q_stride);
    }
}

/* Products of X rows of x from row i on with the eight weight rows at w; those that come next are asked for. */
INLINE void dot_eight(enum dtype type, int X, float *y, int64_t y_stride, const struct dot_rows *rows, int64_t i,
                      const char *w, int64_t row_bytes)
{
    __m256 sum[EIGHT_X], offsets[EIGHT_X];
    for (int b = 0; b < X; b++) sum[b] = offsets[b] = _mm256_setzero_ps();
    int64_t n = rows->n / 32;
    const char *next = w + EIGHT * row_bytes;
    for (int64_t k = 0; k < n; k++, w += block_bytes(type)) {
        __m256 scale, offset;
        __m256i p[EIGHT_X];
        for (int64_t line = 0; line < EIGHT * block_bytes(type); line += 64) _mm_prefetch(next + line, _MM_HINT_T0);
        next += EIGHT * block_bytes(type);
        eight_scales(type, w, row_bytes, &scale, &offset);
        dot_block_of_eight(type, X, p, w, row_bytes, rows->q + 32 * (i * n + k), 32 * n);
        for (int b = 0; b < X; b++) {
            const float *pair = rows->pair + 2 * ((i + b) * n + k);
            sum[b] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(p[b]), _mm256_mul_ps(scale, _mm256_broadcast_ss(pair)), sum[b]);
            offsets[b] = _mm256_fmadd_ps(offset, _mm256_broadcast_ss(pair + 1), offsets[b]);
        }
    }
    for (int b = 0; b < X; b++) _mm256_storeu_ps(y + (i + b) * y_stride, _mm256_add_ps(sum[b], offsets[b]));
}

#endif
