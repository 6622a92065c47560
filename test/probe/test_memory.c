/* The probes of a memory: attention of its rows against plain arithmetic (make_memory_attention.py), cuts against
 * sessions that begin where the cut is, survival on the model of the repository. argv[1] = folder of golden values,
 * argv[2] = memory_attention.safetensors, argv[3] = models/passkey. */
#include "test/test.h"

#include "base/base.h"
#include "format/format.h"
#include "model/session.h"

static const char *golden, *expected, *passkey;
enum { N = 45, FAM = 4, LAYERS = 3, D = 32, BLOCK = 8, DIGITS = 5 };

static void tensor(const char *path, const char *name, void *to, uint64_t n_bytes)
{
    struct safetensors *st;
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    uint64_t n;
    MUST(safetensors_open(path, &st, err));
    assert_true(safetensors_raw(st, name, &type, &n_dims, &shape, &data, &n));
    assert_int_equal(n, n_bytes);
    memcpy(to, data, n);
    safetensors_close(st);
}

/* The golden model with its prompt; its tokens. */
static snellen_model *load_golden(int32_t tokens[N])
{
    char path[4096];
    int64_t wide[N];
    snellen_model *model;
    snprintf(path, sizeof path, "%s/fam", golden);
    MUST(snellen_model_load(path, &model, err));
    snprintf(path, sizeof path, "%s/fam/inputs.safetensors", golden);
    MUST(snellen_model_load_prompt(model, path, err));
    tensor(path, "tokens", wide, sizeof wide);
    for (int i = 0; i < N; i++) tokens[i] = (int32_t)wide[i];
    return model;
}

