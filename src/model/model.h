/* model: the one decoder. All supported architectures are one layer with options, described by data.
 *
 * An architecture is a row of arch.c, weights.c finds and checks its tensors, layer.c is the layer's equation, decoder.c
 * runs a batch of rows through all layers, session.c owns a timeline. No file format and no memory is named here. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include "base/base.h"
#include "format/format.h"
#include "kernels/kernels.h"
#include "model/memory.h"
#include "tokenize/tokenize.h"

/* ---- architectures (arch.c) ------------------------------------------------------------------------------------------ */

enum norm_kind { NORM_RMS, NORM_LAYER };

struct arch {
    const char *name;           /* model_desc.arch */
    enum norm_kind norm;
    bool gated;                 /* feed-forward: act(gate x) * up x, else act(up x) */
    bool qk_norm;               /* RMS norm over each head's q and k before they turn */
    bool post_norms;            /* norms after attention and after feed-forward, before the residual */
    bool embedding_norm;
    bool qkv_bias;              /* must be there; elsewhere biases are used when the file has them */
    bool all_bias;              /* every linear map but the output has one */
};
/* NULL for an unknown name. */
const struct arch *arch_find(const char *name);
const struct arch *arch_list(size_t i);

/* ---- weights (weights.c) ------------------------------------------------------------------------------------------------ */

/* The gradients beside them are NULL where a weight is not trained (params.c). */
struct norm {
    const float *weight, *bias; /* [n]; weight NULL = there is no such norm; bias may be NULL */
    float *dweight, *dbias;
};
struct linear {
    struct weight weight;       /* data NULL = there is no such map */
    const float *bias;          /* [n_out] or NULL */
    float *dweight, *dbias;
    struct lora *lora;          /* or NULL */
};
/* Low-rank factors beside a map: y = W x + scale B (A x). */
struct lora {
    int64_t rank;
    float scale;
    float *a, *b;               /* [rank, n_in], [n_out, rank] */
    float *da, *db;
};
struct layer_weights {
    struct norm attn_norm, q_norm, k_norm, post_attn_norm, ffn_norm, post_ffn_norm;
    struct linear q, k, v, output;   /* [n_heads*head_dim, d], [n_kv_heads*head_dim, d] twice, [d, n_heads*head_dim] */
    struct linear gate, up, down;    /* [d_ff, d] twice, [d, d_ff] */
};

/* Rotary positions: inverse frequencies with the model's scaling applied (position.c). */
struct rope {
    int64_t half;               /* pairs that turn */
    double *inv_freq;           /* [half] */
    float scale;                /* of cos and sin (yarn), else 1 */
};

struct snellen_model {
    struct model_file *file;
    struct tokenizer *tokenizer;     /* NULL: the file has none, or one that is not supported */
    const char *no_tokenizer;        /* the sentence that says which; NULL = there is one */
    const struct arch *arch;
    struct model_desc desc;          /* with defaults filled in */
    struct linear embedding;         /* [n_vocab, d] */
    struct norm embedding_norm;
    struct linear position_table;    /* [n_positions, d] learned positions */
    struct layer_weights *layers;    /* [n_layers] */
    struct norm output_norm;
    struct linear output;            /* [n_vocab, d], the embedding when tied */
    struct rope rope, rope_local;    /* rope_local: layers with a window */
    float *alibi;                    /* [n_heads] slopes or NULL */
    struct arena arena;              /* everything above that is not mapped */
    snellen_model_memory memory;     /* its prompt is memory_prompt, or lies in params */
    float *memory_prompt;            /* [prompt_rows, d] as it was set; by mem_free() */
    float *memory_dprompt;           /* its gradient while it is trained; else NULL */
    struct params *params;           /* what is trained; NULL = nothing */
    int64_t lora_rank;               /* largest of its factors; 0 = none */
    float lora_scale;                /* of all of them */
    bool lora_loaded;                /* the factors came from a file: they are part of what the model is */
    snellen_model_info info;
};

/* A model of an open file, which becomes the model's, also on failure. */
snellen_status model_from_file(struct model_file *file, snellen_model **out, snellen_error *err);
/* Finds every tensor that the architecture asks for, checks its shape, widens the vectors. */
snellen_status weights_bind(struct snellen_model *model, snellen_error *err);
/* One tensor of a model. The list has them all in a fixed order: embedding, norms and output, then layer by layer. */
enum weight_role {
    ROLE_NORM, ROLE_BIAS, ROLE_TOKENS, ROLE_POSITIONS,
    ROLE_IN,            /* a matrix that reads the residual stream (q, k, v, gate, up, output) */
    ROLE_RESIDUAL,      /* a matrix that writes to it (attention's output, down) */
};
struct weight_entry {
    char name[96];      /* canonical: "blk.3.attn_q.weight"; q, k and v always apart */
    int64_t layer;      /* -1 = of no layer */
    enum weight_role role;
    int n_dims;
    int64_t shape[2];   /* [n] or [n_out, n_in] */
    struct weight weight;  /* vectors are one row of F32; data NULL in a description */
};
/* The tensors that a loaded model has; *i = 0 at first. False past the last one. */
bool weights_next(const struct snellen_model *model, size_t *i, struct weight_entry *e);
/* Where that tensor stands, for who trains it: one of matrix and vector is set. */
struct weight_place {
    struct linear *map;  /* of a matrix, or NULL */
    struct weight *matrix;
    const float **vector;
    float **gradient;
};
bool weights_next_place(struct snellen_model *model, size_t *i, struct weight_entry *e, struct weight_place *p);
/* The tensors that a new model of this description has. */
bool weights_next_of(const struct arch *arch, const struct model_desc *d, size_t *i, struct weight_entry *e);
/* True when the layer looks back only `window` tokens. */
bool model_layer_windowed(const struct snellen_model *model, int64_t layer);

