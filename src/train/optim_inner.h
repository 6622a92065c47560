/* optim_inner: what optim.c and adafactor.c share. */
#ifndef TRAIN_OPTIM_INNER_H
#define TRAIN_OPTIM_INNER_H

#include "train/optim.h"

enum { OPTIM_PIECE = 16384 };

/* Elements [start, start + n) of a param. */
struct optim_piece {
    size_t param;
    uint64_t start, n;
};

struct optim {
    struct optim_options options;
    struct params *params;
    int64_t steps;
    struct optim_piece *pieces;
    double *sums;                             /* [n_pieces] */
    size_t n_pieces;
    struct optim_moments {
        float *slot[2];                       /* NULL = there is none */
    } *moments;                               /* [params] */
    float *values;                            /* all slots */
    double *row_sums;                         /* adafactor: [most rows of a matrix] */
};

/* In double, in an order of its own that depends on n only. */
double optim_sum_squares(const float *x, int64_t n);
snellen_status adafactor_new(struct optim *o, snellen_error *err);
void adafactor_step(struct optim *o, double lr, float grad_scale);

#endif