static snellen_memory_options options_of(snellen_memory_kind kind, int64_t segments)
{
    snellen_memory_options o = snellen_memory_options_default();
    o.session.memory = kind;
    o.session.block = BLOCK;
    o.session.segments = segments;
    o.session.n_threads = 1;
    return o;
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

static void check_attention(snellen_memory_kind kind, const char *name, int64_t chunk)
{
    static float wanted[LAYERS * 5 * FAM * (2 * FAM + BLOCK)];
    int32_t tokens[N];
    snellen_model *model = load_golden(tokens);
    snellen_memory_options o = options_of(kind, 1);
    snellen_memory_attention *a;
    o.session.chunk = chunk;
    MUST(snellen_probe_memory_attention(model, tokens, N, &o, NULL, &a, err));
    assert_int_equal(a->n_blocks, N / BLOCK);
    assert_int_equal(a->n_seen, BLOCK + (kind == SNELLEN_MEMORY_RMT ? 2 : 1) * FAM);
    size_t n = (size_t)(a->n_layers * a->n_blocks * a->n_rows * a->n_seen);
    tensor(expected, name, wanted, n * sizeof *wanted);
    assert_true(worst_difference(a->weights, wanted, n) < 1e-5);
    for (size_t row = 0; row < n; row += (size_t)a->n_seen) {
        double sum = 0;
        for (int64_t i = 0; i < a->n_seen; i++) sum += (double)a->weights[row + (size_t)i];
        assert_true(fabs(sum - 1) < 1e-5);
    }
    snellen_memory_attention_free(a);
    snellen_model_free(model);
}

static void test_attention_is_plain_arithmetic(void **state)
{
    (void)state;
    static const int64_t chunks[] = {512, BLOCK, 3};
    for (size_t i = 0; i < COUNT_OF(chunks); i++) {
        check_attention(SNELLEN_MEMORY_FAM, "fam", chunks[i]);
        check_attention(SNELLEN_MEMORY_RMT, "rmt", chunks[i]);
    }
}

static void test_blocks_asked_for_are_those_of_all(void **state)
{
    (void)state;
    int32_t tokens[N];
    snellen_model *model = load_golden(tokens);
    snellen_memory_options o = options_of(SNELLEN_MEMORY_FAM, 0);
    snellen_memory_attention *all, *some;
    MUST(snellen_probe_memory_attention(model, tokens, N, &o, NULL, &all, err));
    o.first_block = 2;
    o.n_blocks = 2;
    MUST(snellen_probe_memory_attention(model, tokens, N, &o, NULL, &some, err));
    assert_int_equal(some->first_block, 2);
    assert_int_equal(some->n_blocks, 2);
    size_t map = (size_t)(all->n_rows * all->n_seen);
    for (size_t layer = 0; layer < LAYERS; layer++)
        assert_memory_equal(some->weights + layer * 2 * map, all->weights + (layer * 5 + 2) * map,
                            2 * map * sizeof(float));
    snellen_memory_attention_free(some);
    snellen_memory_attention_free(all);
    snellen_model_free(model);
}

/* ---- cuts -------------------------------------------------------------------------------------------------------- */

/* log p of the last n_answer tokens: of what a session reads on from where it is. */
static double log_p_of(snellen_session *s, const snellen_model *model, const int32_t *tokens, size_t n, size_t n_answer)
{
    int64_t n_vocab = snellen_model_get_info(model)->n_vocab;
    double log_p = 0;
    MUST(snellen_session_feed(s, tokens, n - n_answer, NULL, err));
    for (size_t i = n - n_answer; i < n; i++) {
        const float *logits = snellen_session_logits(s);
        double sum = 0;
        for (int64_t j = 0; j < n_vocab; j++) sum += exp((double)logits[j]);
        log_p += (double)logits[tokens[i]] - log(sum);
        MUST(snellen_session_feed(s, tokens + i, 1, NULL, err));
    }
    return log_p;
}

/* The rows that a text begins with. */
static void start_rows(const snellen_model *model, const snellen_session_options *o, float rows[LAYERS * FAM * D])
{
    snellen_session *s;
    MUST(snellen_session_new(model, o, &s, err));
    MUST(snellen_session_feed(s, (const int32_t[]){7}, 1, NULL, err));
    for (int64_t layer = 0; layer < LAYERS; layer++)
        memcpy(rows + layer * FAM * D, snellen_session_memory(s, layer), FAM * D * sizeof(float));
    snellen_session_free(s);
}

/* Without blocks before, a cut leaves nothing of the text before it: it is a session that begins there, with the
 * start's rows as a memory that was carried over. Rotary positions only differ. */
static void test_a_cut_begins_anew(void **state)
{
    (void)state;
    enum { ANSWER = 2 };
    int32_t tokens[N];
    float rows[LAYERS * FAM * D];
    snellen_model *model = load_golden(tokens);
    snellen_memory_options o = options_of(SNELLEN_MEMORY_FAM, 0);
    snellen_memory_cuts *cuts;
    snellen_session *s;
    o.n_answer = ANSWER;
    o.n_cuts = 0;
    o.by_layer = true;
    MUST(snellen_probe_memory_cuts(model, tokens, N, &o, NULL, &cuts, err));
    assert_int_equal(cuts->n_blocks, 5);
    assert_int_equal(cuts->n_cuts, 5);
    assert_int_equal(cuts->n_columns, 1 + LAYERS);
    start_rows(model, &o.session, rows);
    MUST(snellen_session_new(model, &o.session, &s, err));
    for (size_t i = 0; i < cuts->n_cuts; i++) {
        size_t from = (i + 1) * BLOCK;
        assert_int_equal(cuts->blocks[i], i);
        MUST(snellen_session_set_memory(s, rows, err));
        assert_true(fabs(cuts->cut_log_p[i * 4] - log_p_of(s, model, tokens + from, N - from, ANSWER)) < 1e-4);
    }
    MUST(snellen_session_truncate(s, 0, err));
    assert_true(fabs(cuts->log_p - log_p_of(s, model, tokens, N, ANSWER)) < 1e-9);
    assert_true(fabs(cuts->log_p - cuts->cut_log_p[4 * 4]) > 1e-3);
    snellen_session_free(s);
    snellen_memory_cuts_free(cuts);
    snellen_model_free(model);
}

/* A cut of one layer alone: that layer's rows of another session in place of what was made. */
static void test_a_layer_is_cut_alone(void **state)
{
    (void)state;
    int32_t tokens[N];
    float rows[LAYERS * FAM * D], carried[LAYERS * FAM * D];
    snellen_model *model = load_golden(tokens);
    snellen_memory_options o = options_of(SNELLEN_MEMORY_FAM, 0);
    snellen_memory_cuts *cuts;
    snellen_session *s;
    o.n_cuts = 1;
    o.by_layer = true;
    MUST(snellen_probe_memory_cuts(model, tokens, N, &o, NULL, &cuts, err));
    assert_int_equal(cuts->blocks[0], 4);
    start_rows(model, &o.session, rows);
    MUST(snellen_session_new(model, &o.session, &s, err));
    MUST(snellen_session_feed(s, tokens, 5 * BLOCK, NULL, err));
    for (int64_t layer = 0; layer < LAYERS; layer++)
        memcpy(carried + layer * FAM * D, snellen_session_memory(s, layer), FAM * D * sizeof(float));
    for (int64_t layer = 0; layer < LAYERS; layer++) {
        float mixed[LAYERS * FAM * D];
        memcpy(mixed, carried, sizeof mixed);
        memcpy(mixed + layer * FAM * D, rows + layer * FAM * D, FAM * D * sizeof(float));
        MUST(snellen_session_set_memory(s, mixed, err));
        double log_p = log_p_of(s, model, tokens + 5 * BLOCK, N - 5 * BLOCK, 1);
        assert_true(fabs(cuts->cut_log_p[1 + layer] - log_p) < 1e-4);
        assert_true(fabs(cuts->cut_log_p[1 + layer] - cuts->log_p) > 1e-5);
    }
    snellen_session_free(s);
    snellen_memory_cuts_free(cuts);
    snellen_model_free(model);
}

/* rmt has one memory: the block after a cut is a text's first. */
static void test_a_cut_of_recurrent_memory_begins_anew(void **state)
{
    (void)state;
    int32_t tokens[N];
    snellen_model *model = load_golden(tokens);
    snellen_memory_options o = options_of(SNELLEN_MEMORY_RMT, -1);
    snellen_memory_cuts *cuts;
    snellen_session *s;
    o.n_cuts = 2;
    o.by_layer = true;   /* there is nothing but the whole */
    MUST(snellen_probe_memory_cuts(model, tokens, N, &o, NULL, &cuts, err));
    assert_int_equal(cuts->n_columns, 1);
    MUST(snellen_session_new(model, &o.session, &s, err));
    for (size_t i = 0; i < 2; i++) {
        size_t from = (size_t)(cuts->blocks[i] + 1) * BLOCK;
        MUST(snellen_session_truncate(s, 0, err));
        assert_true(fabs(cuts->cut_log_p[i] - log_p_of(s, model, tokens + from, N - from, 1)) < 1e-4);
    }
    assert_int_equal(cuts->blocks[0], 0);
    assert_int_equal(cuts->blocks[1], 4);
    snellen_session_free(s);
    snellen_memory_cuts_free(cuts);
    snellen_model_free(model);
}

/* Kept in memory and returned to, with other rows or with its own: only the first is another text. */
static void test_a_session_that_returns_goes_on_bit_for_bit(void **state)
{
    (void)state;
    static const snellen_memory_kind kinds[] = {SNELLEN_MEMORY_FAM, SNELLEN_MEMORY_RMT};
    int32_t tokens[N];
    snellen_model *model = load_golden(tokens);
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        snellen_memory_options o = options_of(kinds[k], kinds[k] == SNELLEN_MEMORY_RMT ? -1 : 2);
        float first[101], again[101];
        struct strbuf kept = {0};
        snellen_session *s;
        MUST(snellen_session_new(model, &o.session, &s, err));
        MUST_FAIL(SNELLEN_E_USAGE, session_replace_memory(s, 0, (const float[FAM * D]){0}, err));
        MUST(snellen_session_feed(s, tokens, 2 * BLOCK, NULL, err));
        MUST(session_keep(s, &kept, err));
        MUST(snellen_session_feed(s, tokens + 2 * BLOCK, N - 2 * BLOCK, NULL, err));
        memcpy(first, snellen_session_logits(s), sizeof first);
        MUST_FAIL(SNELLEN_E_USAGE, session_replace_memory(s, 0, (const float[FAM * D]){0}, err));
        MUST(session_return(s, &kept, err));
        MUST(session_replace_memory(s, 0, (const float[FAM * D]){0}, err));
        MUST_FAIL(SNELLEN_E_USAGE, session_replace_memory(s, LAYERS, (const float[FAM * D]){0}, err));
        MUST(snellen_session_feed(s, tokens + 2 * BLOCK, N - 2 * BLOCK, NULL, err));
        assert_true(worst_difference(first, snellen_session_logits(s), 101) > 1e-4);
        MUST(session_return(s, &kept, err));
        MUST(snellen_session_feed(s, tokens + 2 * BLOCK, N - 2 * BLOCK, NULL, err));
        memcpy(again, snellen_session_logits(s), sizeof again);
        assert_memory_equal(first, again, sizeof first);
        strbuf_free(&kept);
        snellen_session_free(s);
    }
    snellen_model_free(model);
}

