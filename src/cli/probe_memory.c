/* probe memory: what goes through the rows that a memory carries from block to block. */
#include "cli/probe.h"

#include "study/maps.h"
#include "study/memory_figures.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 9 };   /* columns of a table of cuts */

struct memory_args {
    struct common_opts common;
    struct probe_text text;
    snellen_memory_options options;
    struct probe_sample sample;
    const char *folder, *out, *database;
    int64_t cuts, survival, samples;      /* cuts 0 = none; survival -1 = as many blocks as the sample has, 0 = none */
};

struct memory_work {
    struct memory_args *args;
    const snellen_model *model;
    snellen_memory_attention *attention;  /* each NULL where it was not wanted, or interrupted */
    snellen_memory_cuts *cuts;
    snellen_survival *survival;
    bool printed;
};

/* ---- the text ---------------------------------------------------------------------------------------------------- */

static snellen_status options_fit(const struct memory_args *a, snellen_error *err)
{
    const struct probe_text *t = &a->text;
    bool passkey = a->sample.task && !strcmp(a->sample.task, "passkey");
    FAIL_IF(!a->sample.task && !t->prompt && !t->file && !t->tokens, SNELLEN_E_USAGE,
            "probe memory: a text is wanted: -p TEXT, -f FILE, --tokens LIST or --task TASK");
    FAIL_IF(a->survival > 0 && !passkey, SNELLEN_E_USAGE, "probe memory: --survival asks for pass keys; --task passkey expected");
    return probe_sample_fits(&a->sample, t, err);
}

static snellen_status read_text(struct memory_args *a, const snellen_model *model, snellen_error *err)
{
    if (a->sample.task) return probe_sample_read(&a->sample, &a->text, model, a->common.seed, err);
    if (!a->text.continuation && !a->text.write) a->text.write = 1;
    return probe_text_read(&a->text, model, &a->options.session, err);
}

/* ---- what is measured -------------------------------------------------------------------------------------------- */

static snellen_status survive(struct memory_work *w, snellen_error *err)
{
    const struct memory_args *a = w->args;
    snellen_survival_options o = snellen_survival_options_default();
    o.task = probe_sample_options(&a->sample, a->common.seed);
    o.task.within = 0;
    o.n_samples = (uint32_t)a->samples;
    o.session = a->options.session;
    o.most_blocks = a->survival > 0 ? a->survival : MAX((int64_t)a->text.n / w->attention->block, 1);
    return snellen_probe_memory_survival(w->model, &o, ui_progress(), &w->survival, err);
}

static snellen_status measure(struct memory_work *w, snellen_error *err)
{
    struct memory_args *a = w->args;
    const struct probe_text *t = &a->text;
    bool passkey = a->sample.task && !strcmp(a->sample.task, "passkey");
    a->options.n_answer = (int64_t)(t->n - t->n_prompt);
    a->options.n_cuts = a->cuts;
    TRY(snellen_probe_memory_attention(w->model, t->ids, t->n, &a->options, ui_progress(), &w->attention, err));
    if (a->cuts) TRY(snellen_probe_memory_cuts(w->model, t->ids, t->n, &a->options, ui_progress(), &w->cuts, err));
    return passkey && a->survival ? survive(w, err) : SNELLEN_OK;
}

/* ---- what one layer looks at ------------------------------------------------------------------------------------- */

struct layer_look {
    double memory;                /* share of the memory before, mean over blocks and rows */
    int64_t top;                  /* the token that got the largest share of a block's look, and it */
    double top_share;
};

static struct layer_look look_of(const snellen_memory_attention *a, int64_t layer)
{
    struct layer_look look = {0};
    for (int64_t block = 0; block < a->n_blocks; block++) {
        const float *map = a->weights + (layer * a->n_blocks + block) * a->n_rows * a->n_seen;
        for (int64_t place = 0; place < a->n_rows + a->block; place++) {
            double share = 0;
            for (int64_t row = 0; row < a->n_rows; row++) share += (double)map[row * a->n_seen + place] / (double)a->n_rows;
            if (place < a->n_rows) look.memory += share / (double)a->n_blocks;
            if (place < a->n_rows || share <= look.top_share) continue;
            look.top = (a->first_block + block) * a->block + place - a->n_rows;
            look.top_share = share;
        }
    }
    return look;
}

