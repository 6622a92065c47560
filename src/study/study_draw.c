/* A study drawn: right answers over length, one line a variant; attribution on the right tokens over length, or of a
 * text the nll; tables of all seeds; results.json. */
#include "study/study.h"
#include "study/training.h"
#include "report/html.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LINES = STUDY_MAX_VARIANTS * WAY_COUNT };

/* The lines of one figure as they grow. */
struct lines {
    struct plot_series series[MOST_LINES];
    size_t n;
};

/* A stage that others go on from may be of another task, and of other lengths: figures and tables show the variants that
 * have the last one's. */
static bool is_shown(const struct study *s, size_t variant)
{
    return !strcmp(s->settings[variant].data.task, s->settings[s->n_settings - 1].data.task);
}

static const struct settings *first_shown(const struct study *s)
{
    size_t v = 0;
    while (!is_shown(s, v)) v++;
    return &s->settings[v];
}

/* ---- lines ------------------------------------------------------------------------------------------------------------------- */

/* Median, least and most over the seeds at each length; nothing is added where no run has values, and of a stage that
 * is not shown. */
static snellen_status add_line(struct study *s, struct lines *lines, enum study_measure measure, size_t variant,
                               enum study_way way, snellen_error *err)
{
    const struct int_row *lengths = &s->settings[variant].eval.lengths;
    const char *name = s->file.variants[variant].name;
    if (!is_shown(s, variant)) return SNELLEN_OK;
    if (way == WAY_FORCED) name = arena_printf(&s->arena, "%s, anchors given", name);
    double values[STUDY_MAX_SEEDS], *x = arena_alloc(&s->arena, 4 * MAX(lengths->n, 1) * sizeof *x);
    FAIL_IF(!x || !name, SNELLEN_E_MEMORY, "figure: memory ran out");
    double *y = x + lengths->n, *low = y + lengths->n, *high = low + lengths->n;
    bool any = false;
    for (size_t i = 0; i < lengths->n; i++) {
        size_t n = study_values(s, measure, variant, way, i, values);
        x[i] = (double)lengths->v[i];
        y[i] = study_median(values, n);
        low[i] = n ? values[0] : (double)NAN;
        high[i] = n ? values[n - 1] : (double)NAN;
        any |= n > 0;
    }
    if (!any) return SNELLEN_OK;
    lines->series[lines->n++] = (struct plot_series){.name = name, .dashed = way == WAY_FORCED,
                                                     .follows = way == WAY_FORCED, .n = lengths->n, .x = x,
                                                     .y = y, .low = low, .high = high};
    return SNELLEN_OK;
}

static snellen_status accuracy_lines(struct study *s, struct lines *lines, snellen_error *err)
{
    for (size_t v = 0; v < s->n_settings; v++) {
        TRY(add_line(s, lines, MEASURE_RIGHT, v, WAY_FREE, err));
        TRY(add_line(s, lines, MEASURE_RIGHT, v, WAY_FORCED, err));
    }
    return SNELLEN_OK;
}

/* What the second figure shows: of a text the nll, else attribution on the right tokens. */
static enum study_measure second_measure(const struct study *s)
{
    return is_text_study(&s->settings[0]) ? MEASURE_NLL : MEASURE_MASS;
}

/* ---- figures ------------------------------------------------------------------------------------------------------------------ */

/* Lines across a figure: where the training lengths end (all variants have the same in the studies of the papers), and
 * how far the widest window of a layer reaches. */
struct rules {
    struct plot_rule list[2];
    size_t n;
};

static int64_t window_of(const struct settings *s)
{
    if (!strcmp(s->memory.kind, "full")) return 0;
    return MAX(s->memory.window, s->memory.block * (s->memory.segments + 1));
}

static bool has_results(const struct study *s, size_t variant)
{
    double values[STUDY_MAX_SEEDS];
    for (size_t i = 0; i < s->settings[variant].eval.lengths.n; i++)
        if (study_values(s, MEASURE_RIGHT, variant, WAY_FREE, i, values)) return true;
    return false;
}

