/* Hugging Face folders: canonical names and shapes of all architectures, what is put in another order, shards. */
#include "format/format.h"
#include "format/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static snellen_error err;
static const char *golden;

/* ---- the eight golden folders ------------------------------------------------------------------------------------ */

struct expected {
    const char *arch, *hf;          /* canonical arch, folder */
    size_t n_tensors;
    int64_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_context;
    const char *tensors;            /* of layer 1 beside norms, and global ones: name [shape], in words */
};

static const struct expected all_expected[] = {
    {"llama", "llama", 30, 3, 32, 4, 2, 8, 88, 2048,
     "token_embd.weight 101 32;output.weight 101 32;output_norm.weight 32;blk.1.attn_norm.weight 32;"
     "blk.1.attn_q.weight 32 32;blk.1.attn_k.weight 16 32;blk.1.attn_v.weight 16 32;blk.1.attn_output.weight 32 32;"
     "blk.1.ffn_norm.weight 32;blk.1.ffn_gate.weight 88 32;blk.1.ffn_up.weight 88 32;blk.1.ffn_down.weight 32 88"},
    {"qwen2", "qwen2", 38, 3, 32, 4, 1, 8, 88, 32768,
     "token_embd.weight 101 32;output_norm.weight 32;blk.1.attn_norm.weight 32;blk.1.attn_q.weight 32 32;"
     "blk.1.attn_k.weight 8 32;blk.1.attn_v.weight 8 32;blk.1.attn_q.bias 32;blk.1.attn_k.bias 8;blk.1.attn_v.bias 8;"
     "blk.1.attn_output.weight 32 32;blk.1.ffn_norm.weight 32;blk.1.ffn_gate.weight 88 32;blk.1.ffn_up.weight 88 32;"
     "blk.1.ffn_down.weight 32 88"},
    {"qwen3", "qwen3", 35, 3, 32, 4, 2, 16, 88, 32768,
     "token_embd.weight 101 32;output_norm.weight 32;blk.1.attn_norm.weight 32;blk.1.attn_q.weight 64 32;"
     "blk.1.attn_k.weight 32 32;blk.1.attn_v.weight 32 32;blk.1.attn_output.weight 32 64;blk.1.attn_q_norm.weight 16;"
     "blk.1.attn_k_norm.weight 16;blk.1.ffn_norm.weight 32;blk.1.ffn_gate.weight 88 32;blk.1.ffn_up.weight 88 32;"
     "blk.1.ffn_down.weight 32 88"},
    {"gemma3", "gemma3", 80, 6, 32, 4, 1, 16, 64, 131072,
     "token_embd.weight 101 32;output_norm.weight 32;blk.1.attn_norm.weight 32;blk.1.attn_q.weight 64 32;"
     "blk.1.attn_k.weight 16 32;blk.1.attn_v.weight 16 32;blk.1.attn_output.weight 32 64;blk.1.attn_q_norm.weight 16;"
     "blk.1.attn_k_norm.weight 16;blk.1.post_attention_norm.weight 32;blk.1.ffn_norm.weight 32;"
     "blk.1.post_ffw_norm.weight 32;blk.1.ffn_gate.weight 64 32;blk.1.ffn_up.weight 64 32;blk.1.ffn_down.weight 32 64"},
    {"gpt2", "gpt2", 40, 3, 32, 4, 4, 8, 128, 64,
     "token_embd.weight 101 32;position_embd.weight 64 32;output_norm.weight 32;output_norm.bias 32;"
     "blk.1.attn_norm.weight 32;blk.1.attn_norm.bias 32;blk.1.attn_qkv.weight 96 32;blk.1.attn_qkv.bias 96;"
     "blk.1.attn_output.weight 32 32;blk.1.attn_output.bias 32;blk.1.ffn_norm.weight 32;blk.1.ffn_norm.bias 32;"
     "blk.1.ffn_up.weight 128 32;blk.1.ffn_up.bias 128;blk.1.ffn_down.weight 32 128;blk.1.ffn_down.bias 32"},
    {"gpt_neox", "gpt_neox", 40, 3, 32, 4, 4, 8, 128, 2048,
     "token_embd.weight 101 32;output.weight 101 32;output_norm.weight 32;output_norm.bias 32;blk.1.attn_norm.weight 32;"
     "blk.1.attn_norm.bias 32;blk.1.attn_qkv.weight 96 32;blk.1.attn_qkv.bias 96;blk.1.attn_output.weight 32 32;"
     "blk.1.attn_output.bias 32;blk.1.ffn_norm.weight 32;blk.1.ffn_norm.bias 32;blk.1.ffn_up.weight 128 32;"
     "blk.1.ffn_up.bias 128;blk.1.ffn_down.weight 32 128;blk.1.ffn_down.bias 32"},
    {"bloom", "bloom", 41, 3, 32, 4, 4, 8, 128, 2048,
     "token_embd.weight 101 32;token_embd_norm.weight 32;token_embd_norm.bias 32;output_norm.weight 32;"
     "output_norm.bias 32;blk.1.attn_norm.weight 32;blk.1.attn_norm.bias 32;blk.1.attn_qkv.weight 96 32;"
     "blk.1.attn_qkv.bias 96;blk.1.attn_output.weight 32 32;blk.1.attn_output.bias 32;blk.1.ffn_norm.weight 32;"
     "blk.1.ffn_norm.bias 32;blk.1.ffn_up.weight 128 32;blk.1.ffn_up.bias 128;blk.1.ffn_down.weight 32 128;"
     "blk.1.ffn_down.bias 32"},
    {"opt", "opt", 52, 3, 32, 4, 4, 8, 96, 64,
     "token_embd.weight 101 32;position_embd.weight 64 32;output_norm.weight 32;output_norm.bias 32;"
     "blk.1.attn_norm.weight 32;blk.1.attn_norm.bias 32;blk.1.attn_q.weight 32 32;blk.1.attn_q.bias 32;"
     "blk.1.attn_k.weight 32 32;blk.1.attn_k.bias 32;blk.1.attn_v.weight 32 32;blk.1.attn_v.bias 32;"
     "blk.1.attn_output.weight 32 32;blk.1.attn_output.bias 32;blk.1.ffn_norm.weight 32;blk.1.ffn_norm.bias 32;"
     "blk.1.ffn_up.weight 96 32;blk.1.ffn_up.bias 96;blk.1.ffn_down.weight 32 96;blk.1.ffn_down.bias 32"},
};

