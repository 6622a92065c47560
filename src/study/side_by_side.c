/* The same exam of several models: each with a report of its own, and a page with a line a model. Every number is one of the
 * exams' own; differences are those of cures (judge.c), with the first model in the place of "no cure". */
#include "study/senses.h"
#include "report/html.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct side_by_side {
    struct arena arena;
    snellen_checkup_options options;
    const char *const *names;
    size_t n_wanted;
    struct checkup *exams;       /* [n] that were begun, all of them finished but perhaps the last */
    snellen_checkup **results;   /* [n] */
    size_t n;
    const snellen_progress *progress;
    char what[96];               /* of the progress */
    bool complete;
};

static const char LEAD[] =
    "The same questions to each model, in its own chat template where it has one. How far a line holds is defined in each model's own report.";
static const char DIFFERENCE_LEAD[] =
    "Margins of each model minus those of the first, over the questions that both were asked: the mean and its 95 % interval (Student's t), "
    "and right answers.";

/* ---- the exams ------------------------------------------------------------------------------------------------------------ */

/* "2-gemma3": the number keeps names apart, and what no folder may hold is left out. */
static const char *folder_of(struct side_by_side *s, size_t i)
{
    char name[64];
    size_t n = 0;
    const char *from = s->names[i], *slash = strrchr(from, '/');
    for (from = slash && slash[1] ? slash + 1 : from; *from && n < sizeof name - 1; from++) {
        bool plain = (*from >= 'a' && *from <= 'z') || (*from >= 'A' && *from <= 'Z') || (*from >= '0' && *from <= '9');
        name[n++] = plain || *from == '_' || *from == '.' ? *from : '-';
    }
    name[n] = 0;
    return arena_printf(&s->arena, "%zu-%s", i + 1, name);
}

static bool step(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    const struct side_by_side *s = user;
    return !s->progress || !s->progress->step || s->progress->step(s->progress->user, s->what, done, total);
}

static snellen_status examine(struct side_by_side *s, const snellen_model *model, snellen_error *err)
{
    size_t i = s->n;
    struct checkup *c = &s->exams[i];
    const snellen_progress progress = {step, s};
    snprintf(s->what, sizeof s->what, "tokens, %.40s (%zu of %zu)", s->names[i], i + 1, s->n_wanted);
    *c = (struct checkup){.model = model, .info = snellen_model_get_info(model), .progress = &progress, .options = s->options};
    c->options.model_name = s->names[i];
    c->options.command = NULL;
    const char *folder = folder_of(s, i);
    if (s->options.folder) c->options.folder = arena_printf(&s->arena, "%s/%s", s->options.folder, folder);
    FAIL_IF(!folder || (s->options.folder && !c->options.folder), SNELLEN_E_MEMORY, "comparison: memory ran out");
    s->n++;
    return checkup_examine(c, &s->results[i], err);
}

/* ---- tables ---------------------------------------------------------------------------------------------------------------- */

/* rows lines of a label and a text a model. */
struct grid {
    const char **cells;
    size_t n_rows, room;
};

static snellen_status grid_make(struct side_by_side *s, struct grid *g, size_t room, snellen_error *err)
{
    *g = (struct grid){.cells = arena_alloc(&s->arena, MAX(room, 1) * (s->n + 1) * sizeof *g->cells), .room = room};
    FAIL_IF(!g->cells, SNELLEN_E_MEMORY, "comparison: memory ran out");
    return SNELLEN_OK;
}

static const char *reach_text(struct arena *arena, const struct reach *reach)
{
    struct strbuf b = {0};
    checkup_put_reach(&b, reach);
    const char *text = b.failed || !b.text ? NULL : arena_text(arena, b.text, b.n);
    strbuf_free(&b);
    return text;
}

/* The line of this sense that says the same as `like`; NULL = this model was not asked. */
static const struct sense_line *line_like(const struct sense_finding *sense, const struct sense_line *like)
{
    for (size_t i = 0; i < sense->n_lines; i++)
        if (!strcmp(sense->lines[i].what, like->what)) return &sense->lines[i];
    return NULL;
}

