/* Properties of memories and sessions that need no expected values: a wide window is full attention, chunking changes
 * nothing, streams do not grow, sampling and perplexity are plain arithmetic. argv[1] = folder of golden values. */
#include "test/test.h"

#include "base/base.h"

static const char *golden;

static void random_tokens(int32_t *tokens, size_t n, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed, 0);
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)rng_below(&rng, 101);
}

static void logits_of(const snellen_model *model, const snellen_session_options *options, const int32_t *tokens, size_t n,
                      size_t piece, float *logits)
{
    size_t n_vocab = (size_t)snellen_model_get_info(model)->n_vocab;
    snellen_session *session;
    MUST(snellen_session_new(model, options, &session, err));
    for (size_t i = 0; i < n; i += piece) {
        snellen_outputs out = {.logits = logits + i * n_vocab};
        MUST(snellen_session_feed(session, tokens + i, n - i < piece ? n - i : piece, &out, err));
    }
    snellen_session_free(session);
}

enum { N = 60, VOCAB = 101 };
static const char *const archs[] = {"llama", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};

static void test_wide_windows_are_full_attention(void **state)
{
    (void)state;
    static float full[N * VOCAB], other[N * VOCAB];
    int32_t tokens[N];
    random_tokens(tokens, N, 1);
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        snellen_model *model = load_model(golden, archs[i]);
        bool learned = !strcmp(snellen_model_get_info(model)->positions, "learned");
        snellen_session_options options = snellen_session_options_default();
        logits_of(model, &options, tokens, N, N, full);
        options.memory = SNELLEN_MEMORY_SWA;
        options.window = N;
        logits_of(model, &options, tokens, N, 7, other);
        assert_true(worst_difference(full, other, N * VOCAB) < 1e-4);
        options.memory = SNELLEN_MEMORY_SINK;
        options.window = N - 4;
        if (!learned) logits_of(model, &options, tokens, N, 7, other);
        assert_true(worst_difference(full, other, N * VOCAB) < 1e-4);
        snellen_session *session;
        if (learned) MUST_FAIL(SNELLEN_E_UNSUPPORTED, snellen_session_new(model, &options, &session, err));
        snellen_model_free(model);
    }
}

static void test_chunking_changes_nothing(void **state)
{
    (void)state;
    static float whole[N * VOCAB], pieces[N * VOCAB];
    int32_t tokens[N];
    random_tokens(tokens, N, 2);
    static const snellen_memory_kind kinds[] = {SNELLEN_MEMORY_SWA, SNELLEN_MEMORY_SINK};
    static const char *const flat[] = {"llama", "gemma3", "bloom"};
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 2; j++) {
            snellen_model *model = load_model(golden, flat[i]);
            snellen_session_options options = snellen_session_options_default();
            options.memory = kinds[j];
            options.window = 9;
            options.sinks = 3;
            logits_of(model, &options, tokens, N, N, whole);
            for (int64_t chunk = 1; chunk < 24; chunk += 5) {
                options.chunk = chunk;
                logits_of(model, &options, tokens, N, N, pieces);
                assert_true(worst_difference(whole, pieces, N * VOCAB) < 1e-4);
                logits_of(model, &options, tokens, N, 13, pieces);
                assert_true(worst_difference(whole, pieces, N * VOCAB) < 1e-4);
            }
            snellen_model_free(model);
        }
}

/* Inside the window only differences of positions matter, so a stream's tail gives what the same tail gives alone: under
 * swa in a one-layer view this needs the tail to be as long as layers x window. */
static void test_swa_forgets_what_left_all_windows(void **state)
{
    (void)state;
    static float stream[N * VOCAB], tail[N * VOCAB];
    int32_t tokens[N];
    random_tokens(tokens, N, 3);
    snellen_model *model = load_model(golden, "llama");
    snellen_session_options options = snellen_session_options_default();
    options.memory = SNELLEN_MEMORY_SWA;
    options.window = 6;
    int64_t reach = snellen_model_get_info(model)->n_layers * (options.window - 1) + 1;
    logits_of(model, &options, tokens, N, N, stream);
    logits_of(model, &options, tokens + N - reach, (size_t)reach, N, tail);
    assert_true(worst_difference(stream + (N - 1) * VOCAB, tail + (reach - 1) * VOCAB, VOCAB) < 1e-4);
    logits_of(model, &options, tokens + N - reach + 3, (size_t)reach - 3, N, tail);
    assert_true(worst_difference(stream + (N - 1) * VOCAB, tail + (reach - 4) * VOCAB, VOCAB) > 1e-4);
    snellen_model_free(model);
}

