/* Tasks of long memory against plain arithmetic: a sample taken apart by a reader that knows nothing but how it is to
 * look; the same sample whatever the sizes of the pieces; a model that is asked token by token by definition. */
#include "test/test.h"

#include "base/base.h"
#include "tasks/long.h"
#include "tasks/tasks.h"
#include "test/tasks/fake_model.h"

enum { MOST = 40000 };
static int32_t tokens[MOST], again[MOST];
static uint8_t marks[MOST], marks_again[MOST];

static snellen_reader *open_reader(const char *task, const snellen_long_options *o)
{
    snellen_reader *r;
    MUST(snellen_reader_new(NULL, task, o, &r, err));
    return r;
}

/* The whole sample, in pieces of at most `room`. */
static size_t read_sample(snellen_reader *r, int64_t length, uint64_t index, size_t room, int32_t *ids, uint8_t *all)
{
    size_t n = 0, got;
    MUST(snellen_reader_start(r, length, index, err));
    do {
        assert_true(n <= MOST);
        MUST(snellen_reader_next(r, ids + n, all + n, MIN(room, MOST - n), &got, err));
        n += got;
    } while (got);
    return n;
}

static int32_t digit(int32_t symbol)
{
    assert_in_range(symbol, SYMBOL_NUMBER, SYMBOL_NUMBER + 9);
    return symbol - SYMBOL_NUMBER;
}

static int64_t number(const int32_t *ids, int64_t digits)
{
    int64_t value = 0;
    for (int64_t i = 0; i < digits; i++) value = 10 * value + digit(ids[i]);
    return value;
}

static bool is_filler(int32_t symbol)
{
    return symbol >= SYMBOL_WORD && symbol < SYMBOL_WORD + FILLER_WORDS;
}

/* ---- every task ---------------------------------------------------------------------------------------------------- */

static const struct {
    const char *task, *format;
} cases[] = {{"passkey", "symbols"}, {"passkey", "once"},   {"passkey", "words"},  {"associative", "remember"},
             {"associative", "rewrite"}, {"associative", "rewrite-multi"}, {"stream", "symbols"}, {"stream", "words"}};

static void test_pieces_of_any_size_are_the_same_sample(void **state)
{
    (void)state;
    static const int64_t lengths[] = {600, 2049, 5000};
    static const size_t rooms[] = {1, 7, 100000};
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        snellen_long_options o = snellen_long_options_default();
        o.format = cases[c].format;
        snellen_reader *r = open_reader(cases[c].task, &o);
        for (size_t l = 0; l < COUNT_OF(lengths); l++) {
            assert_int_equal(read_sample(r, lengths[l], 3, 4096, tokens, marks), lengths[l]);
            for (size_t k = 0; k < COUNT_OF(rooms); k++) {
                assert_int_equal(read_sample(r, lengths[l], 3, rooms[k], again, marks_again), lengths[l]);
                assert_memory_equal(tokens, again, (size_t)lengths[l] * sizeof *tokens);
                assert_memory_equal(marks, marks_again, (size_t)lengths[l]);
            }
            read_sample(r, lengths[l], 4, 4096, again, marks_again);
            assert_int_not_equal(memcmp(tokens, again, (size_t)lengths[l] * sizeof *tokens), 0);
        }
        snellen_reader_free(r);
    }
}

/* What a reader holds does not grow with the sample. */
static void test_ten_million_tokens_in_a_piece_of_memory(void **state)
{
    (void)state;
    snellen_long_options o = snellen_long_options_default();
    snellen_reader *r = open_reader("passkey", &o);
    int64_t n = 0;
    size_t got;
    MUST(snellen_reader_start(r, SNELLEN_LONG_MAX, 0, err));
    do {
        MUST(snellen_reader_next(r, tokens, marks, MOST, &got, err));
        n += (int64_t)got;
    } while (got);
    assert_int_equal(n, SNELLEN_LONG_MAX);
    assert_true(r->piece.room + r->planned.room <= 4096);
    assert_true(snellen_reader_distance(r) > 0 && snellen_reader_distance(r) < n);
    snellen_reader_free(r);
}

/* ---- passkey --------------------------------------------------------------------------------------------------------- */

