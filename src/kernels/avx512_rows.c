/* avx512_rows: the row and attention kernels in vectors of 16 (AVX-512 F, VL, BW, DQ). What the words mean stands in
 * scalar_rows.c. */
#include "kernels/kernels.h"

#include <float.h>
#include <immintrin.h>

/* A panel of 48 lanes: 8 keys x 3 vectors in 24 of the 32 registers; a key's element is read as part of the fma. */
#define ROW_KERNELS row_kernels_avx512
#define VL 16
#define PANEL_VECTORS 3
#define PANEL_TILE 8
#define MAX_QUERIES 4
#define UNROLL _Pragma("GCC unroll 8")

#define WORD static inline __attribute__((always_inline, unused))

typedef __m512 vf;

WORD __mmask16 first_lanes(int64_t n) { return (__mmask16)((1u << n) - 1); }
WORD vf v_load(const float *p) { return _mm512_loadu_ps(p); }
WORD void v_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
WORD vf v_load_part(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(first_lanes(n), p); }
WORD void v_store_part(float *p, int64_t n, vf a) { _mm512_mask_storeu_ps(p, first_lanes(n), a); }
WORD vf v_load_half(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
WORD vf v_load_half_part(const uint16_t *p, int64_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first_lanes(n), p));
}

WORD vf v_set1(float a) { return _mm512_set1_ps(a); }
WORD vf v_first(float a) { return _mm512_maskz_mov_ps(1, _mm512_set1_ps(a)); }
WORD float v_get_first(vf a) { return _mm512_cvtss_f32(a); }
WORD vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
WORD vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
WORD vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
WORD vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
WORD vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
WORD vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
WORD float s_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
WORD vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); }
WORD vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); }
WORD vf v_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
WORD vf v_copysign(vf a, vf sign)
{
    vf bit = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(bit, a), _mm512_and_ps(bit, sign));
}
WORD vf v_select_less(vf a, vf b, vf yes, vf no)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), no, yes);
}
WORD vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
WORD vf v_ldexp(vf p, vf n, vf x, float least)
{
    return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(x, _mm512_set1_ps(least), _CMP_NLT_UQ), p, n);
}

/* Halves add up to vectors of 8. */
WORD __m256 fold(vf a) { return _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1)); }
WORD float v_sum(vf a)
{
    __m256 h = fold(a);
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
WORD float v_greatest(vf a)
{
    __m256 h = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
WORD void v_sum4(float *y, vf a, vf b, vf c, vf d)
{
    __m256 s = _mm256_hadd_ps(_mm256_hadd_ps(fold(a), fold(b)), _mm256_hadd_ps(fold(c), fold(d)));
    _mm_storeu_ps(y, _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1)));
}
WORD vf v_swap_pairs(vf a) { return _mm512_permute_ps(a, 0xb1); }

/* Half a unit of the last kept bit, less one when that bit is even: ties go to even. NaN is made quiet instead. */
WORD vf v_round_bf16(vf a)
{
    __m512i u = _mm512_castps_si512(a);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    __m512i r = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd);
    r = _mm512_mask_or_epi32(r, _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), u, _mm512_set1_epi32(0x400000));
    return _mm512_castsi512_ps(_mm512_and_si512(r, _mm512_set1_epi32((int)0xffff0000)));
}
WORD vf v_round_f16(vf a)
{
    return _mm512_cvtph_ps(_mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#include "kernels/rows_body.h"
