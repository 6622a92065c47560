/* senses: the exam as a person asks about it. Does the model tell n from n + 1, copy, count, find, follow, remember; up to which
 * length; and which cure helps most. Pure functions of a plan whose work is done: every number is one of judge.c. */
#ifndef STUDY_SENSES_H
#define STUDY_SENSES_H

#include "study/checkup.h"

/* ---- cures --------------------------------------------------------------------------------------------------------------- */

enum { SENSES_MAX_CURES = 16 };

/* One of the cures and styles of a task, against none. */
struct cure_rank {
    const struct checkup_task *with;
    struct cure_finding gain;
};
/* All that were tried, the largest gain first: by right answers, then by margin. */
size_t senses_rank(const struct checkup_plan *plan, const char *task, struct cure_rank ranks[SENSES_MAX_CURES]);
/* The whole 95 % interval of right answers or of margins lies above 0 and neither lies below; one question shows nothing. */
bool senses_helps(const struct cure_finding *gain);
/* The other way round. */
bool senses_hurts(const struct cure_finding *gain);
/* "alternating digits", "step by step", "no cure". */
const char *senses_cure_name(const struct checkup_task *task);

/* ---- senses --------------------------------------------------------------------------------------------------------------- */

enum { SENSES_MAX = 6, SENSES_MAX_LINES = 8 };

/* One of the things that a sense consists of. */
struct sense_line {
    const char *what, *unit;     /* "last digit", "digits" */
    const char *figure;          /* id of the one that shows it, where that is drawn */
    const char *task;            /* whose cures can be ranked; NULL = it has none */
    struct reach reach;
};

struct sense_finding {
    const char *name;            /* "Copies" */
    const char *definition;      /* what up to a length, and failing at one, mean */
    const char *ask;             /* what asks it: options of checkup, or another command; MODEL stands for the model */
    struct sense_line lines[SENSES_MAX_LINES];
    size_t n_lines;              /* 0 = this exam did not ask */
    size_t weakest;              /* the line that fails first; where none fails, the first one */
};
/* All senses in the order of the report; returns their number. */
size_t senses_find(const struct checkup *c, struct sense_finding senses[SENSES_MAX]);
/* The best cure that helps a line of this sense that fails, and that line; false = none does. */
bool senses_best_cure(const struct checkup *c, const struct sense_finding *sense, struct cure_rank *best, size_t *line);

#endif