static struct model_file *open_golden(const char *arch)
{
    char path[4096];
    struct model_file *f = NULL;
    snprintf(path, sizeof path, "%s/%s", golden, arch);
    if (model_file_open(path, &f, &err)) fail_msg("%s", err.message);
    return f;
}

/* "name d0 d1" */
static void expect_tensor(const struct model_file *f, const char *line, size_t n)
{
    char text[128], name[128];
    long long d0 = 0, d1 = 0;
    snprintf(text, sizeof text, "%.*s", (int)n, line);
    int n_dims = sscanf(text, "%127s %lld %lld", name, &d0, &d1) - 1;
    const struct tensor *t = model_file_find(f, name);
    if (!t) fail_msg("%s: no tensor '%s'", f->path, name);
    assert_int_equal(t->type, DT_F32);
    assert_int_equal(t->n_dims, n_dims);
    assert_int_equal(t->shape[0], d0);
    if (n_dims == 2) assert_int_equal(t->shape[1], d1);
    assert_int_equal(t->n_bytes, 4 * d0 * (n_dims == 2 ? d1 : 1));
}

static void golden_folders_have_the_canonical_tensors(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(all_expected); i++) {
        const struct expected *e = &all_expected[i];
        struct model_file *f = open_golden(e->hf);
        assert_string_equal(f->desc.arch, e->arch);
        assert_string_equal(f->container, "safetensors");
        assert_string_equal(f->folder, f->path);
        assert_int_equal(f->n_tensors, e->n_tensors);
        for (const char *line = e->tensors; *line;) {
            size_t n = strcspn(line, ";");
            expect_tensor(f, line, n);
            line += n + (line[n] == ';');
        }
        const struct model_desc *d = &f->desc;
        assert_int_equal(d->n_layers, e->n_layers);
        assert_int_equal(d->d_model, e->d_model);
        assert_int_equal(d->n_heads, e->n_heads);
        assert_int_equal(d->n_kv_heads, e->n_kv_heads);
        assert_int_equal(d->head_dim, e->head_dim);
        assert_int_equal(d->d_ff, e->d_ff);
        assert_int_equal(d->n_vocab, 101);
        assert_int_equal(d->n_context, e->n_context);
        assert_false(d->rope_interleaved);
        model_file_close(f);
    }
}

/* ---- what changes, against the bytes in the file ----------------------------------------------------------------- */

