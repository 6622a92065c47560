/* The row kernels against double: norms, activations, rotary positions, rounding, cross entropy, for every instruction
 * set that is there, odd lengths, unaligned rows and sentinels after each array. */
#include "base/base.h"
#include "kernels/table.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const isas[] = { "scalar", "avx2", "avx512" };
#define EACH_ISA(k) for (size_t k = 0; k < COUNT_OF(isas); k++) if (kernels_choose(isas[k]))

static const int64_t lengths[] = { 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 100, 127, 130, 576, 1001 };
#define SENTINEL 12345.5f

/* An unaligned array of n floats with a sentinel after it; row_free() checks that. */
struct row {
    float *memory, *x;
    int64_t n;
};

static struct row row_new(int64_t n)
{
    struct row r = { malloc((size_t)(n + 2) * sizeof(float)), NULL, n };
    assert_non_null(r.memory);
    r.x = r.memory + 1;
    r.x[n] = SENTINEL;
    return r;
}

static struct row row_random(struct rng *rng, int64_t n, float size)
{
    struct row r = row_new(n);
    for (int64_t i = 0; i < n; i++) r.x[i] = (float)rng_normal(rng) * size;
    return r;
}

static struct row row_copy(const struct row *from)
{
    struct row r = row_new(from->n);
    memcpy(r.x, from->x, (size_t)r.n * sizeof(float));
    return r;
}

static void row_free(struct row *r)
{
    assert_true(r->x[r->n] == SENTINEL);
    free(r->memory);
}

/* |got - want| <= limit * max(1, |want|) */
static void check(double got, double want, double limit, const char *what)
{
    if (isnan(want) ? isnan(got) : isinf(want) ? got == want : fabs(got - want) <= limit * fmax(1, fabs(want))) return;
    fail_msg("%s (%s): %.9g, not %.9g", what, kernels_isa(), got, want);
}

/* ---- norms ------------------------------------------------------------------------------------------------------- */

static void norms(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 1, 1);
    for (size_t l = 0; l < COUNT_OF(lengths); l++) {
        int64_t n = lengths[l], n_rows = 3;
        struct row x = row_random(&rng, n * n_rows, 2), w = row_random(&rng, n, 1), b = row_random(&rng, n, 1);
        for (int64_t i = 0; i < x.n; i++) x.x[i] += 5;
        EACH_ISA(k) {
            struct row rms = row_new(x.n), layer = row_new(x.n), bare = row_new(x.n), place = row_copy(&x);
            rms_norm(rms.x, x.x, w.x, 1e-5f, n_rows, n);
            rms_norm(place.x, place.x, w.x, 1e-5f, n_rows, n);
            assert_memory_equal(place.x, rms.x, (size_t)x.n * sizeof(float));
            layer_norm(layer.x, x.x, w.x, b.x, 1e-5f, n_rows, n);
            layer_norm(bare.x, x.x, w.x, NULL, 1e-5f, n_rows, n);
            for (int64_t r = 0; r < n_rows; r++) {
                double mean = 0, square = 0, variance = 0;
                for (int64_t i = 0; i < n; i++) mean += (double)x.x[r * n + i] / (double)n;
                for (int64_t i = 0; i < n; i++) {
                    double v = (double)x.x[r * n + i];
                    square += v * v / (double)n;
                    variance += (v - mean) * (v - mean) / (double)n;
                }
                for (int64_t i = r * n; i < (r + 1) * n; i++) {
                    double wi = (double)w.x[i - r * n], bi = (double)b.x[i - r * n], v = (double)x.x[i];
                    double normal = (v - mean) / sqrt(variance + (double)1e-5f) * wi;
                    check((double)rms.x[i], v / sqrt(square + (double)1e-5f) * wi, 4e-7, "rms_norm");
                    /* the mean of values about 5 is a sum in f32, and the variance may be small */
                    double limit = 4e-7 + 2e-6 / sqrt(variance + 1e-5) * fabs(wi);
                    check((double)bare.x[i], normal, limit, "layer_norm without bias");
                    check((double)layer.x[i], normal + bi, limit, "layer_norm");
                }
            }
            row_free(&rms), row_free(&layer), row_free(&bare), row_free(&place);
        }
        row_free(&x), row_free(&w), row_free(&b);
    }
}

