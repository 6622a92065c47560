/* Questions of a user's own against their definition: the text put together by hand, asked token by token. */
#include "test/test.h"

#include "base/base.h"
#include "test/tasks/fake_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char filler[] = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. ";
static const char *const prompts[] = {"Say a word", "Key 12. {filler} Key", "1 1 1 1 1 1 1 1 1 1 1 1 and 7654321 is "};
static const char *const expected[] = {"yes", "12", "7654321"};

static void write_file(const char *text, char path[32])
{
    strcpy(path, "/tmp/snellen-own-XXXXXX");
    int file = mkstemp(path);
    assert_true(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
    close(file);
}

static void write_questions(char path[32])
{
    struct strbuf text = {0};
    for (size_t i = 0; i < COUNT_OF(prompts); i++)
        strbuf_printf(&text, "{\"prompt\": \"%s\", \"expected\": \"%s\", \"more\": 1}\n\n", prompts[i], expected[i]);
    write_file(text.text, path);
    strbuf_free(&text);
}

/* What the model has to read: prompt, and the answer behind a space where the prompt does not end in one. */
static void put_together(size_t prompt, const char *cure, int repeats, struct strbuf *text, size_t *n_prompt)
{
    static const char *const rewritten[] = {"Say a word", "Key 12. {filler} Key",
                                            "(1 1 1 1 1) (1 1 1 1 1) (1 1) and 765,432,1 is "};
    const char *p = !strcmp(cure, "rewrite") ? rewritten[prompt] : prompts[prompt];
    const char *answer = !strcmp(cure, "rewrite") && prompt == 2 ? "765,432,1" : expected[prompt];
    const char *at = strstr(p, "{filler}");
    int copies = !strcmp(cure, "twice") ? 2 : 1;
    for (int copy = 0; copy < copies; copy++) {
        int n = copy == copies - 1 ? repeats : 0;
        if (at) strbuf_put(text, p, (size_t)(at - p));
        for (int i = 0; i < n; i++) strbuf_puts(text, filler);
        if (!at && n) strbuf_puts(text, "\n\n");
        strbuf_puts(text, at ? at + 8 : p);
        if (copy < copies - 1) strbuf_puts(text, "\n\n");
    }
    *n_prompt = text->n;
    if (text->text[text->n - 1] != ' ') strbuf_puts(text, " ");
    strbuf_puts(text, answer);
}

static void check_answer(const snellen_model *model, const snellen_own_answer *a, int repeats)
{
    struct strbuf text = {0};
    size_t n_prompt;
    int32_t ids[4096];
    put_together(a->prompt, a->cure, repeats, &text, &n_prompt);
    assert_true(text.n < COUNT_OF(ids));
    for (size_t i = 0; i < text.n; i++) ids[i] = (unsigned char)text.text[i];
    bool right = true;
    for (size_t i = n_prompt; i < text.n; i++) right &= fake_next(model, ids, i) == ids[i];
    double log_p = fake_log_p(model, ids, n_prompt, text.n - n_prompt, false);
    assert_true(fabs((double)a->nll + log_p / (double)(text.n - n_prompt)) < 1e-4);
    assert_int_equal(a->right, right);
    assert_int_equal(a->right, a->margin > 0);
    strbuf_free(&text);
}

/* Wants to write "12" behind the second prompt as it is, while the filler is short. */
static int32_t writes(const int32_t *tokens, size_t n)
{
    char last[32] = "";
    for (size_t i = 0; i < 16 && i < n; i++) last[MIN(n, 16) - 1 - i] = (char)tokens[n - 1 - i];
    if (n > 400) return -1;
    size_t length = strlen(last);
    if (length >= 4 && !strcmp(last + length - 4, " Key")) return ' ';
    if (length >= 5 && !strcmp(last + length - 5, " Key ")) return '1';
    return length >= 6 && !strcmp(last + length - 6, " Key 1") ? '2' : -1;
}

static void test_cells(void **state)
{
    (void)state;
    char path[32];
    struct snellen_model model = fake_model();
    model.writes = writes;
    const int64_t fillers[] = {0, 10, 90, 1000};
    const int repeats[] = {0, 1, 1, 11};   /* 91 bytes a time */
    snellen_own_options o = snellen_own_options_default(&model);
    o.cures = "twice,rewrite";
    o.chat = false;
    o.fillers = fillers;
    o.n_fillers = COUNT_OF(fillers);
    snellen_own_result *r;
    write_questions(path);
    MUST(snellen_own_eval(&model, path, &o, NULL, &r, err));
    assert_int_equal(r->n_cells, 12);
    assert_int_equal(r->n_answers, 36);
    assert_int_equal(model.n_refused, 0);
    for (size_t i = 0; i < r->n_answers; i++) check_answer(&model, &r->answers[i], repeats[i / 3 % 4]);
    assert_string_equal(r->cells[0].cure, "");
    assert_string_equal(r->cells[4].cure, "rewrite");
    assert_string_equal(r->cells[8].cure, "twice");
    assert_int_equal(r->cells[1].n_right, 1);   /* the second question */
    assert_int_equal(snellen_own_reach(r, ""), 90);
    assert_int_equal(snellen_own_reach(r, "sharper"), -1);
    double mean = 0;
    for (int i = 0; i < 3; i++) mean += (double)r->answers[i].margin / 3;
    assert_true(fabs(mean - r->cells[0].margin) < 1e-6);
    snellen_own_result_free(r);
    /* Of these prompts' beginnings each piece that they share with the one before is read once. */
    o.n_prompts = 1;
    o.cures = "";
    o.n_fillers = 1;
    model.tokens_read = 0;
    MUST(snellen_own_eval(&model, path, &o, NULL, &r, err));
    assert_int_equal(r->n_answers, 1);
    assert_int_equal(model.tokens_read, strlen("Say a word yes") - 1);
    snellen_own_result_free(r);
    unlink(path);
}

static void refused(const char *text, snellen_status status, const char *part, const snellen_own_options *o)
{
    char path[32];
    struct snellen_model model = fake_model();
    snellen_own_result *r = NULL;
    snellen_error err;
    write_file(text, path);
    assert_int_equal(snellen_own_eval(&model, path, o, NULL, &r, &err), status);
    assert_null(r);
    assert_non_null(strstr(err.message, part));
    unlink(path);
}

static void test_refusals(void **state)
{
    (void)state;
    struct snellen_model model = fake_model();
    snellen_own_options o = snellen_own_options_default(&model);
    refused("", SNELLEN_E_FORMAT, "no lines", &o);
    refused("\n{\"prompt\": \"a\"}\n", SNELLEN_E_FORMAT, "line 2: \"expected\"", &o);
    refused("{\"prompt\": \"a\", \"expected\": \"\"}", SNELLEN_E_FORMAT, "line 1: \"expected\"", &o);
    refused("[1]\n", SNELLEN_E_FORMAT, "no JSON object", &o);
    refused("{\"prompt\": }\n", SNELLEN_E_FORMAT, "line 1: column", &o);
    static const char good[] = "{\"prompt\": \"a\", \"expected\": \"b\"}\n";
    o.fillers = &(int64_t){100000};
    o.n_fillers = 1;
    refused(good, SNELLEN_E_CONTEXT, "100000 tokens of filler", &o);
    o = snellen_own_options_default(&model);
    o.cures = "twice,colours";
    refused(good, SNELLEN_E_USAGE, "colours", &o);
}

/* The usual lengths end where the context does. */
static void test_usual(void **state)
{
    (void)state;
    char path[32];
    struct snellen_model model = fake_model();
    snellen_own_options o = snellen_own_options_default(&model);
    o.cures = "";
    o.chat = false;
    snellen_own_result *r;
    write_questions(path);
    MUST(snellen_own_eval(&model, path, &o, NULL, &r, err));
    assert_int_equal(r->n_cells, 3);   /* 0, 256, 1024; the context is 4,096 */
    assert_int_equal(r->cells[2].filler, 1024);
    snellen_own_result_free(r);
    unlink(path);
}

static bool stop_at_four(void *user, const char *what, uint64_t done, uint64_t all)
{
    assert_string_equal(what, "questions");
    assert_int_equal(all, 9);
    (void)user;
    return done < 4;
}

/* Stopped in the second cell: the first one is there. */
static void test_stop(void **state)
{
    (void)state;
    char path[32];
    struct snellen_model model = fake_model();
    snellen_own_options o = snellen_own_options_default(&model);
    o.cures = "";
    snellen_own_result *r;
    snellen_error err;
    const snellen_progress progress = {.step = stop_at_four};
    write_questions(path);
    assert_int_equal(snellen_own_eval(&model, path, &o, &progress, &r, &err), SNELLEN_E_CANCELLED);
    assert_int_equal(r->n_cells, 1);
    assert_int_equal(r->n_answers, 3);
    assert_int_equal(model.n_sessions, 0);
    snellen_own_result_free(r);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stop), cmocka_unit_test(test_cells), cmocka_unit_test(test_refusals),
                                       cmocka_unit_test(test_usual)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