static struct safetensors *open_raw(const char *arch)
{
    char path[4096];
    struct safetensors *s = NULL;
    snprintf(path, sizeof path, "%s/%s/model.safetensors", golden, arch);
    if (safetensors_open(path, &s, &err)) fail_msg("%s", err.message);
    return s;
}

static const float *raw_floats(const struct safetensors *s, const char *name)
{
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    uint64_t n_bytes;
    if (!safetensors_raw(s, name, &type, &n_dims, &shape, &data, &n_bytes)) fail_msg("no '%s'", name);
    return data;
}

static const float *canonical_floats(const struct model_file *f, const char *name)
{
    const struct tensor *t = model_file_find(f, name);
    if (!t) fail_msg("no '%s'", name);
    return t->data;
}

static void gpt2_matrices_are_transposed(void **state)
{
    (void)state;
    struct model_file *f = open_golden("gpt2");
    struct safetensors *s = open_raw("gpt2");
    const float *raw = raw_floats(s, "transformer.h.2.attn.c_attn.weight");  /* [32, 96] */
    const float *qkv = canonical_floats(f, "blk.2.attn_qkv.weight");         /* [96, 32] */
    for (int i = 0; i < 32; i++)
        for (int j = 0; j < 96; j++) assert_true(qkv[j * 32 + i] == raw[i * 96 + j]);
    raw = raw_floats(s, "transformer.h.0.mlp.c_proj.weight");                /* [128, 32] */
    const float *down = canonical_floats(f, "blk.0.ffn_down.weight");        /* [32, 128] */
    for (int i = 0; i < 128; i++)
        for (int j = 0; j < 32; j++) assert_true(down[j * 128 + i] == raw[i * 32 + j]);
    assert_memory_equal(canonical_floats(f, "blk.2.attn_qkv.bias"), raw_floats(s, "transformer.h.2.attn.c_attn.bias"),
                        96 * 4);
    assert_memory_equal(canonical_floats(f, "token_embd.weight"), raw_floats(s, "transformer.wte.weight"), 101 * 32 * 4);
    safetensors_close(s);
    model_file_close(f);
}

static void fused_rows_are_unwoven(void **state)
{
    (void)state;
    static const struct {
        const char *arch, *stem;
    } cases[] = {{"gpt_neox", "gpt_neox.layers.1.attention.query_key_value"},
                 {"bloom", "transformer.h.1.self_attention.query_key_value"}};
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        struct model_file *f = open_golden(cases[c].arch);
        struct safetensors *s = open_raw(cases[c].arch);
        char name[128];
        snprintf(name, sizeof name, "%s.weight", cases[c].stem);
        const float *raw = raw_floats(s, name), *w = canonical_floats(f, "blk.1.attn_qkv.weight");
        snprintf(name, sizeof name, "%s.bias", cases[c].stem);
        const float *raw_bias = raw_floats(s, name), *bias = canonical_floats(f, "blk.1.attn_qkv.bias");
        for (int head = 0; head < 4; head++)
            for (int part = 0; part < 3; part++)
                for (int i = 0; i < 8; i++) {
                    int from = (head * 3 + part) * 8 + i, to = part * 32 + head * 8 + i;
                    assert_memory_equal(w + to * 32, raw + from * 32, 32 * 4);
                    assert_true(bias[to] == raw_bias[from]);
                }
        safetensors_close(s);
        model_file_close(f);
    }
}

