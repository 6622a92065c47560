/* curriculum: the longest length that is trained on grows as the model learns: one step or a share more whenever the
 * running mean of the loss is below a threshold, but not twice within a few steps. */
#ifndef STUDY_CURRICULUM_H
#define STUDY_CURRICULUM_H

#include "base/base.h"

#include <jansson.h>

struct curriculum {
    int64_t shortest, longest;      /* of all */
    int64_t step;                   /* that the longest grows by .. */
    double share;                   /* .. or by this share of itself, where that is more */
    double raise_below;
    bool by_log;                    /* lengths are drawn evenly by their logarithm */
    int64_t top;                    /* the longest now */
    double mean_loss;               /* NAN at first */
    int64_t steps_at_top;
};

/* From `first` on; 0 = all lengths from the start. SNELLEN_E_USAGE when first is no length between the others. */
snellen_status curriculum_start(struct curriculum *c, int64_t first, snellen_error *err);
/* Told the loss of each step of the training. */
void curriculum_learned(struct curriculum *c, double loss);
/* A length of shortest, shortest + step, .. up to the longest now: all equally likely, or by_log, as many between 100 and
 * 200 as between 1,000 and 2,000. */
int64_t curriculum_draw(const struct curriculum *c, struct rng *rng);
/* Where it stands, into an object and back. */
void curriculum_put(const struct curriculum *c, json_t *object);
snellen_status curriculum_take(struct curriculum *c, const json_t *object, snellen_error *err);

#endif
