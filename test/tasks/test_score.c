/* Intervals against tables, the number in an answer's text, cells and where a model goes blind. */
#include "test/test.h"

#include "tasks/tasks.h"

static void assert_near(double got, double want, double tolerance)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.9g, %.9g expected", got, want);
}

static void test_student_t(void **state)
{
    (void)state;
    /* Quantiles as printed in tables, five decimals. */
    static const struct { uint32_t df; double t; } table[] = {
        {1, 12.70620}, {2, 4.30265}, {3, 3.18245}, {4, 2.77645}, {5, 2.57058}, {9, 2.26216}, {10, 2.22814},
        {19, 2.09302}, {30, 2.04227}, {99, 1.98422}, {100, 1.98397}, {1000, 1.96234},
    };
    for (size_t i = 0; i < COUNT_OF(table); i++) assert_near(student_t_975(table[i].df), table[i].t, 6e-6);
}

static void test_mean_interval(void **state)
{
    (void)state;
    /* 1 2 3 4: mean 2.5, standard deviation sqrt(5/3), t(3) = 3.18245. */
    const double values[] = {1, 2, 3, 4};
    double mean, low, high;
    mean_interval(values, 4, &mean, &low, &high);
    assert_near(mean, 2.5, 1e-12);
    assert_near(high - 2.5, 3.18244631 * sqrt(5.0 / 3) / 2, 1e-6);
    assert_near(2.5 - low, high - 2.5, 1e-12);
    mean_interval(values + 2, 1, &mean, &low, &high);
    assert_true(mean == 3 && low == 3 && high == 3);
}

static void test_wilson(void **state)
{
    (void)state;
    double low, high;
    wilson_interval(5, 10, &low, &high);
    assert_near(low, 0.236593, 1e-6);
    assert_near(high, 0.763407, 1e-6);
    wilson_interval(0, 20, &low, &high);
    assert_near(low, 0, 0);
    assert_near(high, 0.161125, 1e-6);
    wilson_interval(20, 20, &low, &high);
    assert_near(low, 0.838875, 1e-6);
    assert_near(high, 1, 0);
    wilson_interval(0, 0, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

/* Bonett and Price's formula by hand for 30 of 100 against 15: gained 22, lost 7. */
static void test_paired(void **state)
{
    (void)state;
    double low, high;
    paired_interval(22, 7, 100, &low, &high);
    double a = 23.0 / 102, b = 8.0 / 102, half = 1.9599640 * sqrt((a + b - (a - b) * (a - b)) / 102);
    assert_near(low, 15.0 / 102 - half, 1e-6);
    assert_near(high, 15.0 / 102 + half, 1e-6);
    assert_true(low > 0.0435 && low < 0.0445 && high > 0.249 && high < 0.2505);
    paired_interval(7, 22, 100, &a, &b);
    assert_near(a, -high, 1e-12);
    assert_near(b, -low, 1e-12);
    paired_interval(0, 0, 20, &low, &high);   /* nothing seen is not nothing known */
    assert_near(low, -high, 1e-12);
    assert_true(high > 0.1 && high < 0.2);
    paired_interval(10, 0, 10, &low, &high);
    assert_near(high, 1, 0);
    assert_true(low > 0.5);
    paired_interval(0, 0, 0, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

static void test_number_in_answer(void **state)
{
    (void)state;
    static const char frame[] = "The final answer to your maths question is: ";
    static const struct { const char *text; enum number_state state; int64_t number; } cases[] = {
        {"", NUMBER_NONE, 0},
        {"no idea", NUMBER_NONE, 0},
        {"The final answer to your maths question is: 12", NUMBER_OPEN, 12},
        {"The final answer to your maths question is: 12.", NUMBER_FINAL, 12},
        {"The final answer to your maths question is:12\n", NUMBER_FINAL, 12},
        {"The final answer to your maths question is: **'12'**", NUMBER_FINAL, 12},
        {"The final answer to your maths question is: xxxx", NUMBER_NONE, 0},
        {"The final answer to your maths question is: 5, no: The final answer to your maths question is: 7.",
         NUMBER_FINAL, 7},
        {"The final answer to your maths question is: 5. The final answer to your maths question is: unknown 9",
         NUMBER_FINAL, 5},
        {"5 + 5 = 10 and 3 is 13 in all", NUMBER_LOOSE, 13},
        {"the sum is 1,234", NUMBER_LOOSE, 1234},
        {"111,111,0", NUMBER_LOOSE, 0},
        {"1,2", NUMBER_LOOSE, 2},
        {"007", NUMBER_LOOSE, 7},
        {"3 then 1111111111111111111111111111111111111", NUMBER_LOOSE, 3},
        {"The final answer to your maths question is: 1111111111111111111111111111", NUMBER_NONE, 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t number = 0;
        assert_int_equal(number_in_answer(cases[i].text, frame, &number), cases[i].state);
        if (cases[i].state != NUMBER_NONE) assert_int_equal(number, cases[i].number);
    }
}

/* Answers of `n` prompts at a length, the first n_positive with a positive margin. */
static void add_answers(snellen_task_result *r, int64_t length, uint32_t n, uint32_t n_positive)
{
    for (uint32_t i = 0; i < n; i++)
        r->answers[r->n_answers++] = (snellen_answer){.length = length, .prompt = i, .expected = 10,
                                                      .margin = i < n_positive ? 2 : -1, .generated = i < 3,
                                                      .parsed = i < 2, .got = i ? 13 : 10};
}

static void test_cells(void **state)
{
    (void)state;
    snellen_answer answers[64];
    snellen_task_result r = {.answers = answers};
    add_answers(&r, 10, 4, 1);  /* blind, but sees again at 20 */
    add_answers(&r, 20, 4, 3);
    add_answers(&r, 30, 4, 2);  /* half of the prompts: blind */
    add_answers(&r, 40, 4, 0);
    MUST(score_cells(&r, err));
    assert_int_equal(r.n_cells, 4);
    assert_int_equal(r.blind_at, 30);
    const snellen_cell *c = &r.cells[1];
    assert_int_equal(c->length, 20);
    assert_int_equal(c->n, 4);
    assert_int_equal(c->n_positive, 3);
    assert_near(c->margin, 1.25, 1e-12);
    assert_near(c->margin_high - c->margin, 3.18244631 * 1.5 / 2, 1e-6);
    assert_int_equal(c->n_generated, 3);
    assert_int_equal(c->n_right, 1);
    assert_near(c->abs_error, 1.5, 1e-12);
    mem_free(r.cells);

    r = (snellen_task_result){.answers = answers};
    add_answers(&r, 5, 2, 2);
    MUST(score_cells(&r, err));
    assert_int_equal(r.blind_at, -1);
    mem_free(r.cells);

    r = (snellen_task_result){.answers = answers};
    MUST(score_cells(&r, err));
    assert_int_equal(r.n_cells, 0);
    assert_int_equal(r.blind_at, -1);
    mem_free(r.cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_student_t), cmocka_unit_test(test_mean_interval), cmocka_unit_test(test_wilson), cmocka_unit_test(test_paired),
        cmocka_unit_test(test_number_in_answer), cmocka_unit_test(test_cells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