static void norms_of_gemma_and_positions_of_opt(void **state)
{
    (void)state;
    static const char *const norms[][2] = {
        {"blk.3.attn_norm.weight", "model.layers.3.input_layernorm.weight"},
        {"blk.3.post_attention_norm.weight", "model.layers.3.post_attention_layernorm.weight"},
        {"blk.3.ffn_norm.weight", "model.layers.3.pre_feedforward_layernorm.weight"},
        {"blk.3.post_ffw_norm.weight", "model.layers.3.post_feedforward_layernorm.weight"},
        {"blk.3.attn_q_norm.weight", "model.layers.3.self_attn.q_norm.weight"},
        {"blk.3.attn_k_norm.weight", "model.layers.3.self_attn.k_norm.weight"},
        {"output_norm.weight", "model.norm.weight"},
    };
    struct model_file *f = open_golden("gemma3");
    struct safetensors *s = open_raw("gemma3");
    for (size_t i = 0; i < COUNT_OF(norms); i++) {
        const float *w = canonical_floats(f, norms[i][0]), *raw = raw_floats(s, norms[i][1]);
        for (int j = 0; j < 16; j++) assert_true(w[j] == 1 + raw[j]);
    }
    safetensors_close(s);
    model_file_close(f);
    f = open_golden("opt");
    s = open_raw("opt");
    assert_memory_equal(canonical_floats(f, "position_embd.weight"),
                        raw_floats(s, "model.decoder.embed_positions.weight") + 2 * 32, 64 * 32 * 4);
    assert_memory_equal(canonical_floats(f, "blk.0.ffn_norm.weight"),
                        raw_floats(s, "model.decoder.layers.0.final_layer_norm.weight"), 32 * 4);
    assert_memory_equal(canonical_floats(f, "output_norm.weight"), raw_floats(s, "model.decoder.final_layer_norm.weight"),
                        32 * 4);
    safetensors_close(s);
    model_file_close(f);
    f = open_golden("llama");
    s = open_raw("llama");
    assert_memory_equal(canonical_floats(f, "blk.2.ffn_norm.weight"),
                        raw_floats(s, "model.layers.2.post_attention_layernorm.weight"), 32 * 4);
    safetensors_close(s);
    model_file_close(f);
}

/* ---- folders made here ------------------------------------------------------------------------------------------- */

/* A tensor of the test's own files: entry i is i / 8, exact in all three types. */
struct made {
    const char *name, *type;
    int n_dims;
    int64_t shape[4];
};

static void write_weights(const char *path, const struct made *tensors, size_t n)
{
    struct safetensors_spec specs[8];
    struct safetensors_writer *w;
    assert_true(n <= COUNT_OF(specs));
    for (size_t i = 0; i < n; i++) {
        specs[i] = (struct safetensors_spec){.name = tensors[i].name, .type = tensors[i].type,
                                             .n_dims = tensors[i].n_dims};
        memcpy(specs[i].shape, tensors[i].shape, sizeof specs[i].shape);
    }
    assert_int_equal(safetensors_writer_new(path, specs, n, &w, &err), SNELLEN_OK);
    for (size_t i = 0; i < n; i++) {
        int64_t elements = 1;
        for (int j = 0; j < specs[i].n_dims; j++) elements *= specs[i].shape[j];
        for (int64_t j = 0; j < elements; j++) {
            float x = (float)j / 8;
            uint16_t f16 = f32_to_f16(x), bf16 = f32_to_bf16(x);
            uint8_t byte = (uint8_t)j;
            bool is_f32 = !strcmp(specs[i].type, "F32"), is_f8 = !strncmp(specs[i].type, "F8", 2);
            const void *bytes = is_f32 ? (void *)&x : is_f8 ? (void *)&byte : strcmp(specs[i].type, "F16") ? &bf16 : &f16;
            uint64_t size = is_f32 ? 4 : is_f8 ? 1 : 2;
            assert_int_equal(safetensors_writer_put(w, i, (uint64_t)j * size, bytes, size, &err), SNELLEN_OK);
        }
    }
    assert_int_equal(safetensors_writer_commit(w, &err), SNELLEN_OK);
}

static void write_text(const char *path, const char *text)
{
    assert_int_equal(file_write_atomic(path, text, strlen(text), &err), SNELLEN_OK);
}

static void clear_folder(const char *folder)
{
    static const char *const names[] = {"config.json", "model.safetensors", "model.safetensors.index.json",
                                        "a.safetensors", "b.safetensors", "tokenizer.json"};
    char path[256];
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    assert_int_equal(folder_make(folder, &err), SNELLEN_OK);
}

#define SIZES "\"num_hidden_layers\": 1, \"hidden_size\": 4, \"num_attention_heads\": 2, \"intermediate_size\": 6"
#define N(t) (sizeof(t) / sizeof((t)[0]))

