/* loop: a training run: steps, evaluations, checkpoints, the log.
 *
 * In the run's folder: log.jsonl, an object a step (step from 1, loss before the update, lr, grad_norm before clipping,
 * tokens and seconds so far); eval.jsonl, an object an evaluation; checkpoint.safetensors, the last one;
 * best.safetensors, the weights of the best evaluation. A run that is resumed goes on with exactly the losses that it
 * would have had; the logs are cut to the checkpoint's step first. */
#ifndef TRAIN_LOOP_H
#define TRAIN_LOOP_H

#include "train/checkpoint.h"

struct train_options {
    struct schedule schedule;       /* steps: of the whole run */
    int64_t batch, micro_batch;     /* sequences of a step; those that go through the model at once, a divisor */
    int64_t hardest;                /* > 1: so many times the batch is read, and trained on is the batch of largest loss */
    double clip;                    /* largest norm of all gradients; 0 = none */
    double stop_loss;               /* > 0: stop when the mean of the last TRAIN_RECENT losses is below */
    int64_t save_every, eval_every; /* steps */
    int64_t patience;               /* > 0: stop after as many evaluations without a better one */
    double state_passing;           /* feedback memory: probability that a step goes on with the memories of the one before */
    int64_t passing_after;          /* steps without that at first */
    double memory_noise;            /* memories with rows: on their way from block to block, of a row's own length */
    bool position_offset;           /* every other step, at random, begins at a place up to 2 pi 10000 */
    int64_t position_jumps;         /* > 0: positions skip up to so many places, up to four times a sequence, at random */
    double jumps_below;             /* .. once the mean of the last TRAIN_RECENT losses is below this; 0 = from the first step */
    uint64_t seed;                  /* of all that is random about a step */
};

/* Measures the model as it is now: the lower the better. May put more into `numbers`, which eval.jsonl keeps. */
struct evaluator {
    snellen_status (*measure)(struct evaluator *evaluator, int64_t step, double *measure, json_t *numbers,
                              snellen_error *err);
};

enum train_end { TRAIN_DONE, TRAIN_STOPPED_LOSS, TRAIN_STOPPED_PATIENCE };

struct train {
    struct train_options options;
    const char *folder;             /* exists */
    const char *about;              /* for values_save(); may be NULL */
    struct params *params;
    struct optim *optim;
    struct grad *grad;              /* takes micro_batch sequences of source->longest tokens */
    struct source *source;
    struct evaluator *evaluator;    /* or NULL */
    const snellen_progress *progress;  /* or NULL; told "steps, loss X" */
    /* results */
    struct train_state state;
    enum train_end end;
    int64_t saved_step;             /* of the checkpoint in the folder; -1 = none */
};

/* From the first step, or from the folder's checkpoint when `resume`. SNELLEN_E_CANCELLED: stopped by progress, a
 * checkpoint was written. A loss that is not finite is SNELLEN_E_OVERFLOW: the checkpoint before it stays. */
snellen_status train_run(struct train *t, bool resume, snellen_error *err);
/* Does the folder hold a checkpoint? */
bool train_has_checkpoint(const char *folder);

/* The mean loss of the next n samples of a source, forward only (batches of at most `batch`). */
snellen_status train_measure(struct grad *grad, struct source *source, int64_t n, int64_t batch, double *loss,
                             snellen_error *err);

#endif
