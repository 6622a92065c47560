/* Gradients through feedback memories and recurrent ones: golden values, every architecture, what came long before,
 * factors, batches, what a block takes. */
#include "grad_golden.h"

static void check_close(const char *what, const float *got, const float *want, size_t n)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)got[i] - (double)want[i]);
        largest = fmax(largest, fabs((double)want[i]));
        worst = difference > worst || isnan(difference) ? difference : worst;
    }
    if (!(worst <= tolerance * largest + 1e-7)) fail_msg("%s: %.3g off, largest entry %.3g", what, worst, largest);
}

static snellen_model *load_with_prompt(const char *folder, snellen_fam_positions positions)
{
    char path[4200];
    snellen_model *model = load_model(golden, folder);
    snprintf(path, sizeof path, "%s/fam/inputs.safetensors", golden);
    MUST(snellen_model_load_prompt(model, path, err));
    snellen_model_memory memory = *snellen_model_get_memory(model);
    memory.fam_positions = positions;
    MUST(snellen_model_set_memory(model, &memory, err));
    return model;
}

/* Feedback memory: loss, every gradient, the prompt's, and the memories at the end. */
static void test_feedback_memory(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int64_t segments, fam_blocks, position;
        snellen_fam_positions positions;
        bool carried;
    } cases[] = {{"fam-b8-m0-f4", 0, 1, 0, SNELLEN_FAM_LAST, false}, {"fam-b8-m1-f4", 1, 1, 0, SNELLEN_FAM_LAST, false},
                 {"fam-b8-m1-f4-offset300", 1, 1, 300, SNELLEN_FAM_LAST, false},
                 {"fam-b8-m1-f4-zero", 1, 1, 0, SNELLEN_FAM_ZERO, false},
                 {"fam-b8-m1-f4-float", 1, 1, 0, SNELLEN_FAM_FLOAT, false},
                 {"fam-b8-m1-f4-blocks2", 1, 2, 0, SNELLEN_FAM_LAST, false},
                 {"fam-b8-m1-f4-state", 1, 1, 0, SNELLEN_FAM_LAST, true}};
    for (size_t i = 0; i < 2 * COUNT_OF(cases); i++) {
        struct safetensors *inputs = open_expected("fam", "inputs");
        struct safetensors *expected = open_expected("fam", cases[i / 2].file);
        struct prompt p = prompt_of(inputs);
        snellen_model *model = load_with_prompt("fam", cases[i / 2].positions);
        const int64_t n_layers = model->desc.n_layers, size = 4 * model->desc.d_model;
        struct params *params;
        struct grad *g;
        size_t bytes;
        float start[3 * 4 * 32];
        double loss, weight, total = 0;
        MUST(params_full(model, &params, err));
        struct grad_options o = options_for(&p);
        o.block = 8;
        o.segments = cases[i / 2].segments;
        o.fam = 4;
        o.fam_blocks = cases[i / 2].fam_blocks;
        o.fam_positions = cases[i / 2].positions;
        o.checkpoint = i % 2;
        assert_int_equal(n_layers * size, COUNT_OF(start));
        for (int64_t t = 1; t < p.n; t++) total += (double)p.weights[t];
        MUST(grad_new(model, &o, &g, err));
        for (int64_t layer = 0; layer < n_layers; layer++) {
            char name[32];
            snprintf(name, sizeof name, "start.%d", (int)layer);
            memcpy(start + layer * size, raw(inputs, name, &bytes), (size_t)size * sizeof *start);
        }
        if (cases[i / 2].carried) grad_set_memory(g, start);
        MUST(grad_step(g, p.tokens, p.weights, 1, p.n, cases[i / 2].position, 1 / total, &loss, &weight, NULL, err));
        assert_true(fabs(loss / weight - (double)*(const float *)raw(expected, "loss", &bytes)) < 1e-5);
        check_gradients("fam", params, expected);
        const struct param *prompt = &params->list[params->n - 1];
        assert_string_equal(prompt->name, "fam.prompt");
        const float *right = raw(expected, "grad.fam.prompt", &bytes);
        if (right) check_close("fam.prompt", prompt->grad, right, bytes / sizeof *right);
        for (int64_t j = 0; !right && j < size; j++) assert_true(prompt->grad[j] == 0);
        for (int64_t layer = 0; layer < n_layers; layer++) {
            char name[32];
            snprintf(name, sizeof name, "memory.%d", (int)layer);
            check_close(name, grad_memory(g) + layer * size, raw(expected, name, &bytes), (size_t)size);
        }
        grad_free(g);
        snellen_model_free(model);
        safetensors_close(expected);
        safetensors_close(inputs);
    }
}

