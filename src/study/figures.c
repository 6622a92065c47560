/* Charts drawn: each becomes a figure of the report module, and a PNG, an SVG and a CSV file in the folder. */
#include "study/chart.h"
#include "study/retrieval.h"

/* The numbers as they stand on the axes of a heat map; the last row of a map of layers is after the final norm. */
static snellen_status number_labels(struct arena *arena, const double *ticks, size_t n, const char *last,
                                    const char *const **labels, snellen_error *err)
{
    const char **texts = arena_alloc(arena, n * sizeof *texts);
    FAIL_IF(!texts, SNELLEN_E_MEMORY, "figure: memory ran out");
    for (size_t i = 0; i < n; i++) {
        texts[i] = i + 1 == n && last ? last : arena_printf(arena, "%.0f", ticks[i]);
        FAIL_IF(!texts[i], SNELLEN_E_MEMORY, "figure: memory ran out");
    }
    *labels = texts;
    return SNELLEN_OK;
}

static snellen_status heat_of(struct arena *arena, const struct chart *chart, struct plot_figure *f, snellen_error *err)
{
    struct plot_heat *heat = arena_alloc(arena, sizeof *heat);
    FAIL_IF(!heat, SNELLEN_E_MEMORY, "figure: memory ran out");
    *heat = (struct plot_heat){.nx = chart->n_x, .ny = chart->n_y, .values = chart->values, .log = chart->log_y,
                               .label = chart->value_label};
    TRY(number_labels(arena, chart->x_ticks, chart->n_x, NULL, &heat->x_labels, err));
    TRY(number_labels(arena, chart->y_ticks, chart->n_y, "norm", &heat->y_labels, err));
    f->heat = heat;
    return SNELLEN_OK;
}

static snellen_status series_of(struct arena *arena, const struct chart *chart, struct plot_figure *f, snellen_error *err)
{
    struct plot_series *series = arena_alloc(arena, MAX(chart->n_lines, 1) * sizeof *series);
    struct plot_rule *rule = arena_alloc(arena, sizeof *rule);
    FAIL_IF(!series || !rule, SNELLEN_E_MEMORY, "figure: memory ran out");
    for (size_t i = 0; i < chart->n_lines; i++) {
        const struct chart_line *l = &chart->lines[i];
        series[i] = (struct plot_series){.name = l->label, .style = l->bars ? PLOT_BARS : PLOT_LINE, .dashed = l->paper,
                                         .aside = l->paper, .n = l->n, .x = l->x, .y = l->y, .low = l->low,
                                         .high = l->high};
    }
    *rule = (struct plot_rule){.at = chart->rule, .label = chart->rule_label};
    f->series = series;
    f->n_series = chart->n_lines;
    f->rules = rule;
    f->n_rules = chart->has_rule;
    return SNELLEN_OK;
}

static snellen_status figure_of(struct arena *arena, const struct chart *chart, struct plot_figure *f, snellen_error *err)
{
    const struct chart_text *t = &chart->text;
    *f = (struct plot_figure){.id = t->name, .title = t->title, .caption = t->caption, .alt = t->alt, .command = t->command};
    FAIL_IF(!t->name || !t->title || !t->caption || !t->command, SNELLEN_E_MEMORY, "figure: memory ran out");
    f->x = (struct plot_axis){.label = chart->x_label, .scale = chart->log_x ? PLOT_LOG : PLOT_LINEAR};
    f->y = (struct plot_axis){.label = chart->y_label, .scale = chart->log_y ? PLOT_LOG : PLOT_LINEAR};
    return chart->kind == CHART_HEAT ? heat_of(arena, chart, f, err) : series_of(arena, chart, f, err);
}

snellen_status checkup_figures(struct checkup *c, struct plot_figure **figures, size_t *n, snellen_error *err)
{
    const snellen_retrieval_result *found = c->plan.retrieval.result;
    struct plot_figure *of_found = NULL;
    struct chart *charts;
    size_t n_charts, n_found = 0;
    TRY(checkup_charts(c, &charts, &n_charts, err));
    if (found) TRY(retrieval_figures(&c->arena, found, chart_exam_command(c, "retrieval"), &of_found, &n_found, err));
    *n = n_charts + n_found;
    *figures = arena_alloc(&c->arena, MAX(*n, 1) * sizeof **figures);
    FAIL_IF(!*figures, SNELLEN_E_MEMORY, "figures: memory ran out");
    for (size_t i = 0; i < n_charts; i++) TRY(figure_of(&c->arena, &charts[i], &(*figures)[i], err));
    for (size_t i = 0; i < n_found; i++) (*figures)[n_charts + i] = of_found[i];
    for (size_t i = 0; i < *n; i++) TRY(plot_write_all(&(*figures)[i], c->options.folder, err));
    return SNELLEN_OK;
}
