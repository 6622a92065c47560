/* config.json from a description: the inverse of desc_hf.c, in a form that Transformers 4 and 5 both read. Version 5
 * reads rope_parameters; version 4 rope_theta, rope_scaling and their like, which version 5 also takes. */
#include "format/inner.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What Transformers calls models of an architecture, and the keys of their sizes. */
static const struct hf_form {
    const char *arch, *model_type, *class;
    const char *layers, *width, *heads, *ff, *context;  /* NULL: has no such key, the size follows from others */
    const char *eps, *activation;
} forms[] = {
    {"llama", "llama", "LlamaForCausalLM", "num_hidden_layers", "hidden_size", "num_attention_heads",
     "intermediate_size", "max_position_embeddings", "rms_norm_eps", "hidden_act"},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", "num_hidden_layers", "hidden_size", "num_attention_heads",
     "intermediate_size", "max_position_embeddings", "rms_norm_eps", "hidden_act"},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", "num_hidden_layers", "hidden_size", "num_attention_heads",
     "intermediate_size", "max_position_embeddings", "rms_norm_eps", "hidden_act"},
    {"gemma3", "gemma3_text", "Gemma3ForCausalLM", "num_hidden_layers", "hidden_size", "num_attention_heads",
     "intermediate_size", "max_position_embeddings", "rms_norm_eps", "hidden_activation"},
    {"gpt2", "gpt2", "GPT2LMHeadModel", "n_layer", "n_embd", "n_head", "n_inner", "n_positions", "layer_norm_epsilon",
     "activation_function"},
    {"gpt_neox", "gpt_neox", "GPTNeoXForCausalLM", "num_hidden_layers", "hidden_size", "num_attention_heads",
     "intermediate_size", "max_position_embeddings", "layer_norm_eps", "hidden_act"},
    {"bloom", "bloom", "BloomForCausalLM", "n_layer", "hidden_size", "n_head", NULL, "seq_length", "layer_norm_epsilon",
     NULL},
    {"opt", "opt", "OPTForCausalLM", "num_hidden_layers", "hidden_size", "num_attention_heads", "ffn_dim",
     "max_position_embeddings", NULL, "activation_function"},
};

static const char *const activation_names[] = {
    [ACT_SILU] = "silu", [ACT_GELU_TANH] = "gelu_pytorch_tanh", [ACT_GELU_ERF] = "gelu", [ACT_RELU] = "relu",
};

static bool is(const struct model_desc *d, const char *arch)
{
    return !strcmp(d->arch, arch);
}

static bool is_llama_like(const struct model_desc *d)
{
    return is(d, "llama") || !strncmp(d->arch, "qwen", 4) || is(d, "gemma3");
}

bool desc_fused_qkv(const struct model_desc *d)
{
    return is(d, "gpt2") || is(d, "gpt_neox") || is(d, "bloom");
}

bool desc_emulates_positions(const struct model_desc *d)
{
    enum position_kind own = desc_positions(d->arch);
    return d->positions != own && ((own == POSITION_ROTARY && d->positions == POSITION_NONE && !is(d, "gemma3")) ||
           (own == POSITION_LEARNED && (d->positions == POSITION_NONE || d->positions == POSITION_SINUSOIDAL)));
}

static void set(json_t *object, const char *key, json_t *value)
{
    json_object_set_new(object, key, value);
}

static void set_int(json_t *object, const char *key, int64_t value)
{
    if (key) set(object, key, json_integer(value));
}

static void set_real(json_t *object, const char *key, double value)
{
    if (key) set(object, key, json_real(value));
}

