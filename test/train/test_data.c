/* Data: orders that repeat nothing, the three forms of jsonl, packed text, positions that are gone back to, bad input.
 * argv[1] = folder of golden values, whose text serves as a file, argv[2] = a tokenizer.json. */
#include "test/test.h"

#include "train/data.h"

#include <unistd.h>

static const char *golden, *tokenizer_path;
static char folder[] = "/tmp/snellen-data-XXXXXX";
static struct tokenizer *tokenizer;

static const char *write_file(const char *text)
{
    static char path[100];
    snprintf(path, sizeof path, "%s/data.jsonl", folder);
    MUST(file_write_atomic(path, text, strlen(text), err));
    return path;
}

static struct data_options options_for(const char *jsonl)
{
    return (struct data_options){.jsonl = jsonl, .length = 64, .end = "", .seed = 1, .tokenizer = tokenizer,
                                 .no_tokenizer = "x: has no tokenizer", .n_vocab = 50000, .n_context = 128};
}

/* ---- jsonl ------------------------------------------------------------------------------------------------------- */

static void expect(struct source *source, const char *text, const char *weights)
{
    struct sample s = {0};
    char got[300] = "", *decoded;
    size_t n;
    MUST(source->next(source, &s, err));
    for (size_t i = 0; i < s.n; i++) snprintf(got + strlen(got), sizeof got - strlen(got), "%g ", (double)s.weights[i]);
    assert_string_equal(got, weights);
    MUST(tokenizer_decode(tokenizer, s.tokens, s.n, SNELLEN_SPECIAL, &decoded, &n, err));
    assert_string_equal(decoded, text);
    snellen_free(decoded);
    sample_free(&s);
}

static void test_three_forms(void **state)
{
    (void)state;
    struct data_options o =
        options_for(write_file("{\"text\": \"12\"}\n\n  \r\n{\"prompt\": \"12\", \"completion\": \"3\"}\n"
                               "{\"tokens\": [40, 41, 42], \"weights\": [0, 0.5, 2]}\n"
                               "{\"tokens\": [40, 41]}"));
    struct source *source;
    struct sample s = {0};
    MUST(source_open(&o, &source, err));
    for (int epoch = 0; epoch < 2; epoch++) {
        expect(source, "12", "1 1 ");
        expect(source, "123", "0 0 1 ");
        MUST(source->next(source, &s, err));
        assert_true(s.n == 3 && s.tokens[2] == 42 && s.weights[1] == 0.5f && s.weights[2] == 2);
        MUST(source->next(source, &s, err));
        assert_true(s.n == 2 && s.tokens[1] == 41 && s.weights[1] == 1);
    }
    source_free(source);
    o.end = "4";
    MUST(source_open(&o, &source, err));
    expect(source, "124", "1 1 1 ");
    expect(source, "1234", "0 0 1 1 ");
    source_free(source);
    sample_free(&s);
}

static void fails_with(struct data_options *o, snellen_status status, const char *message)
{
    struct source *source;
    struct sample s = {0};
    snellen_error error;
    MUST(source_open(o, &source, err));
    assert_int_equal(source->next(source, &s, &error), status);
    if (!strstr(error.message, message)) fail_msg("'%s' in '%s'", message, error.message);
    source_free(source);
    sample_free(&s);
}

