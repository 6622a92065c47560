/* The eight tiny models against PyTorch: logits, loss, hidden states; whole, in chunks, token by token; branches.
 * argv[1] = folder of golden values. */
#include "test/test.h"

#include "format/format.h"

static const char *golden;
static const char *const archs[] = {"llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};
static const double tolerance = 1e-4;

struct expected {
    struct safetensors *file;
    size_t n_tokens;
    int32_t tokens[64];
    const float *logits, *hidden, *loss;
};

static const void *expected_raw(const struct expected *e, const char *name, const int64_t **shape)
{
    const char *type;
    int n_dims;
    const void *data;
    uint64_t n_bytes;
    assert_true(safetensors_raw(e->file, name, &type, &n_dims, shape, &data, &n_bytes));
    return data;
}

static snellen_model *load(const char *arch, struct expected *e)
{
    char path[4096];
    const int64_t *shape;
    snprintf(path, sizeof path, "%s/%s/expected.safetensors", golden, arch);
    MUST(safetensors_open(path, &e->file, err));
    const int64_t *tokens = expected_raw(e, "tokens", &shape);
    e->n_tokens = (size_t)shape[0];
    assert_true(e->n_tokens <= 64);
    for (size_t i = 0; i < e->n_tokens; i++) e->tokens[i] = (int32_t)tokens[i];
    e->logits = expected_raw(e, "logits", &shape);
    e->hidden = expected_raw(e, "hidden", &shape);
    e->loss = expected_raw(e, "loss", &shape);
    snprintf(path, sizeof path, "%s/%s", golden, arch);
    snellen_model *model;
    MUST(snellen_model_load(path, &model, err));
    return model;
}

static void unload(snellen_model *model, struct expected *e)
{
    snellen_model_free(model);
    safetensors_close(e->file);
}

/* Stages of ours that PyTorch's list of hidden states has: all but the last layer before the final norm. */
static void check_hidden(const snellen_model_info *info, const float *hidden, const struct expected *e)
{
    size_t stage = e->n_tokens * (size_t)info->d_model;
    for (int64_t i = 0; i <= info->n_layers; i++) {
        const float *ours = hidden + (size_t)(i < info->n_layers ? i : i + 1) * stage;
        assert_true(worst_difference(ours, e->hidden + (size_t)i * stage, stage) < tolerance);
    }
}

static void check_feed(const snellen_model *model, const struct expected *e, const snellen_session_options *options)
{
    const snellen_model_info *info = snellen_model_get_info(model);
    size_t n = e->n_tokens, n_logits = n * (size_t)info->n_vocab;
    float *logits = malloc(n_logits * sizeof *logits), *nll = malloc(n * sizeof *nll);
    float *hidden = malloc((size_t)(info->n_layers + 2) * n * (size_t)info->d_model * sizeof *hidden);
    snellen_session *session;
    snellen_outputs out = {.logits = logits, .nll = nll, .hidden = hidden};
    MUST(snellen_session_new(model, options, &session, err));
    MUST(snellen_session_feed(session, e->tokens, n, &out, err));
    assert_true(worst_difference(logits, e->logits, n_logits) < tolerance);
    check_hidden(info, hidden, e);
    double loss = 0;
    assert_true(isnan(nll[0]));
    for (size_t i = 1; i < n; i++) loss += (double)nll[i] / (double)(n - 1);
    assert_true(fabs(loss - (double)e->loss[0]) < tolerance);
    const float *last = logits + (n - 1) * (size_t)info->n_vocab;
    assert_true(worst_difference(snellen_session_logits(session), last, (size_t)info->n_vocab) < 1e-6);

    /* The same in feeds of 5 to one session, logits of some rows only. */
    MUST(snellen_session_truncate(session, 0, err));
    for (size_t i = 0; i < n; i += 5) {
        size_t m = n - i < 5 ? n - i : 5;
        int64_t rows[] = {0, (int64_t)m - 1};
        snellen_outputs some = {.logits = logits, .rows = rows, .n_rows = m > 1 ? 2 : 1};
        MUST(snellen_session_feed(session, e->tokens + i, m, &some, err));
        const float *first = e->logits + i * (size_t)info->n_vocab, *end = first + (m - 1) * (size_t)info->n_vocab;
        assert_true(worst_difference(logits, first, (size_t)info->n_vocab) < tolerance);
        if (m > 1) assert_true(worst_difference(logits + info->n_vocab, end, (size_t)info->n_vocab) < tolerance);
    }
    snellen_session_free(session);
    free(logits);
    free(nll);
    free(hidden);
}

static void test_logits_and_hidden_states(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        struct expected e;
        snellen_model *model = load(archs[i], &e);
        static const int64_t chunks[] = {0, 5, 1};
        for (size_t j = 0; j < 3; j++)
            for (int threads = 1; threads <= 2; threads++) {
                print_message("%s, chunk %d, %d threads\n", archs[i], (int)chunks[j], threads);
                snellen_session_options options = snellen_session_options_default();
                options.chunk = chunks[j];
                options.n_threads = threads;
                check_feed(model, &e, &options);
            }
        unload(model, &e);
    }
}

