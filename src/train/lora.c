/* Low-rank factors as a file: "blk.3.attn_q.lora_a" [rank * n_in], "..lora_b" [n_out * rank], and "about", JSON: rank,
 * alpha, targets. */
#include "train/checkpoint.h"

#include <stdlib.h>
#include <string.h>

char *lora_about(const struct snellen_model *model, const struct lora_options *options)
{
    double alpha = options->alpha > 0 ? options->alpha : (double)options->rank;
    json_t *o = json_pack("{s:s, s:s, s:I, s:f, s:s?}", "kind", "lora", "arch", model->arch->name, "rank",
                          (json_int_t)options->rank, "alpha", alpha, "targets", options->targets);
    char *text = o ? json_dumps(o, JSON_REAL_PRECISION(17)) : NULL;
    json_decref(o);
    return text;
}

static json_t *read_about(const char *path, snellen_error *err)
{
    struct safetensors *file;
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *text;
    uint64_t n;
    if (safetensors_open(path, &file, err)) return NULL;
    bool found = safetensors_raw(file, "about", &type, &n_dims, &shape, &text, &n);
    json_t *about = found ? json_loadb(text, n, 0, NULL) : NULL;
    const char *kind = json_string_value(json_object_get(about, "kind"));
    if (!kind || strcmp(kind, "lora")) {
        json_decref(about);
        about = NULL;
        error_set(err, SNELLEN_E_FORMAT, "%s: no low-rank factors of a training run", path);
    }
    safetensors_close(file);
    return about;
}

snellen_status lora_load(struct snellen_model *model, const char *path, snellen_error *err)
{
    snellen_error own;
    json_t *about = read_about(path, err ? err : &own);
    if (!about) return err ? err->status : own.status;
    const struct lora_options options = {.rank = json_integer_value(json_object_get(about, "rank")),
                                         .alpha = json_number_value(json_object_get(about, "alpha")),
                                         .targets = json_string_value(json_object_get(about, "targets"))};
    struct params *params;
    snellen_status status = params_lora(model, &options, &params, err);
    if (!status) status = values_load(path, params, err);
    json_decref(about);
    return status ? error_prefix(err, status, "%s", path) : status;
}
