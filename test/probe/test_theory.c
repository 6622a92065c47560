/* Exact cases of arXiv 2406.04267 and 2502.01951: models whose weights are written by hand, for which the theory says in
 * numbers what a probe must find. */
#include "test/test.h"

#include "kernels/grad.h"
#include "model/model.h"

enum { D = 16, VOCAB = 4 };

static float *values(const struct linear *l) { return (float *)(uintptr_t)l->weight.data; }

static void set_identity(const struct linear *l, float value)
{
    for (int64_t i = 0; i < l->weight.n_out; i++)
        for (int64_t j = 0; j < l->weight.n_in; j++) values(l)[i * l->weight.n_in + j] = i == j ? value : 0;
}

/* One head, width D. Queries are 0, so that every token looks at all it sees alike; values are what the norm gives; nothing
 * comes of attention or feed-forward until an output map is set. Tokens are sqrt(D) times the first VOCAB unit vectors: of
 * length 1 for the norm. */
static snellen_model *plain_model(const char *positions, int64_t n_layers, float embedding)
{
    snellen_model_design design = snellen_model_design_default();
    snellen_model *model;
    design.positions = positions;
    design.n_layers = n_layers;
    design.d_model = D;
    design.n_heads = 1;
    design.d_ff = 32;
    design.n_vocab = VOCAB;
    design.n_context = 8192;
    design.untied = true;
    MUST(snellen_model_new(&design, &model, err));
    for (int64_t l = 0; l < n_layers; l++) {
        const struct layer_weights *w = &model->layers[l];
        set_identity(&w->q, 0);
        set_identity(&w->k, 0);
        set_identity(&w->v, 1);
        set_identity(&w->output, 0);
        set_identity(&w->down, 0);
    }
    float *rows = (float *)(uintptr_t)model->embedding.weight.data;
    memset(rows, 0, VOCAB * D * sizeof *rows);
    for (int64_t i = 0; i < VOCAB; i++) rows[i * D + i] = embedding;
    return model;
}

static snellen_squash *squash(const snellen_model *model, size_t n, const snellen_squash_options *o)
{
    int32_t tokens[1024];
    snellen_squash *s;
    assert_true(n <= COUNT_OF(tokens));
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)(i % VOCAB);
    MUST(snellen_probe_squash(model, tokens, n, o, NULL, &s, err));
    return s;
}

/* ---- products of attention --------------------------------------------------------------------------------------- */

/* Proposition B.8: beta = 1 and the same attention in each layer give [((A + I) / 2)^L]_(n,i), which goes to 1 for the
 * first token and to 0 for the others. */
static void test_same_attention_everywhere(void **state)
{
    (void)state;
    enum { N = 9, LAYERS = 6, REPEATS = 30 };
    snellen_model *model = plain_model("none", LAYERS, 4);
    snellen_squash_options o = snellen_squash_options_default();
    o.n_probes = 1;
    o.n_repeats = REPEATS;
    snellen_squash *s = squash(model, N, &o);
    double row[N] = {0};
    row[N - 1] = 1;
    for (int64_t l = 0; l < LAYERS; l++) {
        double next[N] = {0};
        for (int64_t i = 0; i < N; i++)
            for (int64_t j = 0; j <= i; j++) next[j] += row[i] * (1.0 / (double)(i + 1) + (i == j)) / 2;
        memcpy(row, next, sizeof row);
        assert_true(fabs(s->beta[l] - 1) < 1e-5);
        for (int64_t j = 0; j < N; j++) assert_true(fabs((double)s->paths[l * N + j] - row[j]) < 1e-5);
    }
    const float *end = s->paths + (LAYERS + REPEATS - 1) * N;
    assert_true(end[0] > 0.99999f);
    for (int64_t j = 1; j < N; j++) assert_true(end[j] < 1e-5f);
    snellen_squash_free(s);
    snellen_model_free(model);
}

static double binomial(int64_t n, int64_t k)
{
    return exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1));
}

/* A window of two tokens: each layer goes one token back with probability 1/4, so k back after t layers with that of a
 * binomial. The drift to the first token is slower, and it does not end (2502.01951, theorem on windows). */