static void test_bad_lines(void **state)
{
    (void)state;
    static const struct { const char *line, *message; } cases[] = {
        {"{\"text\": \"a\" 5}", "data.jsonl:2:"},
        {"[1, 2]", "data.jsonl:2: no JSON object"},
        {"{\"txt\": 1}", "no key of a known form"},
        {"{\"text\": \"a b\", \"tokens\": [1, 2]}", "keys of several forms"},
        {"{\"text\": 5}", "\"text\" is missing or no string"},
        {"{\"prompt\": \"a\"}", "\"completion\" is missing"},
        {"{\"tokens\": 5}", "\"tokens\" is no list"},
        {"{\"tokens\": [1, 50000]}", "entry 1 of \"tokens\" is no token, 0 to 49999 expected"},
        {"{\"tokens\": [1, 2], \"weights\": [1]}", "\"weights\" has 1 entries and \"tokens\" 2"},
        {"{\"tokens\": [1, 2], \"weights\": [1, -1]}", "entry 1 of \"weights\""},
        {"{\"text\": \"a b\", \"weights\": [1]}", "\"weights\" without \"tokens\""},
        {"{\"tokens\": [1]}", "nothing to learn"},
        {"{\"tokens\": [1, 2, 3], \"weights\": [1, 0, 0]}", "nothing to learn"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[400];
        snprintf(text, sizeof text, "\n%s\n{\"tokens\": [1, 2]}\n", cases[i].line);
        struct data_options o = options_for(write_file(text));
        fails_with(&o, SNELLEN_E_FORMAT, cases[i].message);
        struct source *source;
        struct sample s = {0};
        o.skip_bad_lines = true;
        MUST(source_open(&o, &source, err));
        for (int k = 0; k < 3; k++) MUST(source->next(source, &s, err));
        assert_true(s.n == 2 && source->skipped == 3);
        source_free(source);
        sample_free(&s);
    }
    struct data_options o = options_for(write_file("{\n{\n"));
    fails_with(&o, SNELLEN_E_FORMAT, "data.jsonl:1:1: no JSON");
    o.skip_bad_lines = true;
    fails_with(&o, SNELLEN_E_FORMAT, "no line is good");
    struct source *source;
    struct sample s = {0};
    o = options_for(write_file("{\n{\"tokens\": [1, 2]}\n{\n"));
    o.skip_bad_lines = o.shuffle = true;
    MUST(source_open(&o, &source, err));
    for (int k = 0; k < 50; k++) MUST(source->next(source, &s, err));
    assert_true(source->skipped >= 98 && source->skipped <= 102);
    source_free(source);
    sample_free(&s);
    o = options_for(write_file("{\"text\": \"a b\"}"));
    o.tokenizer = NULL;
    fails_with(&o, SNELLEN_E_UNSUPPORTED, "x: has no tokenizer");
    o = options_for(write_file(" \n\n"));
    MUST_FAIL(SNELLEN_E_FORMAT, source_open(&o, &source, err));
    o = options_for("/no/such/file");
    MUST_FAIL(SNELLEN_E_IO, source_open(&o, &source, err));
}

static void test_long_samples(void **state)
{
    (void)state;
    struct strbuf line = {0};
    strbuf_puts(&line, "{\"tokens\": [1");
    for (int i = 1; i < 100; i++) strbuf_puts(&line, ", 7");
    strbuf_puts(&line, "]}\n");
    struct data_options o = options_for(write_file(line.text));
    fails_with(&o, SNELLEN_E_CONTEXT, "data.jsonl:1: 100 tokens, data.length allows 64");
    o.n_context = 80;
    fails_with(&o, SNELLEN_E_CONTEXT, "100 tokens, the model has 80 positions");
    o.skip_bad_lines = true;   /* too long is not bad */
    fails_with(&o, SNELLEN_E_CONTEXT, "100 tokens");
    struct source *source;
    struct sample s = {0};
    o.cut = true;
    MUST(source_open(&o, &source, err));
    MUST(source->next(source, &s, err));
    assert_int_equal(s.n, 64);
    source_free(source);
    o.length = 81;
    MUST_FAIL(SNELLEN_E_CONTEXT, source_open(&o, &source, err));
    strbuf_free(&line);
    sample_free(&s);
}

/* ---- positions --------------------------------------------------------------------------------------------------- */

/* Samples drawn after a saved position are those that come after it in an unbroken run. */
static void check_seek(const struct data_options *o)
{
    struct source *a, *b;
    struct sample x = {0}, y = {0};
    MUST(source_open(o, &a, err));
    for (int i = 0; i < 37; i++) MUST(a->next(a, &x, err));
    json_t *position = a->position(a);
    MUST(source_open(o, &b, err));
    MUST(b->seek(b, position, err));
    for (int i = 0; i < 50; i++) {
        MUST(a->next(a, &x, err));
        MUST(b->next(b, &y, err));
        assert_int_equal(x.n, y.n);
        assert_memory_equal(x.tokens, y.tokens, x.n * sizeof *x.tokens);
        assert_memory_equal(x.weights, y.weights, x.n * sizeof *x.weights);
    }
    assert_int_equal(a->skipped, b->skipped);
    json_object_set_new(position, "bytes", json_integer(1));
    MUST_FAIL(SNELLEN_E_FORMAT, b->seek(b, position, err));
    json_object_clear(position);
    MUST_FAIL(SNELLEN_E_FORMAT, b->seek(b, position, err));
    json_decref(position);
    source_free(a);
    source_free(b);
    sample_free(&x);
    sample_free(&y);
}

static void test_positions(void **state)
{
    (void)state;
    struct strbuf text = {0};
    for (int i = 0; i < 23; i++)
        if (i % 7 == 3) strbuf_puts(&text, "bad\n");
        else strbuf_printf(&text, "{\"tokens\": [%d, 5, %d]}\n", i, i);
    struct data_options o = options_for(write_file(text.text));
    o.skip_bad_lines = true;
    check_seek(&o);
    o.shuffle = true;
    check_seek(&o);
    strbuf_free(&text);
}

/* ---- packed text ------------------------------------------------------------------------------------------------- */

/* Lines "word 0 ..", more than a few pieces of them. */
static const char *long_text(void)
{
    static char path[100];
    struct strbuf text = {0};
    for (int i = 0; text.n < 200000; i++) strbuf_printf(&text, "line %d of the text\n", i);
    snprintf(path, sizeof path, "%s/text.txt", folder);
    MUST(file_write_atomic(path, text.text, text.n, err));
    strbuf_free(&text);
    return path;
}

static void test_packed_in_order_is_the_text(void **state)
{
    (void)state;
    struct data_options o = options_for(NULL);
    o.text = long_text();
    struct source *source;
    struct sample s = {0};
    struct strbuf all = {0};
    char *text, *file;
    size_t n, n_file;
    MUST(file_read(o.text, 1 << 20, &file, &n_file, err));
    MUST(source_open(&o, &source, err));
    while (all.n < n_file) {
        MUST(source->next(source, &s, err));
        assert_int_equal(s.n, 64);
        MUST(tokenizer_decode(tokenizer, s.tokens, s.n, 0, &text, &n, err));
        strbuf_put(&all, text, n);
        snellen_free(text);
    }
    assert_memory_equal(all.text, file, n_file);
    mem_free(file);
    strbuf_free(&all);
    source_free(source);
    sample_free(&s);
}

/* Every token of a pass comes up once: the counts of tokens over a pass are those of the text in order. */
static void test_packed_shuffled_is_all_of_the_text(void **state)
{
    (void)state;
    uint64_t counts[2][50000] = {{0}};
    struct data_options o = options_for(NULL);
    o.text = long_text();
    o.length = 2;
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        struct source *source;
        struct sample s = {0};
        o.shuffle = shuffle;
        MUST(source_open(&o, &source, err));
        for (int i = 0; i < 30 * 40000; i++) {
            MUST(source->next(source, &s, err));
            for (size_t t = 0; t < s.n; t++) counts[shuffle][s.tokens[t]]++;
        }
        source_free(source);
        sample_free(&s);
    }
    for (size_t i = 0; i < COUNT_OF(counts[0]); i++) {
        double a = (double)counts[0][i], b = (double)counts[1][i];
        if (a + b > 20000) assert_true(fabs(a - b) < 0.1 * a);
    }
}

