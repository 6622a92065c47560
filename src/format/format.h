/* format: bytes of a model file or folder to named tensors and a description, the same from every container.
 *
 * Canonical form, whatever the container: tensor names as GGUF spells them (token_embd.weight, blk.3.attn_q.weight ..),
 * matrices [n_out, n_in], fused attn_qkv rows ordered q then k then v, norm weights ready to multiply with
 * (Gemma's 1 + w added), position tables without OPT's two leading rows. What is not here: what the tensors are for. */
#ifndef FORMAT_FORMAT_H
#define FORMAT_FORMAT_H

#include "base/base.h"
#include "kernels/kernels.h"

struct tensor {
    const char *name;
    enum dtype type;
    int n_dims;            /* 1..4 */
    int64_t shape[4];      /* outermost first; every entry >= 1; the product of all entries fits in int64 */
    const void *data;      /* n_bytes bytes inside a mapped file, or owned by the file; aligned to at least 4 */
    uint64_t n_bytes;
};

/* ---- GGUF (gguf.c) ----------------------------------------------------------------------------------------------- */

struct gguf;   /* keys and values, tensors, the mapped bytes */

/* Opens and checks a GGUF file of version 2 or 3: all counts, types, ends, alignment, overlap. */
snellen_status gguf_open(const char *path, struct gguf **out, snellen_error *err);
/* The same over bytes that the caller keeps (tests, fuzzing), at an address that is a multiple of 8; `name` stands in
 * messages. */
snellen_status gguf_parse(const uint8_t *bytes, uint64_t size, const char *name, struct gguf **out, snellen_error *err);
void gguf_close(struct gguf *g);
size_t gguf_tensors(const struct gguf *g, const struct tensor **tensors);

/* Key i in file order, not NUL ended; false past the last one. */
bool gguf_key(const struct gguf *g, size_t i, const char **key, size_t *n);

/* Key i with its kind and value, byte for byte as in the file; false past the last one. */
bool gguf_record(const struct gguf *g, size_t i, const uint8_t **bytes, uint64_t *n);

/* Values by key. Each returns false when the key is missing or of another kind; numbers convert between integer and
 * float kinds when that is exact enough (an f32 key read as double, a u32 key read as int64). */
bool gguf_int(const struct gguf *g, const char *key, int64_t *out);
bool gguf_float(const struct gguf *g, const char *key, double *out);
bool gguf_bool(const struct gguf *g, const char *key, bool *out);
/* Bytes in the mapped file, not NUL ended. */
bool gguf_text(const struct gguf *g, const char *key, const char **text, size_t *n);
/* Arrays: the number of elements, then element i. */
bool gguf_array(const struct gguf *g, const char *key, uint64_t *n);
bool gguf_array_text(const struct gguf *g, const char *key, uint64_t i, const char **text, size_t *n);
bool gguf_array_int(const struct gguf *g, const char *key, uint64_t i, int64_t *out);
bool gguf_array_float(const struct gguf *g, const char *key, uint64_t i, double *out);

/* Writing a file of version 3 (gguf_write.c): keys and values, then the shapes of all tensors, then the bytes of each
 * in any order and any pieces; the file appears under its name only at commit, which refuses a file whose tensors were not
 * all given.
 *
 *     TRY(gguf_writer_new(path, &w, err));
 *     gguf_put_text(w, "general.architecture", "llama");
 *     gguf_put_array(w, "tokenizer.ggml.tokens", GGUF_WRITES_TEXT, 2);
 *     gguf_add_text(w, "yes", 3), gguf_add_text(w, "no", 2);
 *     gguf_writer_shapes(w, tensors, n, err), gguf_writer_put(w, 0, 0, bytes, n_bytes, err) ..
 *     gguf_writer_commit(w, err);
 *
 * Keys that repeat, an array with another number of elements than it was begun with, and memory that ran out show at
 * gguf_writer_shapes(). */
struct gguf_writer;
enum gguf_writes { GGUF_WRITES_INT = 5, GGUF_WRITES_FLOAT = 6, GGUF_WRITES_BOOL = 7, GGUF_WRITES_TEXT = 8 };
snellen_status gguf_writer_new(const char *path, struct gguf_writer **out, snellen_error *err);
void gguf_put_int(struct gguf_writer *w, const char *key, int64_t value);   /* u32; must fit */
void gguf_put_float(struct gguf_writer *w, const char *key, double value);  /* f32 */
void gguf_put_bool(struct gguf_writer *w, const char *key, bool value);
void gguf_put_text(struct gguf_writer *w, const char *key, const char *value);
void gguf_put_bytes(struct gguf_writer *w, const char *key, const char *text, size_t n); /* a text of n bytes */
void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_writes element, uint64_t n);
void gguf_add_int(struct gguf_writer *w, int32_t value);
void gguf_add_float(struct gguf_writer *w, float value);
void gguf_add_bool(struct gguf_writer *w, bool value);
void gguf_add_text(struct gguf_writer *w, const char *text, size_t n);
/* What gguf_record() gave. */
void gguf_put_record(struct gguf_writer *w, const uint8_t *bytes, uint64_t n);
/* Names, types and shapes count, data does not. Room for all is asked for: a full disk shows here. */
snellen_status gguf_writer_shapes(struct gguf_writer *w, const struct tensor *tensors, size_t n, snellen_error *err);
/* n bytes at byte offset `at` of tensor i. */
snellen_status gguf_writer_put(struct gguf_writer *w, size_t i, uint64_t at, const void *bytes, uint64_t n,
                               snellen_error *err);
