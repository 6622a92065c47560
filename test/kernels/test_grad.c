/* The backward kernels against finite differences of plain forwards in double: for a loss sum(dy f(x)) the derivative
 * along a random direction u is sum(dx u), with its sign, several directions each, on every instruction set. */
#include "test/test.h"

#include "kernels/grad.h"

#include <omp.h>

enum { MOST = 40000, DIRECTIONS = 4 };
static const double step = 1e-5, tolerance = 2e-4;
static const char *const isas[] = {"scalar", "avx2", "avx512"};
static uint64_t state = 7;

static double uniform(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / (double)(1ull << 53) * 2 - 1;
}

static float *noise(size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)uniform();
    return x;
}

/* ---- the check --------------------------------------------------------------------------------------------------- */

/* A forward in double: y [n_y] from x [n_x]. */
struct forward {
    void (*f)(const void *context, double *y, const double *x);
    const void *context;
    size_t n_x, n_y;
};

static double loss_at(const struct forward *f, const double *x, const float *dy)
{
    double *y = calloc(f->n_y, sizeof *y), loss = 0;
    f->f(f->context, y, x);
    for (size_t i = 0; i < f->n_y; i++) loss += y[i] * (double)dy[i];
    free(y);
    return loss;
}

static void check(const struct forward *f, const float *x, const float *dy, const float *dx, const char *what)
{
    double *moved = malloc(f->n_x * sizeof *moved), *u = malloc(f->n_x * sizeof *u);
    for (int d = 0; d < DIRECTIONS; d++) {
        double along = 0, size = 0, loss[2];
        for (size_t i = 0; i < f->n_x; i++) {
            u[i] = uniform();
            along += u[i] * (double)dx[i];
            size += u[i] * u[i] * (double)dx[i] * (double)dx[i];
        }
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < f->n_x; i++) moved[i] = (double)x[i] + (side ? -step : step) * u[i];
            loss[side] = loss_at(f, moved, dy);
        }
        double measured = (loss[0] - loss[1]) / (2 * step);
        if (!(fabs(measured - along) <= tolerance * (sqrt(size) + 1e-3)))
            fail_msg("%s on %s: %.9g along a direction, %.9g by differences", what, kernels_isa(), along, measured);
    }
    free(moved);
    free(u);
}

#define FOR_EACH_ISA(i) for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) if (kernels_choose(isas[i]))

/* ---- norms ------------------------------------------------------------------------------------------------------- */

struct norm_case {
    bool layer, of_weight;   /* the weight moves, x stands */
    const float *x, *w;
    int64_t rows, n;
};

static void norm_in_double(const void *context, double *y, const double *moving)
{
    const struct norm_case *c = context;
    for (int64_t r = 0; r < c->rows; r++) {
        double mean = 0, square = 0;
#define X(i) (c->of_weight ? (double)c->x[r * c->n + (i)] : moving[r * c->n + (i)])
        for (int64_t i = 0; i < c->n; i++) mean += X(i) / (double)c->n;
        if (!c->layer) mean = 0;
        for (int64_t i = 0; i < c->n; i++) square += (X(i) - mean) * (X(i) - mean) / (double)c->n;
        for (int64_t i = 0; i < c->n; i++)
            y[r * c->n + i] = (X(i) - mean) / sqrt(square + 1e-5) * (c->of_weight ? moving[i] : (double)c->w[i]);
#undef X
    }
}

static void test_norms(void **unused)
{
    (void)unused;
    static const int64_t widths[] = {1, 7, 33, 64, 576};
    FOR_EACH_ISA(isa)
        for (size_t k = 0; k < 2 * sizeof widths / sizeof *widths; k++) {
            int64_t n = widths[k / 2], rows = 5;
            size_t all = (size_t)(rows * n);
            bool layer = k % 2;
            if (layer && n == 1) continue;   /* x - mean is nothing */
            float *x = noise(all), *w = noise((size_t)n), *dy = noise(all), *dx = noise(all), stats[10];
            float *dw = calloc((size_t)n, sizeof *dw), *db = calloc((size_t)n, sizeof *db);
            if (layer) layer_norm_backward(dx, dw, db, dy, x, w, 1e-5f, rows, n, stats);
            else rms_norm_backward(dx, dw, dy, x, w, 1e-5f, rows, n, stats);
            struct norm_case c = {layer, false, x, w, rows, n};
            struct forward f = {norm_in_double, &c, all, all};
            check(&f, x, dy, dx, "norm, x");
            c.of_weight = true;
            f.n_x = (size_t)n;
            check(&f, w, dy, dw, "norm, weight");
            for (int64_t i = 0; layer && i < n; i++) {
                double sum = 0;
                for (int64_t r = 0; r < rows; r++) sum += (double)dy[r * n + i];
                assert_true(fabs(sum - (double)db[i]) < 1e-5);
            }
            free(x), free(w), free(dy), free(dx), free(dw), free(db);
        }
}