static void test_packed_positions(void **state)
{
    (void)state;
    struct data_options o = options_for(NULL);
    o.text = long_text();
    check_seek(&o);
    o.shuffle = true;
    check_seek(&o);
    char path[4096];
    snprintf(path, sizeof path, "%s/text.txt", golden);   /* shorter than a piece */
    o.text = path;
    check_seek(&o);
    struct source *source;
    o.text = write_file("");
    MUST_FAIL(SNELLEN_E_FORMAT, source_open(&o, &source, err));
    o.tokenizer = NULL;
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, source_open(&o, &source, err));
}

/* ---- what is repeated -------------------------------------------------------------------------------------------- */

/* A sample of `repeat` is a sample of the source without it, the prompt, and n of the first's tokens from one place. */
static size_t check_repeated(const struct sample *s, const struct sample *text, size_t n, const struct data_options *o)
{
    int32_t *prompt;
    size_t n_prompt, at = 0;
    MUST(tokenizer_encode(tokenizer, o->repeat_prompt, strlen(o->repeat_prompt), SNELLEN_SPECIAL, &prompt, &n_prompt, err));
    assert_int_equal(s->n, text->n + n_prompt + n);
    assert_true(s->n <= (size_t)o->length);
    assert_memory_equal(s->tokens, text->tokens, text->n * sizeof *s->tokens);
    assert_memory_equal(s->weights, text->weights, text->n * sizeof *s->weights);
    if (n_prompt) assert_memory_equal(s->tokens + text->n, prompt, n_prompt * sizeof *prompt);
    for (size_t t = text->n; t < s->n; t++)
        assert_true(s->weights[t] == (t < text->n + n_prompt ? 0 : (float)o->repeat_weight));
    const int32_t *again = s->tokens + text->n + n_prompt;
    while (at + n <= text->n && memcmp(s->tokens + at, again, n * sizeof *again)) at++;
    assert_true(at + n <= text->n);
    snellen_free(prompt);
    return at;
}

