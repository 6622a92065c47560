/* The measures of collapse on vectors whose distances are known, and the judgement over lengths. */
#include "test/test.h"

#include "probe/probe.h"

static void test_distances(void **state)
{
    (void)state;
    const float v[6] = {1, -2, 3, 0, 0, 4}, w[6] = {1, -2.5f, 1, 0, 0.25f, 4};
    snellen_collapse_row row = {0};
    collapse_measure(v, w, 6, 2, &row);
    assert_true(row.linf_min == 0.25 && row.linf_max == 2 && row.linf_mean == 1.125);
    assert_true(row.l1 == 2.75);
    assert_true(fabs(row.mean_abs - 2.75 / 6) < 1e-15);
    assert_true(fabs(row.relative - 2.75 / 10) < 1e-15);
    assert_false(row.bit_equal);
    collapse_measure(v, v, 6, 3, &row);
    assert_true(row.bit_equal && row.l1 == 0 && row.linf_max == 0 && row.relative == 0);
}

/* Seven elements and three heads: slices of 2, 2 and 3; every element belongs to one. */
static void test_uneven_heads(void **state)
{
    (void)state;
    const float zero[7] = {0};
    for (int i = 0; i < 7; i++) {
        float w[7] = {0};
        w[i] = 3;
        snellen_collapse_row row = {0};
        collapse_measure(zero, w, 7, 3, &row);
        assert_true(row.linf_mean == 1 && row.linf_min == 0 && row.linf_max == 3);
        assert_true(row.relative == 0); /* v is zero */
    }
}

/* Equal values are not equal bits. */
static void test_bits(void **state)
{
    (void)state;
    const float v[2] = {0.0f, 1}, w[2] = {-0.0f, 1};
    snellen_collapse_row row = {0};
    collapse_measure(v, w, 2, 1, &row);
    assert_true(row.l1 == 0);
    assert_false(row.bit_equal);
}

static void test_nan(void **state)
{
    (void)state;
    const float v[4] = {1, 2, 3, 4}, w[4] = {1, NAN, 3, 4};
    snellen_collapse_row row = {0};
    collapse_measure(v, w, 4, 2, &row);
    assert_true(isnan(row.linf_mean) && isnan(row.linf_min) && isnan(row.linf_max) && isnan(row.l1) &&
                isnan(row.mean_abs) && isnan(row.relative));
    assert_false(row.bit_equal);
}

static void test_predictions(void **state)
{
    (void)state;
    float a[3] = {0, (float)log(2), -INFINITY}, b[3] = {100, 100, -INFINITY};
    snellen_collapse_row row = {0};
    collapse_predictions(a, b, 3, &row); /* (1/3, 2/3, 0) and (1/2, 1/2, 0) */
    assert_true(fabs(row.shift - 1.0 / 6) < 1e-7);
    assert_false(row.same_logits || row.same_top);
    collapse_predictions(b, b, 3, &row);
    assert_true(row.same_logits && row.same_top && row.shift == 0);
}

static void judge(const double *linf, const bool *equal, size_t n, uint32_t n_prompts, snellen_collapse *c)
{
    static snellen_collapse_row rows[64];
    c->rows = rows;
    c->n_rows = 0;
    for (uint32_t prompt = 0; prompt < n_prompts; prompt++)
        for (size_t i = 0; i < n; i++)
            for (int64_t layer = 0; layer < 2; layer++) /* layer 0 must not count */
                rows[c->n_rows++] = (snellen_collapse_row){
                    .n = (int64_t)(10 * (i + 1)), .prompt = prompt, .layer = layer,
                    .linf_mean = layer ? linf[i] : 0, .bit_equal = layer ? equal[prompt * n + i] : true};
    collapse_judge(c, 1);
}

