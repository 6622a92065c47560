/* Studies of an exam: their keys, and what every part does with its figures. */
#include "study/exam.h"
#include "tasks/tasks.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys -------------------------------------------------------------------------------------------------------- */

enum { MOST_LENGTHS = 64, MOST_PROMPTS = 10000 };

static const char *const key_names[] = {"part", "model", "prompts", "seed", "probes", "lengths"};

static snellen_status whole_number(const char *key, const char *text, int64_t low, int64_t high, int64_t *out, snellen_error *err)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    FAIL_IF(end == text || *end || value < low || value > high, SNELLEN_E_USAGE,
            "exam.%s: '%.40s' found, a whole number from %lld to %lld expected", key, text, (long long)low, (long long)high);
    *out = value;
    return SNELLEN_OK;
}

/* "[128, 512]" */
static snellen_status ascending_lengths(struct exam *e, const char *text, snellen_error *err)
{
    int64_t *v = arena_alloc(&e->arena, MOST_LENGTHS * sizeof *v);
    size_t n = 0;
    FAIL_IF(!v, SNELLEN_E_MEMORY, "study: memory ran out");
    const char *p = text + strspn(text, "[ ");
    while (*p && *p != ']' && n < MOST_LENGTHS) {
        char *end;
        v[n] = strtoll(p, &end, 10);
        if (end == p || v[n] < 1 || v[n] > 1 << 24 || (n && v[n] <= v[n - 1])) break;
        n++;
        p = end + strspn(end, ", ");
    }
    FAIL_IF(!n || strcmp(p + strspn(p, "] "), "") || n == MOST_LENGTHS, SNELLEN_E_USAGE,
            "exam.lengths: '%.60s' found, ascending lengths as in [128, 512] expected, fewer than %d", text, MOST_LENGTHS);
    e->lengths = (struct int_row){v, n};
    return SNELLEN_OK;
}

static snellen_status set_key(struct exam *e, const char *name, size_t n_name, const char *value, snellen_error *err)
{
    char key[32];
    snprintf(key, sizeof key, "%.*s", (int)MIN(n_name, sizeof key - 1), name);
    if (!strcmp(key, "part")) e->part = value;
    else if (!strcmp(key, "model")) e->model = value;
    else if (!strcmp(key, "prompts")) return whole_number(key, value, 1, MOST_PROMPTS, &e->prompts, err);
    else if (!strcmp(key, "seed")) return whole_number(key, value, 0, INT64_MAX, &e->seed, err);
    else if (!strcmp(key, "probes")) return whole_number(key, value, 2, MOST_PROMPTS, &e->probes, err);
    else if (!strcmp(key, "lengths")) return ascending_lengths(e, value, err);
    else {
        const char *near = text_nearest(key, key_names, COUNT_OF(key_names));
        FAIL(SNELLEN_E_USAGE, "exam.%s is not known; %s%s%san exam has part, model, prompts, seed, probes and lengths", key,
             near ? "did you mean exam." : "", near ? near : "", near ? "? " : "");
    }
    return SNELLEN_OK;
}

/* "exam.prompts=20", or "prompts=20" under the key `exam` itself. */
static snellen_status set_pair(struct exam *e, const char *pair, bool prefixed, snellen_error *err)
{
    const char *equals = strchr(pair, '='), *name = pair;
    FAIL_IF(!equals, SNELLEN_E_USAGE, "'%.60s' found, key=value expected", pair);
    if (prefixed) {
        FAIL_IF(strncmp(pair, "exam.", 5), SNELLEN_E_USAGE, "%.*s: this study asks and does not train; its keys are exam.part, "
                "exam.model, exam.prompts, exam.seed, exam.probes and exam.lengths", (int)MIN(equals - pair, 60), pair);
        name += 5;
    }
    return set_key(e, name, (size_t)(equals - name), equals + 1, err);
}

