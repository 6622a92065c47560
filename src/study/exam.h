/* exam: studies that ask a model, or need none, and train nothing: the figures of arXiv 2406.04267, one part each.
 *
 *     exam: {part: copying, model: smollm2, prompts: 20}
 *
 *   exam.c             keys, the parts, figures, page and results.json of a part
 *   exam_synthetic.c   figures 8, 9 and 10: attention over random numbers
 *   exam_squash.c      what reaches the end of texts, measured against the theorem's bound
 *
 * copying, counting and collapse are those of a full exam (checkup.h), which draws them. */
#ifndef STUDY_EXAM_H
#define STUDY_EXAM_H

#include "report/html.h"
#include "study/study.h"

enum { EXAM_MAX_FIGURES = 8, EXAM_MAX_LINES = 8, EXAM_MAX_FINDINGS = 24 };

struct exam {
    const struct study_file *file;
    const snellen_study_options *options;
    const snellen_progress *progress;
    const char *part, *model;
    int64_t prompts, seed, probes;        /* prompts or draws a cell */
    struct int_row lengths;
    struct arena arena;
    struct plot_figure figures[EXAM_MAX_FIGURES];
    size_t n_figures;
    struct report_finding findings[EXAM_MAX_FINDINGS];
    size_t n_findings;
};

snellen_status exam_synthetic(struct exam *e, snellen_error *err);
snellen_status exam_squash(struct exam *e, snellen_error *err);

/* False when the user wants to stop. */
bool exam_told(const struct exam *e, const char *what, uint64_t done, uint64_t total);
/* A line of means with their 95 % intervals: values [n_x, n], n of each x; geometric: both by their logarithms. */
snellen_status exam_line(struct exam *e, const char *name, const double *x, size_t n_x, const double *values, size_t n, bool geometric,
                         struct plot_series *out, snellen_error *err);
/* n points read off the paper's figure. */
struct plot_series exam_paper(const char *name, const double *x, const double *y, size_t n);
/* Copies lines and rule into a figure of the study and draws it. The rest of `f` is set. */
snellen_status exam_draw(struct exam *e, struct plot_figure f, const struct plot_series *lines, size_t n_lines,
                         const struct plot_rule *rule, snellen_error *err);
/* A sentence that begins with what was found; the figure shows it. */
snellen_status exam_find(struct exam *e, const char *figure, snellen_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Runs the part that the file names. *report: the findings as text, by snellen_free(). */
snellen_status exam_study(const struct study_file *file, const snellen_study_options *options, const snellen_progress *progress,
                          char **report, snellen_error *err);

#endif