/* ---- the model of the repository --------------------------------------------------------------------------------- */

static void a_pass_key(const snellen_model *model, int32_t *tokens, size_t n)
{
    snellen_long_options o = snellen_long_options_default();
    snellen_reader *reader;
    o.within = 32;
    o.pool = 64;
    MUST(snellen_reader_new(model, "passkey", &o, &reader, err));
    MUST(snellen_reader_start(reader, (int64_t)n, 0, err));
    for (size_t at = 0, taken; at < n; at += taken) {
        MUST(snellen_reader_next(reader, tokens + at, NULL, n - at, &taken, err));
        assert_true(taken > 0);
    }
    snellen_reader_free(reader);
}

/* All that is known of the key comes through the rows, and a cut after any block loses it. */
static void test_the_key_comes_through_the_memory(void **state)
{
    (void)state;
    enum { LENGTH = 512 };
    int32_t tokens[LENGTH];
    snellen_model *model;
    snellen_memory_options o = snellen_memory_options_default();
    snellen_memory_cuts *cuts;
    snellen_session *s;
    MUST(snellen_model_load(passkey, &model, err));
    a_pass_key(model, tokens, LENGTH);
    o.n_answer = DIGITS;
    o.n_cuts = 4;
    o.session.n_threads = 1;
    MUST(snellen_probe_memory_cuts(model, tokens, LENGTH, &o, NULL, &cuts, err));
    assert_int_equal(cuts->n_blocks, (LENGTH - DIGITS - 1) / 32);
    assert_int_equal(cuts->n_right, DIGITS);
    for (size_t i = 0; i < cuts->n_cuts; i++) assert_true(cuts->cut_log_p[i] < cuts->log_p - 3);
    o.session.memory = SNELLEN_MEMORY_FAM;
    MUST(snellen_session_new(model, &o.session, &s, err));
    assert_true(fabs(cuts->log_p - log_p_of(s, model, tokens, LENGTH, DIGITS)) < 1e-9);
    snellen_session_free(s);
    snellen_memory_cuts_free(cuts);
    snellen_model_free(model);
}

