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
    int64_t sinks;              /* > 0, beside window: the first `sinks` tokens are seen as well, from a place in the cache
                                   (sink, arXiv 2309.17453); at most ATTENTION_NEAR_KEYS */
    int64_t block, segments;    /* block > 0: block sliding window attention (arXiv 2404.09173): own block causally and
                                   all of the `segments` blocks before it */
    int64_t block_window;       /* > 0: of these blocks the last block_window keys (xl) */
    bool stop_gradient;         /* no gradient flows into the blocks before */
    int64_t fam, fam_blocks;    /* fam > 0: feedback attention memory of so many rows (arXiv 2404.09173); the memories of the
                                   last fam_blocks blocks are seen. The model has the prompt that it begins with */
    snellen_fam_positions fam_positions;
    bool rmt;                   /* these rows are a recurrent memory instead (arXiv 2207.06881); no segments then */
    bool checkpoint;            /* keep only each layer's input and run the layer again in the backward pass */
    bool inputs_only;           /* for grad_inputs() and grad_reach(): no gradients of weights; a single sequence */
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
 * the steps. SNELLEN_E_UNSUPPORTED: models with ALiBi or without positions, and memories with rows of their own. */
snellen_status grad_set_places(struct grad *g, const int64_t *places, snellen_error *err);

/* fam, rmt: what the next steps' memories begin with, [n_layers, fam, d_model] or rmt's [fam, d_model], for all sequences
 * and without a gradient; NULL: the model's prompt. The array is read in the steps. */
void grad_set_memory(struct grad *g, const float *rows);
/* From now on each block's finished memories go on with Gaussian noise of `size` times the row's own length (root mean
 * square), drawn by `seed`; 0 = none. The gradient passes it by: what is learnt are memories that a small change does not
 * move, so that errors do not add up over blocks (compare noisy recurrent networks, arXiv 2102.04877). */
void grad_set_noise(struct grad *g, double size, uint64_t seed);
/* The memories after the last step's first sequence, as far as its blocks were complete; shaped as these. */
const float *grad_memory(const struct grad *g);

/* Values of a memory: n_layers * fam * d_model, rmt: fam * d_model; 0 without one. */
uint64_t grad_memory_size(const struct grad *g);

/* What is taken back to the input: of row `row` the logit of token `id`; with a vector [d_model] its product with the row
 * behind the final norm instead. */
struct grad_seed {
    int64_t row;
    int32_t id;
    const float *vector;        /* or NULL */
};
/* Gradients of each seed by the embedded input (after embedding scale and norm, before positions are added) of tokens
 * [n]. gradients [n_seeds, n, d_model], embedded [n, d_model] (may be NULL). The forward runs once; in the backward of a
 * single block each layer runs once for all seeds, through several blocks or a memory once for each. */
snellen_status grad_inputs(struct grad *g, const int32_t *tokens, int64_t n, const struct grad_seed *seeds, int64_t n_seeds,
                           float *gradients, float *embedded, const snellen_progress *progress, snellen_error *err);

/* Paths of attention alone (arXiv 2406.04267, theorem 5.1): where the last row's weight comes from when each layer gives
 * (x_i + 1/beta sum_j A_ij x_j) / (1 + 1/beta): A = attention's weights, mean over heads; beta [n_layers] = the length by which
 * the norm before attention divides, mean over rows. reach [n_layers + n_repeats, n]: the last row of the product of layers 0..l
 * for each l, then of all layers 2, 3, .. times over. Rows sum to 1, less what is left in a memory's first rows.
 * SNELLEN_E_UNSUPPORTED: rmt, whose rows go from the last layer to the first. */
snellen_status grad_reach(struct grad *g, const int32_t *tokens, int64_t n, int64_t n_repeats, double *beta, float *reach,
                          const snellen_progress *progress, snellen_error *err);

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
    float *k, *v, *dk, *dv;     /* with a memory: behind all blocks' come [fam] rows of fam's block -1 */
};

/* A block of a group of sequences: rows [row0, row0 + n_rows) of the group, sequence by sequence. */
/* Behind the tokens' rows come those of the memories, sequence by sequence. fam: block -1 has no tokens, there the prompt
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
    float *key_turns, *key_turns_local;  /* of keys, where those of a memory's rows differ from queries; else the same arrays */
    double *places;             /* [fam] */
    int64_t *near;              /* [rows] sink: where rows stand in the cache; with that: */
    float *near_turns, *near_turns_local;  /* [half, 2] from their own places to there */
    float *q_near, *dq_near;    /* [n_heads*head_dim] */
    struct grad_sequence *sequences;  /* [group], and as many again for each kind of a memory's rows */
    struct grad_span *spans;    /* of each, grad_spans_each() */
    void *attention;            /* of attention_forward() and attention_backward() */
    void *panel;                /* of matmul_backward_input() */
};

struct grad_memory;

