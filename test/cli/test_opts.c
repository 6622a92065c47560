/* The option parser: what it takes, what it refuses and how it says so, and that the help tells the same. */
#include "cli/opts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int no_run(int argc, char **argv)
{
    return argc + (argv != NULL);
}

static const struct verb verb_t = { .name = "t", .summary = "a verb for tests", .run = no_run,
                                    .usage = "MODEL [FILE] [options]", .args = "MODEL FILE", .min_args = 1,
                                    .max_args = 2, .examples = { "snellen t m", "snellen t m f" } };

struct values {
    bool flag;
    const char *text, *choice;
    int64_t number;
    uint64_t seed;
    double real;
    struct int_list list;
};

enum { N_OPTIONS = 9 };

struct outcome {
    snellen_status status;
    bool help;
    snellen_error err;
    const char *args[2];
    struct values v;
};

/* Parses words (NULL ended, without the verb's name). */
static struct outcome parse(const char *const *words)
{
    struct outcome o = { .v = { .choice = "full", .number = 7, .seed = 1, .real = 0.5 } };
    const struct opt table[N_OPTIONS] = {
        OPT_GROUP("first"),
        OPT_FLAG('q', "quiet", &o.v.flag, "says nothing"),
        OPT_TEXT('p', "prompt", "TEXT", &o.v.text, "text"),
        OPT_CHOICE(0, "memory", "KIND", &o.v.choice, "full swa sink", "kind of memory"),
        OPT_GROUP("second"),
        OPT_INT('n', "predict", "N", &o.v.number, 1, 4096, "how many"),
        OPT_SEED(0, "seed", "N", &o.v.seed, "seed"),
        OPT_REAL(0, "temp", "T", &o.v.real, 0, 5, "temperature"),
        OPT_INTS(0, "lengths", "N,..", &o.v.list, 0, 10000, "lengths", .shown = "the task's own"),
    };
    char name[] = "t";
    char *argv[32] = { name };
    int argc = 1;
    while (words[argc - 1]) {
        argv[argc] = strdup(words[argc - 1]);
        assert_non_null(argv[argc]);
        argc++;
    }
    o.status = opts_read(&verb_t, table, N_OPTIONS, argc, argv, o.args, &o.help, &o.err);
    /* Texts point into argv: kept for the test's short life through static storage. */
    static char kept[3][64];
    const char **texts[3] = { &o.args[0], &o.args[1], &o.v.text };
    for (int i = 0; i < 3; i++)
        if (*texts[i]) {
            snprintf(kept[i], sizeof(kept[i]), "%s", *texts[i]);
            *texts[i] = kept[i];
        }
    if (o.status == SNELLEN_OK && strcmp(o.v.choice, "full"))
        o.v.choice = !strcmp(o.v.choice, "swa") ? "swa" : !strcmp(o.v.choice, "sink") ? "sink" : "other";
    for (int i = 1; i < argc; i++) free(argv[i]);
    return o;
}
#define PARSE(...) parse((const char *const[]){ __VA_ARGS__, NULL })

static void refused(struct outcome o, const char *expected)
{
    assert_int_equal(o.status, SNELLEN_E_USAGE);
    if (!strstr(o.err.message, expected)) fail_msg("'%s' expected in: %s", expected, o.err.message);
    int_list_free(&o.v.list);
}

static void test_values(void **unused)
{
    (void)unused;
    struct outcome o = PARSE("-q", "model", "-p", "-x", "--memory=sink", "--predict", "4K",
                             "--seed=9223372036854775807", "--temp", "1.25", "file");
    assert_int_equal(o.status, SNELLEN_OK);
    assert_string_equal(o.args[0], "model");
    assert_string_equal(o.args[1], "file");
    assert_true(o.v.flag);
    assert_string_equal(o.v.text, "-x");
    assert_string_equal(o.v.choice, "sink");
    assert_int_equal(o.v.number, 4096);
    assert_true(o.v.seed == (uint64_t)INT64_MAX);
    assert_true(o.v.real == 1.25);
}

static void test_end_of_options(void **unused)
{
    (void)unused;
    struct outcome o = PARSE("--", "-q", "--help");
    assert_int_equal(o.status, SNELLEN_OK);
    assert_false(o.help);
    assert_false(o.v.flag);
    assert_string_equal(o.args[0], "-q");
    assert_string_equal(o.args[1], "--help");
    o = PARSE("-");
    assert_string_equal(o.args[0], "-");
    o = PARSE("m", "--prompt=--predict");
    assert_string_equal(o.v.text, "--predict");
}

