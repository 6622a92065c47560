/* The description of a model from the text of its config.json: the current form (rope_parameters, layer_types) and the
 * older ones (rope_theta, rope_scaling, sliding_window_pattern, rotary_pct ..). What a file leaves out has the default
 * of the configuration classes of Transformers, since files are written as differences to those. */
#include "format/inner.h"
#include "format/json_guard.h"

#include <math.h>
#include <string.h>

/* ---- architectures ----------------------------------------------------------------------------------------------- */

/* What all files of a model_type share. Numbers are the defaults; 0 = the file must say. */
static const struct hf_arch {
    const char *model_type;
    struct model_desc desc;
    double rotary_part;     /* share of a head that turns */
    int64_t period;         /* windowed layers: every period-th has no window; 0 = no windows of this kind */
} archs[] = {
    {"llama", {.arch = "llama", .n_context = 2048, .norm_eps = 1e-6, .rope_theta = 1e4}, 1, 0},
    {"mistral",
     {.arch = "llama", .n_kv_heads = 8, .n_context = 131072, .norm_eps = 1e-6, .rope_theta = 1e4, .window = 4096},
     1, 0},
    {"qwen2", {.arch = "qwen2", .n_context = 32768, .norm_eps = 1e-6, .rope_theta = 1e4, .window = 4096}, 1, 0},
    {"qwen3",
     {.arch = "qwen3", .n_context = 32768, .norm_eps = 1e-6, .rope_theta = 1e4, .head_dim = 128, .window = 4096}, 1, 0},
    {"gemma3_text",
     {.arch = "gemma3", .n_layers = 26, .d_model = 2304, .n_heads = 8, .n_kv_heads = 4, .head_dim = 256, .d_ff = 9216,
      .n_context = 131072, .norm_eps = 1e-6, .rope_theta = 1e6, .rope_theta_local = 1e4, .window = 4096,
      .activation = ACT_GELU_TANH, .tied_output = true}, 1, 6},
    {"gpt2", {.arch = "gpt2", .n_context = 1024, .norm_eps = 1e-5, .activation = ACT_GELU_TANH, .tied_output = true},
     1, 0},
    {"gpt_neox",
     {.arch = "gpt_neox", .n_context = 2048, .norm_eps = 1e-5, .rope_theta = 1e4, .activation = ACT_GELU_ERF,
      .parallel_residual = true}, 0.25, 0},
    {"bloom",
     {.arch = "bloom", .n_context = 2048, .norm_eps = 1e-5, .alibi_max_bias = 8, .activation = ACT_GELU_TANH,
      .tied_output = true}, 1, 0},
    {"opt", {.arch = "opt", .n_context = 2048, .norm_eps = 1e-5, .activation = ACT_RELU, .tied_output = true}, 1, 0},
};

static const struct {
    const char *name;
    enum activation activation;
} activations[] = {
    {"silu", ACT_SILU}, {"swish", ACT_SILU}, {"gelu", ACT_GELU_ERF}, {"gelu_python", ACT_GELU_ERF},
    {"gelu_new", ACT_GELU_TANH}, {"gelu_pytorch_tanh", ACT_GELU_TANH}, {"gelu_python_tanh", ACT_GELU_TANH},
    {"gelu_fast", ACT_GELU_TANH}, {"relu", ACT_RELU},
};

/* ---- values by key ----------------------------------------------------------------------------------------------- */

/* An object of the file. Keys that are missing or null leave the value alone. */
struct config {
    const json_t *object;
    const char *file;
};

static const json_t *config_get(const struct config *c, const char *key)
{
    const json_t *value = json_object_get(c->object, key);
    return json_is_null(value) ? NULL : value;
}

static snellen_status config_float(const struct config *c, const char *key, double *out, snellen_error *err)
{
    const json_t *value = config_get(c, key);
    if (!value) return SNELLEN_OK;
    FAIL_IF(!json_is_number(value), SNELLEN_E_FORMAT, "%s: '%s': a number expected", c->file, key);
    *out = json_number_value(value);
    return SNELLEN_OK;
}

