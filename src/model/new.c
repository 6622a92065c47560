/* New models: a design becomes the config.json that it would have, which is read like any other, so that defaults and
 * checks are those of loaded models; then come random weights in memory.
 *
 * Initialisation (GPT-2, section 2.3): normal of init_std; what writes to the residual stream scaled by
 * 1 / sqrt(2 n_layers), so that the stream's variance does not grow with depth; norms 1, biases 0. Each tensor has a
 * random sequence of its own: its values depend on the seed and its place in the list alone. */
#include "model/model.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char name[] = "new model";

snellen_model_design snellen_model_design_default(void)
{
    return (snellen_model_design){.arch = "llama", .n_layers = 4, .d_model = 128, .n_heads = 4, .n_context = 1024,
                                  .window = 512, .init_std = 0.02, .seed = 1};
}

/* ---- the description --------------------------------------------------------------------------------------------- */

static snellen_status check_design(const snellen_model_design *d, const struct arch **arch, snellen_error *err)
{
    *arch = d->arch ? arch_find(d->arch) : NULL;
    FAIL_IF(!*arch, SNELLEN_E_USAGE, "%s: architecture '%s' is not known", name, d->arch ? d->arch : "");
    size_t n = d->positions ? strlen(d->positions) : 0;
    FAIL_IF(d->positions && position_named(d->positions, n) == POSITION_COUNT, SNELLEN_E_USAGE,
            "%s: positions '%s': rotary, alibi, learned, sinusoidal or none expected", name, d->positions);
    FAIL_IF(!(d->init_std >= 0 && d->init_std <= 1e3), SNELLEN_E_USAGE, "%s: init_std is %g, 0 to 1000 expected", name,
            d->init_std);
    FAIL_IF(d->n_layers < 1 || d->d_model < 1 || d->n_heads < 1 || d->n_context < 1, SNELLEN_E_USAGE,
            "%s: %lld layers, width %lld, %lld heads, context %lld: each must be at least 1", name,
            (long long)d->n_layers, (long long)d->d_model, (long long)d->n_heads, (long long)d->n_context);
    FAIL_IF(d->n_kv_heads < 0 || d->head_dim < 0 || d->d_ff < 0 || d->window < 0, SNELLEN_E_USAGE,
            "%s: a negative size", name);
    FAIL_IF(!d->head_dim && d->d_model % d->n_heads, SNELLEN_E_USAGE, "%s: width %lld does not divide into %lld heads",
            name, (long long)d->d_model, (long long)d->n_heads);
    return SNELLEN_OK;
}

/* LayerNorm architectures keep q, k and v in one square matrix each: the formats have no room for other shapes. */
static snellen_status check_shapes(const struct arch *arch, const struct model_desc *d, snellen_error *err)
{
    if (arch->norm == NORM_RMS) return SNELLEN_OK;
    FAIL_IF(d->n_kv_heads != d->n_heads, SNELLEN_E_USAGE, "%s: %s models have a key and value head for each head", name,
            arch->name);
    FAIL_IF(d->n_heads * d->head_dim != d->d_model, SNELLEN_E_USAGE,
            "%s: %s models have heads of width / heads = %lld / %lld entries, %lld found", name, arch->name,
            (long long)d->d_model, (long long)d->n_heads, (long long)d->head_dim);
    FAIL_IF(!strcmp(arch->name, "bloom") && d->d_ff != 4 * d->d_model, SNELLEN_E_USAGE,
            "%s: the feed-forward layer of bloom models is 4 x width = %lld, %lld found", name,
            (long long)(4 * d->d_model), (long long)d->d_ff);
    return SNELLEN_OK;
}

static int64_t usual_ff(const struct arch *arch, int64_t d_model)
{
    return arch->gated ? (d_model * 8 / 3 + 31) / 32 * 32 : 4 * d_model;
}

/* The configuration by the keys that all architectures are read with. */
static char *config_text(const snellen_model_design *d, const struct arch *arch, int64_t n_vocab)
{
    int64_t head_dim = d->head_dim ? d->head_dim : d->d_model / d->n_heads;
    bool gemma = !strcmp(arch->name, "gemma3");
    json_t *root = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s*, s:I, s:o*}", "model_type",
        gemma ? "gemma3_text" : arch->name, "num_hidden_layers", (json_int_t)d->n_layers, "hidden_size",
        (json_int_t)d->d_model, "num_attention_heads", (json_int_t)d->n_heads, "num_key_value_heads",
        (json_int_t)(d->n_kv_heads ? d->n_kv_heads : d->n_heads), "head_dim", (json_int_t)head_dim,
        "intermediate_size", (json_int_t)(d->d_ff ? d->d_ff : usual_ff(arch, d->d_model)), "vocab_size",
        (json_int_t)n_vocab, "max_position_embeddings", (json_int_t)d->n_context, "tie_word_embeddings", !d->untied,
        "snellen_positions", d->positions, "query_pre_attn_scalar", (json_int_t)head_dim, "sliding_window",
        !gemma ? NULL : d->window ? json_integer(d->window) : json_null());
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

