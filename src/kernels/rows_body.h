/* rows_body: kernels on one row, written once over the vector words of the file that includes it (vf, VL, v_load, ..;
 * scalar_rows.c lists them). Everything is static: no code of one instruction set can reach another. */
#include "base/base.h"
#include "kernels/rows_table.h"

#include <math.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- exponentials ------------------------------------------------------------------------------------------------ */

#define LOG2E 1.44269504f
/* ln 2 in two pieces; n * LN2_HIGH is exact for |n| < 2^15. */
#define LN2_HIGH 0.693145752f
#define LN2_LOW 1.42860677e-6f

/* 2^r for |r| <= 1/2: minimax polynomial, relative error 2e-9 before rounding; exactly 1 at 0. */
INLINE vf exp2_core(vf r)
{
    vf p = v_set1(1.53533618e-4f);
    p = v_fma(p, r, v_set1(1.33988744e-3f));
    p = v_fma(p, r, v_set1(9.61843736e-3f));
    p = v_fma(p, r, v_set1(5.55033247e-2f));
    p = v_fma(p, r, v_set1(2.40226479e-1f));
    p = v_fma(p, r, v_set1(6.93147203e-1f));
    return v_fma(p, r, v_set1(1));
}

/* 2^x for x < 127; 0 below -126, NaN stays. Relative error below 1.2e-7. */
INLINE vf exp2_of(vf x)
{
    vf n = v_round(x);
    return v_ldexp(exp2_core(v_sub(x, n)), n, x, -126);
}

/* e^x; 0 below -87.33, no more than e^88.37, NaN stays. Relative error below 1.5e-7. */
INLINE vf exp_of(vf x)
{
    x = v_min(v_set1(88.37f), x);
    vf n = v_round(v_mul(x, v_set1(LOG2E)));
    vf r = v_fnma(n, v_set1(LN2_LOW), v_fnma(n, v_set1(LN2_HIGH), x));
    return v_ldexp(exp2_core(v_mul(r, v_set1(LOG2E))), n, x, -87.33f);
}

/* tanh x: an odd polynomial near zero, 1 - 2 / (e^2|x| + 1) beyond. Relative error below 3e-7. */
INLINE vf tanh_of(vf x)
{
    vf a = v_abs(x), s = v_mul(x, x);
    vf p = v_set1(-5.70498e-3f);
    p = v_fma(p, s, v_set1(2.063908e-2f));
    p = v_fma(p, s, v_set1(-5.373971e-2f));
    p = v_fma(p, s, v_set1(1.3331442e-1f));
    p = v_fma(p, s, v_set1(-3.3333282e-1f));
    vf near = v_fma(v_mul(p, s), x, x);
    vf far = v_sub(v_set1(1), v_div(v_set1(2), v_add(exp_of(v_add(a, a)), v_set1(1))));
    return v_select_less(a, v_set1(0.625f), near, v_copysign(far, x));
}

/* ---- activations ------------------------------------------------------------------------------------------------- */

INLINE vf silu_of(vf x) { return v_div(x, v_add(v_set1(1), exp_of(v_sub(v_set1(0), x)))); }

/* x/2 (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3) */
INLINE vf gelu_tanh_of(vf x)
{
    vf u2 = v_mul(x, v_fma(v_mul(x, x), v_set1(-2 * 0.7978845608f * 0.044715f), v_set1(-2 * 0.7978845608f)));
    return v_div(x, v_add(v_set1(1), exp_of(u2)));
}

/* x Phi(x), Phi the normal distribution. Its tail Phi(-t), t = |x|, is 2^Q(t) with one polynomial Q for t < 6, fitted
 * to the error of t Phi(-t): below 2e-9 before rounding. Beyond 6 the tail is below 1e-9 and taken as 0. */