/* Takes a sample apart; returns where the key's sentence begins. */
static int64_t check_passkey(const int32_t *ids, const uint8_t *m, int64_t n, int64_t digits, bool twice, int64_t *key)
{
    int64_t at = -1;
    for (int64_t i = 0; i < n && at < 0; i++)
        if (ids[i] == SYMBOL_START) at = i;
    assert_true(at >= 0);
    *key = number(ids + at + 1, digits);
    int64_t end = at + 1 + digits, asked = n - 1 - digits;
    if (twice) {
        assert_int_equal(ids[end], SYMBOL_AGAIN);
        assert_int_equal(number(ids + end + 1, digits), *key);
        end += 1 + digits;
    }
    assert_int_equal(ids[asked], SYMBOL_EQUALS);
    assert_int_equal(m[asked], SNELLEN_MARK_QUESTION);
    assert_int_equal(number(ids + asked + 1, digits), *key);
    for (int64_t i = 0; i < n; i++) {
        bool filler = i < at || (i >= end && i < asked);
        assert_int_equal(filler, is_filler(ids[i]));
        assert_int_equal(!!(m[i] & SNELLEN_MARK_ANSWER), i > asked);
    }
    return at;
}

static void test_passkey_says_once_and_asks_at_the_end(void **state)
{
    (void)state;
    static const double depths[] = {0, 0.25, 1};
    for (int twice = 0; twice < 2; twice++)
        for (size_t d = 0; d < COUNT_OF(depths); d++) {
            snellen_long_options o = snellen_long_options_default();
            o.format = twice ? "symbols" : "once";
            o.depth = depths[d];
            snellen_reader *r = open_reader("passkey", &o);
            for (int64_t n = 64; n < 3000; n += 413) {
                int64_t key, said = twice ? 12 : 6, room = n - said - 6;
                read_sample(r, n, 5, 4096, tokens, marks);
                int64_t at = check_passkey(tokens, marks, n, 5, twice, &key);
                assert_int_equal(at, (int64_t)(depths[d] * (double)room + 0.5));
                assert_int_equal(snellen_reader_distance(r), n - 5 - at);
            }
            snellen_reader_free(r);
        }
}

static void test_passkey_within_the_first_tokens(void **state)
{
    (void)state;
    snellen_long_options o = snellen_long_options_default();
    o.within = 128;
    o.digits = 3;
    snellen_reader *r = open_reader("passkey", &o);
    int64_t least = 1000, most = 0, key;
    for (uint64_t i = 0; i < 300; i++) {
        read_sample(r, 4000, i, 4096, tokens, marks);
        int64_t at = check_passkey(tokens, marks, 4000, 3, true, &key);
        least = MIN(least, at);
        most = MAX(most, at);
    }
    snellen_reader_free(r);
    assert_true(least < 10 && most > 110 && most <= 128 - 8);
}

/* No key of the test set is trained on, and no key comes twice before all have come. */
static void test_keys_of_training_and_test_differ(void **state)
{
    (void)state;
    enum { N_KEYS = 1000 };
    int8_t seen[N_KEYS] = {0};
    for (int train = 0; train < 2; train++) {
        snellen_long_options o = snellen_long_options_default();
        o.digits = 3;
        o.train = train;
        snellen_reader *r = open_reader("passkey", &o);
        for (uint64_t i = 0; i < (train ? N_KEYS - N_KEYS / 8 : N_KEYS / 8); i++) {
            int64_t key;
            read_sample(r, 64, i, 4096, tokens, marks);
            check_passkey(tokens, marks, 64, 3, true, &key);
            assert_int_equal(seen[key], 0);
            seen[key] = 1;
        }
        snellen_reader_free(r);
    }
}

static void test_needle_and_haystack_of_the_users(void **state)
{
    (void)state;
    char path[] = "/tmp/snellen-haystack-XXXXXX", *text;
    int file = mkstemp(path);
    assert_true(file >= 0);
    FILE *f = fdopen(file, "w");
    fputs("one two three four five six seven ", f);
    fclose(f);
    snellen_long_options o = snellen_long_options_default();
    o.format = "words";
    o.haystack = path;
    o.needle = "The safe opens with {key}!";
    o.question = "It opens with";
    o.depth = 0.5;
    snellen_reader *r = open_reader("passkey", &o);
    assert_int_equal(read_sample(r, 400, 0, 4096, tokens, marks), 400);
    MUST(snellen_reader_text(r, tokens, 400, &text, err));
    const char *said = strstr(text, " The safe opens with "), *asked = strstr(text, " It opens with ");
    assert_true(said && asked && asked > said + 100);
    assert_memory_equal(said + 21, asked + 15, 5);
    assert_int_equal(said[26], '!');
    assert_int_equal(asked + 20 - text, 400);
    assert_non_null(strstr(text, "six seven one two"));   /* the file again from its start */
    snellen_free(text);
    snellen_reader_free(r);
    o.needle = "no place for it";
    r = open_reader("passkey", &o);
    MUST_FAIL(SNELLEN_E_USAGE, snellen_reader_start(r, 400, 0, err));
    snellen_reader_free(r);
    remove(path);
}

