/* overview: what the page says before its figures: a card for each sense, a ranking of cures for each task that fails. */
#ifndef STUDY_OVERVIEW_H
#define STUDY_OVERVIEW_H

#include "study/senses.h"

/* Fills cards and rankings of the page; they live in c->arena. A card points to a ranking, else to a figure that is drawn. */
snellen_status overview_fill(struct checkup *c, const struct plot_figure *figures, size_t n_figures, struct report_page *page,
                             snellen_error *err);

#endif
