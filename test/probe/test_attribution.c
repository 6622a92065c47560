/* Attribution on golden models: gradient x input against PyTorch, the other kinds against their definitions.
 * argv[1] = folder of golden values. */
#include "test/test.h"

#include "format/format.h"

static const char *golden;
static const char *const archs[] = {"llama", "qwen2", "qwen3", "gpt_neox"};

struct prompt {
    snellen_model *model;
    struct safetensors *file;
    int32_t tokens[64];
    size_t n;
    const float *gxi;   /* [n, n] */
};

static const void *raw(const struct prompt *p, const char *name, uint64_t *bytes)
{
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    assert_true(safetensors_raw(p->file, name, &type, &n_dims, &shape, &data, bytes));
    return data;
}

static struct prompt load(const char *arch)
{
    struct prompt p;
    char path[4096];
    uint64_t bytes;
    snprintf(path, sizeof path, "%s/%s", golden, arch);
    MUST(snellen_model_load(path, &p.model, err));
    snprintf(path, sizeof path, "%s/%s/expected.safetensors", golden, arch);
    MUST(safetensors_open(path, &p.file, err));
    const int64_t *tokens = raw(&p, "tokens", &bytes);
    p.n = bytes / sizeof *tokens;
    assert_true(p.n <= 64);
    for (size_t i = 0; i < p.n; i++) p.tokens[i] = (int32_t)tokens[i];
    p.gxi = raw(&p, "gxi", &bytes);
    return p;
}

static void unload(struct prompt *p)
{
    snellen_model_free(p->model);
    safetensors_close(p->file);
}

static snellen_attribution *probe(const struct prompt *p, snellen_attribution_kind kind, int64_t first, int64_t n)
{
    snellen_attribution_options o = snellen_attribution_options_default();
    snellen_attribution *a;
    o.kind = kind;
    o.first_row = first;
    o.n_rows = n;
    MUST(snellen_probe_attribution(p->model, p->tokens, p->n, &o, NULL, &a, err));
    return a;
}

static void test_gradient_times_input(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        struct prompt p = load(archs[i]);
        snellen_attribution *a = probe(&p, SNELLEN_ATTRIBUTION_GXI, 0, 0);
        assert_int_equal(a->n_rows, p.n - 1);
        for (size_t t = 0; t < p.n; t++)
            for (size_t s = 0; s + 1 < p.n; s++)
                assert_true(fabs((double)a->values[t * (p.n - 1) + s] - (double)p.gxi[t * p.n + s]) < 1e-4);
        snellen_attribution_free(a);
        unload(&p);
    }
}

/* | sum g e | <= |g e|_1 <= sqrt(d) |g e|_2, and |g e|_2 <= |g|_2 max |e|; nothing comes from later tokens. */
static void test_kinds_bound_each_other(void **state)
{
    (void)state;
    struct prompt p = load("qwen3");
    size_t columns = p.n - 1, n = p.n * columns;
    double d = (double)snellen_model_get_info(p.model)->d_model;
    snellen_attribution *sum = probe(&p, SNELLEN_ATTRIBUTION_GXI, 0, 0), *l2 = probe(&p, SNELLEN_ATTRIBUTION_GXI_L2, 0, 0);
    snellen_attribution *gradient = probe(&p, SNELLEN_ATTRIBUTION_GRADIENT, 0, 0);
    for (size_t i = 0; i < n; i++) {
        bool later = i / columns > i % columns;
        assert_true((double)sum->values[i] <= sqrt(d) * (double)l2->values[i] * 1.0001);
        assert_true((l2->values[i] > 0) == !later && (gradient->values[i] > 0) == !later);
        assert_true(l2->values[i] <= gradient->values[i] * 10);
    }
    snellen_attribution_free(sum);
    snellen_attribution_free(l2);
    snellen_attribution_free(gradient);
    unload(&p);
}

static void test_rollout_is_that_of_the_maps(void **state)
{
    (void)state;
    struct prompt p = load("llama");
    snellen_attention *maps;
    snellen_attribution *a = probe(&p, SNELLEN_ATTRIBUTION_ROLLOUT, 5, 3);
    MUST(snellen_probe_attention(p.model, p.tokens, p.n, NULL, NULL, &maps, err));
    for (size_t t = 0; t < p.n; t++)
        for (size_t i = 0; i < 3; i++) assert_true(a->values[t * 3 + i] == maps->rollout[(5 + i) * p.n + t]);
    snellen_attention_free(maps);
    snellen_attribution_free(a);
    unload(&p);
}

static void test_some_rows_are_those_of_all(void **state)
{
    (void)state;
    struct prompt p = load("gpt_neox");
    snellen_attribution *all = probe(&p, SNELLEN_ATTRIBUTION_GXI, 0, 0), *some = probe(&p, SNELLEN_ATTRIBUTION_GXI, 7, 4);
    for (size_t t = 0; t < p.n; t++)
        for (size_t i = 0; i < 4; i++)
            assert_true(some->values[t * 4 + i] == all->values[t * (p.n - 1) + 7 + i]);
    /* the share of the mass on some tokens, by hand */
    const int64_t right[] = {2, 6};
    double whole = 0;
    for (size_t t = 0; t < p.n; t++) whole += (double)some->values[t * 4 + 1];
    double expected = ((double)some->values[2 * 4 + 1] + (double)some->values[6 * 4 + 1]) / whole;
    assert_true(fabs(snellen_attribution_mass(some, 8, right, 2) - expected) < 1e-12);
    assert_true(isnan(snellen_attribution_mass(some, 6, right, 2)));
    snellen_attribution_free(all);
    snellen_attribution_free(some);
    unload(&p);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    struct prompt p = load("llama");
    snellen_attribution *a;
    snellen_attribution_kind kind;
    snellen_attribution_options o = snellen_attribution_options_default();
    o.first_row = (int64_t)p.n - 1;   /* followed by no token */
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_attribution(p.model, p.tokens, p.n, &o, NULL, &a, err));
    o.first_row = 0;
    o.n_rows = (int64_t)p.n;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_attribution(p.model, p.tokens, p.n, &o, NULL, &a, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_attribution(p.model, p.tokens, 1, NULL, NULL, &a, err));
    p.tokens[3] = 1 << 20;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_attribution(p.model, p.tokens, p.n, NULL, NULL, &a, err));
    MUST_FAIL(SNELLEN_E_USAGE, snellen_attribution_parse("saliency", &kind, err));
    unload(&p);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradient_times_input),
        cmocka_unit_test(test_kinds_bound_each_other),
        cmocka_unit_test(test_rollout_is_that_of_the_maps),
        cmocka_unit_test(test_some_rows_are_those_of_all),
        cmocka_unit_test(test_wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
