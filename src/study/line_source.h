/* line_source: lines of a symbol task as training data, drawn without end and without a file. */
#ifndef STUDY_LINE_SOURCE_H
#define STUDY_LINE_SOURCE_H

#include "train/data.h"

struct line_source_options {
    const char *task;
    snellen_line_options line;      /* its seed and set are those of the source */
    int64_t shortest, longest;      /* lengths, drawn evenly */
    int64_t first_longest;          /* curriculum: the longest length at first; 0 = longest from the start */
    double raise_below;             /* curriculum: one more length whenever the mean loss falls below this */
    bool train;                     /* lines of the training set; else of the test set */
    uint64_t seed;
};
/* Tokens are those of the model's tokenizer, or of the tasks' own vocabulary where it has none. */
snellen_status line_source_open(const struct line_source_options *options, const snellen_model *model,
                                struct source **out, snellen_error *err);

#endif
