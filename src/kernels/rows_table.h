/* rows_table: the inner loops of rows.c and attention.c, one set for each instruction set.
 *
 * All sets are made from the same source (rows_body.h, attention_body.h over the vector words of scalar_rows.c,
 * avx2_rows.c, avx512_rows.c), so they agree to rounding. Everything here works on one row or one tile, runs on the
 * calling thread and needs no alignment. */
#ifndef KERNELS_ROWS_TABLE_H
#define KERNELS_ROWS_TABLE_H

#include "kernels/kernels.h"

/* ---- attention tiles --------------------------------------------------------------------------------------------- */

/* Keys that one step of the running softmax takes; blocks begin at multiples of it within a span. */
#define ATTN_KEY_BLOCK 64
/* Queries (row, head) that are worked on together: a multiple of every set's panel width. */
#define ATTN_LANES 96

/* What is done to the scores of a block before the softmax. Scores are in units of log2: q was multiplied by
 * scale * log2(e), or by scale / cap where there is a cap. Pointers may be NULL. */
struct attn_rule {
    float cap;              /* > 0: s = cap * tanh(s); cap is in units of log2 too */
    const float *slopes;    /* s -= slopes[lane] * |distance[lane] - j|, j counts the keys of the block */
    const float *distances;
    const float *first;     /* key j is visible to a lane when first[lane] <= j < end[lane] (panels only) */
    const float *end;
};

/* The running softmax of one panel of `panel` lanes. Lanes are contiguous: sums over keys need no shuffles, and any
 * head width is as good as another. max starts at -inf, sum and out at 0. */
struct attn_panel {
    const float *q;  /* [head_dim, panel] */
    float *scores;   /* [ATTN_KEY_BLOCK, panel], scratch */
    float *max;      /* [panel] largest score so far, log2 */
    float *sum;      /* [panel] sum of 2^(score - max) */
    float *out;      /* [head_dim, panel] sum of 2^(score - max) v */
};

/* The running softmax of n queries that belong to one row, each with its own vector. */
struct attn_queries {
    int64_t n, stride;  /* stride: elements from a query to the next in q and out, a multiple of 16 and >= head_dim */
    const float *q;     /* [n, stride], zero past head_dim */
    float *max, *sum;   /* [n] */
    float *out;         /* [n, stride] */
};

struct row_kernels {
    /* one row of n elements, as in kernels.h */
    void (*rms_norm)(float *y, const float *x, const float *w, float eps, int64_t n);
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, float eps, int64_t n);
    void (*add)(float *y, const float *x, int64_t n);
    void (*scale)(float *y, float s, int64_t n);
    void (*activate)(float *y, enum activation act, int64_t n);
    void (*activate_gated)(float *gate, const float *up, enum activation act, int64_t n);
    void (*rope)(float *y, const float *cos_sin, int64_t n_heads, int64_t head_dim, int64_t half, bool interleaved);
    void (*soft_cap)(float *x, float cap, int64_t n);
    void (*round_to)(float *x, enum rounding to, int64_t n);
    /* the largest element (-inf when n is 0; NaN is passed over), and the sum of exp(x - max) in double */
    float (*max)(const float *x, int64_t n);
    double (*sum_exp)(const float *x, float max, int64_t n);
    /* y = e^x by the kernels' own exponential: relative error below 1.5e-7, 0 below x = -87.33, 2.4e38 above 88.37 */
    void (*exp)(float *y, const float *x, int64_t n);

    /* backward (rows_grad_body.h): dx overwrites, dw and db add; one row, or a slice of it, as in grad.h */
    void (*rms_norm_backward)(float *dx, float stat[2], const float *dy, const float *x, const float *w, float eps,
                              int64_t n);
    void (*layer_norm_backward)(float *dx, float stat[2], const float *dy, const float *x, const float *w, float eps,
                                int64_t n);
    void (*norm_weight_backward)(float *dw, float *db, const float *dy, const float *x, const float stat[2], int64_t n);
    void (*activate_backward)(float *dy, const float *x, enum activation act, int64_t n);
    void (*activate_gated_backward)(float *dgate, float *dup, const float *dy, const float *gate, const float *up,
                                    enum activation act, int64_t n);
    void (*rope_backward)(float *dy, const float *cos_sin, int64_t n_heads, int64_t head_dim, int64_t half,
                          bool interleaved);
    void (*soft_cap_backward)(float *dy, const float *y, float cap, int64_t n);
    /* x = scale e^(x - shift); ds = p (ds - mean) */
    void (*softmax)(float *x, float shift, float scale, int64_t n);
    void (*softmax_backward)(float *ds, const float *p, float mean, int64_t n);
    float (*dot)(const float *a, const float *b, int64_t n);
    float (*sum)(const float *x, int64_t n);

    /* lanes of a panel */
    int panel;
    /* n_keys <= ATTN_KEY_BLOCK keys and values of one head in f32, [n_keys, head_dim] */
    void (*attn_panel)(const struct attn_panel *p, const float *k, const float *v, int64_t n_keys, int64_t head_dim,
                       const struct attn_rule *rule);
    /* the same for the queries of one row; k and v are f16 when `half`; n_next keys follow that come next */
    void (*attn_queries)(const struct attn_queries *s, const void *k, const void *v, bool half, int64_t n_keys,
                         int64_t n_next, int64_t head_dim, const struct attn_rule *rule);
};

extern const struct row_kernels row_kernels_scalar;
extern const struct row_kernels row_kernels_avx2;
extern const struct row_kernels row_kernels_avx512;

#endif