/* The file's keys, those of `full` if asked for, the caller's: later ones win. */
static snellen_status read_keys(struct exam *e, snellen_error *err)
{
    const struct study_variant *own = &e->file->exam, *full = &e->file->full;
    for (size_t i = 0; i < own->n_keys; i++) TRY(set_pair(e, own->keys[i], false, err));
    for (size_t i = 0; e->options->full && i < full->n_keys; i++) TRY(set_pair(e, full->keys[i], true, err));
    for (size_t i = 0; i < e->options->n_overrides; i++) TRY(set_pair(e, e->options->overrides[i], true, err));
    FAIL_IF(e->options->only, SNELLEN_E_USAGE, "%s: --only names variants, which a study of an exam has none of", e->file->path);
    return SNELLEN_OK;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static snellen_status ran_out(snellen_error *err)
{
    FAIL(SNELLEN_E_MEMORY, "study: memory ran out");
}

bool exam_told(const struct exam *e, const char *what, uint64_t done, uint64_t total)
{
    return !e->progress || !e->progress->step || e->progress->step(e->progress->user, what, done, total);
}

snellen_status exam_line(struct exam *e, const char *name, const double *x, size_t n_x, const double *values, size_t n, bool geometric,
                         struct plot_series *out, snellen_error *err)
{
    double *all = arena_alloc(&e->arena, (4 * n_x + n) * sizeof *all);
    if (!all) return ran_out(err);
    double *y = all + n_x, *low = y + n_x, *high = low + n_x, *logs = high + n_x;
    for (size_t i = 0; i < n_x; i++) {
        all[i] = x[i];
        for (size_t k = 0; k < n && geometric; k++) logs[k] = log(values[i * n + k]);
        mean_interval(geometric ? logs : values + i * n, n, &y[i], &low[i], &high[i]);
        if (!geometric) continue;
        y[i] = exp(y[i]);
        low[i] = exp(low[i]);
        high[i] = exp(high[i]);
    }
    *out = (struct plot_series){.name = name, .n = n_x, .x = all, .y = y, .low = n > 1 ? low : NULL, .high = n > 1 ? high : NULL};
    return SNELLEN_OK;
}

struct plot_series exam_paper(const char *name, const double *x, const double *y, size_t n)
{
    return (struct plot_series){.name = name, .n = n, .x = x, .y = y, .dashed = true, .aside = true};
}

snellen_status exam_draw(struct exam *e, struct plot_figure f, const struct plot_series *lines, size_t n_lines,
                         const struct plot_rule *rule, snellen_error *err)
{
    FAIL_IF(e->n_figures == EXAM_MAX_FIGURES, SNELLEN_E_USAGE, "more than %d figures", EXAM_MAX_FIGURES);
    struct plot_series *series = arena_alloc(&e->arena, n_lines * sizeof *series);
    struct plot_rule *own = arena_alloc(&e->arena, sizeof *own);
    if (!series || !own) return ran_out(err);
    memcpy(series, lines, n_lines * sizeof *series);
    if (rule) *own = *rule;
    f.alt = f.alt ? f.alt : "";
    f.command = e->options->command ? e->options->command : "";
    f.series = series;
    f.n_series = n_lines;
    f.rules = own;
    f.n_rules = rule != NULL;
    e->figures[e->n_figures++] = f;
    return plot_write_all(&f, e->options->folder, err);
}

snellen_status exam_find(struct exam *e, const char *figure, snellen_error *err, const char *format, ...)
{
    char line[600];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    FAIL_IF(e->n_findings == EXAM_MAX_FINDINGS, SNELLEN_E_USAGE, "more than %d findings", EXAM_MAX_FINDINGS);
    const char *kept = arena_text(&e->arena, line, strlen(line));
    if (!kept) return ran_out(err);
    e->findings[e->n_findings++] = (struct report_finding){REPORT_PLAIN, kept, figure};
    return SNELLEN_OK;
}

/* ---- results.json and the page ----------------------------------------------------------------------------------- */

static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *series_json(const struct plot_series *s)
{
    json_t *points = json_array();
    for (size_t i = 0; points && i < s->n; i++)
        json_array_append_new(points, json_pack("{s:f, s:o, s:o, s:o}", "x", s->x[i], "y", number(s->y[i]), "low",
                                                s->low ? number(s->low[i]) : json_null(), "high",
                                                s->high ? number(s->high[i]) : json_null()));
    return json_pack("{s:s, s:b, s:o}", "name", s->name, "paper", (int)s->aside, "points", points);
}

static snellen_status write_results(const struct exam *e, snellen_error *err)
{
    json_t *figures = json_object(), *findings = json_array();
    for (size_t i = 0; figures && i < e->n_figures; i++) {
        json_t *lines = json_array();
        for (size_t k = 0; lines && k < e->figures[i].n_series; k++)
            json_array_append_new(lines, series_json(&e->figures[i].series[k]));
        json_object_set_new(figures, e->figures[i].id, lines);
    }
    for (size_t i = 0; findings && i < e->n_findings; i++) json_array_append_new(findings, json_string(e->findings[i].text));
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:o, s:o}", "study", e->file->name, "version", snellen_version(), "command",
                          e->options->command ? e->options->command : "", "prompts", (json_int_t)e->prompts, "seed",
                          (json_int_t)e->seed, "findings", findings, "figures", figures);
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL, path[4200];
    snprintf(path, sizeof path, "%s/results.json", e->options->folder);
    snellen_status status = text ? file_write_atomic(path, text, strlen(text), err) : ran_out(err);
    free(text);
    json_decref(o);
    return status;
}

