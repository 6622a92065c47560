/* Exports: every architecture goes to a folder and to a GGUF file and comes back with equal weights and logits; types,
 * positions, tokenizers; what is refused; nothing is left of exports that fail. */
#include "model/model.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static snellen_error err;
static const char *golden;
static const char *const archs[] = {"llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};
enum { N_TOKENS = 20 };

static snellen_model *load(const char *path)
{
    snellen_model *model = NULL;
    if (snellen_model_load(path, &model, &err)) fail_msg("%s", err.message);
    return model;
}

static snellen_model *load_golden(const char *arch)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", golden, arch);
    return load(path);
}

static snellen_export_result export(const snellen_model *model, const char *path, const char *type)
{
    snellen_export_options o = snellen_export_options_default();
    snellen_export_result result;
    o.type = type;
    if (snellen_model_export(model, path, &o, NULL, &result, &err)) fail_msg("%s", err.message);
    return result;
}

/* Logits of N_TOKENS tokens, by free(). */
static float *logits_of(const snellen_model *model)
{
    int32_t tokens[N_TOKENS];
    for (int i = 0; i < N_TOKENS; i++) tokens[i] = (int32_t)(i * 7 % model->desc.n_vocab);
    snellen_session *session;
    snellen_session_options o = snellen_session_options_default();
    o.cache = SNELLEN_F32;
    o.n_context = N_TOKENS;
    float *logits = malloc(sizeof *logits * (size_t)(N_TOKENS * model->desc.n_vocab));
    assert_non_null(logits);
    if (snellen_session_new(model, &o, &session, &err)) fail_msg("%s", err.message);
    if (snellen_session_feed(session, tokens, N_TOKENS, &(snellen_outputs){.logits = logits}, &err))
        fail_msg("%s", err.message);
    snellen_session_free(session);
    return logits;
}

/* Largest difference of the logits of two models. */
static double distance(const snellen_model *a, const snellen_model *b)
{
    float *x = logits_of(a), *y = logits_of(b);
    double worst = 0;
    assert_int_equal(a->desc.n_vocab, b->desc.n_vocab);
    for (int64_t i = 0; i < N_TOKENS * a->desc.n_vocab; i++) worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
    free(x);
    free(y);
    return worst;
}

/* All tensors of two models hold the same f32 values, in order. */
static void expect_equal_weights(const snellen_model *a, const snellen_model *b)
{
    struct weight_entry x, y;
    size_t i = 0, j = 0, n = 0;
    while (weights_next(a, &i, &x)) {
        assert_true(weights_next(b, &j, &y));
        assert_string_equal(x.name, y.name);
        assert_memory_equal(x.shape, y.shape, sizeof x.shape);
        float *u = malloc((size_t)x.weight.n_in * sizeof *u), *v = malloc((size_t)x.weight.n_in * sizeof *v);
        assert_true(u && v);
        for (int64_t r = 0; r < x.weight.n_out; r++) {
            weight_row(u, &x.weight, r);
            weight_row(v, &y.weight, r);
            assert_memory_equal(u, v, (size_t)x.weight.n_in * sizeof *u);
        }
        free(u);
        free(v);
        n++;
    }
    assert_false(weights_next(b, &j, &y));
    assert_true(n > 10);
}

static void folders_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(archs); i++) {
        snellen_model *model = load_golden(archs[i]);
        char path[64];
        snprintf(path, sizeof path, "export-%s", archs[i]);
        assert_string_equal(export(model, path, NULL).notes, "");
        snellen_model *again = load(path);
        assert_string_equal(again->info.container, "safetensors");
        assert_string_equal(again->info.arch, archs[i]);
        expect_equal_weights(model, again);
        assert_true(distance(model, again) == 0);
        assert_int_equal(again->desc.n_context, model->desc.n_context);
        assert_int_equal(again->desc.window, model->desc.window);
        assert_int_equal(again->info.n_windowed, model->info.n_windowed);
        snellen_model_free(again);
        snellen_model_free(model);
    }
}

/* Through GGUF and back to a folder: the rows of Llama's q and k change their order on the way. */
static void gguf_files_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(archs); i++) {
        snellen_model *model = load_golden(archs[i]);
        char path[64], folder[64];
        snprintf(path, sizeof path, "export-%s.gguf", archs[i]);
        snprintf(folder, sizeof folder, "export-%s-again", archs[i]);
        snellen_export_result r = export(model, path, "f32");
        assert_int_equal(strstr(r.notes, "llama.cpp has no such model") != NULL, !strcmp(archs[i], "opt"));
        snellen_model *file = load(path);
        assert_string_equal(file->info.container, "gguf");
        assert_string_equal(file->info.arch, archs[i]);
        bool llama = !strcmp(archs[i], "llama");
        assert_int_equal(file->desc.rope_interleaved, llama);
        if (!llama) expect_equal_weights(model, file);
        assert_true(distance(model, file) <= (llama ? 1e-5 : 0));   /* sums in another order */
        export(file, folder, NULL);
        snellen_model *again = load(folder);
        expect_equal_weights(model, again);
        assert_true(distance(model, again) == 0);
        snellen_model_free(again);
        snellen_model_free(file);
        snellen_model_free(model);
    }
}

