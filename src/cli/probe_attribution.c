/* probe attribution: what each context token did for each output. */
#include "cli/probe.h"

#include "format/format.h"
#include "study/maps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct attribution_args {
    struct common_opts common;
    struct probe_text text;
    const char *kind, *right, *folder, *out;
    int64_t window;
};

struct attribution_work {
    const struct attribution_args *args;
    const snellen_model *model;
    struct probe_text *text;
    snellen_attribution *map;
};

/* ---- results ------------------------------------------------------------------------------------------------------------ */

/* Of "OUTPUT:CONTEXT[:CONTEXT..],..": the context tokens of one output, as places in the whole text. */
struct right_tokens {
    int64_t output, context[16];
    size_t n;
};

/* The next entry; *p moves behind it. False at the end. */
static bool next_right(const char **p, int64_t n_tokens, struct right_tokens *r, snellen_status *status,
                       snellen_error *err)
{
    if (!**p) return false;
    const char *start = *p;
    r->n = 0;
    for (int field = 0;; field++) {
        char *end;
        long long value = strtoll(*p, &end, 10);
        bool good = end != *p && value >= 0 && value < n_tokens && r->n < COUNT_OF(r->context);
        if (!good || (*end && *end != ':' && *end != ',') || (field == 0 && *end != ':')) {
            *status = error_set(err, SNELLEN_E_USAGE, "--right: '%.40s' found, OUTPUT:CONTEXT[:CONTEXT..] with places from 0 "
                                "to %lld expected", start, (long long)n_tokens - 1);
            return false;
        }
        if (field == 0) r->output = value;
        else r->context[r->n++] = value;
        *p = end + (*end != 0);
        if (*end != ':') return true;
    }
}

/* Mean share of the columns' mass on the right tokens; NAN without any. */
static snellen_status score(const struct attribution_work *w, double *mean, snellen_error *err)
{
    const char *p = w->args->right ? w->args->right : "";
    struct right_tokens r;
    snellen_status status = SNELLEN_OK;
    double sum = 0;
    size_t n = 0;
    for (; next_right(&p, (int64_t)w->text->n, &r, &status, err); n++) {
        double mass = snellen_attribution_mass(w->map, r.output - 1, r.context, r.n);
        FAIL_IF(isnan(mass), SNELLEN_E_USAGE, "--right: token %lld is none of the outputs", (long long)r.output);
        sum += mass;
    }
    *mean = n ? sum / (double)n : (double)NAN;
    return status;
}

/* The context token that did most for an output. */
static int64_t strongest(const snellen_attribution *map, int64_t column)
{
    int64_t best = 0;
    for (int64_t t = 1; t < map->n_tokens; t++)
        if (map->values[t * map->n_rows + column] > map->values[best * map->n_rows + column]) best = t;
    return best;
}

static bool print_map(const struct attribution_work *w, double mass)
{
    const snellen_attribution *m = w->map;
    if (ui.json) {
        json_t *rows = json_array();
        for (int64_t i = 0; rows && i < m->n_rows; i++) {
            int64_t output = m->first_row + i + 1, top = strongest(m, i);
            double value = (double)m->values[top * m->n_rows + i];
            json_array_append_new(rows, json_pack("{s:I, s:i, s:I, s:i, s:f}", "output", (json_int_t)output, "id",
                                                  (int)w->text->ids[output], "strongest", (json_int_t)top,
                                                  "strongest_id", (int)w->text->ids[top], "value", value));
        }
        return ui_json(rows ? json_pack("{s:I, s:o, s:o}", "tokens", (json_int_t)m->n_tokens, "outputs", rows, "mass",
                                        isnan(mass) ? json_null() : json_real(mass)) : NULL);
    }
    ui_clear();
    printf("%8s  %-16s %s\n", "output", "token", "did most for it");
    for (int64_t i = 0; i < m->n_rows; i++) {
        struct strbuf output = {0}, context = {0};
        int64_t top = strongest(m, i);
        token_label(w->model, w->text->ids[m->first_row + i + 1], &output);
        token_label(w->model, w->text->ids[top], &context);
        printf("%8lld  '%s'%*s %.4g at token %lld '%s'\n", (long long)(m->first_row + i + 1),
               output.text ? output.text : "", (int)MAX(0, 14 - (int)output.n), "", (double)m->values[top * m->n_rows + i],
               (long long)top, context.text ? context.text : "");
        strbuf_free(&output);
        strbuf_free(&context);
    }
    if (!isnan(mass)) printf("share on the right tokens: %.3f\n", mass);
    return ui_flush();
}

