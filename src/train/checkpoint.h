/* checkpoint: what a killed run needs to go on as if nothing had happened: weights or factors, the optimiser's moments,
 * the place in the data, counts and what early stopping remembers. Random numbers are drawn from the seed and counters
 * that the place in the data holds, so that there is no other random state.
 *
 * One safetensors file: "value.NAME" and "SLOT.NAME" for each param, "state", JSON as bytes. It is written beside its
 * name, synced and renamed: a kill or a full disk leaves the one before. */
#ifndef TRAIN_CHECKPOINT_H
#define TRAIN_CHECKPOINT_H

#include "train/data.h"
#include "train/optim.h"

enum { TRAIN_RECENT = 20 };

struct train_state {
    int64_t step;               /* updates done */
    uint64_t tokens;            /* read so far, without filling */
    double seconds;             /* of training so far, over all sessions */
    double loss;                /* of the last step */
    double best;                /* lowest measure of an evaluation; NAN = none yet */
    int64_t best_step, evals_since_best;
    float *carried;             /* [n_carried] memories that the next step may go on with; NULL = none */
    uint64_t n_carried;
    bool jumping;               /* positions skip: see train_options.jumps_below */
    double recent[TRAIN_RECENT]; /* losses of the last steps, step i at i % TRAIN_RECENT */
};

/* Refused with SNELLEN_E_FORMAT when a weight is not finite. */
snellen_status checkpoint_save(const char *path, const struct train_state *state, struct optim *optim,
                               const struct params *params, const struct source *source, snellen_error *err);
/* Into params, optimiser and source of the same shapes. */
snellen_status checkpoint_load(const char *path, struct train_state *state, struct optim *optim, struct params *params,
                               struct source *source, snellen_error *err);

/* The values alone, under their own names, and a text (JSON; NULL = none) as the tensor "about": the best weights of a
 * run, or its low-rank factors. */
snellen_status values_save(const char *path, const struct params *params, const char *about, snellen_error *err);
snellen_status values_load(const char *path, struct params *params, snellen_error *err);

/* ---- low-rank factors in a file of their own (lora.c) ------------------------------------------------------------ */

/* What values_save() needs to know of factors; by free(), NULL when memory runs out. */
char *lora_about(const struct snellen_model *model, const struct lora_options *options);
/* Puts the factors of such a file, or of lora.safetensors in a folder, beside the model's maps, and makes the memory that
 * they were trained with the model's. */
snellen_status lora_load(struct snellen_model *model, const char *path, snellen_error *err);

#endif