static void set_text(json_t *object, const char *key, const char *value)
{
    if (key) set(object, key, json_string(value));
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

/* Angles of 1e-12 of the usual ones turn nothing at any length: no positions, for programs that must have some. */
static const double NO_ANGLE = 1e12;

static json_t *scaling_of(const struct model_desc *d, bool scaled)
{
    json_t *rope = json_object();
    if (d->positions == POSITION_NONE) {
        set_text(rope, "rope_type", "linear");
        set_real(rope, "factor", NO_ANGLE);
        return rope;
    }
    static const char *const types[] = {[ROPE_NONE] = "default", [ROPE_LINEAR] = "linear", [ROPE_LLAMA3] = "llama3",
                                        [ROPE_YARN] = "yarn"};
    enum rope_scaling kind = scaled ? d->rope_scaling : ROPE_NONE;
    set_text(rope, "rope_type", types[kind]);
    if (kind == ROPE_NONE) return rope;
    set_real(rope, "factor", d->rope_factor);
    if (kind == ROPE_LINEAR) return rope;
    set_int(rope, "original_max_position_embeddings", (int64_t)d->rope_original_context);
    if (kind == ROPE_LLAMA3) {
        set_real(rope, "low_freq_factor", d->rope_low_freq_factor);
        set_real(rope, "high_freq_factor", d->rope_high_freq_factor);
    } else {
        set_real(rope, "beta_fast", d->rope_beta_fast);
        set_real(rope, "beta_slow", d->rope_beta_slow);
        if (d->rope_attn_factor > 0) set_real(rope, "attention_factor", d->rope_attn_factor);
    }
    return rope;
}

static void write_rotary(json_t *root, const struct model_desc *d)
{
    double theta = d->rope_theta > 0 ? d->rope_theta : 1e4;
    double local = d->rope_theta_local > 0 ? d->rope_theta_local : theta;
    double part = d->rope_dim > 0 ? (double)d->rope_dim / (double)d->head_dim : 1;
    bool scaled = d->positions == POSITION_NONE || d->rope_scaling != ROPE_NONE;
    json_t *full = scaling_of(d, true);
    if (scaled) set(root, "rope_scaling", json_copy(full));   /* version 4 */
    set_real(full, "rope_theta", theta);
    if (is(d, "gpt_neox")) {
        set_real(root, "rotary_emb_base", theta);
        set_real(root, "rotary_pct", part);
        set_real(full, "partial_rotary_factor", part);
    } else {
        set_real(root, "rope_theta", theta);
    }
    if (part < 1 && !is(d, "gpt_neox")) {
        set_real(root, "partial_rotary_factor", part);
        set_real(full, "partial_rotary_factor", part);
    }
    if (!is(d, "gemma3")) {
        set(root, "rope_parameters", full);
        return;
    }
    json_t *sliding = scaling_of(d, d->rope_scaling_local);
    set_real(sliding, "rope_theta", local);
    set_real(root, "rope_local_base_freq", local);
    set(root, "rope_parameters", json_pack("{s:o, s:o}", "full_attention", full, "sliding_attention", sliding));
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

static void write_windows(json_t *root, const struct model_desc *d)
{
    bool qwen = !strncmp(d->arch, "qwen", 4), window = d->window > 0 && d->windowed;
    if (is(d, "llama") && !window) return;
    set(root, "sliding_window", window ? json_integer(d->window) : json_null());
    if (qwen) set(root, "use_sliding_window", json_boolean(window));
    if (is(d, "llama")) return;
    int64_t first = 0;   /* version 4 of Qwen: the first layer with a window */
    json_t *kinds = json_array();
    for (int64_t i = 0; i < d->n_layers; i++) {
        bool windowed = window && d->windowed[i];
        json_array_append_new(kinds, json_string(windowed ? "sliding_attention" : "full_attention"));
        if (!windowed && first == i) first = i + 1;
    }
    set(root, "layer_types", kinds);
    if (qwen) set_int(root, "max_window_layers", first);
}

/* ---- what single architectures add ------------------------------------------------------------------------------- */

static void write_details(json_t *root, const struct model_desc *d)
{
    if (is_llama_like(d)) {
        set_int(root, "num_key_value_heads", d->n_kv_heads);
        if (!is(d, "qwen2")) set_int(root, "head_dim", d->head_dim);
    }
    if (is(d, "gpt_neox")) set(root, "use_parallel_residual", json_boolean(d->parallel_residual));
    if (is(d, "opt")) {
        set_int(root, "word_embed_proj_dim", d->d_model);
        set(root, "do_layer_norm_before", json_true());
    }
    if (is(d, "gpt2")) set(root, "scale_attn_weights", json_boolean(d->attn_scale != 1 || d->head_dim == 1));
    if (!is(d, "gemma3")) return;
    double scalar = d->attn_scale > 0 ? 1 / (d->attn_scale * d->attn_scale) : (double)d->head_dim;
    if (fabs(scalar - round(scalar)) < 1e-9 * scalar)   /* a whole number, as Transformers has it */
        set_int(root, "query_pre_attn_scalar", (int64_t)round(scalar));
    else
        set_real(root, "query_pre_attn_scalar", scalar);
    if (d->attn_soft_cap > 0) set_real(root, "attn_logit_softcapping", d->attn_soft_cap);
    if (d->logit_soft_cap > 0) set_real(root, "final_logit_softcapping", d->logit_soft_cap);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* Sizes that the classes of Transformers cannot be told. */
static bool is_foreign(const struct model_desc *d)
{
    bool square = d->n_heads * d->head_dim == d->d_model && d->n_kv_heads == d->n_heads;
    if (d->positions != desc_positions(d->arch) && !desc_emulates_positions(d)) return true;
    if (is(d, "qwen2")) return d->n_heads * d->head_dim != d->d_model;
    if (is(d, "bloom")) return !square || d->d_ff != 4 * d->d_model || d->alibi_max_bias != 8;
    return !is_llama_like(d) && !square;
}

static const struct hf_form *form_of(const struct model_desc *d)
{
    for (size_t i = 0; i < COUNT_OF(forms); i++)
        if (is(d, forms[i].arch)) return &forms[i];
    return NULL;
}

snellen_status config_write(const struct model_desc *d, const char *dtype, int32_t bos, int32_t eos, char **text,
                            bool *foreign, snellen_error *err)
{
    const struct hf_form *f = form_of(d);
    FAIL_IF(!f, SNELLEN_E_UNSUPPORTED, "config.json: no form for architecture '%s'", d->arch);
    FAIL_IF(!is(d, "gemma3") && d->logit_soft_cap + d->attn_soft_cap > 0, SNELLEN_E_UNSUPPORTED,
            "config.json: a %s model with soft caps has no form there", d->arch);
    *foreign = is_foreign(d);
    json_t *root = json_object();
    bool mistral = is(d, "llama") && d->window > 0;
    const char *type = mistral ? "mistral" : f->model_type;
    if (*foreign)
        set(root, "model_type", json_sprintf("snellen_%s", type));
    else
        set_text(root, "model_type", type);
    if (!*foreign) set(root, "architectures", json_pack("[s]", mistral ? "MistralForCausalLM" : f->class));
    set_int(root, f->layers, d->n_layers);
    set_int(root, f->width, d->d_model);
    set_int(root, f->heads, d->n_heads);
    set_int(root, f->ff, d->d_ff);
    set_int(root, f->context, d->n_context);
    set_int(root, "vocab_size", d->n_vocab);
    set_real(root, f->eps, d->norm_eps);
    set_text(root, f->activation, activation_names[d->activation]);
    set(root, "tie_word_embeddings", json_boolean(d->tied_output));
    set_text(root, "dtype", dtype);
    set_text(root, "torch_dtype", dtype);   /* version 4 */
    set(root, "bos_token_id", bos < 0 ? json_null() : json_integer(bos));
    set(root, "eos_token_id", eos < 0 ? json_null() : json_integer(eos));
    if (d->positions != desc_positions(d->arch)) set_text(root, "snellen_positions", position_names[d->positions]);
    if (desc_positions(d->arch) == POSITION_ROTARY || d->positions == POSITION_ROTARY) write_rotary(root, d);
    if (is_llama_like(d)) write_windows(root, d);
    write_details(root, d);
    *text = json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17));
    json_decref(root);
    FAIL_IF(!*text, SNELLEN_E_MEMORY, "config.json: memory ran out");
    return SNELLEN_OK;
}
