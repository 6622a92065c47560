/* avx512_igemm: products of many rows with AVX-512 F, BW, VL, DQ and VNNI; see igemm_body.h. A tile of 6 rows by 32
 * columns has 12 sums of whole numbers and 12 of floats in registers. VNNI does 32 products of 16-bit integers where an
 * FMA does 16 of floats: 116 and 58 thousand million a second on a core of Zen 4. */
#include <immintrin.h>
#include <stdint.h>

#define TILE_ROWS 6
enum { LANES = 16 };
typedef __m512i ints;
typedef __m512 floats;

static inline ints no_ints(void) { return _mm512_setzero_si512(); }
static inline floats no_floats(void) { return _mm512_setzero_ps(); }
static inline ints load_ints(const void *p) { return _mm512_loadu_si512(p); }
static inline ints broadcast_int(int32_t i) { return _mm512_set1_epi32(i); }
static inline floats load_floats(const float *p) { return _mm512_loadu_ps(p); }
static inline void store_floats(float *p, floats v) { _mm512_storeu_ps(p, v); }
static inline floats broadcast_float(const float *p) { return _mm512_set1_ps(*p); }
static inline floats floats_of(ints v) { return _mm512_cvtepi32_ps(v); }
static inline floats product(floats a, floats b) { return _mm512_mul_ps(a, b); }
static inline floats fused(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
static inline ints add_products(ints sum, ints a, ints b) { return _mm512_dpwssd_epi32(sum, a, b); }
static inline void hold(ints *v) { (void)v; }   /* 32 registers are enough */

#include "kernels/igemm_body.h"

const struct igemm_kernels igemm_kernels_avx512 = IGEMM_KERNELS;
