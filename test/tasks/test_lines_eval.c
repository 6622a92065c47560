/* Models that write lines: what lanes write together is what each line alone would be, scores count what they say,
 * errors come before the work. */
#include "test/test.h"

#include "base/base.h"
#include "tasks/symbols.h"
#include "tasks/tasks.h"
#include "test/tasks/fake_model.h"

static const int64_t lengths[] = {7, 9, 14};
enum { N = 12 };

static snellen_lines_options options_of(const char *format)
{
    snellen_lines_options o = snellen_lines_options_default();
    o.line.format = format;
    o.lengths = lengths;
    o.n_lengths = COUNT_OF(lengths);
    o.n_samples = N;
    return o;
}

static snellen_lines_result *eval(struct snellen_model *model, const char *task, const snellen_lines_options *o)
{
    snellen_lines_result *r;
    MUST(snellen_lines_eval(model, task, o, NULL, &r, err));
    assert_int_equal(model->n_sessions, 0);
    return r;
}

/* ---- one line at a time, by definition --------------------------------------------------------------------------- */

/* What a model writes on one line, as text; counts of what it wrote and what was right. */
static void write_alone(const struct snellen_model *model, const snellen_line *line, bool forced, char *text,
                        size_t size, snellen_written *out)
{
    int32_t tokens[300];
    size_t n = 0, at = 0;
    *out = (snellen_written){.answer = true};
    text[0] = 0;
    for (size_t i = 0; i < line->n; i++) {
        const snellen_symbol *s = &line->symbols[i];
        int32_t token = s->id;
        if (s->output && !s->given && !(s->anchor && forced)) {
            token = fake_next(model, tokens, n);
            out->n_symbols++;
            out->n_right += token == s->id;
            if (s->answer && token != s->id) out->answer = false;
        }
        tokens[n++] = token;
        if (!s->output) continue;
        const char *name = token < SYMBOL_COUNT ? symbol_names[token] : "<?>";
        char number[16];
        snprintf(number, sizeof number, "<%d>", token);
        at += (size_t)snprintf(text + at, size - at, "%s%s", at ? " " : "", token < SYMBOL_COUNT ? name : number);
    }
    out->exact = out->n_right == out->n_symbols;
}

static void check_against_definition(struct snellen_model *model, const char *task, const snellen_lines_options *o)
{
    snellen_lines_result *r = eval(model, task, o);
    assert_int_equal(r->n_written, o->n_lengths * o->n_samples);
    assert_int_equal(r->n_cells, o->n_lengths);
    uint64_t n_symbols = 0, n_right = 0;
    for (size_t i = 0; i < r->n_written; i++) {
        const snellen_written *w = &r->written[i];
        snellen_line *line;
        snellen_written want;
        char text[3000];
        assert_int_equal(w->length, o->lengths[i / o->n_samples]);
        assert_int_equal(w->index, i % o->n_samples);
        MUST(snellen_line_make(task, &o->line, w->length, w->index, &line, err));
        write_alone(model, line, o->forced, text, sizeof text, &want);
        assert_string_equal(w->text, text);
        assert_int_equal(w->n_symbols, want.n_symbols);
        assert_int_equal(w->n_right, want.n_right);
        assert_int_equal(w->exact, want.exact);
        assert_int_equal(w->answer, want.answer);
        n_symbols += want.n_symbols;
        n_right += want.n_right;
        snellen_free(line);
    }
    for (size_t i = 0; i < r->n_cells; i++) {
        assert_int_equal(r->cells[i].n, o->n_samples);
        n_symbols -= r->cells[i].n_symbols;
        n_right -= r->cells[i].n_right;
    }
    assert_int_equal(n_symbols, 0);
    assert_int_equal(n_right, 0);
    snellen_lines_result_free(r);
}

static const struct {
    const char *task, *format;
} cases[] = {
    {"parity", "direct"},      {"parity", "scratchpad"}, {"parity", "interleaved"},      {"parity", "mnemonic"},
    {"parity", "nonaligned"},  {"addition", "plain"},    {"addition", "padded-mnemonic"}, {"addition", "nonaligned"},
    {"copy", "mnemonic"},      {"reverse", "unique"},    {"remember", "single"},          {"rewrite", "multi"},
};

static void test_lanes_write_what_each_line_alone_would_be(void **state)
{
    (void)state;
    static const int64_t lanes[] = {0, 1, 5};
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        for (int forced = 0; forced < 2; forced++)
            for (size_t l = 0; l < COUNT_OF(lanes); l++) {
                struct snellen_model model = fake_model();
                snellen_lines_options o = options_of(cases[i].format);
                o.forced = forced;
                o.n_lanes = lanes[l];
                check_against_definition(&model, cases[i].task, &o);
            }
}

/* ---- a model that knows the lines, but for some ------------------------------------------------------------------ */