/* Recurrent memory against PyTorch (make_rmt.py): loss, every gradient, the prompt's, the memory at the end. Only
 * distances between places matter; a carried memory of the prompt's rows is the same but for their gradient. */
static void test_recurrent_memory(void **state)
{
    (void)state;
    struct safetensors *inputs = open_expected("fam", "inputs"), *expected = open_expected("fam", "rmt-b8-f4");
    const struct prompt p = prompt_of(inputs);
    size_t bytes;
    for (int i = 0; i < 8; i++) {
        const bool carried = i & 1, far = i & 2, checkpoint = i & 4;
        snellen_model *model = load_with_prompt("fam", SNELLEN_FAM_LAST);
        const int64_t size = 4 * model->desc.d_model;
        float start[4 * 32];
        struct params *params;
        struct grad *g;
        double loss, weight, total = 0;
        struct grad_options o = options_for(&p);
        o.block = 8;
        o.fam = 4;
        o.rmt = true;
        o.checkpoint = checkpoint;
        assert_int_equal(size, COUNT_OF(start));
        memcpy(start, model->memory.prompt, sizeof start);
        MUST(params_full(model, &params, err));
        for (int64_t t = 1; t < p.n; t++) total += (double)p.weights[t];
        MUST(grad_new(model, &o, &g, err));
        if (carried) grad_set_memory(g, start);
        MUST(grad_step(g, p.tokens, p.weights, 1, p.n, far ? 300 : 0, 1 / total, &loss, &weight, NULL, err));
        assert_true(fabs(loss / weight - (double)*(const float *)raw(expected, "loss", &bytes)) < 1e-5);
        check_gradients("fam", params, expected);
        const float *prompt = params->list[params->n - 1].grad;
        if (!carried) check_close("fam.prompt", prompt, raw(expected, "grad.fam.prompt", &bytes), (size_t)size);
        for (int64_t j = 0; carried && j < size; j++) assert_true(prompt[j] == 0);
        check_close("memory", grad_memory(g), raw(expected, "memory", &bytes), (size_t)size);
        grad_free(g);
        snellen_model_free(model);
    }
    safetensors_close(expected);
    safetensors_close(inputs);
}

static void test_session_of_a_recurrent_memory(void **state)
{
    (void)state;
    struct safetensors *inputs = open_expected("fam", "inputs"), *expected = open_expected("fam", "rmt-b8-f4");
    const struct prompt p = prompt_of(inputs);
    snellen_model *model = load_with_prompt("fam", SNELLEN_FAM_LAST);
    snellen_session_options o = snellen_session_options_default();
    snellen_session *s;
    size_t bytes;
    float logits[64 * 101];
    assert_true(p.n * model->desc.n_vocab <= (int64_t)COUNT_OF(logits));
    o.memory = SNELLEN_MEMORY_RMT;
    o.block = 8;
    o.fam = 4;
    MUST(snellen_session_new(model, &o, &s, err));
    MUST(snellen_session_feed(s, p.tokens, (size_t)p.n, &(snellen_outputs){.logits = logits}, err));
    check_close("logits", logits, raw(expected, "logits", &bytes), (size_t)(p.n * model->desc.n_vocab));
    snellen_session_free(s);
    snellen_model_free(model);
    safetensors_close(expected);
    safetensors_close(inputs);
}

static const snellen_memory_kind kinds[] = {SNELLEN_MEMORY_FAM, SNELLEN_MEMORY_RMT};

/* A model with a random prompt of 3 rows, for blocks of 6; FAM sees a segment before. */
static struct grad_options random_memory(snellen_model *model, const struct prompt *p, snellen_memory_kind kind)
{
    float rows[3 * 256];
    struct rng rng;
    rng_seed(&rng, 5, 0);
    assert_true(3 * model->desc.d_model <= (int64_t)COUNT_OF(rows));
    for (size_t i = 0; i < COUNT_OF(rows); i++) rows[i] = (float)rng_normal(&rng) * 0.3f;
    bool rmt = kind == SNELLEN_MEMORY_RMT;
    const snellen_model_memory memory = {.kind = kind, .block = 6, .segments = !rmt, .fam = 3, .prompt = rows,
                                         .prompt_rows = 3};
    MUST(snellen_model_set_memory(model, &memory, err));
    struct grad_options o = options_for(p);
    o.block = 6;
    o.segments = !rmt;
    o.fam = 3;
    o.rmt = rmt;
    return o;
}

