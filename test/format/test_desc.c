/* Descriptions: config.json in its current and older forms, GGUF keys, and what is refused by name. */
#include "gguf_bytes.h"

#include "format/inner.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static snellen_error err;
static const char *golden;
static struct arena arena;

#define BASE "\"num_hidden_layers\": 8, \"hidden_size\": 64, \"num_attention_heads\": 4, \"intermediate_size\": 96, " \
             "\"vocab_size\": 500, "

/* The description of config.json with these lines after BASE. */
static struct model_desc config(const char *model_type, const char *more)
{
    char json[4096];
    struct model_desc d;
    snprintf(json, sizeof json, "{" BASE "\"model_type\": \"%s\"%s%s}", model_type, *more ? ", " : "", more);
    if (desc_from_config(json, strlen(json), "config.json", &arena, &d, &err)) fail_msg("%s: %s", json, err.message);
    return d;
}

static void refuse(const char *model_type, const char *more, snellen_status expected, const char *part)
{
    char json[4096];
    struct model_desc d;
    snprintf(json, sizeof json, "{" BASE "\"model_type\": \"%s\"%s%s}", model_type, *more ? ", " : "", more);
    snellen_status status = desc_from_config(json, strlen(json), "config.json", &arena, &d, &err);
    if (status != expected || !strstr(err.message, part))
        fail_msg("%s: status %d, '%s'; '%s' expected", json, status, status ? err.message : "", part);
    assert_memory_equal(err.message, "config.json: ", 13);
}

/* "1101..": which layers have the window; "" = none. */
static void expect_windows(const struct model_desc *d, const char *pattern)
{
    if (!*pattern) {
        assert_int_equal(d->window, 0);
        assert_null(d->windowed);
        return;
    }
    assert_int_equal(d->n_layers, strlen(pattern));
    for (int64_t i = 0; i < d->n_layers; i++) assert_int_equal(d->windowed[i], pattern[i] == '1');
}

static void expect_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 1e-6 * fabs(expected))) fail_msg("%.9g found, %.9g expected", value, expected);
}

/* ---- config.json ------------------------------------------------------------------------------------------------- */

static void golden_details(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        enum activation activation;
        double norm_eps, theta, local, attn_scale, embedding_scale, alibi;
        int64_t rope_dim, window;
        bool parallel, tied;
    } all[] = {
        {"llama", ACT_SILU, 1e-6, 1e4, 0, 0, 0, 0, 0, 0, false, false},
        {"qwen2", ACT_SILU, 1e-6, 1e4, 0, 0, 0, 0, 0, 0, false, true},
        {"qwen3", ACT_SILU, 1e-6, 1e4, 0, 0, 0, 0, 0, 0, false, true},
        {"gemma3", ACT_GELU_TANH, 1e-6, 1e6, 1e4, 0.25, 5.656854249, 0, 0, 8, false, true},
        {"gpt2", ACT_GELU_TANH, 1e-5, 0, 0, 0, 0, 0, 0, 0, false, true},
        {"gpt_neox", ACT_GELU_ERF, 1e-5, 1e4, 0, 0, 0, 0, 2, 0, true, false},
        {"bloom", ACT_GELU_TANH, 1e-5, 0, 0, 0, 0, 8, 0, 0, false, true},
        {"opt", ACT_RELU, 1e-5, 0, 0, 0, 0, 0, 0, 0, false, true},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        char path[4096], *json;
        size_t n;
        struct model_desc d;
        snprintf(path, sizeof path, "%s/%s/config.json", golden, all[i].arch);
        assert_int_equal(file_read(path, 1 << 20, &json, &n, &err), SNELLEN_OK);
        assert_int_equal(desc_from_config(json, n, path, &arena, &d, &err), SNELLEN_OK);
        mem_free(json);
        assert_string_equal(d.arch, all[i].arch);
        assert_int_equal(d.activation, all[i].activation);
        expect_near(d.norm_eps, all[i].norm_eps);
        expect_near(d.rope_theta, all[i].theta);
        expect_near(d.rope_theta_local, all[i].local);
        expect_near(d.attn_scale, all[i].attn_scale);
        expect_near(d.embedding_scale, all[i].embedding_scale);
        expect_near(d.alibi_max_bias, all[i].alibi);
        assert_int_equal(d.rope_dim, all[i].rope_dim);
        assert_int_equal(d.window, all[i].window);
        assert_int_equal(d.parallel_residual, all[i].parallel);
        assert_int_equal(d.tied_output, all[i].tied);
        assert_int_equal(d.rope_scaling, ROPE_NONE);
        expect_windows(&d, all[i].window ? "111110" : "");
    }
}