static snellen_model *make(const char *arch, const char *positions, bool untied)
{
    snellen_model_design d = snellen_model_design_default();
    d.arch = arch;
    d.positions = positions;
    d.n_layers = 2;
    d.d_model = 64;
    d.n_vocab = 40;
    d.n_context = 32;
    d.window = 8;
    d.init_std = 0.1;
    d.untied = untied;
    snellen_model *model = NULL;
    if (snellen_model_new(&d, &model, &err)) fail_msg("%s", err.message);
    return model;
}

/* Every architecture with every kind of positions; others than an architecture has elsewhere are said to be so. */
static void expect_equal_memories(const snellen_model *a, const snellen_model *b)
{
    const snellen_model_memory *x = snellen_model_get_memory(a), *y = snellen_model_get_memory(b);
    assert_int_equal(x->kind, y->kind);
    assert_int_equal(x->block, y->block);
    assert_int_equal(x->segments, y->segments);
    assert_int_equal(x->window, y->window);
    assert_int_equal(x->fam, y->fam);
    assert_int_equal(x->fam_blocks, y->fam_blocks);
    assert_int_equal(x->fam_positions, y->fam_positions);
    assert_int_equal(x->prompt_rows, y->prompt_rows);
    if (x->prompt) assert_memory_equal(x->prompt, y->prompt, (size_t)(x->prompt_rows * a->desc.d_model) * sizeof(float));
    else assert_null(y->prompt);
}

/* With a prompt, with a memory a layer, and without; folder to GGUF to folder. */
static void memories_come_back(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        snellen_model *model = load_golden(i ? "qwen3" : "llama"), *folder, *file, *again;
        int64_t rows = i == 2 ? 0 : i ? 5 * model->desc.n_layers : 5;
        float *prompt = calloc((size_t)(rows * model->desc.d_model) + 1, sizeof *prompt);
        assert_non_null(prompt);
        for (int64_t j = 0; j < rows * model->desc.d_model; j++) prompt[j] = (float)j / 7;
        const snellen_model_memory memory = {.kind = i == 2 ? SNELLEN_MEMORY_XL : SNELLEN_MEMORY_FAM, .block = 16,
                                             .segments = 2, .window = i == 2 ? 9 : 0, .fam = i == 2 ? 0 : 5,
                                             .fam_blocks = 2, .fam_positions = (snellen_fam_positions)i,
                                             .prompt = rows ? prompt : NULL, .prompt_rows = rows};
        if (snellen_model_set_memory(model, &memory, &err)) fail_msg("%s", err.message);
        export(model, "export-memory", NULL);
        folder = load("export-memory");
        bool told = strstr(export(folder, "export-memory.gguf", "q8_0").notes, "feedback memories") != NULL;
        assert_int_equal(told, rows > 0);
        file = load("export-memory.gguf");
        export(file, "export-memory-again", NULL);
        again = load("export-memory-again");
        expect_equal_memories(model, folder);
        expect_equal_memories(model, file);
        expect_equal_memories(model, again);
        free(prompt);
        snellen_model_free(model);
        snellen_model_free(folder);
        snellen_model_free(file);
        snellen_model_free(again);
    }
}

static void all_positions_come_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        for (enum position_kind kind = POSITION_ROTARY; kind < POSITION_COUNT; kind++) {
            snellen_model *model = make(archs[i], position_names[kind], kind % 2);
            bool known = kind == desc_positions(archs[i]) || desc_emulates_positions(&model->desc);
            snellen_export_result r = export(model, "export-positions", NULL);
            assert_int_equal(strstr(r.notes, "Transformers has no such model") == NULL, known);
            snellen_model *folder = load("export-positions");
            assert_string_equal(folder->info.positions, position_names[kind]);
            expect_equal_weights(model, folder);
            assert_true(distance(model, folder) == 0);
            export(folder, "export-positions.gguf", NULL);
            snellen_model *file = load("export-positions.gguf");
            assert_string_equal(file->info.positions, position_names[kind]);
            assert_true(distance(model, file) <= 1e-5);
            snellen_model_free(file);
            snellen_model_free(folder);
            snellen_model_free(model);
        }
}