/* A row for each line of each sense that any model was asked. */
static snellen_status reach_grid(struct side_by_side *s, struct grid *g, snellen_error *err)
{
    struct sense_finding (*senses)[SENSES_MAX] = arena_alloc(&s->arena, s->n * sizeof *senses);
    FAIL_IF(!senses, SNELLEN_E_MEMORY, "comparison: memory ran out");
    for (size_t i = 0; i < s->n; i++) senses_find(&s->exams[i], senses[i]);
    TRY(grid_make(s, g, (size_t)SENSES_MAX * SENSES_MAX_LINES, err));
    for (size_t k = 0; k < SENSES_MAX; k++) {
        size_t most = 0;
        for (size_t i = 1; i < s->n; i++) most = senses[i][k].n_lines > senses[most][k].n_lines ? i : most;
        for (size_t line = 0; line < senses[most][k].n_lines; line++) {
            const struct sense_line *like = &senses[most][k].lines[line];
            const char **row = g->cells + g->n_rows++ * (s->n + 1);
            row[0] = arena_printf(&s->arena, "%s: %s", senses[most][k].name, like->what);
            for (size_t i = 0; i < s->n; i++) {
                const struct sense_line *l = line_like(&senses[i][k], like);
                row[i + 1] = l ? reach_text(&s->arena, &l->reach) : "no result";
            }
            for (size_t i = 0; i <= s->n; i++) FAIL_IF(!row[i], SNELLEN_E_MEMORY, "comparison: memory ran out");
        }
    }
    return SNELLEN_OK;
}

/* Tasks that were asked without a cure, and each model's margins against the first one's. */
static snellen_status difference_grid(struct side_by_side *s, struct grid *g, snellen_error *err)
{
    const struct checkup_plan *first = &s->exams[0].plan;
    TRY(grid_make(s, g, first->n_tasks, err));
    for (size_t t = 0; t < first->n_tasks; t++) {
        const struct checkup_task *of_first = &first->tasks[t];
        if (!of_first->n_answers || of_first->cure[0] || strcmp(of_first->style, "plain")) continue;
        const char **row = g->cells + g->n_rows++ * (s->n + 1);
        row[0] = of_first->task;
        row[1] = arena_printf(&s->arena, "margin %.2f", checkup_judge_task(of_first).mean_margin);
        for (size_t i = 1; i < s->n; i++) {
            const struct checkup_task *other = checkup_find_task(&s->exams[i].plan, of_first->task, "plain", "");
            struct cure_finding d = checkup_judge_cure(other, of_first);
            row[i + 1] = !d.known ? "no result" : arena_printf(&s->arena, "%+.2f (%.2f .. %.2f), right %u instead of %u of %u", d.gain,
                                                               d.low, d.high, d.right_with, d.right_without, d.n);
        }
        for (size_t i = 0; i <= s->n; i++) FAIL_IF(!row[i], SNELLEN_E_MEMORY, "comparison: memory ran out");
    }
    return SNELLEN_OK;
}

/* The cure with the largest gain that helps, by sense. */
static snellen_status cure_grid(struct side_by_side *s, struct grid *g, snellen_error *err)
{
    TRY(grid_make(s, g, SENSES_MAX, err));
    for (size_t k = 0; k < SENSES_MAX; k++) {
        const char **row = g->cells + g->n_rows * (s->n + 1);
        bool any = false;
        for (size_t i = 0; i < s->n; i++) {
            struct sense_finding senses[SENSES_MAX];
            struct cure_rank best;
            size_t line;
            senses_find(&s->exams[i], senses);
            row[0] = senses[k].name;
            row[i + 1] = "-";
            if (!senses_best_cure(&s->exams[i], &senses[k], &best, &line)) continue;
            any = true;
            row[i + 1] = arena_printf(&s->arena, "%s (%s): margin %+.2f", senses_cure_name(best.with), senses[k].lines[line].what,
                                      best.gain.gain);
            FAIL_IF(!row[i + 1], SNELLEN_E_MEMORY, "comparison: memory ran out");
        }
        g->n_rows += any;
    }
    return SNELLEN_OK;
}

/* ---- figures: a line a model ------------------------------------------------------------------------------------------------- */

