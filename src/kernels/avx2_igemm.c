/* avx2_igemm: products of many rows with AVX2 and FMA; see igemm_body.h. A tile of 4 rows by 16 columns has its 8 sums of
 * whole numbers in registers; those of floats wait in the first cache. */
#include <immintrin.h>
#include <stdint.h>

#define TILE_ROWS 4
enum { LANES = 8 };
typedef __m256i ints;
typedef __m256 floats;

static inline ints no_ints(void) { return _mm256_setzero_si256(); }
static inline floats no_floats(void) { return _mm256_setzero_ps(); }
static inline ints load_ints(const void *p) { return _mm256_loadu_si256(p); }
static inline ints broadcast_int(int32_t i) { return _mm256_set1_epi32(i); }
static inline floats load_floats(const float *p) { return _mm256_loadu_ps(p); }
static inline void store_floats(float *p, floats v) { _mm256_storeu_ps(p, v); }
static inline floats broadcast_float(const float *p) { return _mm256_broadcast_ss(p); }
static inline floats floats_of(ints v) { return _mm256_cvtepi32_ps(v); }
static inline floats product(floats a, floats b) { return _mm256_mul_ps(a, b); }
static inline floats fused(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
static inline ints add_products(ints sum, ints a, ints b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
/* In a register, here and now: left to itself GCC 12 keeps a third of the sums in memory. */
static inline void hold(ints *v) { __asm__ volatile("" : "+x"(*v)); }

#include "kernels/igemm_body.h"

const struct igemm_kernels igemm_kernels_avx2 = IGEMM_KERNELS;