static void types_are_those_that_were_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *type;
        bool folder;
        double worst;       /* of logits whose size is some units */
    } types[] = {{"f32", true, 0}, {"f16", true, 0.01}, {"bf16", true, 0.1}, {"q8_0", false, 0.2}, {"q4_0", false, 3},
                 {"q4_1", false, 3}};
    snellen_model *model = make("qwen3", NULL, true);
    for (size_t i = 0; i < COUNT_OF(types); i++)
        for (int folder = 0; folder <= types[i].folder; folder++) {
            const char *path = folder ? "export-type" : "export-type.gguf";
            assert_string_equal(export(model, path, types[i].type).notes, "");
            snellen_model *again = load(path);
            char name[8];
            snprintf(name, sizeof name, "%s", dtype_infos[again->layers[1].down.weight.type].name);
            assert_int_equal(strcasecmp(name, types[i].type), 0);
            assert_string_equal(dtype_infos[again->embedding.weight.type].name, name);
            double moved = distance(model, again);
            if (moved > types[i].worst || (i > 0 && moved == 0)) fail_msg("%s: logits move by %g", name, moved);
            /* Written again as it is, not a bit changes. */
            export(again, folder ? "export-same" : "export-same.gguf", NULL);
            snellen_model *same = load(folder ? "export-same" : "export-same.gguf");
            expect_equal_weights(again, same);
            snellen_model_free(same);
            snellen_model_free(again);
        }
    snellen_model_free(model);
}

static void rows_that_are_no_blocks_stay_f16(void **state)
{
    (void)state;
    snellen_model *model = load_golden("llama");   /* width 32, feed-forward 88 */
    snellen_export_result r = export(model, "export-rows.gguf", "q8_0");
    assert_non_null(strstr(r.notes, "3 matrices have rows that are no whole blocks of Q8_0: they are F16"));
    snellen_model *file = load("export-rows.gguf");
    assert_int_equal(file->layers[0].down.weight.type, DT_F16);
    assert_int_equal(file->layers[0].up.weight.type, DT_Q8_0);
    /* A folder has no blocks: dequantised. */
    export(file, "export-rows", NULL);
    snellen_model *folder = load("export-rows");
    assert_int_equal(folder->layers[0].up.weight.type, DT_F32);
    assert_true(distance(file, folder) < 0.05);
    snellen_model_free(folder);
    snellen_model_free(file);
    snellen_model_free(model);
}

static void expect_ids(const snellen_model *model, const char *text, const int32_t *ids, size_t n)
{
    int32_t *got;
    size_t n_got;
    if (snellen_tokenize(model, text, strlen(text), 0, &got, &n_got, &err)) fail_msg("%s", err.message);
    assert_int_equal(n_got, n);
    assert_memory_equal(got, ids, n * sizeof *ids);
    snellen_free(got);
}

/* Folder, GGUF, folder: the tokenizer goes along. */
static void small_tokenizers_go_along(void **state)
{
    (void)state;
    static const char *const words[] = {"0", "1", "über"};
    for (int kind = 0; kind < 2; kind++) {
        snellen_model_design d = snellen_model_design_default();
        d.n_layers = 1;
        d.d_model = 32;
        d.eos = "<end>";
        d.words = kind ? NULL : words;
        d.n_words = 3;
        d.characters = "01 ü\n";
        const char *text = kind ? "0ü\n1 0" : "0 über  1";
        const int32_t word_ids[] = {1, 3, 2}, character_ids[] = {3, 5, 1, 4, 2, 3};
        const int32_t *ids = kind ? character_ids : word_ids;
        size_t n = kind ? 6 : 3;
        snellen_model *model, *folder, *file, *again;
        if (snellen_model_new(&d, &model, &err)) fail_msg("%s", err.message);
        export(model, "export-words", NULL);
        folder = load("export-words");
        export(folder, "export-words.gguf", NULL);
        file = load("export-words.gguf");
        export(file, "export-words-again", NULL);
        again = load("export-words-again");
        const snellen_model *all[] = {model, folder, file, again};
        for (size_t i = 0; i < COUNT_OF(all); i++) {
            expect_ids(all[i], text, ids, n);
            assert_true(snellen_token_ends(all[i], 0));
            char *back;
            assert_int_equal(snellen_detokenize(all[i], ids, n, 0, &back, &n, &err), SNELLEN_OK);
            assert_string_equal(back, kind ? text : "0 über 1");
            snellen_free(back);
            n = kind ? 6 : 3;
        }
        snellen_model_free(again);
        snellen_model_free(file);
        snellen_model_free(folder);
        snellen_model_free(model);
    }
}