static void test_window_drifts(void **state)
{
    (void)state;
    enum { N = 40, LAYERS = 8, REPEATS = 60 };
    snellen_model *model = plain_model("none", LAYERS, 4);
    snellen_squash_options o = snellen_squash_options_default();
    o.n_probes = 1;
    o.n_repeats = REPEATS;
    o.session.memory = SNELLEN_MEMORY_SWA;
    o.session.window = 2;
    snellen_squash *s = squash(model, N, &o);
    for (int64_t t = 1; t <= LAYERS; t++)
        for (int64_t k = 0; k < N - 1; k++) {
            double want = k > t ? 0 : binomial(t, k) * pow(0.25, (double)k) * pow(0.75, (double)(t - k));
            assert_true(fabs((double)s->paths[(t - 1) * N + N - 1 - k] - want) < 1e-5);
        }
    assert_true(s->paths[(LAYERS - 1) * N] == 0);                        /* out of reach of 8 layers */
    assert_true(s->paths[(LAYERS + REPEATS - 1) * N] > 0.99f);          /* not of 488 */
    snellen_squash_free(s);
    snellen_model_free(model);
}

/* ALiBi of strength m without the residual path (a norm that divides by little): the weight at distance k after t layers is
 * the number of paths, binom(t - 1 + k, k), times (1 - e^-m)^t e^(-mk); its mean is t / (e^m - 1). */
static void test_alibi_counts_paths(void **state)
{
    (void)state;
    enum { N = 100, LAYERS = 4 };
    const double m = 0.5, ratio = exp(-m);
    snellen_model *model = plain_model("alibi", LAYERS, 4e-3f);
    snellen_squash_options o = snellen_squash_options_default();
    model->desc.norm_eps = 1e-12;
    ((float *)(uintptr_t)model->alibi)[0] = (float)m;
    o.n_probes = 1;
    snellen_squash *s = squash(model, N, &o);
    double residual = s->beta[0];
    assert_true(residual > 0 && residual < 2e-3);
    for (int64_t t = 1; t <= LAYERS; t++) {
        double mean = 0;
        for (int64_t k = 0; k < N; k++) mean += (double)k * (double)s->paths[(t - 1) * N + N - 1 - k];
        for (int64_t k = 0; k < 40; k++) {
            double want = binomial(t - 1 + k, k) * pow(1 - ratio, (double)t) * pow(ratio, (double)k);
            assert_true(fabs((double)s->paths[(t - 1) * N + N - 1 - k] - want) < 3e-3);
        }
        assert_true(fabs(mean / ((double)t / (exp(m) - 1)) - 1) < 0.01);
    }
    snellen_squash_free(s);
    snellen_model_free(model);
}

/* A linear model: attention that looks at all alike, and norms that see the same length whatever the rest of the vector is.
 * There the measured Jacobian is the product of the paths, up to one factor. */
static void test_linear_model(void **state)
{
    (void)state;
    enum { N = 12, LAYERS = 5 };
    snellen_model *model = plain_model("none", LAYERS, 0);
    float *rows = (float *)(uintptr_t)model->embedding.weight.data;
    for (int64_t i = 0; i < VOCAB; i++) {
        rows[i * D] = 4;                        /* the length; output maps leave it alone */
        rows[i * D + 1 + i] = 1e-3f;
    }
    for (int64_t l = 0; l < LAYERS; l++) {
        set_identity(&model->layers[l].output, 1);
        values(&model->layers[l].output)[0] = 0;
    }
    snellen_squash_options o = snellen_squash_options_default();
    o.n_probes = 0;
    snellen_squash *s = squash(model, N, &o);
    const float *product = s->paths + (LAYERS - 1) * N;
    for (int64_t j = 0; j < N; j++) {
        double got = s->sensitivity[j] / s->sensitivity[N - 1], want = (double)product[j] / (double)product[N - 1];
        assert_true(fabs(got / want - 1) < 1e-3);
    }
    assert_true(s->rank_correlation > 0.999);
    snellen_squash_free(s);
    snellen_model_free(model);
}

/* ---- softmax ----------------------------------------------------------------------------------------------------- */

/* Proposition B.4: of 1 0 1 0 .. against 0 1 0 1 .., whose ones score 1 higher, the weights' total variation goes to
 * 2 (e - 1) / (e + 1): it does not vanish with the length. */