static void test_repeated_segment(void **state)
{
    (void)state;
    struct strbuf lines = {0};
    for (int i = 0; i < 30; i++) {
        strbuf_puts(&lines, "{\"text\": \"");
        for (int k = 0; k <= 2 * i; k++) strbuf_printf(&lines, "%d ", 7 * i + k);
        strbuf_puts(&lines, "\"}\n");
    }
    for (int jsonl = 0; jsonl < 2; jsonl++) {
        struct data_options o = options_for(jsonl ? write_file(lines.text) : NULL), plain = o;
        if (!jsonl) o.text = plain.text = long_text();
        o.repeat = jsonl ? 5 : 24;
        o.repeat_prompt = jsonl ? "\nAgain:" : "";
        o.repeat_weight = 0.25;
        o.cut = plain.cut = o.shuffle = plain.shuffle = true;
        struct source *source, *text;
        struct sample s = {0}, t = {0};
        size_t n_prompt = 0, places[3] = {0};
        int32_t *ids = NULL;
        MUST(tokenizer_encode(tokenizer, o.repeat_prompt, strlen(o.repeat_prompt), SNELLEN_SPECIAL, &ids, &n_prompt, err));
        plain.length = o.length - o.repeat - (int64_t)n_prompt;
        MUST(source_open(&o, &source, err));
        MUST(source_open(&plain, &text, err));
        assert_int_equal(source->longest, o.length);
        for (int i = 0; i < 300; i++) {
            MUST(source->next(source, &s, err));
            MUST(text->next(text, &t, err));
            size_t n = MIN((size_t)o.repeat, t.n), at = check_repeated(&s, &t, n, &o);
            places[at == 0 ? 0 : at + n == t.n ? 2 : 1]++;
        }
        assert_true(places[0] && places[1] > places[0] && places[2]);   /* the first and the last place are among them */
        snellen_free(ids);
        source_free(source);
        source_free(text);
        sample_free(&s);
        sample_free(&t);
        struct source *inner;
        MUST(source_open(&o, &inner, err));
        json_t *position = inner->position(inner);
        json_object_set_new(position, "repeated", json_integer(-1));
        MUST_FAIL(SNELLEN_E_FORMAT, inner->seek(inner, position, err));
        json_decref(position);
        source_free(inner);
    }
    strbuf_free(&lines);
}

/* A place that was saved is gone back to with the same segments; another seed has others. */
static void test_repeated_places(void **state)
{
    (void)state;
    struct data_options o = options_for(NULL);
    o.text = long_text();
    o.repeat = 8;
    o.repeat_prompt = "\n";
    o.repeat_weight = 0.1;
    struct source *a, *b, *c;
    struct sample x = {0}, y = {0}, z = {0};
    MUST(source_open(&o, &a, err));
    MUST(source_open(&o, &b, err));
    o.seed++;
    MUST(source_open(&o, &c, err));
    for (int i = 0; i < 37; i++) MUST(a->next(a, &x, err));
    json_t *position = a->position(a);
    MUST(b->seek(b, position, err));
    MUST(c->seek(c, position, err));
    int n_other = 0;
    for (int i = 0; i < 50; i++) {
        MUST(a->next(a, &x, err));
        MUST(b->next(b, &y, err));
        MUST(c->next(c, &z, err));
        assert_true(x.n == y.n && x.n == z.n);
        assert_memory_equal(x.tokens, y.tokens, x.n * sizeof *x.tokens);
        assert_memory_equal(x.weights, y.weights, x.n * sizeof *x.weights);
        n_other += memcmp(x.tokens, z.tokens, x.n * sizeof *x.tokens) != 0;
    }
    assert_true(n_other > 40);
    json_decref(position);
    source_free(a);
    source_free(b);
    source_free(c);
    sample_free(&x);
    sample_free(&y);
    sample_free(&z);
}