/* Survival asks what snellen_long_eval() asks; the same window without its rows knows nothing. */
static void test_survival(void **state)
{
    (void)state;
    snellen_model *model;
    snellen_survival_options o = snellen_survival_options_default();
    snellen_long_eval_options eval = snellen_long_eval_options_default();
    snellen_survival *survival;
    snellen_long_result *result;
    MUST(snellen_model_load(passkey, &model, err));
    o.task.pool = 64;
    o.most_blocks = 9;
    o.n_samples = 5;
    o.session.n_threads = 1;
    MUST(snellen_probe_memory_survival(model, &o, NULL, &survival, err));
    assert_int_equal(survival->n_points, 4);
    eval.task = o.task;
    eval.task.depth = 0;
    eval.n_samples = 5;
    eval.session = o.session;
    eval.session.memory = SNELLEN_MEMORY_FAM;
    for (size_t i = 0; i < 4; i++) {
        const snellen_survival_point *p = &survival->points[i];
        assert_int_equal(p->blocks, 1 << i);
        assert_int_equal(p->length, 32 * ((1 << i) + 1));
        eval.lengths = &p->length;
        eval.n_lengths = 1;
        MUST(snellen_long_eval(model, "passkey", &eval, NULL, &result, err));
        assert_int_equal(p->n_exact, result->cells[0].n_exact);
        assert_true(p->exact_low == result->cells[0].exact_low && p->exact_high == result->cells[0].exact_high);
        assert_int_equal(p->n_tokens, 5 * DIGITS);
        assert_true(p->log_p_low <= p->log_p && p->log_p <= p->log_p_high && p->log_p < 0);
        snellen_long_result_free(result);
    }
    assert_true(survival->points[0].n_exact >= 4);
    snellen_survival_free(survival);
    o.session.memory = SNELLEN_MEMORY_BSWA;
    o.session.block = 32;
    o.session.segments = 0;
    o.most_blocks = 1;
    MUST(snellen_probe_memory_survival(model, &o, NULL, &survival, err));
    assert_int_equal(survival->points[0].n_exact, 0);
    assert_true(survival->points[0].log_p < -5);
    snellen_survival_free(survival);
    snellen_model_free(model);
}

