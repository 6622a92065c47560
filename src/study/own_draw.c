/* Questions of a user's own, drawn: the share of right answers and the margin over filler, a line a cure; findings; a table. */
#include "base/base.h"
#include "report/html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CURES = 8 };

struct drawing {
    const snellen_own_result *result;
    const char *folder, *title, *command;
    const char *cures[MOST_CURES];
    size_t n_cures;
    struct arena arena;
};

static const char *cure_title(const char *cure)
{
    return *cure ? cure : "as it is";
}

static double share(const snellen_own_cell *c)
{
    return (double)c->n_right / (double)c->n;
}

static void list_cures(struct drawing *d)
{
    for (size_t i = 0; i < d->result->n_cells; i++) {
        const char *cure = d->result->cells[i].cure;
        if ((!d->n_cures || strcmp(d->cures[d->n_cures - 1], cure)) && d->n_cures < MOST_CURES) d->cures[d->n_cures++] = cure;
    }
}

static snellen_status make_line(struct drawing *d, const char *cure, bool margin, struct plot_series *out, snellen_error *err)
{
    const snellen_own_result *r = d->result;
    double *x = arena_alloc(&d->arena, 4 * r->n_cells * sizeof *x), *y = x + r->n_cells, *low = y + r->n_cells,
           *high = low + r->n_cells;
    FAIL_IF(!x, SNELLEN_E_MEMORY, "figure: memory ran out");
    size_t n = 0;
    for (size_t i = 0; i < r->n_cells; i++) {
        const snellen_own_cell *c = &r->cells[i];
        if (strcmp(c->cure, cure)) continue;
        x[n] = (double)c->filler;
        y[n] = margin ? c->margin : share(c);
        low[n] = margin ? c->margin_low : c->right_low;
        high[n] = margin ? c->margin_high : c->right_high;
        n++;
    }
    *out = (struct plot_series){.name = cure_title(cure), .n = n, .x = x, .y = y, .low = low, .high = high};
    return SNELLEN_OK;
}

static snellen_status draw(struct drawing *d, bool margin, struct plot_series *lines, struct plot_figure *f, snellen_error *err)
{
    for (size_t i = 0; i < d->n_cures; i++) TRY(make_line(d, d->cures[i], margin, &lines[i], err));
    *f = (struct plot_figure){
        .id = margin ? "margin" : "right", .title = margin ? "How sure of the right answer" : "Right answers",
        .caption = margin ? "Least of log p(token) - log p(best other token) over the expected answer, mean over the questions; above "
                            "0 is right. Band: 95 % by Student's t."
                          : "Share of questions whose expected answer is what greedy writing gives. Band: Wilson's 95 % interval.",
        .alt = "", .command = d->command, .x = {.label = "tokens of filler", .scale = PLOT_LOG},
        .y = margin ? (struct plot_axis){.label = "margin, nats", .scale = PLOT_LINEAR}
                    : (struct plot_axis){.label = "right answers", .low = 0, .high = 1},
        .series = lines, .n_series = d->n_cures};
    return plot_write_all(f, d->folder, err);
}

/* How far each cure reaches, and what it gains over all questions and lengths. */
static snellen_status find(struct drawing *d, struct report_finding *findings, snellen_error *err)
{
    for (size_t k = 0; k < d->n_cures; k++) {
        int64_t reach = snellen_own_reach(d->result, d->cures[k]);
        const char *text;
        if (reach < 0)
            text = arena_printf(&d->arena, "%s: none is right even with the least filler.", cure_title(d->cures[k]));
        else
            text = arena_printf(&d->arena, "%s: up to %lld tokens of filler at least 85 %% of what is right with the least stays right.",
                                cure_title(d->cures[k]), (long long)reach);
        FAIL_IF(!text, SNELLEN_E_MEMORY, "report: memory ran out");
        findings[k] = (struct report_finding){reach < 0 ? REPORT_BAD : REPORT_PLAIN, text, "right"};
    }
    return SNELLEN_OK;
}

static snellen_status make_table(struct drawing *d, struct report_table *table, snellen_error *err)
{
    static const char *const header[] = {"cure", "tokens of filler", "questions", "right", "95 % interval", "margin", "95 % interval"};
    const snellen_own_result *r = d->result;
    const char **cells = arena_alloc(&d->arena, MAX(r->n_cells, 1) * COUNT_OF(header) * sizeof *cells);
    FAIL_IF(!cells, SNELLEN_E_MEMORY, "report: memory ran out");
    for (size_t i = 0; i < r->n_cells; i++) {
        const snellen_own_cell *c = &r->cells[i];
        const char **row = cells + i * COUNT_OF(header);
        row[0] = cure_title(c->cure);
        row[1] = arena_printf(&d->arena, "%lld", (long long)c->filler);
        row[2] = arena_printf(&d->arena, "%u", c->n);
        row[3] = arena_printf(&d->arena, "%.2f", share(c));
        row[4] = arena_printf(&d->arena, "%.2f .. %.2f", c->right_low, c->right_high);
        row[5] = arena_printf(&d->arena, "%.3f", c->margin);
        row[6] = arena_printf(&d->arena, "%.3f .. %.3f", c->margin_low, c->margin_high);
        for (size_t k = 0; k < COUNT_OF(header); k++) FAIL_IF(!row[k], SNELLEN_E_MEMORY, "report: memory ran out");
    }
    *table = (struct report_table){.caption = "All cells", .header = header, .cells = cells, .n_columns = COUNT_OF(header),
                                   .n_rows = r->n_cells};
    return SNELLEN_OK;
}

static snellen_status write_report(struct drawing *d, snellen_error *err)
{
    struct plot_series lines[2][MOST_CURES];
    struct plot_figure figures[2];
    const struct plot_figure *list[] = {&figures[0], &figures[1]};
    struct report_finding findings[MOST_CURES];
    struct report_table table;
    char path[4200];
    TRY(folder_make(d->folder, err));
    for (int margin = 0; margin < 2; margin++) TRY(draw(d, margin, lines[margin], &figures[margin], err));
    TRY(find(d, findings, err));
    TRY(make_table(d, &table, err));
    const struct report_section section = {
        .heading = "Over filler", .lead = "Each question as it is and with cures, with more and more filler before it or where it says "
        "{filler}.", .figures = list, .n_figures = 2, .tables = &table, .n_tables = 1};
    const struct report_fact footer[] = {{"version", snellen_version()}, {"command", d->command}};
    const struct report_page page = {.title = d->title, .subtitle = "Questions of one's own, grown by filler", .findings = findings,
                                     .n_findings = d->n_cures, .sections = &section, .n_sections = 1, .footer = footer,
                                     .n_footer = COUNT_OF(footer)};
    snprintf(path, sizeof path, "%s/index.html", d->folder);
    return report_write_html(&page, path, err);
}

snellen_status snellen_own_draw(const snellen_own_result *result, const char *folder, const char *title, const char *command,
                                snellen_error *err)
{
    struct drawing d = {.result = result, .folder = folder, .title = title, .command = command};
    FAIL_IF(!result->n_cells, SNELLEN_E_USAGE, "nothing was asked, so there is nothing to draw");
    list_cures(&d);
    snellen_status status = write_report(&d, err);
    arena_free(&d.arena);
    return status;
}
