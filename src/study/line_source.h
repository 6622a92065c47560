/* line_source: lines of a symbol task as training data, drawn without end and without a file. */
#ifndef STUDY_LINE_SOURCE_H
#define STUDY_LINE_SOURCE_H

#include "train/data.h"

struct line_kind {
    const char *task, *format;      /* format NULL = the task's first one */
    int64_t shortest, longest;      /* lengths, drawn evenly */
};
struct line_source_options {
    struct line_kind main, mixed;   /* mixed.task NULL: lines of main alone */
    double mixed_share;             /* of the lines */
    snellen_line_options line;      /* pool, spacing and cycle of both */
    int64_t first_longest;          /* curriculum of main: the longest length at first; 0 = longest from the start */
    double raise_below;             /* curriculum: one more length whenever the mean loss falls below this */
    double raise_by;                /* curriculum: .. by this share of the longest where that is more */
    bool by_log;                    /* lengths are drawn evenly by their logarithm */
    bool train;                     /* lines of the training set; else of the test set */
    uint64_t seed;
};
/* Tokens are those of the model's tokenizer, or of the tasks' own vocabulary where it has none. */
snellen_status line_source_open(const struct line_source_options *options, const snellen_model *model,
                                struct source **out, snellen_error *err);

#endif
