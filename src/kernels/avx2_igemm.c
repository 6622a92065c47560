/* avx2_igemm: products of many rows with AVX2 and FMA; see igemm_body.h. A tile of 4 rows by 16 columns has its 8 sums of
 * whole numbers in registers; those of floats wait in the first cache. */
#include <immintrin.h>
#include <stdint.h>

#define TILE_ROWS 6
enum { LANES = 8 };
typedef __m256i ints;
typedef __m256 floats;

static inline ints no_ints(void) { return _mm256_setzero_si256(); }
static inline floats no_floats(void) { return _mm256_setzero_ps(); }
static inline ints load_ints(const void *p) { return _mm256_loadu_si256(p); }
static inline floats load_floats(const float *p) { return _mm256_loadu_ps(p); }
static inline void store_floats(float *p, floats v) { _mm256_storeu_ps(p, v); }
static inline floats broadcast_float(const float *p) { return _mm256_broadcast_ss(p); }
static inline floats floats_of(ints v) { return _mm256_cvtepi32_ps(v); }
static inline floats product(floats a, floats b) { return _mm256_mul_ps(a, b); }
static inline floats fused(floats a, floats b, floats c) { return _mm256_fmadd_ps(a, b, c); }
/* Written out: GCC 12 reads w0 and w1 from memory for each row and keeps a third of the sums there, and the machine is
 * faster when both products come before both sums (Zen 3: 5.0 cycles for 8 of them, one after the other 5.3, the weights from
 * memory 6.0). */
static inline void add_products(ints sum[2], ints w0, ints w1, const int16_t q[2])
{
    ints x, first;
    __asm__("vpbroadcastd %[q], %[x]\n\t"
            "vpmaddwd %[x], %[w0], %[first]\n\t"
            "vpmaddwd %[x], %[w1], %[x]\n\t"
            "vpaddd %[first], %[sum0], %[sum0]\n\t"
            "vpaddd %[x], %[sum1], %[sum1]"
            : [sum0] "+x"(sum[0]), [sum1] "+x"(sum[1]), [x] "=&x"(x), [first] "=&x"(first)
            : [w0] "x"(w0), [w1] "x"(w1), [q] "m"(q[0]), "m"(q[1]));
}

#include "kernels/igemm_body.h"

const struct igemm_kernels igemm_kernels_avx2 = IGEMM_KERNELS;
