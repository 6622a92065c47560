/* Training steps and attribution on the golden models: loss, gradients of every weight, gradient x input; blocks;
 * low-rank factors; checkpointing, threads, padding. argv[1] = folder of golden values. */
#include "grad_golden.h"

static void test_all_architectures(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
            struct safetensors *expected = open_expected(archs[i], "expected");
            struct prompt p = prompt_of(expected);
            snellen_model *model = load_model(golden, archs[i]);
            struct params *params;
            size_t bytes;
            MUST(params_full(model, &params, err));
            struct grad_options o = options_for(&p);
            o.checkpoint = checkpoint;
            double loss = step(model, &p, &o, 0);
            assert_true(fabs(loss - (double)*(const float *)raw(expected, "loss", &bytes)) < 1e-5);
            check_gradients(archs[i], params, expected);
            snellen_model_free(model);
            safetensors_close(expected);
        }
}

/* full, and blocks with what they see before them; the last block is a part of one. */
static void test_blocks(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int64_t block, segments;
        bool stop;
    } cases[] = {{"full", 0, 0, false}, {"bswa-b8-m0", 8, 0, false}, {"bswa-b8-m2", 8, 2, false},
                 {"bswa-b8-m2-stopgrad", 8, 2, true}, {"full", 45, 1, false}, {"full", 8, 6, false}};
    for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
        struct safetensors *inputs = open_expected("fam", "inputs");
        struct safetensors *expected = open_expected("fam", cases[i / 2].file);
        struct prompt p = prompt_of(inputs);
        snellen_model *model = load_model(golden, "fam");
        struct params *params;
        size_t bytes;
        MUST(params_full(model, &params, err));
        struct grad_options o = options_for(&p);
        o.block = cases[i / 2].block;
        o.segments = cases[i / 2].segments;
        o.stop_gradient = cases[i / 2].stop;
        o.checkpoint = i % 2;
        double loss = step(model, &p, &o, 0);
        assert_true(fabs(loss - (double)*(const float *)raw(expected, "loss", &bytes)) < 1e-5);
        check_gradients("fam", params, expected);
        snellen_model_free(model);
        safetensors_close(expected);
        safetensors_close(inputs);
    }
}

/* A copy of the gradients after one step with these options. */
static float *gradients_of(const char *folder, const struct prompt *p, const struct grad_options *o, int64_t position,
                           uint64_t *n)
{
    snellen_model *model = load_model(golden, folder);
    struct params *params;
    MUST(params_full(model, &params, err));
    step(model, p, o, position);
    *n = params->n_values;
    float *copy = malloc(*n * sizeof *copy);
    memcpy(copy, params->grads, *n * sizeof *copy);
    snellen_model_free(model);
    return copy;
}

static void test_same_bytes_with_checkpoints_and_threads(void **state)
{
    (void)state;
    static const char *const folders[] = {"llama", "gemma3", "bloom"};
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        struct safetensors *file = open_expected(folders[i], "expected");
        struct prompt p = prompt_of(file);
        struct grad_options o = options_for(&p);
        for (int block = 0; block < 2; block++) {
            uint64_t n;
            o = options_for(&p);
            o.block = block ? 7 : 0;
            o.segments = block;
            float *base = gradients_of(folders[i], &p, &o, 0, &n);
            o.checkpoint = true;
            float *again = gradients_of(folders[i], &p, &o, 0, &n);
            o.n_threads = 1;
            float *alone = gradients_of(folders[i], &p, &o, 0, &n);
            assert_memory_equal(base, again, n * sizeof *base);
            assert_memory_equal(base, alone, n * sizeof *base);
            free(base), free(again), free(alone);
        }
        safetensors_close(file);
    }
}

/* Rotary positions: the same gradients from any first position. */
static void test_positions_shift(void **state)
{
    (void)state;
    struct safetensors *file = open_expected("llama", "expected");
    struct prompt p = prompt_of(file);
    struct grad_options o = options_for(&p);
    uint64_t n;
    float *base = gradients_of("llama", &p, &o, 0, &n), *moved = gradients_of("llama", &p, &o, 10000, &n);
    double largest = 0;
    for (uint64_t i = 0; i < n; i++) largest = fmax(largest, fabs((double)base[i]));
    assert_true(worst_difference(base, moved, n) < 1e-4 * largest);
    free(base), free(moved);
    safetensors_close(file);
}