static snellen_status write_page(const struct exam *e, snellen_error *err)
{
    const struct plot_figure *figures[EXAM_MAX_FIGURES];
    char path[4200];
    for (size_t i = 0; i < e->n_figures; i++) figures[i] = &e->figures[i];
    const struct report_section section = {.heading = "Figures", .lead = e->file->about, .figures = figures,
                                           .n_figures = e->n_figures};
    const struct report_fact footer[] = {{"version", snellen_version()},
                                         {"command", e->options->command ? e->options->command : ""}};
    const struct report_page page = {.title = e->file->title, .subtitle = e->model, .findings = e->findings,
                                     .n_findings = e->n_findings, .sections = &section, .n_sections = 1, .footer = footer,
                                     .n_footer = COUNT_OF(footer)};
    snprintf(path, sizeof path, "%s/index.html", e->options->folder);
    return report_write_html(&page, path, err);
}

/* ---- the parts --------------------------------------------------------------------------------------------------- */

/* A part of the full exam, with its own page. */
static snellen_status ask_part(struct exam *e, struct strbuf *report, snellen_error *err)
{
    snellen_model *model;
    snellen_checkup *result;
    snellen_checkup_options o = snellen_checkup_options_default();
    TRY(snellen_model_load(e->model, &model, err));
    o.full = true;
    o.only = e->part;
    o.n_prompts = (uint32_t)e->prompts;
    o.seed = (uint64_t)e->seed;
    o.folder = e->options->folder;
    o.database = e->options->database;
    o.model_name = e->model;
    o.command = e->options->command;
    o.session.n_threads = e->options->n_threads;
    snellen_status status = snellen_checkup_run(model, &o, e->progress, &result, err);
    if (result) strbuf_puts(report, result->summary);
    snellen_checkup_free(result);
    snellen_model_free(model);
    return status;
}

static snellen_status draw_part(struct exam *e, struct strbuf *report, snellen_status (*part)(struct exam *, snellen_error *),
                                snellen_error *err)
{
    TRY(folder_make(e->options->folder, err));
    TRY(part(e, err));
    TRY(write_results(e, err));
    TRY(write_page(e, err));
    strbuf_printf(report, "%s\n", e->file->title);
    for (size_t i = 0; i < e->n_findings; i++) strbuf_printf(report, "  %s\n", e->findings[i].text);
    strbuf_printf(report, "report: %s/index.html\n", e->options->folder);
    return SNELLEN_OK;
}

static snellen_status run_part(struct exam *e, struct strbuf *report, snellen_error *err)
{
    static const struct {
        const char *name;
        snellen_status (*run)(struct exam *e, snellen_error *err);   /* NULL = of the full exam */
    } parts[] = {{"copying", NULL}, {"counting", NULL}, {"collapse", NULL}, {"retrieval", NULL},
                 {"synthetic", exam_synthetic}, {"squash", exam_squash}};
    TRY(read_keys(e, err));
    for (size_t i = 0; i < COUNT_OF(parts); i++)
        if (!strcmp(parts[i].name, e->part))
            return parts[i].run ? draw_part(e, report, parts[i].run, err) : ask_part(e, report, err);
    FAIL(SNELLEN_E_USAGE, "%s: exam.part: '%.40s' found, copying, counting, collapse, retrieval, synthetic or squash expected", e->file->path,
         e->part);
}

snellen_status exam_study(const struct study_file *file, const snellen_study_options *options, const snellen_progress *progress,
                          char **report, snellen_error *err)
{
    struct exam e = {.file = file, .options = options, .progress = progress, .part = "", .model = "smollm2", .prompts = 20,
                     .seed = 1, .probes = 4};
    struct strbuf text = {0};
    snellen_error quiet;
    snellen_status status = run_part(&e, &text, err);
    if (text.n) {
        snellen_status taken = strbuf_take(&text, report, NULL, status ? &quiet : err);
        if (!status) status = taken;
    }
    strbuf_free(&text);
    arena_free(&e.arena);
    return status;
}
