/* grad: the one decoder run backward, for training and for attribution. f32 arithmetic over weights of any type.
 *
 *     params_full(model, ..) or params_lora(model, ..)   what is trained: values and gradients, one list
 *     grad_new(model, options, &g)                       all memory of a step, taken once
 *     grad_step(g, tokens, weights, ..)                  forward and backward: gradients are added to params
 *
 * A step reads n_seqs sequences of n_tokens tokens in blocks, as many sequences together as fill about 1,024 rows of a
 * block: block 1 of this group goes up through all layers, then block 2, ..; backward the blocks and layers come in the
 * opposite order. Keys and values of earlier blocks, and what of their gradients later blocks give, stay until their
 * own block's turn. Full and windowed attention are the case of a single block. The order of the loops stands in grad.c
 * alone. */
#ifndef MODEL_GRAD_H
#define MODEL_GRAD_H

#include "kernels/grad.h"
#include "model/model.h"

/* ---- what is trained (params.c) ---------------------------------------------------------------------------------- */

struct param {
    char name[112];             /* canonical, as in weights_next(); LoRA: "blk.3.attn_q.lora_a", ".lora_b" */
    int n_dims;
    int64_t shape[2];           /* [n] or [n_out, n_in] */
    bool matrix;                /* a matrix or an embedding: weight decay applies */
    double rate;                /* factor of the learning rate, 1 unless it is changed */
    uint64_t n;                 /* elements */
    float *value, *grad;        /* [n] */
};

struct params {
    struct param *list;
    size_t n;
    uint64_t n_values;          /* sum of all n */
    float *values, *grads;      /* [n_values] those of list one after the other */
    bool lora;
};

/* Every weight as f32 that can be written; from now on the model and its sessions read these. Owned by the model, once
 * a model. SNELLEN_E_MEMORY with the sum where it does not fit. */
snellen_status params_full(struct snellen_model *model, struct params **out, snellen_error *err);

struct lora_options {
    int64_t rank;               /* >= 1 */
    double alpha;               /* W x becomes W x + alpha / rank B (A x); 0 = rank */
    const char *targets;        /* names of the maps, separated by spaces: "attn_q attn_k"; NULL = attention and
                                   feed-forward */
    uint64_t seed;              /* A is drawn from N(0, 1 / n_in), B is 0 */
};
/* Low-rank factors beside the maps (arXiv 2106.09685); the weights themselves stay as they are, in any type. Sessions
 * apply the factors as well. Owned by the model, once a model. */
snellen_status params_lora(struct snellen_model *model, const struct lora_options *options, struct params **out,
                           snellen_error *err);
/* W + alpha / rank B A in place of W, as f32; the factors are gone afterwards and with them the params. */
snellen_status lora_merge(struct snellen_model *model, snellen_error *err);
void params_zero_grads(struct params *params);
/* Called by snellen_model_free(). */
void params_free(struct params *params);

/* ---- a step (grad.c) --------------------------------------------------------------------------------------------- */

struct grad_options {
    int64_t n_seqs, n_tokens;   /* most of a step; n_tokens of each sequence */
    int64_t window;             /* > 0: every layer sees at most the last `window` tokens (swa); only where block is
                                   0 */
    int64_t block, segments;    /* block > 0: block sliding window attention (arXiv 2404.09173): own block causally and
                                   all of the `segments` blocks before it */
    int64_t block_window;       /* > 0: the blocks before are seen only as far as the last block_window keys (xl) */
    bool stop_gradient;         /* no gradient flows into the blocks before */
    int64_t fam, fam_blocks;    /* fam > 0: feedback attention memory of so many rows (arXiv 2404.09173); the memories of the
                                   last fam_blocks blocks are seen. The model has the prompt that it begins with */
    snellen_fam_positions fam_positions;
    bool checkpoint;            /* keep only each layer's input and run the layer again in the backward pass */
    bool inputs_only;           /* for grad_inputs(): no gradients of weights; needs a single sequence and block */
    int n_threads;              /* 0 = snellen_default_threads() */
};

struct grad;
/* Bytes that grad_new() takes; SNELLEN_E_MEMORY when no machine has them. */
snellen_status grad_bytes(const struct snellen_model *model, const struct grad_options *options, uint64_t *bytes,
                          snellen_error *err);
snellen_status grad_new(const struct snellen_model *model, const struct grad_options *options, struct grad **out,
                        snellen_error *err);
