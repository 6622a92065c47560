/* New models: every architecture and kind of positions runs, equal seeds give equal bytes, initial values have the
 * distribution that is promised, impossible designs are refused. */
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static snellen_error err;
static const char *const archs[] = {"llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};

static snellen_model_design small(const char *arch)
{
    snellen_model_design d = snellen_model_design_default();
    d.arch = arch;
    d.n_layers = 2;
    d.d_model = 32;
    d.n_vocab = 17;
    d.n_context = 40;
    d.window = 8;
    return d;
}

static snellen_model *make(const snellen_model_design *d)
{
    snellen_model *model = NULL;
    if (snellen_model_new(d, &model, &err)) fail_msg("%s", err.message);
    return model;
}

/* Logits of the last of n tokens, by snellen_free(). */
static float *last_logits(const snellen_model *model, const int32_t *tokens, size_t n)
{
    snellen_session *session;
    snellen_session_options o = snellen_session_options_default();
    o.cache = SNELLEN_F32;
    if (snellen_session_new(model, &o, &session, &err)) fail_msg("%s", err.message);
    if (snellen_session_feed(session, tokens, n, NULL, &err)) fail_msg("%s", err.message);
    size_t bytes = (size_t)model->desc.n_vocab * sizeof(float);
    float *logits = malloc(bytes);
    assert_non_null(logits);
    memcpy(logits, snellen_session_logits(session), bytes);
    snellen_session_free(session);
    return logits;
}

static double distance(const float *a, const float *b, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n; i++) worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
    return worst;
}

static void every_architecture_runs(void **state)
{
    (void)state;
    const int32_t tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    for (size_t i = 0; i < COUNT_OF(archs); i++) {
        snellen_model_design d = small(archs[i]);
        snellen_model *model = make(&d);
        assert_string_equal(model->info.arch, archs[i]);
        assert_string_equal(model->info.container, "memory");
        assert_false(model->info.has_tokenizer);
        float *logits = last_logits(model, tokens, COUNT_OF(tokens));
        for (int64_t j = 0; j < d.n_vocab; j++) assert_true(isfinite(logits[j]));
        free(logits);
        snellen_model_free(model);
    }
}

/* Swapping two earlier tokens changes the last logits where positions are known, and by nothing but rounding where they
 * are not and one layer sees a set of tokens. */
static void positions_tell_order(void **state)
{
    (void)state;
    const int32_t one[] = {1, 2, 3, 4}, other[] = {2, 1, 3, 4};
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (enum position_kind kind = POSITION_ROTARY; kind < POSITION_COUNT; kind++) {
            snellen_model_design d = small(archs[i]);
            d.n_layers = 1;
            d.init_std = 0.3;
            d.positions = position_names[kind];
            snellen_model *model = make(&d);
            assert_string_equal(model->info.positions, position_names[kind]);
            float *a = last_logits(model, one, 4), *b = last_logits(model, other, 4);
            double moved = distance(a, b, d.n_vocab);
            if (kind == POSITION_NONE ? moved > 1e-5 : moved < 1e-4)
                fail_msg("%s with %s positions: order moves logits by %g", archs[i], position_names[kind], moved);
            free(a);
            free(b);
            snellen_model_free(model);
        }
}

static void sinusoids_are_those_of_the_paper(void **state)
{
    (void)state;
    snellen_model_design d = small("gpt2");
    d.positions = "sinusoidal";
    snellen_model *model = make(&d);
    float y[32];
    position_vector(model, y, 1000000);
    for (int i = 0; i < 32; i += 2) {
        double angle = 1e6 / pow(10000, (double)i / 32);
        assert_true(fabs((double)y[i] - sin(angle)) < 1e-6 && fabs((double)y[i + 1] - cos(angle)) < 1e-6);
    }
    int32_t tokens[50];
    for (int i = 0; i < 50; i++) tokens[i] = i % 17;
    snellen_session *session;
    snellen_session_options o = snellen_session_options_default();
    o.n_context = 50;   /* longer than the model was made for: sinusoids have no end */
    assert_int_equal(snellen_session_new(model, &o, &session, &err), SNELLEN_OK);
    assert_int_equal(snellen_session_feed(session, tokens, 50, NULL, &err), SNELLEN_OK);
    snellen_session_free(session);
    o.memory = SNELLEN_MEMORY_SINK;
    o.n_context = 0;
    assert_int_equal(snellen_session_new(model, &o, &session, &err), SNELLEN_E_UNSUPPORTED);
    snellen_model_free(model);
}

static void same_seed_same_bytes(void **state)
{
    (void)state;
    char hashes[3][33];
    for (int i = 0; i < 3; i++) {
        snellen_model_design d = small("qwen2");
        d.seed = i == 2 ? 8 : 7;
        snellen_model *model = make(&d);
        assert_int_equal(snellen_model_hash(model, hashes[i], &err), SNELLEN_OK);
        snellen_model_free(model);
    }
    assert_string_equal(hashes[0], hashes[1]);
    assert_string_not_equal(hashes[0], hashes[2]);
}