static struct rules rules_of(const struct study *s)
{
    int64_t widest = 0;
    for (size_t v = 0; v < s->n_settings; v++)
        if (is_shown(s, v) && has_results(s, v)) widest = MAX(widest, window_of(&s->settings[v]));
    struct rules r = {.n = 1};
    const struct settings *first = first_shown(s);
    int64_t longest = *first->data.task ? first->data.lengths.v[1] : first->data.length;
    r.list[0] = (struct plot_rule){.vertical = true, .at = (double)longest,
                                   .label = "longest trained on", .shaded = !widest};
    if (widest)
        r.list[r.n++] = (struct plot_rule){.vertical = true, .at = (double)widest, .label = "widest window",
                                           .shaded = true};
    return r;
}

static const char *count_text(struct study *s)
{
    const struct settings *first = first_shown(s);
    size_t seeds = 0;
    for (size_t v = 0; v < s->n_settings; v++) seeds = MAX(seeds, s->settings[v].seeds.n);
    return arena_printf(&s->arena, "Median of %zu seed%s, band from the least to the most; %lld %s", seeds,
                        seeds == 1 ? "" : "s", (long long)first->eval.lines,
                        is_text_study(first)
                            ? "stretches of a text that was not trained on, read as streams, by the place in each."
                            : "lines a length, none of them trained on, written by the model symbol by symbol.");
}

static snellen_status draw_accuracy(struct study *s, const struct lines *lines, const struct rules *rules,
                                    struct plot_figure *f, snellen_error *err)
{
    *f = (struct plot_figure){.id = "accuracy", .title = s->file.title, .caption = count_text(s), .alt = "",
                              .command = s->options->command ? s->options->command : "",
                              .x = {.label = "length"}, .y = {.label = "right final answers", .low = 0, .high = 1},
                              .series = lines->series, .n_series = lines->n, .rules = rules->list, .n_rules = rules->n};
    if (is_long_task(first_shown(s))) {
        f->x = (struct plot_axis){.label = "tokens", .scale = PLOT_LOG};
        f->y.label = "exact answers";
    }
    if (is_text_study(&s->settings[0])) {
        f->x = (struct plot_axis){.label = "tokens read", .scale = PLOT_LOG};
        f->y = (struct plot_axis){.label = "share of right tokens"};
    }
    FAIL_IF(!f->caption, SNELLEN_E_MEMORY, "figure: memory ran out");
    return plot_write_all(f, s->options->folder, err);
}

static snellen_status draw_nll(struct study *s, const struct lines *lines, const struct rules *rules,
                               struct plot_figure *f, snellen_error *err)
{
    *f = (struct plot_figure){.id = "nll", .title = "How well the text is predicted", .caption = count_text(s),
                              .alt = "", .command = s->options->command ? s->options->command : "",
                              .x = {.label = "tokens read", .scale = PLOT_LOG}, .y = {.label = "nll, nats a token"},
                              .series = lines->series, .n_series = lines->n, .rules = rules->list, .n_rules = rules->n};
    FAIL_IF(!f->caption, SNELLEN_E_MEMORY, "figure: memory ran out");
    return plot_write_all(f, s->options->folder, err);
}

