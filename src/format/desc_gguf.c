/* The description of a model from the keys of its GGUF file. Keys that are not there keep the defaults that such files
 * are written with; keys of the wrong kind are errors. */
#include "format/inner.h"

#include <math.h>
#include <string.h>

enum { LONGEST_NAME = 96, GEMMA_PERIOD = 6, GEMMA_27B_LAYERS = 62 };

struct keys {
    const struct gguf *g;
    const char *arch, *file;   /* arch as the file spells it: the first part of its keys */
};

/* The architectures by the name that GGUF files use, and what all their models share. */
static const struct gguf_arch {
    const char *gguf, *name;
    enum activation activation;
    bool interleaved;           /* rotary pairs (2i, 2i + 1): the rows of q and k were permuted by the converter */
    double theta;               /* rotary base when the file gives none; 0 = no rotary positions */
} archs[] = {
    {"llama", "llama", ACT_SILU, true, 10000},
    {"qwen2", "qwen2", ACT_SILU, false, 10000},
    {"qwen3", "qwen3", ACT_SILU, false, 10000},
    {"gemma3", "gemma3", ACT_GELU_TANH, false, 1e6},
    {"gpt2", "gpt2", ACT_GELU_TANH, false, 0},
    {"gptneox", "gpt_neox", ACT_GELU_ERF, false, 10000},
    {"bloom", "bloom", ACT_GELU_TANH, false, 0},
    {"opt", "opt", ACT_RELU, false, 0},  /* written here; llama.cpp has none */
};

static const char *key_name(char buffer[LONGEST_NAME], const struct keys *k, const char *rest)
{
    snprintf(buffer, LONGEST_NAME, "%s.%s", k->arch, rest);
    return buffer;
}

static bool key_there(const struct keys *k, const char *key)
{
    int64_t i;
    double d;
    bool b;
    const char *text;
    size_t n;
    uint64_t count;
    return gguf_int(k->g, key, &i) || gguf_float(k->g, key, &d) || gguf_bool(k->g, key, &b) ||
           gguf_text(k->g, key, &text, &n) || gguf_array(k->g, key, &count);
}

/* Each of these leaves *out alone when the key is not there. */
static snellen_status key_int(const struct keys *k, const char *rest, int64_t *out, snellen_error *err)
{
    char key[LONGEST_NAME];
    if (gguf_int(k->g, key_name(key, k, rest), out)) return SNELLEN_OK;
    FAIL_IF(key_there(k, key), SNELLEN_E_FORMAT, "%s: key '%s': a whole number expected", k->file, key);
    return SNELLEN_OK;
}

static snellen_status key_float(const struct keys *k, const char *rest, double *out, snellen_error *err)
{
    char key[LONGEST_NAME];
    if (gguf_float(k->g, key_name(key, k, rest), out)) return SNELLEN_OK;
    FAIL_IF(key_there(k, key), SNELLEN_E_FORMAT, "%s: key '%s': a number expected", k->file, key);
    return SNELLEN_OK;
}

static snellen_status key_bool(const struct keys *k, const char *rest, bool *out, snellen_error *err)
{
    char key[LONGEST_NAME];
    if (gguf_bool(k->g, key_name(key, k, rest), out)) return SNELLEN_OK;
    FAIL_IF(key_there(k, key), SNELLEN_E_FORMAT, "%s: key '%s': true or false expected", k->file, key);
    return SNELLEN_OK;
}

/* A number, or an array with one for each layer; they must all be the same. */
static snellen_status key_int_each(const struct keys *k, const char *rest, int64_t *out, snellen_error *err)
{
    char key[LONGEST_NAME];
    uint64_t n;
    if (!gguf_array(k->g, key_name(key, k, rest), &n)) return key_int(k, rest, out, err);
    for (uint64_t i = 0; i < n; i++) {
        int64_t value, first;
        FAIL_IF(!gguf_array_int(k->g, key, i, &value) || !gguf_array_int(k->g, key, 0, &first), SNELLEN_E_FORMAT,
                "%s: key '%s': whole numbers expected", k->file, key);
        FAIL_IF(value != first, SNELLEN_E_UNSUPPORTED, "%s: key '%s': differs between layers (%lld and %lld), which is "
                "not supported", k->file, key, (long long)first, (long long)value);
        *out = value;
    }
    return SNELLEN_OK;
}

