/* The loop: losses and norms of PyTorch's run, accumulation, resuming bit for bit, stopping, what is refused.
 * argv[1] = folder of golden values. */
#include "test/test.h"

#include "train/loop.h"

#include <unistd.h>

static const char *golden;
static char folder[64];
static const char *const files[] = {"log.jsonl", "eval.jsonl", "checkpoint.safetensors", "best.safetensors",
                                    "data.jsonl"};

static char *in_folder(const char *name)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void new_folder(void)
{
    strcpy(folder, "/tmp/snellen-loop-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static void remove_folder(void)
{
    for (size_t i = 0; i < COUNT_OF(files); i++) unlink(in_folder(files[i]));
    assert_int_equal(rmdir(folder), 0);
}

static char *read_file(const char *name, size_t *n)
{
    char *text;
    MUST(file_read(in_folder(name), 1 << 28, &text, n, err));
    return text;
}

/* ---- a run of a tiny model --------------------------------------------------------------------------------------- */

struct setup {
    const char *arch;
    int64_t steps, batch, micro_batch, save_every, rank;
    enum optim_kind kind;
    double lr;
    bool shuffle, evaluate;
    int64_t stop_at;            /* > 0: progress says stop there */
    int64_t patience;
    int64_t fam;                /* > 0: blocks of 4 tokens and a feedback memory of so many rows */
};

struct rig {
    struct train train;
    snellen_model *model;
    struct evaluator evaluator;
    snellen_progress progress;
    int64_t stop_at;
};

static json_t *golden_run(const char *arch)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/train_%s.json", golden, arch);
    json_t *run = json_load_file(path, 0, NULL);
    assert_non_null(run);
    return run;
}

static void write_data(const json_t *run)
{
    struct strbuf b = {0};
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(run, "rows"), i, row)
    {
        json_t *line =
            json_pack("{s:O, s:O}", "tokens", row, "weights", json_array_get(json_object_get(run, "weights"), i));
        char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(17));
        strbuf_printf(&b, "%s\n", text);
        free(text);
        json_decref(line);
    }
    MUST(file_write_atomic(in_folder("data.jsonl"), b.text, b.n, err));
    strbuf_free(&b);
}

static bool progress_step(void *user, const char *what, uint64_t done, uint64_t total)
{
    const struct rig *r = user;
    assert_true(!strncmp(what, "steps", 5) && done <= total);
    return !r->stop_at || done < (uint64_t)r->stop_at;
}

/* Gets better until step 4, then worse. */
static snellen_status measure(struct evaluator *e, int64_t step, double *value, json_t *numbers, snellen_error *err)
{
    (void)e, (void)err;
    *value = (double)llabs(step - 4) + 1;
    json_object_set_new(numbers, "extra", json_integer(step));
    return SNELLEN_OK;
}

enum { FAM_BLOCK = 4 };

static void give_memory(snellen_model *model, int64_t fam)
{
    int64_t n = fam * model->desc.d_model;
    float *rows = malloc((size_t)n * sizeof *rows);
    for (int64_t i = 0; i < n; i++) rows[i] = 0.1f * (float)(i % 7 - 3);
    const snellen_model_memory memory = {.kind = SNELLEN_MEMORY_FAM, .block = FAM_BLOCK, .segments = 1, .fam = fam,
                                         .fam_blocks = 1, .fam_positions = SNELLEN_FAM_FLOAT, .prompt = rows,
                                         .prompt_rows = fam};
    MUST(snellen_model_set_memory(model, &memory, err));
    free(rows);
}

