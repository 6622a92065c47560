/* bench -o: speed over the sizes of prompts and over depths, as lines with a band from least to most; an earlier run
 * beside it. */
#include "cli/bench.h"

#include "report/plot.h"

#include <math.h>
#include <string.h>

static const struct subject {
    const char *test, *id, *title, *axis;
    enum plot_scale scale;
    bool by_depth;           /* else by tokens */
} subjects[] = {
    { "prompt", "bench-prompt", "Reading prompts, by their size", "tokens in the prompt", PLOT_LOG, false },
    { "decode", "bench-decode", "Making tokens, by depth", "tokens in the session before", PLOT_LINEAR, true },
};

/* Points of one line, from left to right. */
struct line {
    size_t n;
    double *x, *median, *least, *most;
};

static int64_t place_of(const struct subject *s, const struct bench_row *row)
{
    return s->by_depth ? row->depth : row->tokens;
}

/* Are both on one line? Rates of 4 tokens and of 400 are not. */
static bool alike(const struct subject *s, const struct bench_row *a, const struct bench_row *b)
{
    return !strcmp(a->test, b->test) && (s->by_depth ? a->tokens == b->tokens : a->depth == b->depth);
}

static const struct bench_row *first_of(const struct subject *s, const struct bench_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(rows[i].test, s->test)) return &rows[i];
    return NULL;
}

/* Do the rows have two points of a line at least? */
static bool has_line(const struct subject *s, const struct bench_row *rows, size_t n)
{
    const struct bench_row *first = first_of(s, rows, n);
    for (size_t i = 0; first && i < n; i++)
        if (alike(s, &rows[i], first) && place_of(s, &rows[i]) != place_of(s, first)) return true;
    return false;
}

bool bench_has_figures(const struct bench_row *rows, size_t n)
{
    return has_line(&subjects[0], rows, n) || has_line(&subjects[1], rows, n);
}

static void set_point(struct line *l, size_t at, double x, const struct bench_row *row)
{
    l->x[at] = x;
    l->median[at] = row->median;
    l->least[at] = row->least;
    l->most[at] = row->most;
}

/* Puts a row at its place among the points; one that is taken stays as it is. */
static void add_point(struct line *l, double x, const struct bench_row *row)
{
    size_t at = l->n;
    while (at && l->x[at - 1] > x) at--;
    if (at && l->x[at - 1] == x) return;
    double *const columns[] = { l->x, l->median, l->least, l->most };
    for (size_t i = 0; i < COUNT_OF(columns); i++)
        memmove(columns[i] + at + 1, columns[i] + at, (l->n - at) * sizeof(double));
    set_point(l, at, x, row);
    l->n++;
}

/* The rows that are on one line with `first`; mem_free() its x. */
static snellen_status line_of(const struct subject *s, const struct bench_row *first, const struct bench_row *rows,
                              size_t n, struct line *l, snellen_error *err)
{
    *l = (struct line){ 0 };
    TRY(NEW_ARRAY(&l->x, 4 * MAX(n, 1), "points", err));
    l->median = l->x + n;
    l->least = l->median + n;
    l->most = l->least + n;
    for (size_t i = 0; i < n; i++)
        if (alike(s, &rows[i], first)) add_point(l, (double)place_of(s, &rows[i]), &rows[i]);
    return SNELLEN_OK;
}

static struct plot_series series_of(const char *name, const struct line *l, double *top)
{
    for (size_t i = 0; i < l->n; i++) *top = fmax(*top, l->most[i]);
    return (struct plot_series){ .name = name, .n = l->n, .x = l->x, .y = l->median, .low = l->least, .high = l->most };
}

static snellen_status draw_lines(const struct subject *s, const struct line *now, const struct line *before,
                                 const char *caption, const char *folder, snellen_error *err)
{
    double top = 0;
    struct plot_series series[] = { series_of(before->n ? "now" : "median", now, &top),
                                    series_of("before", before, &top) };
    series[1].aside = true;
    struct plot_figure f = { .id = s->id, .title = s->title, .caption = caption, .alt = "", .command = ui_command(),
                             .x = { .label = s->axis, .scale = s->scale },
                             .y = { .label = "tokens a second", .low = 0, .high = top * 1.1 },
                             .series = series, .n_series = before->n ? 2 : 1 };
    return plot_write_all(&f, folder, err);
}

static snellen_status draw(const struct subject *s, const struct bench_figures *f, snellen_error *err)
{
    const struct bench_row *first = first_of(s, f->rows, f->n_rows);
    struct line now, before = { 0 };
    TRY(line_of(s, first, f->rows, f->n_rows, &now, err));
    snellen_status status = SNELLEN_OK;
    if (f->earlier) status = line_of(s, first, f->earlier->rows, f->earlier->n_rows, &before, err);
    if (!status) status = draw_lines(s, &now, &before, f->caption, f->folder, err);
    mem_free(now.x);
    mem_free(before.x);
    return status;
}

snellen_status bench_draw(const struct bench_figures *f, snellen_error *err)
{
    for (size_t i = 0; i < COUNT_OF(subjects); i++)
        if (has_line(&subjects[i], f->rows, f->n_rows)) TRY(draw(&subjects[i], f, err));
    return SNELLEN_OK;
}