/* ---- positions (position.c) ------------------------------------------------------------------------------------------------ */

/* Frequencies of full and windowed layers, or ALiBi slopes, as desc and architecture say. */
snellen_status positions_init(struct snellen_model *model, snellen_error *err);
/* A rotary frequency with the scaling of Llama 3. */
double llama3_frequency(double freq, const struct model_desc *d);
/* The model adds a vector for the position to each token's embedding: learned or sinusoidal ones. */
bool positions_added(const struct snellen_model *model);
/* y [d_model] = that vector. Sinusoids (arXiv 1706.03762): y[2i] = sin(p / 10000^(2i/d)), y[2i+1] = cos(the same). */
void position_vector(const struct snellen_model *model, float *y, int64_t position);
/* ALiBi slopes of n_heads heads (arXiv 2108.12409): 2^(-max_bias i / n) for a power of two, interleaved otherwise. */
void alibi_slopes(float *slopes, int64_t n_heads, double max_bias);

/* ---- what sessions and lanes have in common (session_options.c) -------------------------------------------------------- */

struct workspace_shape;
/* Fills in what was left to defaults and checks the rest. */
snellen_status session_resolve(const struct snellen_model *model, snellen_session_options *options, snellen_error *err);
struct memory_shape session_memory_shape(const struct snellen_model *model, const snellen_session_options *options);
struct workspace_shape session_workspace_shape(const struct memory_shape *m, const snellen_session_options *options);
snellen_status session_check_tokens(const struct snellen_model *model, const int32_t *tokens, size_t n,
                                    snellen_error *err);

/* ---- who watches ------------------------------------------------------------------------------------------------------ */

/* What attention() is given in one layer: a batch's rows, and behind them those of a memory's own; or these alone. */
struct attn_shown {
    const float *q;              /* [n_rows, n_heads, head_dim] as they meet the keys */
    const int64_t *positions;    /* [n_rows] */
    int64_t n_rows, n_tokens;    /* the first n_tokens rows are the batch's */
    const struct attn_span *spans;
    size_t n_spans;
    const struct attn_shape *shape;
};
struct attn_watch {
    void (*see)(struct attn_watch *watch, int64_t layer, const struct attn_shown *shown);
};
/* From now on; NULL = nobody. The watch stays the caller's. */
void session_watch(snellen_session *s, struct attn_watch *watch);

/* ---- one layer (workspace.c, layer.c) ------------------------------------------------------------------------------------------------------ */

/* Temperature of attention at inference: scores are multiplied by 1 / temp, and at place t > log_from by
 * log(t) / log(log_from) as well. */
struct temper {
    bool on;                    /* false: scores as they are */
    double temp;
    int64_t log_from;           /* 0 = not by length */
};

/* What each part of a forward pass is rounded to. */
struct roundings {
    enum rounding weights, activations, cache, logits;
};

/* Working memory for a batch of at most `rows` rows. */
struct workspace {
    int64_t rows;
    float *x, *h, *a;           /* [rows, d] residual stream, normed or mixed rows, attention's share */
    float *q, *q_shifted, *mix; /* [rows, n_heads, head_dim]; q_shifted only for memories that shift positions */
    float *k, *v;               /* [rows, n_kv_heads, head_dim] */
    int64_t *positions;         /* [rows] */
    int64_t *row_positions;     /* [rows] of a batch's rows and a memory's own */
    float *sharpness;           /* [rows] what temper makes of a row's scores; NULL = as they are */
    float *gate, *up;           /* [rows, d_ff] */
    float *turns, *turns_local; /* [rows, half, 2] cos and sin of the rows' positions */
    float *turns_shifted, *turns_shifted_local;
    struct attn_span *spans;    /* [max_spans] */
    size_t max_spans;
    float *logits;              /* [logit_rows, n_vocab] */
    float *picked;              /* [rows, d] rows whose logits are wanted */
    float *low;                 /* [rows, lora_rank] or NULL */
    int64_t logit_rows;
    void *scratch;
    size_t scratch_bytes;
    struct roundings round;
    enum dtype kv_type;         /* how the memory holds keys and values */
    bool exact;                 /* products by matmul_exact() */
    struct temper temper;
    struct attn_watch *watch;   /* or NULL */
    char *block;                /* all of the above lies in one block */
};
/* What decides a workspace's size. */
struct workspace_shape {
    int64_t rows;               /* most rows of a batch */
    bool branches;              /* batches may have a group for each row */
    int64_t lanes;              /* > 0: batches have a group for each of so many lanes */
    bool shifts;                /* the memory shifts positions */
    int n_threads;
    struct roundings round;
    enum dtype kv_type;
    bool exact;
    struct temper temper;
};
/* Bytes that workspace_init() will take; false when the sum does not fit. */
bool workspace_bytes(const struct snellen_model *model, const struct workspace_shape *shape, uint64_t *bytes);
snellen_status workspace_init(struct workspace *w, const struct snellen_model *model, const struct workspace_shape *shape,
                              snellen_error *err);