/* ---- as JSON ----------------------------------------------------------------------------------------------------- */

static json_t *attention_json(const snellen_memory_attention *a)
{
    json_t *layers = json_array();
    for (int64_t l = 0; layers && l < a->n_layers; l++) {
        struct layer_look look = look_of(a, l);
        json_array_append_new(layers, json_pack("{s:I, s:f, s:I, s:f}", "layer", (json_int_t)l, "memory", look.memory, "top",
                                                (json_int_t)look.top, "top_share", look.top_share));
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:o}", "block", (json_int_t)a->block, "rows", (json_int_t)a->n_rows, "first_block",
                     (json_int_t)a->first_block, "blocks", (json_int_t)a->n_blocks, "layers", layers);
}

static json_t *cuts_json(const snellen_memory_cuts *c)
{
    json_t *cuts = json_array();
    for (size_t i = 0; cuts && i < c->n_cuts; i++) {
        const double *log_p = c->cut_log_p + i * (size_t)c->n_columns;
        json_t *layers = json_array();
        for (int64_t k = 1; layers && k < c->n_columns; k++) json_array_append_new(layers, cli_json_number(log_p[k]));
        json_array_append_new(cuts, json_pack("{s:I, s:o, s:I, s:o}", "block", (json_int_t)c->blocks[i], "log_p",
                                              cli_json_number(log_p[0]), "right",
                                              (json_int_t)c->cut_right[i * (size_t)c->n_columns], "layers", layers));
    }
    return json_pack("{s:o, s:I, s:I, s:I, s:o}", "log_p", cli_json_number(c->log_p), "answer", (json_int_t)c->n_answer, "right",
                     (json_int_t)c->n_right, "blocks", (json_int_t)c->n_blocks, "cuts", cuts);
}

static json_t *survival_json(const snellen_survival *s)
{
    json_t *points = json_array();
    for (size_t i = 0; points && i < s->n_points; i++) {
        const snellen_survival_point *p = &s->points[i];
        json_array_append_new(points, json_pack(
            "{s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:o, s:o, s:o}", "blocks", (json_int_t)p->blocks, "length",
            (json_int_t)p->length, "n", (json_int_t)p->n, "exact", (json_int_t)p->n_exact, "exact_low", p->exact_low,
            "exact_high", p->exact_high, "tokens", (json_int_t)p->n_tokens, "tokens_right", (json_int_t)p->n_right, "log_p",
            cli_json_number(p->log_p), "log_p_low", cli_json_number(p->log_p_low), "log_p_high",
            cli_json_number(p->log_p_high)));
    }
    return points;
}

static bool print_json(const struct memory_work *w)
{
    json_t *o = json_pack("{s:I}", "tokens", (json_int_t)w->args->text.n);
    if (w->attention) json_object_set_new(o, "attention", attention_json(w->attention));
    if (w->cuts) json_object_set_new(o, "cuts", cuts_json(w->cuts));
    if (w->survival) json_object_set_new(o, "survival", survival_json(w->survival));
    return ui_json(o);
}

/* ---- as tables --------------------------------------------------------------------------------------------------- */

static void print_attention(const struct memory_work *w)
{
    const snellen_memory_attention *a = w->attention;
    printf("what %" PRId64 " rows look at, mean over them, heads and blocks %" PRId64 " to %" PRId64 "\n%5s  %13s  %s\n", a->n_rows,
           a->first_block, a->first_block + a->n_blocks - 1, "layer", "memory before", "most of any block's look");
    for (int64_t l = 0; l < a->n_layers; l++) {
        struct layer_look look = look_of(a, l);
        struct strbuf label = {0};
        token_label(w->model, w->args->text.ids[look.top], &label);
        printf("%5" PRId64 "  %12.1f%%  %5.1f%% token %" PRId64 " '%s' in block %" PRId64 "\n", l, 100 * look.memory,
               100 * look.top_share, look.top, label.text ? label.text : "", look.top / a->block);
        strbuf_free(&label);
    }
}

