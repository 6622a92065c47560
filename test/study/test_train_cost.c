/* What training is said to take, against what is allocated: values, gradients, moments and a step, by memory. */
#include "test/test.h"

#include "base/base.h"
#include "model/grad.h"
#include "train/optim.h"

static const char *golden;

enum { BLOCK = 16, FAM = 3, SEQS = 3, TOKENS = 100 };

static snellen_model *model_with(snellen_memory_kind kind)
{
    char path[4096];
    snellen_model *model;
    snprintf(path, sizeof path, "%s/llama", golden);
    MUST(snellen_model_load(path, &model, err));
    static const float prompt[FAM * 256];
    assert_true(model->desc.d_model <= 256);
    const bool rows = kind == SNELLEN_MEMORY_FAM || kind == SNELLEN_MEMORY_RMT;
    const snellen_model_memory memory = {.kind = kind, .block = BLOCK, .segments = kind == SNELLEN_MEMORY_RMT ? 0 : 2,
                                         .window = 20, .fam = rows ? FAM : 0, .prompt = rows ? prompt : NULL,
                                         .prompt_rows = rows ? FAM : 0};
    MUST(snellen_model_set_memory(model, &memory, err));
    return model;
}

/* Bytes of a step in a memory, as a run of such settings allocates them. */
static uint64_t step_of(const snellen_model *model, snellen_memory_kind kind)
{
    struct grad_options o = {.n_seqs = SEQS, .n_tokens = TOKENS, .n_threads = 1};
    uint64_t bytes;
    if (kind == SNELLEN_MEMORY_SWA) o.window = 20;
    if (kind == SNELLEN_MEMORY_BSWA || kind == SNELLEN_MEMORY_XL || kind == SNELLEN_MEMORY_FAM) o.segments = 2;
    if (o.segments || kind == SNELLEN_MEMORY_RMT) o.block = BLOCK;
    if (kind == SNELLEN_MEMORY_XL) o.block_window = 20;
    o.rmt = kind == SNELLEN_MEMORY_RMT;
    if (o.rmt || kind == SNELLEN_MEMORY_FAM) o.fam = FAM;
    MUST(grad_bytes(model, &o, &bytes, err));
    return bytes;
}

static void test_told_is_taken(void **state)
{
    (void)state;
    static const snellen_memory_kind kinds[] = {SNELLEN_MEMORY_FULL, SNELLEN_MEMORY_SWA, SNELLEN_MEMORY_BSWA,
                                                SNELLEN_MEMORY_XL, SNELLEN_MEMORY_FAM, SNELLEN_MEMORY_RMT};
    for (size_t i = 0; i < 2 * COUNT_OF(kinds); i++) {
        const snellen_memory_kind kind = kinds[i / 2];
        const struct lora_options lora = {.rank = 4, .seed = 1};
        snellen_train_shape shape = {.n_seqs = SEQS, .n_tokens = TOKENS, .optimizer = "adamw", .n_threads = 1};
        snellen_model *model = model_with(kind);
        snellen_train_cost cost;
        struct params *params;
        uint64_t moments;
        if (i % 2) shape.lora_rank = lora.rank;
        MUST(snellen_train_cost_of(model, &shape, &cost, err));
        const uint64_t step = step_of(model, kind);
        if (i % 2) MUST(params_lora(model, &lora, &params, err));
        else MUST(params_full(model, &params, err));
        assert_int_equal(cost.param_bytes, params->n_values * 2 * sizeof(float));
        assert_true(optim_bytes(OPTIM_ADAMW, false, params, &moments));
        assert_int_equal(cost.moment_bytes, moments);
        assert_int_equal(cost.step_bytes, step);
        snellen_model_free(model);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