void workspace_free(struct workspace *w);

/* x [batch rows, d] of w through layer `layer`, against what `memory` shows. */
void layer_forward(const struct snellen_model *model, int64_t layer, struct workspace *w, const struct batch *batch,
                   struct memory *memory);
/* n rows of a memory's own, in w->x, through the layer alone. */
void layer_pass(const struct snellen_model *model, int64_t layer, struct workspace *w, int64_t n, struct memory *memory);
/* model_memory.c: fam.safetensors in a model's folder, the tensor fam.prompt where there is a prompt, and "about", JSON:
 * kind, block, segments, window, fam, fam_blocks, positions. A model without a memory of its own writes none; a folder
 * without the file has none. Loading reads what the model's file has, of either kind. */
snellen_status model_memory_save(const struct snellen_model *model, const char *folder, snellen_error *err);
snellen_status model_memory_load(struct snellen_model *model, snellen_error *err);
/* The JSON of "about"; NULL when memory runs out. Back from it, without a prompt; `path` stands in messages. */
struct json_t *model_memory_json(const snellen_model_memory *m);
snellen_status model_memory_from_json(const struct json_t *o, const char *path, snellen_model_memory *m,
                                      snellen_error *err);
/* The same in a GGUF file: keys fam.*, and the tensor fam.prompt, [n_layers * fam, d_model] where each layer has its own. */
void model_memory_put_gguf(const struct snellen_model *model, struct gguf_writer *w);
/* w->sharpness of rows from row0 on, where temper is on. */
void sharpen_rows(struct workspace *w, int64_t row0, const int64_t *positions, int64_t n);
/* feedback.c: the passes of a memory's own rows that are due before a batch. */
void passes_forward(const struct snellen_model *model, struct workspace *w, struct memory *memory);
/* Positions of a batch that was begun and of the rows that ride behind it: w->row_positions of all rows that attend; turns
 * of the riders' keys behind the batch's own, and of their queries behind those. */
void riders_place(const struct snellen_model *model, struct workspace *w, const struct batch *batch,
                  const struct memory *memory);
/* y = norm(x); the model's kind of norm. In place allowed. */
void norm_forward(const struct snellen_model *model, const struct norm *norm, float *y, const float *x, int64_t n_rows,
                  int64_t n, const struct workspace *w);
/* y [n_rows, n_out] = x W^T + scale (x A^T) B^T + b, as an activation rounded. */
void linear_forward(const struct linear *linear, float *y, const float *x, int64_t n_rows, const struct workspace *w);
/* The same for what is no activation: y is not rounded, which the caller does. */
void linear_product(const struct linear *linear, float *y, const float *x, int64_t n_rows, const struct workspace *w);

/* ---- the decoder (decoder.c) ------------------------------------------------------------------------------------------------------ */

/* Where the results of a batch go; all pointers are already moved to the batch's first row. */
struct batch_outputs {
    float *hidden;              /* [n_layers + 2][hidden_stride] or NULL */
    int64_t hidden_stride;      /* elements from one layer's rows to the next layer's */
};
/* w->x = norm(scale * E[token] + P[position]) for the batch's rows, each part where the model has it; w->h is scratch. */
void decoder_embed(const struct snellen_model *model, struct workspace *w, const struct batch *batch);
/* Runs the batch through embedding and all layers and the final norm; the normed rows are left in w->h.
 * SNELLEN_E_FORMAT (in f16 SNELLEN_E_OVERFLOW) when a value is not finite: the message names the layer. */
snellen_status decoder_forward(const struct snellen_model *model, struct workspace *w, const struct batch *batch,
                               struct memory *memory, const struct batch_outputs *out, snellen_error *err);
/* logits [n, n_vocab] of n rows of w->h (rows ascending indices), rounded. */
void decoder_logits(const struct snellen_model *model, struct workspace *w, const int64_t *rows, int64_t n, float *logits);

#endif