struct grad {
    const struct snellen_model *model;
    struct grad_options options;
    const struct grad_memory *rows_of;   /* whose rows go along with each block; NULL = no memory has rows */
    int64_t extra;                       /* such rows of a sequence in a block */
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
    float *raised;                       /* [block rows, d] what a layer gives, before tokens and memory part */
    float **starts;                      /* fam: [layers] -> [fam, d] input of block -1 */
    struct tape start_tape;
    float *dmemory;                      /* [levels, group, fam, d] by the memories that this block makes */
    float *memory_rows;                  /* [levels, fam, d] the first sequence's newest */
    const float *memory_start;           /* see grad_set_memory() */
    const int64_t *places;               /* see grad_set_places() */
    double noise;                        /* see grad_set_noise() */
    struct rng noise_rng;
    bool first_group;
    float *dx;                           /* [total rows, d] its gradient, block by block */
    float *logits, *capped;              /* [slice, n_vocab]; capped only where the model has a soft cap */
    float *picked, *normed, *dpicked, *dnormed;  /* [slice, d] */
    float *losses;                       /* [slice] */
    int64_t *picks;                      /* [block rows] rows of a block that predict a weighted token */
    int32_t *tokens;                     /* [block rows] */
    char *memory;                        /* all of the above lies in one block */
};

/* Most spans of a list: the blocks before, the own one, memories; rmt's written rows see these and themselves. */
static inline int64_t grad_spans_each(const struct grad_options *o)
{
    return o->segments + 1 + o->fam_blocks + o->rmt + (o->sinks > 0);
}
/* A memory of fam has rows for each layer, that of rmt one set for all. */
static inline int64_t grad_levels(const struct grad *g)
{
    return g->options.rmt ? 1 : g->model->desc.n_layers;
}
/* tape->x is set; fills the rest and leaves the layer's result in x [rows, d] (NULL: only the tape is wanted). */
void grad_layer_forward(struct grad *g, int64_t layer, const struct grad_block *b, struct tape *t, float *x);
/* Of that, what comes before the output map: h, q, mix, lse, and the keys and values. */
void grad_layer_attend(struct grad *g, int64_t layer, const struct grad_block *b, struct tape *t);
/* dx [rows, d]: gradient by the layer's result -> by its input. Adds to the weights' gradients and to those of the keys
 * and values that the block's rows saw. */
void grad_layer_backward(struct grad *g, int64_t layer, const struct grad_block *b, const struct tape *t, float *dx);
/* Of that, attention alone: scratch.dmix, by its result -> scratch.dq, and added to the gradients of the keys and values. */
void grad_attend_backward(struct grad *g, int64_t layer, const struct grad_block *b, const struct tape *t);

/* ---- memories with rows of their own (grad_fam.c, grad_rmt.c) ---------------------------------------------------- */

/* Such rows go up with each block, behind its tokens: norms, maps and feed-forward are the same products. */
struct grad_memory {
    int n_kinds;                /* of fam rows each, with spans of their own: fam's memory; rmt's read and written rows */
    /* Places and turns of the rows, the tokens' being there. */
    void (*enter_block)(struct grad *g, const struct grad_block *b);
    /* Before the first block, and after its backward. */
    void (*start)(struct grad *g);
    void (*start_backward)(struct grad *g);
    /* What the tokens of a sequence see of it, beside their blocks; what its rows of a kind see. Return how many spans. */
    size_t (*token_spans)(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq,
                          struct grad_span *spans);
    size_t (*row_spans)(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq, int kind,
                        struct grad_span *spans);
    /* x [rows, d] of the layer: up to the next layer, and on to the next block. */
    void (*pass_on)(struct grad *g, int64_t layer, const struct grad_block *b, const float *x);
    /* The same way back: before a layer's backward the memory's part of dx becomes what came from behind, after it that
     * is taken for the block before. */
    void (*take_back)(struct grad *g, int64_t layer, const struct grad_block *b, float *dx);
    void (*hand_back)(struct grad *g, int64_t layer, const struct grad_block *b, const float *dx);
};
extern const struct grad_memory grad_fam, grad_rmt;

/* n keys from row `row` of the group on, whose first stands at `position`. */
struct grad_span grad_span_at(const struct grad *g, int64_t layer, int64_t row, int64_t n_keys, int64_t position,
                              bool gradient);
/* Rows of a kind, of one sequence in a block, among those of the group. */
static inline int64_t grad_memory_row(const struct grad *g, const struct grad_block *b, int64_t seq, int kind)
{
    return b->row0 + b->n_tokens + seq * g->extra + kind * g->options.fam;
}

/* Noise onto rows [n_rows, d] on their way to the next block. */
void grad_add_noise(struct grad *g, float *rows, int64_t n_rows);

/* ---- the first tokens, seen from near (grad_sink.c) ---------------------------------------------------------------- */

/* The layer keeps the first tokens in sight: the model gave it no narrower window of its own. */
bool grad_sink_layer(const struct grad *g, int64_t layer);
/* Where a block's rows stand in the cache, their own places being set. */
void grad_sink_enter_block(struct grad *g, const struct grad_block *b);
/* The first tokens, and the window; 2 spans, or 1 of a short text. */
size_t grad_sink_spans(const struct grad *g, int64_t layer, const struct grad_block *b, int64_t seq, struct grad_span *spans);
/* q [n_rows, ..] of a layer -> q_near; and dq_near back, added to dq. */
void grad_sink_turn(struct grad *g, int64_t layer, const float *q, int64_t n_rows);
void grad_sink_turn_back(struct grad *g, int64_t layer, float *dq, int64_t n_rows);

/* dx (+)= dy W, and the gradients of W, its bias and its factors; dx NULL: not wanted. */
void linear_backward(struct grad *g, const struct linear *linear, float *dx, bool add, const float *dy, const float *x,
                     int64_t n_rows);
void norm_backward(struct grad *g, const struct norm *norm, float *dx, const float *dy, const float *x, int64_t n_rows,
                   int64_t n);

#endif