static void sums_and_scales(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 2, 1);
    for (size_t l = 0; l < COUNT_OF(lengths); l++) {
        int64_t n = lengths[l];
        struct row x = row_random(&rng, n * 3, 1), b = row_random(&rng, n, 1), c = row_random(&rng, n * 3, 1);
        EACH_ISA(k) {
            struct row biased = row_copy(&x), added = row_copy(&x), scaled = row_copy(&x);
            add_bias(biased.x, b.x, 3, n);
            add_to(added.x, c.x, x.n);
            scale_by(scaled.x, 0.3f, x.n);
            for (int64_t i = 0; i < x.n; i++) {
                assert_true(biased.x[i] == x.x[i] + b.x[i % n]);
                assert_true(added.x[i] == x.x[i] + c.x[i]);
                assert_true(scaled.x[i] == x.x[i] * 0.3f);
            }
            row_free(&biased), row_free(&added), row_free(&scaled);
        }
        row_free(&x), row_free(&b), row_free(&c);
    }
}

/* ---- exponential and activations --------------------------------------------------------------------------------- */

static void exponential(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    struct row x = row_new(N), y = row_new(N);
    for (int64_t i = 0; i < N; i++) x.x[i] = (float)(-87.3 + 175.6 * (double)i / N);
    EACH_ISA(k) {
        kernels()->row->exp(y.x, x.x, N);
        for (int64_t i = 0; i < N; i++) {
            double want = exp((double)x.x[i]);
            if (fabs((double)y.x[i] - want) > 1.5e-7 * want)
                fail_msg("exp(%.9g) is %.9g, not %.9g (%s)", (double)x.x[i], (double)y.x[i], want, kernels_isa());
        }
        float edge[] = { 0, -0.0f, -INFINITY, -1e30f, -87.4f, INFINITY, 1e30f, NAN }, got[8];
        kernels()->row->exp(got, edge, 8);
        assert_true(got[0] == 1 && got[1] == 1 && got[2] == 0 && got[3] == 0 && got[4] == 0);
        assert_true(got[5] > 2e38f && got[6] > 2e38f && isnan(got[7]));
    }
    row_free(&x), row_free(&y);
}