INLINE vf gelu_erf_of(vf x)
{
    vf t = v_abs(x);
    vf q = v_set1(3.961877702e-7f);
    q = v_fma(q, t, v_set1(-7.854645406e-6f));
    q = v_fma(q, t, v_set1(6.476464019e-5f));
    q = v_fma(q, t, v_set1(-2.519244545e-4f));
    q = v_fma(q, t, v_set1(-4.41714196e-5f));
    q = v_fma(q, t, v_set1(6.993817684e-3f));
    q = v_fma(q, t, v_set1(-5.24718073e-2f));
    q = v_fma(q, t, v_set1(-4.592105613e-1f));
    q = v_fma(q, t, v_set1(-1.151105444f));
    q = v_fma(q, t, v_set1(-1));
    vf tail = exp2_of(v_select_less(t, v_set1(6), q, v_set1(-1000)));
    return v_mul(x, v_select_less(x, v_set1(0), tail, v_sub(v_set1(1), tail)));
}

/* NaN stays */
INLINE vf relu_of(vf x) { return v_max(v_set1(0), x); }

/* ---- element by element ------------------------------------------------------------------------------------------ */

INLINE vf add_of(vf y, vf x) { return v_add(y, x); }
INLINE vf mul_of(vf y, vf a) { return v_mul(y, a); }
INLINE vf cap_of(vf x, vf cap) { return v_mul(cap, tanh_of(v_div(x, cap))); }
INLINE vf silu_gate(vf g, vf up) { return v_mul(silu_of(g), up); }
INLINE vf gelu_tanh_gate(vf g, vf up) { return v_mul(gelu_tanh_of(g), up); }
INLINE vf gelu_erf_gate(vf g, vf up) { return v_mul(gelu_erf_of(g), up); }
INLINE vf relu_gate(vf g, vf up) { return v_mul(relu_of(g), up); }

/* y = op(y) */
INLINE void map(float *y, int64_t n, vf (*op)(vf))
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, op(v_load(y + i)));
    if (i < n) v_store_part(y + i, n - i, op(v_load_part(y + i, n - i)));
}

/* y = op(y, a) */
INLINE void map_with(float *y, int64_t n, vf (*op)(vf, vf), float a)
{
    int64_t i = 0;
    vf va = v_set1(a);
    for (; i + VL <= n; i += VL) v_store(y + i, op(v_load(y + i), va));
    if (i < n) v_store_part(y + i, n - i, op(v_load_part(y + i, n - i), va));
}

/* y = op(y, x) */
INLINE void map_both(float *y, const float *x, int64_t n, vf (*op)(vf, vf))
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, op(v_load(y + i), v_load(x + i)));
    if (i < n) v_store_part(y + i, n - i, op(v_load_part(y + i, n - i), v_load_part(x + i, n - i)));
}

static void row_add(float *y, const float *x, int64_t n) { map_both(y, x, n, add_of); }
static void row_scale(float *y, float s, int64_t n) { map_with(y, n, mul_of, s); }
static void row_soft_cap(float *x, float cap, int64_t n) { map_with(x, n, cap_of, cap); }

static void row_activate(float *y, enum activation act, int64_t n)
{
    switch (act) {
    case ACT_SILU: map(y, n, silu_of); break;
    case ACT_GELU_TANH: map(y, n, gelu_tanh_of); break;
    case ACT_GELU_ERF: map(y, n, gelu_erf_of); break;
    case ACT_RELU: map(y, n, relu_of); break;
    }
}

static void row_activate_gated(float *gate, const float *up, enum activation act, int64_t n)
{
    switch (act) {
    case ACT_SILU: map_both(gate, up, n, silu_gate); break;
    case ACT_GELU_TANH: map_both(gate, up, n, gelu_tanh_gate); break;
    case ACT_GELU_ERF: map_both(gate, up, n, gelu_erf_gate); break;
    case ACT_RELU: map_both(gate, up, n, relu_gate); break;
    }
}

static void row_round_to(float *x, enum rounding to, int64_t n)
{
    if (to == ROUND_BF16) map(x, n, v_round_bf16);
    if (to == ROUND_F16) map(x, n, v_round_f16);
}

