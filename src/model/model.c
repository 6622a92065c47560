/* Loading: file, tokenizer, description with its defaults, weights, positions; and the facts that info shows. */
#include "model/grad.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static void desc_defaults(struct model_desc *d)
{
    if (d->n_kv_heads == 0) d->n_kv_heads = d->n_heads;
    if (d->head_dim == 0) d->head_dim = d->d_model / d->n_heads;
    if (d->attn_scale <= 0) d->attn_scale = 1 / sqrt((double)d->head_dim);
    if (d->embedding_scale <= 0) d->embedding_scale = 1;
    if (d->positions == POSITION_ROTARY) {
        if (d->rope_theta <= 0) d->rope_theta = 10000;
        if (d->rope_dim <= 0) d->rope_dim = d->head_dim;
    }
    if (d->positions == POSITION_ALIBI && d->alibi_max_bias <= 0) d->alibi_max_bias = 8;
    if (!d->windowed) d->window = 0;
}

bool model_layer_windowed(const struct snellen_model *model, int64_t layer)
{
    return model->desc.window > 0 && model->desc.windowed && model->desc.windowed[layer];
}

static void info_fill(struct snellen_model *model)
{
    const struct model_desc *d = &model->desc;
    snellen_model_info *info = &model->info;
    *info = (snellen_model_info){
        .path = model->file->path,
        .container = model->file->container,
        .arch = model->arch->name,
        .positions = position_names[d->positions],
        .chat = model->tokenizer ? tokenizer_chat(model->tokenizer) : "",
        .n_layers = d->n_layers, .d_model = d->d_model, .n_heads = d->n_heads, .n_kv_heads = d->n_kv_heads,
        .head_dim = d->head_dim, .d_ff = d->d_ff, .n_vocab = d->n_vocab, .n_context = d->n_context,
        .window = d->window,
        .rope_theta = model->desc.positions == POSITION_ROTARY ? d->rope_theta : 0,
        .has_tokenizer = model->tokenizer != NULL,
        .no_tokenizer = model->no_tokenizer,
    };
    for (int64_t i = 0; i < d->n_layers; i++) info->n_windowed += model_layer_windowed(model, i);
    for (size_t i = 0; i < model->file->n_tensors; i++) {
        const struct tensor *t = &model->file->tensors[i];
        uint64_t n = 1;
        for (int j = 0; j < t->n_dims; j++) n *= (uint64_t)t->shape[j];
        info->n_params += n;
        info->weight_bytes += t->n_bytes;
    }
}

/* Without a tokenizer, or with one of a kind that is not supported, a model is spoken to in token ids. */
static snellen_status load_tokenizer(struct snellen_model *model, snellen_error *err)
{
    snellen_error why = {0};
    snellen_status status = tokenizer_load(model->file, &model->tokenizer, &why);
    if (!status && !model->tokenizer)
        error_set(&why, SNELLEN_E_UNSUPPORTED, "%s: has no tokenizer; give token ids, or put tokenizer.json beside the "
                  "weights", model->file->path);
    if (!model->tokenizer && (!status || status == SNELLEN_E_UNSUPPORTED)) {
        model->no_tokenizer = arena_text(&model->arena, why.message, strlen(why.message));
        FAIL_IF(!model->no_tokenizer, SNELLEN_E_MEMORY, "%s: memory ran out", model->file->path);
        return SNELLEN_OK;
    }
    if (status && err) *err = why;
    return status;
}

