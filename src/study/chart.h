/* chart: what a figure of the eye exam shows, as plain numbers; drawing is another matter (figures.c). */
#ifndef STUDY_CHART_H
#define STUDY_CHART_H

#include "study/checkup.h"

enum { CHART_MAX_LINES = 8, CHART_MAX = 48 };

/* What is said about a chart. */
struct chart_text {
    const char *name;        /* file name without ending */
    const char *section;     /* "collapse", "copying", "counting" */
    const char *title, *caption, *alt, *command;
};

struct chart_line {
    const char *label;
    size_t n;
    double *x, *y;           /* [n] */
    double *low, *high;      /* [n] a band; NULL = none */
    bool paper;              /* read off the paper's figure: drawn apart from ours */
    bool bars;               /* how often, not how much */
};

enum chart_kind { CHART_LINES, CHART_HEAT };

struct chart {
    enum chart_kind kind;
    struct chart_text text;
    const char *x_label, *y_label;
    bool log_x, log_y;
    struct chart_line lines[CHART_MAX_LINES];
    size_t n_lines;
    bool has_rule;           /* a horizontal line .. */
    double rule;
    const char *rule_label;  /* .. that says this */
    /* heat maps: values [n_y, n_x], row by row from the bottom; colours by log10 when log_y */
    double *values;
    size_t n_x, n_y;
    double *x_ticks, *y_ticks; /* [n_x], [n_y] what rows and columns stand for */
    const char *value_label;
};

/* All charts that there are numbers for, in the order of the page. *charts [*n] lives in c->arena. */
snellen_status checkup_charts(struct checkup *c, struct chart **charts, size_t *n, snellen_error *err);

/* By subject: each adds what it can to charts [*n .. CHART_MAX]. */
snellen_status chart_collapse(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err);
snellen_status chart_tasks(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err);
/* The command that redraws what only a whole part of the exam ("copying", "retrieval", ..) can. */
const char *chart_exam_command(struct checkup *c, const char *part);
/* A new line with room for `room` points (and a band), or an error. */
snellen_status chart_add_line(struct arena *arena, struct chart *chart, const char *label, size_t room, bool band,
                              struct chart_line **line, snellen_error *err);

#endif