static void row_exp(float *y, const float *x, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, exp_of(v_load(x + i)));
    if (i < n) v_store_part(y + i, n - i, exp_of(v_load_part(x + i, n - i)));
}

/* ---- norms: sums in four vectors, so that chains of additions are short ------------------------------------------ */

INLINE float sum_row(const float *x, int64_t n)
{
    vf s[4] = { v_set1(0), v_set1(0), v_set1(0), v_set1(0) };
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (int u = 0; u < 4; u++) s[u] = v_add(s[u], v_load(x + i + u * VL));
    for (; i + VL <= n; i += VL) s[0] = v_add(s[0], v_load(x + i));
    if (i < n) s[1] = v_add(s[1], v_load_part(x + i, n - i));
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

/* sum of (x - mean)^2 */
INLINE float squares_row(const float *x, float mean, int64_t n)
{
    vf s[4] = { v_set1(0), v_set1(0), v_set1(0), v_set1(0) }, m = v_set1(mean);
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (int u = 0; u < 4; u++) {
            vf d = v_sub(v_load(x + i + u * VL), m);
            s[u] = v_fma(d, d, s[u]);
        }
    for (; i + VL <= n; i += VL) {
        vf d = v_sub(v_load(x + i), m);
        s[0] = v_fma(d, d, s[0]);
    }
    for (; i < n; i++) {
        vf d = v_sub(v_first(x[i]), v_first(mean));
        s[1] = v_fma(d, d, s[1]);
    }
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

static void row_rms_norm(float *y, const float *x, const float *w, float eps, int64_t n)
{
    double mean_square = (double)squares_row(x, 0, n) / (double)n;
    vf inv = v_set1((float)(1 / sqrt(mean_square + (double)eps)));
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(y + i, v_mul(v_mul(v_load(x + i), inv), v_load(w + i)));
    if (i < n)
        v_store_part(y + i, n - i, v_mul(v_mul(v_load_part(x + i, n - i), inv), v_load_part(w + i, n - i)));
}

static void row_layer_norm(float *y, const float *x, const float *w, const float *b, float eps, int64_t n)
{
    float mean = (float)((double)sum_row(x, n) / (double)n);
    double variance = (double)squares_row(x, mean, n) / (double)n;
    vf m = v_set1(mean), inv = v_set1((float)(1 / sqrt(variance + (double)eps)));
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf r = v_mul(v_mul(v_sub(v_load(x + i), m), inv), v_load(w + i));
        v_store(y + i, b ? v_add(r, v_load(b + i)) : r);
    }
    if (i < n) {
        vf r = v_mul(v_mul(v_sub(v_load_part(x + i, n - i), m), inv), v_load_part(w + i, n - i));
        v_store_part(y + i, n - i, b ? v_add(r, v_load_part(b + i, n - i)) : r);
    }
}

/* ---- cross entropy ----------------------------------------------------------------------------------------------- */

static float row_max(const float *x, int64_t n)
{
    vf m = v_set1(-INFINITY);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) m = v_max(v_load(x + i), m);
    float best = v_greatest(m);
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

static double row_sum_exp(const float *x, float max, int64_t n)
{
    double lanes[VL] = { 0 }, sum = 0;
    float e[VL];
    vf m = v_set1(max);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        v_store(e, exp_of(v_sub(v_load(x + i), m)));
        for (int l = 0; l < VL; l++) lanes[l] += (double)e[l];
    }
    if (i < n) {
        v_store(e, exp_of(v_sub(v_load_part(x + i, n - i), m)));
        for (int l = 0; l < n - i; l++) lanes[l] += (double)e[l];
    }
    for (int l = 0; l < VL; l++) sum += lanes[l];
    return sum;
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

/* The first n pairs (i, i + half). The turn of VL pairs is sorted once and used for all heads of the row. */
static void rope_some_halves(float *y, const float *cos_sin, int64_t n_heads, int64_t head_dim, int64_t half, int64_t n)
{
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        float c[VL], s[VL];
        for (int l = 0; l < VL; l++) {
            c[l] = cos_sin[2 * (i + l)];
            s[l] = cos_sin[2 * (i + l) + 1];
        }
        vf vc = v_load(c), vs = v_load(s);
        for (int64_t h = 0; h < n_heads; h++) {
            float *a = y + h * head_dim + i, *b = a + half;
            vf va = v_load(a), vb = v_load(b);
            v_store(a, v_fnma(vb, vs, v_mul(va, vc)));
            v_store(b, v_fma(va, vs, v_mul(vb, vc)));
        }
    }
    for (; i < n; i++)
        for (int64_t h = 0; h < n_heads; h++) {
            float *a = y + h * head_dim + i, *b = a + half;
            float c = cos_sin[2 * i], s = cos_sin[2 * i + 1], ya = *a, yb = *b;
            *a = s_fma(-yb, s, ya * c);
            *b = s_fma(ya, s, yb * c);
        }
}

