/* Figures of the probe of retrieval. */
#include "study/retrieval.h"

#include "tasks/tasks.h"

#include <math.h>
#include <string.h>

enum { MOST_LINES = 7 };

struct drawing {
    const snellen_retrieval_result *r;
    const char *command;
    struct arena *arena;
    struct plot_figure *figures;   /* [n_tasks of 3, and 2] */
    size_t n_figures;
};

static snellen_status ran_out(snellen_error *err)
{
    FAIL(SNELLEN_E_MEMORY, "figure: memory ran out");
}

/* A figure with its lines [n], which are copied. */
static snellen_status add_figure(struct drawing *d, struct plot_figure f, const struct plot_series *lines, size_t n,
                                 snellen_error *err)
{
    struct plot_series *own = arena_alloc(d->arena, MAX(n, 1) * sizeof *own);
    if (!own || !f.id || !f.title || !d->command) return ran_out(err);
    if (n) memcpy(own, lines, n * sizeof *own);
    f.alt = "";
    f.command = d->command;
    f.series = own;
    f.n_series = n;
    d->figures[d->n_figures++] = f;
    return SNELLEN_OK;
}

static double share(const snellen_retrieval_cell *c)
{
    return (double)c->n_right / (double)c->n;
}

/* ---- one task ---------------------------------------------------------------------------------------------------- */

/* The cells of a task, and along which lengths and depths they lie, ascending. */
struct grid {
    const char *task;
    const snellen_retrieval_cell *cells;
    size_t n_cells, n_lengths, n_depths;
    int64_t *lengths;
    double *depths;
};

static snellen_status grid_of(struct drawing *d, const char *task, struct grid *g, snellen_error *err)
{
    const snellen_retrieval_result *r = d->r;
    size_t first = 0;
    while (first < r->n_cells && r->cells[first].task != task) first++;
    *g = (struct grid){.task = task, .cells = r->cells + first};
    while (first + g->n_cells < r->n_cells && g->cells[g->n_cells].task == task) g->n_cells++;
    g->lengths = arena_alloc(d->arena, g->n_cells * sizeof *g->lengths);
    g->depths = arena_alloc(d->arena, g->n_cells * sizeof *g->depths);
    if (!g->lengths || !g->depths) return ran_out(err);
    for (size_t i = 0; i < g->n_cells; i++) {
        const snellen_retrieval_cell *c = &g->cells[i];
        if (!g->n_lengths || c->length > g->lengths[g->n_lengths - 1]) g->lengths[g->n_lengths++] = c->length;
        if (g->n_lengths == 1) g->depths[g->n_depths++] = c->depth;   /* the first length has all, or it is the only one */
    }
    return SNELLEN_OK;
}

/* NULL where a run was interrupted before. */
static const snellen_retrieval_cell *cell_at(const struct grid *g, size_t length, size_t depth)
{
    for (size_t i = 0; i < g->n_cells; i++)
        if (g->cells[i].length == g->lengths[length] && g->cells[i].depth == g->depths[depth]) return &g->cells[i];
    return NULL;
}

/* Values and what stands in the cells; the first depth at the bottom. */
static snellen_status fill_heat(struct drawing *d, const struct grid *g, bool margin, struct plot_heat *heat, snellen_error *err)
{
    size_t nx = g->n_lengths, ny = g->n_depths;
    double *values = arena_alloc(d->arena, nx * ny * sizeof *values);
    const char **cells = arena_alloc(d->arena, nx * ny * sizeof *cells), **x = arena_alloc(d->arena, nx * sizeof *x),
               **y = arena_alloc(d->arena, ny * sizeof *y);
    if (!values || !cells || !x || !y) return ran_out(err);
    for (size_t j = 0; j < ny; j++)
        for (size_t i = 0; i < nx; i++) {
            const snellen_retrieval_cell *c = cell_at(g, i, j);
            double value = !c ? (double)NAN : margin ? c->margin : share(c);
            values[j * nx + i] = value;
            cells[j * nx + i] = !c ? "" : arena_printf(d->arena, margin ? "%.1f" : "%.2f", value);
            if (!cells[j * nx + i]) return ran_out(err);
        }
    for (size_t i = 0; i < nx; i++)
        if (!(x[i] = arena_printf(d->arena, "%lld", (long long)g->lengths[i]))) return ran_out(err);
    for (size_t j = 0; j < ny; j++)
        if (!(y[j] = arena_printf(d->arena, "%.4g", g->depths[j]))) return ran_out(err);
    *heat = (struct plot_heat){.nx = nx, .ny = ny, .values = values, .cells = cells, .x_labels = x, .y_labels = y,
                               .high = margin ? 0 : 1, .label = margin ? "margin, nats" : "share of right answers"};
    return SNELLEN_OK;
}