void grad_free(struct grad *g);

/* tokens, weights [n_seqs, n_tokens]: weights[t] scales the loss of predicting token t from those before it (t >= 1;
 * weights[0] is not used); shorter sequences are filled up with any token and weight 0. *loss = sum of weight times
 * cross entropy, *weight = sum of weights. Gradients of scale times *loss are added to the params; scale 0: forward
 * only. position = of the first token. nll [n_seqs, n_tokens] may be NULL: each token's cross entropy, 0 where its
 * weight is. */
snellen_status grad_step(struct grad *g, const int32_t *tokens, const float *weights, int64_t n_seqs, int64_t n_tokens,
                         int64_t position, double scale, double *loss, double *weight, float *nll, snellen_error *err);

/* Where the tokens of the next steps stand, laid out as these are, in place of position + t: for rotary, learned and
 * sinusoidal positions. What a token sees is decided by its row, as ever. NULL: position + t again. The array is read in
 * the steps. SNELLEN_E_UNSUPPORTED: models with ALiBi or without positions, and a feedback memory. */
snellen_status grad_set_places(struct grad *g, const int64_t *places, snellen_error *err);

/* fam: what the next steps' memories begin with, [n_layers, fam, d_model], for all sequences and without a gradient; NULL:
 * the model's prompt. The array is read in the steps. */
void grad_set_memory(struct grad *g, const float *rows);
/* The memories after the last step's first sequence, as far as its blocks were complete; [n_layers, fam, d_model]. */
const float *grad_memory(const struct grad *g);

/* n_layers * fam * d_model; 0 without a feedback memory. */
uint64_t grad_memory_size(const struct grad *g);

/* Gradients by the embedded input (after embedding scale and norm, before positions are added): for seed i the logit of
 * token ids[i] at row rows[i] of tokens [n]. gradients [n_seeds, n, d_model], embedded [n, d_model] (may be NULL). The
 * forward runs once, and in the backward each layer once for all seeds. */
snellen_status grad_inputs(struct grad *g, const int32_t *tokens, int64_t n, const int64_t *rows, const int32_t *ids,
                           int64_t n_seeds, float *gradients, float *embedded, const snellen_progress *progress,
                           snellen_error *err);

/* ---- one layer (grad_layer.c) ------------------------------------------------------------------------------------ */

/* What a layer's backward needs of its forward, for one block: [rows, ..] each; NULL where the model has none. */
struct tape {
    float *x;                   /* [d] input of the layer */
    float *h;                   /* [d] normed for attention */
    float *q_raw, *k_raw;       /* [n_heads*head_dim], [n_kv_heads*head_dim] before the QK norms */
    float *q;                   /* turned */
    float *mix, *lse;           /* [n_heads*head_dim] attention's result; [n_heads] a row */
    float *a;                   /* [d] attention's share before its post norm */
    float *x_mid;               /* [d] input of the second norm (serial residual) */
    float *h2;                  /* [d] normed for the feed-forward */
    float *gate, *up, *act;     /* [d_ff] before and after the activation */
    float *f;                   /* [d] the feed-forward's share before its post norm */
};

/* Keys and values of one layer for all blocks, and what has come back to them: [total rows, n_kv_heads*head_dim]. */
struct grad_kv {
    float *k, *v, *dk, *dv;     /* fam: behind all blocks' come [fam] rows of block -1 */
};

/* A block of a group of sequences: rows [row0, row0 + n_rows) of the group, sequence by sequence. */
/* fam: behind the tokens' rows come those of the memories, sequence by sequence. Block -1 has no tokens: there the prompt
 * goes up. */
struct grad_block {
    int64_t index, row0, n_rows, rows_each;  /* rows_each: tokens of one sequence */
    int64_t n_tokens;                        /* rows of tokens, of all sequences */
    int64_t position;                        /* of the first row of each sequence */
    bool bare;                               /* the memory's rows are a learned prompt, which is not added to */
};

