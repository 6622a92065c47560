/* training: the parts of a training run as a study file asks for them. */
#ifndef STUDY_TRAINING_H
#define STUDY_TRAINING_H

#include "train/loop.h"
#include "train/settings.h"

/* The mean loss of the same samples each time. */
struct held_out {
    struct evaluator evaluator;     /* first: the two share their address */
    struct source *source;
    struct grad *grad;
    json_t *start;                  /* the source's position before the first sample */
    int64_t n, batch;
};

/* Lines of a task that the model writes itself; the measure is the share that is not exact (written.c). */
struct written {
    struct evaluator evaluator;     /* first, as above */
    const struct settings *settings;
    const snellen_model *model;
    int n_threads;
};

struct training {
    const struct settings *settings;
    uint64_t seed;
    int n_threads;
    snellen_model *model;
    struct train train;
    struct lora_options lora;       /* rank 0: all weights */
    char *about;
    struct held_out held_out;
    struct written written;
};

/* Model, data, optimiser, memory of a step, evaluation; all are taken before the first step. */
snellen_status training_open(struct training *t, const struct settings *settings, uint64_t seed, int n_threads,
                             snellen_error *err);
void training_close(struct training *t);

/* The model of the settings: loaded, or new with this seed (training_model.c). */
snellen_status training_model(const struct settings *s, uint64_t seed, snellen_model **model, snellen_error *err);
/* What a finished run left in its folder: its last weights, or those of its best evaluation; *model NULL where these were
 * not kept. Low-rank factors stand beside the matrices of the model that they were trained for. */
snellen_status trained_model(const struct settings *s, const char *folder, bool best, snellen_model **model,
                             snellen_error *err);

/* How lines of a task of symbols are written. */
snellen_line_options line_options_of(const struct settings *s);
/* Is data.task one of long memory? How its samples are to be. */
bool is_long_task(const struct settings *s);
snellen_long_options long_options_of(const struct settings *s, bool train, uint64_t seed);
/* The memory in which trained models are asked: eval.memory, else that of the training. SNELLEN_E_USAGE where sessions
 * do not have it. */
snellen_status evaluation_session(const struct settings *s, int n_threads, snellen_session_options *out,
                                  snellen_error *err);

void written_init(struct written *w, const struct settings *s, const snellen_model *model, int n_threads);

#endif
