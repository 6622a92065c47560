/* task: tasks of long memory: samples to look at, and how well a model remembers over lengths and depths. */
#include "cli/task.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTHS = 64, READ_AT_ONCE = 4096 };

/* The depths of --depths; none: one below 0, drawn. */
struct depths {
    double v[MOST_DEPTHS];
    size_t n;
};

void long_list(void)
{
    snellen_task_info t;
    printf("\n%-17s %-52s %s\n", "of long memory", "what is asked", "formats");
    for (size_t i = 0; snellen_task_list(i, &t); i++)
        if (t.kind == SNELLEN_TASK_LONG) printf("%-17s %-52s %s\n", t.name, t.summary, t.formats);
}

static snellen_status parse_depths(const char *text, struct depths *depths, snellen_error *err)
{
    *depths = (struct depths){.v = {-1}, .n = 1};
    return text ? cli_depths(text, depths->v, MOST_DEPTHS, &depths->n, err) : SNELLEN_OK;
}

static snellen_long_options long_options(const struct task_args *a)
{
    snellen_long_options o = snellen_long_options_default();
    o.format = a->format;
    o.within = a->within;
    o.pairs = a->pairs;
    o.every = a->every;
    o.back = a->back;
    o.digits = a->digits;
    o.pool = (uint32_t)a->pool;
    o.vary = a->vary;
    o.haystack = a->haystack;
    o.needle = a->needle;
    o.question = a->question;
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

static json_t *depth_json(double depth)
{
    return depth < 0 ? json_null() : json_real(depth);
}

/* ---- show -------------------------------------------------------------------------------------------------------- */

/* One sample as it is shown. */
struct shown {
    snellen_reader *reader;
    bool words;
    struct strbuf text;           /* so far; without JSON it is printed piece by piece */
    json_t *ids, *answers;        /* NULL without JSON */
};

/* A run of tokens that are all of an answer, or none of them; answers stand in brackets, their space before these. */
static snellen_status show_run(struct shown *s, const int32_t *tokens, size_t n, bool answer, bool first,
                               snellen_error *err)
{
    char *text;
    TRY(snellen_reader_text(s->reader, tokens, n, &text, err));
    const char *plain = text + (answer && *text == ' ');
    if (!s->words ? !first : plain > text) strbuf_puts(&s->text, " ");
    strbuf_printf(&s->text, answer ? "[%s]" : "%s", plain);
    if (answer && s->answers)
        json_array_append_new(s->answers, json_pack("{s:o, s:I}", "answer", cli_json_text(plain, strlen(plain)),
                                                    "distance", (json_int_t)snellen_reader_distance(s->reader)));
    snellen_free(text);
    return SNELLEN_OK;
}

static snellen_status show_pieces(struct shown *s, snellen_error *err)
{
    int32_t tokens[READ_AT_ONCE];
    uint8_t marks[READ_AT_ONCE];
    size_t n;
    bool first = true;
    do {
        TRY(snellen_reader_next(s->reader, tokens, marks, READ_AT_ONCE, &n, err));
        for (size_t i = 0, end; i < n; i = end, first = false) {
            unsigned answer = marks[i] & SNELLEN_MARK_ANSWER;
            for (end = i; end < n && (marks[end] & SNELLEN_MARK_ANSWER) == answer; end++)
                if (s->ids) json_array_append_new(s->ids, json_integer(tokens[end]));
            TRY(show_run(s, tokens + i, end - i, answer, first, err));
        }
        FAIL_IF(s->text.failed, SNELLEN_E_MEMORY, "samples: memory ran out");
        if (s->ids || !s->text.n) continue;
        fwrite(s->text.text, 1, s->text.n, stdout);
        s->text.n = 0;
        FAIL_IF(!ui_flush(), SNELLEN_E_IO, "standard output cannot be written");
    } while (n);
    return SNELLEN_OK;
}

static snellen_status show_sample(snellen_reader *reader, const struct task_args *a, const snellen_task_info *info,
                                  int64_t length, double depth, uint64_t index, json_t *samples, snellen_error *err)
{
    char buffer[32], where[32] = "";
    const char *format = format_of(a, info, buffer);
    struct shown s = {.reader = reader, .words = !strcmp(format, "words")};
    TRY(snellen_reader_start(reader, length, index, err));
    if (depth >= 0) snprintf(where, sizeof where, ", depth %.4g", depth);
    if (samples) s.ids = json_array(), s.answers = json_array();
    else printf("[%s %s, %" PRId64 " tokens%s, sample %" PRIu64 " of the %s set]\n", info->name, format, length, where,
                index, a->train ? "training" : "test");
    snellen_status status = show_pieces(&s, err);
    if (samples && !status)
        json_array_append_new(samples, json_pack("{s:I, s:o, s:I, s:o, s:O, s:O}", "length", (json_int_t)length,
                                                 "depth", depth_json(depth), "index", (json_int_t)index, "text",
                                                 cli_json_text(s.text.text ? s.text.text : "", s.text.n), "answers",
                                                 s.answers, "ids", s.ids));
    else if (!status) printf("\n\n");
    json_decref(s.ids);
    json_decref(s.answers);
    strbuf_free(&s.text);
    return status;
}

static snellen_status show_all(const struct task_args *a, const snellen_task_info *info, json_t *samples,
                               snellen_error *err)
{
    snellen_long_options o = long_options(a);
    struct depths depths;
    TRY(parse_depths(a->depths, &depths, err));
    snellen_status status = SNELLEN_OK;
    for (size_t d = 0; d < depths.n && !status; d++) {
        snellen_reader *reader;
        o.depth = depths.v[d];
        TRY(snellen_reader_new(NULL, info->name, &o, &reader, err));
        for (size_t i = 0; i < MAX(a->lengths.n, 1) && !status; i++)
            for (int64_t index = 0; index < (a->prompts ? a->prompts : 1) && !status; index++)
                status = show_sample(reader, a, info, a->lengths.n ? a->lengths.v[i] : info->lengths[0], depths.v[d],
                                     (uint64_t)index, samples, err);
        snellen_reader_free(reader);
    }
    return status;
}

int long_show(const struct task_args *a, const snellen_task_info *info)
{
    char format[32];
    return task_show(a, info, format_of(a, info, format), show_all,
                     "[in brackets]: what the model has to write; without a model's tokenizer a token is a symbol, or in "
                     "words a byte");
}

/* ---- eval -------------------------------------------------------------------------------------------------------- */

static double share(uint64_t k, uint64_t n)
{
    return n ? (double)k / (double)n : (double)NAN;
}

static json_t *cell_json(const snellen_long_cell *c)
{
    return json_pack("{s:I, s:o, s:I, s:I, s:o, s:o, s:I, s:I, s:o}", "length", (json_int_t)c->length, "depth",
                     depth_json(c->depth), "n", (json_int_t)c->n, "exact", (json_int_t)c->n_exact, "exact_low",
                     cli_json_number(c->exact_low), "exact_high", cli_json_number(c->exact_high), "tokens",
                     (json_int_t)c->n_tokens, "tokens_right", (json_int_t)c->n_right, "accuracy",
                     cli_json_number(share(c->n_right, c->n_tokens)));
}

static json_t *recalled_json(const snellen_recalled *a)
{
    return json_pack("{s:I, s:o, s:I, s:I, s:b, s:I, s:I, s:o, s:o}", "length", (json_int_t)a->length, "depth",
                     depth_json(a->depth), "index", (json_int_t)a->index, "distance", (json_int_t)a->distance, "exact",
                     (int)a->exact, "tokens", (json_int_t)a->n_tokens, "tokens_right", (json_int_t)a->n_right,
                     "expected", cli_json_text(a->expected, strlen(a->expected)), "text",
                     cli_json_text(a->text, strlen(a->text)));
}

static void print_json(const snellen_long_result *r, const struct task_args *a, const snellen_task_info *info,
                       const char *model, const char *memory, double seconds)
{
    char buffer[32];
    json_t *cells = json_array(), *answers = json_array();
    for (size_t i = 0; i < r->n_cells; i++) json_array_append_new(cells, cell_json(&r->cells[i]));
    for (size_t i = 0; i < r->n_recalled; i++) json_array_append_new(answers, recalled_json(&r->recalled[i]));
    ui_json(json_pack("{s:s, s:o, s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:f}", "task", info->name, "model",
                      cli_json_text(model, strlen(model)), "format", format_of(a, info, buffer), "memory", memory,
                      "set", a->train ? "train" : "test", "seed", (json_int_t)a->common.seed, "tokens_read",
                      (json_int_t)r->n_tokens, "cells", cells, "answers", answers, "seconds", seconds));
}

static void print_cells(const snellen_long_result *r)
{
    printf("%9s %6s %10s %8s %18s %8s\n", "tokens", "depth", "questions", "exact", "95 % interval", "digits");
    for (size_t i = 0; i < r->n_cells; i++) {
        const snellen_long_cell *c = &r->cells[i];
        char interval[32], depth[16] = "any";
        snprintf(interval, sizeof interval, "%.1f .. %.1f%%", 100 * c->exact_low, 100 * c->exact_high);
        if (c->depth >= 0) snprintf(depth, sizeof depth, "%.4g", c->depth);
        printf("%9" PRId64 " %6s %10" PRIu64 " %7.1f%% %18s %7.1f%%\n", c->length, depth, c->n,
               100 * share(c->n_exact, c->n), interval, 100 * share(c->n_right, c->n_tokens));
    }
}

/* A cell's shares into the database; the depth stands where other tasks have their cure. */
static snellen_status record_cells(snellen_recorder *recorder, const snellen_long_result *r, const struct task_args *a,
                                   const snellen_task_info *info, const char *memory, snellen_error *err)
{
    char buffer[32], where[64];
    for (size_t i = 0; i < r->n_cells; i++) {
        const snellen_long_cell *c = &r->cells[i];
        if (c->depth < 0) snprintf(where, sizeof where, "%s", memory);
        else snprintf(where, sizeof where, "%s, depth %.4g", memory, c->depth);
        const snellen_number of = {.subject = info->name, .cure = where, .style = format_of(a, info, buffer),
                                   .precision = a->common.precision, .length = c->length, .prompt = -1, .layer = -1};
        snellen_number numbers[] = {of, of, of};
        numbers[0].metric = "exact", numbers[0].value = share(c->n_exact, c->n);
        numbers[1].metric = "accuracy", numbers[1].value = share(c->n_right, c->n_tokens);
        numbers[2].metric = "questions", numbers[2].value = (double)c->n;
        TRY(snellen_record_add(recorder, numbers, COUNT_OF(numbers), err));
    }
    return SNELLEN_OK;
}

snellen_status long_ask(const struct task_args *a, const snellen_task_info *info, const snellen_model *model,
                        const char *name, snellen_recorder *recorder, snellen_error *err)
{
    snellen_long_eval_options o = snellen_long_eval_options_default();
    snellen_long_result *r = NULL;
    struct depths depths;
    double start = ui_seconds();
    TRY(common_session(&a->common, &o.session, err));
    struct common_opts own = a->common;
    common_own_memory(&own, model, &o.session);
    TRY(parse_depths(a->depths, &depths, err));
    o.task = long_options(a);
    o.depths = depths.v;
    o.n_depths = depths.n;
    o.lengths = a->lengths.n ? a->lengths.v : NULL;
    o.n_lengths = a->lengths.n;
    if (a->prompts) o.n_samples = (uint32_t)a->prompts;
    snellen_status status = snellen_long_eval(model, info->name, &o, ui_progress(), &r, err), recorded = SNELLEN_OK;
    ui_clear();
    if (r) {
        double seconds = ui_seconds() - start;
        const char *memory = snellen_memory_name(o.session.memory);
        if (ui.json)
            print_json(r, a, info, name, memory, seconds);
        else
            print_cells(r);
        if (recorder) recorded = record_cells(recorder, r, a, info, memory, status ? NULL : err);
        ui_note("%zu answers, %" PRIu64 " tokens in %.2f s, %.0f tokens/s, memory %s%s", r->n_recalled, r->n_tokens,
                seconds, (double)r->n_tokens / seconds, memory, status ? "; then it was interrupted" : "");
    }
    snellen_long_result_free(r);
    return status ? status : recorded;
}
