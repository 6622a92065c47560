/* What the tests of gradients share: prompts and expected values of test/golden, one step, the comparison. */
#ifndef TEST_MODEL_GRAD_GOLDEN_H
#define TEST_MODEL_GRAD_GOLDEN_H

#include "test/test.h"

#include "base/base.h"
#include "format/format.h"
#include "model/grad.h"

#include <unistd.h>

static const char *golden;
static const char *const archs[] = {"llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};
static const double tolerance = 1e-4;

/* ---- files ------------------------------------------------------------------------------------------------------- */

struct prompt {
    struct safetensors *file;
    int32_t tokens[64];
    float weights[64];
    int64_t n;
};

static const void *raw(const struct safetensors *file, const char *name, size_t *n_bytes)
{
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    uint64_t bytes;
    if (!safetensors_raw(file, name, &type, &n_dims, &shape, &data, &bytes)) return NULL;
    *n_bytes = bytes;
    return data;
}

static struct safetensors *open_expected(const char *folder, const char *file)
{
    char path[4096];
    struct safetensors *s;
    snprintf(path, sizeof path, "%s/%s/%s.safetensors", golden, folder, file);
    MUST(safetensors_open(path, &s, err));
    return s;
}

/* Tokens of `file`; weights from it or 1. */
static struct prompt prompt_of(struct safetensors *file)
{
    struct prompt p = {.file = file};
    size_t bytes = 0;
    const int64_t *tokens = raw(file, "tokens", &bytes);
    p.n = (int64_t)(bytes / sizeof *tokens);
    assert_true(p.n <= 64);
    for (int64_t i = 0; i < p.n; i++) {
        p.tokens[i] = (int32_t)tokens[i];
        p.weights[i] = 1;
    }
    const float *weights = raw(file, "weight", &bytes);
    if (weights) memcpy(p.weights, weights, bytes);
    return p;
}

/* A model whose weights are the expected gradients: the reader that knows names and layouts of the weights brings the
 * gradients into the canonical form too. */
static snellen_model *load_gradients(const char *folder, const struct safetensors *expected)
{
    char path[] = "/tmp/snellen-grad-XXXXXX", file[4200], *config;
    const struct tensor *tensors;
    struct safetensors_spec specs[128];
    const struct tensor *from[128];
    size_t n = 0, n_all = safetensors_tensors(expected, &tensors), n_config;
    for (size_t i = 0; i < n_all; i++) {
        if (strncmp(tensors[i].name, "grad.", 5) || !strcmp(tensors[i].name, "grad.fam.prompt")) continue;
        bool renamed = !strcmp(folder, "gpt_neox") && !strcmp(tensors[i].name, "grad.lm_head.weight");
        specs[n] = (struct safetensors_spec){.name = renamed ? "embed_out.weight" : tensors[i].name + 5, .type = "F32",
                                             .n_dims = tensors[i].n_dims};
        memcpy(specs[n].shape, tensors[i].shape, sizeof specs[n].shape);
        from[n++] = &tensors[i];
    }
    assert_non_null(mkdtemp(path));
    struct safetensors_writer *w;
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    MUST(safetensors_writer_new(file, specs, n, &w, err));
    for (size_t i = 0; i < n; i++) MUST(safetensors_writer_put(w, i, 0, from[i]->data, from[i]->n_bytes, err));
    MUST(safetensors_writer_commit(w, err));
    snprintf(file, sizeof file, "%s/%s/config.json", golden, folder);
    MUST(file_read(file, 1 << 20, &config, &n_config, err));
    snprintf(file, sizeof file, "%s/config.json", path);
    FILE *out = fopen(file, "w");
    assert_int_equal(fwrite(config, 1, n_config, out), n_config);
    fclose(out);
    mem_free(config);
    snellen_model *model;
    MUST(snellen_model_load(path, &model, err));
    unlink(file);
    snprintf(file, sizeof file, "%s/model.safetensors", path);
    unlink(file);
    rmdir(path);
    return model;
}

/* Every gradient within the tolerance of the largest entry of its tensor. */
static void check_gradients(const char *folder, const struct params *params, const struct safetensors *expected)
{
    snellen_model *right = load_gradients(folder, expected);
    struct weight_entry e;
    size_t p = 0;
    /* Gemma's norms are read as 1 + w, their gradients too */
    float shift = !strcmp(folder, "gemma3") ? 1 : 0;
    for (size_t i = 0; weights_next(right, &i, &e); p++) {
        const struct param *param = &params->list[p];
        const float *values = e.weight.data;
        double worst = 0, largest = 0, off = e.role == ROLE_NORM ? (double)shift : 0;
        assert_string_equal(param->name, e.name);
        assert_int_equal(e.weight.type, DT_F32);
        /* Gemma's token 0 is PyTorch's padding: its row is zero and gets no gradient there */
        uint64_t first = shift > 0 && e.role == ROLE_TOKENS ? (uint64_t)e.shape[1] : 0;
        for (uint64_t k = first; k < param->n; k++) {
            double value = (double)values[k] - off, difference = fabs(value - (double)param->grad[k]);
            largest = fmax(largest, fabs(value));
            worst = difference > worst || isnan(difference) ? difference : worst;
        }
        /* the bias of the keys moves all scores of a row alike: its gradient is 0 but for rounding */
        if (!(worst <= tolerance * largest + 1e-7))
            fail_msg("%s: %s: %.3g off, largest entry %.3g", folder, e.name, worst, largest);
    }
    assert_int_equal(p, params->n - (strcmp(params->list[params->n - 1].name, "fam.prompt") == 0));
    snellen_model_free(right);
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

static struct grad_options options_for(const struct prompt *p)
{
    return (struct grad_options){.n_seqs = 1, .n_tokens = p->n, .n_threads = 2};
}

/* One step of a single sequence; the loss is its weighted mean and the gradients are of that. */
static double step(const snellen_model *model, const struct prompt *p, const struct grad_options *o, int64_t position)
{
    struct grad *g;
    double loss, weight, total = 0;
    for (int64_t i = 1; i < p->n; i++) total += (double)p->weights[i];
    MUST(grad_new(model, o, &g, err));
    MUST(grad_step(g, p->tokens, p->weights, 1, p->n, position, 1 / total, &loss, &weight, NULL, err));
    assert_true(fabs(weight - total) < 1e-9);
    grad_free(g);
    return loss / weight;
}

#endif