static void rotary_bases_and_parts(void **state)
{
    (void)state;
    struct model_desc d = config("llama", "\"rope_theta\": 500000");
    expect_near(d.rope_theta, 5e5);
    assert_int_equal(d.rope_dim, 0);
    d = config("llama", "\"rope_parameters\": {\"rope_theta\": 2e5, \"rope_type\": \"default\"}, \"rope_theta\": 1");
    expect_near(d.rope_theta, 2e5);
    d = config("llama", "\"rope_theta\": null, \"rope_scaling\": null, \"partial_rotary_factor\": 0.5");
    expect_near(d.rope_theta, 1e4);
    assert_int_equal(d.rope_dim, 8);
    d = config("gpt_neox", "\"rotary_pct\": 0.5, \"rotary_emb_base\": 25000, \"use_parallel_residual\": false");
    expect_near(d.rope_theta, 25000);
    assert_int_equal(d.rope_dim, 8);
    assert_false(d.parallel_residual);
    d = config("gpt_neox", "");
    assert_int_equal(d.rope_dim, 4);
    assert_true(d.parallel_residual);
    refuse("llama", "\"partial_rotary_factor\": 1.5", SNELLEN_E_FORMAT, "share of a head");
    refuse("llama", "\"rope_theta\": \"x\"", SNELLEN_E_FORMAT, "'rope_theta': a number expected");
    refuse("llama", "\"rope_theta\": 0.5", SNELLEN_E_FORMAT, "rotary base");
    refuse("gpt_neox", "\"rotary_pct\": 0.2", SNELLEN_E_FORMAT, "an even number expected");
}