static struct rig rig_new(const struct setup *s, const json_t *run)
{
    struct rig r = {.evaluator = {measure}, .stop_at = s->stop_at};
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", golden, s->arch);
    MUST(snellen_model_load(path, &r.model, err));
    struct train *t = &r.train;
    const struct lora_options lora = {.rank = s->rank, .seed = 1};
    if (s->fam) give_memory(r.model, s->fam);
    if (s->rank) MUST(params_lora(r.model, &lora, &t->params, err));
    else MUST(params_full(r.model, &t->params, err));
    const struct data_options data = {.jsonl = in_folder("data.jsonl"), .length = 20, .end = "", .seed = 3,
                                      .shuffle = s->shuffle, .n_vocab = r.model->desc.n_vocab,
                                      .n_context = r.model->desc.n_context};
    MUST(source_open(&data, &t->source, err));
    struct optim_options o = optim_options_default();
    o.kind = s->kind;
    o.momentum = 0.9;
    o.beta2 = json_number_value(json_array_get(json_object_get(run, "betas"), 1));
    o.weight_decay = json_number_value(json_object_get(run, "weight_decay"));
    MUST(optim_new(&o, t->params, &t->optim, err));
    const struct grad_options g = {.n_seqs = s->micro_batch, .n_tokens = 20, .n_threads = 2,
                                   .block = s->fam ? FAM_BLOCK : 0, .segments = s->fam ? 1 : 0, .fam = s->fam,
                                   .fam_blocks = s->fam ? 1 : 0, .fam_positions = SNELLEN_FAM_FLOAT};
    MUST(grad_new(r.model, &g, &t->grad, err));
    t->options = (struct train_options){.schedule = {.lr = s->lr, .steps = s->steps}, .batch = s->batch,
                                        .micro_batch = s->micro_batch, .clip = 1, .save_every = s->save_every,
                                        .eval_every = 2, .patience = s->patience};
    t->folder = folder;
    return r;
}

static void rig_free(struct rig *r)
{
    grad_free(r->train.grad);
    optim_free(r->train.optim);
    source_free(r->train.source);
    snellen_model_free(r->model);
}

/* Runs it; *rig holds what came out until rig_free(). */
static snellen_status run_setup(const struct setup *s, bool resume, struct rig *rig, snellen_error *error)
{
    json_t *run = golden_run(s->arch);
    write_data(run);
    *rig = rig_new(s, run);
    rig->progress = (snellen_progress){progress_step, rig};
    rig->train.progress = &rig->progress;
    if (s->evaluate) rig->train.evaluator = &rig->evaluator;
    json_decref(run);
    return train_run(&rig->train, resume, error);
}

/* ---- against PyTorch --------------------------------------------------------------------------------------------- */

static void check_log(const json_t *run)
{
    FILE *log = fopen(in_folder("log.jsonl"), "r");
    char line[500];
    size_t n = 0;
    assert_non_null(log);
    for (; fgets(line, sizeof line, log); n++) {
        json_t *o = json_loads(line, 0, NULL);
        double loss = json_number_value(json_object_get(o, "loss")),
               norm = json_number_value(json_object_get(o, "grad_norm"));
        assert_int_equal(json_integer_value(json_object_get(o, "step")), n + 1);
        assert_true(fabs(loss - json_number_value(json_array_get(json_object_get(run, "losses"), n))) < 1e-4);
        double expected = json_number_value(json_array_get(json_object_get(run, "norms"), n));
        assert_true(fabs(norm - expected) < 1e-4 * expected);
        json_decref(o);
    }
    fclose(log);
    assert_int_equal(n, json_array_size(json_object_get(run, "losses")));
}

static void test_losses_are_those_of_pytorch(void **state)
{
    (void)state;
    static const char *const archs[] = {"llama", "bloom"};
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (int64_t micro_batch = 1; micro_batch <= 2; micro_batch++) {
            const struct setup s = {
                .arch = archs[i], .steps = 6, .batch = 2, .micro_batch = micro_batch, .save_every = 4, .lr = 1e-3};
            struct rig rig;
            new_folder();
            MUST(run_setup(&s, false, &rig, err));
            json_t *run = golden_run(archs[i]);
            check_log(run);
            assert_true(rig.train.saved_step == 6 && rig.train.state.tokens == 6 * 2 * 20);
            json_decref(run);
            rig_free(&rig);
            remove_folder();
        }
}

/* ---- resuming ---------------------------------------------------------------------------------------------------- */

/* The log without the seconds. */
static char *log_without_seconds(void)
{
    size_t n;
    char *text = read_file("log.jsonl", &n), *out = calloc(n + 1, 1), *p = text;
    for (char *line; (line = strsep(&p, "\n")) && *line;) {
        *strstr(line, ", \"seconds\"") = 0;
        strcat(strcat(out, line), "\n");
    }
    mem_free(text);
    return out;
}