static void reads_other_prefixes_and_types(void **state)
{
    (void)state;
    static const struct made gpt2[] = {
        {"wte.weight", "F16", 2, {9, 4}},
        {"h.0.attn.c_attn.weight", "F16", 2, {4, 12}},
        {"h.0.attn.bias", "F32", 4, {1, 1, 3, 3}},  /* a mask */
        {"h.0.attn.masked_bias", "F32", 0, {0}},
    };
    clear_folder("made");
    write_text("made/config.json", "{\"model_type\": \"gpt2\", " SIZES "}");
    write_weights("made/model.safetensors", gpt2, N(gpt2));
    struct model_file *f;
    if (model_file_open("made/", &f, &err)) fail_msg("%s", err.message);
    assert_string_equal(f->path, "made");
    assert_int_equal(f->n_tensors, 2);
    assert_int_equal(f->desc.n_vocab, 9);  /* config.json does not say; the embedding does */
    const struct tensor *t = model_file_find(f, "blk.0.attn_qkv.weight");
    assert_true(t && t->type == DT_F16 && t->shape[0] == 12 && t->shape[1] == 4);
    const uint16_t *halves = t->data;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 12; j++) assert_true(f16_to_f32(halves[j * 4 + i]) == (float)(i * 12 + j) / 8);
    model_file_close(f);

    static const struct made gemma[] = {
        {"model.language_model.embed_tokens.weight", "BF16", 2, {9, 4}},
        {"language_model.model.layers.0.input_layernorm.weight", "BF16", 1, {4}},
        {"language_model.model.layers.0.pre_feedforward_layernorm.weight", "F16", 1, {4}},
        {"lm_head.weight", "BF16", 2, {9, 4}},  /* tied */
        {"model.vision_tower.layers.0.input_layernorm.weight", "F8_E4M3", 1, {4}},
        {"vision_tower.vision_model.embeddings.weight", "F32", 1, {4}},
    };
    write_text("made/config.json",
               "{\"model_type\": \"gemma3\", \"text_config\": {" SIZES ", \"num_key_value_heads\": 1}}");
    write_weights("made/model.safetensors", gemma, N(gemma));
    if (model_file_open("made", &f, &err)) fail_msg("%s", err.message);
    assert_int_equal(f->n_tensors, 3);
    t = model_file_find(f, "blk.0.attn_norm.weight");
    assert_true(t && t->type == DT_F32 && t->n_bytes == 16);
    for (int i = 0; i < 4; i++) assert_true(((const float *)t->data)[i] == 1 + (float)i / 8);
    t = model_file_find(f, "blk.0.ffn_norm.weight");
    assert_true(t && t->type == DT_F32 && ((const float *)t->data)[3] == 1.375f);
    assert_int_equal(model_file_find(f, "token_embd.weight")->type, DT_BF16);
    model_file_close(f);
}

static void reads_shards(void **state)
{
    (void)state;
    static const struct made a[] = {{"model.embed_tokens.weight", "F32", 2, {9, 4}},
                                    {"model.norm.weight", "F32", 1, {4}}};
    static const struct made b[] = {{"model.layers.0.mlp.up_proj.weight", "BF16", 2, {6, 4}},
                                    {"lm_head.weight", "F32", 2, {9, 4}}};
    clear_folder("made");
    write_text("made/config.json", "{\"model_type\": \"llama\", \"vocab_size\": 9, " SIZES "}");
    write_weights("made/a.safetensors", a, N(a));
    write_weights("made/b.safetensors", b, N(b));
    write_text("made/model.safetensors.index.json",
               "{\"metadata\": {}, \"weight_map\": {\"model.embed_tokens.weight\": \"a.safetensors\", "
               "\"model.layers.0.mlp.up_proj.weight\": \"b.safetensors\", \"model.norm.weight\": \"a.safetensors\", "
               "\"lm_head.weight\": \"b.safetensors\"}}");
    struct model_file *f;
    if (model_file_open("made", &f, &err)) fail_msg("%s", err.message);
    assert_int_equal(f->n_tensors, 4);
    assert_non_null(model_file_find(f, "token_embd.weight"));
    assert_non_null(model_file_find(f, "blk.0.ffn_up.weight"));
    assert_non_null(model_file_find(f, "output.weight"));
    char before[33], after[33];
    assert_int_equal(model_file_hash(f, before, &err), SNELLEN_OK);
    assert_int_equal(strlen(before), 32);
    write_text("made/tokenizer.json", "{}");  /* decides answers as well */
    assert_int_equal(model_file_hash(f, after, &err), SNELLEN_OK);
    assert_string_not_equal(before, after);
    write_text("made/tokenizer.json", "[]");  /* other bytes, same length */
    assert_int_equal(model_file_hash(f, before, &err), SNELLEN_OK);
    assert_string_not_equal(before, after);
    write_text("made/tokenizer.json", "{}");
    assert_int_equal(model_file_hash(f, before, &err), SNELLEN_OK);
    assert_string_equal(before, after);
    write_text("made/README.md", "does not");
    assert_int_equal(model_file_hash(f, before, &err), SNELLEN_OK);
    assert_string_equal(before, after);
    unlink("made/README.md");
    model_file_close(f);

    unlink("made/b.safetensors");
    assert_int_equal(model_file_open("made", &f, &err), SNELLEN_E_IO);
    assert_non_null(strstr(err.message, "b.safetensors"));
    write_weights("made/b.safetensors", a, N(a));
    assert_int_equal(model_file_open("made", &f, &err), SNELLEN_E_FORMAT);
    assert_non_null(strstr(err.message, "is there twice"));
    static const char *const names[] = {"../a.safetensors", "/etc/passwd", "..", "", "a/b", "a\\u001b"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char index[256];
        snprintf(index, sizeof index, "{\"weight_map\": {\"model.norm.weight\": \"%s\"}}", names[i]);
        write_text("made/model.safetensors.index.json", index);
        assert_int_equal(model_file_open("made", &f, &err), SNELLEN_E_FORMAT);
        assert_non_null(strstr(err.message, "a file in the same folder expected"));
    }
}