static snellen_status key_missing(const struct keys *k, const char *rest, snellen_error *err)
{
    FAIL(SNELLEN_E_FORMAT, "%s: key '%s.%s' is missing", k->file, k->arch, rest);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------- */

static snellen_status read_vocabulary(const struct keys *k, struct model_desc *d, snellen_error *err)
{
    const struct tensor *tensors;
    size_t n = gguf_tensors(k->g, &tensors);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(tensors[i].name, "token_embd.weight")) continue;
        d->n_vocab = tensors[i].shape[0];
        return SNELLEN_OK;
    }
    FAIL(SNELLEN_E_FORMAT, "%s: tensor 'token_embd.weight' is missing", k->file);
}

static snellen_status read_sizes(const struct keys *k, struct model_desc *d, snellen_error *err)
{
    const struct {
        const char *key;
        int64_t *value;
        bool needed;
    } sizes[] = {
        {"block_count", &d->n_layers, true},
        {"embedding_length", &d->d_model, true},
        {"context_length", &d->n_context, true},
        {"attention.head_count", &d->n_heads, true},
        {"feed_forward_length", &d->d_ff, true},
        {"attention.head_count_kv", &d->n_kv_heads, false},
        {"attention.key_length", &d->head_dim, false},
    };
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        TRY(key_int_each(k, sizes[i].key, sizes[i].value, err));
        if (sizes[i].needed && *sizes[i].value == 0) return key_missing(k, sizes[i].key, err);
    }
    if (d->n_kv_heads == 0) d->n_kv_heads = d->n_heads;
    if (d->head_dim == 0) {
        FAIL_IF(d->n_heads < 1 || d->d_model % d->n_heads, SNELLEN_E_FORMAT,
                "%s: width %lld does not divide into %lld heads", k->file, (long long)d->d_model,
                (long long)d->n_heads);
        d->head_dim = d->d_model / d->n_heads;
    }
    int64_t value_length = d->head_dim, n_experts = 0;
    TRY(key_int(k, "attention.value_length", &value_length, err));
    FAIL_IF(value_length != d->head_dim, SNELLEN_E_UNSUPPORTED,
            "%s: values of width %lld beside keys of width %lld are not supported", k->file, (long long)value_length,
            (long long)d->head_dim);
    TRY(key_int(k, "expert_count", &n_experts, err));
    FAIL_IF(n_experts > 0, SNELLEN_E_UNSUPPORTED, "%s: a mixture of %lld experts is not supported", k->file,
            (long long)n_experts);
    return read_vocabulary(k, d, err);
}

/* ---- rotary positions -------------------------------------------------------------------------------------------- */

static bool text_is(const char *text, size_t n, const char *other)
{
    return n == strlen(other) && !memcmp(text, other, n);
}

static snellen_status read_scaling_kind(const struct keys *k, struct model_desc *d, snellen_error *err)
{
    char key[LONGEST_NAME], shown[SHOWN_BYTES];
    const char *text;
    size_t n;
    TRY(key_float(k, "rope.scale_linear", &d->rope_factor, err));  /* files of 2023 */
    TRY(key_float(k, "rope.scaling.factor", &d->rope_factor, err));
    if (!gguf_text(k->g, key_name(key, k, "rope.scaling.type"), &text, &n)) {
        d->rope_scaling = d->rope_factor > 0 && d->rope_factor != 1 ? ROPE_LINEAR : ROPE_NONE;
        return SNELLEN_OK;
    }
    if (text_is(text, n, "none") || text_is(text, n, ""))
        d->rope_scaling = ROPE_NONE;
    else if (text_is(text, n, "linear"))
        d->rope_scaling = ROPE_LINEAR;
    else if (text_is(text, n, "yarn"))
        d->rope_scaling = ROPE_YARN;
    else
        FAIL(SNELLEN_E_UNSUPPORTED, "%s: rotary scaling '%s' is not supported", k->file, name_shown(shown, text, n));
    return SNELLEN_OK;
}

