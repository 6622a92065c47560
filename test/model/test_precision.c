/* What a session's precision rounds, part by part: each alone, all that is computed, and what must not change.
 * argv[1] = folder of golden values. */
#include "test/test.h"

#include "base/base.h"
#include "kernels/kernels.h"

enum { N = 40, MOST = 1 << 16 };

static const char *golden;
static const char *const archs[] = {"llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};

/* ---- readings ---------------------------------------------------------------------------------------------------------- */

/* All that a session tells of N tokens, fed in two pieces. */
struct reading {
    size_t n_hidden, n_logits;
    float hidden[MOST], logits[MOST];
};

static void read_with(const snellen_model *model, const snellen_session_options *options, struct reading *r)
{
    const snellen_model_info *info = snellen_model_get_info(model);
    snellen_session_options o = *options;
    snellen_session *session;
    int32_t tokens[N];
    o.n_threads = 1;
    struct rng rng;
    rng_seed(&rng, 3, 0);
    for (int i = 0; i < N; i++) tokens[i] = (int32_t)rng_below(&rng, (uint64_t)info->n_vocab);
    r->n_hidden = (size_t)(info->n_layers + 2) * N * (size_t)info->d_model;
    r->n_logits = N * (size_t)info->n_vocab;
    assert_true(r->n_hidden <= MOST && r->n_logits <= MOST);
    const size_t first = N - 3; /* many rows, then few: products and attention have other ways for these */
    size_t hidden = r->n_hidden / N * first, logits = r->n_logits / N * first;
    snellen_outputs out = {.hidden = r->hidden, .logits = r->logits};
    MUST(snellen_session_new(model, &o, &session, err));
    MUST(snellen_session_feed(session, tokens, first, &out, err));
    out = (snellen_outputs){.hidden = r->hidden + hidden, .logits = r->logits + logits};
    MUST(snellen_session_feed(session, tokens + first, N - first, &out, err));
    snellen_session_free(session);
}

static void read_parts(const snellen_model *model, snellen_precision precision, unsigned parts, struct reading *r)
{
    snellen_session_options o = snellen_session_options_default();
    o.exact = true;
    o.precision = precision;
    o.round_parts = parts;
    read_with(model, &o, r);
}

static bool same(const float *a, const float *b, size_t n)
{
    return !memcmp(a, b, n * sizeof *a);
}

static void expect_same(const struct reading *a, const struct reading *b)
{
    assert_true(same(a->hidden, b->hidden, a->n_hidden));
    assert_true(same(a->logits, b->logits, a->n_logits));
}

/* Every number is one of the format. */
static bool holds_only(const float *x, size_t n, snellen_precision precision)
{
    for (size_t i = 0; i < n; i++) {
        float y = precision == SNELLEN_BF16 ? bf16_to_f32(f32_to_bf16(x[i])) : f16_to_f32(f32_to_f16(x[i]));
        if (memcmp(&x[i], &y, sizeof y)) return false;
    }
    return true;
}

static const snellen_precision formats[] = {SNELLEN_BF16, SNELLEN_F16};
static struct reading f32, one, two;

/* ---- tests --------------------------------------------------------------------------------------------------------------- */

static void test_the_default_is_all_that_is_computed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (size_t p = 0; p < COUNT_OF(formats); p++) {
            snellen_model *model = load_model(golden, archs[i]);
            read_parts(model, formats[p], 0, &one);
            assert_true(holds_only(one.hidden, one.n_hidden, formats[p]));
            assert_true(holds_only(one.logits, one.n_logits, formats[p]));
            read_parts(model, formats[p], SNELLEN_ROUND_ACTIVATIONS | SNELLEN_ROUND_CACHE | SNELLEN_ROUND_LOGITS, &two);
            expect_same(&one, &two);
            read_parts(model, SNELLEN_F32, 0, &f32);
            read_parts(model, SNELLEN_F32, SNELLEN_ROUND_WEIGHTS, &two); /* f32 rounds nothing */
            expect_same(&f32, &two);
            snellen_model_free(model);
        }
}

static void test_logits_alone_leave_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (size_t p = 0; p < COUNT_OF(formats); p++) {
            snellen_model *model = load_model(golden, archs[i]);
            read_parts(model, SNELLEN_F32, 0, &f32);
            read_parts(model, formats[p], SNELLEN_ROUND_LOGITS, &one);
            assert_true(same(f32.hidden, one.hidden, f32.n_hidden));
            assert_false(same(f32.logits, one.logits, f32.n_logits));
            round_to(f32.logits, formats[p] == SNELLEN_BF16 ? ROUND_BF16 : ROUND_F16, (int64_t)f32.n_logits);
            assert_true(same(f32.logits, one.logits, f32.n_logits));
            snellen_model_free(model);
        }
}

