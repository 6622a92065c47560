/* GGUF files in memory, for tests: keys and tensors are added in any order, then the bytes are put together. Nothing is
 * checked, so that wrong files can be made as well. */
#ifndef TEST_FORMAT_GGUF_BYTES_H
#define TEST_FORMAT_GGUF_BYTES_H

#include "base/base.h"

enum { GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL, GGUF_TEXT, GGUF_ARRAY,
       GGUF_U64, GGUF_I64, GGUF_F64 };
enum { GGML_F32 = 0, GGML_F16 = 1, GGML_Q4_0 = 2, GGML_IQ4_NL = 20 };

struct gguf_bytes {
    uint32_t version;        /* 0 = 3 */
    uint64_t alignment;      /* 0 = 32; the key is not written */
    uint64_t n_keys, n_tensors;
    struct strbuf keys, tensors, data;
};

void put_u32(struct strbuf *b, uint32_t x);
void put_u64(struct strbuf *b, uint64_t x);
void put_text(struct strbuf *b, const char *text);

/* A key with n raw bytes of value. */
void gguf_bytes_key(struct gguf_bytes *g, const char *key, uint32_t kind, const void *value, size_t n);
void gguf_bytes_u32(struct gguf_bytes *g, const char *key, uint32_t value);
void gguf_bytes_f32(struct gguf_bytes *g, const char *key, float value);
void gguf_bytes_bool(struct gguf_bytes *g, const char *key, bool value);
void gguf_bytes_text(struct gguf_bytes *g, const char *key, const char *value);
void gguf_bytes_u32_array(struct gguf_bytes *g, const char *key, const uint32_t *values, uint64_t n);
/* A tensor at this offset into the data; dims innermost first. */
void gguf_bytes_tensor_at(struct gguf_bytes *g, const char *name, uint32_t type, int n_dims, const uint64_t *dims,
                          uint64_t offset);
/* The same behind the data so far, which its n bytes join. */
void gguf_bytes_tensor(struct gguf_bytes *g, const char *name, uint32_t type, int n_dims, const uint64_t *dims,
                       const void *bytes, size_t n);
/* n bytes more of data. */
void gguf_bytes_data(struct gguf_bytes *g, const void *bytes, size_t n);
/* The file, aligned to 64; mem_free() it. g is emptied. */
uint8_t *gguf_bytes_finish(struct gguf_bytes *g, size_t *n);
/* Keys of a small model of this architecture and its embedding [n_vocab, 8]: what a description needs. */
void gguf_bytes_model(struct gguf_bytes *g, const char *arch);

#endif
