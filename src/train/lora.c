/* Low-rank factors as a file: "blk.3.attn_q.lora_a" [rank * n_in], "..lora_b" [n_out * rank]; "fam.prompt" where the
 * memory that they were trained with begins with one; and "about", JSON: arch, rank, alpha, targets, memory. */
#include "train/checkpoint.h"

#include <stdlib.h>
#include <string.h>

char *lora_about(const struct snellen_model *model, const struct lora_options *options)
{
    double alpha = options->alpha > 0 ? options->alpha : (double)options->rank;
    json_t *o = json_pack("{s:s, s:s, s:I, s:f, s:s?, s:o}", "kind", "lora", "arch", model->arch->name, "rank",
                          (json_int_t)options->rank, "alpha", alpha, "targets", options->targets, "memory",
                          model_memory_json(&model->memory));
    char *text = o ? json_dumps(o, JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    return text;
}

/* A tensor's bytes; NULL when it is not there. */
static const void *bytes_of(const struct safetensors *file, const char *name, uint64_t *n)
{
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    return safetensors_raw(file, name, &type, &n_dims, &shape, &data, n) ? data : NULL;
}

static snellen_status read_about(const struct safetensors *file, const char *path, json_t **about, snellen_error *err)
{
    uint64_t n;
    const void *text = bytes_of(file, "about", &n);
    *about = text ? json_loadb(text, n, 0, NULL) : NULL;
    const char *kind = json_string_value(json_object_get(*about, "kind"));
    if (kind && !strcmp(kind, "lora")) return SNELLEN_OK;
    json_decref(*about);
    FAIL(SNELLEN_E_FORMAT, "%s: no low-rank factors of a training run", path);
}

/* The memory of the training becomes the model's, with room for its prompt, whose rows come with the values. A file of
 * before there were memories says nothing of one. */
static snellen_status take_memory(struct snellen_model *model, const struct safetensors *file, const char *path,
                                  const json_t *about, snellen_error *err)
{
    const json_t *o = json_object_get(about, "memory");
    snellen_model_memory memory;
    uint64_t n = 0;
    int64_t d = model->desc.d_model;
    if (!o) return SNELLEN_OK;
    TRY(model_memory_from_json(o, path, &memory, err));
    if (!bytes_of(file, "fam.prompt", &n)) return snellen_model_set_memory(model, &memory, err);
    memory.prompt_rows = (int64_t)(n / sizeof(float)) / d;
    FAIL_IF(!memory.prompt_rows || (uint64_t)(memory.prompt_rows * d) * sizeof(float) != n, SNELLEN_E_FORMAT,
            "%s: tensor 'fam.prompt': %llu bytes are no rows of %lld numbers: of another model", path,
            (unsigned long long)n, (long long)d);
    float *rows;
    TRY(NEW_ARRAY(&rows, memory.prompt_rows * d, "memory's prompt", err));
    memory.prompt = rows;
    snellen_status status = snellen_model_set_memory(model, &memory, err);
    mem_free(rows);
    return status ? error_prefix(err, SNELLEN_E_FORMAT, "%s", path) : SNELLEN_OK;
}

static snellen_status take_factors(struct snellen_model *model, const char *path, const json_t *about,
                                   struct params **params, snellen_error *err)
{
    const struct lora_options options = {.rank = json_integer_value(json_object_get(about, "rank")),
                                         .alpha = json_number_value(json_object_get(about, "alpha")),
                                         .targets = json_string_value(json_object_get(about, "targets"))};
    const char *arch = json_string_value(json_object_get(about, "arch"));
    FAIL_IF(!arch || strcmp(arch, model->arch->name), SNELLEN_E_FORMAT, "%s: factors for a model of architecture %s, %s "
            "is %s", path, arch ? arch : "?", model->file->path, model->arch->name);
    snellen_status status = params_lora(model, &options, params, err);
    return status ? error_prefix(err, status, "%s", path) : SNELLEN_OK;
}

/* Every tensor of the file has its place. */
static snellen_status load_values(const struct safetensors *file, const char *path, struct params *params,
                                  snellen_error *err)
{
    const struct tensor *tensors;
    size_t n = safetensors_tensors(file, &tensors);   /* "about" is bytes and not among them */
    TRY(values_load(path, params, err));
    FAIL_IF(n != params->n, SNELLEN_E_FORMAT, "%s: %zu tensors, the model has places for %zu: of another model", path, n,
            params->n);
    return SNELLEN_OK;
}

static snellen_status load_file(struct snellen_model *model, const char *path, snellen_error *err)
{
    struct safetensors *file;
    struct params *params;
    json_t *about;
    TRY(safetensors_open(path, &file, err));
    snellen_status status = read_about(file, path, &about, err);
    if (!status) {
        status = take_memory(model, file, path, about, err);
        if (!status) status = take_factors(model, path, about, &params, err);
        if (!status) status = load_values(file, path, params, err);
        json_decref(about);
    }
    safetensors_close(file);
    model->lora_loaded = !status;
    return status;
}

snellen_status lora_load(struct snellen_model *model, const char *path, snellen_error *err)
{
    struct strbuf in_folder = {0};
    if (!file_is_folder(path)) return load_file(model, path, err);
    strbuf_printf(&in_folder, "%s/lora.safetensors", path);
    snellen_status status = in_folder.failed ? error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", path)
                            : file_exists(in_folder.text)
                                ? load_file(model, in_folder.text, err)
                                : error_set(err, SNELLEN_E_IO, "%s: has no lora.safetensors; the folder of a finished run "
                                            "with train.lora expected, or a file", path);
    strbuf_free(&in_folder);
    return status;
}