static void test_lists(void **unused)
{
    (void)unused;
    struct outcome o = PARSE("m", "--lengths", "1,5,100..300:100,1K,7..7");
    static const int64_t expected[] = { 1, 5, 100, 200, 300, 1024, 7 };
    assert_int_equal(o.status, SNELLEN_OK);
    assert_int_equal(o.v.list.n, COUNT_OF(expected));
    assert_memory_equal(o.v.list.v, expected, sizeof(expected));
    int_list_free(&o.v.list);
    o = PARSE("m", "--lengths", "1,2", "--lengths", "3");   /* the last one counts */
    assert_int_equal(o.v.list.n, 1);
    int_list_free(&o.v.list);
    o = PARSE("m", "--lengths", "0..10000:3");
    assert_int_equal(o.v.list.n, 3334);
    assert_int_equal(o.v.list.v[3333], 9999);
    int_list_free(&o.v.list);
    static const char *const wrong[] = { "", ",", "1,", "1,,2", "5..1", "1..5:0", "1..5:-1", "1:2..5", "1..", "..5",
                                         "10001", "-1", "1x", "1..20000", "1..5:", "1 2" };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        refused(PARSE("m", "--lengths", wrong[i]), "numbers from 0 to 10000");
}

static void test_refused_numbers(void **unused)
{
    (void)unused;
    static const char *const wrong[] = { "0", "4097", "5K", "-1", "", "x", "1x", "1KK", "1.5", " 1", "+1", "0x10",
                                         "99999999999999999999", "9223372036854775807G" };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) refused(PARSE("m", "-n", wrong[i]), "-n: '");
    refused(PARSE("m", "--predict=0"), "a whole number from 1 to 4096 expected");
    static const char *const wrong_real[] = { "-0.1", "5.1", "nan", "inf", "1e999", "", "1,5", "0.5x" };
    for (size_t i = 0; i < COUNT_OF(wrong_real); i++)
        refused(PARSE("m", "--temp", wrong_real[i]), "a number from 0 to 5 expected");
    refused(PARSE("m", "--seed", "-1"), "--seed");
    refused(PARSE("m", "--memory", "ful"), "one of full, swa, sink");
    refused(PARSE("m", "--memory", "full swa"), "one of full, swa, sink");
    refused(PARSE("m", "--memory="), "one of full, swa, sink");
}

static void test_refused_calls(void **unused)
{
    (void)unused;
    refused(PARSE("m", "-n"), "-n needs a value: a whole number from 1 to 4096");
    refused(PARSE("m", "--prompt", "--predict", "3"), "--prompt needs a value");
    refused(PARSE("m", "--quiet=yes"), "--quiet takes no value");
    refused(PARSE("m", "--memroy", "full"), "did you mean --memory?");
    refused(PARSE("m", "--pre", "3"), "did you mean --predict?");
    refused(PARSE("m", "--nothing-like-it"), "unknown option '--nothing-like-it' (snellen t --help");
    refused(PARSE("m", "-temp", "1"), "did you mean --temp?");
    refused(PARSE("m", "-qn", "1"), "unknown option '-qn'");
    refused(PARSE("m", "-x"), "unknown option '-x'");
    refused(PARSE("-q"), "MODEL is missing");
    refused(PARSE("m", "f", "g"), "'g' is one argument too many");
}

static void test_suffixes(void **unused)
{
    (void)unused;
    int64_t v;
    assert_true(opts_integer("2k", &v) && v == 2048);
    assert_true(opts_integer("3M", &v) && v == 3 << 20);
    assert_true(opts_integer("1G", &v) && v == 1 << 30);
    assert_true(opts_integer("-5", &v) && v == -5);
    assert_false(opts_integer("8589934592G", &v));
    assert_false(opts_integer("", &v));
    assert_false(opts_integer("-", &v));
}

static void test_help(void **unused)
{
    (void)unused;
    assert_true(PARSE("m", "--help").help);
    assert_true(PARSE("-h", "--unknown").help);
    int64_t number = 7;
    const char *choice = "full";
    struct int_list list = { 0 };
    const struct opt table[] = {
        OPT_GROUP("heading"),
        OPT_INT('n', "predict", "N", &number, 1, 4096, "how many words words words words words words words words"),
        OPT_CHOICE(0, "memory", "KIND", &choice, "full swa", "kind"),
        OPT_INTS(0, "lengths", "N,..", &list, 0, 9, "lengths", .shown = "its own"),
    };
    struct strbuf out = { 0 };
    opts_help(&verb_t, table, COUNT_OF(table), 70, &out);
    assert_non_null(out.text);
    assert_non_null(strstr(out.text, "usage: snellen t MODEL [FILE] [options]\n"));
    assert_non_null(strstr(out.text, "\nheading\n  -n, --predict N         how many words"));
    assert_non_null(strstr(out.text, "full|swa, default full]"));
    assert_non_null(strstr(out.text, "[1..4096, default"));
    assert_non_null(strstr(out.text, "default its own]"));
    assert_non_null(strstr(out.text, "examples\n  snellen t m\n  snellen t m f\n"));
    for (const char *line = out.text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        assert_true(strcspn(line, "\n") <= 70);
    strbuf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_end_of_options),
        cmocka_unit_test(test_lists),         cmocka_unit_test(test_refused_numbers),
        cmocka_unit_test(test_refused_calls), cmocka_unit_test(test_suffixes),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
