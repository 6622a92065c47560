/* task: tasks of symbols: their lines as a person can check them, and how well a model writes them. */
#include "cli/task.h"

#include <inttypes.h>
#include <string.h>

void lines_list(void)
{
    snellen_task_info t;
    printf("\n%-17s %-38s %s\n", "task of symbols", "what is asked", "formats");
    for (size_t i = 0; snellen_task_list(i, &t); i++)
        if (t.kind == SNELLEN_TASK_SYMBOLS) printf("%-17s %-38s %s\n", t.name, t.summary, t.formats);
}

static snellen_line_options line_options(const struct task_args *a)
{
    snellen_line_options o = snellen_line_options_default();
    o.format = a->format;
    o.pool = (uint32_t)a->pool;
    o.spacing = (uint32_t)a->spacing;
    o.cycle = (uint32_t)a->cycle;
    o.train = a->train;
    o.seed = a->common.seed;
    return o;
}

/* The format's name, also where it was left to the task. */
static const char *format_of(const struct task_args *a, const snellen_task_info *info, char buffer[32])
{
    if (a->format) return a->format;
    snprintf(buffer, 32, "%.*s", (int)strcspn(info->formats, " "), info->formats);
    return buffer;
}

/* ---- show -------------------------------------------------------------------------------------------------------- */

/* What stands under a symbol: who writes it, and whether it counts as the answer. */
static char mark_of(const snellen_symbol *s)
{
    if (!s->output) return ' ';
    if (s->given) return '.';
    if (s->anchor) return 'a';
    return s->answer ? '=' : '^';
}

static void print_line(const snellen_line *line)
{
    struct strbuf text = {0}, marks = {0};
    for (size_t i = 0; i < line->n; i++) {
        const snellen_symbol *s = &line->symbols[i];
        strbuf_printf(&text, "%s%s", i ? " " : "", s->name);
        strbuf_printf(&marks, "%s%c%*s", i ? " " : "", mark_of(s), (int)strlen(s->name) - 1, "");
    }
    while (marks.n && marks.text[marks.n - 1] == ' ') marks.text[--marks.n] = 0;
    printf("%s\n%s\n\n", text.text ? text.text : "", marks.text ? marks.text : "");
    strbuf_free(&text);
    strbuf_free(&marks);
}

/* The names of the symbols that a test accepts, as one text. */
static json_t *names_json(const snellen_line *line, bool (*wanted)(const snellen_symbol *))
{
    struct strbuf text = {0};
    for (size_t i = 0; i < line->n; i++)
        if (wanted(&line->symbols[i])) strbuf_printf(&text, "%s%s", text.n ? " " : "", line->symbols[i].name);
    json_t *o = json_string(text.text ? text.text : "");
    strbuf_free(&text);
    return o;
}

static bool in_prompt(const snellen_symbol *s) { return !s->output; }
static bool in_output(const snellen_symbol *s) { return s->output; }
static bool in_answer(const snellen_symbol *s) { return s->answer; }

static json_t *line_json(const snellen_line *line, int64_t length, uint64_t index)
{
    json_t *ids = json_array(), *weights = json_array();
    struct strbuf marks = {0};
    for (size_t i = 0; i < line->n; i++) {
        json_array_append_new(ids, json_integer(line->symbols[i].id));
        json_array_append_new(weights, json_real((double)line->symbols[i].weight));
        strbuf_printf(&marks, "%c", mark_of(&line->symbols[i]));
    }
    json_t *o = json_pack("{s:I, s:I, s:o, s:o, s:o, s:s, s:o, s:o}", "length", (json_int_t)length, "index",
                          (json_int_t)index, "prompt", names_json(line, in_prompt), "expected",
                          names_json(line, in_output), "answer", names_json(line, in_answer), "marks",
                          marks.text ? marks.text : "", "ids", ids, "weights", weights);
    strbuf_free(&marks);
    return o;
}

static snellen_status show_all(const struct task_args *a, const snellen_task_info *info, json_t *samples,
                               snellen_error *err)
{
    snellen_line_options o = line_options(a);
    char buffer[32];
    for (size_t i = 0; i < MAX(a->lengths.n, 1); i++)
        for (int64_t index = 0; index < (a->prompts ? a->prompts : TASK_SHOWN); index++) {
            int64_t length = a->lengths.n ? a->lengths.v[i] : info->lengths[0];
            snellen_line *line;
            TRY(snellen_line_make(info->name, &o, length, (uint64_t)index, &line, err));
            if (samples) {
                json_array_append_new(samples, line_json(line, length, (uint64_t)index));
            } else {
                printf("[%s %s, length %" PRId64 ", sample %" PRId64 " of the %s set]\n", info->name,
                       format_of(a, info, buffer), length, index, a->train ? "training" : "test");
                print_line(line);
            }
            snellen_free(line);
        }
    return SNELLEN_OK;
}

int lines_show(const struct task_args *a, const snellen_task_info *info)
{
    char format[32];
    return task_show(a, info, format_of(a, info, format), show_all,
                     "under the output: = final answer, ^ other symbols that the model writes, a anchors (written by the "
                     "model, or for it with --forced), . given; loss on all but the given ones");
}

/* ---- eval -------------------------------------------------------------------------------------------------------- */

static double share(uint64_t k, uint64_t n)
{
    return n ? (double)k / (double)n : 0;
}