/* ---- activations, cap, rotary positions -------------------------------------------------------------------------- */

static double act_in_double(enum activation act, double x)
{
    switch (act) {
    case ACT_SILU: return x / (1 + exp(-x));
    case ACT_GELU_TANH: return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    case ACT_GELU_ERF: return 0.5 * x * (1 + erf(x / sqrt(2)));
    default: return x > 0 ? x : 0;
    }
}

struct act_case {
    enum activation act;
    size_t n;
    bool gated;              /* x = gate [n], up [n] */
};

static void act_forward(const void *context, double *y, const double *x)
{
    const struct act_case *c = context;
    for (size_t i = 0; i < c->n; i++) y[i] = act_in_double(c->act, x[i]) * (c->gated ? x[c->n + i] : 1);
}

static void test_activations(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(isa)
        for (int act = ACT_SILU; act <= ACT_RELU; act++) {
            size_t n = 1003;
            float *x = noise(2 * n), *dy = noise(n), *dx = malloc(2 * n * sizeof *dx);
            for (size_t i = 0; i < n; i++) x[i] *= 8;
            x[5] = 1e-5f, x[6] = -3e-5f;
            struct act_case c = {(enum activation)act, n, false};
            struct forward f = {act_forward, &c, n, n};
            memcpy(dx, dy, n * sizeof *dx);
            activate_backward(dx, x, c.act, (int64_t)n);
            check(&f, x, dy, dx, "activation");
            activate_gated_backward(dx, dx + n, dy, x, x + n, c.act, (int64_t)n);
            c.gated = true;
            f.n_x = 2 * n;
            check(&f, x, dy, dx, "gated activation");
            free(x), free(dy), free(dx);
        }
}

static void cap_forward(const void *context, double *y, const double *x)
{
    const size_t *n = context;
    for (size_t i = 0; i < *n; i++) y[i] = 3 * tanh(x[i] / 3);
}

static void test_soft_cap(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(isa) {
        size_t n = 77;
        float *x = noise(n), *dy = noise(n), *dx = malloc(n * sizeof *dx), *y = malloc(n * sizeof *y);
        for (size_t i = 0; i < n; i++) x[i] *= 6;
        memcpy(y, x, n * sizeof *y);
        soft_cap(y, 3, (int64_t)n);
        memcpy(dx, dy, n * sizeof *dx);
        soft_cap_backward(dx, y, 3, (int64_t)n);
        check(&(struct forward){cap_forward, &n, n, n}, x, dy, dx, "soft cap");
        free(x), free(dy), free(dx), free(y);
    }
}

/* The turn keeps lengths: its backward is its inverse, up to the square of the scale. */
static void test_rope(void **unused)
{
    (void)unused;
    static const int64_t halves[] = {2, 8, 12, 32, 80};
    FOR_EACH_ISA(isa)
        for (size_t k = 0; k < 2 * sizeof halves / sizeof *halves; k++) {
            int64_t half = halves[k / 2], rows = 3, heads = 2, width = 2 * half + 4, positions[] = {0, 5, 1000};
            size_t n = (size_t)(rows * heads * width);
            double inv_freq[80];
            for (int64_t i = 0; i < half; i++) inv_freq[i] = pow(10000, -(double)i / (double)half);
            float *x = noise(n), *y = malloc(n * sizeof *y), *turns = malloc((size_t)(rows * half) * 2 * sizeof *turns);
            rope_angles(turns, positions, rows, inv_freq, half, 1.5f);
            memcpy(y, x, n * sizeof *y);
            rope_apply(y, turns, rows, heads, width, half, k % 2);
            rope_backward(y, turns, rows, heads, width, half, k % 2);
            for (size_t i = 0; i < n; i++) {
                bool turned = (int64_t)i % width < 2 * half;
                assert_true(fabs((double)y[i] - (double)x[i] * (turned ? 2.25 : 1)) < 1e-5);
            }
            free(x), free(y), free(turns);
        }
}

/* ---- products and cross entropy ---------------------------------------------------------------------------------- */

