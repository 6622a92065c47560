/* Attention maps of golden models against Transformers (make_attentions.py), and what must hold for every map.
 * argv[1] = folder of golden values, argv[2] = attentions.safetensors. */
#include "test/test.h"

#include "format/format.h"

static const char *golden, *attentions;
static const char *const archs[] = {"llama", "gemma3", "bloom"};   /* rotary and grouped, windows and QK norms, ALiBi */

struct prompt {
    snellen_model *model;
    struct safetensors *file;
    int32_t tokens[64];
    size_t n;
};

static struct prompt load(const char *arch)
{
    struct prompt p;
    char path[4096];
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    uint64_t n_bytes;
    snprintf(path, sizeof path, "%s/%s", golden, arch);
    MUST(snellen_model_load(path, &p.model, err));
    snprintf(path, sizeof path, "%s/%s/expected.safetensors", golden, arch);
    MUST(safetensors_open(path, &p.file, err));
    assert_true(safetensors_raw(p.file, "tokens", &type, &n_dims, &shape, &data, &n_bytes));
    p.n = (size_t)shape[0];
    assert_true(p.n <= 64);
    for (size_t i = 0; i < p.n; i++) p.tokens[i] = (int32_t)((const int64_t *)data)[i];
    return p;
}

static void unload(struct prompt *p)
{
    snellen_model_free(p->model);
    safetensors_close(p->file);
}

static void test_against_transformers(void **state)
{
    (void)state;
    struct safetensors *file;
    MUST(safetensors_open(attentions, &file, err));
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        struct prompt p = load(archs[i]);
        snellen_attention *a;
        const char *type;
        int n_dims;
        const int64_t *shape;
        const void *expected;
        uint64_t n_bytes;
        assert_true(safetensors_raw(file, archs[i], &type, &n_dims, &shape, &expected, &n_bytes));
        MUST(snellen_probe_attention(p.model, p.tokens, p.n, NULL, NULL, &a, err));
        assert_int_equal(a->n_layers, shape[0]);
        assert_int_equal(a->n_heads, shape[1]);
        assert_int_equal(a->n_tokens, shape[2]);
        assert_true(worst_difference(a->weights, expected, n_bytes / sizeof(float)) < 1e-5);
        snellen_attention_free(a);
        unload(&p);
    }
    safetensors_close(file);
}

/* Rows of every map and of the rollout sum to 1, and no token looks ahead. */
static void check_rows(const float *map, int64_t n)
{
    for (int64_t t = 0; t < n; t++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            sum += (double)map[t * n + i];
            if (i > t) assert_true(map[t * n + i] == 0);
        }
        assert_true(fabs(sum - 1) < 1e-5);
    }
}

/* The rollout by its definition, from maps of all layers and heads. */
static void check_rollout(const snellen_attention *a)
{
    size_t n = (size_t)a->n_tokens;
    double *now = calloc(n * n, sizeof *now), *next = calloc(n * n, sizeof *next);
    for (size_t t = 0; t < n; t++) now[t * n + t] = 1;
    for (int64_t l = 0; l < a->n_layers; l++) {
        for (size_t t = 0; t < n; t++)
            for (size_t i = 0; i < n; i++) {
                double sum = 0;
                for (size_t k = 0; k < n; k++) {
                    double mean = 0;
                    for (int64_t h = 0; h < a->n_heads; h++)
                        mean += (double)a->weights[((size_t)(l * a->n_heads + h) * n + t) * n + k];
                    sum += (mean / (double)a->n_heads + (t == k)) / 2 * now[k * n + i];
                }
                next[t * n + i] = sum;
            }
        memcpy(now, next, n * n * sizeof *now);
    }
    for (size_t i = 0; i < n * n; i++) assert_true(fabs(now[i] - (double)a->rollout[i]) < 1e-5);
    free(now);
    free(next);
}

static void test_rows_and_rollout(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++) {
        struct prompt p = load(archs[i]);
        snellen_attention *a;
        MUST(snellen_probe_attention(p.model, p.tokens, p.n, NULL, NULL, &a, err));
        int64_t n = a->n_tokens;
        for (int64_t m = 0; m < a->n_layers * a->n_heads; m++) check_rows(a->weights + m * n * n, n);
        check_rows(a->rollout, n);
        check_rollout(a);
        snellen_attention_free(a);
        unload(&p);
    }
}

static void test_one_layer_and_head_is_that_of_all(void **state)
{
    (void)state;
    struct prompt p = load("llama");
    snellen_attention *all, *one;
    snellen_attention_options o = snellen_attention_options_default();
    MUST(snellen_probe_attention(p.model, p.tokens, p.n, &o, NULL, &all, err));
    o.layer = 2;
    o.head = 1;
    o.rollout = false;
    MUST(snellen_probe_attention(p.model, p.tokens, p.n, &o, NULL, &one, err));
    assert_int_equal(one->first_layer, 2);
    assert_int_equal(one->first_head, 1);
    assert_null(one->rollout);
    assert_memory_equal(one->weights, all->weights + (size_t)(2 * all->n_heads + 1) * p.n * p.n,
                        p.n * p.n * sizeof(float));
    snellen_attention_free(one);
    snellen_attention_free(all);
    unload(&p);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    struct prompt p = load("llama");
    snellen_attention *a;
    snellen_attention_options o = snellen_attention_options_default();
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_attention(p.model, p.tokens, 0, &o, NULL, &a, err));
    o.layer = 3;
    MUST_FAIL(SNELLEN_E_USAGE, snellen_probe_attention(p.model, p.tokens, p.n, &o, NULL, &a, err));
    o.layer = -1;
    o.session.memory = SNELLEN_MEMORY_SINK;
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, snellen_probe_attention(p.model, p.tokens, p.n, &o, NULL, &a, err));
    unload(&p);
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    golden = argv[1];
    attentions = argv[2];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_transformers),
        cmocka_unit_test(test_rows_and_rollout),
        cmocka_unit_test(test_one_layer_and_head_is_that_of_all),
        cmocka_unit_test(test_wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