static snellen_status describe(const snellen_model_design *design, const struct arch *arch, int64_t n_vocab,
                               struct arena *arena, struct model_desc *desc, snellen_error *err)
{
    FAIL_IF(design->d_model > 1 << 20, SNELLEN_E_USAGE, "%s: width %lld, 1 to 131072 expected", name,
            (long long)design->d_model);
    char *config = config_text(design, arch, n_vocab);
    FAIL_IF(!config, SNELLEN_E_MEMORY, "%s: memory ran out", name);
    snellen_status status = desc_from_config(config, strlen(config), name, arena, desc, err);
    free(config);
    if (status == SNELLEN_E_FORMAT) {   /* what is wrong is wrong with the design */
        if (err) err->status = SNELLEN_E_USAGE;
        status = SNELLEN_E_USAGE;
    }
    return status ? status : check_shapes(arch, desc, err);
}

/* ---- the vocabulary ---------------------------------------------------------------------------------------------- */

enum { LARGEST_TOKENIZER = 256 << 20 };

/* Texts of the tokenizer's files, both by free(), and its size. NULL without one. */
struct tokenizer_texts {
    char *tokenizer, *config;
};

static snellen_status copy_file(const char *path, char **text, snellen_error *err)
{
    char *read;
    size_t n;
    TRY(file_read(path, LARGEST_TOKENIZER, &read, &n, err));
    *text = strlen(read) == n ? strdup(read) : NULL;
    bool binary = strlen(read) != n;
    mem_free(read);
    FAIL_IF(binary, SNELLEN_E_FORMAT, "%s: not a text", path);
    FAIL_IF(!*text, SNELLEN_E_MEMORY, "%s: memory ran out", path);
    return SNELLEN_OK;
}

static snellen_status read_tokenizer(const char *path, struct tokenizer_texts *t, snellen_error *err)
{
    if (!file_is_folder(path)) return copy_file(path, &t->tokenizer, err);
    struct strbuf file = {0}, config = {0};
    strbuf_printf(&file, "%s/tokenizer.json", path);
    strbuf_printf(&config, "%s/tokenizer_config.json", path);
    snellen_status status = SNELLEN_OK;
    if (file.failed || config.failed) status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", path);
    if (!status) status = copy_file(file.text, &t->tokenizer, err);
    if (!status && file_exists(config.text)) status = copy_file(config.text, &t->config, err);
    strbuf_free(&file);
    strbuf_free(&config);
    return status;
}

static snellen_status make_vocabulary(const snellen_model_design *d, struct tokenizer_texts *t, int64_t *n_vocab,
                                      snellen_error *err)
{
    *n_vocab = d->n_vocab;
    if (d->words || d->characters) {
        const struct vocabulary v = {.words = d->words, .n_words = d->n_words, .text = d->characters,
                                     .n_text = d->characters ? strlen(d->characters) : 0, .unknown = d->unknown,
                                     .bos = d->bos, .eos = d->eos};
        TRY(vocabulary_make(&v, &t->tokenizer, &t->config, err));
    } else if (d->tokenizer) {
        TRY(read_tokenizer(d->tokenizer, t, err));
    } else {
        FAIL_IF(d->n_vocab < 1, SNELLEN_E_USAGE, "%s: no vocabulary: words, characters, a tokenizer or a number of "
                "tokens expected", name);
        return SNELLEN_OK;
    }
    struct tokenizer *tokenizer;
    TRY(tokenizer_from_json(t->tokenizer, strlen(t->tokenizer), t->config, t->config ? strlen(t->config) : 0,
                            d->tokenizer && !d->words && !d->characters ? d->tokenizer : name, &tokenizer, err));
    *n_vocab = tokenizer_size(tokenizer);
    tokenizer_free(tokenizer);
    return SNELLEN_OK;
}

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* All tensors of the design and how many values they have together. */
static snellen_status list_tensors(const struct arch *arch, const struct model_desc *d, struct arena *arena,
                                   struct tensor *tensors, size_t *n, uint64_t *n_values, snellen_error *err)
{
    struct weight_entry e;
    *n = *n_values = 0;
    for (size_t i = 0; weights_next_of(arch, d, &i, &e); ++*n) {
        uint64_t size;
        bool fits = size_mul((uint64_t)e.shape[0], (uint64_t)e.shape[1], &size) && size_add(*n_values, size, n_values);
        FAIL_IF(!fits, SNELLEN_E_MEMORY, "%s: more weights than any machine holds", name);
        if (!tensors) continue;
        tensors[*n] = (struct tensor){.name = arena_text(arena, e.name, strlen(e.name)), .type = DT_F32,
                                      .n_dims = e.n_dims, .shape = {e.shape[0], e.shape[1]}};
        FAIL_IF(!tensors[*n].name, SNELLEN_E_MEMORY, "%s: memory ran out", name);
    }
    return SNELLEN_OK;
}