/* Loss and, if wanted, gradients of a step whose tokens stand at these places. */
static double step_at(const char *folder, const struct prompt *p, const struct grad_options *o, const int64_t *places,
                      float *gradients)
{
    snellen_model *model = load_model(golden, folder);
    struct params *params;
    struct grad *g;
    double loss, weight;
    MUST(params_full(model, &params, err));
    MUST(grad_new(model, o, &g, err));
    MUST(grad_set_places(g, places, err));
    MUST(grad_step(g, p->tokens, p->weights, 1, p->n, 0, 1, &loss, &weight, NULL, err));
    if (gradients) memcpy(gradients, params->grads, params->n_values * sizeof *gradients);
    grad_free(g);
    snellen_model_free(model);
    return loss;
}

/* Tokens that stand together elsewhere are a step from another position, to the bit; with rotary positions a block that
 * sees itself alone does not feel where it stands, and every other jump is felt. */
static void test_places(void **state)
{
    (void)state;
    static const char *const folders[] = {"llama", "gemma3", "gpt2", "opt"};
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        struct safetensors *file = open_expected(folders[i], "expected");
        struct prompt p = prompt_of(file);
        struct grad_options o = options_for(&p), blocks = o;
        int64_t places[64], jumped[64], block = 8;
        uint64_t n;
        for (int64_t t = 0; t < p.n; t++) places[t] = t + 5, jumped[t] = t + (t >= block ? 3 : 0) + (t >= 2 * block ? 4 : 0);
        snellen_model *model = load_model(golden, folders[i]);
        struct params *params;
        struct grad *g;
        double loss, weight;
        MUST(params_full(model, &params, err));
        n = params->n_values;
        MUST(grad_new(model, &o, &g, err));
        MUST(grad_step(g, p.tokens, p.weights, 1, p.n, 5, 1, &loss, &weight, NULL, err));
        float *moved = malloc(n * sizeof *moved);
        assert_true(moved && step_at(folders[i], &p, &o, places, moved) == loss);
        assert_memory_equal(moved, params->grads, n * sizeof *moved);
        free(moved);
        grad_free(g);
        bool rotary = model->desc.positions == POSITION_ROTARY;
        blocks.block = block;
        double apart = fabs(step_at(folders[i], &p, &blocks, jumped, NULL) - step_at(folders[i], &p, &blocks, NULL, NULL));
        double together = fabs(step_at(folders[i], &p, &o, jumped, NULL) - step_at(folders[i], &p, &o, NULL, NULL));
        assert_true(rotary ? apart < 1e-4 && together > 1e-3 : apart > 1e-3);
        snellen_model_free(model);
        safetensors_close(file);
    }
}

/* Blocks that are seen only as far as the last w keys (xl) are a window of w, when w is at least a block and the blocks
 * before reach that far; and every layer of a model with windows of its own keeps to the narrower of both. */
static void test_windows(void **state)
{
    (void)state;
    static const struct {
        const char *folder;
        int64_t window, block, segments;
    } cases[] = {{"llama", 12, 8, 2}, {"llama", 1, 1, 0}, {"gemma3", 12, 6, 2}, {"gemma3", 5, 5, 1}, {"bloom", 9, 9, 1},
                 {"gpt2", 64, 16, 3}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct safetensors *file = open_expected(cases[i].folder, "expected");
        struct prompt p = prompt_of(file);
        uint64_t n;
        struct grad_options window = options_for(&p), xl = options_for(&p), full = options_for(&p);
        window.window = cases[i].window;
        xl.block = cases[i].block;
        xl.segments = cases[i].segments;
        xl.block_window = cases[i].window;
        float *a = gradients_of(cases[i].folder, &p, &window, 0, &n);
        float *b = gradients_of(cases[i].folder, &p, &xl, 0, &n);
        float *all = gradients_of(cases[i].folder, &p, &full, 0, &n);
        double largest = 0;
        for (uint64_t k = 0; k < n; k++) largest = fmax(largest, fabs((double)a[k]));
        assert_true(worst_difference(a, b, n) < 1e-5 * largest);
        bool narrow = cases[i].window < p.n;
        assert_true((worst_difference(a, all, n) > 1e-3 * largest) == narrow);
        free(a), free(b), free(all);
        safetensors_close(file);
    }
}

