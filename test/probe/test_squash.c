/* Over-squashing on small models: sensitivities against differences of the model's own vectors, random probes against exact
 * ones, paths against products of attention maps. argv[1] = folder of golden values. */
#include "test/test.h"

#include "model/grad.h"

static const char *golden;

/* With the memory prompt of the golden values, 4 rows. */
static snellen_model *load_fam(void)
{
    char path[4096];
    snellen_model *model = load_model(golden, "fam");
    snprintf(path, sizeof path, "%s/fam/inputs.safetensors", golden);
    MUST(snellen_model_load_prompt(model, path, err));
    return model;
}

/* n different tokens. */
static void fill_tokens(int32_t *tokens, int64_t n)
{
    for (int64_t i = 0; i < n; i++) tokens[i] = (int32_t)(3 + 5 * i);
}

static snellen_session_options memory_of(snellen_memory_kind kind)
{
    snellen_session_options o = snellen_session_options_default();
    o.memory = kind;
    o.exact = true;
    o.window = kind == SNELLEN_MEMORY_SWA || kind == SNELLEN_MEMORY_SINK || kind == SNELLEN_MEMORY_XL ? 3 : 0;
    o.sinks = 2;
    o.block = 4;
    o.segments = kind == SNELLEN_MEMORY_BSWA || kind == SNELLEN_MEMORY_XL;
    o.fam = 4;
    return o;
}

static snellen_squash *squash(const snellen_model *model, const int32_t *tokens, size_t n, const snellen_squash_options *o)
{
    snellen_squash *s;
    MUST(snellen_probe_squash(model, tokens, n, o, NULL, &s, err));
    return s;
}

/* ---- against differences ----------------------------------------------------------------------------------------- */

/* y [d] = the vector of the last of n tokens behind the final norm. */
static void last_vector(const snellen_model *model, const int32_t *tokens, size_t n, const snellen_session_options *o, float *y)
{
    const int64_t d = model->desc.d_model, layers = model->desc.n_layers + 2;
    snellen_session *s;
    float *hidden = calloc((size_t)(layers * d) * n, sizeof *hidden);
    assert_non_null(hidden);
    MUST(snellen_session_new(model, o, &s, err));
    MUST(snellen_session_feed(s, tokens, n, &(snellen_outputs){.hidden = hidden}, err));
    memcpy(y, hidden + ((size_t)(layers - 1) * n + n - 1) * (size_t)d, (size_t)d * sizeof *y);
    snellen_session_free(s);
    free(hidden);
}

/* || dy / dv_t ||, v_t moved by moving the embedding of its token, which stands in the text once. */
static double difference_norm(const snellen_model *model, const int32_t *tokens, size_t n, size_t t,
                              const snellen_session_options *o)
{
    enum { MOST = 64 };
    const int64_t d = model->desc.d_model;
    float *row = (float *)(uintptr_t)model->embedding.weight.data + tokens[t] * d, up[MOST], down[MOST];
    double sum = 0;
    assert_true(d <= MOST && model->embedding.weight.type == DT_F32);
    for (int64_t i = 0; i < d; i++) {
        const float step = 2e-3f, old = row[i];
        row[i] = old + step;
        last_vector(model, tokens, n, o, up);
        row[i] = old - step;
        last_vector(model, tokens, n, o, down);
        row[i] = old;
        for (int64_t k = 0; k < d; k++) {
            double slope = ((double)up[k] - (double)down[k]) / (2 * (double)step);
            sum += slope * slope;
        }
    }
    return sqrt(sum);
}