static void test_repeat_needs_room(void **state)
{
    (void)state;
    struct source *source;
    snellen_error error;
    struct data_options o = options_for(NULL);
    o.text = long_text();
    o.repeat = 32;
    o.repeat_prompt = "Again:";
    assert_int_equal(source_open(&o, &source, &error), SNELLEN_E_USAGE);
    assert_non_null(strstr(error.message, "data.repeat 32"));
    o.repeat_prompt = "";
    MUST(source_open(&o, &source, err));
    source_free(source);
    o = options_for(write_file("{\"tokens\": [1, 2, 3]}\n"));
    o.repeat = 2;
    o.repeat_prompt = "Again:";
    o.tokenizer = NULL;
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, source_open(&o, &source, err));
    o.repeat_prompt = NULL;
    MUST(source_open(&o, &source, err));
    struct sample s = {0};
    MUST(source->next(source, &s, err));
    assert_int_equal(s.n, 5);
    source_free(source);
    sample_free(&s);
}

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static void test_batch(void **state)
{
    (void)state;
    struct data_options o =
        options_for(write_file("{\"tokens\": [1, 2, 3]}\n{\"tokens\": [4, 5], \"weights\": [9, 0.5]}\n"));
    struct source *source;
    struct data_batch b = {0};
    MUST(source_open(&o, &source, err));
    for (int i = 0; i < 2; i++) {
        MUST(data_batch_fill(&b, source, 2, err));
        assert_true(b.n_seqs == 2 && b.n_tokens == 3 && b.n_real == 5 && b.weight == 2.5);
        const int32_t tokens[] = {1, 2, 3, 4, 5, 0};
        const float weights[] = {0, 1, 1, 0, 0.5, 0};
        assert_memory_equal(b.tokens, tokens, sizeof tokens);
        assert_memory_equal(b.weights, weights, sizeof weights);
    }
    data_batch_free(&b);
    source_free(source);
}

static void test_batch_keeps_some(void **state)
{
    (void)state;
    struct data_options o = options_for(write_file("{\"tokens\": [1, 2, 3, 4]}\n{\"tokens\": [5, 6, 7]}\n{\"tokens\": [8, 9]}\n"));
    struct source *source;
    struct data_batch b = {0};
    MUST(source_open(&o, &source, err));
    for (int i = 0; i < 2; i++) {   /* the next batch is whole again */
        MUST(data_batch_fill(&b, source, 3, err));
        assert_true(b.n_seqs == 3 && b.n_tokens == 4 && b.n_real == 9);
        data_batch_keep(&b, (const bool[]){false, true, true});
        assert_true(b.n_seqs == 2 && b.n_tokens == 3 && b.n_real == 5 && b.weight == 3);
        const int32_t tokens[] = {5, 6, 7, 8, 9, 0};
        const float weights[] = {0, 1, 1, 0, 1, 0};
        assert_memory_equal(b.tokens, tokens, sizeof tokens);
        assert_memory_equal(b.weights, weights, sizeof weights);
    }
    data_batch_keep(&b, (const bool[]){false, false});
    assert_true(b.n_seqs == 0 && b.n_tokens == 0 && b.weight == 0);
    data_batch_free(&b);
    source_free(source);
}

int main(int argc, char **argv)
{
    if (argc != 3 || !mkdtemp(folder)) return 2;
    golden = argv[1];
    tokenizer_path = argv[2];
    char *json;
    size_t n;
    if (file_read(tokenizer_path, 1 << 26, &json, &n, NULL) ||
        tokenizer_from_json(json, n, NULL, 0, tokenizer_path, &tokenizer, NULL)) return 2;
    mem_free(json);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_forms),
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_long_samples),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_packed_in_order_is_the_text),
        cmocka_unit_test(test_packed_shuffled_is_all_of_the_text),
        cmocka_unit_test(test_packed_positions),
        cmocka_unit_test(test_repeated_segment),
        cmocka_unit_test(test_repeated_places),
        cmocka_unit_test(test_repeat_needs_room),
        cmocka_unit_test(test_batch), cmocka_unit_test(test_batch_keeps_some),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tokenizer_free(tokenizer);
    char path[100];
    snprintf(path, sizeof path, "%s/data.jsonl", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/text.txt", folder);
    unlink(path);
    rmdir(folder);
    return failed;
}