static json_t *cell_json(const snellen_lines_cell *c)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:I, s:o, s:o, s:I, s:I, s:o}", "length", (json_int_t)c->length, "n",
                     (json_int_t)c->n, "exact", (json_int_t)c->n_exact, "exact_low", cli_json_number(c->exact_low),
                     "exact_high", cli_json_number(c->exact_high), "answer", (json_int_t)c->n_answer, "answer_low",
                     cli_json_number(c->answer_low), "answer_high", cli_json_number(c->answer_high), "symbols",
                     (json_int_t)c->n_symbols, "symbols_right", (json_int_t)c->n_right, "accuracy",
                     cli_json_number(share(c->n_right, c->n_symbols)));
}

static json_t *written_json(const snellen_written *w)
{
    return json_pack("{s:I, s:I, s:b, s:b, s:I, s:I, s:o, s:o}", "length", (json_int_t)w->length, "index",
                     (json_int_t)w->index, "exact", (int)w->exact, "answer", (int)w->answer, "symbols",
                     (json_int_t)w->n_symbols, "symbols_right", (json_int_t)w->n_right, "expected",
                     cli_json_text(w->expected, strlen(w->expected)), "text", cli_json_text(w->text, strlen(w->text)));
}

static void print_cells_json(const snellen_lines_result *r, const struct task_args *a, const snellen_task_info *info,
                             const char *model, double seconds)
{
    char buffer[32];
    json_t *cells = json_array(), *written = json_array();
    for (size_t i = 0; i < r->n_cells; i++) json_array_append_new(cells, cell_json(&r->cells[i]));
    for (size_t i = 0; i < r->n_written; i++) json_array_append_new(written, written_json(&r->written[i]));
    ui_json(json_pack("{s:s, s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:f}", "task", info->name, "model",
                      cli_json_text(model, strlen(model)), "format", format_of(a, info, buffer), "anchors",
                      a->forced ? "forced" : "free", "set", a->train ? "train" : "test", "seed",
                      (json_int_t)a->common.seed, "lanes", (json_int_t)r->n_lanes, "tokens", (json_int_t)r->n_tokens,
                      "cells", cells, "lines", written, "seconds", seconds));
}

static void print_cells(const snellen_lines_result *r)
{
    printf("%7s %7s %8s %18s %8s %18s %9s\n", "length", "lines", "exact", "95 % interval", "answer", "95 % interval",
           "symbols");
    for (size_t i = 0; i < r->n_cells; i++) {
        const snellen_lines_cell *c = &r->cells[i];
        char exact[32], answer[32];
        snprintf(exact, sizeof exact, "%.1f .. %.1f%%", 100 * c->exact_low, 100 * c->exact_high);
        snprintf(answer, sizeof answer, "%.1f .. %.1f%%", 100 * c->answer_low, 100 * c->answer_high);
        printf("%7" PRId64 " %7" PRIu32 " %7.1f%% %18s %7.1f%% %18s %8.1f%%\n", c->length, c->n,
               100 * share(c->n_exact, c->n), exact, 100 * share(c->n_answer, c->n), answer,
               100 * share(c->n_right, c->n_symbols));
    }
}

/* A length's shares into the database. */
static snellen_status record_cells(snellen_recorder *recorder, const snellen_lines_result *r, const struct task_args *a,
                                   const snellen_task_info *info, snellen_error *err)
{
    snellen_status status = SNELLEN_OK;
    char buffer[32];
    for (size_t i = 0; i < r->n_cells && !status; i++) {
        const snellen_lines_cell *c = &r->cells[i];
        const snellen_number of = {.subject = info->name, .cure = a->forced ? "forced" : "",
                                   .style = format_of(a, info, buffer), .precision = a->common.precision,
                                   .length = c->length, .prompt = -1, .layer = -1};
        snellen_number numbers[] = {of, of, of, of};
        numbers[0].metric = "exact", numbers[0].value = share(c->n_exact, c->n);
        numbers[1].metric = "answer", numbers[1].value = share(c->n_answer, c->n);
        numbers[2].metric = "accuracy", numbers[2].value = share(c->n_right, c->n_symbols);
        numbers[3].metric = "lines", numbers[3].value = c->n;
        status = snellen_record_add(recorder, numbers, COUNT_OF(numbers), err);
    }
    return status;
}

snellen_status lines_ask(const struct task_args *a, const snellen_task_info *info, const snellen_model *model,
                         const char *name, snellen_recorder *recorder, snellen_error *err)
{
    snellen_lines_options o = snellen_lines_options_default();
    snellen_lines_result *r = NULL;
    double start = ui_seconds();
    TRY(common_session(&a->common, &o.session, err));
    struct common_opts own = a->common;
    common_own_memory(&own, model, &o.session);
    o.line = line_options(a);
    o.lengths = a->lengths.n ? a->lengths.v : NULL;
    o.n_lengths = a->lengths.n;
    if (a->prompts) o.n_samples = (uint32_t)a->prompts;
    o.forced = a->forced;
    o.n_lanes = a->lanes;
    snellen_status status = snellen_lines_eval(model, info->name, &o, ui_progress(), &r, err), recorded = SNELLEN_OK;
    ui_clear();
    if (r) {
        double seconds = ui_seconds() - start;
        if (ui.json)
            print_cells_json(r, a, info, name, seconds);
        else
            print_cells(r);
        if (recorder) recorded = record_cells(recorder, r, a, info, status ? NULL : err);
        ui_note("%zu lines, %" PRIu64 " tokens in %.2f s, %.0f tokens/s, %" PRId64 " side by side%s", r->n_written,
                r->n_tokens, seconds, (double)r->n_tokens / seconds, r->n_lanes,
                status ? "; then it was interrupted" : "");
    }
    snellen_lines_result_free(r);
    return status ? status : recorded;
}