/* Three decimals are shown: what rounds to zero is 0, not -0. */
static double shown(double nats)
{
    return fabs(nats) < 0.0005 ? 0 : nats;
}

static double lost(const snellen_memory_cuts *c, size_t cut, int64_t column)
{
    return shown(c->log_p - c->cut_log_p[cut * (size_t)c->n_columns + (size_t)column]);
}

static void print_cuts(const snellen_memory_cuts *c)
{
    int64_t n_columns = MIN(c->n_columns, MOST_COLUMNS);
    printf("\nlog p of the answer: %.4g, %" PRId64 " of its %" PRId64 " tokens right; nats lost when the memory is cut\n%8s %10s %6s",
           c->log_p, c->n_right, c->n_answer, "after", "all layers", "right");
    for (int64_t k = 1; k < n_columns; k++) printf("  layer %-2" PRId64, k - 1);
    putchar('\n');
    for (size_t i = 0; i < c->n_cuts; i++) {
        printf("%8" PRId64 " %10.3f %6" PRId64, c->blocks[i], lost(c, i, 0), c->cut_right[i * (size_t)c->n_columns]);
        for (int64_t k = 1; k < n_columns; k++) printf(" %9.3f", lost(c, i, k));
        putchar('\n');
    }
    if (n_columns < c->n_columns) printf("(further layers: --json, --out, -o)\n");
}

static void print_survival(const snellen_survival *s)
{
    printf("\nhow long a pass key survives\n%8s %9s %6s %8s %18s %8s %10s %20s\n", "blocks", "tokens", "keys", "exact",
           "95 % interval", "digits", "log p", "95 % interval");
    for (size_t i = 0; i < s->n_points; i++) {
        const snellen_survival_point *p = &s->points[i];
        char exact[32], log_p[48];
        snprintf(exact, sizeof exact, "%.1f .. %.1f%%", 100 * p->exact_low, 100 * p->exact_high);
        snprintf(log_p, sizeof log_p, "%.3f .. %.3f", shown(p->log_p_low), shown(p->log_p_high));
        printf("%8" PRId64 " %9" PRId64 " %6" PRIu32 " %7.1f%% %18s %7.1f%% %10.3f %20s\n", p->blocks, p->length, p->n,
               100.0 * p->n_exact / p->n, exact, 100.0 * (double)p->n_right / (double)p->n_tokens,
               shown(p->log_p), log_p);
    }
}

static bool print_results(const struct memory_work *w)
{
    if (ui.json) return print_json(w);
    ui_clear();
    if (w->attention) print_attention(w);
    if (w->cuts) print_cuts(w->cuts);
    if (w->survival) print_survival(w->survival);
    return ui_flush();
}

/* ---- files and the database -------------------------------------------------------------------------------------- */

static snellen_status write_numbers(const struct memory_work *w, snellen_error *err)
{
    const struct probe_text *t = &w->args->text;
    const snellen_memory_attention *a = w->attention;
    const snellen_memory_cuts *c = w->cuts;
    struct probe_tensor tensors[5] = {{{"tokens", "I32", 1, {(int64_t)t->n}}, t->ids, t->n * sizeof *t->ids}};
    size_t n = 1;
    if (a)
        tensors[n++] = (struct probe_tensor){{"attention", "F32", 4, {a->n_layers, a->n_blocks, a->n_rows, a->n_seen}}, a->weights,
                                       (uint64_t)(a->n_layers * a->n_blocks * a->n_rows * a->n_seen) * sizeof(float)};
    if (c && c->n_cuts) {
        int64_t n_cuts = (int64_t)c->n_cuts;
        tensors[n++] = (struct probe_tensor){{"log_p", "F64", 1, {1}}, &c->log_p, sizeof c->log_p};
        tensors[n++] = (struct probe_tensor){{"cut_blocks", "I64", 1, {n_cuts}}, c->blocks, c->n_cuts * sizeof *c->blocks};
        tensors[n++] = (struct probe_tensor){{"cut_log_p", "F64", 2, {n_cuts, c->n_columns}}, c->cut_log_p,
                                       c->n_cuts * (size_t)c->n_columns * sizeof *c->cut_log_p};
    }
    return probe_write_tensors(w->args->out, tensors, n, err);
}

