/* avx512_dot: number formats and dot products with AVX-512 F, BW, VL, DQ and VNNI; see dot_body.h. VNNI multiplies bytes,
 * so the rounded x of a block lies as two planes of signed bytes, x = 256 high + low: 32 high ones, then 32 low ones.
 * Vectors stay at 256 bits: the kernels wait for memory, and rows of 576 elements would leave halves of wider ones idle. */
#include "kernels/dot_body.h"

INLINE __m256i products(__m256i u, const int16_t *q)
{
    __m256i high = _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, load_32(q));
    return _mm256_dpbusd_epi32(_mm256_slli_epi32(high, 8), u, load_32(q + 16));
}

INLINE void store_rounded(int16_t *q, __m256i q0, __m256i q1)
{
    const __m256i half = _mm256_set1_epi16(128), low_byte = _mm256_set1_epi16(0xff);
    __m256i high = _mm256_packs_epi16(_mm256_srai_epi16(_mm256_add_epi16(q0, half), 8),
                                      _mm256_srai_epi16(_mm256_add_epi16(q1, half), 8));
    __m256i low = _mm256_packus_epi16(_mm256_and_si256(q0, low_byte), _mm256_and_si256(q1, low_byte));
    _mm256_storeu_si256((__m256i_u *)q, _mm256_permute4x64_epi64(high, 0xd8));
    _mm256_storeu_si256((__m256i_u *)(q + 16), _mm256_permute4x64_epi64(low, 0xd8));
}

const struct dot_kernels dot_kernels_avx512 = DOT_KERNELS;
