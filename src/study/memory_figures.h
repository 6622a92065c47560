/* memory_figures: what goes through a memory, drawn: what its rows look at, what a cut takes away, how long a key lasts. */
#ifndef STUDY_MEMORY_FIGURES_H
#define STUDY_MEMORY_FIGURES_H

#include "base/base.h"

/* Where the figures go, as PNG, SVG and CSV. */
struct memory_drawing {
    const snellen_model *model;     /* its tokens are the labels */
    const char *folder, *command;
};

/* A row a block, a column for each row of the memory before and each token: memory-attention, the mean over layers, and
 * memory-attention-layerL of each layer of a model that has at most 16. tokens: the whole text. */
snellen_status memory_attention_draw(const struct memory_drawing *d, const snellen_memory_attention *a, const int32_t *tokens,
                                     snellen_error *err);
/* memory-cuts: nats that the answer loses over the block at which the memory was cut; layers' own as further lines, or,
 * where they are many, as the map memory-cuts-layers. */
snellen_status memory_cuts_draw(const struct memory_drawing *d, const snellen_memory_cuts *c, snellen_error *err);
/* memory-survival: share of keys and of digits over blocks; memory-survival-log-p: how likely a key is. `guess`: log p of a
 * key that is guessed. */
snellen_status memory_survival_draw(const struct memory_drawing *d, const snellen_survival *s, double guess,
                                    snellen_error *err);

#endif
