/* synthetic: what repeating the last token does to one head of attention over random numbers (arXiv 2406.04267, figures 8 and
 * 10), and what a little noise does to a softmax (figure 9). No model: a few lines of arithmetic in double. */
#ifndef STUDY_SYNTHETIC_H
#define STUDY_SYNTHETIC_H

#include "base/base.h"

enum { SYNTHETIC_WIDTH = 64 };

/* Sinusoidal vectors are added, rotary ones turn queries and keys, ALiBi takes `slope` times the distance off a score. */
enum synthetic_positions { SYNTHETIC_NONE, SYNTHETIC_SINUSOIDAL, SYNTHETIC_ROTARY, SYNTHETIC_ALIBI };

struct synthetic_layer {
    enum synthetic_positions positions;
    double slope;
    bool projected;   /* tokens x ~ N(0, I), q, k, v = W (x + position), W ~ N(0, 1/d^2). Else q, k, v ~ N(0, 1/d) each, and
                         position vectors are added to q and k */
    bool residual;    /* the last token's value vector is added to what attention gives */
    bool norm;        /* a layer norm stands behind (post-LN) */
};

/* How far the last row's result over n tokens and that over n + 1 lie apart, the last token standing there once more. */
struct synthetic_distance {
    double l1, linf;
};
snellen_status synthetic_repeat(const struct synthetic_layer *layer, int64_t n, uint64_t seed, struct synthetic_distance *out,
                                snellen_error *err);

/* Sum of |p - p*| over the softmaxes of x ~ U[0, 1] and x + e, e ~ U[0, 0.1] on the first 200 of n numbers. */
snellen_status synthetic_softmax(int64_t n, uint64_t seed, double *variation, snellen_error *err);

#endif