static snellen_status draw_heat_map(struct drawing *d, const struct grid *g, bool margin, snellen_error *err)
{
    struct plot_heat *heat = arena_alloc(d->arena, sizeof *heat);
    if (!heat) return ran_out(err);
    TRY(fill_heat(d, g, margin, heat, err));
    const struct plot_figure f = {
        .id = arena_printf(d->arena, "retrieval-%s-%s", g->task, margin ? "margin" : "right"),
        .title = arena_printf(d->arena, "%s: %s by depth and length", g->task, margin ? "margin" : "right answers"),
        .caption = margin ? "Mean over the prompts of log p(right answer) - log p(best of nine wrong ones). Above 0 the right one wins."
                          : "Share of prompts whose right answer is likelier than each of nine wrong ones. Guessing gives 0.10.",
        .x = {.label = "tokens of the question"}, .y = {.label = "depth: 0 = at the start, 1 = at the end"}, .heat = heat};
    return add_figure(d, f, NULL, 0, err);
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* Of a line: mean or share with its interval. */
struct points {
    double *x, *y, *low, *high;
    size_t n;
};

static snellen_status new_points(struct drawing *d, size_t room, struct points *p, snellen_error *err)
{
    double *values = arena_alloc(d->arena, 4 * room * sizeof *values);
    *p = (struct points){0};
    if (!values) return ran_out(err);
    *p = (struct points){.x = values, .y = values + room, .low = values + 2 * room, .high = values + 3 * room};
    return SNELLEN_OK;
}

static void add_point(struct points *p, double x, const snellen_retrieval_cell *c, bool margin)
{
    p->x[p->n] = x;
    p->y[p->n] = margin ? c->margin : share(c);
    p->low[p->n] = margin ? c->margin_low : c->right_low;
    p->high[p->n++] = margin ? c->margin_high : c->right_high;
}

static struct plot_series series_of(const char *name, const struct points *p)
{
    return (struct plot_series){.name = name, .n = p->n, .x = p->x, .y = p->y, .low = p->low, .high = p->high};
}

/* Margin over depth at one length, without its interval: that of all lengths together is drawn. */
static snellen_status depth_line(struct drawing *d, const struct grid *g, size_t length, struct plot_series *s, snellen_error *err)
{
    struct points p;
    const char *name = arena_printf(d->arena, "%lld tokens", (long long)g->lengths[length]);
    if (!name) return ran_out(err);
    TRY(new_points(d, g->n_depths, &p, err));
    for (size_t i = 0; i < g->n_depths; i++) {
        const snellen_retrieval_cell *c = cell_at(g, length, i);
        if (c) add_point(&p, c->depth, c, true);
    }
    *s = series_of(name, &p);
    s->low = s->high = NULL;
    return SNELLEN_OK;
}

/* Margin over depth, all lengths together. */
static snellen_status mean_depth_line(struct drawing *d, const struct grid *g, struct plot_series *s, snellen_error *err)
{
    struct points p;
    double *margins = arena_alloc(d->arena, d->r->n_answers * sizeof *margins);
    if (!margins) return ran_out(err);
    TRY(new_points(d, g->n_depths, &p, err));
    for (size_t i = 0; i < g->n_depths; i++) {
        snellen_retrieval_cell c = {.task = g->task};
        for (size_t j = 0; j < d->r->n_answers; j++) {
            const snellen_retrieval_answer *a = &d->r->answers[j];
            if (a->task == g->task && a->depth == g->depths[i]) margins[c.n++] = (double)a->margin;
        }
        mean_interval(margins, c.n, &c.margin, &c.margin_low, &c.margin_high);
        add_point(&p, g->depths[i], &c, true);
    }
    *s = series_of("all lengths", &p);
    return SNELLEN_OK;
}

static snellen_status draw_depths(struct drawing *d, const struct grid *g, snellen_error *err)
{
    static const struct plot_rule zero = {.at = 0, .label = "right above"};
    struct plot_series lines[MOST_LINES + 1];
    size_t n = MIN(g->n_lengths, MOST_LINES), skip = g->n_lengths - n;   /* the longest, where there are many */
    TRY(mean_depth_line(d, g, &lines[0], err));
    for (size_t i = 0; i < n; i++) TRY(depth_line(d, g, skip + i, &lines[i + 1], err));
    const struct plot_figure f = {
        .id = arena_printf(d->arena, "retrieval-%s-depth", g->task),
        .title = arena_printf(d->arena, "%s: margin over depth", g->task),
        .caption = "A line that sags in the middle: what stands at the start and at the end is found more easily than what lies between "
                   "(a U shape). Mean over the prompts; band: 95 % by Student's t of all lengths together.",
        .x = {.label = "depth: 0 = at the start, 1 = at the end", .low = 0, .high = 1}, .y = {.label = "margin, nats"},
        .rules = &zero, .n_rules = 1};
    return add_figure(d, f, lines, n + 1, err);
}

/* A task over length, all depths together. */
static snellen_status length_line(struct drawing *d, const char *task, bool margin, struct plot_series *s, snellen_error *err)
{
    struct points p;
    TRY(new_points(d, d->r->n_lengths, &p, err));
    for (size_t i = 0; i < d->r->n_lengths; i++) {
        const snellen_retrieval_cell *c = &d->r->lengths[i];
        if (c->task == task) add_point(&p, (double)c->length, c, margin);
    }
    *s = series_of(task, &p);
    return SNELLEN_OK;
}

static snellen_status draw_lengths(struct drawing *d, snellen_error *err)
{
    static const struct plot_rule guess = {.at = 1.0 / SNELLEN_RETRIEVAL_ANSWERS, .label = "guessing"};
    struct plot_series lines[MOST_LINES];
    size_t n = 0;
    for (size_t i = 0; i < d->r->n_tasks && n < MOST_LINES; i++) {
        TRY(length_line(d, d->r->tasks[i].task, false, &lines[n], err));
        n += lines[n].n >= 2;
    }
    const struct plot_figure f = {
        .id = "retrieval-lengths", .title = "What is found over length",
        .caption = "Share of questions, all depths together, whose right answer is likelier than each of nine wrong ones. Band: "
                   "Wilson's 95 % interval.",
        .x = {.label = "tokens of the question", .scale = PLOT_LOG}, .y = {.label = "right answers", .low = 0, .high = 1},
        .rules = &guess, .n_rules = 1};
    return n ? add_figure(d, f, lines, n, err) : SNELLEN_OK;
}

static snellen_status draw_index_content(struct drawing *d, snellen_error *err)
{
    static const struct plot_rule zero = {.at = 0, .label = "right above"};
    struct plot_series lines[2];
    size_t n = 0;
    for (size_t i = 0; i < d->r->n_tasks && n < 2; i++) {
        const char *task = d->r->tasks[i].task;
        if (strncmp(task, "list-", 5)) continue;
        TRY(length_line(d, task, true, &lines[n], err));
        n += lines[n].n >= 2;
    }
    if (n < 2) return SNELLEN_OK;
    const struct plot_figure f = {
        .id = "retrieval-index-content", .title = "The same item by its index and by its name",
        .caption = "Same lists, same items, same answers: only the question differs. Margin, all depths together; band: 95 % by "
                   "Student's t.",
        .x = {.label = "tokens of the question", .scale = PLOT_LOG}, .y = {.label = "margin, nats"},
        .rules = &zero, .n_rules = 1};
    return add_figure(d, f, lines, n, err);
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static snellen_status draw_task(struct drawing *d, const char *task, snellen_error *err)
{
    struct grid g;
    TRY(grid_of(d, task, &g, err));
    if (!g.n_cells) return SNELLEN_OK;   /* interrupted before its first question */
    TRY(draw_heat_map(d, &g, false, err));
    TRY(draw_heat_map(d, &g, true, err));
    return g.n_depths >= 2 ? draw_depths(d, &g, err) : SNELLEN_OK;
}

snellen_status retrieval_figures(struct arena *arena, const snellen_retrieval_result *r, const char *command,
                                 struct plot_figure **figures, size_t *n, snellen_error *err)
{
    struct drawing d = {.r = r, .command = command, .arena = arena};
    d.figures = arena_alloc(arena, (3 * r->n_tasks + 2) * sizeof *d.figures);
    if (!d.figures) return ran_out(err);
    TRY(draw_lengths(&d, err));
    TRY(draw_index_content(&d, err));
    for (size_t i = 0; i < r->n_tasks; i++) TRY(draw_task(&d, r->tasks[i].task, err));
    *figures = d.figures;
    *n = d.n_figures;
    return SNELLEN_OK;
}

snellen_status retrieval_draw_figures(const snellen_retrieval_result *r, const char *folder, const char *command,
                                      snellen_error *err)
{
    struct arena arena = {0};
    struct plot_figure *figures;
    size_t n = 0;
    snellen_status status = folder_make(folder, err);
    if (!status) status = retrieval_figures(&arena, r, command, &figures, &n, err);
    for (size_t i = 0; i < n && !status; i++) status = plot_write_all(&figures[i], folder, err);
    arena_free(&arena);
    return status;
}