/* The losses of a windowed step are those of a session that forgets what has left the window. */
static void test_window_is_that_of_sessions(void **state)
{
    (void)state;
    static const char *const folders[] = {"llama", "gemma3", "bloom"};
    static const int64_t windows[] = {5, 12};
    for (size_t i = 0; i < COUNT_OF(folders) * COUNT_OF(windows); i++) {
        struct safetensors *file = open_expected(folders[i / 2], "expected");
        struct prompt p = prompt_of(file);
        snellen_model *model = load_model(golden, folders[i / 2]);
        struct grad_options o = options_for(&p);
        o.window = windows[i % 2];
        double loss = step(model, &p, &o, 0), sum = 0;
        float nll[64];
        snellen_session *session;
        snellen_session_options so = snellen_session_options_default();
        so.memory = SNELLEN_MEMORY_SWA;
        so.window = windows[i % 2];
        const snellen_outputs out = {.nll = nll};
        MUST(snellen_session_new(model, &so, &session, err));
        MUST(snellen_session_feed(session, p.tokens, (size_t)p.n, &out, err));
        for (int64_t k = 1; k < p.n; k++) sum += (double)nll[k];
        assert_true(fabs(sum / (double)(p.n - 1) - loss) < 1e-5);
        snellen_session_free(session);
        snellen_model_free(model);
        safetensors_close(file);
    }
}

/* Sequences of different lengths in one step give the sum of what each gives alone, whatever fills them up. */
static void test_batch_is_sum(void **state)
{
    (void)state;
    struct safetensors *file = open_expected("qwen3", "expected");
    struct prompt p = prompt_of(file);
    snellen_model *model = load_model(golden, "qwen3");
    struct params *params;
    MUST(params_full(model, &params, err));
    float *sum = calloc(params->n_values, sizeof *sum);
    int32_t tokens[2 * 64];
    float weights[2 * 64], nll[2 * 64];
    double loss, weight, losses = 0;
    for (int s = 0; s < 2; s++) {
        int64_t n = p.n - 9 * s;
        struct grad_options alone = {.n_seqs = 1, .n_tokens = n};
        struct grad *g;
        MUST(grad_new(model, &alone, &g, err));
        params_zero_grads(params);
        MUST(grad_step(g, p.tokens + s, p.weights, 1, n, 0, 1, &loss, &weight, NULL, err));
        losses += loss;
        for (uint64_t i = 0; i < params->n_values; i++) sum[i] += params->grads[i];
        for (int64_t i = 0; i < p.n; i++) {
            tokens[s * p.n + i] = i < n ? p.tokens[s + i] : 77;
            weights[s * p.n + i] = i < n ? 1 : 0;
        }
        grad_free(g);
    }
    for (int checkpoint = 0; checkpoint < 2; checkpoint++) {
        struct grad_options both = {.n_seqs = 3, .n_tokens = p.n + 4, .checkpoint = checkpoint};
        struct grad *g;
        MUST(grad_new(model, &both, &g, err));
        params_zero_grads(params);
        MUST(grad_step(g, tokens, weights, 2, p.n, 0, 1, &loss, &weight, nll, err));
        assert_true(fabs(loss - losses) < 1e-4);
        double total = 0, largest = 0;
        for (int64_t i = 0; i < 2 * p.n; i++) total += (double)nll[i];
        assert_true(fabs(total - loss) < 1e-4);
        for (uint64_t i = 0; i < params->n_values; i++) largest = fmax(largest, fabs((double)sum[i]));
        assert_true(worst_difference(sum, params->grads, params->n_values) < 1e-5 * largest);
        /* scale 0: the same loss, no gradient */
        params_zero_grads(params);
        double again;
        MUST(grad_step(g, tokens, weights, 2, p.n, 0, 0, &again, &weight, NULL, err));
        assert_true(fabs(again - loss) < 1e-5);
        for (uint64_t i = 0; i < params->n_values; i++) assert_true(params->grads[i] == 0);
        grad_free(g);
    }
    free(sum);
    snellen_model_free(model);
    safetensors_close(file);
}

