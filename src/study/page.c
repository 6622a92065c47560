/* index.html: findings first, then the figures by subject with what their words mean, tables, and where it all comes
 * from. */
#include "study/overview.h"
#include "report/html.h"
#include "store/store.h"

#include <math.h>
#include <string.h>

static const char COLLAPSE_LEAD[] =
    "y_n is the vector of the prompt's last token after the final norm, the prompt ending in n items; y*_n the same with the last "
    "item once more. \"Tells n from n+1 up to N\": the largest difference in each head's slice, mean over heads, is at "
    "least 2^-7 (the spacing of bf16 at 1, the paper's line) at every length tried up to N; in other formats one more item "
    "(in f32) also moves the vector further than rounding to that format does; q8_0 rounds the cache alone. \"Equal bit for bit\" is the direct test: no use of the "
    "vector can tell the two prompts apart.";
static const char COPYING_LEAD[] =
    "The margin is log p(right digit) - log p(best wrong digit) with the answer's frame already written. The model is right at "
    "a length when more than half of its prompts there have a margin above 0; it is blind from a length on when that never "
    "happens again. Right answers stand alone among equal digits: ones that end in a 0, or a 0 that ones follow.";
static const char COUNTING_LEAD[] =
    "The margin as for copying, over all numbers that could be the answer. Written answers are greedy; the number after "
    "the last frame counts.";

static const char RETRIEVAL_LEAD[] =
    "Something stands at depth p of a text of n tokens: a fact, or an item of a list that is asked for by its index and by its name. "
    "The margin is log p(right answer) - log p(best of nine wrong ones); guessing is right in one of ten. Effective length: the longest "
    "at which, and at all shorter ones, at least 85 % of what is right at the shortest is right.";

/* ---- tables -------------------------------------------------------------------------------------------------------------- */

/* A cell's text from a strbuf; "" when memory ran out (the page's writer sees the arena's end itself). */
static const char *cell(struct arena *arena, struct strbuf *b)
{
    const char *text = b->text ? arena_text(arena, b->text, b->n) : "";
    strbuf_free(b);
    return text;
}

static const char *reach_cell(struct arena *arena, const struct reach *r)
{
    struct strbuf b = {0};
    checkup_put_reach(&b, r);
    return cell(arena, &b);
}

static snellen_status collapse_table(struct checkup *c, struct report_table *table, snellen_error *err)
{
    static const char *const header[] = {"sequence", "precision", "tells n from n+1", "above 2^-7", "above rounding error",
                                         "bits differ", "longest n"};
    const struct checkup_plan *plan = &c->plan;
    const char **cells = arena_alloc(&c->arena, (plan->n_collapses + 1) * COUNT_OF(header) * sizeof *cells);
    FAIL_IF(!cells, SNELLEN_E_MEMORY, "page: memory ran out");
    size_t rows = 0;
    for (size_t i = 0; i < plan->n_collapses; i++) {
        const struct checkup_collapse *k = &plan->collapses[i];
        struct collapse_finding f = checkup_judge_part(plan, k, c->info);
        if (!f.known) continue;
        const char **row = cells + COUNT_OF(header) * rows++;
        row[0] = k->sequence;
        row[1] = checkup_type_name(k);
        row[2] = reach_cell(&c->arena, &f.tells);
        row[3] = reach_cell(&c->arena, &f.line);
        row[4] = f.has_noise ? reach_cell(&c->arena, &f.noise) : "-";
        row[5] = reach_cell(&c->arena, &f.bits);
        row[6] = arena_printf(&c->arena, "%lld", (long long)k->lengths[k->n_lengths - 1]);
        for (size_t m = 0; m < COUNT_OF(header); m++) FAIL_IF(!row[m], SNELLEN_E_MEMORY, "page: memory ran out");
    }
    *table = (struct report_table){.caption = "How far one more item is seen", .header = header, .cells = cells,
                                   .n_columns = COUNT_OF(header), .n_rows = rows};
    return SNELLEN_OK;
}

static snellen_status task_row(struct checkup *c, const struct checkup_task *t, const char **row, snellen_error *err)
{
    struct task_finding f = checkup_judge_task(t);
    bool plain = !t->cure[0] && !strcmp(t->style, "plain");
    struct cure_finding gain = {0};
    if (!plain) gain = checkup_judge_cure(t, checkup_find_task(&c->plan, t->task, "plain", ""));
    struct arena *a = &c->arena;
    row[0] = t->task;
    row[1] = t->cure[0] ? t->cure : plain ? "-" : t->style;
    row[2] = reach_cell(a, &f.sees);
    row[3] = f.blind_at < 0 ? "-" : arena_printf(a, "%lld", (long long)f.blind_at);
    row[4] = arena_printf(a, "%.2f", f.mean_margin);
    row[5] = gain.known ? arena_printf(a, "%+.2f (%.2f .. %.2f)", gain.gain, gain.low, gain.high) : "-";
    row[6] = f.n_generated ? arena_printf(a, "%u of %u", f.n_right, f.n_generated) : "-";
    for (size_t m = 0; m < 7; m++) FAIL_IF(!row[m], SNELLEN_E_MEMORY, "page: memory ran out");
    return SNELLEN_OK;
}