/* A sink stream of any length equals full attention over the sinks and the window alone, positions counted inside: exact
 * for one layer's keys, whose inputs are embeddings. So: a stream of one repeated token, where every layer's input is the
 * same everywhere once the positions inside the cache are. */
static void test_sink_counts_positions_inside_the_cache(void **state)
{
    (void)state;
    enum { LONG = 4000 };
    int32_t *tokens = calloc(LONG, sizeof *tokens);
    static const char *const flat[] = {"llama", "bloom"};
    for (size_t i = 0; i < 2; i++) {
        snellen_model *model = load_model(golden, flat[i]);
        snellen_session_options options = snellen_session_options_default();
        options.memory = SNELLEN_MEMORY_SINK;
        options.window = 16;
        options.chunk = 33;
        snellen_session *session;
        float early[VOCAB];
        MUST(snellen_session_new(model, &options, &session, err));
        MUST(snellen_session_feed(session, tokens, 400, NULL, err));
        memcpy(early, snellen_session_logits(session), sizeof early);
        MUST(snellen_session_feed(session, tokens, LONG, NULL, err));
        assert_true(worst_difference(early, snellen_session_logits(session), VOCAB) < 1e-4);
        assert_int_equal(snellen_session_length(session), 400 + LONG);
        MUST_FAIL(SNELLEN_E_CONTEXT, snellen_session_truncate(session, 10, err));
        MUST(snellen_session_truncate(session, 0, err));
        snellen_session_free(session);
        snellen_model_free(model);
    }
    free(tokens);
}

static void test_threads_and_repeats_give_the_same_bytes(void **state)
{
    (void)state;
    static float one[N * VOCAB], two[N * VOCAB];
    int32_t tokens[N];
    random_tokens(tokens, N, 4);
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        snellen_model *model = load_model(golden, archs[i]);
        snellen_session_options options = snellen_session_options_default();
        for (int chunk = 0; chunk <= 1; chunk++) {
            options.chunk = chunk;
            options.n_threads = 1;
            logits_of(model, &options, tokens, N, N, one);
            options.n_threads = 3;
            logits_of(model, &options, tokens, N, N, two);
            assert_memory_equal(one, two, sizeof one);
        }
        snellen_model_free(model);
    }
}

static void test_precision_rounds_everything(void **state)
{
    (void)state;
    static float hidden[5 * N * 32], logits[N * VOCAB];
    int32_t tokens[N];
    random_tokens(tokens, N, 5);
    snellen_model *model = load_model(golden, "llama");
    snellen_session_options options = snellen_session_options_default();
    options.precision = SNELLEN_BF16;
    snellen_session *session;
    snellen_outputs out = {.hidden = hidden, .logits = logits};
    MUST(snellen_session_new(model, &options, &session, err));
    MUST(snellen_session_feed(session, tokens, N, &out, err));
    for (size_t i = 0; i < 5 * N * 32; i++) {
        uint32_t bits;
        memcpy(&bits, &hidden[i], 4);
        assert_int_equal(bits & 0xffff, 0);
    }
    snellen_session_free(session);
    snellen_model_free(model);
}

