/* lanes_8: what files compiled with AVX2 share about vectors of eight 32-bit lanes. Everything is static. */
#ifndef KERNELS_LANES_8_H
#define KERNELS_LANES_8_H

#include <immintrin.h>
#include <stdint.h>

/* All bits set in the first n lanes; none for n <= 0. */
static inline __attribute__((always_inline, unused)) __m256i first_lanes(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

/* Eight rows of eight 32-bit numbers: rows become columns. */
static inline __attribute__((always_inline, unused)) void transpose_8(__m256i v[8])
{
    __m256i pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int h = 0; h < 2; h++) {
            fours[i + 2 * h] = _mm256_unpacklo_epi64(pairs[i + h], pairs[i + 2 + h]);
            fours[i + 2 * h + 1] = _mm256_unpackhi_epi64(pairs[i + h], pairs[i + 2 + h]);
        }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x20);
        v[i + 4] = _mm256_permute2x128_si256(fours[i], fours[i + 4], 0x31);
    }
}

#endif