snellen_status gguf_writer_commit(struct gguf_writer *w, snellen_error *err); /* frees w in any case */
void gguf_writer_abort(struct gguf_writer *w);

/* ---- safetensors (safetensors.c) --------------------------------------------------------------------------------- */

struct safetensors;
/* Opens and checks one safetensors file. Tensors of types the project has no use for (I64, BOOL ..) are listed by
 * safetensors_raw() only. */
snellen_status safetensors_open(const char *path, struct safetensors **out, snellen_error *err);
snellen_status safetensors_parse(const uint8_t *bytes, uint64_t size, const char *name, struct safetensors **out,
                                 snellen_error *err);
void safetensors_close(struct safetensors *s);
size_t safetensors_tensors(const struct safetensors *s, const struct tensor **tensors);
/* Any tensor by name: its type as spelled in the file ("I64"), shape, bytes (at any address, even an odd one). False
 * when it is not there. */
bool safetensors_raw(const struct safetensors *s, const char *name, const char **type, int *n_dims,
                     const int64_t **shape, const void **data, uint64_t *n_bytes);

/* Writing: the shapes first, then the bytes of each tensor in any order and any pieces; the file appears under its name
 * only at commit, which refuses a file whose tensors were not all given. */
struct safetensors_spec {
    const char *name;
    const char *type;  /* "F32", "I64", .. */
    int n_dims;
    int64_t shape[4];
};
/* An entry of the header's __metadata__. */
struct safetensors_note {
    const char *key, *value;
};
struct safetensors_writer;
snellen_status safetensors_writer_new(const char *path, const struct safetensors_spec *specs, size_t n_specs,
                                      struct safetensors_writer **out, snellen_error *err);
/* The same with metadata. */
snellen_status safetensors_writer_noted(const char *path, const struct safetensors_spec *specs, size_t n_specs,
                                        const struct safetensors_note *notes, size_t n_notes,
                                        struct safetensors_writer **out, snellen_error *err);
/* n bytes at byte offset `at` of tensor i. */
snellen_status safetensors_writer_put(struct safetensors_writer *w, size_t i, uint64_t at, const void *bytes,
                                      uint64_t n, snellen_error *err);
snellen_status safetensors_writer_commit(struct safetensors_writer *w, snellen_error *err); /* frees w in any case */
void safetensors_writer_abort(struct safetensors_writer *w);

/* ---- what a model file says of itself (desc_gguf.c, desc_hf.c) --------------------------------------------------- */

/* How a model knows where a token stands. OWN stands for what its architecture has (desc_positions()). */
enum position_kind {
    POSITION_OWN, POSITION_ROTARY, POSITION_ALIBI, POSITION_LEARNED, POSITION_SINUSOIDAL, POSITION_NONE, POSITION_COUNT
};
/* "rotary", "alibi", "learned", "sinusoidal", "none"; "" for OWN. */
extern const char *const position_names[POSITION_COUNT];
/* POSITION_COUNT for an unknown name. */
enum position_kind position_named(const char *name, size_t n);
/* What all published models of an architecture have. */
enum position_kind desc_positions(const char *arch);

enum rope_scaling { ROPE_NONE, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN };

struct model_desc {
    char arch[32];                 /* Hugging Face model_type spelling: llama (also for mistral), qwen2, qwen3, gemma3,
                                      gpt2, gpt_neox, bloom, opt */
    int64_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff, n_vocab, n_context;
    double norm_eps;
    enum position_kind positions;  /* never OWN after reading */
    /* rotary positions */
    double rope_theta;             /* 0 = not given */
    double rope_theta_local;       /* base in windowed layers (Gemma 3); 0 = as rope_theta */
    int64_t rope_dim;              /* elements of a head that turn; 0 = all */
    bool rope_interleaved;         /* pairs (2i, 2i+1), as GGUF files of llama are; else (i, i + half) */
    enum rope_scaling rope_scaling;
    double rope_factor, rope_low_freq_factor, rope_high_freq_factor;
    double rope_original_context, rope_attn_factor /* 0 = from the factor */, rope_beta_fast, rope_beta_slow;
    bool rope_scaling_local;       /* scaling also in windowed layers (Gemma 3: false) */
    double alibi_max_bias;         /* bloom: 8 */
    /* windows */
    int64_t window;                /* tokens; 0 = none */
    uint8_t *windowed;             /* [n_layers] 1 = the layer has the window; NULL = none has */
    /* details */
    double attn_scale;             /* 0 = 1 / sqrt(head_dim) */
    double attn_soft_cap, logit_soft_cap;  /* 0 = none */
    double embedding_scale;        /* 0 = 1 */
    enum activation activation;
    bool parallel_residual;
    bool tied_output;              /* config says so; the absence of output.weight decides */
};