/* Mean nll as a session of the same memory gives it. */
static double nll_of_session(const snellen_model *model, const struct prompt *p)
{
    snellen_session_options o = snellen_session_options_default();
    snellen_session *s;
    float nll[64];
    double sum = 0;
    o.memory = snellen_model_get_memory(model)->kind;
    MUST(snellen_session_new(model, &o, &s, err));
    const snellen_outputs outputs = {.nll = nll};
    MUST(snellen_session_feed(s, p->tokens, (size_t)p->n, &outputs, err));
    for (int64_t t = 1; t < p->n; t++) sum += (double)nll[t];
    snellen_session_free(s);
    return sum / (double)(p->n - 1);
}

/* A step of `size` along the gradient of values [from, from + n), to either side, changes the loss as it says. */
static void check_slope(const char *what, const snellen_model *model, const struct prompt *p,
                        const struct grad_options *o, struct params *params, uint64_t from, uint64_t n, double size)
{
    double squares = 0, losses[2];
    float *direction = malloc(n * sizeof *direction), *values = malloc(n * sizeof *values);
    assert_true(direction && values);
    params_zero_grads(params);
    step(model, p, o, 0);
    memcpy(direction, params->grads + from, n * sizeof *direction);
    memcpy(values, params->values + from, n * sizeof *values);
    for (uint64_t k = 0; k < n; k++) squares += (double)direction[k] * (double)direction[k];
    if (!(squares > 0)) fail_msg("%s: no gradient", what);
    double along = size / sqrt(squares);
    for (int side = 0; side < 2; side++) {
        for (uint64_t k = 0; k < n; k++)
            params->values[from + k] = (float)((double)values[k] + (side ? -along : along) * (double)direction[k]);
        losses[side] = step(model, p, o, 0);
    }
    memcpy(params->values + from, values, n * sizeof *values);
    double slope = (losses[0] - losses[1]) / (2 * along);
    if (!(fabs(slope - squares) < 1e-2 * squares))
        fail_msg("%s: the loss changes by %.6g a unit, the gradient says %.6g", what, slope, squares);
    free(direction);
    free(values);
}

static uint64_t place_of(const struct params *params, const float *grad)
{
    return (uint64_t)(grad - params->grads);
}

/* Every architecture: the forward is that of sessions, and the loss follows the gradient of all values and of what the
 * memory begins with alone. */
static void test_memory_everywhere(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};
    for (size_t i = 0; i < COUNT_OF(names) * COUNT_OF(kinds); i++) {
        const char *folder = names[i / COUNT_OF(kinds)];
        struct safetensors *file = open_expected(folder, "expected");
        struct prompt p = prompt_of(file);
        /* Gemma's row of token 0 is zero, where a norm has no gradient that a step could show */
        for (int64_t t = 0; t < p.n; t++) p.tokens[t] = MAX(p.tokens[t], 1), p.weights[t] = 1;
        snellen_model *model = load_model(golden, folder);
        struct grad_options o = random_memory(model, &p, kinds[i % COUNT_OF(kinds)]);
        struct params *params;
        double right = nll_of_session(model, &p);
        MUST(params_full(model, &params, err));
        double loss = step(model, &p, &o, 0);
        if (!(fabs(loss - right) < 1e-4)) fail_msg("%s: loss %.7f, a session has %.7f", folder, loss, right);
        check_slope(folder, model, &p, &o, params, 0, params->n_values, 1e-3);
        const struct param *prompt = &params->list[params->n - 1];
        check_slope(folder, model, &p, &o, params, place_of(params, prompt->grad), prompt->n, 2e-3);
        safetensors_close(file);
        snellen_model_free(model);
    }
}

/* Only the last token is predicted, and it sees its own block and, with FAM, the one before: what a token of the first
 * block means for it has come through the memory. */