static void test_exact_against_differences(void **state)
{
    (void)state;
    static const struct {
        const char *folder;
        snellen_memory_kind kind;
    } cases[] = {{"llama", SNELLEN_MEMORY_FULL}, {"llama", SNELLEN_MEMORY_SWA}, {"llama", SNELLEN_MEMORY_BSWA},
                 {"llama", SNELLEN_MEMORY_XL}, {"gpt2", SNELLEN_MEMORY_FULL}, {"gpt_neox", SNELLEN_MEMORY_BSWA},
                 {"fam", SNELLEN_MEMORY_FAM}, {"fam", SNELLEN_MEMORY_RMT}, {"llama", SNELLEN_MEMORY_SINK},
                 {"gpt_neox", SNELLEN_MEMORY_SINK}, {"qwen3", SNELLEN_MEMORY_SINK}};
    enum { N = 11 };   /* two blocks and a part */
    int32_t tokens[N];
    fill_tokens(tokens, N);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snellen_model *model = strcmp(cases[i].folder, "fam") ? load_model(golden, cases[i].folder) : load_fam();
        struct params *params;
        MUST(params_full(model, &params, err));   /* weights that can be moved */
        snellen_squash_options o = snellen_squash_options_default();
        o.n_probes = 0;
        o.paths = false;
        o.session = memory_of(cases[i].kind);
        snellen_squash *s = squash(model, tokens, N, &o);
        for (size_t t = 0; t < N; t++) {
            double want = difference_norm(model, tokens, N, t, &o.session);
            if (!(fabs(s->sensitivity[t] - want) <= 0.01 * want + 1e-4))
                fail_msg("%s, memory %s, token %zu: %g, by differences %g", cases[i].folder, snellen_memory_name(cases[i].kind), t,
                         s->sensitivity[t], want);
            assert_true(s->error[t] == 0);
        }
        assert_true(isnan(s->rank_correlation) && !s->paths && !s->n_products);
        snellen_squash_free(s);
        snellen_model_free(model);
    }
}

/* ---- random probes ----------------------------------------------------------------------------------------------- */

static void test_probes_against_exact(void **state)
{
    (void)state;
    enum { N = 12 };
    int32_t tokens[N];
    snellen_model *model = load_model(golden, "llama");
    snellen_squash_options o = snellen_squash_options_default();
    fill_tokens(tokens, N);
    o.n_probes = 0;
    snellen_squash *exact = squash(model, tokens, N, &o);
    double error[2] = {0};
    for (int round = 0; round < 2; round++) {
        o.n_probes = round ? 400 : 100;
        snellen_squash *s = squash(model, tokens, N, &o);
        for (size_t t = 0; t < N; t++) {
            assert_true(s->error[t] > 0 && fabs(s->sensitivity[t] - exact->sensitivity[t]) < 5 * s->error[t]);
            error[round] += s->error[t] / s->sensitivity[t];
        }
        snellen_squash_free(s);
    }
    assert_true(error[0] / error[1] > 1.6 && error[0] / error[1] < 2.5);   /* four times the probes, half the error */
    snellen_squash_free(exact);
    snellen_model_free(model);
}

/* Same seed, same bytes, however many threads; another seed, others. */
static void test_seed(void **state)
{
    (void)state;
    enum { N = 12 };
    int32_t tokens[N];
    snellen_model *model = load_model(golden, "qwen2");
    snellen_squash_options o = snellen_squash_options_default();
    fill_tokens(tokens, N);
    o.session.n_threads = 1;
    snellen_squash *a = squash(model, tokens, N, &o);
    o.session.n_threads = 2;
    snellen_squash *b = squash(model, tokens, N, &o);
    o.seed = 2;
    snellen_squash *c = squash(model, tokens, N, &o);
    assert_memory_equal(a->sensitivity, b->sensitivity, N * sizeof(double));
    assert_memory_equal(a->paths, b->paths, (size_t)a->n_products * N * sizeof(float));
    assert_memory_equal(a->paths, c->paths, (size_t)a->n_products * N * sizeof(float));
    assert_true(a->sensitivity[3] != c->sensitivity[3]);
    snellen_squash_free(a);
    snellen_squash_free(b);
    snellen_squash_free(c);
    snellen_model_free(model);
}

