/* avx2_rows: the row and attention kernels in vectors of 8 (AVX2, FMA, F16C). What the words mean stands in
 * scalar_rows.c. */
#include "kernels/kernels.h"
#include "kernels/lanes_8.h"

#include <float.h>
#include <immintrin.h>
#include <string.h>

/* A panel of 24 lanes: 4 keys x 3 vectors in 12 of the 16 registers, 3 for the lanes, 1 for the key. */
#define ROW_KERNELS row_kernels_avx2
#define VL 8
#define PANEL_VECTORS 3
#define PANEL_TILE 4
#define MAX_QUERIES 3
#define UNROLL _Pragma("GCC unroll 8")

#define WORD static inline __attribute__((always_inline, unused))

typedef __m256 vf;

WORD vf v_load(const float *p) { return _mm256_loadu_ps(p); }
WORD void v_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
WORD vf v_load_part(const float *p, int64_t n) { return _mm256_maskload_ps(p, first_lanes(n)); }
WORD void v_store_part(float *p, int64_t n, vf a) { _mm256_maskstore_ps(p, first_lanes(n), a); }
WORD vf v_load_half(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
WORD vf v_load_half_part(const uint16_t *p, int64_t n)
{
    uint16_t part[8] = { 0 };
    memcpy(part, p, (size_t)n * 2);
    return v_load_half(part);
}

WORD vf v_set1(float a) { return _mm256_set1_ps(a); }
WORD vf v_first(float a) { return _mm256_setr_ps(a, 0, 0, 0, 0, 0, 0, 0); }
WORD float v_get_first(vf a) { return _mm256_cvtss_f32(a); }
WORD vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
WORD vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
WORD vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
WORD vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
WORD vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
WORD vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
WORD float s_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
WORD vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); }
WORD vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); }
WORD vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
WORD vf v_copysign(vf a, vf sign)
{
    vf bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(bit, a), _mm256_and_ps(bit, sign));
}
WORD vf v_select_less(vf a, vf b, vf yes, vf no)
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
WORD vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
WORD vf v_ldexp(vf p, vf n, vf x, float least)
{
    __m256i bits = _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23));
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(least), _CMP_LT_OQ), _mm256_castsi256_ps(bits));
}

WORD float v_sum(vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
WORD float v_greatest(vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
WORD void v_sum4(float *y, vf a, vf b, vf c, vf d)
{
    vf s = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    _mm_storeu_ps(y, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}
WORD vf v_swap_pairs(vf a) { return _mm256_permute_ps(a, 0xb1); }

/* Half a unit of the last kept bit, less one when that bit is even: ties go to even. NaN is made quiet instead. */
WORD vf v_round_bf16(vf a)
{
    __m256i u = _mm256_castps_si256(a), high = _mm256_set1_epi32((int)0xffff0000);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), odd);
    __m256i quiet = _mm256_or_si256(u, _mm256_set1_epi32(0x400000));
    vf r = _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(quiet), _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    return _mm256_and_ps(r, _mm256_castsi256_ps(high));
}
WORD vf v_round_f16(vf a)
{
    return _mm256_cvtph_ps(_mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#include "kernels/rows_body.h"