/* Which line of an exam's figure goes into a figure of the comparison; line NULL = the first. */
static const struct {
    const char *id, *figure, *line, *title;
} LINES[] = {
    {"collapse-ones", "collapse-ones", NULL, "Ones: how far n and n + 1 lie apart"},
    {"copy-last", "copy-last", NULL, "Naming the last digit"},
    {"copy-first", "copy-first", NULL, "Naming the first digit"},
    {"count-sum", "count-sum", NULL, "Counting: a sum of ones"},
    {"count-ones", "count-ones", NULL, "Counting ones"},
    {"count-bernoulli", "count-bernoulli", NULL, "Counting ones among random bits"},
    {"count-car", "count-car", NULL, "Counting a word"},
    {"find-passkey", "retrieval-lengths", "passkey", "Finding a pass key"},
    {"find-needle", "retrieval-lengths", "needle", "Finding a fact"},
    {"find-index", "retrieval-lengths", "list-index", "Finding an item by its index"},
    {"find-name", "retrieval-lengths", "list-content", "Finding an item by its name"},
};

/* The line of an exam's figure; NULL = it has none. */
static const struct plot_series *line_of(const struct checkup *c, const char *figure, const char *line, const struct plot_figure **of)
{
    for (size_t i = 0; i < c->n_figures; i++) {
        const struct plot_figure *f = &c->figures[i];
        for (size_t k = 0; !strcmp(f->id, figure) && !f->heat && k < f->n_series; k++) {
            if (line && strcmp(f->series[k].name, line)) continue;
            *of = f;
            return &f->series[k];
        }
    }
    return NULL;
}

/* Figures that two models or more have a line in. */
static snellen_status overlay(struct side_by_side *s, struct plot_figure *figures, size_t *n_figures, snellen_error *err)
{
    for (size_t k = 0; k < COUNT_OF(LINES); k++) {
        struct plot_series *series = arena_alloc(&s->arena, s->n * sizeof *series);
        FAIL_IF(!series, SNELLEN_E_MEMORY, "comparison: memory ran out");
        const struct plot_figure *like = NULL;
        size_t n = 0;
        for (size_t i = 0; i < s->n; i++) {
            const struct plot_series *own = line_of(&s->exams[i], LINES[k].figure, LINES[k].line, &like);
            if (!own) continue;
            series[n] = *own;
            series[n++].name = s->names[i];
        }
        if (n < 2) continue;
        struct plot_figure *f = &figures[(*n_figures)++];
        *f = *like;
        f->id = LINES[k].id;
        f->title = LINES[k].title;
        f->command = s->options.command;
        f->series = series;
        f->n_series = n;
        TRY(plot_write_all(f, s->options.folder, err));
    }
    return SNELLEN_OK;
}

/* ---- the page ------------------------------------------------------------------------------------------------------------------ */

struct tables {
    struct grid reach, cures, differences;
};

static struct report_table table_of(const struct side_by_side *s, const char *caption, const struct grid *g, const char *const *header)
{
    return (struct report_table){.caption = caption, .header = header, .cells = g->cells, .n_columns = s->n + 1, .n_rows = g->n_rows};
}

/* Where each exam's own report lies and how to see its numbers, and what shows both side by side. */
static snellen_status fill_footer(struct side_by_side *s, struct report_fact *footer, size_t *n, snellen_error *err)
{
    struct strbuf diff = {0};
    size_t n_kept = 0;
    strbuf_puts(&diff, "snellen runs diff");
    footer[(*n)++] = (struct report_fact){"command", s->options.command};
    footer[(*n)++] = (struct report_fact){"snellen", arena_printf(&s->arena, "%s, kernels %s", snellen_version(), snellen_isa())};
    for (size_t i = 0; i < s->n; i++) {
        const struct checkup *c = &s->exams[i];
        footer[(*n)++] = (struct report_fact){s->names[i], arena_printf(&s->arena, "its own report: %s/index.html; file %s, hash %s",
                                                                        folder_of(s, i), c->info->path, c->model_hash)};
        if (c->run) strbuf_printf(&diff, " %lld", (long long)c->run);
        n_kept += c->run != 0;
    }
    const char *text = diff.failed ? NULL : arena_text(&s->arena, diff.text, diff.n);
    strbuf_free(&diff);
    FAIL_IF(!text, SNELLEN_E_MEMORY, "comparison: memory ran out");
    if (n_kept > 1) footer[(*n)++] = (struct report_fact){"every number", text};
    for (size_t i = 0; i < *n; i++) FAIL_IF(!footer[i].value, SNELLEN_E_MEMORY, "comparison: memory ran out");
    return SNELLEN_OK;
}