/* The temporary arrays of a layer's forward and backward, [rows of a block, ..]. */
struct grad_scratch {
    float *t1, *t2;             /* [d] */
    float *dh;                  /* [d] */
    float *dq, *dmix;           /* [n_heads*head_dim] */
    float *dgate, *dup;         /* [d_ff] */
    float *stats;               /* [rows * n_heads, 2] */
    float *low, *dlow;          /* [lora rank] */
    int64_t *positions;         /* [rows] for masks and distances */
    int64_t *stands;            /* [rows] for what turns, and for vectors of positions */
    float *turns, *turns_local; /* [half, 2] */
    float *key_turns, *key_turns_local;  /* fam: of keys, where a memory's differ from its queries; else the same arrays */
    double *places;             /* [fam] */
    struct grad_sequence *sequences;  /* [group], fam: and as many again for the memories */
    struct grad_span *spans;    /* of each, segments + 1 + fam_blocks */
    void *attention;            /* of attention_forward() and attention_backward() */
    void *panel;                /* of matmul_backward_input() */
};

struct grad {
    const struct snellen_model *model;
    struct grad_options options;
    int64_t n_seqs, n_tokens, position;  /* of this group of sequences */
    int64_t stride;                      /* tokens from one sequence to the next in the caller's arrays */
    int64_t group;                       /* sequences of full length that go up and down together */
    int64_t block_each, n_blocks;        /* tokens of a block of one sequence; most blocks */
    int64_t block_rows, total_rows;      /* most rows of a block, of a group */
    int64_t slice;                       /* rows whose logits are held at once */
    bool one_kv;                         /* a single block that runs each layer again: all kv are the same arrays */
    struct workspace w;                  /* scratch of the forward products; f32 */
    struct grad_scratch s;
    float **inputs;                      /* [blocks, layers] -> [block rows, d] */
    struct tape *tapes;                  /* [blocks, layers], or one with checkpoint */
    struct grad_kv *kv;                  /* [layers] */
    float *x;                            /* [block rows, d] what the last layer gives */
    float *raised;                       /* fam: [block rows, d] what a layer gives, before its rows part */
    float **starts;                      /* fam: [layers] -> [fam, d] input of block -1 */
    struct tape start_tape;
    float *dmemory;                      /* fam: [layers, group, fam, d] by what this block's memory rows became */
    float *memory_rows;                  /* fam: [layers, fam, d] the first sequence's newest */
    const float *memory_start;           /* see grad_set_memory() */
    const int64_t *places;               /* see grad_set_places() */
    bool first_group;
    float *dx;                           /* [total rows, d] its gradient, block by block; not for inputs_only */
    float *logits, *capped;              /* [slice, n_vocab]; capped only where the model has a soft cap */
    float *picked, *normed, *dpicked, *dnormed;  /* [slice, d] */
    float *losses;                       /* [slice] */
    int64_t *picks;                      /* [block rows] rows of a block that predict a weighted token */
    int32_t *tokens;                     /* [block rows] */
    char *memory;                        /* all of the above lies in one block */
};

/* Most spans of a list. */
static inline int64_t grad_spans_each(const struct grad_options *o)
{
    return o->segments + 1 + o->fam_blocks;
}
/* tape->x is set; fills the rest and leaves the layer's result in x [rows, d] (NULL: only the tape is wanted). */
void grad_layer_forward(struct grad *g, int64_t layer, const struct grad_block *b, struct tape *t, float *x);
/* dx [rows, d]: gradient by the layer's result -> by its input. Adds to the weights' gradients and to those of the keys
 * and values that the block's rows saw. */
void grad_layer_backward(struct grad *g, int64_t layer, const struct grad_block *b, const struct tape *t, float *dx);
/* The memory's share of a step (grad_fam.c): before the first block, between blocks, and after the first one's backward. */
void fam_enter_block(struct grad *g, const struct grad_block *b);
void fam_start(struct grad *g);
/* x [rows, d] of the layer: tokens go to the next layer, the memory to the same layer at the next block. */
void fam_pass_on(struct grad *g, int64_t layer, const struct grad_block *b, const float *x);
/* The same way back: before a layer's backward the memory's part of dx is what the next block gave, after it is that for
 * the block before. */
void fam_take_back(struct grad *g, int64_t layer, const struct grad_block *b, float *dx);
void fam_hand_back(struct grad *g, int64_t layer, const struct grad_block *b, const float *dx);
void fam_start_backward(struct grad *g);
/* dx (+)= dy W, and the gradients of W, its bias and its factors; dx NULL: not wanted. */
void linear_backward(struct grad *g, const struct linear *linear, float *dx, bool add, const float *dy, const float *x,
                     int64_t n_rows);
void norm_backward(struct grad *g, const struct norm *norm, float *dx, const float *dy, const float *x, int64_t n_rows,
                   int64_t n);

#endif
