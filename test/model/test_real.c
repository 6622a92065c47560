/* The real models against f32 arithmetic on their dequantised weights, as PyTorch has it: nll of a text, last logits,
 * greedy continuation. argv: golden folder, model name, key in real-models.safetensors. Exit 77 = the model is not there. */
#include "test/test.h"

#include "format/format.h"

static const char *golden, *key;
static snellen_model *model;
static struct safetensors *expected;

static const void *raw(const char *what, size_t *n)
{
    char name[128];
    const char *type;
    const int64_t *shape;
    const void *data;
    int n_dims;
    uint64_t n_bytes;
    snprintf(name, sizeof name, "%s.%s", key, what);
    assert_true(safetensors_raw(expected, name, &type, &n_dims, &shape, &data, &n_bytes));
    *n = (size_t)shape[0];
    return data;
}

static int32_t *tokens_of(const char *what, size_t *n)
{
    const int64_t *wide = raw(what, n);
    int32_t *tokens = malloc(*n * sizeof *tokens);
    for (size_t i = 0; i < *n; i++) tokens[i] = (int32_t)wide[i];
    return tokens;
}

static void check_nll(snellen_precision cache, int64_t chunk, size_t limit, double mean_tolerance, double logit_tolerance)
{
    size_t n, n_nll, n_vocab;
    int32_t *tokens = tokens_of("tokens", &n);
    const float *want = raw("nll", &n_nll), *last = raw("last_logits", &n_vocab);
    if (n > limit) n = limit;
    float *nll = malloc(n * sizeof *nll);
    snellen_session_options options = snellen_session_options_default();
    options.chunk = chunk;
    options.cache = cache;
    options.n_context = 1024;
    snellen_session *session;
    snellen_outputs out = {.nll = nll};
    MUST(snellen_session_new(model, &options, &session, err));
    MUST(snellen_session_feed(session, tokens, n, &out, err));
    double off = 0;
    for (size_t i = 1; i < n; i++) off += ((double)nll[i] - (double)want[i - 1]) / (double)(n - 1);
    double worst = n < limit ? worst_difference(snellen_session_logits(session), last, n_vocab) : 0;
    print_message("cache %d, chunk %d: mean nll off by %.2e, last logits by at most %.2e\n", (int)cache, (int)chunk, off, worst);
    assert_true(fabs(off) < mean_tolerance);
    assert_true(worst < logit_tolerance);
    snellen_session_free(session);
    free(tokens);
    free(nll);
}

static void test_nll_of_a_text(void **state)
{
    (void)state;
    check_nll(SNELLEN_F32, 0, 1024, 1e-4, 5e-3);
    check_nll(SNELLEN_F32, 1, 48, 1e-3, 5e-2);
    check_nll(SNELLEN_Q8_0, 0, 1024, 1e-2, 0.5);
    check_nll(SNELLEN_Q8_0, 1, 48, 2e-2, 0.5);
}

static void test_greedy_continuation(void **state)
{
    (void)state;
    size_t n, n_greedy, same = 0;
    int32_t *tokens = tokens_of("tokens", &n), *greedy = tokens_of("greedy", &n_greedy);
    snellen_session_options options = snellen_session_options_default();
    options.n_context = 1024;
    options.cache = SNELLEN_F16;
    snellen_session *session;
    snellen_sampling sampling = {.temp = 0, .top_p = 1};
    snellen_sampler *sampler;
    MUST(snellen_session_new(model, &options, &session, err));
    MUST(snellen_sampler_new(&sampling, snellen_model_get_info(model)->n_vocab, &sampler, err));
    MUST(snellen_session_feed(session, tokens, 64, NULL, err));
    for (; same < n_greedy; same++) {
        int32_t token = snellen_sample(sampler, snellen_session_logits(session));
        if (token != greedy[same]) break;
        MUST(snellen_session_feed(session, &token, 1, NULL, err));
    }
    print_message("%zu of %zu greedy tokens equal\n", same, n_greedy);
    assert_true(same >= 8);
    snellen_sampler_free(sampler);
    snellen_session_free(session);
    free(tokens);
    free(greedy);
}

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    golden = argv[1];
    key = argv[3];
    snellen_error err;
    if (snellen_model_load(argv[2], &model, &err)) {
        fprintf(stderr, "SKIPPED: %s\n", err.message);
        return 77;
    }
    char path[4096];
    snprintf(path, sizeof path, "%s/real-models.safetensors", golden);
    if (safetensors_open(path, &expected, &err)) return 2;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nll_of_a_text), cmocka_unit_test(test_greedy_continuation)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safetensors_close(expected);
    snellen_model_free(model);
    return failed;
}