static snellen_status task_table(struct checkup *c, const char *family, struct report_table *table, snellen_error *err)
{
    static const char *const header[] = {"task", "cure or style", "right", "blind from", "mean margin", "gain (95 %)",
                                         "written answers right"};
    const char **cells = arena_alloc(&c->arena, (c->plan.n_tasks + 1) * COUNT_OF(header) * sizeof *cells);
    FAIL_IF(!cells, SNELLEN_E_MEMORY, "page: memory ran out");
    size_t rows = 0;
    for (size_t i = 0; i < c->plan.n_tasks; i++) {
        const struct checkup_task *t = &c->plan.tasks[i];
        if (!t->n_answers || strncmp(t->task, family, strlen(family))) continue;
        TRY(task_row(c, t, cells + COUNT_OF(header) * rows++, err));
    }
    *table = (struct report_table){.caption = "All lines; the gain is on the questions asked both ways", .header = header,
                                   .cells = cells, .n_columns = COUNT_OF(header), .n_rows = rows};
    return SNELLEN_OK;
}

static snellen_status retrieval_row(struct checkup *c, const snellen_retrieval_cell *cell, const char **row, snellen_error *err)
{
    struct retrieval_finding f = checkup_judge_retrieval(c->plan.retrieval.result, cell->task);
    struct arena *a = &c->arena;
    row[0] = cell->task;
    row[1] = arena_printf(a, "%lld", (long long)cell->length);
    row[2] = arena_printf(a, "%u of %u (%.0f .. %.0f %%)", cell->n_right, cell->n, 100 * cell->right_low, 100 * cell->right_high);
    row[3] = arena_printf(a, "%.2f (%.2f .. %.2f)", cell->margin, cell->margin_low, cell->margin_high);
    row[4] = c->plan.retrieval.result->written ? arena_printf(a, "%u of %u", cell->n_written_right, cell->n) : "-";
    row[5] = f.guesses ? "none: it guesses" : reach_cell(a, &f.finds);
    for (size_t m = 0; m < 6; m++) FAIL_IF(!row[m], SNELLEN_E_MEMORY, "page: memory ran out");
    return SNELLEN_OK;
}

static snellen_status retrieval_table(struct checkup *c, struct report_table *table, snellen_error *err)
{
    static const char *const header[] = {"task", "tokens", "right (95 %)", "margin (95 %)", "written right", "effective length"};
    const snellen_retrieval_result *r = c->plan.retrieval.result;
    size_t rows = r ? r->n_lengths : 0;
    const char **cells = arena_alloc(&c->arena, (rows + 1) * COUNT_OF(header) * sizeof *cells);
    FAIL_IF(!cells, SNELLEN_E_MEMORY, "page: memory ran out");
    for (size_t i = 0; i < rows; i++) TRY(retrieval_row(c, &r->lengths[i], cells + COUNT_OF(header) * i, err));
    *table = (struct report_table){.caption = "All depths together", .header = header, .cells = cells,
                                   .n_columns = COUNT_OF(header), .n_rows = rows};
    return SNELLEN_OK;
}

/* ---- the page ---------------------------------------------------------------------------------------------------------------- */

static bool in_section(const struct plot_figure *f, const char *prefix)
{
    static const char *const collapse[] = {"collapse-", "comma-", "measures-", "layers-"};
    if (strcmp(prefix, "collapse")) return !strncmp(f->id, prefix, strlen(prefix));
    for (size_t i = 0; i < COUNT_OF(collapse); i++)
        if (!strncmp(f->id, collapse[i], strlen(collapse[i]))) return true;
    return false;
}

static snellen_status add_section(struct checkup *c, struct report_section *sections, size_t *n, const char *heading,
                                  const char *lead, const char *prefix, const struct plot_figure *figures, size_t n_figures,
                                  snellen_error *err)
{
    struct report_table *table = arena_alloc(&c->arena, sizeof *table);
    const struct plot_figure **own = arena_alloc(&c->arena, MAX(n_figures, 1) * sizeof *own);
    FAIL_IF(!table || !own, SNELLEN_E_MEMORY, "page: memory ran out");
    TRY(!strcmp(prefix, "collapse")    ? collapse_table(c, table, err)
        : !strcmp(prefix, "retrieval") ? retrieval_table(c, table, err)
                                       : task_table(c, prefix, table, err));
    struct report_section s = {.heading = heading, .lead = lead, .figures = own, .tables = table, .n_tables = 1};
    for (size_t i = 0; i < n_figures; i++)
        if (in_section(&figures[i], prefix)) own[s.n_figures++] = &figures[i];
    if (table->n_rows) sections[(*n)++] = s;
    return SNELLEN_OK;
}

