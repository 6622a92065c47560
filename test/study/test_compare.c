/* Runs side by side against arithmetic written out. The database is a stand-in: three runs with a few numbers. */
#include "test/test.h"

#include "base/base.h"
#include "snellen.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NUMBER(subject_, length_, prompt_, value_)                                                                     \
    {.subject = (subject_), .cure = "", .style = "", .precision = "f32", .length = (length_), .prompt = (prompt_),     \
     .layer = -1, .metric = "margin", .value = (value_)}

static const snellen_number first[] = {NUMBER("count", 10, 0, 1.0), NUMBER("count", 10, 1, 2.0), NUMBER("count", 10, 3, 7.0),
                                       NUMBER("copy", 5, 0, 4.0), NUMBER("nan", 5, 0, (double)NAN)};
static const snellen_number second[] = {NUMBER("count", 10, 3, 5.0), NUMBER("count", 10, 0, 2.0), NUMBER("count", 10, 1, 6.0),
                                        NUMBER("count", 10, 9, 100.0), NUMBER("count", 20, 0, 3.0)};
static const snellen_number third[] = {NUMBER("copy", 5, 0, -1.0)};

snellen_status snellen_runs_show(const char *database, int64_t id, snellen_run **run, snellen_number **numbers, size_t *n,
                                 snellen_error *err)
{
    (void)database;
    const struct { const snellen_number *x; size_t n; } runs[] = {{first, COUNT_OF(first)}, {second, COUNT_OF(second)},
                                                                  {third, COUNT_OF(third)}};
    FAIL_IF(id < 1 || id > 3, SNELLEN_E_USAGE, "no run %lld", (long long)id);
    *n = runs[id - 1].n;
    *run = calloc(1, sizeof **run);
    *numbers = malloc(*n * sizeof **numbers);
    memcpy(*numbers, runs[id - 1].x, *n * sizeof **numbers);
    return SNELLEN_OK;
}

static void near(double a, double b) { assert_true(fabs(a - b) < 1e-9); }

static void test_rows(void **state)
{
    (void)state;
    const int64_t ids[] = {1, 2, 3};
    snellen_comparison *rows;
    size_t n;
    MUST(snellen_runs_compare(NULL, ids, 3, &rows, &n, err));
    assert_int_equal(n, 3);   /* copy 5, count 10, count 20; what is no number is left out */
    assert_string_equal(rows[0].subject, "copy");
    assert_int_equal(rows[0].runs[1].n, 0);
    assert_true(isnan(rows[0].runs[1].mean) && isnan(rows[0].runs[1].difference));
    assert_int_equal(rows[0].runs[2].n_pairs, 1);
    near(rows[0].runs[2].difference, -5);
    assert_true(isnan(rows[0].runs[2].low));
    assert_string_equal(rows[1].subject, "count");
    assert_int_equal(rows[1].length, 10);
    const snellen_compared *a = &rows[1].runs[0], *b = &rows[1].runs[1];
    assert_int_equal(a->n, 3);
    near(a->mean, 10.0 / 3);
    assert_true(isnan(a->difference));
    assert_int_equal(b->n, 4);
    near(b->mean, 113.0 / 4);
    assert_int_equal(b->n_pairs, 3);   /* prompts 0, 1 and 3: 1, 4 and -2 */
    near(b->difference, 1);
    double half = 4.30265272974946 * 3 / sqrt(3);   /* t of two degrees of freedom, standard deviation 3 */
    assert_true(fabs(b->low - (1 - half)) < 1e-6 && fabs(b->high - (1 + half)) < 1e-6);
    assert_int_equal(rows[2].length, 20);
    assert_int_equal(rows[2].runs[0].n, 0);
    assert_int_equal(rows[2].runs[1].n_pairs, 0);
    snellen_free(rows);
}

static void test_refusals(void **state)
{
    (void)state;
    const int64_t ids[] = {1, 4};
    snellen_comparison *rows = NULL;
    size_t n;
    snellen_error err;
    assert_int_equal(snellen_runs_compare(NULL, ids, 1, &rows, &n, &err), SNELLEN_E_USAGE);
    assert_int_equal(snellen_runs_compare(NULL, ids, 2, &rows, &n, &err), SNELLEN_E_USAGE);
    assert_null(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
