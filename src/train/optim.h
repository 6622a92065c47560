/* optim: one step of an optimiser over a list of parameters, learning rate schedules, the global gradient norm.
 *
 * Formulas are those of PyTorch 2 (torch.optim.AdamW, Adafactor, SGD): same values, same gradients, same result to
 * rounding. Values, gradients and moments are f32, sums are double in pieces that depend on the shapes only: no byte
 * depends on the number of threads. Weight decay reaches matrices and embeddings, not norms and biases. */
#ifndef TRAIN_OPTIM_H
#define TRAIN_OPTIM_H

#include "model/grad.h"

enum optim_kind { OPTIM_ADAMW, OPTIM_ADAFACTOR, OPTIM_SGD, OPTIM_COUNT };
extern const char *const optim_names[OPTIM_COUNT];   /* "adamw", "adafactor", "sgd" */

struct optim_options {
    enum optim_kind kind;
    double beta1, beta2;    /* adamw: decay of the mean of gradients and of their squares */
    double eps;             /* adamw: added to the root of the mean square */
    double weight_decay;    /* every step takes lr * weight_decay of each matrix away (sgd: adds to the gradient) */
    double momentum;        /* sgd: 0 = none */
    bool relative_step;     /* adafactor: the step is min(lr, 1/sqrt(t)) times the root mean square of each tensor,
                               not lr itself (arXiv 1804.04235, sections 7 and 8) */
};
/* adamw, 0.9, 0.999, 1e-8, 0.01, no momentum, no relative step. */
struct optim_options optim_options_default(void);

struct optim;
/* The moments of all params, zero. The params stay the caller's and must live as long. */
snellen_status optim_new(const struct optim_options *options, struct params *params, struct optim **out,
                         snellen_error *err);
void optim_free(struct optim *o);
/* Bytes that optim_new() takes for params of these shapes; false when the sum does not fit. */
bool optim_bytes(enum optim_kind kind, bool momentum, const struct params *params, uint64_t *bytes);

/* Root of the sum of squares of all gradients (values: of all values); not finite when one of them is not. */
double optim_grad_norm(const struct optim *o);
double optim_value_norm(const struct optim *o);
/* What clip_grad_norm_ multiplies gradients with: min(1, clip / (norm + 1e-6)); clip 0 = no clipping. */
double optim_clip_factor(double norm, double clip);
/* One update with learning rate lr times each param's rate; gradients count grad_scale times. */
void optim_step(struct optim *o, double lr, double grad_scale);

/* ---- what a checkpoint keeps ------------------------------------------------------------------------------------- */

/* Moment i of the list: "exp_avg" of param 0, .. False past the last one. */
struct optim_state {
    const char *slot;       /* "exp_avg", "exp_avg_sq", "momentum", "row_var", "col_var", "variance" */
    const struct param *param;
    float *data;            /* [n] */
    uint64_t n;
};
bool optim_state_at(struct optim *o, size_t i, struct optim_state *state);
/* Updates done so far. */
int64_t optim_steps(const struct optim *o);
void optim_set_steps(struct optim *o, int64_t steps);

/* ---- schedules --------------------------------------------------------------------------------------------------- */

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_COSINE, SCHEDULE_LINEAR, SCHEDULE_COUNT };
extern const char *const schedule_names[SCHEDULE_COUNT];   /* "constant", "cosine", "linear" */

struct schedule {
    enum schedule_kind kind;
    double lr;              /* the highest */
    double end;             /* share of lr that is left after the last step; cosine and linear */
    int64_t warmup;         /* steps: step i (from 0) of them has (i + 1) / warmup of lr */
    int64_t steps;          /* of the whole run */
};
/* Learning rate of step i, from 0. */
double schedule_lr(const struct schedule *s, int64_t i);

#endif