static void check_small_caches(snellen_precision cache)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        struct expected e;
        snellen_model *model = load(archs[i], &e);
        size_t n_vocab = (size_t)snellen_model_get_info(model)->n_vocab;
        snellen_session_options options = snellen_session_options_default();
        options.cache = cache;
        snellen_session *session;
        if (cache == SNELLEN_Q8_0 && snellen_model_get_info(model)->head_dim % 32) {
            MUST_FAIL(SNELLEN_E_UNSUPPORTED, snellen_session_new(model, &options, &session, err));
            unload(model, &e);
            continue;
        }
        MUST(snellen_session_new(model, &options, &session, err));
        MUST(snellen_session_feed(session, e.tokens, e.n_tokens, NULL, err));
        double worst = worst_difference(snellen_session_logits(session), e.logits + (e.n_tokens - 1) * n_vocab, n_vocab);
        assert_true(worst > 0 && worst < 0.05);
        snellen_session_free(session);
        unload(model, &e);
    }
}

static void test_cache_in_f16_is_close(void **state)
{
    (void)state;
    check_small_caches(SNELLEN_F16);
    check_small_caches(SNELLEN_Q8_0);
}

/* Every suffix of the text as a branch of the whole: the logits are those of the text itself. */
static void check_branches(const snellen_model *model, const struct expected *e, int64_t chunk)
{
    size_t n = e->n_tokens, n_vocab = (size_t)snellen_model_get_info(model)->n_vocab, total = 0, row = 0;
    snellen_branch branches[64];
    for (size_t i = 0; i < n; i++) {
        branches[i] = (snellen_branch){.keep = (int64_t)i, .tokens = e->tokens + i, .n_tokens = (n - i) % 9};
        total += branches[i].n_tokens;
    }
    snellen_session_options options = snellen_session_options_default();
    options.chunk = chunk;
    options.n_context = 2 * (int64_t)n;
    snellen_session *session;
    float *logits = malloc(total * n_vocab * sizeof *logits), *nll = malloc(total * sizeof *nll);
    snellen_outputs out = {.logits = logits, .nll = nll};
    MUST(snellen_session_new(model, &options, &session, err));
    MUST(snellen_session_feed(session, e->tokens, n, NULL, err));
    MUST(snellen_session_branches(session, branches, n, &out, err));
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < branches[i].n_tokens; j++, row++) {
            assert_true(worst_difference(logits + row * n_vocab, e->logits + (i + j) * n_vocab, n_vocab) < tolerance);
            assert_true(j ? isfinite(nll[row]) : isnan(nll[row]));
        }
    assert_int_equal(snellen_session_length(session), n);
    assert_true(worst_difference(snellen_session_logits(session), e->logits + (n - 1) * n_vocab, n_vocab) < tolerance);

    /* The session goes on as if nothing had been asked. */
    int32_t again = e->tokens[n - 1];
    MUST(snellen_session_truncate(session, (int64_t)n - 1, err));
    MUST(snellen_session_feed(session, &again, 1, NULL, err));
    assert_true(worst_difference(snellen_session_logits(session), e->logits + (n - 1) * n_vocab, n_vocab) < tolerance);
    snellen_session_free(session);
    free(logits);
    free(nll);
}

static void test_branches_are_continuations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        struct expected e;
        snellen_model *model = load(archs[i], &e);
        if (e.n_tokens * 2 <= (size_t)snellen_model_get_info(model)->n_context) {
            check_branches(model, &e, 0);
            check_branches(model, &e, 3);
        }
        unload(model, &e);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_and_hidden_states),
        cmocka_unit_test(test_cache_in_f16_is_close),
        cmocka_unit_test(test_branches_are_continuations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
