/* avx2_dot: number formats and dot products with AVX2, FMA and F16C; see dot_body.h. Bytes u are taken as pairs of 16-bit
 * integers, the even ones and the odd ones, so the rounded x of a block lies with its 16 even entries first. */
#include "kernels/dot_body.h"

INLINE __m256i products(__m256i u, const int16_t *q)
{
    __m256i even = _mm256_and_si256(u, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(u, 8);
    return _mm256_add_epi32(_mm256_madd_epi16(even, load_32(q)), _mm256_madd_epi16(odd, load_32(q + 16)));
}

INLINE void store_rounded(int16_t *q, __m256i q0, __m256i q1)
{
    __m256i even = _mm256_packs_epi32(_mm256_srai_epi32(_mm256_slli_epi32(q0, 16), 16),
                                      _mm256_srai_epi32(_mm256_slli_epi32(q1, 16), 16));
    __m256i odd = _mm256_packs_epi32(_mm256_srai_epi32(q0, 16), _mm256_srai_epi32(q1, 16));
    _mm256_storeu_si256((__m256i_u *)q, _mm256_permute4x64_epi64(even, 0xd8));
    _mm256_storeu_si256((__m256i_u *)(q + 16), _mm256_permute4x64_epi64(odd, 0xd8));
}

const struct dot_kernels dot_kernels_avx2 = DOT_KERNELS;