/* ---- associative ------------------------------------------------------------------------------------------------------ */

static void check_pairs(bool rewrite, int64_t pairs)
{
    snellen_long_options o = snellen_long_options_default();
    o.format = rewrite ? "rewrite" : "remember";
    o.pairs = pairs;
    snellen_reader *r = open_reader("associative", &o);
    for (uint64_t index = 0; index < 50; index++) {
        int32_t last[SYMBOL_COUNT];
        int64_t n = 500, seen = 0, different = 0, place = 0;
        for (size_t i = 0; i < COUNT_OF(last); i++) last[i] = -1;
        read_sample(r, n, index, 4096, tokens, marks);
        int32_t asked = tokens[n - 2];
        for (int64_t i = 0; i < n - 3; i++) {
            if (is_filler(tokens[i])) continue;
            assert_int_equal(tokens[i], SYMBOL_PLUS);
            /* one pair in each equal share of the free places */
            int64_t free_before = i - 3 * seen, all = n - 3 - 3 * pairs;
            assert_in_range(free_before, all * seen / pairs, all * (seen + 1) / pairs);
            different += last[tokens[i + 1]] < 0;
            last[tokens[i + 1]] = digit(tokens[i + 2]);
            if (tokens[i + 1] == asked) place = i;
            seen++;
            i += 2;
        }
        assert_int_equal(seen, pairs);
        assert_true(rewrite ? different <= MAX(pairs / 2, 1) : different == pairs);
        assert_int_equal(tokens[n - 3], SYMBOL_EQUALS);
        assert_int_equal(digit(tokens[n - 1]), last[asked]);
        assert_int_equal(marks[n - 1], SNELLEN_MARK_ANSWER);
        assert_int_equal(snellen_reader_distance(r), n - 1 - place);
    }
    snellen_reader_free(r);
}

static void test_pairs_are_spread_and_the_last_value_counts(void **state)
{
    (void)state;
    static const int64_t pairs[] = {1, 2, 8, 100};
    for (size_t i = 0; i < COUNT_OF(pairs); i++) check_pairs(false, pairs[i]), check_pairs(true, pairs[i]);
}

/* Every key once, each with its last value, in an order that differs from sample to sample. */
static void test_multi_asks_for_every_key(void **state)
{
    (void)state;
    enum { N = 400, PAIRS = 12 };
    int32_t first_asked = -1;
    bool orders_differ = false;
    for (int rewrite = 0; rewrite < 2; rewrite++) {
        snellen_long_options o = snellen_long_options_default();
        o.format = rewrite ? "rewrite-multi" : "remember-multi";
        o.pairs = PAIRS;
        snellen_reader *r = open_reader("associative", &o);
        for (uint64_t index = 0; index < 30; index++) {
            int32_t last[SYMBOL_COUNT], place = 0;
            int64_t keys = 0, asked = 0;
            for (size_t i = 0; i < COUNT_OF(last); i++) last[i] = -1;
            read_sample(r, N, index, 4096, tokens, marks);
            for (int32_t i = 0; i < N; i++) {
                if (is_filler(tokens[i])) continue;
                int32_t *value = &last[tokens[i + 1]];
                if (tokens[i] == SYMBOL_PLUS) {
                    keys += *value < 0;
                    *value = digit(tokens[i + 2]);
                } else {
                    assert_int_equal(digit(tokens[i + 2]), *value);
                    assert_int_equal(marks[i + 2], SNELLEN_MARK_ANSWER);
                    *value = -1;   /* not again */
                    if (!asked++) place = i;
                }
                i += 2;
            }
            assert_int_equal(asked, keys);
            assert_int_equal(place, N - 3 * asked);
            orders_differ |= first_asked >= 0 && tokens[place + 1] != first_asked;
            first_asked = tokens[place + 1];
        }
        snellen_reader_free(r);
    }
    assert_true(orders_differ);
}

/* ---- stream ------------------------------------------------------------------------------------------------------------ */