/* All rows: [T, T], the last column 0. A continuation: a column for each of its tokens, and which they are. */
static snellen_status write_numbers(const struct attribution_work *w, snellen_error *err)
{
    const snellen_attribution *m = w->map;
    int64_t n = m->n_tokens, width = w->text->n_prompt == w->text->n ? n : m->n_rows;
    const char *name = !strcmp(w->args->kind, "gxi-l2") ? "gxi_l2" : w->args->kind;
    const struct safetensors_spec specs[] = {
        {name, "F32", 2, {n, width}}, {"tokens", "I32", 1, {n}}, {"columns", "I64", 1, {width}},
    };
    struct safetensors_writer *writer;
    TRY(safetensors_writer_new(w->args->out, specs, COUNT_OF(specs), &writer, err));
    snellen_status status = safetensors_writer_put(writer, 1, 0, w->text->ids, (uint64_t)n * sizeof *w->text->ids, err);
    static const float none = 0;
    uint64_t row = (uint64_t)width * sizeof(float);
    for (int64_t t = 0; t < n && !status; t++) {
        status = safetensors_writer_put(writer, 0, (uint64_t)t * row, m->values + t * m->n_rows,
                                        (uint64_t)m->n_rows * sizeof(float), err);
        if (!status && width > m->n_rows)
            status = safetensors_writer_put(writer, 0, (uint64_t)(t + 1) * row - sizeof none, &none, sizeof none, err);
    }
    for (int64_t i = 0; i < width && !status; i++) {
        int64_t column = m->first_row + i;
        status = safetensors_writer_put(writer, 2, (uint64_t)i * sizeof column, &column, sizeof column, err);
    }
    if (!status) return safetensors_writer_commit(writer, err);
    safetensors_writer_abort(writer);
    return status;
}

/* Each column scaled to its maximum, as in arXiv 2408.05506; the raw values are what --out keeps. */
static snellen_status draw(const struct attribution_work *w, snellen_error *err)
{
    const snellen_attribution *m = w->map;
    float *scaled;
    TRY(folder_make(w->args->folder, err));
    TRY(NEW_ARRAY(&scaled, m->n_tokens * m->n_rows, "attribution map", err));
    for (int64_t i = 0; i < m->n_rows; i++) {
        float top = m->values[strongest(m, i) * m->n_rows + i];
        for (int64_t t = 0; t < m->n_tokens; t++)
            scaled[t * m->n_rows + i] = top > 0 ? m->values[t * m->n_rows + i] / top : 0;
    }
    const struct token_map map = {
        .id = "attribution", .title = "Attribution", .command = ui_command(),
        .caption = "Column: an output token; row: what a context token did for it, each column scaled to its maximum.",
        .x_label = "output", .y_label = "context", .value_label = "share of the column's maximum",
        .n_rows = (size_t)m->n_tokens, .n_columns = (size_t)m->n_rows, .values = scaled,
        .row_tokens = w->text->ids, .column_tokens = w->text->ids + m->first_row + 1,
    };
    snellen_status status = token_map_write(w->model, &map, w->args->folder, err);
    mem_free(scaled);
    return status;
}

/* ---- the verb ------------------------------------------------------------------------------------------------------------- */