/* A run that is stopped, loses what came after its last checkpoint, and goes on, against one that is not. */
static void check_resume(struct setup s)
{
    struct rig whole, part;
    snellen_error error;
    new_folder();
    MUST(run_setup(&s, false, &whole, err));
    char *log = log_without_seconds();
    remove_folder();

    new_folder();
    struct setup stopped = s;
    stopped.stop_at = 5;
    assert_int_equal(run_setup(&stopped, false, &part, &error), SNELLEN_E_CANCELLED);
    assert_non_null(strstr(error.message, "stopped after step 5"));
    rig_free(&part);
    /* As a kill would leave it: steps in the log that no checkpoint knows of, the last one half written. */
    FILE *file = fopen(in_folder("log.jsonl"), "a");
    fputs("{\"step\": 6, \"loss\": 1}\n{\"step\": 7, \"lo", file);
    fclose(file);
    MUST(run_setup(&s, true, &part, err));
    char *log2 = log_without_seconds();
    assert_string_equal(log, log2);
    const struct params *a = whole.train.params, *b = part.train.params;
    assert_memory_equal(a->values, b->values, a->n_values * sizeof(float));
    struct optim_state x, y;
    for (size_t i = 0; optim_state_at(whole.train.optim, i, &x) && optim_state_at(part.train.optim, i, &y); i++)
        assert_memory_equal(x.data, y.data, x.n * sizeof(float));
    assert_true(whole.train.state.best_step == part.train.state.best_step);
    free(log);
    free(log2);
    rig_free(&whole);
    rig_free(&part);
    remove_folder();
}

static void test_resumed_runs_are_equal(void **state)
{
    (void)state;
    const struct setup s = {.arch = "llama", .steps = 9, .batch = 4, .micro_batch = 2, .save_every = 3, .lr = 3e-3,
                            .shuffle = true, .evaluate = true};
    for (int kind = 0; kind < OPTIM_COUNT; kind++) {
        struct setup each = s;
        each.kind = kind;
        check_resume(each);
    }
    struct setup factors = s;
    factors.rank = 4;
    check_resume(factors);
}

static void test_what_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct setup s = {.arch = "llama", .steps = 2, .batch = 2, .micro_batch = 2, .save_every = 2, .lr = 1e-3};
    struct rig rig;
    snellen_error error;
    new_folder();
    assert_false(train_has_checkpoint(folder));
    assert_int_equal(run_setup(&s, true, &rig, &error), SNELLEN_E_IO);   /* nothing to resume */
    rig_free(&rig);
    MUST(run_setup(&s, false, &rig, err));
    rig_free(&rig);
    assert_true(train_has_checkpoint(folder));
    s.kind = OPTIM_ADAFACTOR;
    assert_int_equal(run_setup(&s, true, &rig, &error), SNELLEN_E_FORMAT);
    assert_non_null(strstr(error.message, "of another model or other settings"));
    rig_free(&rig);
    size_t n;
    char *bytes = read_file("checkpoint.safetensors", &n);
    MUST(file_write_atomic(in_folder("checkpoint.safetensors"), bytes, n - 1, err));
    s.kind = OPTIM_ADAMW;
    assert_int_equal(run_setup(&s, true, &rig, &error), SNELLEN_E_FORMAT);
    rig_free(&rig);
    mem_free(bytes);
    remove_folder();
}

/* ---- ends -------------------------------------------------------------------------------------------------------- */

static void test_patience_and_best(void **state)
{
    (void)state;
    const struct setup s = {.arch = "bloom", .steps = 50, .batch = 2, .micro_batch = 2, .save_every = 100, .lr = 1e-3,
                            .evaluate = true, .patience = 2};
    struct rig rig;
    new_folder();
    MUST(run_setup(&s, false, &rig, err));
    assert_true(rig.train.end == TRAIN_STOPPED_PATIENCE && rig.train.state.step == 8 && rig.train.state.best_step == 4);
    assert_int_equal(rig.train.saved_step, 8);
    size_t n;
    char *evals = read_file("eval.jsonl", &n);
    assert_string_equal(evals, "{\"step\": 2, \"measure\": 3.0, \"best\": true, \"extra\": 2}\n"
                               "{\"step\": 4, \"measure\": 1.0, \"best\": true, \"extra\": 4}\n"
                               "{\"step\": 6, \"measure\": 3.0, \"best\": false, \"extra\": 6}\n"
                               "{\"step\": 8, \"measure\": 5.0, \"best\": false, \"extra\": 8}\n");
    mem_free(evals);
    /* The best weights are those after step 4: what a run of four steps ends with. */
    struct rig four;
    struct setup short_run = s;
    MUST(values_load(in_folder("best.safetensors"), rig.train.params, err));
    remove_folder();
    new_folder();
    short_run.steps = 4;
    MUST(run_setup(&short_run, false, &four, err));
    assert_memory_equal(four.train.params->values, rig.train.params->values,
                        four.train.params->n_values * sizeof(float));
    rig_free(&four);
    rig_free(&rig);
    remove_folder();
}