static void test_stream_asks_for_the_line_some_lines_back(void **state)
{
    (void)state;
    enum { EVERY = 4, BACK = 7, DIGITS = 2, TAKES = 3 + DIGITS };
    snellen_long_options o = snellen_long_options_default();
    o.every = EVERY;
    o.back = BACK;
    o.digits = DIGITS;
    snellen_reader *r = open_reader("stream", &o);
    int64_t n = 30011, at = 0, lines = 0, questions = 0, begin[MOST / TAKES];
    assert_int_equal(read_sample(r, n, 1, 4096, tokens, marks), n);
    for (; at + TAKES <= n && !is_filler(tokens[at]); at += TAKES) {
        if (tokens[at] == SYMBOL_PLUS) {
            begin[lines++] = at;
            continue;
        }
        assert_int_equal(tokens[at], SYMBOL_EQUALS);
        assert_int_equal(lines % EVERY, 0);
        assert_memory_equal(tokens + at + 1, tokens + begin[lines - 1 - BACK] + 1, (TAKES - 1) * sizeof *tokens);
        for (int i = 0; i < TAKES; i++)
            assert_int_equal(marks[at + i], i < 3 ? SNELLEN_MARK_QUESTION : SNELLEN_MARK_ANSWER);
        questions++;
    }
    assert_true(n - at < 2 * TAKES);   /* what is left over is filler */
    for (; at < n; at++) assert_true(is_filler(tokens[at]));
    assert_in_range(lines / EVERY - questions, 1, 2);
    /* No name twice: (128 - 24)^2 of them. */
    static bool named[SYMBOL_COUNT][SYMBOL_COUNT];
    memset(named, 0, sizeof named);
    for (int64_t i = 0; i < lines; i++) {
        bool *name = &named[tokens[begin[i] + 1]][tokens[begin[i] + 2]];
        assert_false(*name);
        *name = true;
    }
    snellen_reader_free(r);
}

/* ---- a model is asked ---------------------------------------------------------------------------------------------------- */

/* What a model writes when each of its tokens is computed from all tokens before; returns the answers. */
static size_t ask_by_definition(const struct snellen_model *model, snellen_reader *r, int64_t length, uint64_t index,
                                snellen_recalled *out)
{
    size_t n = read_sample(r, length, index, 4096, tokens, marks), answers = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(marks[i] & SNELLEN_MARK_ANSWER)) continue;
        if (!i || !(marks[i - 1] & SNELLEN_MARK_ANSWER)) out[answers++] = (snellen_recalled){.index = index};
        snellen_recalled *a = &out[answers - 1];
        int32_t written = fake_next(model, tokens, i);
        a->n_tokens++;
        a->n_right += written == tokens[i];
        tokens[i] = written;
    }
    return answers;
}

/* Half the digits come out right: the fake model wants what stands five tokens before a question's answer. */
static int32_t writes(const int32_t *ids, size_t n)
{
    return n > 40 && n % 2 ? ids[n - 40] : -1;
}

static void test_answers_are_those_of_the_definition(void **state)
{
    (void)state;
    static const int64_t lengths[] = {100, 900};
    enum { N = 3 };
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        if (!strcmp(cases[c].format, "words")) continue;
        struct snellen_model model = fake_model();
        model.writes = writes;
        snellen_long_eval_options o = snellen_long_eval_options_default();
        o.task.format = cases[c].format;
        o.lengths = lengths;
        o.n_lengths = COUNT_OF(lengths);
        o.n_samples = N;
        snellen_long_result *result;
        MUST(snellen_long_eval(&model, cases[c].task, &o, NULL, &result, err));
        assert_int_equal(model.n_sessions, 0);
        snellen_reader *r;
        MUST(snellen_reader_new(&model, cases[c].task, &o.task, &r, err));
        size_t at = 0;
        for (size_t l = 0; l < COUNT_OF(lengths); l++) {
            uint64_t n = 0, exact = 0, n_tokens = 0, n_right = 0;
            for (uint64_t index = 0; index < N; index++) {
                static snellen_recalled want[1000];
                size_t answers = ask_by_definition(&model, r, lengths[l], index, want);
                for (size_t i = 0; i < answers; i++, at++) {
                    const snellen_recalled *got = &result->recalled[at];
                    assert_true(at < result->n_recalled);
                    assert_int_equal(got->index, index);
                    assert_int_equal(got->n_tokens, want[i].n_tokens);
                    assert_int_equal(got->n_right, want[i].n_right);
                    assert_int_equal(got->exact, !strcmp(got->text, got->expected));
                    exact += got->exact;
                    n_tokens += got->n_tokens;
                    n_right += got->n_right;
                }
                n += answers;
            }
            size_t cell = 0;
            while (cell < result->n_cells && result->cells[cell].length != lengths[l]) cell++;
            assert_int_equal(cell < result->n_cells, n > 0);
            if (!n) continue;
            assert_int_equal(result->cells[cell].n, n);
            assert_int_equal(result->cells[cell].n_exact, exact);
            assert_int_equal(result->cells[cell].n_tokens, n_tokens);
            assert_int_equal(result->cells[cell].n_right, n_right);
        }
        assert_int_equal(at, result->n_recalled);
        snellen_reader_free(r);
        snellen_long_result_free(result);
    }
}