static snellen_status probe(struct attribution_work *w, double *mass, snellen_error *err)
{
    const struct attribution_args *a = w->args;
    struct probe_text *t = w->text;
    const snellen_session_options session = snellen_session_options_default();
    snellen_attribution_options o = snellen_attribution_options_default();
    if (a->out) TRY(cli_check_output(a->out, err));
    TRY(snellen_attribution_parse(a->kind, &o.kind, err));
    TRY(probe_text_read(t, w->model, &session, err));
    if (t->n_prompt < t->n) {
        o.first_row = (int64_t)t->n_prompt - 1;
        o.n_rows = (int64_t)(t->n - t->n_prompt);
    }
    o.window = a->window;
    o.n_threads = (int)a->common.threads;
    TRY(snellen_probe_attribution(w->model, t->ids, t->n, &o, ui_progress(), &w->map, err));
    TRY(score(w, mass, err));
    if (a->out) TRY(write_numbers(w, err));
    return a->folder ? draw(w, err) : SNELLEN_OK;
}

static int run(int argc, char **argv)
{
    struct attribution_args a = {.common = common_opts_default(), .kind = "gxi"};
    const char *args[1];
    const struct opt table[] = {
        OPT_GROUP("what is read"),
        OPT_TEXT('p', "prompt", "TEXT", &a.text.prompt, "a text; special tokens are read as such"),
        OPT_TEXT(0, "tokens", "LIST", &a.text.tokens, "token ids, as in 1,2,3, or a file of ids"),
        OPT_TEXT(0, "continuation", "TEXT", &a.text.continuation,
                 "what follows the prompt: its tokens are the outputs"),
        OPT_INT('n', "predict", "N", &a.text.write, 0, 8192,
                "tokens that the model writes itself (greedily): the outputs",
                .shown = "every token of the prompt is the output of those before it"),
        OPT_GROUP("how it is measured"),
        OPT_CHOICE(0, "kind", "KIND", &a.kind, "gxi gxi-l2 gradient rollout",
                   "gradient x input, summed or as a length; the gradient's length; attention rollout"),
        OPT_INT(0, "window", "N", &a.window, 0, CLI_MAX_TOKENS, "every layer sees the last N tokens only",
                .shown = "as the model was made"),
        OPT_TEXT(0, "right", "LIST", &a.right, "the context tokens that each output should rest on, by place in the text: "
                 "OUTPUT:CONTEXT[:CONTEXT..],.. The share of the mass that lies on them is told"),
        OPT_GROUP("what comes out"),
        OPT_TEXT('o', "figures", "DIR", &a.folder, "folder for PNG, SVG and CSV of the map"),
        OPT_TEXT(0, "out", "FILE", &a.out, "safetensors file: KIND [T, T], or [T, outputs] of a continuation; tokens; columns"),
        OPTS_THREADS(&a.common),
        OPTS_LORA(&a.common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&probe_attribution, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    snellen_model *model = common_load(args[0], &a.common, &status);
    if (!model) return status;
    snellen_error err;
    double mass = NAN;
    struct attribution_work w = {.args = &a, .model = model, .text = &a.text};
    status = probe(&w, &mass, &err) ? ui_fail(&err) : print_map(&w, mass) ? 0 : 1;
    snellen_attribution_free(w.map);
    probe_text_free(&a.text);
    snellen_model_free(model);
    return status;
}

const struct verb probe_attribution = {
    .name = "probe attribution",
    .summary = "what each context token did for each output",
    .run = run,
    .works = true,
    .usage = "MODEL (-p TEXT | --tokens LIST) [options]",
    .about = "Gradient x input (arXiv 2408.05506): how much the logit of each output token owes to each context token's "
             "embedding. Works on every supported model, quantised ones too.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen probe attribution smollm2 -p 'The capital of France is' -n 4 -o figures",
                  "snellen probe attribution smollm2 -p '2 4 6' --continuation ' 8' --right 5:4:2" },
};