static snellen_status draw(const struct memory_work *w, snellen_error *err)
{
    const struct memory_args *a = w->args;
    const struct memory_drawing d = {.model = w->model, .folder = a->folder, .command = ui_command()};
    enum { DIGITS = 5 };   /* of a key when nobody says */
    double guess = -(double)(a->sample.options.digits ? a->sample.options.digits : DIGITS) * log(10);
    TRY(folder_make(a->folder, err));
    if (w->attention) TRY(memory_attention_draw(&d, w->attention, a->text.ids, err));
    if (w->cuts) TRY(memory_cuts_draw(&d, w->cuts, err));
    return w->survival ? memory_survival_draw(&d, w->survival, guess, err) : SNELLEN_OK;
}

/* Cuts by block and layer, survival by blocks. */
static snellen_status record_numbers(const struct memory_work *w, snellen_recorder *recorder, snellen_error *err)
{
    const struct memory_args *a = w->args;
    const snellen_memory_cuts *c = w->cuts;
    for (size_t i = 0; c && i < c->n_cuts; i++)
        for (int64_t k = 0; k < c->n_columns; k++) {
            const snellen_number number = {
                .subject = "memory-cut", .cure = "", .style = a->sample.task ? a->sample.task : "", .precision = a->common.precision,
                .length = c->blocks[i], .prompt = -1, .layer = k - 1, .metric = "lost",
                .value = c->log_p - c->cut_log_p[i * (size_t)c->n_columns + (size_t)k]};
            TRY(snellen_record_add(recorder, &number, 1, err));
        }
    for (size_t i = 0; w->survival && i < w->survival->n_points; i++) {
        const snellen_survival_point *p = &w->survival->points[i];
        const snellen_number of = {.subject = "memory-survival", .cure = "", .style = "passkey", .precision = a->common.precision,
                                   .length = p->blocks, .prompt = -1, .layer = -1};
        snellen_number numbers[] = {of, of, of};
        numbers[0].metric = "exact", numbers[0].value = (double)p->n_exact / p->n;
        numbers[1].metric = "log_p", numbers[1].value = p->log_p;
        numbers[2].metric = "keys", numbers[2].value = p->n;
        TRY(snellen_record_add(recorder, numbers, COUNT_OF(numbers), err));
    }
    return SNELLEN_OK;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

/* Measures; what was finished goes to all its places, after an interruption too. */
static snellen_status probe(void *user, snellen_recorder *recorder, snellen_error *err)
{
    struct memory_work *w = user;
    const struct memory_args *a = w->args;
    snellen_error later;
    TRY(read_text(w->args, w->model, err));
    snellen_status status = measure(w, err);
    if (status && status != SNELLEN_E_CANCELLED) return status;
    snellen_error *to = status ? &later : err;   /* the interruption is what is told */
    snellen_status written = a->out ? write_numbers(w, to) : SNELLEN_OK;
    if (!written && a->folder) written = draw(w, to);
    if (!written && recorder) written = record_numbers(w, recorder, to);
    w->printed = print_results(w);
    return status ? status : written;
}

static snellen_status check_and_probe(struct memory_work *w, const char *name, snellen_error *err)
{
    const struct memory_args *a = w->args;
    TRY(options_fit(a, err));
    if (a->out) TRY(cli_check_output(a->out, err));
    return probe_recorded(w->model, name, &a->common, a->database, probe, w, err);
}

static int work(struct memory_args *a, const char *path)
{
    snellen_error err;
    int status;
    if (common_session(&a->common, &a->options.session, &err)) return ui_fail(&err);
    snellen_model *model = common_load(path, &a->common, &status);
    if (!model) return status;
    common_own_memory(&a->common, model, &a->options.session);
    struct memory_work w = {.args = a, .model = model, .printed = true};
    status = check_and_probe(&w, path, &err) ? ui_fail(&err) : w.printed ? 0 : 1;
    snellen_memory_attention_free(w.attention);
    snellen_memory_cuts_free(w.cuts);
    snellen_survival_free(w.survival);
    probe_text_free(&a->text);
    snellen_model_free(model);
    return status;
}

static int run(int argc, char **argv)
{
    struct memory_args a = {.common = common_opts_default(), .options = snellen_memory_options_default(),
                            .sample = probe_sample_default(), .survival = -1, .samples = 20};
    const char *args[1];
    a.cuts = a.options.n_cuts;
    const struct opt table[] = {
        OPT_GROUP("what is read"),
        OPT_TEXT('p', "prompt", "TEXT", &a.text.prompt, "a text; special tokens are read as such"),
        OPT_TEXT('f', "file", "FILE", &a.text.file, "a file that holds the text; - is standard input"),
        OPT_TEXT(0, "tokens", "LIST", &a.text.tokens, "token ids, as in 1,2,3, or a file of ids"),
        OPT_TEXT(0, "continuation", "TEXT", &a.text.continuation, "what follows the prompt: the answer"),
        OPT_INT('n', "predict", "N", &a.text.write, 1, 8192, "tokens that the model writes itself (greedily): the answer",
                .shown = "1"),
        OPTS_SAMPLE(&a.sample),
        OPT_SEED(0, "seed", "N", &a.common.seed, "decides the samples"),
        OPT_GROUP("what is measured"),
        OPT_INT(0, "first-block", "T", &a.options.first_block, 0, CLI_MAX_TOKENS, "attention: from this block on"),
        OPT_INT(0, "blocks", "N", &a.options.n_blocks, 1, CLI_MAX_TOKENS, "attention: so many blocks", .shown = "all"),
        OPT_INT(0, "cuts", "N", &a.cuts, 0, CLI_MAX_TOKENS, "blocks after which the memory is cut, evenly spaced; 0 = none. Each "
                "costs a reading of what follows it"),
        OPT_FLAG(0, "by-layer", &a.options.by_layer, "cuts: each layer's memory alone too, a further reading for each layer"),
        OPT_INT(0, "survival", "N", &a.survival, 0, SNELLEN_LONG_MAX, "passkey: asks for keys 1, 2, 4, .. up to N blocks after "
                "they were said; 0 = not", .shown = "passkey: as many as the sample has"),
        OPT_INT(0, "samples", "N", &a.samples, 1, 100000, "keys for each of these"),
        OPTS_LORA(&a.common),
        OPTS_MEMORY(&a.common),
        OPT_GROUP("what comes out"),
        OPT_TEXT('o', "figures", "DIR", &a.folder, "folder for PNG, SVG and CSV of each figure"),
        OPT_TEXT(0, "out", "FILE", &a.out, "safetensors file: attention [layers, blocks, rows, rows + block], tokens [T], "
                 "cut_blocks [cuts], cut_log_p [cuts, 1 + layers], log_p [1]"),
        OPT_TEXT(0, "db", "FILE", &a.database, "database that keeps the numbers; '' for none", .shown = "the one of `snellen runs`"),
        OPTS_NUMBERS(&a.common),
        OPTS_THREADS(&a.common),
        OPTS_ATTENTION(&a.common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&probe_memory, table, COUNT_OF(table), argc, argv, args);
    return status >= 0 ? status : work(&a, args[0]);
}

const struct verb probe_memory = {
    .name = "probe memory",
    .summary = "what goes through the rows that a memory carries on",
    .run = run,
    .works = true,
    .usage = "MODEL (-p TEXT | -f FILE | --tokens LIST | --task TASK) [options]",
    .about = "For models with a feedback memory (fam, arXiv 2404.09173) or a recurrent one (rmt, 2207.06881). What the memory's "
             "rows look at when a block is compressed; how much of the answer comes through them: after a block they are replaced by "
             "the rows that the text began with, and the answer's log-probability is compared; and how long a pass key that was "
             "said survives.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen probe memory models/passkey --task passkey --length 4K --within 32 --pool 64 -o figures",
                  "snellen probe memory models/passkey --task passkey --pool 64 --cuts 0 --survival 2K" },
};