static snellen_status read_rotary(const struct keys *k, struct model_desc *d, snellen_error *err)
{
    TRY(key_float(k, "rope.freq_base", &d->rope_theta, err));
    TRY(key_float(k, "rope.freq_base_swa", &d->rope_theta_local, err));
    TRY(key_int(k, "rope.dimension_count", &d->rope_dim, err));
    TRY(read_scaling_kind(k, d, err));
    d->rope_original_context = (double)d->n_context;
    d->rope_beta_fast = 32;
    d->rope_beta_slow = 1;
    double attn_factor = 1;
    TRY(key_float(k, "rope.scaling.original_context_length", &d->rope_original_context, err));
    TRY(key_float(k, "rope.scaling.yarn_beta_fast", &d->rope_beta_fast, err));
    TRY(key_float(k, "rope.scaling.yarn_beta_slow", &d->rope_beta_slow, err));
    TRY(key_float(k, "rope.scaling.attn_factor", &attn_factor, err));
    TRY(key_float(k, "rope.scaling.yarn_attn_factor", &attn_factor, err));
    /* In these files the factor multiplies yarn's own one, in config.json it replaces it. */
    if (d->rope_scaling == ROPE_YARN && attn_factor != 1)
        d->rope_attn_factor = attn_factor * (d->rope_factor > 1 ? 0.1 * log(d->rope_factor) + 1 : 1);
    return SNELLEN_OK;
}