static snellen_status draw_mass(struct study *s, const struct lines *lines, const struct rules *rules,
                                struct plot_figure *f, snellen_error *err)
{
    *f = (struct plot_figure){.id = "mass", .title = "Attribution on the two right tokens",
                              .caption = "Share of gradient x input, mean over the outputs of a line, that lies on the "
                                         "bit and on the last parity; 1 is ideal.", .alt = "",
                              .command = s->options->command ? s->options->command : "",
                              .x = {.label = "length"}, .y = {.label = "share of the mass", .low = 0, .high = 1},
                              .series = lines->series, .n_series = lines->n, .rules = rules->list, .n_rules = rules->n};
    return plot_write_all(f, s->options->folder, err);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------------- */

static const char *const way_words[WAY_COUNT] = {"writes all", "anchors given", "best held-out loss"};

static const char *table_caption(const struct study *s, enum study_measure measure)
{
    if (measure == MEASURE_NLL) return "nll of every run, nats a token";
    return is_text_study(&s->settings[0]) ? "Share of right tokens of every run" : "Right final answers of every run";
}

static const char *cell_text(struct study *s, enum study_measure measure, const struct study_cell *c)
{
    if (!c->n) return "-";
    if (measure == MEASURE_NLL) return arena_printf(&s->arena, "%.4f", c->nll);
    return arena_printf(&s->arena, "%.2f", (double)c->n_answer / (double)c->n);
}

static snellen_status fill_row(struct study *s, enum study_measure measure, const struct study_run *run, int way,
                               size_t n_lengths, const char **row, snellen_error *err)
{
    row[0] = s->file.variants[run->variant].name;
    row[1] = arena_printf(&s->arena, "%lld", (long long)run->seed);
    row[2] = way_words[way];
    row[3] = arena_printf(&s->arena, "%.4f", run->loss);
    for (size_t i = 0; i < n_lengths; i++)
        row[4 + i] = i < s->settings[run->variant].eval.lengths.n ? cell_text(s, measure, &run->cells[way][i]) : "-";
    for (size_t i = 0; i < 4 + n_lengths; i++) FAIL_IF(!row[i], SNELLEN_E_MEMORY, "page: memory ran out");
    return SNELLEN_OK;
}

/* One row a run and way: the measure at each length, of the first shown variant's lengths. */
static snellen_status all_runs(struct study *s, enum study_measure measure, struct report_table *table,
                               snellen_error *err)
{
    const struct int_row *lengths = &first_shown(s)->eval.lengths;
    size_t columns = lengths->n + 4, rows = 0;
    const char **header = arena_alloc(&s->arena, columns * sizeof *header);
    const char **cells = arena_alloc(&s->arena, (s->n_runs * WAY_COUNT + 1) * columns * sizeof *cells);
    FAIL_IF(!header || !cells, SNELLEN_E_MEMORY, "page: memory ran out");
    const char *first[] = {"variant", "seed", "model", "loss"};
    memcpy(header, first, sizeof first);
    for (size_t i = 0; i < lengths->n; i++) {
        header[4 + i] = arena_printf(&s->arena, "%lld", (long long)lengths->v[i]);
        FAIL_IF(!header[4 + i], SNELLEN_E_MEMORY, "page: memory ran out");
    }
    for (size_t r = 0; r < s->n_runs; r++)
        for (int way = 0; way < WAY_COUNT; way++)
            if (s->runs[r].cells[way] && is_shown(s, s->runs[r].variant))
                TRY(fill_row(s, measure, &s->runs[r], way, lengths->n, cells + columns * rows++, err));
    *table = (struct report_table){.caption = table_caption(s, measure), .header = header, .cells = cells,
                                   .n_columns = columns, .n_rows = rows};
    return SNELLEN_OK;
}

static json_t *point_json(const struct study *s, size_t v, enum study_way way, size_t i)
{
    double values[STUDY_MAX_SEEDS];
    size_t n = study_values(s, MEASURE_RIGHT, v, way, i, values);
    if (!n) return NULL;
    double median = study_median(values, n);
    json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:f, s:f, s:f}", "variant", s->file.variants[v].name, "model",
                          way_words[way], "length", (json_int_t)s->settings[v].eval.lengths.v[i], "seeds",
                          (json_int_t)n, "median", median, "least", values[0], "most", values[n - 1]);
    if (o && is_text_study(&s->settings[v])) {
        n = study_values(s, MEASURE_NLL, v, way, i, values);
        json_object_set_new(o, "nll", json_real(study_median(values, n)));
    }
    return o;
}

static snellen_status write_results(const struct study *s, snellen_error *err)
{
    json_t *points = json_array();
    for (size_t v = 0; points && v < s->n_settings; v++)
        for (int way = 0; way < WAY_COUNT; way++)
            for (size_t i = 0; i < s->settings[v].eval.lengths.n; i++) {
                json_t *point = point_json(s, v, (enum study_way)way, i);
                if (point) json_array_append_new(points, point);
            }
    const char *command = s->options->command ? s->options->command : "";
    json_t *o = points ? json_pack("{s:s, s:s, s:s, s:o}", "study", s->file.name, "version", snellen_version(),
                                   "command", command, "answers", points) : NULL;
    char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL, path[4200];
    snprintf(path, sizeof path, "%s/results.json", s->options->folder);
    snellen_status status = text ? file_write_atomic(path, text, strlen(text), err)
                                 : error_set(err, SNELLEN_E_MEMORY, "results: memory ran out");
    free(text);
    json_decref(o);
    return status;
}

/* ---- the page -------------------------------------------------------------------------------------------------------------------- */