static void rotary_scalings(void **state)
{
    (void)state;
    struct model_desc d = config("llama", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}");
    assert_int_equal(d.rope_scaling, ROPE_LINEAR);
    expect_near(d.rope_factor, 4);
    assert_true(d.rope_scaling_local);
    static const char llama3[] = "{\"rope_type\": \"llama3\", \"factor\": 32.0, \"low_freq_factor\": 1.0, "
                                 "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192, "
                                 "\"rope_theta\": 500000.0}";
    static const char *const keys[] = {"rope_scaling", "rope_parameters"};  /* the old and the new place */
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        char more[512];
        snprintf(more, sizeof more, "\"rope_theta\": 500000.0, \"%s\": %s", keys[i], llama3);
        d = config("llama", more);
        assert_int_equal(d.rope_scaling, ROPE_LLAMA3);
        expect_near(d.rope_theta, 5e5);
        expect_near(d.rope_factor, 32);
        expect_near(d.rope_low_freq_factor, 1);
        expect_near(d.rope_high_freq_factor, 4);
        expect_near(d.rope_original_context, 8192);
    }
    d = config("qwen2", "\"max_position_embeddings\": 32768, \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, "
                        "\"original_max_position_embeddings\": 16384}");
    assert_int_equal(d.rope_scaling, ROPE_YARN);
    expect_near(d.rope_original_context, 16384);
    expect_near(d.rope_beta_fast, 32);
    expect_near(d.rope_beta_slow, 1);
    expect_near(d.rope_attn_factor, 0);
    d = config("qwen3", "\"max_position_embeddings\": 32768, \"rope_parameters\": {\"rope_type\": \"yarn\", "
                        "\"original_max_position_embeddings\": 8192, \"attention_factor\": 1.25, \"beta_fast\": 16, "
                        "\"beta_slow\": 2}");
    expect_near(d.rope_factor, 4);  /* from the two contexts */
    expect_near(d.rope_attn_factor, 1.25);
    expect_near(d.rope_beta_fast, 16);
    d = config("llama", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 40, \"mscale\": 1.0, "
                        "\"mscale_all_dim\": 0.5}");
    expect_near(d.rope_attn_factor, (0.1 * log(40) + 1) / (0.05 * log(40) + 1));
    static const char *const unsupported[] = {"dynamic", "longrope", "su", "mrope", "proportional"};
    for (size_t i = 0; i < COUNT_OF(unsupported); i++) {
        char more[256], part[64];
        snprintf(more, sizeof more, "\"rope_scaling\": {\"type\": \"%s\", \"factor\": 2}", unsupported[i]);
        snprintf(part, sizeof part, "rotary scaling '%s' is not supported", unsupported[i]);
        refuse("llama", more, SNELLEN_E_UNSUPPORTED, part);
    }
    refuse("qwen2", "\"rope_scaling\": {\"type\": \"default\", \"mrope_section\": [1, 2, 3]}", SNELLEN_E_UNSUPPORTED,
           "'mrope'");
    refuse("llama", "\"rope_scaling\": {\"type\": \"linear\"}", SNELLEN_E_FORMAT, "'factor' is missing");
    refuse("llama", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": -1}", SNELLEN_E_FORMAT, "not positive");
    refuse("llama", "\"rope_scaling\": {\"type\": \"llama3\", \"factor\": 2}", SNELLEN_E_FORMAT, "frequency factors");
    refuse("llama", "\"rope_scaling\": 7", SNELLEN_E_FORMAT, "'rope_scaling': an object expected");
    refuse("llama", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2, \"truncate\": false}", SNELLEN_E_UNSUPPORTED,
           "'truncate' = false");
}

static void sliding_windows(void **state)
{
    (void)state;
    struct model_desc d = config("mistral", "\"sliding_window\": 32, \"num_key_value_heads\": 2");
    assert_string_equal(d.arch, "llama");
    assert_int_equal(d.window, 32);
    expect_windows(&d, "11111111");
    d = config("mistral", "\"sliding_window\": null, \"num_key_value_heads\": 2");
    expect_windows(&d, "");
    d = config("llama", "\"sliding_window\": 32");  /* the class has no such thing */
    expect_windows(&d, "");
    d = config("qwen2", "\"sliding_window\": 32, \"use_sliding_window\": false, \"max_window_layers\": 3");
    expect_windows(&d, "");
    d = config("qwen2", "\"sliding_window\": 32, \"use_sliding_window\": true, \"max_window_layers\": 3");
    assert_int_equal(d.window, 32);
    expect_windows(&d, "00011111");
    d = config("qwen3", "\"sliding_window\": 32, \"use_sliding_window\": true, \"layer_types\": [\"full_attention\", "
                        "\"sliding_attention\", \"full_attention\", \"sliding_attention\", \"full_attention\", "
                        "\"full_attention\", \"full_attention\", \"sliding_attention\"]");
    expect_windows(&d, "01010001");
    d = config("gemma3_text", "\"sliding_window\": 16");
    expect_windows(&d, "11111011");
    d = config("gemma3_text", "\"sliding_window\": 16, \"sliding_window_pattern\": 3");
    expect_windows(&d, "11011011");
    refuse("gemma3_text", "\"sliding_window_pattern\": 0", SNELLEN_E_FORMAT, "'sliding_window_pattern'");
    refuse("gemma3_text", "\"layer_types\": [\"full_attention\"]", SNELLEN_E_FORMAT, "one name for each of 8 layers");
    refuse("mistral", "\"sliding_window\": -4, \"num_key_value_heads\": 2", SNELLEN_E_FORMAT, "sliding window");
    refuse("gemma3_text", "\"layer_types\": [\"chunked_attention\", \"\", \"\", \"\", \"\", \"\", \"\", \"\"]",
           SNELLEN_E_UNSUPPORTED, "'chunked_attention'");
}