enum { MAX_KNOWN = 64, MAX_TOKENS = 200 };
static struct {
    int32_t tokens[MAX_TOKENS];
    size_t n, wrong_at;   /* the symbol that is written wrong; 0 = none */
} known[MAX_KNOWN];
static size_t n_known;

static void know(const char *task, const snellen_line_options *o, int64_t length, uint64_t index, size_t wrong_at)
{
    snellen_line *line;
    MUST(snellen_line_make(task, o, length, index, &line, err));
    assert_true(n_known < MAX_KNOWN && line->n <= MAX_TOKENS);
    for (size_t i = 0; i < line->n; i++) known[n_known].tokens[i] = line->symbols[i].id;
    known[n_known].n = line->n;
    known[n_known++].wrong_at = wrong_at;
    snellen_free(line);
}

/* The next token of the line that begins like these tokens, whatever stands at the place that is wrong. */
static int32_t from_known(const int32_t *tokens, size_t n)
{
    for (size_t i = 0; i < n_known; i++) {
        if (n >= known[i].n) continue;
        bool same = true;
        for (size_t j = 0; j < n && same; j++)
            same = tokens[j] == known[i].tokens[j] || j == known[i].wrong_at;
        if (same) return n == known[i].wrong_at ? SYMBOL_START : known[i].tokens[n];
    }
    return -1;
}

static void test_scores_count_what_is_right(void **state)
{
    (void)state;
    static const int64_t one[] = {9};
    struct snellen_model model = fake_model();
    snellen_lines_options o = options_of("mnemonic");
    model.writes = from_known;
    o.lengths = one;
    o.n_lengths = 1;
    n_known = 0;
    /* 1 + 18 + 1 symbols, then anchor, parity, ..: 0 and 1 right; 2 an anchor wrong; 3 a parity; 4 the answer. */
    for (uint64_t i = 0; i < 5; i++) know("parity", &o.line, 9, i, i == 2 ? 24 : i == 3 ? 21 : i == 4 ? 37 : 0);
    o.n_samples = 5;
    for (o.forced = false;; o.forced = true) {
        snellen_lines_result *r = eval(&model, "parity", &o);
        const snellen_lines_cell *c = &r->cells[0];
        double low, high;
        static const bool exact[] = {true, true, false, false, false}, answer[] = {true, true, true, true, false};
        for (size_t i = 0; i < 5; i++) {
            assert_int_equal(r->written[i].exact, exact[i] || (i == 2 && o.forced));
            assert_int_equal(r->written[i].answer, answer[i]);
            assert_int_equal(r->written[i].n_symbols, o.forced ? 9 : 18);
            assert_int_equal(!strcmp(r->written[i].text, r->written[i].expected), r->written[i].exact);
        }
        assert_int_equal(c->n_exact, o.forced ? 3 : 2);
        assert_int_equal(c->n_answer, 4);
        assert_int_equal(c->n_symbols, o.forced ? 45 : 90);
        assert_int_equal(c->n_right, o.forced ? 43 : 87);
        wilson_interval(4, 5, &low, &high);
        assert_true(c->answer_low == low && c->answer_high == high);
        wilson_interval(c->n_exact, 5, &low, &high);
        assert_true(c->exact_low == low && c->exact_high == high);
        snellen_lines_result_free(r);
        if (o.forced) break;
    }
}

/* Every token but a line's last goes through once, and what is given costs no pass of its own. */
static void test_what_it_costs(void **state)
{
    (void)state;
    static const int64_t one[] = {9};
    struct snellen_model model = fake_model();
    snellen_lines_options o = options_of("mnemonic");
    o.lengths = one;
    o.n_lengths = 1;
    o.n_lanes = 4;
    o.n_samples = 8;
    for (o.forced = false;; o.forced = true) {
        model.n_passes = 0;
        model.tokens_read = 0;
        snellen_lines_result *r = eval(&model, "parity", &o);
        assert_int_equal(r->n_lanes, 4);
        assert_int_equal(r->n_tokens, 8 * 37);
        assert_int_equal(model.tokens_read, 8 * 37);
        assert_int_equal(model.n_passes, 2 * (o.forced ? 9 : 18));
        snellen_lines_result_free(r);
        if (o.forced) break;
    }
    o.n_lanes = 0;
    o.n_samples = 100;
    snellen_lines_result *r = eval(&model, "parity", &o);
    assert_int_equal(r->n_lanes, 512 / 37);   /* a token takes 1 MB in the fake model */
    snellen_lines_result_free(r);
}

/* A content is asked once, however many samples were asked for. */
static void test_small_sets_are_asked_once(void **state)
{
    (void)state;
    static const int64_t small[] = {1, 3, 6, 9};
    struct snellen_model model = fake_model();
    snellen_lines_options o = options_of("mnemonic");
    o.lengths = small;
    o.n_lengths = COUNT_OF(small);
    o.n_samples = 40;
    snellen_lines_result *r = eval(&model, "parity", &o);
    assert_int_equal(r->n_cells, 4);
    assert_int_equal(r->n_written, 1 + 1 + 8 + 40);
    assert_int_equal(r->cells[0].n, 1);
    assert_int_equal(r->cells[1].n, 1);
    assert_int_equal(r->cells[2].n, 8);   /* 64 / 8 */
    assert_int_equal(r->cells[3].n, 40);
    snellen_lines_result_free(r);
}