static void test_products(void **unused)
{
    (void)unused;
    static const int64_t shapes[][3] = {{1, 1, 1}, {5, 7, 3}, {33, 100, 64}, {130, 290, 65}, {17, 600, 320},
                                        {150, 64, 400}, {129, 800, 48}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        int64_t rows = shapes[s][0], n_out = shapes[s][1], n_in = shapes[s][2];
        float *x = noise((size_t)(rows * n_in)), *dy = noise((size_t)(rows * n_out));
        float *w = noise((size_t)(n_out * n_in));
        float *dx = noise((size_t)(rows * n_in)), *dw = noise((size_t)(n_out * n_in)), *db = noise((size_t)n_out);
        float *dx0 = malloc((size_t)(rows * n_in) * sizeof(float));
        float *dw0 = malloc((size_t)(n_out * n_in) * sizeof(float));
        float *y = malloc((size_t)(rows * n_out) * sizeof(float));
        float *scratch = malloc(matmul_backward_scratch_bytes(n_in)), db0 = db[0];
        memcpy(dx0, dx, (size_t)(rows * n_in) * sizeof(float));
        memcpy(dw0, dw, (size_t)(n_out * n_in) * sizeof(float));
        const struct weight weight = {DT_F32, w, n_out, n_in};
        matmul_backward_input(dx, true, dy, rows, &weight, scratch);
        matmul_backward_weight(dw, dy, x, rows, n_out, n_in);
        add_bias_backward(db, dy, rows, n_out);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < n_in; j++) {
                double sum = (double)dx0[i * n_in + j];
                for (int64_t o = 0; o < n_out; o++) sum += (double)dy[i * n_out + o] * (double)w[o * n_in + j];
                assert_true(fabs(sum - (double)dx[i * n_in + j]) < 1e-4);
            }
        for (int64_t o = 0; o < n_out; o++)
            for (int64_t j = 0; j < n_in; j++) {
                double sum = (double)dw0[o * n_in + j];
                for (int64_t i = 0; i < rows; i++) sum += (double)dy[i * n_out + o] * (double)x[i * n_in + j];
                assert_true(fabs(sum - (double)dw[o * n_in + j]) < 1e-4);
            }
        size_t bytes = matmul_scratch_bytes(rows, n_in, omp_get_max_threads());
        void *forward = malloc(bytes);
        matmul(y, x, rows, &weight, forward, bytes);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t o = 0; o < n_out; o++) {
                double sum = 0;
                for (int64_t j = 0; j < n_in; j++) sum += (double)x[i * n_in + j] * (double)w[o * n_in + j];
                assert_true(fabs(sum - (double)y[i * n_out + o]) < 1e-4);
            }
        free(y), free(forward);
        double bias = (double)db0;
        for (int64_t i = 0; i < rows; i++) bias += (double)dy[i * n_out];
        assert_true(fabs(bias - (double)db[0]) < 1e-4);
        free(x), free(dy), free(w), free(dx), free(dw), free(db), free(dx0), free(dw0), free(scratch);
    }
}

/* A quantised weight passes the gradient as the same weight widened does. */
static void test_quantised_products(void **unused)
{
    (void)unused;
    enum { ROWS = 9, OUT = 300, IN = 64 };
    static uint8_t q8[OUT][IN / 32 * 34];
    static float wide[OUT][IN];
    for (size_t i = 0; i < sizeof q8; i++) ((uint8_t *)q8)[i] = (uint8_t)(uniform() * 127 + 128);
    for (int o = 0; o < OUT; o++)
        for (int b = 0; b < IN / 32; b++) memcpy(&q8[o][b * 34], &(uint16_t){0x2000}, 2);   /* d = 2^-7 */
    const struct weight quantised = {DT_Q8_0, q8, OUT, IN}, widened = {DT_F32, wide, OUT, IN};
    for (int o = 0; o < OUT; o++) weight_row(wide[o], &quantised, o);
    float *dy = noise(ROWS * OUT), a[ROWS * IN], b[ROWS * IN], *scratch = malloc(matmul_backward_scratch_bytes(IN));
    matmul_backward_input(a, false, dy, ROWS, &quantised, scratch);
    matmul_backward_input(b, false, dy, ROWS, &widened, scratch);
    assert_true(worst_difference(a, b, ROWS * IN) < 1e-4);
    free(dy), free(scratch);
}

static void entropy_forward(const void *context, double *y, const double *x)
{
    const size_t *n = context;
    double sum = 0;
    for (size_t i = 0; i < *n; i++) sum += exp(x[i]);
    *y = log(sum) - x[3];
}