/* Models that were made here may have other positions than their architecture's own. */
static snellen_status read_positions(const struct keys *k, struct model_desc *d, snellen_error *err)
{
    const char *name;
    char shown[SHOWN_BYTES];
    size_t n;
    d->positions = desc_positions(d->arch);
    if (gguf_text(k->g, "snellen.positions", &name, &n)) {
        d->positions = position_named(name, n);
        FAIL_IF(d->positions == POSITION_COUNT, SNELLEN_E_UNSUPPORTED,
                "%s: 'snellen.positions' = '%s' is not supported", k->file, name_shown(shown, name, n));
    }
    if (d->positions == POSITION_ALIBI) d->alibi_max_bias = 8;
    if (d->positions != POSITION_ROTARY) {
        d->rope_theta = 0;
        return SNELLEN_OK;
    }
    if (d->rope_theta == 0) d->rope_theta = 1e4;
    return read_rotary(k, d, err);
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* Which layers have the window: `period` p means that layers p-1, 2p-1 .. see everything, 1 that all have it. */
static snellen_status read_windows(const struct keys *k, struct model_desc *d, int64_t period, struct arena *arena,
                                   snellen_error *err)
{
    TRY(key_int(k, "attention.sliding_window", &d->window, err));
    if (d->window <= 0) {
        d->window = 0;
        return SNELLEN_OK;
    }
    TRY(desc_windows(d, arena, k->file, err));
    char key[LONGEST_NAME];
    uint64_t n;
    if (gguf_array(k->g, key_name(key, k, "attention.sliding_window_pattern"), &n)) {
        FAIL_IF(n != (uint64_t)d->n_layers, SNELLEN_E_FORMAT, "%s: key '%s': %llu entries, one for each of %lld layers "
                "expected", k->file, key, (unsigned long long)n, (long long)d->n_layers);
        for (uint64_t i = 0; i < n; i++) {
            int64_t value;
            FAIL_IF(!gguf_array_int(k->g, key, i, &value), SNELLEN_E_FORMAT,
                    "%s: key '%s': true or false expected for each layer", k->file, key);
            d->windowed[i] = value != 0;
        }
        return SNELLEN_OK;
    }
    TRY(key_int(k, "attention.sliding_window_pattern", &period, err));
    FAIL_IF(period < 1, SNELLEN_E_FORMAT, "%s: key '%s': %lld, at least 1 expected", k->file, key, (long long)period);
    for (int64_t i = 0; i < d->n_layers; i++) d->windowed[i] = period == 1 || (i + 1) % period != 0;
    return SNELLEN_OK;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static void finish_gemma3(struct model_desc *d)
{
    /* Only the 27B model scales attention by its width a head instead of the head's own; its files do not say so. */
    if (d->attn_scale == 0 && d->n_layers == GEMMA_27B_LAYERS)
        d->attn_scale = 1 / sqrt((double)d->d_model / (double)d->n_heads);
    d->embedding_scale = sqrt((double)d->d_model);
    if (d->rope_theta_local == 0 && d->rope_theta > 0) d->rope_theta_local = 10000;
    d->rope_scaling_local = false;
}

/* Large models come in several files, each with a share of the tensors. */
static snellen_status refuse_split(const struct gguf *g, const char *file, snellen_error *err)
{
    int64_t n_files = 1;
    FAIL_IF(gguf_int(g, "split.count", &n_files) && n_files > 1, SNELLEN_E_UNSUPPORTED,
            "%s: one of %lld files of a split model, which is not supported; join them into one", file,
            (long long)n_files);
    return SNELLEN_OK;
}

static snellen_status find_arch(const struct gguf *g, const char *file, const struct gguf_arch **arch,
                                snellen_error *err)
{
    const char *text;
    size_t n;
    FAIL_IF(!gguf_text(g, "general.architecture", &text, &n), SNELLEN_E_FORMAT,
            "%s: key 'general.architecture' is missing", file);
    size_t prefix = n > 8 && !memcmp(text, "snellen-", 8) ? 8 : 0;   /* made here, of a kind that only we run */
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        if (text_is(text + prefix, n - prefix, archs[i].gguf)) {
            *arch = &archs[i];
            return SNELLEN_OK;
        }
    char shown[SHOWN_BYTES];
    FAIL(SNELLEN_E_UNSUPPORTED, "%s: architecture '%s' is not supported", file, name_shown(shown, text, n));
}

snellen_status desc_from_gguf(const struct gguf *g, const char *file, struct arena *arena, struct model_desc *d,
                              snellen_error *err)
{
    const struct gguf_arch *arch = NULL;
    TRY(find_arch(g, file, &arch, err));
    TRY(refuse_split(g, file, err));
    const char *text;
    size_t n;
    char spelled[32];   /* the first part of all keys */
    gguf_text(g, "general.architecture", &text, &n);
    snprintf(spelled, sizeof spelled, "%s%s", n > strlen(arch->gguf) ? "snellen-" : "", arch->gguf);
    struct keys k = {g, spelled, file};
    *d = (struct model_desc){.activation = arch->activation, .rope_interleaved = arch->interleaved,
                             .rope_theta = arch->theta, .norm_eps = 1e-5, .rope_scaling_local = true};
    snprintf(d->arch, sizeof d->arch, "%s", arch->name);
    bool gemma3 = !strcmp(d->arch, "gemma3"), causal = true;
    TRY(read_sizes(&k, d, err));
    TRY(key_float(&k, "attention.layer_norm_epsilon", &d->norm_eps, err));
    TRY(key_float(&k, "attention.layer_norm_rms_epsilon", &d->norm_eps, err));
    TRY(read_positions(&k, d, err));
    TRY(key_float(&k, "attention.max_alibi_bias", &d->alibi_max_bias, err));
    TRY(read_windows(&k, d, gemma3 ? GEMMA_PERIOD : 1, arena, err));
    TRY(key_float(&k, "attention.scale", &d->attn_scale, err));
    TRY(key_float(&k, "attn_logit_softcapping", &d->attn_soft_cap, err));
    TRY(key_float(&k, "final_logit_softcapping", &d->logit_soft_cap, err));
    TRY(key_bool(&k, "attention.causal", &causal, err));
    FAIL_IF(!causal, SNELLEN_E_UNSUPPORTED, "%s: attention to later tokens is not supported", file);
    if (!strcmp(d->arch, "gpt_neox")) {
        d->parallel_residual = true;
        TRY(key_bool(&k, "use_parallel_residual", &d->parallel_residual, err));
    }
    if (gemma3 && d->n_heads > 0) finish_gemma3(d);
    return desc_check(d, file, err);
}