static void rope_halves(float *y, const float *cos_sin, int64_t n_heads, int64_t head_dim, int64_t half)
{
    rope_some_halves(y, cos_sin, n_heads, head_dim, half, half);
}

/* Pairs (2i, 2i + 1): y cos + swapped(y) (-sin, sin). */
static void rope_pairs(float *y, const float *cos_sin, int64_t n_heads, int64_t head_dim, int64_t half)
{
    int64_t i = 0;
    for (; VL > 1 && i + VL <= 2 * half; i += VL) {
        float c[VL], s[VL];
        for (int l = 0; l < VL; l++) {
            c[l] = cos_sin[(i + l) / 2 * 2];
            s[l] = cos_sin[(i + l) / 2 * 2 + 1] * (l % 2 ? 1.0f : -1.0f);
        }
        vf vc = v_load(c), vs = v_load(s);
        for (int64_t h = 0; h < n_heads; h++) {
            float *a = y + h * head_dim + i;
            vf va = v_load(a);
            v_store(a, v_fma(v_swap_pairs(va), vs, v_mul(va, vc)));
        }
    }
    for (; i < 2 * half; i += 2)
        for (int64_t h = 0; h < n_heads; h++) {
            float *a = y + h * head_dim + i;
            float c = cos_sin[i], s = cos_sin[i + 1], ya = a[0], yb = a[1];
            a[0] = s_fma(-yb, s, ya * c);
            a[1] = s_fma(ya, s, yb * c);
        }
}

static void row_rope(float *y, const float *cos_sin, int64_t n_heads, int64_t head_dim, int64_t half, bool interleaved)
{
    (interleaved ? rope_pairs : rope_halves)(y, cos_sin, n_heads, head_dim, half);
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

#include "kernels/attention_body.h"
#include "kernels/rows_grad_body.h"

const struct row_kernels ROW_KERNELS = {
    .rms_norm = row_rms_norm,
    .layer_norm = row_layer_norm,
    .add = row_add,
    .scale = row_scale,
    .activate = row_activate,
    .activate_gated = row_activate_gated,
    .rope = row_rope,
    .soft_cap = row_soft_cap,
    .round_to = row_round_to,
    .max = row_max,
    .sum_exp = row_sum_exp,
    .exp = row_exp,
    .rms_norm_backward = row_rms_norm_backward,
    .layer_norm_backward = row_layer_norm_backward,
    .norm_weight_backward = row_norm_weight_backward,
    .activate_backward = row_activate_backward,
    .activate_gated_backward = row_activate_gated_backward,
    .rope_backward = row_rope_backward,
    .soft_cap_backward = row_soft_cap_backward,
    .softmax = row_softmax,
    .softmax_backward = row_softmax_backward,
    .dot = row_dot,
    .sum = row_sum,
    .panel = PANEL,
    .attn_panel = attn_panel,
    .attn_queries = attn_queries,
};