static void gemma_in_all_its_forms(void **state)
{
    (void)state;
    struct model_desc d = config("gemma3_text", "\"rope_theta\": 2e6, \"rope_local_base_freq\": 5000, \"head_dim\": 32, "
                                                "\"query_pre_attn_scalar\": 64, \"final_logit_softcapping\": 30.0, "
                                                "\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8.0}");
    expect_near(d.rope_theta, 2e6);
    expect_near(d.rope_theta_local, 5000);
    assert_int_equal(d.rope_scaling, ROPE_LINEAR);
    assert_false(d.rope_scaling_local);
    expect_near(d.attn_scale, 0.125);
    expect_near(d.embedding_scale, 8);
    expect_near(d.logit_soft_cap, 30);
    assert_int_equal(d.head_dim, 32);
    assert_int_equal(d.n_kv_heads, 4);
    d = config("gemma3_text", "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8.0, "
                              "\"rope_theta\": 3e6}, \"sliding_attention\": {\"rope_type\": \"default\", "
                              "\"rope_theta\": 7000}}");
    expect_near(d.rope_theta, 3e6);
    expect_near(d.rope_theta_local, 7000);
    assert_int_equal(d.rope_scaling, ROPE_LINEAR);
    assert_false(d.rope_scaling_local);
    refuse("gemma3_text", "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}, "
                          "\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2}}", SNELLEN_E_UNSUPPORTED,
           "differs between windowed and other layers");
    /* The language part of a model with images, as its makers wrote it: most sizes are the defaults of the class. */
    static const char wrapped[] = "{\"model_type\": \"gemma3\", \"vision_config\": {\"hidden_size\": 1152}, "
        "\"text_config\": {\"hidden_size\": 2560, \"intermediate_size\": 10240, \"model_type\": \"gemma3_text\", "
        "\"num_hidden_layers\": 34, \"rope_scaling\": {\"factor\": 8.0, \"rope_type\": \"linear\"}, "
        "\"sliding_window\": 1024}}";
    assert_int_equal(desc_from_config(wrapped, strlen(wrapped), "x", &arena, &d, &err), SNELLEN_OK);
    assert_string_equal(d.arch, "gemma3");
    assert_int_equal(d.n_layers, 34);
    assert_int_equal(d.n_heads, 8);
    assert_int_equal(d.n_kv_heads, 4);
    assert_int_equal(d.head_dim, 256);
    assert_int_equal(d.window, 1024);
    assert_int_equal(d.n_vocab, 0);
    expect_near(d.attn_scale, 1.0 / 16);
    assert_true(d.tied_output);
    refuse("gemma3_text", "\"use_bidirectional_attention\": true", SNELLEN_E_UNSUPPORTED, "'use_bidirectional_attention'");
}

static void single_architectures(void **state)
{
    (void)state;
    static const char bloom[] = "{\"model_type\": \"bloom\", \"n_layer\": 2, \"n_embed\": 64, \"num_attention_heads\": 4, "
                                "\"n_inner\": null, \"seq_length\": 77, \"vocab_size\": 9}";
    struct model_desc d;
    assert_int_equal(desc_from_config(bloom, strlen(bloom), "x", &arena, &d, &err), SNELLEN_OK);
    assert_int_equal(d.d_model, 64);
    assert_int_equal(d.d_ff, 256);
    assert_int_equal(d.n_context, 77);
    d = config("gpt2", "\"activation_function\": \"gelu\", \"scale_attn_weights\": false, \"tie_word_embeddings\": false, "
                       "\"n_positions\": 50");
    assert_int_equal(d.activation, ACT_GELU_ERF);
    expect_near(d.attn_scale, 1);
    assert_false(d.tied_output);
    assert_int_equal(d.n_context, 50);
    d = config("llama", "\"num_key_value_heads\": 2, \"head_dim\": 24, \"tie_word_embeddings\": true, "
                        "\"max_position_embeddings\": 4096.0");
    assert_int_equal(d.n_kv_heads, 2);
    assert_int_equal(d.head_dim, 24);
    assert_true(d.tied_output);
    assert_int_equal(d.n_context, 4096);
    refuse("opt", "\"do_layer_norm_before\": false", SNELLEN_E_UNSUPPORTED, "'do_layer_norm_before' = false");
    refuse("opt", "\"word_embed_proj_dim\": 32", SNELLEN_E_UNSUPPORTED, "project_in");
    refuse("bloom", "\"apply_residual_connection_post_layernorm\": true", SNELLEN_E_UNSUPPORTED, "post_layernorm");
    refuse("gpt2", "\"scale_attn_by_inverse_layer_idx\": true", SNELLEN_E_UNSUPPORTED, "inverse_layer_idx");
    refuse("llama", "\"hidden_act\": \"relu2\"", SNELLEN_E_UNSUPPORTED, "'hidden_act' = 'relu2' is not supported");
    refuse("mixtral", "", SNELLEN_E_UNSUPPORTED, "architecture 'mixtral' is not supported");
    refuse("llama", "\"quantization_config\": {\"quant_method\": \"gptq\"}", SNELLEN_E_UNSUPPORTED, "'gptq'");
}

