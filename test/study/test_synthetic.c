/* Attention over random numbers against what can be worked out by hand. */
#include "test/test.h"

#include "study/synthetic.h"

enum { DRAWS = 40 };

static double mean_l1(const struct synthetic_layer *layer, int64_t n)
{
    double sum = 0;
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        struct synthetic_distance d;
        MUST(synthetic_repeat(layer, n, seed, &d, err));
        assert_true(d.linf <= d.l1 && d.linf >= d.l1 / SYNTHETIC_WIDTH);
        sum += d.l1 / DRAWS;
    }
    return sum;
}

/* Nearly equal weights: y moves by (v_n - y) / (n + 1), whose 64 entries of size 1/8 sum to 64 sqrt(2 / pi) / 8 / n = 6.4 / n. */
static void test_falls_as_one_over_n(void **state)
{
    (void)state;
    static const struct synthetic_layer plain = {.positions = SYNTHETIC_NONE}, rotary = {.positions = SYNTHETIC_ROTARY},
                                        projected = {.positions = SYNTHETIC_NONE, .projected = true};
    for (int64_t n = 100; n <= 3000; n *= 5) {
        assert_true(fabs(mean_l1(&plain, n) * (double)n / 6.38 - 1) < 0.1);
        assert_true(fabs(mean_l1(&rotary, n) * (double)n / 6.38 - 1) < 0.1);
        assert_true(fabs(mean_l1(&projected, n) * (double)n / 6.38 - 1) < 0.15);
    }
}

/* Of slope m about the last 1 / m tokens are seen: beyond them the length does not matter, and the other tokens are never
 * asked about. */
static void test_alibi_ends_the_fall(void **state)
{
    (void)state;
    const struct synthetic_layer layer = {.positions = SYNTHETIC_ALIBI, .slope = 1.0 / 8, .projected = true};
    double far = mean_l1(&layer, 2000), near = mean_l1(&layer, 200);
    assert_true(fabs(far / near - 1) < 0.25 && far > 10 * 6.4 / 2000);
}

/* A residual path alone changes nothing: it adds the same vector to both. A norm behind scales it. */
static void test_residual_and_norm(void **state)
{
    (void)state;
    struct synthetic_layer layer = {.positions = SYNTHETIC_SINUSOIDAL};
    struct synthetic_distance bare, residual, normed;
    MUST(synthetic_repeat(&layer, 50, 3, &bare, err));
    layer.residual = true;
    MUST(synthetic_repeat(&layer, 50, 3, &residual, err));
    layer.norm = true;
    MUST(synthetic_repeat(&layer, 50, 3, &normed, err));
    assert_true(fabs(bare.l1 - residual.l1) < 1e-12);
    assert_true(normed.l1 > 2 * residual.l1);
    MUST(synthetic_repeat(&layer, 50, 3, &bare, err));
    assert_true(bare.l1 == normed.l1);   /* same seed, same numbers */
}

/* The noise moves the first 200 entries by 5 % in the mean: a share f of all weights moves by 2 * 0.05 f (1 - f) or more, the
 * rest being what the entries' noises differ by. */
static void test_softmax(void **state)
{
    (void)state;
    static const int64_t lengths[] = {500, 10000};
    static const double paper[] = {0.026, 0.002};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        double sum = 0, share = 200.0 / (double)lengths[i], v;
        for (uint64_t seed = 0; seed < DRAWS; seed++) {
            MUST(synthetic_softmax(lengths[i], seed, &v, err));
            sum += v / DRAWS;
        }
        assert_true(sum > 0.98 * 0.1 * share * (1 - share) && fabs(sum / paper[i] - 1) < 0.05);
    }
    double none;
    snellen_error error;
    assert_int_equal(synthetic_softmax(0, 1, &none, &error), SNELLEN_E_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_falls_as_one_over_n),
        cmocka_unit_test(test_alibi_ends_the_fall),
        cmocka_unit_test(test_residual_and_norm),
        cmocka_unit_test(test_softmax),
    };
    return cmocka_run_group_tests_name("synthetic", tests, NULL, NULL);
}
