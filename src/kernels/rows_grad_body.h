/* rows_grad_body: the backward of the kernels of rows_body.h, after which it is included: same words, same names with
 * `backward`. What is a gradient of an input overwrites (dx), what is one of a weight adds (dw, db). */

/* ---- activations ------------------------------------------------------------------------------------------------- */

INLINE vf sigmoid_of(vf x) { return v_div(v_set1(1), v_add(v_set1(1), exp_of(v_sub(v_set1(0), x)))); }

/* (x s)' = s + x s (1 - s), s = sigmoid(x) */
INLINE vf silu_slope(vf x)
{
    vf s = sigmoid_of(x);
    return v_fma(v_mul(x, s), v_sub(v_set1(1), s), s);
}

/* (x s)' = s + x s (1 - s) 2u', s = sigmoid(2u), u' = sqrt(2/pi) (1 + 3 * 0.044715 x^2) */
INLINE vf gelu_tanh_slope(vf x)
{
    vf square = v_mul(x, x), two_k = v_set1(2 * 0.7978845608f);
    vf s = sigmoid_of(v_mul(x, v_mul(two_k, v_fma(square, v_set1(0.044715f), v_set1(1)))));
    vf inner = v_mul(two_k, v_fma(square, v_set1(3 * 0.044715f), v_set1(1)));
    return v_fma(v_mul(v_mul(x, s), v_sub(v_set1(1), s)), inner, s);
}

/* Phi(x) + x phi(x); Phi = gelu(x) / x, which is 1/2 at zero */
INLINE vf gelu_erf_slope(vf x)
{
    vf density = v_mul(v_set1(0.3989422804f), exp_of(v_mul(v_set1(-0.5f), v_mul(x, x))));
    vf near = v_fma(x, v_set1(0.3989422804f), v_set1(0.5f));
    vf phi = v_select_less(v_abs(x), v_set1(1e-4f), near, v_div(gelu_erf_of(x), x));
    return v_fma(x, density, phi);
}

INLINE vf relu_slope(vf x) { return v_select_less(v_set1(0), x, v_set1(1), v_set1(0)); }

#define SLOPED(op)                                                                                                     \
    INLINE vf op##_back(vf dy, vf x) { return v_mul(dy, op##_slope(x)); }
SLOPED(silu)
SLOPED(gelu_tanh)
SLOPED(gelu_erf)
SLOPED(relu)
#undef SLOPED

/* dy -> dx in place, x before the activation */
static void row_activate_backward(float *dy, const float *x, enum activation act, int64_t n)
{
    switch (act) {
    case ACT_SILU: map_both(dy, x, n, silu_back); break;
    case ACT_GELU_TANH: map_both(dy, x, n, gelu_tanh_back); break;
    case ACT_GELU_ERF: map_both(dy, x, n, gelu_erf_back); break;
    case ACT_RELU: map_both(dy, x, n, relu_back); break;
    }
}

/* dgate = dy up act'(gate), dup = dy act(gate); dup may be dy */
INLINE void gate_backward(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int64_t n,
                          vf (*op)(vf), vf (*slope)(vf))
{
    for (int64_t i = 0; i < n; i += VL) {
        bool whole = i + VL <= n;
        vf d = whole ? v_load(dy + i) : v_load_part(dy + i, n - i);
        vf g = whole ? v_load(gate + i) : v_load_part(gate + i, n - i);
        vf u = whole ? v_load(up + i) : v_load_part(up + i, n - i);
        vf to_gate = v_mul(v_mul(d, u), slope(g)), to_up = v_mul(d, op(g));
        if (whole) {
            v_store(dgate + i, to_gate);
            v_store(dup + i, to_up);
        } else {
            v_store_part(dgate + i, n - i, to_gate);
            v_store_part(dup + i, n - i, to_up);
        }
    }
}