static void initialise(float *values, uint64_t n, const struct weight_entry *e, const snellen_model_design *design,
                       uint64_t stream)
{
    double std = e->role == ROLE_RESIDUAL ? design->init_std / sqrt(2.0 * (double)design->n_layers) : design->init_std;
    struct rng r;
    rng_seed(&r, design->seed, stream);
    for (uint64_t i = 0; i < n; i++)
        values[i] = e->role == ROLE_NORM ? 1 : e->role == ROLE_BIAS ? 0 : (float)(std * rng_normal(&r));
}

static void place_values(const struct arch *arch, const struct model_desc *d, const snellen_model_design *design,
                         struct tensor *tensors, float *data)
{
    struct weight_entry e;
    size_t n = 0;
    for (size_t i = 0; weights_next_of(arch, d, &i, &e); n++) {
        uint64_t size = (uint64_t)e.shape[0] * (uint64_t)e.shape[1];
        initialise(data, size, &e, design, n);
        tensors[n].data = data;
        data += size;
    }
}

static snellen_status make_weights(const struct arch *arch, const snellen_model_design *design, struct arena *arena,
                                   struct model_parts *parts, snellen_error *err)
{
    uint64_t n_values, n_bytes;
    struct tensor *tensors;
    float *data;
    TRY(list_tensors(arch, &parts->desc, arena, NULL, &parts->n_tensors, &n_values, err));
    FAIL_IF(!size_mul(n_values, sizeof(float), &n_bytes) || n_bytes > mem_available(), SNELLEN_E_MEMORY,
            "%s: its %.4g weights need %.1f MB, %.1f MB are available", name, (double)n_values, 4e-6 * (double)n_values,
            (double)mem_available() / 1e6);
    tensors = arena_alloc(arena, parts->n_tensors * sizeof *tensors);
    FAIL_IF(!tensors, SNELLEN_E_MEMORY, "%s: memory ran out", name);
    TRY(list_tensors(arch, &parts->desc, arena, tensors, &parts->n_tensors, &n_values, err));
    TRY(NEW_ARRAY(&data, n_values, name, err));
    place_values(arch, &parts->desc, design, tensors, data);
    parts->tensors = tensors;
    parts->data = data;
    return SNELLEN_OK;
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

static snellen_status make_parts(const snellen_model_design *design, struct arena *arena, struct tokenizer_texts *texts,
                                 struct model_parts *parts, snellen_error *err)
{
    const struct arch *arch;
    int64_t n_vocab;
    TRY(check_design(design, &arch, err));
    TRY(make_vocabulary(design, texts, &n_vocab, err));
    TRY(describe(design, arch, n_vocab, arena, &parts->desc, err));
    parts->tokenizer = texts->tokenizer;
    parts->tokenizer_config = texts->config;
    return make_weights(arch, design, arena, parts, err);
}

snellen_status snellen_model_new(const snellen_model_design *design, snellen_model **out, snellen_error *err)
{
    FAIL_IF(!design, SNELLEN_E_USAGE, "%s: no design", name);
    struct arena arena = {0};
    struct tokenizer_texts texts = {0};
    struct model_parts parts = {0};
    struct model_file *file = NULL;
    snellen_status status = make_parts(design, &arena, &texts, &parts, err);
    if (!status) status = model_file_new(name, &parts, &file, err);
    if (status) mem_free(parts.data);
    arena_free(&arena);
    free(texts.tokenizer);
    free(texts.config);
    return status ? status : model_from_file(file, out, err);
}
