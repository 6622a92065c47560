/* retrieval: what a model finds by depth and length, told: as figures, as JSON, in the database.
 *
 *   retrieval_figures.c   the pictures
 *   retrieval_told.c      the numbers
 *
 * Both the probe and the part of the exam show their results through these. */
#ifndef STUDY_RETRIEVAL_H
#define STUDY_RETRIEVAL_H

#include "base/base.h"
#include "report/plot.h"

#include <jansson.h>

/* Figures in an arena, which lives as long as they are used; `command` too:
 *
 *   retrieval-lengths                              share of right answers over length, a line a task
 *   retrieval-index-content                        margin over length of the two questions about a list
 *   retrieval-TASK-right, retrieval-TASK-margin    a cell for each length and depth
 *   retrieval-TASK-depth                           margin over depth, a line a length and one of all: the U shape, where there is one
 *
 * Lines over depth need two depths, those over length two lengths that were asked in full. */
snellen_status retrieval_figures(struct arena *arena, const snellen_retrieval_result *r, const char *command,
                                 struct plot_figure **figures, size_t *n, snellen_error *err);
/* The same into the folder, which is made, as PNG, SVG and CSV. */
snellen_status retrieval_draw_figures(const snellen_retrieval_result *r, const char *folder, const char *command,
                                      snellen_error *err);

/* {tasks, lengths, cells, answers, tokens}; NULL when memory ran out. */
json_t *retrieval_json(const snellen_retrieval_result *r);
/* Each answer, as subject retrieval-TASK with the depth in place of a cure: margin, right, and written_right where it was
 * written. */
snellen_status retrieval_record(snellen_recorder *recorder, const snellen_retrieval_result *r, const char *precision,
                                snellen_error *err);

#endif