static void test_judgement(void **state)
{
    (void)state;
    const double line = 1.0 / 128;
    const bool none[8] = {0};
    snellen_collapse c = {0};
    judge((double[]){1, 0.1, 0.001, 0.0001}, none, 4, 1, &c);
    assert_int_equal(c.faint_at, 30);
    assert_int_equal(c.blind_at, -1);
    judge((double[]){1, 0.001, 0.5, 0.0001}, none, 4, 1, &c); /* it recovers once: only the end counts */
    assert_int_equal(c.faint_at, 40);
    judge((double[]){0.001, 0.001, 0.001, line}, none, 4, 1, &c); /* the line itself is not below it */
    assert_int_equal(c.faint_at, -1);
    judge((double[]){0, 0, 0, 0}, (bool[]){true, true, true, true}, 4, 1, &c);
    assert_int_equal(c.faint_at, 10);
    assert_int_equal(c.blind_at, 10);
    /* Two prompts: blind only where both are. */
    judge((double[]){1, 1, 1, 1}, (bool[]){false, true, true, true, false, false, true, true}, 4, 2, &c);
    assert_int_equal(c.blind_at, 30);
    judge((double[]){1, 1, 1, NAN}, none, 4, 1, &c);
    assert_int_equal(c.faint_at, -1);
}

static void test_wordings(void **state)
{
    (void)state;
    snellen_collapse_sequence sequence;
    size_t n = 0;
    for (; snellen_collapse_list(n, &sequence); n++) {
        const struct collapse_kind *kind = collapse_kind_find(sequence.name);
        assert_non_null(kind);
        char *texts[COLLAPSE_WORDINGS];
        for (uint32_t i = 0; i < COLLAPSE_WORDINGS; i++) {
            MUST(collapse_wording(kind, i, &texts[i], err));
            for (uint32_t j = 0; j < i; j++) assert_string_not_equal(texts[i], texts[j]);
            assert_int_equal(texts[i][strlen(texts[i]) - 1], ' ');
        }
        assert_string_equal(texts[0], kind->prompt);
        for (uint32_t i = 0; i < COLLAPSE_WORDINGS; i++) snellen_free(texts[i]);
    }
    assert_int_equal(n, 5);
    assert_null(collapse_kind_find("twos"));
}

static void test_commas(void **state)
{
    (void)state;
    assert_int_equal(collapse_tokens_before(5, 0), 5);
    assert_int_equal(collapse_tokens_before(0, 3), 0);
    assert_int_equal(collapse_tokens_before(2, 3), 2);
    assert_int_equal(collapse_tokens_before(3, 3), 4); /* 111, */
    assert_int_equal(collapse_tokens_before(7, 3), 9); /* 111,111,1 */
    assert_int_equal(collapse_tokens_before(3, 1), 6);
}

static double ranks(const double *a, const double *b, int64_t n)
{
    double r;
    MUST(rank_correlation(a, b, n, &r, err));
    return r;
}

static void test_rank_correlation(void **state)
{
    (void)state;
    const double up[] = {1, 2, 30, 400}, down[] = {9, 5, 1, -7}, mixed[] = {2, 1, 4, 3}, flat[] = {5, 5, 5, 5};
    const double tied[] = {1, 2, 2, 3};
    assert_true(fabs(ranks(up, up, 4) - 1) < 1e-12 && fabs(ranks(up, down, 4) + 1) < 1e-12);
    assert_true(fabs(ranks(up, mixed, 4) - 0.6) < 1e-12);              /* 1 - 6 sum d^2 / (n (n^2 - 1)), sum d^2 = 4 */
    assert_true(fabs(ranks(up, tied, 4) - 4.5 / sqrt(5 * 4.5)) < 1e-12);  /* ranks 1, 2.5, 2.5, 4 */
    assert_true(isnan(ranks(up, flat, 4)) && isnan(ranks(up, up, 1)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distances), cmocka_unit_test(test_uneven_heads), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_nan),       cmocka_unit_test(test_predictions),  cmocka_unit_test(test_judgement),
        cmocka_unit_test(test_wordings),  cmocka_unit_test(test_commas),      cmocka_unit_test(test_rank_correlation),
    };
    return cmocka_run_group_tests_name("measure", tests, NULL, NULL);
}