/* ---- attribution ------------------------------------------------------------------------------------------------- */

static void test_gradient_times_input(void **state)
{
    (void)state;
    static const char *const folders[] = {"llama", "qwen2", "qwen3", "gpt_neox"};
    for (size_t i = 0; i < 2 * COUNT_OF(folders); i++) {
        struct safetensors *file = open_expected(folders[i / 2], "expected");
        struct prompt p = prompt_of(file);
        snellen_model *model = load_model(golden, folders[i / 2]);
        struct grad_options o = options_for(&p);
        o.inputs_only = true;
        o.checkpoint = i % 2;
        int64_t d = model->desc.d_model, n = p.n;
        struct grad_seed seeds[64];
        assert_true(n <= (int64_t)COUNT_OF(seeds));
        for (int64_t s = 0; s + 1 < n; s++) seeds[s] = (struct grad_seed){.row = s, .id = p.tokens[s + 1]};
        float *gradients = malloc((size_t)(n * n * d) * sizeof *gradients);
        float *embedded = malloc((size_t)(n * d) * sizeof *embedded);
        struct grad *g;
        size_t bytes;
        MUST(grad_new(model, &o, &g, err));
        MUST(grad_inputs(g, p.tokens, n, seeds, n - 1, gradients, embedded, NULL, err));
        const float *gxi = raw(file, "gxi", &bytes);
        for (int64_t s = 0; s + 1 < n; s++)
            for (int64_t t = 0; t < n; t++) {
                double sum = 0;
                for (int64_t c = 0; c < d; c++)
                    sum += (double)gradients[(s * n + t) * d + c] * (double)embedded[t * d + c];
                assert_true(fabs(fabs(sum) - (double)gxi[t * n + s]) < tolerance);
            }
        free(gradients), free(embedded);
        grad_free(g);
        snellen_model_free(model);
        safetensors_close(file);
    }
}

/* ---- low-rank factors -------------------------------------------------------------------------------------------- */

/* The loss along a random direction of all factors, by differences, against their gradients; and the merged model gives
 * what the factors gave. */
static void test_low_rank_factors(void **state)
{
    (void)state;
    static const char *const folders[] = {"llama", "gpt2", "gpt_neox"};
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        struct safetensors *file = open_expected(folders[i], "expected");
        struct prompt p = prompt_of(file);
        snellen_model *model = load_model(golden, folders[i]);
        struct lora_options lora = {.rank = 3, .alpha = 6, .seed = 5};
        struct params *params;
        struct grad_options o = options_for(&p);
        MUST(params_lora(model, &lora, &params, err));
        struct rng rng;
        rng_seed(&rng, 1, 0);
        for (uint64_t k = 0; k < params->n_values; k++) params->values[k] += (float)(0.1 * rng_normal(&rng));
        step(model, &p, &o, 0);
        for (int direction = 0; direction < 3; direction++) {
            double along = 0, losses[2], h = 1e-3;
            float *u = malloc(params->n_values * sizeof *u), *at = malloc(params->n_values * sizeof *at);
            float *gradient = malloc(params->n_values * sizeof *gradient);
            memcpy(at, params->values, params->n_values * sizeof *at);
            memcpy(gradient, params->grads, params->n_values * sizeof *at);
            for (uint64_t k = 0; k < params->n_values; k++) {
                u[k] = (float)rng_normal(&rng);
                along += (double)u[k] * (double)gradient[k];
            }
            for (int side = 0; side < 2; side++) {
                for (uint64_t k = 0; k < params->n_values; k++)
                    params->values[k] = at[k] + (side ? -1 : 1) * (float)h * u[k];
                losses[side] = step(model, &p, &o, 0);
            }
            assert_true(fabs((losses[0] - losses[1]) / (2 * h) - along) < 0.02 * fabs(along) + 2e-3);
            memcpy(params->values, at, params->n_values * sizeof *at);
            memcpy(params->grads, gradient, params->n_values * sizeof *at);
            free(u), free(at), free(gradient);
        }
        double applied = step(model, &p, &o, 0);
        MUST(lora_merge(model, err));
        assert_null(model->params);
        assert_true(fabs(step(model, &p, &o, 0) - applied) < 1e-5);
        snellen_model_free(model);
        safetensors_close(file);
    }
}