/* What stands behind a row does not count. */
static void test_row(void **state)
{
    (void)state;
    enum { N = 12, ROW = 6 };
    int32_t tokens[N];
    snellen_model *model = load_model(golden, "llama");
    snellen_squash_options o = snellen_squash_options_default();
    fill_tokens(tokens, N);
    snellen_squash *alone = squash(model, tokens, ROW + 1, &o);
    o.row = ROW;
    snellen_squash *row = squash(model, tokens, N, &o);
    assert_int_equal(row->n_tokens, ROW + 1);
    assert_memory_equal(row->sensitivity, alone->sensitivity, (ROW + 1) * sizeof(double));
    assert_true(row->rank_correlation == alone->rank_correlation);
    snellen_squash_free(alone);
    snellen_squash_free(row);
    snellen_model_free(model);
}

/* ---- paths ------------------------------------------------------------------------------------------------------- */

/* row [n] = row * (A / beta + I) / (1 / beta + 1), A = mean over heads of a layer's maps. */
static void through_layer(const snellen_attention *a, int64_t layer, double beta, double *row)
{
    int64_t n = a->n_tokens;
    double attended[64] = {0};
    for (int64_t h = 0; h < a->n_heads; h++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++)
                attended[j] += row[i] * (double)a->weights[((layer * a->n_heads + h) * n + i) * n + j] / (double)a->n_heads;
    for (int64_t j = 0; j < n; j++) row[j] = (row[j] + attended[j] / beta) / (1 + 1 / beta);
}

static void check_paths(const float *got, const double *want, int64_t n)
{
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        assert_true(fabs((double)got[j] - want[j]) < 1e-5);
        sum += (double)got[j];
    }
    assert_true(fabs(sum - 1) < 1e-5);
}

static void test_paths_against_maps(void **state)
{
    (void)state;
    static const struct {
        const char *folder;
        snellen_memory_kind kind;
    } cases[] = {{"llama", SNELLEN_MEMORY_FULL}, {"gemma3", SNELLEN_MEMORY_FULL}, {"bloom", SNELLEN_MEMORY_FULL},
                 {"gpt2", SNELLEN_MEMORY_FULL}, {"llama", SNELLEN_MEMORY_SWA}};
    enum { N = 14, REPEATS = 2 };
    int32_t tokens[N];
    fill_tokens(tokens, N);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        snellen_model *model = load_model(golden, cases[i].folder);
        snellen_attention_options maps = snellen_attention_options_default();
        snellen_squash_options o = snellen_squash_options_default();
        snellen_attention *a;
        o.n_probes = 1;
        o.n_repeats = REPEATS;
        o.session = maps.session = memory_of(cases[i].kind);
        MUST(snellen_probe_attention(model, tokens, N, &maps, NULL, &a, err));
        snellen_squash *s = squash(model, tokens, N, &o);
        assert_int_equal(s->n_products, s->n_layers + REPEATS);
        double row[N];
        for (int64_t top = 0; top < s->n_layers; top++) {
            memset(row, 0, sizeof row);
            row[N - 1] = 1;
            for (int64_t l = top; l >= 0; l--) through_layer(a, l, s->beta[l], row);
            check_paths(s->paths + top * N, row, N);
        }
        for (int64_t r = 0; r < REPEATS; r++) {
            for (int64_t l = s->n_layers - 1; l >= 0; l--) through_layer(a, l, s->beta[l], row);
            check_paths(s->paths + (s->n_layers + r) * N, row, N);
        }
        snellen_squash_free(s);
        snellen_attention_free(a);
        snellen_model_free(model);
    }
}

