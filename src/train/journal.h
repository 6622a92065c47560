/* journal: a file of JSON objects, one a line, each with its "step". Lines are appended whole and are on disk before
 * the checkpoint that follows them. */
#ifndef TRAIN_JOURNAL_H
#define TRAIN_JOURNAL_H

#include "base/base.h"

#include <jansson.h>

struct journal {
    FILE *file;
    char *path;
};
/* Keeps the lines up to `step` (0 = none) and cuts off what comes after them. */
snellen_status journal_open(struct journal *j, const char *folder, const char *name, int64_t step, snellen_error *err);
/* Appends the object and releases it; NULL is memory that ran out. */
snellen_status journal_add(struct journal *j, json_t *object, snellen_error *err);
/* What was added is on disk. */
snellen_status journal_sync(struct journal *j, snellen_error *err);
void journal_close(struct journal *j);

#endif