/* What the variant says at its last length, of the n > 0 values there. */
static snellen_status finding_of(struct study *s, size_t v, double *values, size_t n, struct report_finding *finding,
                                 snellen_error *err)
{
    const struct int_row *lengths = &s->settings[v].eval.lengths;
    const char *name = s->file.variants[v].name, *plural = n == 1 ? "" : "s", *text;
    long long length = (long long)lengths->v[lengths->n - 1];
    double median = study_median(values, n), least = values[0], most = values[n - 1];
    if (is_text_study(&s->settings[v])) {
        long long first = lengths->n > 1 ? (long long)lengths->v[lengths->n - 2] + 1 : 2;
        n = study_values(s, MEASURE_NLL, v, WAY_FREE, lengths->n - 1, values);
        text = arena_printf(&s->arena, "%s: of tokens %lld to %lld of a stretch %.1f %% are right, nll %.3f "
                            "(median of %zu seed%s).", name, first, length, 100 * median, study_median(values, n), n,
                            plural);
        *finding = (struct report_finding){REPORT_PLAIN, text, "nll"};
    } else {
        text = arena_printf(&s->arena, "%s: at length %lld %.0f %% of the final answers are right (median of %zu "
                            "seed%s, %.0f .. %.0f %%).", name, length, 100 * median, n, plural, 100 * least, 100 * most);
        *finding = (struct report_finding){median >= 0.95 ? REPORT_GOOD : median >= 0.75 ? REPORT_WARN : REPORT_BAD,
                                           text, "accuracy"};
    }
    FAIL_IF(!text, SNELLEN_E_MEMORY, "page: memory ran out");
    return SNELLEN_OK;
}

static snellen_status findings_of(struct study *s, struct report_finding *findings, size_t *n, snellen_error *err)
{
    double values[STUDY_MAX_SEEDS];
    *n = 0;
    for (size_t v = 0; v < s->n_settings; v++) {
        size_t n_lengths = s->settings[v].eval.lengths.n;
        size_t n_seeds = n_lengths ? study_values(s, MEASURE_RIGHT, v, WAY_FREE, n_lengths - 1, values) : 0;
        if (n_seeds && is_shown(s, v)) TRY(finding_of(s, v, values, n_seeds, &findings[(*n)++], err));
    }
    return SNELLEN_OK;
}

snellen_status study_draw(struct study *s, snellen_error *err)
{
    struct lines *lines = arena_alloc(&s->arena, sizeof *lines), *second = arena_alloc(&s->arena, sizeof *second);
    FAIL_IF(!lines || !second, SNELLEN_E_MEMORY, "figure: memory ran out");
    struct plot_figure figures[2];
    const struct plot_figure *list[] = {&figures[0], &figures[1]};
    const struct rules rules = rules_of(s);
    struct report_finding findings[STUDY_MAX_VARIANTS];
    struct report_table tables[2];
    char path[4200];
    size_t n_findings;
    TRY(accuracy_lines(s, lines, err));
    enum study_measure measure = second_measure(s);
    bool text = measure == MEASURE_NLL;
    for (size_t v = 0; v < s->n_settings; v++) TRY(add_line(s, second, measure, v, WAY_FREE, err));
    TRY(draw_accuracy(s, lines, &rules, &figures[0], err));
    if (second->n) TRY((text ? draw_nll : draw_mass)(s, second, &rules, &figures[1], err));
    TRY(all_runs(s, MEASURE_RIGHT, &tables[0], err));
    if (text) TRY(all_runs(s, MEASURE_NLL, &tables[1], err));
    TRY(findings_of(s, findings, &n_findings, err));
    TRY(write_results(s, err));
    const struct report_section section = {.heading = "Over length", .lead = s->file.about, .figures = list,
                                           .n_figures = second->n ? 2 : 1, .tables = tables,
                                           .n_tables = text ? 2 : 1};
    const struct report_fact footer[] = {{"version", snellen_version()},
                                         {"command", s->options->command ? s->options->command : ""}};
    const struct report_page page = {
        .title = s->file.title, .subtitle = count_text(s),
        .warning = s->n_runs < s->runs_room && !s->options->only ? "Not all runs are finished." : NULL,
        .findings = findings, .n_findings = n_findings, .sections = &section, .n_sections = 1, .footer = footer,
        .n_footer = COUNT_OF(footer)};
    snprintf(path, sizeof path, "%s/index.html", s->options->folder);
    return report_write_html(&page, path, err);
}