#define SIZES(layers, width, heads, ff)                                                                                \
    "{\"model_type\": \"llama\", \"num_hidden_layers\": " layers ", \"hidden_size\": " width                              \
    ", \"num_attention_heads\": " heads ", \"intermediate_size\": " ff "}"

static void config_numbers_are_bounded(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "{}", "[]", "", "{\"model_type\": 3}", "{\"model_type\": \"llama\"}",
        "{\"model_type\": \"llama\", \"a\": 1, \"a\": 2}",
        SIZES("1025", "4", "2", "6"), SIZES("1", "1000000", "2", "6"), SIZES("1", "5", "2", "6"),
        SIZES("1", "4", "0", "6"), SIZES("1", "4", "2", "null"), SIZES("1.5", "4", "2", "6"),
        SIZES("\"1\"", "4", "2", "6"), SIZES("-1", "4", "2", "6"),
    };
    struct model_desc good;
    const char *json = SIZES("1", "4", "2", "6");
    assert_int_equal(desc_from_config(json, strlen(json), "x", &arena, &good, &err), SNELLEN_OK);
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct model_desc d;
        assert_int_equal(desc_from_config(wrong[i], strlen(wrong[i]), "x", &arena, &d, &err), SNELLEN_E_FORMAT);
    }
    refuse("llama", "\"num_key_value_heads\": 3", SNELLEN_E_FORMAT, "cannot share 3");
    refuse("llama", "\"rms_norm_eps\": -1", SNELLEN_E_FORMAT, "epsilon");
    refuse("llama", "\"max_position_embeddings\": 99999999999", SNELLEN_E_FORMAT, "context");
    refuse("llama", "\"head_dim\": 7", SNELLEN_E_FORMAT, "rotary dimensions: 7, an even number");
}

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

static snellen_status gguf_desc(struct gguf_bytes *b, struct model_desc *d)
{
    size_t n;
    uint8_t *bytes = gguf_bytes_finish(b, &n);
    struct gguf *g;
    if (gguf_parse(bytes, n, "m.gguf", &g, &err)) fail_msg("%s", err.message);
    snellen_status status = desc_from_gguf(g, "m.gguf", &arena, d, &err);
    gguf_close(g);
    mem_free(bytes);
    return status;
}