static void test_cross_entropy(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(isa) {
        size_t n = 101;
        float *x = noise(n), *dx = malloc(n * sizeof *dx), dy = 0.7f;
        double wide[101], expected;
        for (size_t i = 0; i < n; i++) x[i] *= 5, wide[i] = (double)x[i];
        memcpy(dx, x, n * sizeof *dx);
        float loss = cross_entropy_backward(dx, (int64_t)n, 3, dy);
        entropy_forward(&n, &expected, wide);
        assert_true(fabs((double)loss - expected) < 1e-5);
        check(&(struct forward){entropy_forward, &n, n, 1}, x, &dy, dx, "cross entropy");
        free(x), free(dx);
    }
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

/* q, k, v of one sequence stand in one row of numbers: q [rows, heads, e], then for each span k and v [keys, kv, e]. */
struct attention_case {
    struct attn_shape shape;
    struct grad_span spans[2];
    size_t n_spans;
    int64_t rows, positions[200];
};

static size_t attention_numbers(const struct attention_case *c)
{
    size_t n = (size_t)(c->rows * c->shape.n_heads * c->shape.head_dim);
    for (size_t s = 0; s < c->n_spans; s++)
        n += (size_t)(2 * c->spans[s].n_keys * c->shape.n_kv_heads * c->shape.head_dim);
    return n;
}

static bool seen(const struct grad_span *s, int64_t p, int64_t key)
{
    return s->rule == SPAN_ALL || (key <= p && (s->rule == SPAN_CAUSAL || key > p - s->band));
}

static void attention_in_double(const void *context, double *y, const double *x)
{
    const struct attention_case *c = context;
    const struct attn_shape *a = &c->shape;
    int64_t e = a->head_dim, kv_row = a->n_kv_heads * e;
    for (int64_t i = 0; i < c->rows; i++)
        for (int64_t h = 0; h < a->n_heads; h++) {
            const double *q = x + (i * a->n_heads + h) * e, *keys = x + c->rows * a->n_heads * e;
            double sum = 0, *out = y + (i * a->n_heads + h) * e;
            for (size_t s = 0; s < c->n_spans; s++) {
                const struct grad_span *span = &c->spans[s];
                const double *values = keys + span->n_keys * kv_row;
                for (int64_t j = 0; j < span->n_keys; j++) {
                    int64_t position = span->first_position + j;
                    if (!seen(span, c->positions[i], position)) continue;
                    const double *k = keys + j * kv_row + h / (a->n_heads / a->n_kv_heads) * e;
                    const double *v = k + (values - keys);
                    double score = 0;
                    for (int64_t d = 0; d < e; d++) score += q[d] * k[d] * (double)a->scale;
                    if (a->soft_cap > 0) score = (double)a->soft_cap * tanh(score / (double)a->soft_cap);
                    if (a->alibi) score -= (double)a->alibi[h] * (double)llabs(c->positions[i] - position);
                    sum += exp(score);
                    for (int64_t d = 0; d < e; d++) out[d] += exp(score) * v[d];
                }
                keys = values + span->n_keys * kv_row;
            }
            for (int64_t d = 0; d < e && sum > 0; d++) out[d] /= sum;
        }
}

/* Runs forward and backward of two equal sequences, so that their work is side by side; returns the first one's. */
static float *attention_gradients(struct attention_case *c, const float *x, const float *dy, float **out, int n_threads)
{
    const struct attn_shape *a = &c->shape;
    size_t n = attention_numbers(c), n_q = (size_t)(c->rows * a->n_heads * a->head_dim);
    float *dx[2], *lse[2];
    int64_t n_keys = 0;
    for (size_t i = 0; i < c->n_spans; i++) n_keys += c->spans[i].n_keys;
    void *scratch = malloc(attention_backward_scratch_bytes(a, 2 * c->rows, n_keys, n_threads));
    struct grad_span spans[2][2];
    struct grad_sequence seq[2];
    for (int s = 0; s < 2; s++) {
        dx[s] = calloc(n, sizeof(float));
        lse[s] = malloc((size_t)(c->rows * a->n_heads) * sizeof(float));
        out[s] = malloc(n_q * sizeof(float));
        size_t at = n_q;
        for (size_t i = 0; i < c->n_spans; i++) {
            size_t keys = (size_t)(c->spans[i].n_keys * a->n_kv_heads * a->head_dim);
            spans[s][i] = c->spans[i];
            spans[s][i].stride = a->n_kv_heads * a->head_dim;
            spans[s][i].k = x + at, spans[s][i].dk = dx[s] + at, at += keys;
            spans[s][i].v = x + at, spans[s][i].dv = dx[s] + at, at += keys;
        }
        seq[s] = (struct grad_sequence){.q = x, .dout = dy, .out = out[s], .dq = dx[s], .lse = lse[s],
                                        .positions = c->positions, .n_rows = c->rows, .spans = spans[s],
                                        .n_spans = c->n_spans};
    }
    attention_forward(seq, 2, a, n_threads, scratch);
    attention_backward(seq, 2, a, n_threads, scratch);
    assert_memory_equal(dx[0], dx[1], n * sizeof(float));
    free(dx[1]), free(lse[0]), free(lse[1]), free(scratch);
    return dx[0];
}

static void test_attention(void **unused)
{
    (void)unused;
    static const float slopes[] = {0.5f, 0.25f, 0.1f, 0.02f, 0.3f, 0.01f};
    static const struct attention_case cases[] = {
        {{4, 2, 8, 0.35f, 0, NULL, NULL, DT_F32}, {{.n_keys = 23, .rule = SPAN_CAUSAL}}, 1, 23, {0}},
        {{6, 3, 16, 0.25f, 0, NULL, NULL, DT_F32}, {{.n_keys = 150, .rule = SPAN_BAND, .band = 40}}, 1, 150, {0}},
        {{6, 6, 5, 0.4f, 0, slopes, NULL, DT_F32}, {{.n_keys = 70, .rule = SPAN_CAUSAL}}, 1, 70, {0}},
        {{4, 1, 12, 1.5f, 2, NULL, NULL, DT_F32}, {{.n_keys = 30, .rule = SPAN_CAUSAL}}, 1, 30, {0}},
        {{4, 2, 8, 0.35f, 0, slopes, NULL, DT_F32},
         {{.n_keys = 140, .first_position = 3}, {.n_keys = 20, .first_position = 143, .rule = SPAN_CAUSAL}},
         2, 20, {0}},
        {{4, 2, 6, 1.5f, 2, slopes, NULL, DT_F32}, {{.n_keys = 40, .rule = SPAN_BAND, .band = 9}}, 1, 40, {0}},
        /* keys in pieces: some within a span, some of both */
        {{3, 1, 4, 0.5f, 0, slopes, NULL, DT_F32},
         {{.n_keys = 1100}, {.n_keys = 130, .first_position = 1100, .rule = SPAN_CAUSAL}}, 2, 130, {0}},
        {{2, 2, 5, 0.5f, 0, NULL, NULL, DT_F32},
         {{.n_keys = 900, .rule = SPAN_BAND, .band = 300}, {.n_keys = 199, .first_position = 900, .rule = SPAN_CAUSAL}},
         2, 199, {0}},
        /* rows that see nothing: their output and gradients are zero */
        {{2, 1, 4, 0.5f, 0, NULL, NULL, DT_F32}, {{.n_keys = 5, .first_position = 4, .rule = SPAN_CAUSAL}}, 1, 9, {0}},
    };
    FOR_EACH_ISA(isa)
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
            struct attention_case c = cases[k];
            const struct grad_span *last = &c.spans[c.n_spans - 1];
            for (int64_t i = 0; i < c.rows; i++) c.positions[i] = i + (c.n_spans > 1 ? last->first_position : 0);
            size_t n = attention_numbers(&c), n_q = (size_t)(c.rows * c.shape.n_heads * c.shape.head_dim);
            float *x = noise(n), *dy = noise(n_q), *out[2];
            float *dx = attention_gradients(&c, x, dy, out, 2);
            double *wide = malloc(n * sizeof *wide), *expected = calloc(n_q, sizeof *expected);
            for (size_t i = 0; i < n; i++) wide[i] = (double)x[i];
            attention_in_double(&c, expected, wide);
            for (size_t i = 0; i < n_q; i++) assert_true(fabs(expected[i] - (double)out[0][i]) < 1e-5);
            check(&(struct forward){attention_in_double, &c, n, n_q}, x, dy, dx, "attention");
            float *alone_out[2], *alone = attention_gradients(&c, x, dy, alone_out, 1);
            assert_memory_equal(alone, dx, n * sizeof(float));
            for (int s = 0; s < 2; s++) free(out[s]), free(alone_out[s]);
            free(x), free(dy), free(dx), free(wide), free(expected), free(alone);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_activations),
        cmocka_unit_test(test_soft_cap),
        cmocka_unit_test(test_rope),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_quantised_products),
        cmocka_unit_test(test_cross_entropy),
        cmocka_unit_test(test_attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
