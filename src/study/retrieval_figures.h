/* retrieval_figures: what a model finds by depth and length, drawn. */
#ifndef STUDY_RETRIEVAL_FIGURES_H
#define STUDY_RETRIEVAL_FIGURES_H

#include "base/base.h"

/* Into the folder, which is made, as PNG, SVG and CSV:
 *
 *   retrieval-TASK-right, retrieval-TASK-margin    a cell for each length and depth
 *   retrieval-TASK-depth                           margin over depth, a line a length and one of all: the U shape, where there is one
 *   retrieval-lengths                              share of right answers over length, a line a task
 *   retrieval-index-content                        margin over length of the two questions about a list
 *
 * Lines over depth need two depths, those over length two lengths that were asked in full. Needs a cell. */
snellen_status retrieval_draw_figures(const snellen_retrieval_result *r, const char *folder, const char *command,
                                      snellen_error *err);

#endif