static void gguf_architectures(void **state)
{
    (void)state;
    static const struct {
        const char *gguf, *arch;
        bool interleaved;
        double theta;
        enum activation activation;
    } all[] = {
        {"llama", "llama", true, 1e4, ACT_SILU}, {"qwen2", "qwen2", false, 1e4, ACT_SILU},
        {"qwen3", "qwen3", false, 1e4, ACT_SILU}, {"gemma3", "gemma3", false, 1e6, ACT_GELU_TANH},
        {"gpt2", "gpt2", false, 0, ACT_GELU_TANH}, {"gptneox", "gpt_neox", false, 1e4, ACT_GELU_ERF},
        {"bloom", "bloom", false, 0, ACT_GELU_TANH},
    };
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        struct gguf_bytes b = {0};
        struct model_desc d;
        gguf_bytes_model(&b, all[i].gguf);
        if (gguf_desc(&b, &d)) fail_msg("%s", err.message);
        assert_string_equal(d.arch, all[i].arch);
        assert_int_equal(d.n_layers, 12);
        assert_int_equal(d.d_model, 8);
        assert_int_equal(d.n_heads, 2);
        assert_int_equal(d.n_kv_heads, 2);
        assert_int_equal(d.head_dim, 4);
        assert_int_equal(d.d_ff, 16);
        assert_int_equal(d.n_vocab, 3);
        assert_int_equal(d.n_context, 64);
        assert_int_equal(d.rope_interleaved, all[i].interleaved);
        expect_near(d.rope_theta, all[i].theta);
        assert_int_equal(d.activation, all[i].activation);
        expect_near(d.alibi_max_bias, !strcmp(all[i].arch, "bloom") ? 8 : 0);
        assert_int_equal(d.parallel_residual, !strcmp(all[i].arch, "gpt_neox"));
        expect_windows(&d, "");
    }
    struct gguf_bytes b = {0};
    struct model_desc d;
    gguf_bytes_model(&b, "phi3");
    assert_int_equal(gguf_desc(&b, &d), SNELLEN_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "architecture 'phi3' is not supported"));
}