/* ---- interruptions and errors ------------------------------------------------------------------------------------ */

static bool stop_at(void *user, const char *what, uint64_t done, uint64_t total)
{
    assert_string_equal(what, "lines");
    assert_int_equal(total, 3 * N);
    return done < *(const uint64_t *)user;
}

static void test_an_interruption_keeps_what_is_done(void **state)
{
    (void)state;
    struct snellen_model model = fake_model();
    snellen_lines_options o = options_of("scratchpad");
    o.n_lanes = 1;
    static const uint64_t stops[] = {0, 1, N + 3};
    for (size_t i = 0; i < COUNT_OF(stops); i++) {
        uint64_t stop = stops[i];
        const snellen_progress progress = {.step = stop_at, .user = &stop};
        snellen_lines_result *r;
        snellen_error err;
        assert_int_equal(snellen_lines_eval(&model, "parity", &o, &progress, &r, &err), SNELLEN_E_CANCELLED);
        assert_non_null(r);
        assert_int_equal(r->n_written, stop);
        assert_int_equal(r->n_cells, stop == 0 ? 0 : stop <= N ? 1 : 2);
        if (stop > N) assert_int_equal(r->cells[1].n, stop - N);
        if (stop) assert_int_equal(r->written[stop - 1].index, (stop - 1) % N);
        snellen_lines_result_free(r);
        assert_int_equal(model.n_sessions, 0);
    }
}

static void must_refuse(const struct snellen_model *model, const char *task, const snellen_lines_options *o,
                        snellen_status status, const char *says)
{
    snellen_error error;
    snellen_lines_result *r;
    assert_int_equal(snellen_lines_eval(model, task, o, NULL, &r, &error), status);
    assert_null(r);
    if (!strstr(error.message, says)) fail_msg("'%s' is not in '%s'", says, error.message);
}

static void test_errors(void **state)
{
    (void)state;
    struct snellen_model model = fake_model();
    snellen_lines_options o = options_of("mnemonic");
    must_refuse(&model, "count-ones", &o, SNELLEN_E_USAGE, "has prompts in words");
    o.n_samples = 0;
    must_refuse(&model, "parity", &o, SNELLEN_E_USAGE, "samples are 0");
    o = options_of("mnemonic");
    o.n_lanes = -1;
    must_refuse(&model, "parity", &o, SNELLEN_E_USAGE, "lanes are -1");
    o = options_of("mnemonic");
    o.session.n_context = 50;   /* 14 bits take 1 + 28 + 1 + 28 tokens, the last is not read */
    must_refuse(&model, "parity", &o, SNELLEN_E_CONTEXT, "length 14 takes 57 tokens, the context holds 50");
    o.session.n_context = 57;
    snellen_lines_result_free(eval(&model, "parity", &o));
    o.n_lengths = 0;
    must_refuse(&model, "parity", &o, SNELLEN_E_USAGE, "no length is given");
    o.lengths = NULL;           /* the task's own: 10, 15, .. as far as it fits */
    snellen_lines_result *r = eval(&model, "parity", &o);
    assert_int_equal(r->n_cells, 1);
    assert_int_equal(r->cells[0].length, 10);
    snellen_lines_result_free(r);
    o = options_of("mnemonic");
    model.info.positions = "learned";
    model.info.n_context = 56;
    must_refuse(&model, "parity", &o, SNELLEN_E_CONTEXT, "the context holds 56");
    /* Vocabularies */
    model = fake_model();
    model.info.n_vocab = 108 + 127;
    must_refuse(&model, "parity", &o, SNELLEN_E_UNSUPPORTED, "236 to 1024 tokens, the symbols of these tasks");
    o.line.pool = 127;
    model.info.n_vocab = 1025;
    must_refuse(&model, "parity", &o, SNELLEN_E_UNSUPPORTED, "it has 1025");
    model.info.has_tokenizer = true;   /* of bytes */
    must_refuse(&model, "parity", &o, SNELLEN_E_UNSUPPORTED, "26 of our words as single tokens, the pool asks for 127");
    o.line.pool = 26;
    must_refuse(&model, "parity", &o, SNELLEN_E_UNSUPPORTED, "'>>>' is not one token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanes_write_what_each_line_alone_would_be),
        cmocka_unit_test(test_scores_count_what_is_right),
        cmocka_unit_test(test_what_it_costs),
        cmocka_unit_test(test_small_sets_are_asked_once),
        cmocka_unit_test(test_an_interruption_keeps_what_is_done),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
