/* scalar_rows: the row and attention kernels one element at a time: the reference of the others. A vector is one float,
 * so the forms for parts of vectors are never reached. */
#include "kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

#define ROW_KERNELS row_kernels_scalar
#define VL 1
#define PANEL_VECTORS 8
#define PANEL_TILE 4
#define MAX_QUERIES 4
#define UNROLL _Pragma("GCC unroll 8")

#define WORD static inline __attribute__((always_inline, unused))

typedef float vf;

/* ---- memory: VL elements, or the first n < VL of them and zeros -------------------------------------------------- */
WORD vf v_load(const float *p) { return *p; }
WORD void v_store(float *p, vf a) { *p = a; }
WORD vf v_load_part(const float *p, int64_t n) { return n > 0 ? *p : 0; }
WORD void v_store_part(float *p, int64_t n, vf a) { if (n > 0) *p = a; }
WORD vf v_load_half(const uint16_t *p) { return f16_to_f32(*p); }
WORD vf v_load_half_part(const uint16_t *p, int64_t n) { return n > 0 ? f16_to_f32(*p) : 0; }

/* ---- arithmetic; v_max and v_min give the second operand when one is NaN ----------------------------------------- */
WORD vf v_set1(float a) { return a; }
WORD vf v_first(float a) { return a; } /* a, 0, 0, .. */
WORD float v_get_first(vf a) { return a; }
WORD vf v_add(vf a, vf b) { return a + b; }
WORD vf v_sub(vf a, vf b) { return a - b; }
WORD vf v_mul(vf a, vf b) { return a * b; }
WORD vf v_div(vf a, vf b) { return a / b; }
WORD vf v_fma(vf a, vf b, vf c) { return a * b + c; }
WORD vf v_fnma(vf a, vf b, vf c) { return c - a * b; }
WORD float s_fma(float a, float b, float c) { return a * b + c; }
WORD vf v_max(vf a, vf b) { return a > b ? a : b; }
WORD vf v_min(vf a, vf b) { return a < b ? a : b; }
WORD vf v_abs(vf a) { return fabsf(a); }
WORD vf v_copysign(vf a, vf sign) { return copysignf(a, sign); }
WORD vf v_select_less(vf a, vf b, vf yes, vf no) { return a < b ? yes : no; }
WORD vf v_round(vf a) { return rintf(a); }

/* p 2^n for p in [0.7, 1.5); 0 where x < least, NaN where x is. n is a whole number in [-126, 127] elsewhere. */
WORD vf v_ldexp(vf p, vf n, vf x, float least)
{
    if (!(x >= least)) return x < least ? 0 : x;
    union { float f; uint32_t u; } bits = { .f = p };
    bits.u += (uint32_t)(int32_t)n << 23;
    return bits.f;
}

WORD float v_sum(vf a) { return a; }
WORD float v_greatest(vf a) { return a; }
/* sums of four vectors to y[0 .. 3] */
WORD void v_sum4(float *y, vf a, vf b, vf c, vf d)
{
    y[0] = a;
    y[1] = b;
    y[2] = c;
    y[3] = d;
}
WORD vf v_swap_pairs(vf a) { return a; } /* elements 2i and 2i + 1 change places; not for VL = 1 */

/* ---- rounding ---------------------------------------------------------------------------------------------------- */
WORD vf v_round_bf16(vf a) { return bf16_to_f32(f32_to_bf16(a)); }
WORD vf v_round_f16(vf a) { return f16_to_f32(f32_to_f16(a)); }

#include "kernels/rows_body.h"