/* Blocks alone end what is seen; a feedback memory carries it on, and what its first rows hold is missing from the sum. */
static void test_memory_carries(void **state)
{
    (void)state;
    enum { N = 16, BLOCK = 4 };
    int32_t tokens[N];
    snellen_model *model = load_fam();
    snellen_squash_options o = snellen_squash_options_default();
    fill_tokens(tokens, N);
    o.session = memory_of(SNELLEN_MEMORY_BSWA);
    o.session.segments = 0;
    snellen_squash *alone = squash(model, tokens, N, &o);
    o.session = memory_of(SNELLEN_MEMORY_FAM);
    snellen_squash *carried = squash(model, tokens, N, &o);
    double sum = 0;
    const float *last = carried->paths + (carried->n_layers - 1) * N;
    for (size_t t = 0; t < N; t++) {
        bool own = t >= N - BLOCK;
        assert_true(own == (alone->sensitivity[t] > 0) && own == (alone->paths[(alone->n_layers - 1) * N + (int64_t)t] > 0));
        assert_true(carried->sensitivity[t] > 0 && last[t] > 0);
        sum += (double)last[t];
    }
    assert_true(sum > 0.5 && sum < 1 - 1e-4);
    snellen_squash_free(alone);
    snellen_squash_free(carried);
    snellen_model_free(model);
}

/* ---- what is refused --------------------------------------------------------------------------------------------- */

static void refuse(const snellen_model *model, const snellen_squash_options *o, snellen_status want, const char *text)
{
    static const int32_t tokens[] = {3, 8, 13};
    snellen_squash *s;
    snellen_error error;
    assert_int_equal(snellen_probe_squash(model, tokens, 3, o, NULL, &s, &error), want);
    assert_null(s);
    assert_non_null(strstr(error.message, text));
}

static void test_refusals(void **state)
{
    (void)state;
    snellen_model *model = load_model(golden, "llama");
    const snellen_squash_options plain = snellen_squash_options_default();
    snellen_squash_options o = plain;
    o.row = 3;
    refuse(model, &o, SNELLEN_E_USAGE, "row 3 of 3 tokens");
    o = plain;
    o.session.memory = SNELLEN_MEMORY_SINK;
    o.session.sinks = 513;
    refuse(model, &o, SNELLEN_E_UNSUPPORTED, "at most 512");
    o.session.memory = SNELLEN_MEMORY_RMT;
    refuse(model, &o, SNELLEN_E_UNSUPPORTED, "rmt");
    o = plain;
    o.session.attn_temp = 0.5;
    refuse(model, &o, SNELLEN_E_UNSUPPORTED, "as the model was trained");
    o = plain;
    o.session.precision = SNELLEN_BF16;
    refuse(model, &o, SNELLEN_E_UNSUPPORTED, "f32");
    o = plain;
    o.n_repeats = -1;
    refuse(model, &o, SNELLEN_E_USAGE, "repeats");
    snellen_model_free(model);
}

static bool stop_at_once(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)done;
    (void)total;
    return --*(int *)user > 0;
}

/* Wherever it is stopped, nothing is left behind. */
static void test_stopped(void **state)
{
    (void)state;
    static const int32_t tokens[] = {3, 8, 13, 18, 23};
    snellen_model *model = load_model(golden, "llama");
    int cancelled = 0;
    for (int after = 1; after < 60; after++) {
        int left = after;
        const snellen_progress progress = {.step = stop_at_once, .user = &left};
        snellen_squash *s;
        snellen_error error;
        snellen_status status = snellen_probe_squash(model, tokens, 5, NULL, &progress, &s, &error);
        assert_true(status == SNELLEN_OK ? s != NULL : status == SNELLEN_E_CANCELLED && !s);
        cancelled += status != SNELLEN_OK;
        snellen_squash_free(s);
    }
    assert_true(cancelled > 10 && cancelled < 59);
    snellen_model_free(model);
}

int main(int argc, char **argv)
{
    assert_int_equal(argc, 2);
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_against_differences),
        cmocka_unit_test(test_probes_against_exact),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_row),
        cmocka_unit_test(test_paths_against_maps),
        cmocka_unit_test(test_memory_carries),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_stopped),
    };
    return cmocka_run_group_tests_name("squash", tests, NULL, NULL);
}