static void no_file_of_another_model_stays(void **state)
{
    (void)state;
    snellen_model_design d = snellen_model_design_default();
    d.n_layers = 1;
    d.d_model = 32;
    d.characters = "ab";
    snellen_model *model, *other = make("gpt2", NULL, false);
    if (snellen_model_new(&d, &model, &err)) fail_msg("%s", err.message);
    export(model, "export-mixed", NULL);
    assert_int_equal(access("export-mixed/tokenizer.json", F_OK), 0);
    export(other, "export-mixed", NULL);
    assert_int_equal(access("export-mixed/tokenizer.json", F_OK), -1);
    snellen_model *again = load("export-mixed");
    assert_string_equal(again->info.arch, "gpt2");
    assert_false(again->info.has_tokenizer);
    snellen_model_free(again);
    snellen_model_free(other);
    snellen_model_free(model);
}

static void expect_refusal(const snellen_model *model, const char *path, const char *format, const char *type,
                           snellen_status status, const char *why)
{
    const snellen_export_options o = {.format = format, .type = type};
    assert_int_equal(snellen_model_export(model, path, &o, NULL, NULL, &err), status);
    if (!strstr(err.message, why)) fail_msg("%s", err.message);
}

static void refuses_what_cannot_be_done(void **state)
{
    (void)state;
    snellen_model *model = make("llama", NULL, false);
    expect_refusal(model, "", NULL, NULL, SNELLEN_E_USAGE, "no place named");
    expect_refusal(model, "x", "onnx", NULL, SNELLEN_E_USAGE, "gguf or hf expected");
    expect_refusal(model, "x", NULL, "q2_k", SNELLEN_E_USAGE, "'q2_k'");
    expect_refusal(model, "x", NULL, "q8_0", SNELLEN_E_USAGE, "only GGUF files have it");
    expect_refusal(model, "x.safetensors", NULL, NULL, SNELLEN_E_USAGE, "name a folder");
    expect_refusal(model, "no/such/x.gguf", NULL, NULL, SNELLEN_E_IO, "no/such/x.gguf");
    assert_true(!mkdir("a-folder", 0777) || access("a-folder", F_OK) == 0);
    expect_refusal(model, "a-folder", "gguf", NULL, SNELLEN_E_USAGE, "is a folder");
    FILE *f = fopen("a-file", "w");
    assert_true(f && !fclose(f));
    expect_refusal(model, "a-file", NULL, NULL, SNELLEN_E_USAGE, "is a file");
    export(model, "export-itself", NULL);
    snellen_model *folder = load("export-itself");
    expect_refusal(folder, "./export-itself/", NULL, NULL, SNELLEN_E_USAGE, "is the model itself");
    snellen_model_free(folder);
    snellen_model_free(model);
    /* Values that do not fit. */
    snellen_model_design d = snellen_model_design_default();
    d.n_vocab = 40;
    d.n_layers = 1;
    d.init_std = 1000;
    d.d_model = 256;
    assert_int_equal(snellen_model_new(&d, &model, &err), SNELLEN_OK);
    float *values;
    memcpy(&values, &model->embedding.weight.data, sizeof values);   /* the model's own memory */
    values[5] = 1e6f;
    unlink("export-large.gguf");
    expect_refusal(model, "export-large.gguf", NULL, "f16", SNELLEN_E_OVERFLOW,
                   "'token_embd.weight': a value does not fit F16");
    assert_int_equal(access("export-large.gguf", F_OK), -1);
    export(model, "export-large.gguf", "bf16");
    snellen_model_free(model);
}

static bool stop(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    *(uint64_t *)user += 1;
    assert_true(done <= total);
    return false;
}

static void leaves_nothing_behind(void **state)
{
    (void)state;
    snellen_model *model = make("gpt2", NULL, false);
    uint64_t calls = 0;
    const snellen_progress progress = {stop, &calls};
    static const char *const paths[] = {"export-stopped.gguf", "export-stopped"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(snellen_model_export(model, paths[i], NULL, &progress, NULL, &err), SNELLEN_E_CANCELLED);
        struct rlimit old, small;
        signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        small = old;
        small.rlim_cur = 20000;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        snellen_status full = snellen_model_export(model, paths[i], NULL, NULL, NULL, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(full, SNELLEN_E_IO);
        assert_non_null(strstr(err.message, "cannot be written"));
    }
    assert_int_equal(calls, 2);
    assert_int_equal(system("ls -d export-stopped*.gguf* export-stopped/* 2>/dev/null | grep -q ."), 256);
    snellen_model_free(model);
}

int main(int argc, char **argv)
{
    golden = argc > 1 ? argv[1] : "test/golden";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_come_back),
        cmocka_unit_test(gguf_files_come_back),
        cmocka_unit_test(memories_come_back),
        cmocka_unit_test(all_positions_come_back),
        cmocka_unit_test(types_are_those_that_were_asked_for),
        cmocka_unit_test(rows_that_are_no_blocks_stay_f16),
        cmocka_unit_test(small_tokenizers_go_along),
        cmocka_unit_test(no_file_of_another_model_stays),
        cmocka_unit_test(refuses_what_cannot_be_done),
        cmocka_unit_test(leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
