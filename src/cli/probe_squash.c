/* probe squash: how much of each token reaches the last one. */
#include "cli/probe.h"

#include "study/maps.h"
#include "study/squash_figures.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

struct squash_args {
    struct common_opts common;
    snellen_squash_options options;
    struct probe_text text;
    struct probe_sample sample;
    const char *folder, *out, *database;
    int64_t probes;
    bool no_paths;
};

struct squash_work {
    struct squash_args *args;
    const snellen_model *model;
    snellen_squash *result;
    bool printed;
};

/* ---- results ----------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static snellen_status median(const double *values, int64_t n, double *middle, snellen_error *err)
{
    double *sorted;
    TRY(NEW_ARRAY(&sorted, n, "sensitivities", err));
    for (int64_t i = 0; i < n; i++) sorted[i] = values[i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    *middle = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    mem_free(sorted);
    return SNELLEN_OK;
}

static json_t *numbers_json(const double *values, int64_t n)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < n; i++) json_array_append_new(list, cli_json_number(values[i]));
    return list;
}

static bool print_json(const snellen_squash *s)
{
    json_t *o = json_pack("{s:I, s:o, s:o}", "row", (json_int_t)(s->n_tokens - 1), "sensitivity",
                          numbers_json(s->sensitivity, s->n_tokens), "error", numbers_json(s->error, s->n_tokens));
    if (o && s->paths) {
        const float *product = s->paths + (s->n_layers - 1) * s->n_tokens;
        json_t *paths = json_array();
        for (int64_t t = 0; paths && t < s->n_tokens; t++) json_array_append_new(paths, json_real((double)product[t]));
        json_object_set_new(o, "paths", paths);
        json_object_set_new(o, "beta", numbers_json(s->beta, s->n_layers));
        json_object_set_new(o, "rank_correlation", cli_json_number(s->rank_correlation));
    }
    return ui_json(o);
}

static void print_token(const struct squash_work *w, int64_t t, const char *what)
{
    const snellen_squash *s = w->result;
    struct strbuf label = {0};
    token_label(w->model, w->args->text.ids[t], &label);
    printf("%8" PRId64 "  %-16s %11.4g", t, label.text ? label.text : "", s->sensitivity[t]);
    if (s->paths) printf(" %11.3g%%", 100 * (double)s->paths[(s->n_layers - 1) * s->n_tokens + t]);
    printf("  %s\n", what);
    strbuf_free(&label);
}

/* The five that reach furthest, the ends of the text among them or not. */
static void print_strongest(const struct squash_work *w)
{
    enum { SHOWN = 5 };
    const snellen_squash *s = w->result;
    int64_t best[SHOWN], n = 0;
    for (int64_t t = 0; t < s->n_tokens; t++) {
        int64_t at = n;
        while (at > 0 && s->sensitivity[best[at - 1]] < s->sensitivity[t]) at--;
        if (at == SHOWN) continue;
        n = MIN(n + 1, SHOWN);
        for (int64_t i = n - 1; i > at; i--) best[i] = best[i - 1];
        best[at] = t;
    }
    for (int64_t i = 0; i < n; i++) print_token(w, best[i], best[i] == 0 ? "first" : best[i] == s->n_tokens - 1 ? "itself" : "");
}

/* Layers whose product is told: 1, 2, 4, .., all; then all of them several times. */
static void print_products(const snellen_squash *s)
{
    int64_t n = s->n_tokens, n_products = s->n_products;
    printf("\npaths of attention    first token   itself\n");
    for (int64_t p = 0, shown = 0; p < n_products; p++) {
        bool repeated = p >= s->n_layers;
        int64_t count = repeated ? p - s->n_layers + 2 : p + 1;
        if (count < shown && p != s->n_layers - 1) continue;
        char name[40];
        snprintf(name, sizeof name, repeated ? "all layers %" PRId64 " times" : "%" PRId64 " layers", count);
        printf("  %-18s %11.2f%% %8.2g%%\n", name, 100 * (double)s->paths[p * n], 100 * (double)s->paths[p * n + n - 1]);
        shown = p == s->n_layers - 1 ? 2 : 2 * count;
    }
}