/* The description that the text of a config.json gives (desc_hf.c). n_vocab is 0 when it does not say; desc.windowed
 * lies in the arena. `file` stands in messages. */
snellen_status desc_from_config(const char *json, size_t n, const char *file, struct arena *arena,
                                struct model_desc *desc, snellen_error *err);

/* ---- writing descriptions and names (config_write.c, keys_write.c, hf_names.c) ----------------------------------- */

/* What lies between a tensor of a Hugging Face folder and its canonical form. */
enum hf_change {
    HF_AS_IS,
    HF_TRANSPOSE,     /* stored [n_in, n_out] */
    HF_UNWEAVE_QKV,   /* rows [head][q, k, v][head_dim] -> all q, all k, all v */
    HF_PLUS_ONE,      /* the norm multiplies with 1 + w */
    HF_SKIP_TWO,      /* a position table with two rows that no token has */
    HF_REFUSE,        /* its presence means a kind of model that cannot be read */
};
enum { HF_NAME_BYTES = 96 };
/* The name in a folder of a tensor by its canonical name, and the change that reading makes. False when models of this
 * architecture have none. */
bool hf_name_of(const struct model_desc *desc, const char *canonical, char name[HF_NAME_BYTES], enum hf_change *change);
/* Models of the architecture keep q, k and v as one tensor attn_qkv. */
bool desc_fused_qkv(const struct model_desc *desc);

/* The config.json of such a model, for Transformers 4 and 5; *text by free(). bos and eos are ids or -1; dtype such as
 * "float32". Where Transformers has no such model its model_type begins with "snellen_", so that it is refused there
 * and not run wrongly; *foreign says so. */
snellen_status config_write(const struct model_desc *desc, const char *dtype, int32_t bos, int32_t eos, char **text,
                            bool *foreign, snellen_error *err);
/* The keys that describe the model, for llama.cpp; where that has no such model, *foreign is set and the architecture
 * is one that it refuses. `file_type`: of most matrices. */
void gguf_put_desc(struct gguf_writer *w, const struct model_desc *desc, enum dtype file_type, bool *foreign);
/* Other programs know no such positions of the architecture by themselves, but they stand in its tables or angles. */
bool desc_emulates_positions(const struct model_desc *desc);

struct model_file {
    char *path;
    const char *container;         /* "gguf", "safetensors", "memory" */
    struct model_desc desc;
    const struct tensor *tensors;  /* canonical names */
    size_t n_tensors;
    const struct gguf *gguf;       /* NULL for folders */
    const char *folder;            /* NULL for GGUF and models in memory */
    const char *tokenizer, *tokenizer_config;  /* models in memory: texts of these files, or NULL */
    /* private: maps, arena, hash table */
    struct model_file_private *private;
};

/* Opens a GGUF file or a Hugging Face folder and reads its description. Every number of the description is within sane
 * bounds (n_layers 1..1024, d_model 1..131072, n_vocab 1..4M ..; heads divide); whether the tensors fit it is the
 * model's question. Unknown architectures and scalings are SNELLEN_E_UNSUPPORTED by name. */
snellen_status model_file_open(const char *path, struct model_file **out, snellen_error *err);
/* A model that lies in memory and in no file: `name` stands in for its path. `data`, which all tensors lie in, becomes
 * the file's (mem_free) on success; everything else is copied. */
struct model_parts {
    struct model_desc desc;
    const struct tensor *tensors;  /* [n_tensors] canonical */
    size_t n_tensors;
    void *data;
    const char *tokenizer, *tokenizer_config;  /* or NULL */
};
snellen_status model_file_new(const char *name, const struct model_parts *parts, struct model_file **out,
                              snellen_error *err);
void model_file_close(struct model_file *f);
/* A tensor by canonical name, or NULL. */
const struct tensor *model_file_find(const struct model_file *f, const char *name);
/* XXH3-128 over all bytes of weights, config and tokenizer files, hex. */
snellen_status model_file_hash(const struct model_file *f, char hash[33], snellen_error *err);

/* ---- models that can be named (catalogue.c, fetch.c) ------------------------------------------------------------- */

/* Resolves what the user typed: an existing path as it is, else a catalogue name to where it lies. *path by
 * snellen_free(). A name that is not fetched yet: the message says `snellen models get NAME`. */
snellen_status catalogue_resolve(const char *path_or_name, char **path, snellen_error *err);

#endif