/* The vectors differ, by little; none of them is rounded itself. */
static void test_the_cache_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (size_t p = 0; p < COUNT_OF(formats); p++) {
            snellen_model *model = load_model(golden, archs[i]);
            size_t embeddings = N * (size_t)snellen_model_get_info(model)->d_model;
            read_parts(model, SNELLEN_F32, 0, &f32);
            read_parts(model, formats[p], SNELLEN_ROUND_CACHE, &one);
            assert_false(same(f32.hidden, one.hidden, f32.n_hidden));
            assert_true(worst_difference(f32.logits, one.logits, f32.n_logits) < 0.1);
            assert_false(holds_only(one.hidden + embeddings, one.n_hidden - embeddings, formats[p]));
            /* The same as a cache that holds the format. */
            snellen_session_options o = snellen_session_options_default();
            o.exact = true;
            o.cache = SNELLEN_F16;
            read_with(model, &o, &two);
            o.precision = SNELLEN_F16;
            o.round_parts = SNELLEN_ROUND_CACHE;
            read_with(model, &o, &one);
            expect_same(&one, &two);
            snellen_model_free(model);
        }
}

/* Activations alone: every vector is rounded, but what is kept is not: as soon as it is, the vectors are others. */
static void test_activations_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (size_t p = 0; p < COUNT_OF(formats); p++) {
            snellen_model *model = load_model(golden, archs[i]);
            read_parts(model, formats[p], SNELLEN_ROUND_ACTIVATIONS, &one);
            assert_true(holds_only(one.hidden, one.n_hidden, formats[p]));
            assert_false(holds_only(one.logits, one.n_logits, formats[p]));
            read_parts(model, formats[p], SNELLEN_ROUND_ACTIVATIONS | SNELLEN_ROUND_CACHE, &two);
            assert_false(same(one.hidden, two.hidden, one.n_hidden));
            snellen_model_free(model);
        }
}

/* The model through a GGUF file with matrices of a type: rows in that container's order, vectors in f32. */
static snellen_model *written_as(const char *arch, const char *type)
{
    snellen_export_options o = snellen_export_options_default();
    snellen_model *model = load_model(golden, arch), *written;
    o.type = type;
    o.no_tokenizer = true;
    MUST(snellen_model_export(model, "precision.gguf", &o, NULL, NULL, err));
    MUST(snellen_model_load("precision.gguf", &written, err));
    remove("precision.gguf");
    snellen_model_free(model);
    return written;
}

/* A matrix that holds the format already is not changed by rounding it; another one is as if it had been written so. */
static void test_weights_alone(void **state)
{
    (void)state;
    static const char *const types[] = {"bf16", "f16"};
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (size_t p = 0; p < COUNT_OF(formats); p++) {
            snellen_model *model = written_as(archs[i], "f32"), *written = written_as(archs[i], types[p]);
            /* Learned positions stay f32 in a file, rounding takes them too. */
            bool learned = !strcmp(snellen_model_get_info(model)->positions, "learned");
            read_parts(model, SNELLEN_F32, 0, &f32);
            read_parts(model, formats[p], SNELLEN_ROUND_WEIGHTS, &one);
            assert_false(same(f32.hidden, one.hidden, f32.n_hidden));
            assert_false(holds_only(one.logits, one.n_logits, formats[p]));
            read_parts(written, formats[p], SNELLEN_ROUND_WEIGHTS, &two);
            expect_same(&one, &two);
            read_parts(written, SNELLEN_F32, 0, &f32);
            if (!learned) expect_same(&f32, &two);
            snellen_model_free(model);
            snellen_model_free(written);
        }
}

static void test_q8_0_is_of_the_cache(void **state)
{
    (void)state;
    snellen_model_design design = snellen_model_design_default();
    design.n_vocab = 100;
    snellen_model *model;
    snellen_session *session;
    snellen_session_options o = snellen_session_options_default();
    MUST(snellen_model_new(&design, &model, err));
    o.cache = SNELLEN_Q8_0;
    o.exact = true;
    read_with(model, &o, &one);
    read_parts(model, SNELLEN_Q8_0, 0, &two);
    expect_same(&one, &two);
    read_parts(model, SNELLEN_Q8_0, SNELLEN_ROUND_CACHE, &two);
    expect_same(&one, &two);
    read_parts(model, SNELLEN_F32, 0, &f32);
    assert_false(same(one.hidden, f32.hidden, f32.n_hidden));
    for (unsigned part = 1; part <= SNELLEN_ROUND_LOGITS; part *= 2) {
        if (part == SNELLEN_ROUND_CACHE) continue;
        o.precision = SNELLEN_Q8_0;
        o.round_parts = part | SNELLEN_ROUND_CACHE;
        MUST_FAIL(SNELLEN_E_USAGE, snellen_session_new(model, &o, &session, err));
    }
    o.precision = SNELLEN_BF16;
    o.round_parts = 2 * SNELLEN_ROUND_LOGITS;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_session_new(model, &o, &session, err));
    snellen_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_default_is_all_that_is_computed),
        cmocka_unit_test(test_logits_alone_leave_the_vectors),
        cmocka_unit_test(test_the_cache_alone),
        cmocka_unit_test(test_activations_alone),
        cmocka_unit_test(test_weights_alone),
        cmocka_unit_test(test_q8_0_is_of_the_cache),
    };
    return cmocka_run_group_tests_name("precision", tests, NULL, NULL);
}