static void test_alternating_total_variation(void **state)
{
    (void)state;
    enum { N = 600 };
    snellen_model *model = plain_model("none", 1, 4);
    snellen_attention_options o = snellen_attention_options_default();
    snellen_attention *maps[2];
    int32_t tokens[N];
    /* after the norm a token is 4 times a unit vector; query 4 u, key of token 1: u, so that its score is 4 / sqrt(D) = 1 */
    for (int64_t j = 0; j < VOCAB; j++) values(&model->layers[0].q)[j] = 1;
    values(&model->layers[0].k)[1] = 0.25f;
    o.rollout = false;
    for (int which = 0; which < 2; which++) {
        for (int i = 0; i < N; i++) tokens[i] = (i + which + 1) % 2;
        MUST(snellen_probe_attention(model, tokens, N, &o, NULL, &maps[which], err));
    }
    double distance = 0;
    for (int64_t j = 0; j < N; j++)
        distance += fabs((double)maps[0]->weights[(N - 1) * N + j] - (double)maps[1]->weights[(N - 1) * N + j]);
    assert_true(fabs(distance - 2 * (exp(1) - 1) / (exp(1) + 1)) < 1e-4);
    snellen_attention_free(maps[0]);
    snellen_attention_free(maps[1]);
    snellen_model_free(model);
}

/* What one query gets from n keys that it sees all of. */
static void attend_to_all(const float *q, const float *kv, int64_t n, float *out)
{
    enum { WIDTH = 4 };
    static const int64_t position = 0;
    float lse;
    const struct attn_shape shape = {.n_heads = 1, .n_kv_heads = 1, .head_dim = WIDTH, .scale = 0.5f, .kv_type = DT_F32};
    const struct grad_span span = {.k = kv, .v = kv, .stride = WIDTH, .n_keys = n, .rule = SPAN_ALL};
    const struct grad_sequence seq = {.q = q, .out = out, .lse = &lse, .positions = &position, .n_rows = 1, .spans = &span,
                                      .n_spans = 1};
    void *scratch = malloc(attention_backward_scratch_bytes(&shape, 1, n, 1));
    assert_non_null(scratch);
    attention_forward(&seq, 1, &shape, 1, scratch);
    free(scratch);
}

/* Proposition B.9: without positions and mask, "10" and "1100" give the same vectors, so no count can be told. */
static void test_no_order_no_count(void **state)
{
    (void)state;
    static const float one[] = {1, 2, -1, 0.5f}, zero[] = {-2, 0.25f, 1, 3}, q[] = {0.3f, -1, 0.7f, 0.1f};
    float few[8], many[16], a[4], b[4];
    for (int i = 0; i < 4; i++) {
        few[i] = many[i] = many[4 + i] = one[i];
        few[4 + i] = many[8 + i] = many[12 + i] = zero[i];
    }
    attend_to_all(q, few, 2, a);
    attend_to_all(q, many, 4, b);
    for (int i = 0; i < 4; i++) assert_true(fabs((double)a[i] - (double)b[i]) < 1e-6);
}

/* ---- equal tokens ------------------------------------------------------------------------------------------------ */

/* All tokens equal, no positions or rotary ones, no BOS: y_n is the same vector for every n. Weights are random. */
static void test_equal_tokens(void **state)
{
    (void)state;
    static const char *const positions[] = {"none", "rotary"};
    enum { N = 300, LAYERS = 3 };
    for (size_t p = 0; p < COUNT_OF(positions); p++) {
        snellen_model_design design = snellen_model_design_default();
        snellen_session_options so = snellen_session_options_default();
        snellen_model *model;
        snellen_session *s;
        int32_t tokens[N];
        design.positions = positions[p];
        design.n_layers = LAYERS;
        design.d_model = 64;
        design.n_vocab = VOCAB;
        design.init_std = 0.3;
        for (int i = 0; i < N; i++) tokens[i] = 2;
        float *hidden = malloc((LAYERS + 2) * N * 64 * sizeof *hidden);
        assert_non_null(hidden);
        MUST(snellen_model_new(&design, &model, err));
        MUST(snellen_session_new(model, &so, &s, err));
        MUST(snellen_session_feed(s, tokens, N, &(snellen_outputs){.hidden = hidden}, err));
        const float *y = hidden + (LAYERS + 1) * N * 64;
        for (int64_t n = 1; n < N; n++) assert_true(worst_difference(y + n * 64, y, 64) < 1e-5);
        snellen_session_free(s);
        snellen_model_free(model);
        free(hidden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_attention_everywhere),
        cmocka_unit_test(test_window_drifts),
        cmocka_unit_test(test_alibi_counts_paths),
        cmocka_unit_test(test_linear_model),
        cmocka_unit_test(test_alternating_total_variation),
        cmocka_unit_test(test_no_order_no_count),
        cmocka_unit_test(test_equal_tokens),
    };
    return cmocka_run_group_tests_name("theory", tests, NULL, NULL);
}
