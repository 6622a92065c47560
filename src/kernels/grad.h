/* grad: the backward of the kernels, f32. Names are those of kernels.h with `backward`; dX stands for the derivative of
 * the loss by X. Where nothing else is said, the gradient of an input OVERWRITES and the gradient of a weight ADDS, so
 * that a weight's gradient collects over rows, blocks, sequences and micro batches.
 *
 * As everywhere in this module: plain arrays, no allocation, and the work is cut into pieces that depend on the shape
 * only, never over a sum, so that no byte depends on the number of threads. */
#ifndef KERNELS_GRAD_H
#define KERNELS_GRAD_H

#include "kernels/kernels.h"

/* ---- products (grad_matmul.c): y [n_rows, n_out] = x [n_rows, n_in] W^T ------------------------------------------ */

/* Bytes of scratch for matmul_backward_input() and max_in columns. */
size_t matmul_backward_scratch_bytes(int64_t max_in);
/* dx [n_rows, n_in] = dy W, or += where `add`. W of any type: quantised rows are widened panel by panel. */
void matmul_backward_input(float *dx, bool add, const float *dy, int64_t n_rows, const struct weight *w, void *scratch);
/* dw [n_out, n_in] += dy^T x */
void matmul_backward_weight(float *dw, const float *dy, const float *x, int64_t n_rows, int64_t n_out, int64_t n_in);
/* db [n] += sum over the rows of dy [n_rows, n] */
void add_bias_backward(float *db, const float *dy, int64_t n_rows, int64_t n);

/* ---- rows (grad_rows.c) ------------------------------------------------------------------------------------------ */

/* dx [n_rows, n]; dw [n] and db [n] are added to where they are not NULL; stats [n_rows, 2] is scratch. In place
 * (dx = dy) is allowed when dw is NULL. */
void rms_norm_backward(float *dx, float *dw, const float *dy, const float *x, const float *w, float eps, int64_t n_rows,
                       int64_t n, float *stats);
void layer_norm_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, float eps,
                         int64_t n_rows, int64_t n, float *stats);
/* dy -> dx in place; x = what went into the activation */
void activate_backward(float *dy, const float *x, enum activation act, int64_t n);
/* y = act(gate) up: dgate [n], dup [n] from dy [n]. dup may be dy. */
void activate_gated_backward(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                             enum activation act, int64_t n);
/* dy -> dx in place: the turn back, cos_sin as rope_apply() had it */
void rope_backward(float *dy, const float *cos_sin, int64_t n_rows, int64_t n_heads, int64_t head_dim, int64_t half,
                   bool interleaved);
/* dy -> dx in place; y = what came out of the cap */
void soft_cap_backward(float *dy, const float *y, float cap, int64_t n);
/* Returns -log softmax(logits)[target] and turns the logits into the gradient of `scale` times that:
 * scale (softmax(logits) - one_hot(target)). */
float cross_entropy_backward(float *logits, int64_t n, int64_t target, float scale);

/* ---- attention over spans (grad_attention.c) --------------------------------------------------------------------- */

/* A span as struct attn_span has it, in f32, its keys as they lie in training: key j of head h at element
 * j * stride + h * head_dim. dk, dv are ADDED to; both NULL: no gradient goes there. */
struct grad_span {
    const float *k, *v;
    float *dk, *dv;
    int64_t stride, n_keys, first_position;
    enum span_rule rule;
    int64_t band;
    bool near;                   /* seen from where the sequence says `near`, by its queries there */
};

enum { ATTENTION_NEAR_KEYS = 512 };
/* One sequence's rows. q, out and their gradients [n_rows, n_heads, head_dim]; lse [n_heads, n_rows] = log of the sum
 * of the exponentials of a row's scores, written by the forward and read by the backward. */
struct grad_sequence {
    const float *q, *dout;
    float *out, *dq, *lse;
    const int64_t *positions;    /* [n_rows] */
    /* Of near spans, which come first and have at most ATTENTION_NEAR_KEYS keys together; else NULL. dq_near is written like dq,
     * and none of it is in dq. */
    const float *q_near;
    float *dq_near;
    const int64_t *near;
    int64_t n_rows;
    const struct grad_span *spans;
    size_t n_spans;
};

/* Bytes of scratch for sequences of n_rows rows altogether, each of which sees at most n_keys keys. */
size_t attention_backward_scratch_bytes(const struct attn_shape *shape, int64_t n_rows, int64_t n_keys, int n_threads);
/* out and lse of all sequences, on n_threads threads. Never rows x keys in memory. */
void attention_forward(const struct grad_sequence *sequences, size_t n_sequences, const struct attn_shape *shape,
                       int n_threads, void *scratch);
/* dq from dout, out, lse; adds to the spans' dk, dv. */
void attention_backward(const struct grad_sequence *sequences, size_t n_sequences, const struct attn_shape *shape,
                        int n_threads, void *scratch);

#endif