static void says_what_is_wrong_with_a_folder(void **state)
{
    (void)state;
    static const struct {
        const char *model_type;
        struct made made;
        snellen_status status;
        const char *part;
    } wrong[] = {
        {"llama", {"model.norm.weight", "F8_E4M3", 1, {4}}, SNELLEN_E_UNSUPPORTED, "its type F8_E4M3 is not supported"},
        {"llama", {"model.norm.weight", "F32", 0, {0}}, SNELLEN_E_FORMAT, "not a weight"},
        {"opt", {"model.decoder.project_in.weight", "F32", 2, {4, 2}}, SNELLEN_E_UNSUPPORTED, "project_in"},
        {"opt", {"model.decoder.embed_positions.weight", "F32", 2, {2, 4}}, SNELLEN_E_FORMAT, "more than two rows"},
        {"gpt2", {"h.0.attn.c_attn.weight", "F32", 1, {4}}, SNELLEN_E_FORMAT, "2 expected"},
        {"gpt_neox", {"gpt_neox.layers.0.attention.query_key_value.weight", "F32", 2, {9, 4}}, SNELLEN_E_FORMAT,
         "9 rows, 3 x 2 heads x 2 expected"},
        {"gemma3_text", {"model.norm.weight", "F32", 2, {2, 2}}, SNELLEN_E_FORMAT, "1 expected"},
        {"llama", {"something.else.weight", "F32", 1, {4}}, SNELLEN_E_FORMAT, "token embeddings"},
    };
    struct model_file *f;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char config[512];
        clear_folder("made");
        snprintf(config, sizeof config, "{\"model_type\": \"%s\", \"head_dim\": 2, \"rotary_pct\": 1, "
                 "\"num_key_value_heads\": 2, " SIZES "}", wrong[i].model_type);
        write_text("made/config.json", config);
        write_weights("made/model.safetensors", &wrong[i].made, 1);
        snellen_status status = model_file_open("made", &f, &err);
        if (status != wrong[i].status || !strstr(err.message, wrong[i].part))
            fail_msg("%s: status %d, '%s'; '%s' expected", wrong[i].made.name, status, status ? err.message : "",
                     wrong[i].part);
    }
    clear_folder("made");
    assert_int_equal(model_file_open("made", &f, &err), SNELLEN_E_IO);
    assert_non_null(strstr(err.message, "without config.json"));
    write_text("made/config.json", "{\"model_type\": \"llama\", " SIZES "}");
    assert_int_equal(model_file_open("made", &f, &err), SNELLEN_E_IO);
    assert_non_null(strstr(err.message, "neither model.safetensors nor model.safetensors.index.json"));
    assert_int_equal(model_file_open("made/config.json", &f, &err), SNELLEN_E_FORMAT);
    assert_non_null(strstr(err.message, "not a GGUF file"));
    assert_int_equal(model_file_open("made/model.safetensors", &f, &err), SNELLEN_E_USAGE);
}

int main(int argc, char **argv)
{
    golden = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_folders_have_the_canonical_tensors),
        cmocka_unit_test(gpt2_matrices_are_transposed),
        cmocka_unit_test(fused_rows_are_unwoven),
        cmocka_unit_test(norms_of_gemma_and_positions_of_opt),
        cmocka_unit_test(reads_other_prefixes_and_types),
        cmocka_unit_test(reads_shards),
        cmocka_unit_test(says_what_is_wrong_with_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