/* Every matrix of the layers as Q8_0, or as what Q8_0 stands for in f32. *memory is the caller's. */
static void round_matrices(snellen_model *model, bool widened, struct arena *memory)
{
    struct weight_entry e;
    struct weight_place place;
    for (size_t i = 0; weights_next_place(model, &i, &e, &place);) {
        if (!place.map || e.layer < 0) continue;
        int64_t n_in = e.shape[1], row_bytes = dtype_row_bytes(DT_Q8_0, n_in);
        char *rows = arena_alloc(memory, (size_t)(e.shape[0] * row_bytes));
        float *wide = arena_alloc(memory, (size_t)(e.shape[0] * n_in) * sizeof *wide);
        struct weight rounded = {DT_Q8_0, rows, e.shape[0], n_in};
        for (int64_t r = 0; r < e.shape[0]; r++) {
            assert_true(quantise_row(DT_Q8_0, rows + r * row_bytes, (const float *)e.weight.data + r * n_in, n_in));
            weight_row(wide + r * n_in, &rounded, r);
        }
        *place.matrix = widened ? (struct weight){DT_F32, wide, e.shape[0], n_in} : rounded;
    }
}

/* Factors beside quantised weights get the gradients that they get beside the same weights in f32. */
static void test_factors_beside_quantised_weights(void **state)
{
    (void)state;
    static const char *const folders[] = {"gemma3", "gpt_neox", "bloom"};
    for (size_t i = 0; i < COUNT_OF(folders); i++) {
        struct safetensors *file = open_expected(folders[i], "expected");
        struct prompt p = prompt_of(file);
        float *gradients[2];
        double losses[2], largest = 0;
        uint64_t n = 0;
        for (int widened = 0; widened < 2; widened++) {
            struct arena memory = {0};
            struct lora_options lora = {.rank = 4, .seed = 3};
            struct params *params;
            struct grad_options o = options_for(&p);
            snellen_model *model = load_model(golden, folders[i]);
            round_matrices(model, widened, &memory);
            MUST(params_lora(model, &lora, &params, err));
            struct rng rng;
            rng_seed(&rng, 1, 0);
            for (uint64_t k = 0; k < params->n_values; k++) params->values[k] += (float)(0.1 * rng_normal(&rng));
            losses[widened] = step(model, &p, &o, 0);
            n = params->n_values;
            gradients[widened] = malloc(n * sizeof(float));
            memcpy(gradients[widened], params->grads, n * sizeof(float));
            snellen_model_free(model);
            arena_free(&memory);
        }
        for (uint64_t k = 0; k < n; k++) largest = fmax(largest, fabs((double)gradients[1][k]));
        assert_true(largest > 0);
        assert_true(fabs(losses[0] - losses[1]) < 1e-5);
        assert_true(worst_difference(gradients[0], gradients[1], n) < 1e-5 * largest);
        free(gradients[0]), free(gradients[1]);
        safetensors_close(file);
    }
}