static void row_activate_gated_backward(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                                        enum activation act, int64_t n)
{
    switch (act) {
    case ACT_SILU: gate_backward(dgate, dup, dy, gate, up, n, silu_of, silu_slope); break;
    case ACT_GELU_TANH: gate_backward(dgate, dup, dy, gate, up, n, gelu_tanh_of, gelu_tanh_slope); break;
    case ACT_GELU_ERF: gate_backward(dgate, dup, dy, gate, up, n, gelu_erf_of, gelu_erf_slope); break;
    case ACT_RELU: gate_backward(dgate, dup, dy, gate, up, n, relu_of, relu_slope); break;
    }
}

/* (1 - (y / cap)^2) dy, y after the cap */
static void row_soft_cap_backward(float *dy, const float *y, float cap, int64_t n)
{
    vf inv = v_set1(1 / cap);
    int64_t i = 0;
    for (; i < n; i += VL) {
        bool whole = i + VL <= n;
        vf t = v_mul(whole ? v_load(y + i) : v_load_part(y + i, n - i), inv);
        vf d = whole ? v_load(dy + i) : v_load_part(dy + i, n - i);
        d = v_mul(d, v_fnma(t, t, v_set1(1)));
        if (whole) v_store(dy + i, d);
        else v_store_part(dy + i, n - i, d);
    }
}

/* ---- norms ------------------------------------------------------------------------------------------------------- */

/* sum of a b, and of a b c */
INLINE float dot_row(const float *a, const float *b, int64_t n)
{
    vf s[4] = { v_set1(0), v_set1(0), v_set1(0), v_set1(0) };
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL)
        for (int u = 0; u < 4; u++) s[u] = v_fma(v_load(a + i + u * VL), v_load(b + i + u * VL), s[u]);
    for (; i + VL <= n; i += VL) s[0] = v_fma(v_load(a + i), v_load(b + i), s[0]);
    if (i < n) s[1] = v_fma(v_load_part(a + i, n - i), v_load_part(b + i, n - i), s[1]);
    return v_sum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

static float row_dot(const float *a, const float *b, int64_t n) { return dot_row(a, b, n); }

/* sum of g w (x - mean) */
INLINE float weighted_row(const float *g, const float *w, const float *x, float mean, int64_t n)
{
    vf s[2] = { v_set1(0), v_set1(0) }, m = v_set1(mean);
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL)
        for (int u = 0; u < 2; u++) {
            int64_t at = i + u * VL;
            s[u] = v_fma(v_mul(v_load(g + at), v_load(w + at)), v_sub(v_load(x + at), m), s[u]);
        }
    for (; i < n; i += VL) {
        bool whole = i + VL <= n;
        vf vg = whole ? v_load(g + i) : v_load_part(g + i, n - i);
        vf vw = whole ? v_load(w + i) : v_load_part(w + i, n - i);
        vf vx = whole ? v_load(x + i) : v_load_part(x + i, n - i);
        s[0] = v_fma(v_mul(vg, vw), v_sub(vx, m), s[0]);
    }
    return v_sum(v_add(s[0], s[1]));
}

/* dx = inv (dy w - shift - (x - mean) slope), element by element */
INLINE void norm_input_row(float *dx, const float *dy, const float *x, const float *w, float mean, float inv,
                           float shift, float slope, int64_t n)
{
    vf m = v_set1(mean), r = v_set1(inv), a = v_set1(shift), b = v_set1(slope);
    for (int64_t i = 0; i < n; i += VL) {
        bool whole = i + VL <= n;
        vf g = whole ? v_load(dy + i) : v_load_part(dy + i, n - i);
        vf vw = whole ? v_load(w + i) : v_load_part(w + i, n - i);
        vf d = v_sub(whole ? v_load(x + i) : v_load_part(x + i, n - i), m);
        vf out = v_mul(r, v_fnma(d, b, v_sub(v_mul(g, vw), a)));
        if (whole) v_store(dx + i, out);
        else v_store_part(dx + i, n - i, out);
    }
}