static snellen_status config_int(const struct config *c, const char *key, int64_t *out, snellen_error *err)
{
    const json_t *value = config_get(c, key);
    if (!value) return SNELLEN_OK;
    double real = json_number_value(value);
    bool whole = json_is_integer(value) || (json_is_real(value) && fabs(real) <= 9e15 && real == floor(real));
    FAIL_IF(!whole, SNELLEN_E_FORMAT, "%s: '%s': a whole number expected", c->file, key);
    *out = json_is_integer(value) ? json_integer_value(value) : (int64_t)real;
    return SNELLEN_OK;
}

static snellen_status config_bool(const struct config *c, const char *key, bool *out, snellen_error *err)
{
    const json_t *value = config_get(c, key);
    if (!value) return SNELLEN_OK;
    FAIL_IF(!json_is_boolean(value), SNELLEN_E_FORMAT, "%s: '%s': true or false expected", c->file, key);
    *out = json_is_true(value);
    return SNELLEN_OK;
}

static snellen_status config_text(const struct config *c, const char *key, const char **out, snellen_error *err)
{
    const json_t *value = config_get(c, key);
    if (!value) return SNELLEN_OK;
    FAIL_IF(!json_is_string(value), SNELLEN_E_FORMAT, "%s: '%s': a text expected", c->file, key);
    *out = json_string_value(value);
    return SNELLEN_OK;
}

static snellen_status config_object(const struct config *c, const char *key, struct config *out, snellen_error *err)
{
    *out = (struct config){config_get(c, key), c->file};
    FAIL_IF(out->object && !json_is_object(out->object), SNELLEN_E_FORMAT, "%s: '%s': an object expected", c->file,
            key);
    return SNELLEN_OK;
}

/* A switch that must have the value which is implemented. */
static snellen_status config_must_be(const struct config *c, const char *key, bool wanted, snellen_error *err)
{
    bool value = wanted;
    TRY(config_bool(c, key, &value, err));
    FAIL_IF(value != wanted, SNELLEN_E_UNSUPPORTED, "%s: '%s' = %s is not supported", c->file, key,
            value ? "true" : "false");
    return SNELLEN_OK;
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static snellen_status read_sizes(const struct config *c, struct model_desc *d, snellen_error *err)
{
    /* Each size with the names that configurations have for it; the first that is there counts. */
    const struct {
        int64_t *value;
        const char *keys[3];
        bool needed;
    } sizes[] = {
        {&d->n_layers, {"num_hidden_layers", "n_layer"}, true},
        {&d->d_model, {"hidden_size", "n_embd", "n_embed"}, true},
        {&d->n_heads, {"num_attention_heads", "n_head"}, true},
        {&d->n_kv_heads, {"num_key_value_heads"}, false},
        {&d->head_dim, {"head_dim"}, false},
        {&d->d_ff, {"intermediate_size", "n_inner", "ffn_dim"}, false},
        {&d->n_vocab, {"vocab_size"}, false},
        {&d->n_context, {"max_position_embeddings", "n_positions", "seq_length"}, false},
    };
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (size_t j = 0; j < COUNT_OF(sizes[i].keys) && sizes[i].keys[j]; j++) {
            if (!config_get(c, sizes[i].keys[j])) continue;
            TRY(config_int(c, sizes[i].keys[j], sizes[i].value, err));
            FAIL_IF(*sizes[i].value < 1, SNELLEN_E_FORMAT, "%s: '%s': %lld, at least 1 expected", c->file,
                    sizes[i].keys[j], (long long)*sizes[i].value);
            break;
        }
        FAIL_IF(sizes[i].needed && *sizes[i].value == 0, SNELLEN_E_FORMAT, "%s: '%s' is missing", c->file,
                sizes[i].keys[0]);
    }
    if (d->n_kv_heads == 0) d->n_kv_heads = d->n_heads;
    if (d->head_dim == 0) {
        FAIL_IF(d->d_model % d->n_heads, SNELLEN_E_FORMAT, "%s: width %lld does not divide into %lld heads", c->file,
                (long long)d->d_model, (long long)d->n_heads);
        d->head_dim = d->d_model / d->n_heads;
    }
    if (d->d_ff == 0) {
        bool fixed = !strcmp(d->arch, "gpt2") || !strcmp(d->arch, "bloom");
        FAIL_IF(!fixed || d->d_model > 1 << 20, SNELLEN_E_FORMAT, "%s: '%s' is missing", c->file,
                !strcmp(d->arch, "opt") ? "ffn_dim" : "intermediate_size");
        d->d_ff = 4 * d->d_model;
    }
    static const char *const epsilons[] = {"rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps"};
    for (size_t i = 0; i < COUNT_OF(epsilons); i++) TRY(config_float(c, epsilons[i], &d->norm_eps, err));
    return SNELLEN_OK;
}