static snellen_status model_bind(struct snellen_model *model, snellen_error *err)
{
    model->desc = model->file->desc;
    model->arch = arch_find(model->desc.arch);
    FAIL_IF(!model->arch, SNELLEN_E_UNSUPPORTED, "%s: architecture '%s' is not supported", model->file->path,
            model->desc.arch);
    desc_defaults(&model->desc);
    const struct model_desc *d = &model->desc;
    FAIL_IF(d->head_dim < 1 || d->n_heads % d->n_kv_heads != 0, SNELLEN_E_FORMAT,
            "%s: %lld heads of width %lld cannot share %lld key and value heads", model->file->path,
            (long long)d->n_heads, (long long)d->head_dim, (long long)d->n_kv_heads);
    FAIL_IF(d->rope_dim > d->head_dim || d->rope_dim % 2 != 0, SNELLEN_E_FORMAT,
            "%s: rotary positions turn %lld of %lld entries of a head, an even number of at most all expected",
            model->file->path, (long long)d->rope_dim, (long long)d->head_dim);
    TRY(positions_init(model, err));
    TRY(weights_bind(model, err));
    TRY(load_tokenizer(model, err));
    FAIL_IF(model->tokenizer && tokenizer_size(model->tokenizer) > d->n_vocab + 4096, SNELLEN_E_FORMAT,
            "%s: the tokenizer has %lld tokens, the model %lld", model->file->path,
            (long long)tokenizer_size(model->tokenizer), (long long)d->n_vocab);
    info_fill(model);
    return SNELLEN_OK;
}

snellen_status model_from_file(struct model_file *file, snellen_model **out, snellen_error *err)
{
    snellen_model *model = calloc(1, sizeof *model);
    if (!model) {
        model_file_close(file);
        FAIL(SNELLEN_E_MEMORY, "a model: memory ran out");
    }
    model->file = file;
    snellen_status status = model_bind(model, err);
    if (!status) status = model_memory_load(model, err);
    if (status) {
        snellen_model_free(model);
        return status;
    }
    *out = model;
    return SNELLEN_OK;
}

snellen_status snellen_model_load(const char *path, snellen_model **out, snellen_error *err)
{
    FAIL_IF(!path || !path[0], SNELLEN_E_USAGE, "no model named");
    char *resolved = NULL;
    struct model_file *file;
    TRY(catalogue_resolve(path, &resolved, err));
    snellen_status status = model_file_open(resolved, &file, err);
    snellen_free(resolved);
    return status ? status : model_from_file(file, out, err);
}

void snellen_model_free(snellen_model *model)
{
    if (!model) return;
    params_free(model->params);
    tokenizer_free(model->tokenizer);
    model_file_close(model->file);
    mem_free(model->memory_prompt);
    arena_free(&model->arena);
    free(model);
}

const snellen_model_info *snellen_model_get_info(const snellen_model *model)
{
    return &model->info;
}

bool snellen_model_tensor(const snellen_model *model, size_t i, snellen_tensor_info *info)
{
    if (i >= model->file->n_tensors) return false;
    const struct tensor *t = &model->file->tensors[i];
    *info = (snellen_tensor_info){.name = t->name, .type = dtype_infos[t->type].name, .n_dims = t->n_dims,
                                  .n_bytes = t->n_bytes};
    memcpy(info->shape, t->shape, sizeof info->shape);
    return true;
}

const char *snellen_isa(void)
{
    return kernels_isa();
}

/* Factors that were loaded beside the weights decide the answers as well. */
static void mix_factors(const snellen_model *model, char hash[33])
{
    const struct params *p = model->params;
    char text[128];
    int n = snprintf(text, sizeof text, "%s %lld %a %016llx", hash, (long long)model->lora_rank,
                     (double)model->lora_scale,
                     (unsigned long long)XXH3_64bits(p->values, (size_t)p->n_values * sizeof *p->values));
    XXH128_hash_t sum = XXH3_128bits(text, (size_t)n);
    snprintf(hash, 33, "%016llx%016llx", (unsigned long long)sum.high64, (unsigned long long)sum.low64);
}

snellen_status snellen_model_hash(const snellen_model *model, char hash[33], snellen_error *err)
{
    TRY(model_file_hash(model->file, hash, err));
    if (model->lora_loaded) mix_factors(model, hash);
    return SNELLEN_OK;
}