static double act_reference(enum activation act, double x)
{
    switch (act) {
    case ACT_SILU: return x / (1 + exp(-x));
    case ACT_GELU_TANH: return 0.5 * x * (1 + tanh(sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case ACT_GELU_ERF: return 0.5 * x * erfc(-x / sqrt(2));
    case ACT_RELU: return x > 0 ? x : 0;
    }
    return (double)NAN;
}

static void activations(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 3, 1);
    for (int act = ACT_SILU; act <= ACT_RELU; act++)
        for (size_t l = 0; l <= COUNT_OF(lengths); l++) {
            int64_t n = l < COUNT_OF(lengths) ? lengths[l] : 100000;
            struct row x = row_random(&rng, n, 3), up = row_random(&rng, n, 1);
            for (int64_t i = 0; n > 1000 && i < n; i++) x.x[i] = (float)(-15 + 30e-5 * (double)i);
            if (n == 100) x.x[0] = 80, x.x[1] = -80, x.x[2] = 1e30f, x.x[3] = -1e30f, x.x[4] = 0, x.x[5] = 1e-30f;
            EACH_ISA(k) {
                struct row y = row_copy(&x), gate = row_copy(&x);
                activate(y.x, (enum activation)act, n);
                activate_gated(gate.x, up.x, (enum activation)act, n);
                for (int64_t i = 0; i < n; i++) {
                    double want = act_reference((enum activation)act, (double)x.x[i]);
                    check((double)y.x[i], want, 2e-7, "activate");
                    check((double)gate.x[i], want * (double)up.x[i], 2e-7 * (1 + fabs((double)up.x[i])), "gated");
                }
                float bad[3] = { NAN, 1, NAN };
                activate(bad, (enum activation)act, 3);
                assert_true(isnan(bad[0]) && isfinite(bad[1]) && isnan(bad[2]));
                row_free(&y), row_free(&gate);
            }
            row_free(&x), row_free(&up);
        }
}

static void soft_caps(void **state)
{
    (void)state;
    enum { N = 200001 };
    static const float caps[] = { 30, 50, 1, 2.5f };
    struct row x = row_new(N);
    for (size_t c = 0; c < COUNT_OF(caps); c++) {
        for (int64_t i = 0; i < N; i++) x.x[i] = (float)((double)(i - N / 2) * 0.003 * (double)caps[c] / 30);
        x.x[0] = INFINITY, x.x[1] = -INFINITY, x.x[2] = 1e38f, x.x[3] = NAN, x.x[4] = 1e-30f;
        EACH_ISA(k) {
            struct row y = row_copy(&x);
            soft_cap(y.x, caps[c], N);
            for (int64_t i = 0; i < N; i++) {
                double want = (double)caps[c] * tanh((double)x.x[i] / (double)caps[c]);
                if (!(fabs((double)y.x[i] - want) <= 4e-7 * fabs(want)) && !isnan(want))
                    fail_msg("soft_cap(%.9g, %g) is %.9g, not %.9g (%s)", (double)x.x[i], (double)caps[c],
                             (double)y.x[i], want, kernels_isa());
            }
            assert_true(isnan(y.x[3]));
            row_free(&y);
        }
    }
    row_free(&x);
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

static void angles(void **state)
{
    (void)state;
    enum { HALF = 32, ROWS = 6 };
    static const int64_t positions[ROWS] = { 0, 1, 10, 131071, 10000000, 10000001 };
    double inv_freq[HALF];
    for (int i = 0; i < HALF; i++) inv_freq[i] = pow(10000, -i / (double)HALF);
    struct row cs = row_new(ROWS * HALF * 2);
    rope_angles(cs.x, positions, ROWS, inv_freq, HALF, 1.25f);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < HALF; i++) {
            long double a = (long double)positions[r] * (long double)inv_freq[i];
            double c = (double)(cosl(a) * 1.25L), s = (double)(sinl(a) * 1.25L);
            /* half a unit of f32, and the double angle's: 1e7 * 1e-16 */
            assert_true(fabs((double)cs.x[(r * HALF + i) * 2] - c) <= 6.1e-8 * fabs(c) + 2e-9);
            assert_true(fabs((double)cs.x[(r * HALF + i) * 2 + 1] - s) <= 6.1e-8 * fabs(s) + 2e-9);
        }
    row_free(&cs);
}

static void turns(void **state)
{
    (void)state;
    static const int64_t halves[] = { 1, 2, 3, 4, 8, 11, 16, 17, 32, 40, 64 };
    struct rng rng;
    rng_seed(&rng, 4, 1);
    for (size_t l = 0; l < COUNT_OF(halves); l++) {
        int64_t half = halves[l], dim = 2 * half + (l % 3) * 5, heads = 3, n_rows = 4;
        struct row y = row_random(&rng, n_rows * heads * dim, 1), cs = row_new(n_rows * half * 2), pairs = row_copy(&y);
        int64_t positions[4] = { 0, 5, 77, 4000 };
        double inv_freq[64];
        for (int64_t i = 0; i < half; i++) inv_freq[i] = pow(10000, -(double)i / (double)half);
        rope_angles(cs.x, positions, n_rows, inv_freq, half, 1);
        /* pairs holds the same vectors with pair (i, i + half) moved to (2i, 2i + 1) */
        for (int64_t h = 0; h < n_rows * heads; h++)
            for (int64_t i = 0; i < half; i++) {
                pairs.x[h * dim + 2 * i] = y.x[h * dim + i];
                pairs.x[h * dim + 2 * i + 1] = y.x[h * dim + i + half];
            }
        EACH_ISA(k) {
            struct row a = row_copy(&y), b = row_copy(&pairs);
            rope_apply(a.x, cs.x, n_rows, heads, dim, half, false);
            rope_apply(b.x, cs.x, n_rows, heads, dim, half, true);
            for (int64_t h = 0; h < n_rows * heads; h++) {
                for (int64_t i = 0; i < half; i++) {
                    const float *turn = cs.x + (h / heads * half + i) * 2;
                    double c = (double)turn[0], s = (double)turn[1];
                    double p = (double)y.x[h * dim + i], q = (double)y.x[h * dim + i + half];
                    check((double)a.x[h * dim + i], p * c - q * s, 3e-7, "rope, first of a pair");
                    check((double)a.x[h * dim + i + half], q * c + p * s, 3e-7, "rope, second of a pair");
                    /* one rounding may differ where a product is fused */
                    check((double)b.x[h * dim + 2 * i], (double)a.x[h * dim + i], 2e-7, "interleaved");
                    check((double)b.x[h * dim + 2 * i + 1], (double)a.x[h * dim + i + half], 2e-7, "interleaved");
                }
                for (int64_t i = 2 * half; i < dim; i++) assert_true(a.x[h * dim + i] == y.x[h * dim + i]);
            }
            row_free(&a), row_free(&b);
        }
        row_free(&y), row_free(&cs), row_free(&pairs);
    }
}

/* ---- rounding ---------------------------------------------------------------------------------------------------- */

static float from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

/* Nearest number with `digits` bits after the first, exponents from `least`, ties to even; past `largest` infinity. */
static double rounded(double x, int digits, int least, double largest)
{
    if (isnan(x) || isinf(x) || x == 0) return x;
    int e;
    frexp(x, &e);
    double unit = ldexp(1, MAX(e - 1, least) - digits), r = rint(x / unit) * unit;
    return fabs(r) > largest ? copysign(HUGE_VAL, x) : r;
}

static void check_rounding(const uint32_t *bits, int64_t n)
{
    struct row x = row_new(n);
    for (int64_t i = 0; i < n; i++) x.x[i] = from_bits(bits[i]);
    EACH_ISA(k) {
        struct row b = row_copy(&x), h = row_copy(&x), none = row_copy(&x);
        round_to(b.x, ROUND_BF16, n);
        round_to(h.x, ROUND_F16, n);
        round_to(none.x, ROUND_NONE, n);
        assert_memory_equal(none.x, x.x, (size_t)n * sizeof(float));
        for (int64_t i = 0; i < n; i++) {
            double v = (double)x.x[i], bf16 = rounded(v, 7, -126, 0x1.fep127), f16 = rounded(v, 10, -14, 65504);
            bool same_b = isnan(v) ? isnan(b.x[i]) : (double)b.x[i] == bf16 && !signbit(b.x[i]) == !signbit(v);
            bool same_h = isnan(v) ? isnan(h.x[i]) : (double)h.x[i] == f16 && !signbit(h.x[i]) == !signbit(v);
            if (!same_b || !same_h)
                fail_msg("%a (%08x) is %a in bf16 and %a in f16 (%s)", v, bits[i], (double)b.x[i], (double)h.x[i],
                         kernels_isa());
        }
        row_free(&b), row_free(&h), row_free(&none);
    }
    row_free(&x);
}

/* Every upper half of a float with lower halves about its ties, and f16's ties: every exponent, sign and special. */
static void rounding(void **state)
{
    (void)state;
    static const uint32_t low[] = { 0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x0fff, 0x1000, 0x1001, 0x3000, 0x5000 };
    uint32_t *bits = malloc(COUNT_OF(low) * 65536 * sizeof(*bits));
    assert_non_null(bits);
    int64_t n = 0;
    for (uint32_t high = 0; high < 65536; high++)
        for (size_t i = 0; i < COUNT_OF(low); i++) bits[n++] = high << 16 | low[i];
    check_rounding(bits, n);
    /* below 2^-14 the ties of f16 move: halves of its smallest number, and one float beside each */
    n = 0;
    for (int tie = 1; tie < 4096; tie += 2)
        for (int beside = -1; beside <= 1; beside++) {
            float f = ldexpf((float)tie, -25);
            uint32_t u;
            memcpy(&u, &f, 4);
            bits[n++] = u + (uint32_t)beside;
            bits[n++] = (u + (uint32_t)beside) | 0x80000000;
        }
    check_rounding(bits, n);
    for (int64_t few = 1; few < 40; few++) check_rounding(bits, few);
    free(bits);
}

/* ---- cross entropy ----------------------------------------------------------------------------------------------- */

static void entropy(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 5, 1);
    for (size_t l = 0; l <= COUNT_OF(lengths); l++) {
        int64_t n = l < COUNT_OF(lengths) ? lengths[l] : 49152;
        struct row x = row_random(&rng, n, 5);
        if (n == 100) x.x[3] = -INFINITY, x.x[50] = -1e30f;
        double sum = 0, max = -HUGE_VAL;
        for (int64_t i = 0; i < n; i++) max = fmax(max, (double)x.x[i]);
        for (int64_t i = 0; i < n; i++) sum += exp((double)x.x[i] - max);
        EACH_ISA(k)
            for (int64_t t = 0; t < n; t += 1 + n / 50)
                check((double)cross_entropy(x.x, n, t), log(sum) + max - (double)x.x[t], 2e-7, "cross_entropy");
        EACH_ISA(k) if (n == 100) assert_true(cross_entropy(x.x, n, 3) == INFINITY);
        row_free(&x);
    }
    EACH_ISA(k) {
        float huge[] = { 3e38f, -3e38f, 3e38f, 0 }, none[] = { -INFINITY, -INFINITY }, bad[] = { 1, NAN, 2 };
        check((double)cross_entropy(huge, 4, 0), log(2), 1e-7, "huge logits");
        check((double)cross_entropy(huge, 4, 3), (double)3e38f, 1e-7, "huge logits");
        assert_true(cross_entropy(huge, 4, 1) == INFINITY); /* 6e38 is beyond f32 */
        assert_true(cross_entropy(none, 2, 0) == INFINITY);
        assert_true(isnan(cross_entropy(bad, 3, 0)));
    }
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

/* Long arrays are cut into pieces for the threads: no byte may depend on how many there are. */
static void threads(void **state)
{
    (void)state;
    enum { ROWS = 301, WIDTH = 577, N = ROWS * WIDTH };
    struct rng rng;
    rng_seed(&rng, 6, 1);
    struct row x = row_random(&rng, N, 1), other = row_random(&rng, N, 1), w = row_random(&rng, WIDTH, 1);
    EACH_ISA(k) {
        struct row first = row_new(N);
        for (int t = 1; t <= 3; t++) {
            omp_set_num_threads(t);
            struct row y = row_copy(&x);
            rms_norm(y.x, x.x, w.x, 1e-6f, ROWS, WIDTH);
            layer_norm(y.x, y.x, w.x, w.x, 1e-6f, ROWS, WIDTH);
            add_bias(y.x, w.x, ROWS, WIDTH);
            add_to(y.x, other.x, N);
            activate(y.x, ACT_GELU_ERF, N);
            activate_gated(y.x, other.x, ACT_SILU, N);
            soft_cap(y.x, 3, N);
            scale_by(y.x, 1.1f, N);
            round_to(y.x, ROUND_BF16, N);
            if (t == 1) memcpy(first.x, y.x, N * sizeof(float));
            assert_memory_equal(first.x, y.x, N * sizeof(float));
            row_free(&y);
        }
        row_free(&first);
    }
    row_free(&x), row_free(&other), row_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms),     cmocka_unit_test(sums_and_scales), cmocka_unit_test(exponential),
        cmocka_unit_test(activations), cmocka_unit_test(soft_caps),     cmocka_unit_test(angles),
        cmocka_unit_test(turns),     cmocka_unit_test(rounding),        cmocka_unit_test(entropy),
        cmocka_unit_test(threads),
    };
    return cmocka_run_group_tests_name("kernels/rows", tests, NULL, NULL);
}