static snellen_status write_page(struct side_by_side *s, const struct tables *t, const char *title, const char *const *header,
                                 const char *path, snellen_error *err)
{
    struct plot_figure figures[COUNT_OF(LINES)];
    const struct plot_figure *list[COUNT_OF(LINES)];
    struct report_fact footer[SNELLEN_MOST_EXAMS + 3];
    size_t n_figures = 0, n_footer = 0;
    TRY(overlay(s, figures, &n_figures, err));
    for (size_t i = 0; i < n_figures; i++) list[i] = &figures[i];
    TRY(fill_footer(s, footer, &n_footer, err));
    const struct report_table reach[] = {table_of(s, "Each line of each sense: how far it holds", &t->reach, header),
                                         table_of(s, "The cure with the largest gain that helps for certain", &t->cures, header)};
    const struct report_table differences = table_of(s, "Without a cure", &t->differences, header);
    struct report_section sections[3];
    size_t n = 0;
    sections[n++] = (struct report_section){.heading = "How far they reach", .lead = LEAD, .tables = reach,
                                            .n_tables = t->cures.n_rows ? 2 : 1};
    if (t->differences.n_rows)
        sections[n++] = (struct report_section){.heading = "Differences", .lead = DIFFERENCE_LEAD, .tables = &differences, .n_tables = 1};
    if (n_figures)
        sections[n++] = (struct report_section){.heading = "A line a model", .lead = "", .figures = list, .n_figures = n_figures};
    const struct report_page page = {
        .title = title, .subtitle = "The same eye exam, side by side",
        .warning = s->complete ? NULL : "The exam was stopped: this page shows what was finished.",
        .sections = sections, .n_sections = n, .footer = footer, .n_footer = n_footer};
    return report_write_html(&page, path, err);
}

/* ---- words and JSON --------------------------------------------------------------------------------------------------------------- */

static void put_words(const struct side_by_side *s, const struct grid *g, const char *const *header, struct strbuf *out)
{
    size_t widths[SNELLEN_MOST_EXAMS + 1];
    for (size_t k = 0; k <= s->n; k++) {
        widths[k] = strlen(header[k]);
        for (size_t i = 0; i < g->n_rows; i++) widths[k] = MAX(widths[k], strlen(g->cells[i * (s->n + 1) + k]));
    }
    for (size_t i = 0; i <= g->n_rows; i++) {
        const char *const *row = i ? g->cells + (i - 1) * (s->n + 1) : header;
        for (size_t k = 0; k < s->n; k++) strbuf_printf(out, "%-*s  ", (int)widths[k], row[k]);
        strbuf_printf(out, "%s\n", row[s->n]);
    }
}