static void test_wrong_calls_are_told(void **state)
{
    (void)state;
    snellen_model *model = load_model(golden, "gpt2"), *none;
    snellen_session *session;
    snellen_session_options options = snellen_session_options_default();
    MUST_FAIL(SNELLEN_E_USAGE, snellen_model_load("no-such-model", &none, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_model_load("", &none, err));
    options.n_context = 65;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_session_new(model, &options, &session, err));
    options.n_context = 0;
    options.chunk = -1;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_session_new(model, &options, &session, err));
    options.chunk = 0;
    options.memory = SNELLEN_MEMORY_SWA;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_session_new(model, &options, &session, err));
    options.memory = SNELLEN_MEMORY_FULL;
    MUST(snellen_session_new(model, &options, &session, err));
    int32_t tokens[65] = {0};
    MUST_FAIL(SNELLEN_E_CONTEXT, snellen_session_feed(session, tokens, 65, NULL, err));
    tokens[1] = 101;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_session_feed(session, tokens, 2, NULL, err));
    tokens[1] = -1;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_session_feed(session, tokens, 2, NULL, err));
    assert_int_equal(snellen_session_length(session), 0);
    assert_null(snellen_session_logits(session));
    MUST(snellen_session_feed(session, tokens, 0, NULL, err));
    MUST(snellen_session_feed(session, tokens, 1, NULL, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_session_truncate(session, 2, err));
    char *text;
    size_t n;
    int32_t *ids;
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, snellen_tokenize(model, "a", 1, 0, &ids, &n, err));
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, snellen_detokenize(model, tokens, 1, 0, &text, &n, err));
    snellen_session_free(session);
    options.n_context = 0;
    snellen_model_free(model);
    model = load_model(golden, "llama");
    options.n_context = (int64_t)1 << 40;
    MUST_FAIL(SNELLEN_E_MEMORY, snellen_session_new(model, &options, &session, err));
    snellen_model_free(model);
}

/* ---- perplexity ------------------------------------------------------------------------------------------------------ */

/* Every third token becomes the one that the model holds for the likeliest there, in windows of their own. */
static void let_some_be_right(const snellen_model *model, int32_t *tokens, size_t n, size_t window)
{
    snellen_session *session;
    int64_t vocab = snellen_model_get_info(model)->n_vocab;
    MUST(snellen_session_new(model, NULL, &session, err));
    for (size_t i = 0; i < n; i++) {
        if (i % window == 0) MUST(snellen_session_truncate(session, 0, err));
        const float *logits = i % window ? snellen_session_logits(session) : NULL;
        if (logits && i % 3 == 0) tokens[i] = 0;
        for (int32_t k = 0; logits && i % 3 == 0 && k < vocab; k++)
            if (logits[k] > logits[tokens[i]]) tokens[i] = k;
        MUST(snellen_session_feed(session, tokens + i, 1, NULL, err));
    }
    snellen_session_free(session);
}

static void test_perplexity_is_the_mean_of_the_nll(void **state)
{
    (void)state;
    enum { LONG = 150, CONTEXT = 40 };
    int32_t tokens[LONG];
    float nll[LONG], window[CONTEXT];
    random_tokens(tokens, LONG, 6);
    snellen_model *model = load_model(golden, "llama");
    let_some_be_right(model, tokens, LONG, CONTEXT);
    snellen_perplexity_options options = {.session = snellen_session_options_default(), .context = CONTEXT};
    snellen_perplexity *ppl;
    snellen_perplexity_result result;
    MUST(snellen_perplexity_new(model, &options, &ppl, err));
    for (size_t i = 0; i < LONG; i += 11) MUST(snellen_perplexity_feed(ppl, tokens + i, LONG - i < 11 ? LONG - i : 11, nll + i, err));
    snellen_perplexity_get(ppl, &result);
    snellen_perplexity_free(ppl);

    double sum = 0;
    uint64_t n = 0, by_position = 0, by_distance = 0, right = 0, right_by_position = 0;
    int64_t vocab = snellen_model_get_info(model)->n_vocab;
    float *logits = malloc(CONTEXT * (size_t)vocab * sizeof *logits);
    assert_non_null(logits);
    for (size_t start = 0; start + CONTEXT <= LONG; start += CONTEXT) {
        snellen_session *session;
        uint8_t likeliest[CONTEXT];
        snellen_outputs out = {.nll = window, .right = likeliest, .logits = logits};
        MUST(snellen_session_new(model, NULL, &session, err));
        MUST(snellen_session_feed(session, tokens + start, CONTEXT, &out, err));
        assert_int_equal(likeliest[0], 0);
        for (size_t i = 1; i < CONTEXT; i++) {
            const float *row = logits + (i - 1) * (size_t)vocab;
            int64_t best = 0;
            for (int64_t k = 1; k < vocab; k++)
                if (row[k] > row[best]) best = k;
            assert_int_equal(likeliest[i], best == tokens[start + i]);
            right += i > CONTEXT / 2 && likeliest[i];
        }
        for (size_t i = 0; i < CONTEXT; i++) {
            if (i <= CONTEXT / 2) {
                assert_true(isnan(nll[start + i]));
                continue;
            }
            assert_true(fabs((double)window[i] - (double)nll[start + i]) < 1e-4);
            sum += (double)window[i];
            n++;
        }
        snellen_session_free(session);
    }
    assert_int_equal(result.n_scored, n);
    assert_int_equal(result.n_windows, LONG / CONTEXT);
    assert_true(fabs(result.nll - sum / (double)n) < 1e-5);
    for (int i = 0; i < SNELLEN_PPL_BUCKETS; i++) {
        by_position += result.position_count[i];
        by_distance += result.distance_count[i];
        right_by_position += result.position_right[i];
    }
    assert_true(right > n / 4);
    assert_int_equal(result.n_right, right);
    assert_int_equal(right_by_position, right);
    free(logits);
    assert_int_equal(by_position, n);
    assert_int_equal(by_distance + result.first_count, n);
    snellen_model_free(model);
}

