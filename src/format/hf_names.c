/* Names of tensors in Hugging Face folders: one table an architecture, '#' stands for the number of the layer. Reading
 * goes through it from left to right, writing from right to left. */
#include "format/hf_names.h"

#include <string.h>

struct rule {
    const char *hf, *canonical;
    enum hf_change change;      /* of the weight; */
    enum hf_change bias_change; /* of the bias */
};

static const struct rule llama_rules[] = {  /* also mistral, qwen2, qwen3 */
    {.hf = "embed_tokens", "token_embd"},
    {.hf = "norm", "output_norm"},
    {.hf = "lm_head", "output"},
    {.hf = "layers.#.input_layernorm", "blk.#.attn_norm"},
    {.hf = "layers.#.self_attn.q_proj", "blk.#.attn_q"},
    {.hf = "layers.#.self_attn.k_proj", "blk.#.attn_k"},
    {.hf = "layers.#.self_attn.v_proj", "blk.#.attn_v"},
    {.hf = "layers.#.self_attn.o_proj", "blk.#.attn_output"},
    {.hf = "layers.#.self_attn.q_norm", "blk.#.attn_q_norm"},
    {.hf = "layers.#.self_attn.k_norm", "blk.#.attn_k_norm"},
    {.hf = "layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {.hf = "layers.#.mlp.gate_proj", "blk.#.ffn_gate"},
    {.hf = "layers.#.mlp.up_proj", "blk.#.ffn_up"},
    {.hf = "layers.#.mlp.down_proj", "blk.#.ffn_down"},
    {0},
};

static const struct rule gemma3_rules[] = {
    {.hf = "embed_tokens", "token_embd"},
    {.hf = "norm", "output_norm", HF_PLUS_ONE},
    {.hf = "lm_head", "output"},
    {.hf = "layers.#.input_layernorm", "blk.#.attn_norm", HF_PLUS_ONE},
    {.hf = "layers.#.self_attn.q_proj", "blk.#.attn_q"},
    {.hf = "layers.#.self_attn.k_proj", "blk.#.attn_k"},
    {.hf = "layers.#.self_attn.v_proj", "blk.#.attn_v"},
    {.hf = "layers.#.self_attn.o_proj", "blk.#.attn_output"},
    {.hf = "layers.#.self_attn.q_norm", "blk.#.attn_q_norm", HF_PLUS_ONE},
    {.hf = "layers.#.self_attn.k_norm", "blk.#.attn_k_norm", HF_PLUS_ONE},
    {.hf = "layers.#.post_attention_layernorm", "blk.#.post_attention_norm", HF_PLUS_ONE},
    {.hf = "layers.#.pre_feedforward_layernorm", "blk.#.ffn_norm", HF_PLUS_ONE},
    {.hf = "layers.#.post_feedforward_layernorm", "blk.#.post_ffw_norm", HF_PLUS_ONE},
    {.hf = "layers.#.mlp.gate_proj", "blk.#.ffn_gate"},
    {.hf = "layers.#.mlp.up_proj", "blk.#.ffn_up"},
    {.hf = "layers.#.mlp.down_proj", "blk.#.ffn_down"},
    {0},
};

static const struct rule gpt2_rules[] = {
    {.hf = "wte", "token_embd"},
    {.hf = "wpe", "position_embd"},
    {.hf = "ln_f", "output_norm"},
    {.hf = "lm_head", "output"},
    {.hf = "h.#.ln_1", "blk.#.attn_norm"},
    {.hf = "h.#.attn.c_attn", "blk.#.attn_qkv", HF_TRANSPOSE},
    {.hf = "h.#.attn.c_proj", "blk.#.attn_output", HF_TRANSPOSE},
    {.hf = "h.#.ln_2", "blk.#.ffn_norm"},
    {.hf = "h.#.mlp.c_fc", "blk.#.ffn_up", HF_TRANSPOSE},
    {.hf = "h.#.mlp.c_proj", "blk.#.ffn_down", HF_TRANSPOSE},
    {0},
};

static const struct rule gpt_neox_rules[] = {
    {.hf = "embed_in", "token_embd"},
    {.hf = "final_layer_norm", "output_norm"},
    {.hf = "embed_out", "output"},
    {.hf = "layers.#.input_layernorm", "blk.#.attn_norm"},
    {.hf = "layers.#.attention.query_key_value", "blk.#.attn_qkv", HF_UNWEAVE_QKV, HF_UNWEAVE_QKV},
    {.hf = "layers.#.attention.dense", "blk.#.attn_output"},
    {.hf = "layers.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {.hf = "layers.#.mlp.dense_h_to_4h", "blk.#.ffn_up"},
    {.hf = "layers.#.mlp.dense_4h_to_h", "blk.#.ffn_down"},
    {0},
};

static const struct rule bloom_rules[] = {
    {.hf = "word_embeddings", "token_embd"},
    {.hf = "word_embeddings_layernorm", "token_embd_norm"},
    {.hf = "ln_f", "output_norm"},
    {.hf = "lm_head", "output"},
    {.hf = "h.#.input_layernorm", "blk.#.attn_norm"},
    {.hf = "h.#.self_attention.query_key_value", "blk.#.attn_qkv", HF_UNWEAVE_QKV, HF_UNWEAVE_QKV},
    {.hf = "h.#.self_attention.dense", "blk.#.attn_output"},
    {.hf = "h.#.post_attention_layernorm", "blk.#.ffn_norm"},
    {.hf = "h.#.mlp.dense_h_to_4h", "blk.#.ffn_up"},
    {.hf = "h.#.mlp.dense_4h_to_h", "blk.#.ffn_down"},
    {0},
};

static const struct rule opt_rules[] = {
    {.hf = "embed_tokens", "token_embd"},
    {.hf = "embed_positions", "position_embd", HF_SKIP_TWO},
    {.hf = "final_layer_norm", "output_norm"},
    {.hf = "lm_head", "output"},
    {.hf = "project_in", "project_in", HF_REFUSE},
    {.hf = "project_out", "project_out", HF_REFUSE},
    {.hf = "layers.#.self_attn_layer_norm", "blk.#.attn_norm"},
    {.hf = "layers.#.self_attn.q_proj", "blk.#.attn_q"},
    {.hf = "layers.#.self_attn.k_proj", "blk.#.attn_k"},
    {.hf = "layers.#.self_attn.v_proj", "blk.#.attn_v"},
    {.hf = "layers.#.self_attn.out_proj", "blk.#.attn_output"},
    {.hf = "layers.#.final_layer_norm", "blk.#.ffn_norm"},
    {.hf = "layers.#.fc1", "blk.#.ffn_up"},
    {.hf = "layers.#.fc2", "blk.#.ffn_down"},
    {0},
};

/* In any architecture that was given positions it does not have: no other program knows such models. */
static const struct rule own_rules[] = {
    {.hf = "position_embd", "position_embd"},
    {0},
};

/* `wrapper` stands before all names but that of the output matrix in what the causal language model saves. */
static const struct table {
    const char *arch, *wrapper;
    const struct rule *rules;
} tables[] = {
    {"llama", "model.", llama_rules},          {"qwen2", "model.", llama_rules},
    {"qwen3", "model.", llama_rules},          {"gemma3", "model.", gemma3_rules},
    {"gpt2", "transformer.", gpt2_rules},      {"gpt_neox", "gpt_neox.", gpt_neox_rules},
    {"bloom", "transformer.", bloom_rules},    {"opt", "model.decoder.", opt_rules},
};

static const struct table *table_of(const char *arch)
{
    for (size_t i = 0; i < COUNT_OF(tables); i++)
        if (!strcmp(tables[i].arch, arch)) return &tables[i];
    return NULL;
}

/* What wraps the decoder differs with the class that was saved; the names below it do not. */
static const char *without_wrappers(const char *name)
{
    static const char *const wrappers[] = {"language_model.", "model.", "transformer.", "decoder.", "gpt_neox."};
    for (size_t i = 0; i < COUNT_OF(wrappers); i++) {
        size_t n = strlen(wrappers[i]);
        if (strncmp(name, wrappers[i], n)) continue;
        name += n;
        i = (size_t)-1;
    }
    return name;
}

/* True when the n bytes of name match the pattern; a number in the place of '#' is digits[0..n_digits). */
static bool rule_matches(const char *pattern, const char *name, size_t n, const char **digits, int *n_digits)
{
    size_t i = 0;
    *n_digits = 0;
    for (; *pattern; pattern++) {
        if (*pattern != '#') {
            if (i == n || name[i++] != *pattern) return false;
            continue;
        }
        *digits = name + i;
        while (i < n && name[i] >= '0' && name[i] <= '9') i++, ++*n_digits;
        if (*n_digits < 1 || *n_digits > 4 || (*n_digits > 1 && **digits == '0')) return false;
    }
    return i == n;
}

/* Through an architecture's rules and then our own; NULL past the last one. */
static const struct rule *next_rule(const struct rule *r)
{
    r++;
    if (r->hf) return r;
    return r == &own_rules[COUNT_OF(own_rules) - 1] ? NULL : own_rules;
}

/* The pattern with its '#' replaced by the digits, and the suffix. */
static void fill_in(char out[HF_NAME_BYTES], const char *wrapper, const char *pattern, const char *digits, int n_digits,
                    const char *suffix)
{
    int before = (int)strcspn(pattern, "#");
    const char *after = pattern[before] ? pattern + before + 1 : "";
    snprintf(out, HF_NAME_BYTES, "%s%.*s%.*s%s%s", wrapper, before, pattern, n_digits, digits, after, suffix);
}

/* ".weight" or ".bias" at the end of a name; NULL when it ends otherwise. */
static const char *suffix_of(const char *name)
{
    const char *suffix = strrchr(name, '.');
    return suffix && (!strcmp(suffix, ".weight") || !strcmp(suffix, ".bias")) ? suffix : NULL;
}

static enum hf_change change_of(const struct rule *r, const char *suffix)
{
    return strcmp(suffix, ".bias") || r->change == HF_REFUSE ? r->change : r->bias_change;
}

bool hf_name(const struct model_desc *desc, const char *name, char canonical[HF_NAME_BYTES], enum hf_change *change)
{
    name = without_wrappers(name);
    const char *suffix = suffix_of(name);
    const struct table *table = table_of(desc->arch);
    if (!suffix || !table) return false;
    for (const struct rule *r = table->rules; r; r = next_rule(r)) {
        const char *digits = "";
        int n_digits;
        if (!rule_matches(r->hf, name, (size_t)(suffix - name), &digits, &n_digits)) continue;
        if (desc->tied_output && !strcmp(r->canonical, "output")) return false;
        fill_in(canonical, "", r->canonical, digits, n_digits, suffix);
        *change = change_of(r, suffix);
        return true;
    }
    return false;
}

bool hf_name_of(const struct model_desc *desc, const char *canonical, char name[HF_NAME_BYTES], enum hf_change *change)
{
    const char *suffix = suffix_of(canonical);
    const struct table *table = table_of(desc->arch);
    if (!suffix || !table) return false;
    for (const struct rule *r = table->rules; r; r = next_rule(r)) {
        const char *digits = "";
        int n_digits;
        if (!rule_matches(r->canonical, canonical, (size_t)(suffix - canonical), &digits, &n_digits)) continue;
        fill_in(name, strcmp(r->canonical, "output") ? table->wrapper : "", r->hf, digits, n_digits, suffix);
        *change = change_of(r, suffix);
        return true;
    }
    return false;
}