/* y = x r w, r = 1 / rms(x):  dx = r (g - x r^2 mean(g x)), g = dy w. stat = (0, r). */
static void row_rms_norm_backward(float *dx, float stat[2], const float *dy, const float *x, const float *w, float eps,
                                  int64_t n)
{
    double mean_square = (double)squares_row(x, 0, n) / (double)n;
    double inv = 1 / sqrt(mean_square + (double)eps);
    double slope = inv * inv * (double)weighted_row(dy, w, x, 0, n) / (double)n;
    stat[0] = 0;
    stat[1] = (float)inv;
    norm_input_row(dx, dy, x, w, 0, (float)inv, 0, (float)slope, n);
}

/* y = (x - mean) r w + b:  dx = r (g - mean(g) - (x - mean) r^2 mean(g (x - mean))), g = dy w. stat = (mean, r). */
static void row_layer_norm_backward(float *dx, float stat[2], const float *dy, const float *x, const float *w,
                                    float eps, int64_t n)
{
    float mean = (float)((double)sum_row(x, n) / (double)n);
    double variance = (double)squares_row(x, mean, n) / (double)n, inv = 1 / sqrt(variance + (double)eps);
    float shift = (float)((double)dot_row(dy, w, n) / (double)n);
    double slope = inv * inv * (double)weighted_row(dy, w, x, mean, n) / (double)n;
    stat[0] = mean;
    stat[1] = (float)inv;
    norm_input_row(dx, dy, x, w, mean, (float)inv, shift, (float)slope, n);
}

/* dw += dy (x - mean) r, db += dy (db may be NULL), for one row */
static void row_norm_weight_backward(float *dw, float *db, const float *dy, const float *x, const float stat[2],
                                     int64_t n)
{
    vf m = v_set1(stat[0]), r = v_set1(stat[1]);
    for (int64_t i = 0; i < n; i += VL) {
        bool whole = i + VL <= n;
        vf g = whole ? v_load(dy + i) : v_load_part(dy + i, n - i);
        vf vx = whole ? v_load(x + i) : v_load_part(x + i, n - i);
        vf sum = v_fma(g, v_mul(v_sub(vx, m), r), whole ? v_load(dw + i) : v_load_part(dw + i, n - i));
        if (whole) v_store(dw + i, sum);
        else v_store_part(dw + i, n - i, sum);
    }
    if (db) map_both(db, dy, n, add_of);
}

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

/* x = scale e^(x - shift): probabilities from scores and the log of their sum of exponentials */
static void row_softmax(float *x, float shift, float scale, int64_t n)
{
    vf c = v_set1(shift), s = v_set1(scale);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) v_store(x + i, v_mul(s, exp_of(v_sub(v_load(x + i), c))));
    if (i < n) v_store_part(x + i, n - i, v_mul(s, exp_of(v_sub(v_load_part(x + i, n - i), c))));
}

/* ds = p (ds - mean), the gradient of the scores from that of the probabilities; mean = sum of p dp over all of them */
static void row_softmax_backward(float *ds, const float *p, float mean, int64_t n)
{
    vf m = v_set1(mean);
    for (int64_t i = 0; i < n; i += VL) {
        bool whole = i + VL <= n;
        vf d = v_sub(whole ? v_load(ds + i) : v_load_part(ds + i, n - i), m);
        d = v_mul(d, whole ? v_load(p + i) : v_load_part(p + i, n - i));
        if (whole) v_store(ds + i, d);
        else v_store_part(ds + i, n - i, d);
    }
}

static float row_sum(const float *x, int64_t n) { return sum_row(x, n); }

/* ---- rotary positions: a turn by the angle, backward a turn by its negative -------------------------------------- */

static void row_rope_backward(float *dy, const float *cos_sin, int64_t n_heads, int64_t head_dim, int64_t half,
                              bool interleaved)
{
    float back[2 * 64];
    for (int64_t i = 0; i < half; i += 64) {   /* pairs in pieces, each with its turns reversed */
        int64_t n = MIN(half - i, 64);
        for (int64_t j = 0; j < n; j++) {
            back[2 * j] = cos_sin[2 * (i + j)];
            back[2 * j + 1] = -cos_sin[2 * (i + j) + 1];
        }
        if (interleaved) rope_pairs(dy + 2 * i, back, n_heads, head_dim, n);
        else rope_some_halves(dy + i, back, n_heads, head_dim, half, n);
    }
}