static json_t *grid_json(const struct side_by_side *s, const struct grid *g)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < g->n_rows; i++) {
        json_t *row = json_array();
        for (size_t k = 0; k <= s->n; k++) json_array_append_new(row, json_string(g->cells[i * (s->n + 1) + k]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static char *make_json(const struct side_by_side *s, const struct tables *t)
{
    json_t *exams = json_array();
    for (size_t i = 0; i < s->n; i++)
        json_array_append_new(exams, s->results[i] ? json_loads(s->results[i]->json, 0, NULL) : json_null());
    json_t *o = json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o}", "version", snellen_version(), "command", s->options.command, "complete",
                          s->complete, "reach", grid_json(s, &t->reach), "cures", grid_json(s, &t->cures), "differences",
                          grid_json(s, &t->differences), "exams", exams);
    char *text = o ? json_dumps(o, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(o);
    return text;
}

static snellen_status write_files(struct side_by_side *s, const struct tables *t, const char *title, const char *const *header,
                                  const char *json, struct strbuf *page, snellen_error *err)
{
    const char *numbers = arena_printf(&s->arena, "%s/results.json", s->options.folder);
    const char *path = arena_printf(&s->arena, "%s/index.html", s->options.folder);
    FAIL_IF(!numbers || !path, SNELLEN_E_MEMORY, "comparison: memory ran out");
    TRY(file_write_atomic(numbers, json, strlen(json), err));
    TRY(write_page(s, t, title, header, path, err));
    strbuf_puts(page, path);
    return SNELLEN_OK;
}

/* Table, JSON and page of what there is. */
static snellen_status tell(struct side_by_side *s, snellen_checkup **result, snellen_error *err)
{
    const char *header[SNELLEN_MOST_EXAMS + 1] = {""};
    struct tables t = {0};
    struct strbuf words = {0}, page = {0}, title = {0};
    TRY(reach_grid(s, &t.reach, err));
    TRY(cure_grid(s, &t.cures, err));
    TRY(difference_grid(s, &t.differences, err));
    for (size_t i = 0; i < s->n; i++) {
        header[i + 1] = s->names[i];
        strbuf_printf(&title, "%s%s", i ? ", " : "", s->names[i]);
    }
    if (!s->complete) strbuf_puts(&words, "INCOMPLETE: the exam was stopped; what follows is of the parts that were finished.\n");
    put_words(s, &t.reach, header, &words);
    char *json = make_json(s, &t);
    snellen_status status = !json || title.failed ? error_set(err, SNELLEN_E_MEMORY, "comparison: memory ran out, or a name is no UTF-8")
                                                  : SNELLEN_OK;
    if (!status && s->options.folder) status = write_files(s, &t, title.text, header, json, &page, err);
    strbuf_free(&title);
    if (!status) return checkup_result(s->complete, false, &words, json, &page, 0, result, err);
    strbuf_free(&words);
    strbuf_free(&page);
    free(json);
    return status;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------------------- */

static snellen_status make_command(struct side_by_side *s, snellen_error *err)
{
    struct strbuf b = {0};
    if (s->options.command) return SNELLEN_OK;
    strbuf_puts(&b, "snellen checkup");
    for (size_t i = 0; i < s->n_wanted; i++) strbuf_printf(&b, " %s", s->names[i]);
    strbuf_printf(&b, " --%s --seed %llu", s->options.full ? "full" : "quick", (unsigned long long)s->options.seed);
    s->options.command = b.failed ? NULL : arena_text(&s->arena, b.text, b.n);
    strbuf_free(&b);
    FAIL_IF(!s->options.command, SNELLEN_E_MEMORY, "comparison: memory ran out");
    return SNELLEN_OK;
}

static snellen_status compare(struct side_by_side *s, const snellen_model *const *models, snellen_checkup **result, snellen_error *err)
{
    TRY(NEW_ARRAY(&s->exams, s->n_wanted, "exams", err));
    TRY(NEW_ARRAY(&s->results, s->n_wanted, "exams", err));
    TRY(make_command(s, err));
    if (s->options.folder) TRY(folder_make(s->options.folder, err));
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; i < s->n_wanted && !status; i++) status = examine(s, models[i], err);
    if (status && status != SNELLEN_E_CANCELLED) return status;
    s->complete = !status;
    snellen_error quiet;   /* of a page that fails after a stop: why it was stopped is told */
    snellen_status told = tell(s, result, status ? &quiet : err);
    for (size_t i = 0; s->complete && !told && i < s->n; i++) checkup_let_go(&s->exams[i]);
    return status ? status : told;
}

snellen_status snellen_checkup_compare(const snellen_model *const *models, const char *const *names, size_t n,
                                       const snellen_checkup_options *options, const snellen_progress *progress,
                                       snellen_checkup **result, snellen_error *err)
{
    *result = NULL;
    FAIL_IF(n < 2 || n > SNELLEN_MOST_EXAMS, SNELLEN_E_USAGE, "%zu models: 2 to %d expected", n, SNELLEN_MOST_EXAMS);
    struct side_by_side s = {.names = names, .n_wanted = n, .progress = progress,
                             .options = options ? *options : snellen_checkup_options_default()};
    snellen_status status = compare(&s, models, result, err);
    for (size_t i = 0; i < s.n; i++) {
        checkup_free(&s.exams[i]);
        snellen_checkup_free(s.results[i]);
    }
    mem_free(s.exams);
    mem_free(s.results);
    arena_free(&s.arena);
    return status;
}