/* A finding points to a figure only when that was drawn. */
static const char *figure_if_drawn(const char *id, const struct plot_figure *figures, size_t n)
{
    for (size_t i = 0; id && i < n; i++)
        if (!strcmp(figures[i].id, id)) return id;
    return NULL;
}

static snellen_status fill_findings(struct checkup *c, const struct checkup_words *words, const struct plot_figure *figures,
                                    size_t n_figures, struct report_finding *findings, snellen_error *err)
{
    for (size_t i = 0; i < words->n_lines; i++) {
        const struct checkup_line *l = &words->lines[i];
        const char *text = arena_text(&c->arena, words->text.text + l->start, l->length);
        FAIL_IF(!text, SNELLEN_E_MEMORY, "page: memory ran out");
        findings[i] = (struct report_finding){.level = l->level, .text = text,
                                              .figure = figure_if_drawn(l->figure, figures, n_figures)};
    }
    return SNELLEN_OK;
}

static snellen_status write_page(struct checkup *c, bool complete, const struct checkup_words *words,
                                 const struct plot_figure *figures, size_t n_figures, const char *machine, snellen_error *err)
{
    struct arena *a = &c->arena;
    const snellen_model_info *m = c->info;
    struct report_finding findings[CHECKUP_MAX_LINES];
    struct report_section sections[4];
    size_t n_sections = 0;
    TRY(fill_findings(c, words, figures, n_figures, findings, err));
    TRY(add_section(c, sections, &n_sections, "Collapse: telling n from n+1", COLLAPSE_LEAD, "collapse", figures, n_figures, err));
    TRY(add_section(c, sections, &n_sections, "Copying: the digit that differs", COPYING_LEAD, "copy", figures, n_figures, err));
    TRY(add_section(c, sections, &n_sections, "Counting", COUNTING_LEAD, "count", figures, n_figures, err));
    TRY(add_section(c, sections, &n_sections, "Finding: by depth and length", RETRIEVAL_LEAD, "retrieval", figures, n_figures, err));
    const struct report_fact facts[] = {
        {"model", c->options.model_name}, {"architecture", m->arch},
        {"layers", arena_printf(a, "%lld of width %lld, %lld heads", (long long)m->n_layers, (long long)m->d_model,
                                (long long)m->n_heads)},
        {"weights", arena_printf(a, "%.1f M", (double)m->n_params / 1e6)},
        {"context", arena_printf(a, "%lld tokens", (long long)m->n_context)},
        {"prompts", c->chat ? "in the model's chat template" : "bare text, no chat template"},
    };
    const struct report_fact footer[] = {
        {"command", c->options.command}, {"snellen", arena_printf(a, "%s, kernels %s", snellen_version(), snellen_isa())},
        {"model file", m->path}, {"model hash", c->model_hash}, {"machine", machine},
        {"seed", arena_printf(a, "%llu", (unsigned long long)c->options.seed)},
        {"time", arena_printf(a, "%.1f s for about %llu tokens (a written one counts as %d)", c->seconds,
                              (unsigned long long)c->plan.work, CHECKUP_GENERATED)},
        {"run", c->run ? arena_printf(a, "snellen runs show %lld", (long long)c->run)
                       : "not kept in the results database"},
        {"method", "\"Transformers need glasses!\", arXiv 2406.04267; what is ours is marked as ours"},
    };
    for (size_t i = 0; i < COUNT_OF(facts); i++) FAIL_IF(!facts[i].value, SNELLEN_E_MEMORY, "page: memory ran out");
    for (size_t i = 0; i < COUNT_OF(footer); i++) FAIL_IF(!footer[i].value, SNELLEN_E_MEMORY, "page: memory ran out");
    const char *title = arena_printf(a, "Eye exam of %s", c->options.model_name);
    const char *path = arena_printf(a, "%s/index.html", c->options.folder);
    FAIL_IF(!title || !path, SNELLEN_E_MEMORY, "page: memory ran out");
    struct report_page page = {
        .title = title, .subtitle = "Where a language model loses the thread of a long input, and what helps",
        .warning = complete ? NULL : "The exam was stopped: this page shows the parts that were finished.",
        .findings = findings, .n_findings = words->n_lines, .facts = facts, .n_facts = COUNT_OF(facts), .sections = sections,
        .n_sections = n_sections, .footer = footer, .n_footer = COUNT_OF(footer)};
    TRY(overview_fill(c, figures, n_figures, &page, err));
    return report_write_html(&page, path, err);
}

snellen_status checkup_page(struct checkup *c, bool complete, const struct checkup_words *words,
                            const struct plot_figure *figures, size_t n_figures, snellen_error *err)
{
    char *machine;
    TRY(store_machine(c->options.session.n_threads, &machine, err));
    snellen_status status = write_page(c, complete, words, figures, n_figures, machine, err);
    snellen_free(machine);
    return status;
}