static void test_stop_loss(void **state)
{
    (void)state;
    const struct setup s = {
        .arch = "llama", .steps = 500, .batch = 12, .micro_batch = 12, .save_every = 1000, .lr = 1e-2};
    struct rig rig;
    json_t *run = golden_run("llama");
    new_folder();
    write_data(run);
    rig = rig_new(&s, run);
    rig.train.options.stop_loss = 1;
    MUST(train_run(&rig.train, false, err));
    assert_true(rig.train.end == TRAIN_STOPPED_LOSS && rig.train.state.step >= TRAIN_RECENT &&
                rig.train.state.step < 500);
    assert_int_equal(rig.train.saved_step, rig.train.state.step);
    json_decref(run);
    rig_free(&rig);
    remove_folder();
}

static void test_divergence_keeps_the_checkpoint(void **state)
{
    (void)state;
    struct setup s = {.arch = "llama", .steps = 3, .batch = 2, .micro_batch = 2, .save_every = 1, .lr = 1e-3};
    struct rig rig;
    snellen_error error;
    size_t n, n2;
    new_folder();
    MUST(run_setup(&s, false, &rig, err));
    rig_free(&rig);
    char *before = read_file("checkpoint.safetensors", &n);
    s.steps = 30;
    s.lr = 1e30;
    s.save_every = 100;
    assert_int_equal(run_setup(&s, true, &rig, &error), SNELLEN_E_OVERFLOW);
    assert_non_null(strstr(error.message, ": step "));
    assert_non_null(
        strstr(error.message, "the checkpoint of step 3 is kept (--resume goes on from it); try a lower train.lr"));
    rig_free(&rig);
    char *after = read_file("checkpoint.safetensors", &n2);
    assert_true(n == n2);
    assert_memory_equal(before, after, n);
    mem_free(before);
    mem_free(after);
    remove_folder();
}

/* ---- factors in a file ------------------------------------------------------------------------------------------- */

static void last_logits(const snellen_model *model, float *out)
{
    snellen_session *session;
    const int32_t tokens[] = {5, 9, 2, 40};
    MUST(snellen_session_new(model, NULL, &session, err));
    MUST(snellen_session_feed(session, tokens, 4, NULL, err));
    memcpy(out, snellen_session_logits(session), (size_t)model->desc.n_vocab * sizeof *out);
    snellen_session_free(session);
}

/* Saved alone, loaded beside the weights, merged into them: the model that was trained. */
static void test_factors_are_saved_alone(void **state)
{
    (void)state;
    const struct setup s = {.arch = "llama", .steps = 5, .batch = 4, .micro_batch = 4, .save_every = 10, .rank = 3,
                            .lr = 1e-2};
    struct rig rig;
    new_folder();
    MUST(run_setup(&s, false, &rig, err));
    const struct lora_options options = {.rank = 3};
    char *about = lora_about(rig.model, &options), path[4096];
    MUST(values_save(in_folder("best.safetensors"), rig.train.params, about, err));
    free(about);
    snellen_model *model;
    snprintf(path, sizeof path, "%s/llama", golden);
    MUST(snellen_model_load(path, &model, err));
    size_t n = (size_t)model->desc.n_vocab;
    float *plain = malloc(n * sizeof *plain), *trained = malloc(n * sizeof *plain), *loaded = malloc(n * sizeof *plain);
    last_logits(model, plain);
    last_logits(rig.model, trained);
    assert_true(worst_difference(plain, trained, n) > 1e-2);
    MUST(lora_load(model, in_folder("best.safetensors"), err));
    last_logits(model, loaded);
    assert_memory_equal(loaded, trained, n * sizeof *loaded);
    MUST(lora_merge(model, err));
    last_logits(model, loaded);
    assert_true(worst_difference(loaded, trained, n) < 1e-4);
    MUST_FAIL(SNELLEN_E_FORMAT, lora_load(model, in_folder("checkpoint.safetensors"), err));
    free(plain);
    free(trained);
    free(loaded);
    snellen_model_free(model);
    rig_free(&rig);
    remove_folder();
}