static void values_have_the_promised_spread(void **state)
{
    (void)state;
    snellen_model_design d = small("gpt2");
    d.n_layers = 8;
    d.d_model = 128;
    d.init_std = 0.05;
    snellen_model *model = make(&d);
    struct weight_entry e;
    int seen[ROLE_RESIDUAL + 1] = {0};
    for (size_t i = 0; weights_next(model, &i, &e);) {
        int64_t n = e.shape[0] * e.shape[1];
        const float *values = e.weight.data;
        double sum = 0, squares = 0;
        for (int64_t j = 0; j < n; j++) sum += (double)values[j], squares += (double)values[j] * (double)values[j];
        double mean = sum / (double)n, std = sqrt(squares / (double)n - mean * mean);
        double wanted = e.role == ROLE_RESIDUAL ? 0.05 / 4 : e.role == ROLE_NORM || e.role == ROLE_BIAS ? 0 : 0.05;
        seen[e.role]++;
        assert_true(fabs(std - wanted) <= 0.06 * wanted);
        assert_true(fabs(mean - (e.role == ROLE_NORM)) <= 5 * wanted / sqrt((double)n));
    }
    for (size_t i = 0; i < COUNT_OF(seen); i++) assert_true(seen[i] > 0);
    snellen_model_free(model);
}

static void has_a_vocabulary_of_its_own(void **state)
{
    (void)state;
    static const char *const words[] = {"yes", "no"};
    snellen_model_design d = small("llama");
    d.words = words;
    d.n_words = 2;
    d.eos = "<end>";
    snellen_model *model = make(&d);
    assert_int_equal(model->info.n_vocab, 3);
    assert_true(model->info.has_tokenizer);
    int32_t *ids;
    size_t n;
    assert_int_equal(snellen_tokenize(model, "no yes", 6, 0, &ids, &n, &err), SNELLEN_OK);
    assert_true(n == 2 && ids[0] == 2 && ids[1] == 1);
    assert_true(snellen_token_ends(model, 0));
    snellen_free(ids);
    snellen_model_free(model);
    d.words = NULL;
    d.characters = "abc";
    model = make(&d);
    assert_int_equal(model->info.n_vocab, 4);
    snellen_model_free(model);
}

static void refuses_impossible_designs(void **state)
{
    (void)state;
    struct {
        const char *why;
        snellen_model_design d;
    } wrong[32];
    size_t n = 0;
    const snellen_model_design good = small("llama"), gpt2 = small("gpt2"), bloom = small("bloom");
#define WRONG(base, field, value, reason) (wrong[n].d = (base), wrong[n].d.field = (value), wrong[n++].why = (reason))
    WRONG(good, arch, "lama", "'lama' is not known");
    WRONG(good, arch, NULL, "is not known");
    WRONG(good, positions, "rope", "'rope'");
    WRONG(good, n_layers, 0, "at least 1");
    WRONG(good, n_layers, 1025, "layers: 1025");
    WRONG(good, n_layers, INT64_MAX, "layers");
    WRONG(good, d_model, INT64_MAX, "width");
    WRONG(good, d_model, -1, "at least 1");
    WRONG(good, d_model, 33, "does not divide into 4 heads");
    WRONG(good, d_model, 131076, "width");
    WRONG(good, n_heads, INT64_MAX, "does not divide");
    WRONG(good, n_kv_heads, 3, "cannot share");
    WRONG(good, n_kv_heads, 5, "key and value heads: 5");
    WRONG(good, n_kv_heads, -1, "negative");
    WRONG(good, head_dim, 7, "even");
    WRONG(good, head_dim, INT64_MAX, "width of a head");
    WRONG(good, d_ff, INT64_MAX, "feed-forward");
    WRONG(good, n_context, INT64_MAX, "context");
    WRONG(good, n_vocab, 0, "no vocabulary");
    WRONG(good, n_vocab, INT64_MAX, "vocabulary");
    WRONG(good, init_std, -1, "init_std");
    WRONG(good, init_std, (double)NAN, "init_std");
    WRONG(gpt2, n_kv_heads, 2, "for each head");
    WRONG(gpt2, head_dim, 16, "width / heads");
    WRONG(bloom, d_ff, 64, "4 x width");
#undef WRONG
    for (size_t i = 0; i < n; i++) {
        snellen_model *model;
        if (snellen_model_new(&wrong[i].d, &model, &err) != SNELLEN_E_USAGE || !strstr(err.message, wrong[i].why))
            fail_msg("%s expected: %s", wrong[i].why, err.message);
    }
    snellen_model *model;
    assert_int_equal(snellen_model_new(NULL, &model, &err), SNELLEN_E_USAGE);
    snellen_model_design huge = good;
    huge.n_layers = 1024;
    huge.d_model = 131072;
    huge.n_heads = 1024;
    assert_int_equal(snellen_model_new(&huge, &model, &err), SNELLEN_E_MEMORY);
    assert_non_null(strstr(err.message, "MB are available"));
    huge = good;
    huge.tokenizer = "no/such/tokenizer.json";
    assert_int_equal(snellen_model_new(&huge, &model, &err), SNELLEN_E_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_runs),
        cmocka_unit_test(positions_tell_order),
        cmocka_unit_test(sinusoids_are_those_of_the_paper),
        cmocka_unit_test(same_seed_same_bytes),
        cmocka_unit_test(values_have_the_promised_spread),
        cmocka_unit_test(has_a_vocabulary_of_its_own),
        cmocka_unit_test(refuses_impossible_designs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
