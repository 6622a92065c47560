/* The keys of a GGUF file that describe a model: the inverse of desc_gguf.c, as llama.cpp reads them. */
#include "format/gguf.h"

#include <math.h>
#include <string.h>

enum { LONGEST_NAME = 96 };

struct target {
    struct gguf_writer *w;
    const struct model_desc *d;
    char arch[48];             /* as the file spells it */
};

static const char *key(char buffer[LONGEST_NAME], const struct target *t, const char *rest)
{
    snprintf(buffer, LONGEST_NAME, "%s.%s", t->arch, rest);
    return buffer;
}

static void put_int(const struct target *t, const char *rest, int64_t value)
{
    char name[LONGEST_NAME];
    gguf_put_int(t->w, key(name, t, rest), value);
}

static void put_float(const struct target *t, const char *rest, double value)
{
    char name[LONGEST_NAME];
    gguf_put_float(t->w, key(name, t, rest), value);
}

static void put_text(const struct target *t, const char *rest, const char *value)
{
    char name[LONGEST_NAME];
    gguf_put_text(t->w, key(name, t, rest), value);
}

static bool is(const struct model_desc *d, const char *arch)
{
    return !strcmp(d->arch, arch);
}

static bool is_foreign(const struct model_desc *d)
{
    if (d->positions != desc_positions(d->arch) && !desc_emulates_positions(d)) return true;
    return is(d, "opt") || (is(d, "bloom") && d->alibi_max_bias != 8);
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static void put_sizes(const struct target *t)
{
    const struct model_desc *d = t->d;
    put_int(t, "block_count", d->n_layers);
    put_int(t, "context_length", d->n_context);
    put_int(t, "embedding_length", d->d_model);
    put_int(t, "feed_forward_length", d->d_ff);
    put_int(t, "attention.head_count", d->n_heads);
    put_int(t, "attention.head_count_kv", d->n_kv_heads);
    put_int(t, "attention.key_length", d->head_dim);
    put_int(t, "attention.value_length", d->head_dim);
    put_int(t, "vocab_size", d->n_vocab);
    bool rms = is(d, "llama") || !strncmp(d->arch, "qwen", 4) || is(d, "gemma3");
    put_float(t, rms ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon", d->norm_eps);
}

/* Frequencies that were scaled as Llama 3 does stand in the tensor rope_freqs.weight. */
static void put_rotary(const struct target *t)
{
    const struct model_desc *d = t->d;
    put_int(t, "rope.dimension_count", d->rope_dim > 0 ? d->rope_dim : d->head_dim);
    put_float(t, "rope.freq_base", d->rope_theta > 0 ? d->rope_theta : 1e4);
    if (d->rope_theta_local > 0) put_float(t, "rope.freq_base_swa", d->rope_theta_local);
    if (d->positions == POSITION_NONE) {   /* see config_write.c */
        put_text(t, "rope.scaling.type", "linear");
        put_float(t, "rope.scaling.factor", 1e12);
        return;
    }
    if (d->rope_scaling != ROPE_LINEAR && d->rope_scaling != ROPE_YARN) return;
    put_text(t, "rope.scaling.type", d->rope_scaling == ROPE_LINEAR ? "linear" : "yarn");
    put_float(t, "rope.scaling.factor", d->rope_factor);
    if (d->rope_scaling == ROPE_LINEAR) return;
    put_int(t, "rope.scaling.original_context_length", (int64_t)d->rope_original_context);
    put_float(t, "rope.scaling.yarn_beta_fast", d->rope_beta_fast);
    put_float(t, "rope.scaling.yarn_beta_slow", d->rope_beta_slow);
    /* In these files the factor multiplies yarn's own one. */
    if (d->rope_attn_factor > 0)
        put_float(t, "rope.scaling.yarn_attn_factor",
                  d->rope_attn_factor / (d->rope_factor > 1 ? 0.1 * log(d->rope_factor) + 1 : 1));
}

static void put_windows(const struct target *t)
{
    const struct model_desc *d = t->d;
    char name[LONGEST_NAME];
    if (d->window <= 0 || !d->windowed) return;
    put_int(t, "attention.sliding_window", d->window);
    gguf_put_array(t->w, key(name, t, "attention.sliding_window_pattern"), GGUF_WRITES_BOOL, (uint64_t)d->n_layers);
    for (int64_t i = 0; i < d->n_layers; i++) gguf_add_bool(t->w, d->windowed[i]);
}

static void put_details(const struct target *t)
{
    const struct model_desc *d = t->d;
    char name[LONGEST_NAME];
    double usual = 1 / sqrt((double)d->head_dim);
    if (d->attn_scale > 0 && fabs(d->attn_scale - usual) > 1e-6 * usual) put_float(t, "attention.scale", d->attn_scale);
    if (d->attn_soft_cap > 0) put_float(t, "attn_logit_softcapping", d->attn_soft_cap);
    if (d->logit_soft_cap > 0) put_float(t, "final_logit_softcapping", d->logit_soft_cap);
    if (is(d, "gpt_neox")) gguf_put_bool(t->w, key(name, t, "use_parallel_residual"), d->parallel_residual);
    if (is(d, "bloom")) put_float(t, "attention.max_alibi_bias", d->alibi_max_bias);
}

/* The numbers of general.file_type. */
static int64_t file_type_number(enum dtype type)
{
    switch (type) {
    case DT_F16: return 1;
    case DT_Q4_0: return 2;
    case DT_Q4_1: return 3;
    case DT_Q8_0: return 7;
    case DT_Q5_0: return 8;
    case DT_Q5_1: return 9;
    case DT_Q2_K: return 10;
    case DT_Q3_K: return 12;
    case DT_Q4_K: return 15;
    case DT_Q5_K: return 17;
    case DT_Q6_K: return 18;
    case DT_BF16: return 32;
    default: return 0;
    }
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

void gguf_put_desc(struct gguf_writer *w, const struct model_desc *d, enum dtype file_type, bool *foreign)
{
    struct target t = {w, d, ""};
    *foreign = is_foreign(d);
    bool own_name = *foreign && !is(d, "opt");
    snprintf(t.arch, sizeof t.arch, "%s%s", own_name ? "snellen-" : "", is(d, "gpt_neox") ? "gptneox" : d->arch);
    gguf_put_text(w, "general.architecture", t.arch);
    gguf_put_text(w, "general.type", "model");
    gguf_put_int(w, "general.file_type", file_type_number(file_type));
    gguf_put_int(w, "general.quantization_version", 2);
    put_sizes(&t);
    if (desc_positions(d->arch) == POSITION_ROTARY || d->positions == POSITION_ROTARY) put_rotary(&t);
    put_windows(&t);
    put_details(&t);
    if (d->positions != desc_positions(d->arch)) gguf_put_text(w, "snellen.positions", position_names[d->positions]);
}
