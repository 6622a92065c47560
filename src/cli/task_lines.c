/* task: tasks of symbols: their lines as a person can check them. */
#include "cli/task.h"

#include <inttypes.h>
#include <string.h>

void lines_list(void)
{
    snellen_task_info t;
    printf("\n%-17s %-38s %s\n", "task of symbols", "what is asked", "formats");
    for (size_t i = 0; snellen_task_list(i, &t); i++)
        if (*t.formats) printf("%-17s %-38s %s\n", t.name, t.summary, t.formats);
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
    snellen_error err;
    char buffer[32];
    json_t *samples = ui.json ? json_array() : NULL;
    if (show_all(a, info, samples, &err)) {
        json_decref(samples);
        return ui_fail(&err);
    }
    if (!ui.json) {
        ui_note("under the output: = final answer, ^ other symbols that the model writes, a anchors (written by the "
                "model, or for it with --forced), . given; loss on all but the given ones");
        return 0;
    }
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:o}", "task", info->name, "format", format_of(a, info, buffer), "set",
                          a->train ? "train" : "test", "seed", (json_int_t)a->common.seed, "samples", samples);
    return ui_json(o) ? 0 : 1;
}
