/* avx2_dot: number formats and dot products with AVX2, FMA and F16C; see dot_body.h. */
#include "kernels/dot_body.h"

INLINE __m256i add_products(__m256i sum, __m256i a, __m256i b)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}

const struct dot_kernels dot_kernels_avx2 = DOT_KERNELS;