/* ---- interruptions and wrong calls ------------------------------------------------------------------------------- */

struct patience {
    int calls;
    uint64_t done;
};

static bool wait_for(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct patience *p = user;
    (void)what;
    assert_true(done >= p->done && done <= total);
    p->done = done;
    return p->calls-- > 0;
}

static void test_what_was_done_is_kept(void **state)
{
    (void)state;
    int32_t tokens[N];
    snellen_model *model = load_golden(tokens);
    snellen_memory_options o = options_of(SNELLEN_MEMORY_FAM, 0);
    snellen_memory_cuts *all, *some;
    o.n_cuts = 0;
    o.session.chunk = BLOCK;
    MUST(snellen_probe_memory_cuts(model, tokens, N, &o, NULL, &all, err));
    struct patience p = {.calls = 20};
    const snellen_progress progress = {.step = wait_for, .user = &p};
    MUST_FAIL(SNELLEN_E_CANCELLED, snellen_probe_memory_cuts(model, tokens, N, &o, &progress, &some, err));
    assert_non_null(some);
    assert_true(some->n_cuts > 0 && some->n_cuts < all->n_cuts);
    assert_true(some->log_p == all->log_p);
    assert_memory_equal(some->cut_log_p, all->cut_log_p, some->n_cuts * sizeof(double));
    snellen_memory_cuts_free(some);
    p = (struct patience){.calls = 1};
    MUST_FAIL(SNELLEN_E_CANCELLED, snellen_probe_memory_cuts(model, tokens, N, &o, &progress, &some, err));
    assert_null(some);
    snellen_memory_cuts_free(all);

    snellen_memory_attention *whole, *part;
    MUST(snellen_probe_memory_attention(model, tokens, N, &o, NULL, &whole, err));
    p = (struct patience){.calls = 2};
    MUST_FAIL(SNELLEN_E_CANCELLED, snellen_probe_memory_attention(model, tokens, N, &o, &progress, &part, err));
    assert_int_equal(part->n_blocks, 2);
    size_t map = (size_t)(whole->n_rows * whole->n_seen);
    for (size_t layer = 0; layer < LAYERS; layer++)
        assert_memory_equal(part->weights + layer * 2 * map, whole->weights + layer * 5 * map, 2 * map * sizeof(float));
    snellen_memory_attention_free(part);
    snellen_memory_attention_free(whole);
    snellen_model_free(model);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    int32_t tokens[N];
    snellen_model *model = load_golden(tokens);
    snellen_memory_options o = options_of(SNELLEN_MEMORY_FAM, 0), none = snellen_memory_options_default();
    snellen_memory_attention *a;
    snellen_memory_cuts *c;
    snellen_survival *v;
    snellen_survival_options s = snellen_survival_options_default();
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_attention(model, tokens, N, &none, NULL, &a, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_cuts(model, tokens, N, &none, NULL, &c, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_survival(model, &s, NULL, &v, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_attention(model, tokens, BLOCK - 1, &o, NULL, &a, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_cuts(model, tokens, BLOCK + 1, &o, NULL, &c, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_cuts(model, tokens, 0, &o, NULL, &c, err));
    o.first_block = 5;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_attention(model, tokens, N, &o, NULL, &a, err));
    o.n_answer = N;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_cuts(model, tokens, N, &o, NULL, &c, err));
    o.n_answer = 1;
    o.n_cuts = -1;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_cuts(model, tokens, N, &o, NULL, &c, err));
    s.session = o.session;
    s.n_samples = 0;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_memory_survival(model, &s, NULL, &v, err));
    snellen_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc < 4) return 2;
    golden = argv[1];
    expected = argv[2];
    passkey = argv[3];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention_is_plain_arithmetic),
        cmocka_unit_test(test_blocks_asked_for_are_those_of_all),
        cmocka_unit_test(test_a_cut_begins_anew),
        cmocka_unit_test(test_a_layer_is_cut_alone),
        cmocka_unit_test(test_a_cut_of_recurrent_memory_begins_anew),
        cmocka_unit_test(test_a_session_that_returns_goes_on_bit_for_bit),
        cmocka_unit_test(test_the_key_comes_through_the_memory),
        cmocka_unit_test(test_survival),
        cmocka_unit_test(test_what_was_done_is_kept),
        cmocka_unit_test(test_wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
