/* overview: the parts of a page that are read in a minute: cards, and what helps. */
#ifndef REPORT_OVERVIEW_H
#define REPORT_OVERVIEW_H

#include "report/html.h"

/* Cards, then what their words mean; nothing without cards. */
void overview_cards(struct strbuf *out, const struct report_page *page);
/* For each thing that fails the cures that were tried; nothing without rankings. */
void overview_rankings(struct strbuf *out, const struct report_page *page);

/* "good", "warn", "bad", "plain": a level as a class, and as a sign that needs no colour. */
const char *level_class(enum report_level level);
const char *level_mark(enum report_level level);

#endif