static bool print_results(const struct squash_work *w)
{
    const snellen_squash *s = w->result;
    snellen_error err;
    double middle;
    if (ui.json) return print_json(s);
    if (median(s->sensitivity, s->n_tokens, &middle, &err)) return false;
    ui_clear();
    printf("of %" PRId64 " tokens, what reaches the vector of token %" PRId64 "\n%8s  %-16s %11s", s->n_tokens, s->n_tokens - 1, "place",
           "token", "sensitivity");
    if (s->paths) printf(" %12s", "paths");
    putchar('\n');
    print_strongest(w);
    printf("%8s  %-16s %11.4g\n", "", "(median)", middle);
    if (s->paths) print_products(s);
    if (!isnan(s->rank_correlation)) printf("\nrank correlation of sensitivity and paths: %.3f\n", s->rank_correlation);
    return ui_flush();
}

/* ---- files and the database -------------------------------------------------------------------------------------- */

static snellen_status write_numbers(const struct squash_work *w, snellen_error *err)
{
    const snellen_squash *s = w->result;
    uint64_t n = (uint64_t)s->n_tokens, n_layers = (uint64_t)s->n_layers, n_products = (uint64_t)s->n_products;
    const struct probe_tensor tensors[] = {
        {{"tokens", "I32", 1, {s->n_tokens}}, w->args->text.ids, n * sizeof(int32_t)},
        {{"sensitivity", "F64", 1, {s->n_tokens}}, s->sensitivity, n * sizeof(double)},
        {{"error", "F64", 1, {s->n_tokens}}, s->error, n * sizeof(double)},
        {{"paths", "F32", 2, {s->n_products, s->n_tokens}}, s->paths, n_products * n * sizeof(float)},
        {{"beta", "F64", 1, {s->n_layers}}, s->beta, n_layers * sizeof(double)},
    };
    return probe_write_tensors(w->args->out, tensors, s->paths ? 5 : 3, err);
}