static bool stop_late(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    assert_true(done <= total);
    return --*(int *)user > 0;
}

static void test_an_interruption_keeps_finished_samples(void **state)
{
    (void)state;
    static const int64_t lengths[] = {200, 400};
    struct snellen_model model = fake_model();
    snellen_long_eval_options o = snellen_long_eval_options_default();
    o.lengths = lengths;
    o.n_lengths = 2;
    o.n_samples = 4;
    int calls = 33;   /* six a sample: five digits, each after one pass, and the next sample's first */
    const snellen_progress progress = {stop_late, &calls};
    snellen_long_result *r;
    MUST_FAIL(SNELLEN_E_CANCELLED, snellen_long_eval(&model, "passkey", &o, &progress, &r, err));
    assert_true(r->n_recalled > 4 && r->n_recalled < 8);
    assert_int_equal(r->n_cells, 2);
    assert_int_equal(r->cells[0].n + r->cells[1].n, r->n_recalled);
    assert_int_equal(r->cells[0].n, 4);
    snellen_long_result_free(r);
}

static void test_what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    snellen_reader *r;
    static const struct {
        const char *task;
        snellen_long_options o;
    } wrong[] = {
        {"copy", {.depth = -1, .vary = 0.1}},
        {"passkey", {.depth = 1.5, .vary = 0.1}},
        {"passkey", {.depth = -1, .vary = 0.1, .format = "word"}},
        {"passkey", {.depth = -1, .vary = 0.1, .pairs = 3}},
        {"passkey", {.depth = -1, .vary = 0.1, .needle = "{key}"}},
        {"passkey", {.depth = -1, .vary = 0.1, .pool = 24}},
        {"passkey", {.depth = -1, .vary = 0.1, .digits = 10}},
        {"associative", {.depth = 0, .vary = 0.1}},
        {"stream", {.depth = -1, .vary = 0.1, .format = "words", .pool = 50}},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        MUST_FAIL(SNELLEN_E_USAGE, snellen_reader_new(NULL, wrong[i].task, &wrong[i].o, &r, err));
    snellen_long_options o = snellen_long_options_default();
    r = open_reader("passkey", &o);
    MUST_FAIL(SNELLEN_E_USAGE, snellen_reader_start(r, 63, 0, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_reader_start(r, SNELLEN_LONG_MAX + 1, 0, err));
    snellen_reader_free(r);
    o.pairs = 105;
    r = open_reader("associative", &o);
    MUST_FAIL(SNELLEN_E_USAGE, snellen_reader_start(r, 5000, 0, err));
    snellen_reader_free(r);
    o.pairs = 100;
    r = open_reader("associative", &o);
    MUST_FAIL(SNELLEN_E_USAGE, snellen_reader_start(r, 302, 0, err));
    snellen_reader_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_of_any_size_are_the_same_sample),
        cmocka_unit_test(test_ten_million_tokens_in_a_piece_of_memory),
        cmocka_unit_test(test_passkey_says_once_and_asks_at_the_end),
        cmocka_unit_test(test_passkey_within_the_first_tokens),
        cmocka_unit_test(test_keys_of_training_and_test_differ),
        cmocka_unit_test(test_needle_and_haystack_of_the_users),
        cmocka_unit_test(test_pairs_are_spread_and_the_last_value_counts),
        cmocka_unit_test(test_multi_asks_for_every_key),
        cmocka_unit_test(test_stream_asks_for_the_line_some_lines_back),
        cmocka_unit_test(test_answers_are_those_of_the_definition),
        cmocka_unit_test(test_an_interruption_keeps_finished_samples),
        cmocka_unit_test(test_what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
