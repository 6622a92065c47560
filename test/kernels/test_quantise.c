/* Writing number formats: the reference's bytes, errors within half a step, what does not fit. */
#include "kernels/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
enum { N = 256 };

static const char *golden_path;

static void gives_the_bytes_of_the_reference(void **state)
{
    (void)state;
    static const enum dtype types[] = {DT_Q8_0, DT_Q4_0, DT_Q4_1};
    float x[N];
    FILE *f = fopen(golden_path, "rb");
    assert_true(f && fread(x, sizeof x, 1, f) == 1);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        uint8_t expected[N * 4];
        uint16_t row[N * 2];
        size_t n = (size_t)dtype_row_bytes(types[i], N);
        assert_int_equal(fread(expected, 1, n, f), n);
        assert_true(quantise_row(types[i], row, x, N));
        assert_memory_equal(row, expected, n);
    }
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
}

/* Largest |x - w| over a row, w being what is read back. */
static double worst_error(enum dtype type, const float *x)
{
    uint16_t row[N * 2];
    float back[N];
    assert_true(quantise_row(type, row, x, N));
    const struct weight w = {.type = type, .data = row, .n_out = 1, .n_in = N};
    weight_row(back, &w, 0);
    double worst = 0;
    for (int i = 0; i < N; i++) worst = fmax(worst, fabs((double)x[i] - (double)back[i]));
    return worst;
}

static void keeps_within_half_a_step(void **state)
{
    (void)state;
    float x[N];
    uint64_t random = 1;
    for (int i = 0; i < N; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(random >> 40) * 0x1p-23f - 1;   /* [-1, 1) */
    }
    assert_true(worst_error(DT_F32, x) == 0);
    assert_true(worst_error(DT_F16, x) <= 0x1p-12);
    assert_true(worst_error(DT_BF16, x) <= 0x1p-9);
    /* Half a step and the rounding of the scale to f16, 2^-11 of the largest entry. */
    assert_true(worst_error(DT_Q8_0, x) <= 0.5 / 127 + 0x1p-11);
    assert_true(worst_error(DT_Q4_1, x) <= 0.5 * 2 / 15 + 3 * 0x1p-11);
    /* Steps of 1/8; the end opposite the largest entry is cut off, by at most one step. */
    assert_true(worst_error(DT_Q4_0, x) <= 1.0 / 8 + 0x1p-11);
    assert_true(worst_error(DT_Q4_0, x) > 0.5 / 15);
}

static void writes_again_what_it_wrote(void **state)
{
    (void)state;
    static const enum dtype types[] = {DT_F16, DT_BF16, DT_Q8_0, DT_Q4_1};
    float x[N], back[N];
    for (int i = 0; i < N; i++) x[i] = sinf((float)i * 0.7f) * (float)(1 + i / 32);
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        uint16_t row[N * 2];
        assert_true(quantise_row(types[i], row, x, N));
        const struct weight w = {.type = types[i], .data = row, .n_out = 1, .n_in = N};
        weight_row(back, &w, 0);
        double step = types[i] == DT_F16 || types[i] == DT_BF16 ? 0 : 8.0 / 127;
        assert_true(worst_error(types[i], back) <= step * 0.02);
    }
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    float x[N] = {0};
    uint16_t row[N * 2];
    for (int t = 0; t < DT_COUNT; t++) {
        assert_int_equal(quantise_row((enum dtype)t, row, x, N), dtype_can_write((enum dtype)t));
        if (!dtype_can_write((enum dtype)t)) continue;
        static const float bad[] = {INFINITY, -INFINITY, NAN};
        for (size_t i = 0; i < COUNT_OF(bad); i++) {
            x[77] = bad[i];
            assert_false(quantise_row((enum dtype)t, row, x, N));
        }
        x[77] = 3e38f;
        assert_int_equal(quantise_row((enum dtype)t, row, x, N), t == DT_F32 || t == DT_BF16);
        x[77] = 3.4e38f;   /* rounds up to infinity in bf16 */
        assert_int_equal(quantise_row((enum dtype)t, row, x, N), t == DT_F32);
        x[77] = 1e-45f;    /* a scale that f16 makes zero */
        assert_true(quantise_row((enum dtype)t, row, x, N));
        x[77] = 65500;
        assert_true(quantise_row((enum dtype)t, row, x, N));
        x[77] = 0;
    }
}

int main(int argc, char **argv)
{
    golden_path = argc > 1 ? argv[1] : "quantised.bin";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_bytes_of_the_reference),
        cmocka_unit_test(keeps_within_half_a_step),
        cmocka_unit_test(writes_again_what_it_wrote),
        cmocka_unit_test(refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