/* Each token's sensitivity, at its place. */
static snellen_status record(const struct squash_work *w, snellen_recorder *recorder, snellen_error *err)
{
    const snellen_squash *s = w->result;
    const snellen_number of = {.subject = "squash", .cure = "", .style = "", .precision = "f32", .prompt = -1, .layer = -1};
    for (int64_t t = 0; t < s->n_tokens; t++) {
        snellen_number numbers[] = {of, of};
        numbers[0].length = numbers[1].length = t;
        numbers[0].metric = "sensitivity", numbers[0].value = s->sensitivity[t];
        if (s->paths) numbers[1].metric = "paths", numbers[1].value = (double)s->paths[(s->n_layers - 1) * s->n_tokens + t];
        TRY(snellen_record_add(recorder, numbers, s->paths ? 2 : 1, err));
    }
    if (isnan(s->rank_correlation)) return SNELLEN_OK;
    snellen_number rank = of;
    rank.length = s->n_tokens, rank.metric = "rank_correlation", rank.value = s->rank_correlation;
    return snellen_record_add(recorder, &rank, 1, err);
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

/* Of a sample the row that the answer begins with is asked about. */
static snellen_status read_text(struct squash_args *a, const snellen_model *model, snellen_error *err)
{
    TRY(probe_sample_fits(&a->sample, &a->text, err));
    if (!a->sample.task) return probe_text_read(&a->text, model, &a->options.session, err);
    TRY(probe_sample_read(&a->sample, &a->text, model, a->common.seed, err));
    if (a->options.row < 0) a->options.row = (int64_t)a->text.n_prompt - 1;
    return SNELLEN_OK;
}

static snellen_status probe(void *user, snellen_recorder *recorder, snellen_error *err)
{
    struct squash_work *w = user;
    struct squash_args *a = w->args;
    if (a->out) TRY(cli_check_output(a->out, err));
    if (a->folder) TRY(folder_make(a->folder, err));
    TRY(read_text(a, w->model, err));
    TRY(snellen_probe_squash(w->model, a->text.ids, a->text.n, &a->options, ui_progress(), &w->result, err));
    if (a->out) TRY(write_numbers(w, err));
    if (a->folder) TRY(squash_draw(w->result, a->folder, ui_command(), err));
    if (recorder) TRY(record(w, recorder, err));
    w->printed = print_results(w);
    return SNELLEN_OK;
}

static int work(struct squash_args *a, const char *path)
{
    snellen_error err;
    int status;
    if (common_session(&a->common, &a->options.session, &err)) return ui_fail(&err);
    snellen_model *model = common_load(path, &a->common, &status);
    if (!model) return status;
    common_own_memory(&a->common, model, &a->options.session);
    a->options.n_probes = (uint32_t)a->probes;
    a->options.seed = a->common.seed;
    a->options.paths = !a->no_paths;
    if (a->options.paths && a->options.session.memory == SNELLEN_MEMORY_RMT) {
        ui_note("memory rmt: its rows go from the last layer to the first, so there are no paths to follow");
        a->options.paths = false;
    }
    struct squash_work w = {.args = a, .model = model, .printed = true};
    status = probe_recorded(model, path, &a->common, a->database, probe, &w, &err) ? ui_fail(&err) : w.printed ? 0 : 1;
    snellen_squash_free(w.result);
    probe_text_free(&a->text);
    snellen_model_free(model);
    return status;
}

static int run(int argc, char **argv)
{
    struct squash_args a = {.common = common_opts_default(), .options = snellen_squash_options_default(),
                            .sample = probe_sample_default()};
    const char *args[1];
    a.probes = a.options.n_probes;
    const struct opt table[] = {
        OPT_GROUP("what is read"),
        OPT_TEXT('p', "prompt", "TEXT", &a.text.prompt, "a text; special tokens are read as such"),
        OPT_TEXT('f', "file", "FILE", &a.text.file, "a file that holds the text; - is standard input"),
        OPT_TEXT(0, "tokens", "LIST", &a.text.tokens, "token ids, as in 1,2,3, or a file of ids"),
        OPTS_SAMPLE(&a.sample),
        OPT_GROUP("what is measured"),
        OPT_INT(0, "row", "N", &a.options.row, 0, CLI_MAX_TOKENS, "what reaches the vector of token N, from 0", .shown = "the last; of a task the one before "
                "its answer"),
        OPT_INT(0, "probes", "N", &a.probes, 0, 65536, "random vectors, a backward pass each; 0 = exact, one for each of the model's "
                "dimensions"),
        OPT_FLAG(0, "no-paths", &a.no_paths, "leave out the paths of attention"),
        OPT_INT(0, "repeats", "N", &a.options.n_repeats, 0, 65536, "paths: all layers further N times over"),
        OPTS_SEED(&a.common),
        OPTS_LORA(&a.common),
        OPTS_MEMORY(&a.common),
        OPT_GROUP("what comes out"),
        OPT_TEXT('o', "figures", "DIR", &a.folder, "folder for PNG, SVG and CSV of each figure"),
        OPT_TEXT(0, "out", "FILE", &a.out, "safetensors file: sensitivity and error [T], paths [products, T], beta [layers], tokens "
                 "[T]"),
        OPT_TEXT(0, "db", "FILE", &a.database, "database that keeps the numbers; '' for none", .shown = "the one of `snellen runs`"),
        OPTS_THREADS(&a.common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&probe_squash, table, COUNT_OF(table), argc, argv, args);
    return status >= 0 ? status : work(&a, args[0]);
}

const struct verb probe_squash = {
    .name = "probe squash",
    .summary = "how much of each token reaches the last one",
    .run = run,
    .works = true,
    .usage = "MODEL (-p TEXT | -f FILE | --tokens LIST | --task TASK) [options]",
    .about = "Over-squashing (arXiv 2406.04267): the size of the Jacobian of the last token's vector by each token's embedding, "
             "measured with random vectors, beside the paths of attention that the paper's theorem 5.1 bounds it by. Works "
             "through every memory: what one carries to the end shows here.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen probe squash smollm2 -p 'The capital of France is' -o figures",
                  "snellen probe squash smollm2 -f story.txt --memory bswa --block 128 --segments 1 --out squash.safetensors" },
};
