/* GGUF files in memory, for tests. */
#include "gguf_bytes.h"

#include <stdlib.h>
#include <string.h>

static void put_uint(struct strbuf *b, uint64_t x, int n)
{
    uint8_t bytes[8];
    for (int i = 0; i < n; i++) bytes[i] = (uint8_t)(x >> (8 * i));
    strbuf_put(b, bytes, (size_t)n);
}

void put_u32(struct strbuf *b, uint32_t x)
{
    put_uint(b, x, 4);
}

void put_u64(struct strbuf *b, uint64_t x)
{
    put_uint(b, x, 8);
}

void put_text(struct strbuf *b, const char *text)
{
    put_u64(b, strlen(text));
    strbuf_puts(b, text);
}

void gguf_bytes_key(struct gguf_bytes *g, const char *key, uint32_t kind, const void *value, size_t n)
{
    put_text(&g->keys, key);
    put_u32(&g->keys, kind);
    strbuf_put(&g->keys, value, n);
    g->n_keys++;
}

void gguf_bytes_u32(struct gguf_bytes *g, const char *key, uint32_t value)
{
    gguf_bytes_key(g, key, GGUF_U32, &value, sizeof value);
}

void gguf_bytes_f32(struct gguf_bytes *g, const char *key, float value)
{
    gguf_bytes_key(g, key, GGUF_F32, &value, sizeof value);
}

void gguf_bytes_bool(struct gguf_bytes *g, const char *key, bool value)
{
    uint8_t byte = value;
    gguf_bytes_key(g, key, GGUF_BOOL, &byte, 1);
}

void gguf_bytes_text(struct gguf_bytes *g, const char *key, const char *value)
{
    struct strbuf b = {0};
    put_text(&b, value);
    gguf_bytes_key(g, key, GGUF_TEXT, b.text, b.n);
    strbuf_free(&b);
}

void gguf_bytes_u32_array(struct gguf_bytes *g, const char *key, const uint32_t *values, uint64_t n)
{
    struct strbuf b = {0};
    put_u32(&b, GGUF_U32);
    put_u64(&b, n);
    for (uint64_t i = 0; i < n; i++) put_u32(&b, values[i]);
    gguf_bytes_key(g, key, GGUF_ARRAY, b.text, b.n);
    strbuf_free(&b);
}

void gguf_bytes_tensor_at(struct gguf_bytes *g, const char *name, uint32_t type, int n_dims, const uint64_t *dims,
                          uint64_t offset)
{
    put_text(&g->tensors, name);
    put_u32(&g->tensors, (uint32_t)n_dims);
    for (int i = 0; i < n_dims; i++) put_u64(&g->tensors, dims[i]);
    put_u32(&g->tensors, type);
    put_u64(&g->tensors, offset);
    g->n_tensors++;
}

static void pad(struct strbuf *b, uint64_t alignment)
{
    static const uint8_t zero = 0;
    while (b->n % alignment) strbuf_put(b, &zero, 1);
}

void gguf_bytes_data(struct gguf_bytes *g, const void *bytes, size_t n)
{
    strbuf_put(&g->data, bytes, n);
}

void gguf_bytes_tensor(struct gguf_bytes *g, const char *name, uint32_t type, int n_dims, const uint64_t *dims,
                       const void *bytes, size_t n)
{
    pad(&g->data, g->alignment ? g->alignment : 32);
    gguf_bytes_tensor_at(g, name, type, n_dims, dims, g->data.n);
    gguf_bytes_data(g, bytes, n);
}

uint8_t *gguf_bytes_finish(struct gguf_bytes *g, size_t *n)
{
    struct strbuf b = {0};
    strbuf_puts(&b, "GGUF");
    put_u32(&b, g->version ? g->version : 3);
    put_u64(&b, g->n_tensors);
    put_u64(&b, g->n_keys);
    strbuf_put(&b, g->keys.text ? g->keys.text : "", g->keys.n);
    strbuf_put(&b, g->tensors.text ? g->tensors.text : "", g->tensors.n);
    if (g->n_tensors) pad(&b, g->alignment ? g->alignment : 32);
    strbuf_put(&b, g->data.text ? g->data.text : "", g->data.n);
    void *bytes;
    if (b.failed || mem_new(&bytes, b.n, 1, "test file", NULL)) abort();
    memcpy(bytes, b.text, b.n);
    *n = b.n;
    strbuf_free(&b);
    strbuf_free(&g->keys);
    strbuf_free(&g->tensors);
    strbuf_free(&g->data);
    *g = (struct gguf_bytes){0};
    return bytes;
}

void gguf_bytes_model(struct gguf_bytes *g, const char *arch)
{
    static const struct {
        const char *key;
        uint32_t value;
    } sizes[] = {
        {"block_count", 12}, {"embedding_length", 8}, {"context_length", 64}, {"feed_forward_length", 16},
        {"attention.head_count", 2},
    };
    gguf_bytes_text(g, "general.architecture", arch);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char key[96];
        snprintf(key, sizeof key, "%s.%s", arch, sizes[i].key);
        gguf_bytes_u32(g, key, sizes[i].value);
    }
    float embedding[3 * 8];
    for (int i = 0; i < 3 * 8; i++) embedding[i] = (float)i;
    gguf_bytes_tensor(g, "token_embd.weight", GGML_F32, 2, (const uint64_t[]){8, 3}, embedding, sizeof embedding);
}