/* The model's own memory over several blocks. */
static void memory_logits(const snellen_model *model, float *out)
{
    snellen_session *session;
    snellen_session_options o = snellen_session_options_default();
    int32_t tokens[23];
    for (int i = 0; i < 23; i++) tokens[i] = (7 * i + 3) % 40;
    o.memory = snellen_model_get_memory(model)->kind;
    MUST(snellen_session_new(model, &o, &session, err));
    MUST(snellen_session_feed(session, tokens, COUNT_OF(tokens), NULL, err));
    memcpy(out, snellen_session_logits(session), (size_t)model->desc.n_vocab * sizeof *out);
    snellen_session_free(session);
}

/* A memory is trained beside the factors, saved with them, and loaded with all that belongs to it. */
static void test_factors_bring_their_memory(void **state)
{
    (void)state;
    const struct setup s = {.arch = "llama", .steps = 5, .batch = 4, .micro_batch = 4, .save_every = 10, .rank = 3,
                            .lr = 1e-2, .fam = 2};
    struct rig rig;
    new_folder();
    MUST(run_setup(&s, false, &rig, err));
    const struct lora_options options = {.rank = 3};
    char *about = lora_about(rig.model, &options), path[4096];
    MUST(values_save(in_folder("best.safetensors"), rig.train.params, about, err));
    free(about);
    snellen_model *model, *other, *begun;
    snprintf(path, sizeof path, "%s/llama", golden);
    MUST(snellen_model_load(path, &model, err));
    MUST(snellen_model_load(path, &begun, err));
    size_t n = (size_t)model->desc.n_vocab, n_prompt = (size_t)(2 * model->desc.d_model);
    float *trained = malloc(n * sizeof *trained), *loaded = malloc(n * sizeof *loaded);
    char plain_hash[33], hash[33];
    MUST(snellen_model_hash(model, plain_hash, err));
    MUST(lora_load(model, in_folder("best.safetensors"), err));
    MUST(snellen_model_hash(model, hash, err));
    assert_string_not_equal(hash, plain_hash);
    give_memory(begun, 2);
    const snellen_model_memory *a = &rig.model->memory, *b = &model->memory;
    assert_true(b->kind == SNELLEN_MEMORY_FAM && b->block == FAM_BLOCK && b->segments == 1 && b->fam == 2 &&
                b->fam_blocks == 1 && b->fam_positions == SNELLEN_FAM_FLOAT && b->prompt_rows == 2);
    assert_memory_equal(a->prompt, b->prompt, n_prompt * sizeof *a->prompt);
    assert_true(worst_difference(begun->memory.prompt, b->prompt, n_prompt) > 1e-3);
    memory_logits(rig.model, trained);
    memory_logits(model, loaded);
    assert_memory_equal(loaded, trained, n * sizeof *loaded);
    memory_logits(begun, loaded);
    assert_true(worst_difference(trained, loaded, n) > 1e-2);
    MUST(lora_merge(model, err));   /* the memory outlives the factors */
    memory_logits(model, loaded);
    assert_true(worst_difference(loaded, trained, n) < 1e-4);
    snprintf(path, sizeof path, "%s/qwen2", golden);
    MUST(snellen_model_load(path, &other, err));
    MUST_FAIL(SNELLEN_E_FORMAT, lora_load(other, in_folder("best.safetensors"), err));
    free(trained);
    free(loaded);
    snellen_model_free(model);
    snellen_model_free(begun);
    snellen_model_free(other);
    rig_free(&rig);
    remove_folder();
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    golden = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_losses_are_those_of_pytorch), cmocka_unit_test(test_resumed_runs_are_equal),
        cmocka_unit_test(test_what_does_not_fit_is_refused), cmocka_unit_test(test_patience_and_best),
        cmocka_unit_test(test_stop_loss),                    cmocka_unit_test(test_divergence_keeps_the_checkpoint),
        cmocka_unit_test(test_factors_are_saved_alone),
        cmocka_unit_test(test_factors_bring_their_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
