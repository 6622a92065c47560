/* reader_source: samples of a task of long memory as training data, drawn without end and without a file. */
#ifndef STUDY_READER_SOURCE_H
#define STUDY_READER_SOURCE_H

#include "train/data.h"

struct reader_source_options {
    const char *task;
    snellen_long_options sample;    /* set and seed too */
    int64_t shortest, longest;      /* tokens in all: shortest, shortest + step, .. up to longest, drawn evenly */
    int64_t step;
    int64_t first_longest;          /* curriculum: the longest at first, which grows by step; 0 = longest at once */
    double raise_below;             /* curriculum: .. whenever the mean loss falls below this */
    double raise_by;                /* curriculum: .. by this share of the longest where that is more */
    bool by_log;                    /* lengths are drawn evenly by their logarithm */
    double again;                   /* weight of the key's repetition in the loss; answers have 1, the rest 0 */
};
snellen_status reader_source_open(const struct reader_source_options *options, const snellen_model *model,
                                  struct source **out, snellen_error *err);

#endif