static snellen_status read_activation(const struct config *c, struct model_desc *d, snellen_error *err)
{
    static const char *const keys[] = {"hidden_activation", "hidden_act", "activation_function"};
    const char *name = NULL, *key = NULL;
    for (size_t i = 0; i < COUNT_OF(keys) && !name; i++) TRY(config_text(c, key = keys[i], &name, err));
    if (!name) return SNELLEN_OK;
    for (size_t i = 0; i < COUNT_OF(activations); i++)
        if (!strcmp(activations[i].name, name)) {
            d->activation = activations[i].activation;
            return SNELLEN_OK;
        }
    char shown[SHOWN_BYTES];
    FAIL(SNELLEN_E_UNSUPPORTED, "%s: '%s' = '%s' is not supported", c->file, key,
         name_shown(shown, name, strlen(name)));
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

static double yarn_attention(double factor, double mscale)
{
    return factor > 1 ? 0.1 * mscale * log(factor) + 1 : 1;
}

static snellen_status read_yarn(const struct config *c, struct model_desc *d, snellen_error *err)
{
    double mscale = 0, mscale_all_dim = 0;
    TRY(config_must_be(c, "truncate", true, err));
    if (d->rope_factor == 0 && d->rope_original_context > 0)
        d->rope_factor = (double)d->n_context / d->rope_original_context;
    TRY(config_float(c, "beta_fast", &d->rope_beta_fast, err));
    TRY(config_float(c, "beta_slow", &d->rope_beta_slow, err));
    TRY(config_float(c, "mscale", &mscale, err));
    TRY(config_float(c, "mscale_all_dim", &mscale_all_dim, err));
    if (mscale > 0 && mscale_all_dim > 0)
        d->rope_attn_factor = yarn_attention(d->rope_factor, mscale) / yarn_attention(d->rope_factor, mscale_all_dim);
    return config_float(c, "attention_factor", &d->rope_attn_factor, err);
}

/* The scaling that the object asks for; c->object may be NULL. */
static snellen_status read_scaling(const struct config *c, struct model_desc *d, snellen_error *err)
{
    if (!c->object) return SNELLEN_OK;
    const char *type = "default";
    TRY(config_text(c, "type", &type, err));
    TRY(config_text(c, "rope_type", &type, err));
    char shown[SHOWN_BYTES];
    if (config_get(c, "mrope_section")) type = "mrope";
    if (!strcmp(type, "default")) {
        d->rope_scaling = ROPE_NONE;
        return SNELLEN_OK;
    }
    if (!strcmp(type, "linear"))
        d->rope_scaling = ROPE_LINEAR;
    else if (!strcmp(type, "llama3"))
        d->rope_scaling = ROPE_LLAMA3;
    else if (!strcmp(type, "yarn"))
        d->rope_scaling = ROPE_YARN;
    else
        FAIL(SNELLEN_E_UNSUPPORTED, "%s: rotary scaling '%s' is not supported", c->file,
             name_shown(shown, type, strlen(type)));
    TRY(config_float(c, "factor", &d->rope_factor, err));
    TRY(config_float(c, "original_max_position_embeddings", &d->rope_original_context, err));
    TRY(config_float(c, "low_freq_factor", &d->rope_low_freq_factor, err));
    TRY(config_float(c, "high_freq_factor", &d->rope_high_freq_factor, err));
    if (d->rope_scaling == ROPE_YARN) TRY(read_yarn(c, d, err));
    FAIL_IF(d->rope_factor <= 0, SNELLEN_E_FORMAT, "%s: rotary scaling '%s': 'factor' is missing or not positive",
            c->file, type);
    return SNELLEN_OK;
}

/* Base and scaling of the layers that see everything, from one object of rope parameters. */
static snellen_status read_rope_object(const struct config *rope, struct model_desc *d, double *part,
                                       snellen_error *err)
{
    TRY(config_float(rope, "rope_theta", &d->rope_theta, err));
    TRY(config_float(rope, "partial_rotary_factor", part, err));
    return read_scaling(rope, d, err);
}

/* rope_parameters with one object for each kind of layer: full is d's own, sliding has its base and either no scaling
 * or the same one. */
static snellen_status read_rope_by_kind(const struct config *rope, struct model_desc *d, double *part,
                                        snellen_error *err)
{
    struct config full, sliding;
    TRY(config_object(rope, "full_attention", &full, err));
    TRY(config_object(rope, "sliding_attention", &sliding, err));
    if (full.object) TRY(read_rope_object(&full, d, part, err));
    if (!sliding.object) return SNELLEN_OK;
    struct model_desc local = *d;
    double local_part = *part;
    local.rope_scaling = ROPE_NONE;
    local.rope_factor = 0;
    TRY(read_rope_object(&sliding, &local, &local_part, err));
    d->rope_theta_local = local.rope_theta;
    d->rope_scaling_local = local.rope_scaling != ROPE_NONE;
    FAIL_IF(local_part != *part || (local.rope_scaling != ROPE_NONE &&
            (local.rope_scaling != d->rope_scaling || local.rope_factor != d->rope_factor)), SNELLEN_E_UNSUPPORTED,
            "%s: rotary scaling that differs between windowed and other layers is not supported", rope->file);
    return SNELLEN_OK;
}

static snellen_status read_rotary(const struct config *c, double part, struct model_desc *d, snellen_error *err)
{
    struct config rope, scaling;
    /* Gemma 3 scales only the layers that see everything; elsewhere all layers turn alike. */
    d->rope_scaling_local = strcmp(d->arch, "gemma3") != 0;
    d->rope_original_context = (double)d->n_context;
    d->rope_beta_fast = 32;
    d->rope_beta_slow = 1;
    TRY(config_float(c, "original_max_position_embeddings", &d->rope_original_context, err));
    TRY(config_float(c, "rotary_emb_base", &d->rope_theta, err));
    TRY(config_float(c, "rope_theta", &d->rope_theta, err));
    TRY(config_float(c, "rope_local_base_freq", &d->rope_theta_local, err));
    TRY(config_float(c, "rotary_pct", &part, err));
    TRY(config_float(c, "partial_rotary_factor", &part, err));
    TRY(config_object(c, "rope_parameters", &rope, err));
    TRY(config_object(c, "rope_scaling", &scaling, err));
    if (rope.object && (config_get(&rope, "full_attention") || config_get(&rope, "sliding_attention")))
        TRY(read_rope_by_kind(&rope, d, &part, err));
    else if (rope.object)
        TRY(read_rope_object(&rope, d, &part, err));
    else
        TRY(read_scaling(&scaling, d, err));
    FAIL_IF(!(part > 0 && part <= 1), SNELLEN_E_FORMAT, "%s: share of a head that turns: %g, 0 to 1 expected", c->file,
            part);
    d->rope_dim = part < 1 ? (int64_t)((double)d->head_dim * part) : 0;
    FAIL_IF(part < 1 && d->rope_dim < 2, SNELLEN_E_FORMAT, "%s: share of a head that turns: %g of %lld is nothing",
            c->file, part, (long long)d->head_dim);
    return SNELLEN_OK;
}

/* Models that were made here may have other positions than their architecture's own. What stands in the file for
 * programs that do not know this key (a table of sinusoids, frequencies of almost nothing) is not looked at then. */
static snellen_status read_positions(const struct config *c, double rotary_part, struct model_desc *d,
                                     snellen_error *err)
{
    const char *name = NULL;
    char shown[SHOWN_BYTES];
    d->positions = desc_positions(d->arch);
    TRY(config_text(c, "snellen_positions", &name, err));
    if (name) d->positions = position_named(name, strlen(name));
    FAIL_IF(d->positions == POSITION_COUNT, SNELLEN_E_UNSUPPORTED, "%s: 'snellen_positions' = '%s' is not supported",
            c->file, name_shown(shown, name, strlen(name)));
    if (d->positions == POSITION_ALIBI && d->alibi_max_bias == 0) d->alibi_max_bias = 8;
    if (d->positions != POSITION_ROTARY) {
        d->rope_theta = d->rope_theta_local = 0;
        return SNELLEN_OK;
    }
    if (d->rope_theta == 0) d->rope_theta = 1e4;
    return read_rotary(c, rotary_part, d, err);
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* layer_types: the kind of each layer by name. */
static snellen_status read_layer_types(const struct config *c, const json_t *kinds, struct model_desc *d,
                                       snellen_error *err)
{
    FAIL_IF(!json_is_array(kinds) || json_array_size(kinds) != (size_t)d->n_layers, SNELLEN_E_FORMAT,
            "%s: 'layer_types': one name for each of %lld layers expected", c->file, (long long)d->n_layers);
    for (int64_t i = 0; i < d->n_layers; i++) {
        const char *kind = json_string_value(json_array_get(kinds, (size_t)i));
        FAIL_IF(!kind, SNELLEN_E_FORMAT, "%s: 'layer_types': names expected", c->file);
        d->windowed[i] = !strcmp(kind, "sliding_attention");
        char shown[SHOWN_BYTES];
        FAIL_IF(!d->windowed[i] && strcmp(kind, "full_attention"), SNELLEN_E_UNSUPPORTED,
                "%s: a layer of type '%s' is not supported", c->file, name_shown(shown, kind, strlen(kind)));
    }
    return SNELLEN_OK;
}

static snellen_status read_windows(const struct config *c, const struct hf_arch *arch, struct arena *arena,
                                   struct model_desc *d, snellen_error *err)
{
    bool qwen = !strncmp(d->arch, "qwen", 4), used = !qwen;
    if (arch->desc.window == 0) return SNELLEN_OK;
    const json_t *given = json_object_get(c->object, "sliding_window");
    if (json_is_null(given)) d->window = 0;
    TRY(config_int(c, "sliding_window", &d->window, err));
    TRY(config_bool(c, "use_sliding_window", &used, err));
    if (!used || d->window == 0) {
        d->window = 0;
        return SNELLEN_OK;
    }
    TRY(desc_windows(d, arena, c->file, err));
    const json_t *kinds = config_get(c, "layer_types");
    if (kinds) return read_layer_types(c, kinds, d, err);
    int64_t period = arch->period, first = 0;
    if (arch->period) {
        TRY(config_int(c, "_sliding_window_pattern", &period, err));
        TRY(config_int(c, "sliding_window_pattern", &period, err));
        FAIL_IF(period < 1, SNELLEN_E_FORMAT, "%s: 'sliding_window_pattern': %lld, at least 1 expected", c->file,
                (long long)period);
    }
    if (qwen) {
        first = 28;
        TRY(config_int(c, "max_window_layers", &first, err));
    }
    for (int64_t i = 0; i < d->n_layers; i++) d->windowed[i] = i >= first && (!period || (i + 1) % period != 0);
    return SNELLEN_OK;
}

/* ---- what single architectures add ------------------------------------------------------------------------------- */

static snellen_status read_gemma3(const struct config *c, struct model_desc *d, snellen_error *err)
{
    double query_scalar = 256;
    TRY(config_must_be(c, "use_bidirectional_attention", false, err));
    TRY(config_float(c, "query_pre_attn_scalar", &query_scalar, err));
    FAIL_IF(!(query_scalar > 0), SNELLEN_E_FORMAT, "%s: 'query_pre_attn_scalar': %g, a positive number expected",
            c->file, query_scalar);
    d->attn_scale = 1 / sqrt(query_scalar);
    d->embedding_scale = sqrt((double)d->d_model);
    TRY(config_float(c, "attn_logit_softcapping", &d->attn_soft_cap, err));
    return config_float(c, "final_logit_softcapping", &d->logit_soft_cap, err);
}

static snellen_status read_gpt2(const struct config *c, struct model_desc *d, snellen_error *err)
{
    bool scaled = true;
    TRY(config_must_be(c, "scale_attn_by_inverse_layer_idx", false, err));
    TRY(config_must_be(c, "add_cross_attention", false, err));
    TRY(config_bool(c, "scale_attn_weights", &scaled, err));
    if (!scaled) d->attn_scale = 1;
    return SNELLEN_OK;
}

static snellen_status read_opt(const struct config *c, const struct model_desc *d, snellen_error *err)
{
    int64_t embed = d->d_model;
    TRY(config_must_be(c, "do_layer_norm_before", true, err));
    TRY(config_must_be(c, "_remove_final_layer_norm", false, err));
    TRY(config_must_be(c, "layer_norm_elementwise_affine", true, err));
    TRY(config_int(c, "word_embed_proj_dim", &embed, err));
    FAIL_IF(embed != d->d_model, SNELLEN_E_UNSUPPORTED,
            "%s: 'word_embed_proj_dim' = %lld (project_in, project_out) is not supported, %lld expected", c->file,
            (long long)embed, (long long)d->d_model);
    return SNELLEN_OK;
}

static snellen_status read_details(const struct config *c, struct model_desc *d, snellen_error *err)
{
    if (!strcmp(d->arch, "gemma3")) return read_gemma3(c, d, err);
    if (!strcmp(d->arch, "gpt2")) return read_gpt2(c, d, err);
    if (!strcmp(d->arch, "opt")) return read_opt(c, d, err);
    if (!strcmp(d->arch, "bloom")) return config_must_be(c, "apply_residual_connection_post_layernorm", false, err);
    if (!strcmp(d->arch, "gpt_neox")) return config_bool(c, "use_parallel_residual", &d->parallel_residual, err);
    return SNELLEN_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static snellen_status refuse_quantised(const struct config *c, snellen_error *err)
{
    struct config quantised;
    const char *method = "unknown method";
    TRY(config_object(c, "quantization_config", &quantised, err));
    if (!quantised.object) return SNELLEN_OK;
    TRY(config_text(&quantised, "quant_method", &method, err));
    char shown[SHOWN_BYTES];
    FAIL(SNELLEN_E_UNSUPPORTED, "%s: weights quantised by '%s' are not supported; GGUF files of the model may be",
         c->file, name_shown(shown, method, strlen(method)));
}

static snellen_status find_arch(const struct config *c, const struct hf_arch **arch, snellen_error *err)
{
    const char *type = NULL;
    TRY(config_text(c, "model_type", &type, err));
    FAIL_IF(!type, SNELLEN_E_FORMAT, "%s: 'model_type' is missing", c->file);
    size_t prefix = strncmp(type, "snellen_", 8) ? 0 : 8;   /* made here, of a kind that only we run */
    const char *wanted = strcmp(type, "gemma3") ? type + prefix : "gemma3_text";
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        if (!strcmp(archs[i].model_type, wanted)) {
            *arch = &archs[i];
            return SNELLEN_OK;
        }
    char shown[SHOWN_BYTES];
    FAIL(SNELLEN_E_UNSUPPORTED, "%s: architecture '%s' is not supported", c->file,
         name_shown(shown, type, strlen(type)));
}

static snellen_status desc_from_object(const struct config *outer, struct arena *arena, struct model_desc *d,
                                       snellen_error *err)
{
    const struct hf_arch *arch = NULL;
    struct config c = *outer, text;
    TRY(find_arch(outer, &arch, err));
    TRY(refuse_quantised(outer, err));
    *d = arch->desc;
    TRY(config_bool(outer, "tie_word_embeddings", &d->tied_output, err));
    TRY(config_object(outer, "text_config", &text, err));
    if (text.object && !strcmp(d->arch, "gemma3")) {  /* the language part of a model that also sees */
        c = text;
        TRY(config_bool(&c, "tie_word_embeddings", &d->tied_output, err));
    }
    TRY(read_sizes(&c, d, err));
    TRY(read_activation(&c, d, err));
    TRY(read_positions(&c, arch->rotary_part, d, err));
    TRY(read_windows(&c, arch, arena, d, err));
    TRY(read_details(&c, d, err));
    /* A vocabulary that the file leaves out is filled in from the embedding and checked then. */
    struct model_desc checked = *d;
    if (checked.n_vocab == 0) checked.n_vocab = 1;
    return desc_check(&checked, outer->file, err);
}

snellen_status desc_from_config(const char *json, size_t n, const char *file, struct arena *arena,
                                struct model_desc *desc, snellen_error *err)
{
    json_t *root;
    TRY(json_parse_object(json, n, file, &root, err));
    struct config c = {root, file};
    snellen_status status = desc_from_object(&c, arena, desc, err);
    json_decref(root);
    return status;
}
