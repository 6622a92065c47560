/* avx512_dot: number formats and dot products with AVX-512 F, BW, VL, DQ and VNNI; see dot_body.h.
 * Vectors stay at 256 bits: the kernels wait for memory, and rows of 576 elements would leave halves of wider ones
 * idle. */
#include "kernels/dot_body.h"

INLINE __m256i add_products(__m256i sum, __m256i a, __m256i b) { return _mm256_dpwssd_epi32(sum, a, b); }

const struct dot_kernels dot_kernels_avx512 = DOT_KERNELS;
