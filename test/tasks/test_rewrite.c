/* Rewriting against its definition: texts written down, and the way back for random ones. */
#include "test/test.h"

#include "base/base.h"
#include "snellen.h"

#include <string.h>

static char *rewrite(const char *text, const snellen_rewrite_options *o, char **notes)
{
    snellen_rewritten *r;
    MUST(snellen_rewrite(text, strlen(text), o, &r, err));
    assert_int_equal(r->n, strlen(r->text));
    char *copy = strdup(r->text);
    if (notes) *notes = strdup(r->notes);
    snellen_rewritten_free(r);
    return copy;
}

static void becomes(const char *cures, const char *text, const char *expected)
{
    snellen_rewrite_options o = snellen_rewrite_options_default();
    o.cures = cures;
    char *got = rewrite(text, &o, NULL);
    assert_string_equal(got, expected);
    free(got);
}

static void test_groups(void **state)
{
    (void)state;
    becomes("groups", "1234567 and 123456", "123,456,7 and 123456");
    becomes("groups", "x123456789y\n", "x123,456,789y\n");
    becomes("groups", "", "");
    snellen_rewrite_options o = snellen_rewrite_options_default();
    o.every = 1;
    o.longer = 1;
    o.separator = " ";
    char *got = rewrite("7 20 305", &o, NULL);
    assert_string_equal(got, "7 2 0 3 0 5");
    free(got);
}

static void test_fives(void **state)
{
    (void)state;
    becomes("fives", "1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + 1.", "(1 + 1 + 1 + 1 + 1) + (1 + 1 + 1 + 1 + 1) + (1).");
    becomes("fives", "car car car car car car car car car car", "(car car car car car) (car car car car car)");
    becomes("fives", "a a a a a a a a a", "a a a a a a a a a");                      /* nine */
    becomes("fives", "a a a a a a a a a aa", "a a a a a a a a a aa");                /* nine and another word */
    becomes("fives", "a a a a a, a a a a a", "a a a a a, a a a a a");                /* other signs between */
    becomes("fives", "so 1,1,1,1,1,1,1,1,1,1,1\n1", "so (1,1,1,1,1),(1,1,1,1,1),(1)\n1");
}

static void test_names(void **state)
{
    (void)state;
    snellen_rewrite_options o = snellen_rewrite_options_default();
    o.cures = "names";
    char *notes, *got = rewrite("To do:\n- milk\n  2) bread\r\n*bold*\n-\nend", &o, &notes);
    char first[32], second[32], expected[128];
    assert_int_equal(sscanf(got, "To do:\n- [%31[a-z]] milk\n  2) [%31[a-z]] bread", first, second), 2);
    assert_true(strcmp(first, second));
    snprintf(expected, sizeof expected, "To do:\n- [%s] milk\n  2) [%s] bread\r\n*bold*\n-\nend", first, second);
    assert_string_equal(got, expected);
    char answer[128], *text;
    size_t n;
    snprintf(answer, sizeof answer, "[%s], then [%s] bread; [other] [", first, second);
    MUST(snellen_rewrite_undo(notes, answer, strlen(answer), &text, &n, err));
    assert_string_equal(text, "milk, then bread; [other] [");
    snellen_free(text);
    free(got);
    free(notes);
}

static void test_steps(void **state)
{
    (void)state;
    becomes("steps", "Count.", "Count. Let's think step by step, showing me your reasoning.");
    becomes("steps", "Count.\n", "Count.\nLet's think step by step, showing me your reasoning.\n");
}

/* Random lists of random numbers and words: what was rewritten and comes back in an answer is the text. */
static void test_way_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 5, 0);
    for (int i = 0; i < 2000; i++) {
        char text[400];
        size_t n = 0, lines = rng_below(&rng, 8);
        for (size_t line = 0; line < lines; line++) {
            n += (size_t)sprintf(text + n, "%s", (const char *const[]){"- ", "12. ", "", " * "}[rng_below(&rng, 4)]);
            for (size_t k = rng_below(&rng, 24); k; k--) text[n++] = "0123456789ab, "[rng_below(&rng, 14)];
            text[n++] = '\n';
        }
        text[n] = 0;
        snellen_rewrite_options o = snellen_rewrite_options_default();
        o.cures = "groups,names";
        o.separator = "_";
        o.every = 1 + (int64_t)rng_below(&rng, 4);
        o.longer = o.every + (int64_t)rng_below(&rng, 4);   /* shorter ones have no group to know them by */
        o.seed = (uint64_t)i;
        char *notes, *got = rewrite(text, &o, &notes), *back;
        size_t n_back;
        MUST(snellen_rewrite_undo(notes, got, strlen(got), &back, &n_back, err));
        assert_int_equal(n_back, n);
        assert_string_equal(back, text);
        snellen_free(back);
        free(got);
        free(notes);
    }
}

static void refused(const snellen_rewrite_options *o, const char *part)
{
    snellen_rewritten *r = NULL;
    snellen_error err;
    assert_int_equal(snellen_rewrite("x", 1, o, &r, &err), SNELLEN_E_USAGE);
    assert_null(r);
    assert_non_null(strstr(err.message, part));
}

static void test_refusals(void **state)
{
    (void)state;
    snellen_rewrite_options o = snellen_rewrite_options_default();
    o.cures = "groups,colours";
    refused(&o, "colours");
    o = snellen_rewrite_options_default();
    o.separator = "a1";
    refused(&o, "a1");
    o = snellen_rewrite_options_default();
    o.every = 0;
    refused(&o, "every 0");
    snellen_error err;
    char *text = NULL;
    size_t n;
    static const char *const notes[] = {"", "{", "[]", "{\"separator\": \",\"}", "{\"separator\": \",\", \"every\": 0, \"names\": {}}"};
    for (size_t i = 0; i < COUNT_OF(notes); i++)
        assert_int_equal(snellen_rewrite_undo(notes[i], "x", 1, &text, &n, &err), SNELLEN_E_FORMAT);
    assert_null(text);
}

/* More items than there are words. */
static void test_long_list(void **state)
{
    (void)state;
    char text[4 * 241 + 1] = "";
    for (int i = 0; i < 241; i++) memcpy(text + 4 * i, "- x\n", 5);
    snellen_rewrite_options o = snellen_rewrite_options_default();
    o.cures = "names";
    snellen_rewritten *r = NULL;
    snellen_error err;
    assert_int_equal(snellen_rewrite(text, strlen(text), &o, &r, &err), SNELLEN_E_USAGE);
    text[4 * 240] = 0;
    free(rewrite(text, &o, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_groups),   cmocka_unit_test(test_fives),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_steps),    cmocka_unit_test(test_way_back), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_long_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