/* ---- sampling ---------------------------------------------------------------------------------------------------------- */

static void test_sampling_follows_the_distribution(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    static const float logits[6] = {2, 1, 0, -1, -30, NAN};
    int count[6] = {0};
    snellen_sampling sampling = {.temp = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 3};
    snellen_sampler *sampler;
    MUST(snellen_sampler_new(&sampling, 6, &sampler, err));
    for (int i = 0; i < DRAWS; i++) count[snellen_sample(sampler, logits)]++;
    snellen_sampler_free(sampler);
    double z = exp(2) + exp(1) + 1 + exp(-1);
    for (int i = 0; i < 4; i++) assert_true(fabs(count[i] / (double)DRAWS - exp((double)logits[i]) / z) < 0.005);
    assert_int_equal(count[4] + count[5], 0);

    sampling.top_k = 2;
    memset(count, 0, sizeof count);
    MUST(snellen_sampler_new(&sampling, 6, &sampler, err));
    for (int i = 0; i < 2000; i++) count[snellen_sample(sampler, logits)]++;
    snellen_sampler_free(sampler);
    assert_true(count[0] > count[1] && count[1] > 0 && count[0] + count[1] == 2000);

    sampling.temp = 0;
    MUST(snellen_sampler_new(&sampling, 6, &sampler, err));
    assert_int_equal(snellen_sample(sampler, logits), 0);
    snellen_sampler_free(sampler);
    sampling.top_p = 0;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_sampler_new(&sampling, 6, &sampler, err));
}

/* The k largest of many, against a full sort. */
static void test_top_k_keeps_the_largest(void **state)
{
    (void)state;
    enum { MANY = 5000, K = 37 };
    static float logits[MANY];
    struct rng rng;
    rng_seed(&rng, 9, 0);
    for (int i = 0; i < MANY; i++) logits[i] = (float)rng_below(&rng, 300);   /* many ties */
    snellen_sampling sampling = {.temp = 1000, .top_k = K, .top_p = 1, .min_p = 0, .seed = 1};
    snellen_sampler *sampler;
    MUST(snellen_sampler_new(&sampling, MANY, &sampler, err));
    static bool drawn[MANY];
    for (int i = 0; i < 5000; i++) drawn[snellen_sample(sampler, logits)] = true;
    snellen_sampler_free(sampler);
    int n = 0;
    for (int i = 0; i < MANY; i++) {
        int above = 0;   /* how many stand before i: larger, or equal with a smaller id */
        for (int j = 0; j < MANY; j++) above += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
        assert_true(drawn[i] == (above < K));
        n += drawn[i];
    }
    assert_int_equal(n, K);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wide_windows_are_full_attention),
        cmocka_unit_test(test_chunking_changes_nothing),
        cmocka_unit_test(test_swa_forgets_what_left_all_windows),
        cmocka_unit_test(test_sink_counts_positions_inside_the_cache),
        cmocka_unit_test(test_threads_and_repeats_give_the_same_bytes),
        cmocka_unit_test(test_precision_rounds_everything),
        cmocka_unit_test(test_wrong_calls_are_told),
        cmocka_unit_test(test_perplexity_is_the_mean_of_the_nll),
        cmocka_unit_test(test_sampling_follows_the_distribution),
        cmocka_unit_test(test_top_k_keeps_the_largest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