static void gguf_details(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    struct model_desc d;
    gguf_bytes_model(&b, "llama");
    gguf_bytes_u32_array(&b, "llama.attention.head_count_kv", (const uint32_t[]){1, 1, 1}, 3);
    gguf_bytes_f32(&b, "llama.attention.layer_norm_rms_epsilon", 1e-3f);
    gguf_bytes_u32(&b, "llama.attention.key_length", 16);
    gguf_bytes_u32(&b, "llama.rope.dimension_count", 8);
    gguf_bytes_f32(&b, "llama.rope.freq_base", 5e5f);
    gguf_bytes_text(&b, "llama.rope.scaling.type", "yarn");
    gguf_bytes_f32(&b, "llama.rope.scaling.factor", 4);
    gguf_bytes_u32(&b, "llama.rope.scaling.original_context_length", 16);
    gguf_bytes_f32(&b, "llama.rope.scaling.attn_factor", 0.5f);
    gguf_bytes_u32(&b, "llama.attention.value_length", 16);
    if (gguf_desc(&b, &d)) fail_msg("%s", err.message);
    assert_int_equal(d.n_kv_heads, 1);
    expect_near(d.norm_eps, (double)1e-3f);
    assert_int_equal(d.head_dim, 16);
    assert_int_equal(d.rope_dim, 8);
    expect_near(d.rope_theta, 5e5);
    assert_int_equal(d.rope_scaling, ROPE_YARN);
    expect_near(d.rope_factor, 4);
    expect_near(d.rope_original_context, 16);
    expect_near(d.rope_attn_factor, 0.5 * (0.1 * log(4) + 1));

    gguf_bytes_model(&b, "gemma3");
    gguf_bytes_u32(&b, "gemma3.attention.sliding_window", 16);
    gguf_bytes_text(&b, "gemma3.rope.scaling.type", "linear");
    gguf_bytes_f32(&b, "gemma3.rope.scaling.factor", 8);
    if (gguf_desc(&b, &d)) fail_msg("%s", err.message);
    assert_int_equal(d.window, 16);
    expect_windows(&d, "111110111110");
    expect_near(d.rope_theta, 1e6);
    expect_near(d.rope_theta_local, 1e4);
    expect_near(d.embedding_scale, sqrt(8));
    assert_int_equal(d.rope_scaling, ROPE_LINEAR);
    assert_false(d.rope_scaling_local);

    gguf_bytes_model(&b, "gemma3");
    gguf_bytes_u32(&b, "gemma3.attention.sliding_window", 16);
    gguf_bytes_u32(&b, "gemma3.attention.sliding_window_pattern", 4);
    if (gguf_desc(&b, &d)) fail_msg("%s", err.message);
    expect_windows(&d, "111011101110");

    gguf_bytes_model(&b, "gemma3");
    gguf_bytes_u32(&b, "gemma3.attention.sliding_window", 16);
    gguf_bytes_u32_array(&b, "gemma3.attention.sliding_window_pattern",
                         (const uint32_t[]){1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 12);
    if (gguf_desc(&b, &d)) fail_msg("%s", err.message);
    expect_windows(&d, "101000000001");

    gguf_bytes_model(&b, "gptneox");
    gguf_bytes_bool(&b, "gptneox.use_parallel_residual", false);
    if (gguf_desc(&b, &d)) fail_msg("%s", err.message);
    assert_false(d.parallel_residual);
}

static void gguf_refusals(void **state)
{
    (void)state;
    struct model_desc d;
    static const struct {
        const char *key, *text;   /* a text, or .. */
        uint32_t value;           /* .. a number */
        snellen_status status;
        const char *part;
    } wrong[] = {
        {"llama.rope.scaling.type", "longrope", 0, SNELLEN_E_UNSUPPORTED, "'longrope'"},
        {"llama.rope.freq_base", "x", 0, SNELLEN_E_FORMAT, "key 'llama.rope.freq_base': a number expected"},
        {"llama.rope.dimension_count", NULL, 3, SNELLEN_E_FORMAT, "even number"},
        {"llama.rope.dimension_count", NULL, 64, SNELLEN_E_FORMAT, "rotary dimensions: 64, 0 to 4 expected"},
        {"llama.attention.head_count_kv", NULL, 4, SNELLEN_E_FORMAT, "key and value heads: 4, 1 to 2 expected"},
        {"llama.attention.value_length", NULL, 9, SNELLEN_E_UNSUPPORTED, "values of width 9"},
        {"split.count", NULL, 3, SNELLEN_E_UNSUPPORTED, "one of 3 files"},
        {"llama.expert_count", NULL, 8, SNELLEN_E_UNSUPPORTED, "8 experts"},
        {"llama.attention.key_length", NULL, 4000000, SNELLEN_E_FORMAT, "width of a head"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct gguf_bytes b = {0};
        gguf_bytes_model(&b, "llama");
        if (wrong[i].text)
            gguf_bytes_text(&b, wrong[i].key, wrong[i].text);
        else
            gguf_bytes_u32(&b, wrong[i].key, wrong[i].value);
        snellen_status status = gguf_desc(&b, &d);
        if (status != wrong[i].status || !strstr(err.message, wrong[i].part))
            fail_msg("%s: status %d, '%s'", wrong[i].key, status, status ? err.message : "");
    }
    struct gguf_bytes b = {0};
    gguf_bytes_model(&b, "llama");
    gguf_bytes_u32_array(&b, "llama.attention.head_count_kv", (const uint32_t[]){1, 2}, 2);
    assert_int_equal(gguf_desc(&b, &d), SNELLEN_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "differs between layers (1 and 2)"));
    gguf_bytes_text(&b, "general.architecture", "llama");
    assert_int_equal(gguf_desc(&b, &d), SNELLEN_E_FORMAT);
    assert_non_null(strstr(err.message, "key 'llama.block_count' is missing"));
}

static int free_arena(void **state)
{
    (void)state;
    arena_free(&arena);
    return 0;
}

int main(int argc, char **argv)
{
    golden = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_details),
        cmocka_unit_test(rotary_bases_and_parts),
        cmocka_unit_test(rotary_scalings),
        cmocka_unit_test(sliding_windows),
        cmocka_unit_test(gemma_in_all_its_forms),
        cmocka_unit_test(single_architectures),
        cmocka_unit_test(config_numbers_are_bounded),
        cmocka_unit_test(gguf_architectures),
        cmocka_unit_test(gguf_details),
        cmocka_unit_test(gguf_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, free_arena);
}