/* Sessions apply the factors as the training step does. */
static void test_sessions_see_what_is_trained(void **state)
{
    (void)state;
    struct safetensors *file = open_expected("llama", "expected");
    struct prompt p = prompt_of(file);
    snellen_model *model = load_model(golden, "llama");
    struct lora_options lora = {.rank = 2, .targets = "attn_v ffn_down", .seed = 1};
    struct params *params;
    MUST(params_lora(model, &lora, &params, err));
    assert_int_equal(params->n, 3 * 2 * 2);
    for (uint64_t k = 0; k < params->n_values; k++) params->values[k] += 0.05f;
    struct grad_options o = options_for(&p);
    double loss = step(model, &p, &o, 0), sum = 0;
    float nll[64];
    snellen_session *session;
    const snellen_outputs out = {.nll = nll};
    MUST(snellen_session_new(model, NULL, &session, err));
    MUST(snellen_session_feed(session, p.tokens, (size_t)p.n, &out, err));
    for (int64_t i = 1; i < p.n; i++) sum += (double)nll[i];
    assert_true(fabs(sum / (double)(p.n - 1) - loss) < 1e-5);
    snellen_session_free(session);
    snellen_model_free(model);
    safetensors_close(file);
}

static void test_wrong_calls(void **state)
{
    (void)state;
    snellen_model *model = load_model(golden, "gpt2");
    struct params *params;
    struct grad *g;
    uint64_t bytes;
    struct lora_options lora = {.rank = 2, .targets = "attn_v attn_z"};
    MUST_FAIL(SNELLEN_E_USAGE, params_lora(model, &lora, &params, err));
    MUST_FAIL(SNELLEN_E_USAGE, lora_merge(model, err));
    MUST(params_full(model, &params, err));
    MUST_FAIL(SNELLEN_E_USAGE, params_full(model, &params, err));
    struct grad_options o = {.n_seqs = 1, .n_tokens = 80};
    o.segments = 1;
    MUST_FAIL(SNELLEN_E_USAGE, grad_new(model, &o, &g, err));
    o = (struct grad_options){.n_seqs = 1 << 20, .n_tokens = 1 << 20};
    MUST_FAIL(SNELLEN_E_USAGE, grad_bytes(model, &o, &bytes, err));
    o = (struct grad_options){.n_seqs = 1, .n_tokens = 1 << 30};
    MUST_FAIL(SNELLEN_E_MEMORY, grad_new(model, &o, &g, err));
    o = (struct grad_options){.n_seqs = 1, .n_tokens = 80};
    MUST(grad_new(model, &o, &g, err));
    int32_t tokens[80] = {0};
    float weights[80] = {0};
    double loss, weight;
    MUST_FAIL(SNELLEN_E_CONTEXT, grad_step(g, tokens, weights, 1, 80, 0, 1, &loss, &weight, NULL, err));
    int64_t places[80] = {0};
    places[7] = 64;
    MUST(grad_set_places(g, places, err));
    MUST_FAIL(SNELLEN_E_CONTEXT, grad_step(g, tokens, weights, 1, 10, 0, 1, &loss, &weight, NULL, err));
    MUST(grad_set_places(g, NULL, err));
    tokens[3] = 101;
    MUST_FAIL(SNELLEN_E_USAGE, grad_step(g, tokens, weights, 1, 10, 0, 1, &loss, &weight, NULL, err));
    MUST_FAIL(SNELLEN_E_USAGE, grad_step(g, tokens, weights, 2, 10, 0, 1, &loss, &weight, NULL, err));
    grad_free(g);
    snellen_model_free(model);
    model = load_model(golden, "bloom");
    MUST(params_full(model, &params, err));
    MUST(grad_new(model, &o, &g, err));
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, grad_set_places(g, places, err));
    MUST(grad_set_places(g, NULL, err));
    grad_free(g);
    snellen_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_architectures),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_same_bytes_with_checkpoints_and_threads),
        cmocka_unit_test(test_positions_shift),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_window_is_that_of_sessions),
        cmocka_unit_test(test_batch_is_sum),
        cmocka_unit_test(test_gradient_times_input),
        cmocka_unit_test(test_low_rank_factors),
        cmocka_unit_test(test_factors_beside_quantised_weights),
        cmocka_unit_test(test_sessions_see_what_is_trained),
        cmocka_unit_test(test_wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