static void test_first_block_from_the_last(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * COUNT_OF(kinds); i++) {
        struct safetensors *file = open_expected(i % 2 ? "gpt2" : "llama", "expected");
        struct prompt p = prompt_of(file);
        snellen_model *model = load_model(golden, i % 2 ? "gpt2" : "llama");
        struct grad_options o = random_memory(model, &p, kinds[i / 2]);
        struct params *params;
        assert_true(p.n > 3 * o.block);
        for (int64_t t = 0; t < p.n; t++) {
            p.tokens[t] = 3 + (int32_t)t;
            p.weights[t] = t == p.n - 1;
        }
        MUST(params_full(model, &params, err));
        uint64_t row = place_of(params, model->embedding.dweight) + (uint64_t)(p.tokens[2] * model->desc.d_model);
        check_slope("a token of the first block", model, &p, &o, params, row, (uint64_t)model->desc.d_model, 1e-2);
        safetensors_close(file);
        snellen_model_free(model);
    }
}

/* Low-rank factors through a memory, and its prompt beside them. */
static void test_factors_through_memories(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct safetensors *file = open_expected("qwen3", "expected");
        struct prompt p = prompt_of(file);
        snellen_model *model = load_model(golden, "qwen3");
        struct grad_options o = random_memory(model, &p, kinds[i]);
        struct lora_options lora = {.rank = 3, .alpha = 6, .seed = 5};
        struct params *params;
        struct rng rng;
        MUST(params_lora(model, &lora, &params, err));
        rng_seed(&rng, 1, 0);
        for (uint64_t k = 0; k < params->n_values; k++) params->values[k] += (float)(0.1 * rng_normal(&rng));
        assert_string_equal(params->list[params->n - 1].name, "fam.prompt");
        check_slope("factors", model, &p, &o, params, 0, params->n_values, 1e-3);
        safetensors_close(file);
        snellen_model_free(model);
    }
}

/* Many sequences of unlike length in groups, threads and checkpoints do not change a byte; a batch is the sum of its
 * sequences, and keeps the memories of the first. */
static void batches(snellen_memory_kind kind)
{
    struct safetensors *file = open_expected("qwen3", "expected");
    struct prompt p = prompt_of(file);
    enum { SEQS = 3 };
    int32_t tokens[SEQS * 64];
    float weights[SEQS * 64];
    float *sums[2] = {NULL, NULL};
    for (int64_t i = 0; i < SEQS * p.n; i++) {
        tokens[i] = p.tokens[(i * 7 + i / p.n) % p.n];
        weights[i] = (float)(i % p.n < p.n / (1 + i / p.n) ? i % 3 : 0);   /* the others end at a half, at a third */
    }
    float *memories = NULL;
    for (int run = 0; run < 3; run++) {   /* 0, 1: threads and checkpoints; 2: one by one */
        snellen_model *model = load_model(golden, "qwen3");
        struct grad_options o = random_memory(model, &p, kind);
        struct params *params;
        struct grad *g;
        double loss, weight;
        MUST(params_full(model, &params, err));
        o.n_seqs = SEQS;
        o.n_threads = run == 1 ? 1 : 2;
        o.checkpoint = run == 1;
        MUST(grad_new(model, &o, &g, err));
        if (run < 2) MUST(grad_step(g, tokens, weights, SEQS, p.n, 0, 1e-2, &loss, &weight, NULL, err));
        for (int64_t s = SEQS - 1; run == 2 && s >= 0; s--)
            MUST(grad_step(g, tokens + s * p.n, weights + s * p.n, 1, p.n, 0, 1e-2, &loss, &weight, NULL, err));
        uint64_t size = grad_memory_size(g);
        if (run == 0) memories = malloc(size * sizeof(float));
        if (run == 0) memcpy(memories, grad_memory(g), size * sizeof(float));
        if (run == 2) check_close("memories", grad_memory(g), memories, size);
        if (run < 2) {
            sums[run] = malloc(params->n_values * sizeof(float));
            memcpy(sums[run], params->grads, params->n_values * sizeof(float));
        }
        if (run == 1) assert_memory_equal(sums[0], sums[1], params->n_values * sizeof(float));
        if (run == 2) check_close("one by one", params->grads, sums[0], params->n_values);
        grad_free(g);
        snellen_model_free(model);
    }
    free(sums[0]);
    free(sums[1]);
    free(memories);
    safetensors_close(file);
}

static void test_memory_in_batches(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) batches(kinds[i]);
}

/* Noise meets the memories on their way to the next block: the first block's losses are untouched; the same seed gives
 * the same bytes whatever the threads and checkpoints, another seed other losses; a thousandth of it moves them by about a
 * thousandth; 0 is none. */
static void test_noise_between_blocks(void **state)
{
    (void)state;
    static const struct {
        double size;
        uint64_t seed;
        bool alone;                 /* one thread, and layers run again */
    } runs[] = {{0, 7, false}, {0.2, 7, false}, {0.2, 7, true}, {0.2, 8, false}, {2e-4, 7, false}};
    struct safetensors *file = open_expected("qwen3", "expected");
    const struct prompt p = prompt_of(file);
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        float nll[COUNT_OF(runs)][64], weights[64], *grads = NULL;
        double moved[COUNT_OF(runs)] = {0};
        for (int64_t t = 0; t < p.n; t++) weights[t] = 1;
        for (size_t i = 0; i < COUNT_OF(runs); i++) {
            snellen_model *model = load_model(golden, "qwen3");
            struct grad_options o = random_memory(model, &p, kinds[k]);
            struct params *params;
            struct grad *g;
            double loss, weight;
            MUST(params_full(model, &params, err));
            o.n_threads = runs[i].alone ? 1 : 2;
            o.checkpoint = runs[i].alone;
            MUST(grad_new(model, &o, &g, err));
            grad_set_noise(g, runs[i].size, runs[i].seed);
            MUST(grad_step(g, p.tokens, weights, 1, p.n, 0, 1, &loss, &weight, nll[i], err));
            for (int64_t t = 1; t <= o.block; t++) assert_true(nll[i][t] == nll[0][t]);
            for (int64_t t = o.block + 1; t < p.n; t++) moved[i] += fabs((double)nll[i][t] - (double)nll[0][t]);
            size_t bytes = params->n_values * sizeof(float);
            if (i == 1) assert_non_null(grads = malloc(bytes));
            if (i == 1) memcpy(grads, params->grads, bytes);
            if (i == 2) assert_memory_equal(grads, params->grads, bytes);
            grad_free(g);
            snellen_model_free(model);
        }
        assert_memory_equal(nll[1] + 1, nll[2] + 1, (size_t)(p.n - 1) * sizeof(float));
        assert_true(moved[1] > 0 && moved[3] > 0 && memcmp(nll[1] + 1, nll[3] + 1, (size_t)(p.n - 1) * sizeof(float)));
        assert_true(moved[4] > 2e-4 * moved[1] && moved[4] < 5e-3 * moved[1]);
        free(grads);
    }
    safetensors_close(file);
}

/* What a step with a memory takes beside the weights grows with the blocks by their inputs, the memory's rows and keys and
 * values alone: layers x rows x (d + 4 kv) + d values a block. */
static void take_their_inputs(snellen_memory_kind kind)
{
    snellen_model *model = load_model(golden, "llama");
    const struct model_desc *d = &model->desc;
    struct prompt p = {.n = 6};
    struct grad_options o = random_memory(model, &p, kind);
    uint64_t few, many;
    o.checkpoint = true;
    o.n_tokens = 6 * 10;
    MUST(grad_bytes(model, &o, &few, err));
    o.n_tokens = 6 * 110;
    MUST(grad_bytes(model, &o, &many, err));
    double rows = 6 + 3 * (kind == SNELLEN_MEMORY_RMT ? 2 : 1), d_model = (double)d->d_model;
    double each = rows * ((double)d->n_layers * (d_model + 4 * (double)(d->n_kv_heads * d->head_dim)) + d_model);
    double grown = (double)(many - few) / 100 / sizeof(float);
    if (!(fabs(grown - each) < 0.05 * each + 64)) fail_msg("%.0f values a block, %.0f expected", grown, each);
    snellen_model_free(model);
}

static void test_blocks_take_their_inputs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) take_their_inputs(kinds[i]);
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feedback_memory),
        cmocka_unit_test(test_recurrent_memory),
        cmocka_unit_test(test_session_of_a_recurrent_memory),
        cmocka_unit_test(test_memory_everywhere),
        cmocka_unit_test(test_first_block_from_the_last),
        cmocka_unit_test(test_factors_through_memories),
        cmocka_unit_test(test_memory_in_batches),
        cmocka_unit_test(test_noise_between_blocks),
        cmocka_unit_test(test_blocks_take_their_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
