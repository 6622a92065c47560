/* A study's work: variant by variant and seed by seed it trains, lets the trained model write, and keeps the scores. What
 * a folder holds already is taken from there: scores.json of a run that is finished, else its checkpoint. */
#include "study/exam.h"
#include "study/training.h"
#include "tasks/symbols.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const way_names[WAY_COUNT] = {"free", "forced", "best"};

static const struct settings *settings_of(const struct study *s, const struct study_run *run)
{
    return &s->settings[run->variant];
}

static const char *after_of(const struct study *s, const struct study_run *run)
{
    return s->file.variants[run->variant].after;
}

/* ---- scores on disk -------------------------------------------------------------------------------------------------------- */

static json_t *cells_json(const struct study_cell *cells, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < n; i++)
        json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:I, s:f, s:f}", "length", (json_int_t)cells[i].length, "lines",
                                              (json_int_t)cells[i].n, "exact", (json_int_t)cells[i].n_exact, "answer",
                                              (json_int_t)cells[i].n_answer, "per_symbol", cells[i].per_symbol, "nll",
                                              cells[i].nll));
    return list;
}

static json_t *asking(const struct settings *settings)
{
    struct strbuf text = {0};
    settings_write_asking(settings, &text);
    json_t *o = text.failed ? NULL : json_string(text.text);
    strbuf_free(&text);
    return o;
}

static json_t *run_json(const struct study *s, const struct study_run *run)
{
    size_t n = settings_of(s, run)->eval.lengths.n;
    json_t *o = json_pack("{s:s, s:I, s:I, s:f, s:f, s:o}", "variant", s->file.variants[run->variant].name, "seed",
                          (json_int_t)run->seed, "steps", (json_int_t)run->steps, "loss", run->loss, "seconds", run->seconds,
                          "asked", asking(settings_of(s, run)));
    for (int way = 0; o && way < WAY_COUNT; way++)
        if (run->cells[way]) json_object_set_new(o, way_names[way], cells_json(run->cells[way], n));
    return o;
}

static void scores_path(const struct study_run *run, char path[4200])
{
    snprintf(path, 4200, "%s/scores.json", run->folder);
}

static snellen_status save_scores(const struct study *s, const struct study_run *run, snellen_error *err)
{
    char path[4200];
    scores_path(run, path);
    json_t *o = run_json(s, run);
    char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
    snellen_status status = text ? file_write_atomic(path, text, strlen(text), err)
                                 : error_set(err, SNELLEN_E_MEMORY, "scores: memory ran out");
    free(text);
    json_decref(o);
    return status;
}

static snellen_status new_cells(struct study *s, struct study_run *run, enum study_way way, snellen_error *err)
{
    size_t n = settings_of(s, run)->eval.lengths.n;
    run->cells[way] = arena_alloc(&s->arena, MAX(n, 1) * sizeof(struct study_cell));
    FAIL_IF(!run->cells[way], SNELLEN_E_MEMORY, "scores: memory ran out");
    return SNELLEN_OK;
}

/* True when the file has every cell of this way. */
static bool read_cells(const struct settings *settings, const json_t *list, struct study_cell *cells)
{
    for (size_t i = 0; i < settings->eval.lengths.n; i++) {
        json_int_t length, n, exact, answer;
        json_t *cell = json_array_get(list, i);
        if (json_unpack(cell, "{s:I, s:I, s:I, s:I, s:F}", "length", &length, "lines", &n, "exact", &exact, "answer",
                        &answer, "per_symbol", &cells[i].per_symbol) || length != settings->eval.lengths.v[i]) return false;
        cells[i].length = length;
        cells[i].nll = json_number_value(json_object_get(cell, "nll"));
        cells[i].n = n;
        cells[i].n_exact = exact;
        cells[i].n_answer = answer;
    }
    return true;
}

/* The scores of a finished run of as many steps that was asked alike; *found = false when there are none. */
static snellen_status load_scores(struct study *s, struct study_run *run, bool *found, snellen_error *err)
{
    char path[4200];
    json_int_t steps;
    const struct settings *settings = settings_of(s, run);
    scores_path(run, path);
    *found = false;
    json_t *o = json_load_file(path, 0, NULL), *asked = asking(settings);
    bool alike = o && asked && json_equal(asked, json_object_get(o, "asked"));
    json_decref(asked);
    if (!alike || json_unpack(o, "{s:I, s:F, s:F}", "steps", &steps, "loss", &run->loss, "seconds", &run->seconds) ||
        (steps != settings->train.steps && settings->train.stop_loss <= 0 && !settings->eval.patience)) {
        json_decref(o);
        return SNELLEN_OK;
    }
    run->steps = steps;
    snellen_status status = SNELLEN_OK;
    for (int way = 0; way < WAY_COUNT && !status; way++) {
        const json_t *list = json_object_get(o, way_names[way]);
        if (!list) continue;
        status = new_cells(s, run, (enum study_way)way, err);
        if (!status && !read_cells(settings, list, run->cells[way])) run->cells[way] = NULL;
    }
    json_decref(o);
    *found = run->cells[WAY_FREE] != NULL;
    return status;
}

/* ---- training and writing ---------------------------------------------------------------------------------------------------- */

/* Of a variant that goes on with another one's weights: the key that names them; "" of those that begin. */
static snellen_status start_of(const struct study *s, const struct study_run *run, char start[4200], snellen_error *err)
{
    const char *name = s->file.variants[run->variant].name, *after = after_of(s, run);
    *start = 0;
    if (!*after) return SNELLEN_OK;
    for (size_t i = 0; i < s->n_runs; i++) {
        const struct study_run *before = &s->runs[i];
        if (before->seed != run->seed || strcmp(s->file.variants[before->variant].name, after)) continue;
        FAIL_IF(settings_of(s, before)->train.lora.rank, SNELLEN_E_UNSUPPORTED,
                "variant %s: after: %s trains factors, and only whole models are gone on with", name, after);
        const char *key = *settings_of(s, run)->model.from ? "model.from" : "model.start";
        snprintf(start, 4200, "%s=%s/model", key, before->weights);
        return SNELLEN_OK;
    }
    FAIL(SNELLEN_E_USAGE, "variant %s: after: %s has no seed %lld to go on with", name, after, (long long)run->seed);
}

static snellen_status train(struct study *s, struct study_run *run, snellen_error *err)
{
    const struct settings *settings = settings_of(s, run);
    struct strbuf text = {0};
    char path[4200], seed[64], start[4200];
    TRY(start_of(s, run, start, err));
    TRY(folder_make(run->folder, err));
    snprintf(path, sizeof path, "%s/study.yaml", run->folder);
    settings_write(settings, &text);
    snellen_status status = text.failed ? error_set(err, SNELLEN_E_MEMORY, "study: memory ran out")
                                        : file_write_atomic(path, text.text, text.n, err);
    strbuf_free(&text);
    TRY(status);
    snprintf(seed, sizeof seed, "seeds=[%lld]", (long long)run->seed);
    const char *overrides[] = {seed, start};
    const snellen_train_options options = {.study = path, .overrides = overrides, .n_overrides = *start ? 2 : 1,
                                           .folder = run->folder,
                                           .resume = true, .n_threads = s->options->n_threads,
                                           .database = s->options->database, .command = s->options->command};
    snellen_trained *trained;
    size_t n;
    status = snellen_train(&options, s->progress, &trained, &n, err);
    if (!status && n) {
        run->steps = trained->steps;
        run->loss = trained->loss;
        run->seconds = trained->seconds;
        run->best_is_last = trained->best_step == trained->steps;
    }
    snellen_free(trained);
    return status;
}

static bool has_anchors(const struct settings *settings)
{
    const char *format = settings->data.format;
    return strstr(format, "mnemonic") || strstr(format, "numeric") || strstr(format, "constant") || strstr(format, "cyclic") ||
           strstr(format, "aligned");
}

/* What a model writes on lines, as cells [n_lengths]. */
static snellen_status write_lines(const struct study *s, const struct settings *settings, const snellen_model *model,
                                  bool forced, struct study_cell *cells, snellen_error *err)
{
    snellen_lines_options o = snellen_lines_options_default();
    o.line = line_options_of(settings);
    o.lengths = settings->eval.lengths.v;
    o.n_lengths = settings->eval.lengths.n;
    o.n_samples = (uint32_t)settings->eval.lines;
    o.forced = forced;
    o.session.n_threads = s->options->n_threads;
    o.session.attn_temp = settings->eval.attn_temp;
    o.session.attn_log = settings->eval.attn_log;
    snellen_lines_result *result = NULL;
    snellen_status status = snellen_lines_eval(model, settings->data.task, &o, s->progress, &result, err);
    for (size_t i = 0; !status && i < result->n_cells; i++) {
        const snellen_lines_cell *c = &result->cells[i];
        cells[i] = (struct study_cell){.length = c->length, .n = c->n, .n_exact = c->n_exact, .n_answer = c->n_answer,
                                       .per_symbol = c->n_symbols ? (double)c->n_right / (double)c->n_symbols : 0};
    }
    snellen_lines_result_free(result);
    return status;
}

/* The same of its answers after samples of long memory; a length may be too short for a question. */
static snellen_status write_answers(const struct study *s, const struct settings *settings, const snellen_model *model,
                                    struct study_cell *cells, snellen_error *err)
{
    snellen_long_eval_options o = snellen_long_eval_options_default();
    snellen_long_result *result = NULL;
    TRY(evaluation_session(settings, s->options->n_threads, &o.session, err));
    o.task = long_options_of(settings, false, 1);
    o.lengths = settings->eval.lengths.v;
    o.n_lengths = settings->eval.lengths.n;
    o.n_samples = (uint32_t)settings->eval.lines;
    for (size_t i = 0; i < o.n_lengths; i++) cells[i].length = o.lengths[i];
    snellen_status status = snellen_long_eval(model, settings->data.task, &o, s->progress, &result, err);
    for (size_t i = 0, k = 0; !status && i < result->n_cells; i++) {
        const snellen_long_cell *c = &result->cells[i];
        while (cells[k].length != c->length) k++;
        cells[k++] = (struct study_cell){.length = c->length, .n = (int64_t)c->n, .n_exact = (int64_t)c->n_exact,
                                         .n_answer = (int64_t)c->n_exact,
                                         .per_symbol = (double)c->n_right / (double)c->n_tokens};
    }
    snellen_long_result_free(result);
    return status;
}

/* The trained model writes; nothing where a best evaluation was not kept. */
static snellen_status score(struct study *s, struct study_run *run, enum study_way way, snellen_error *err)
{
    const struct settings *settings = settings_of(s, run);
    snellen_model *model;
    TRY(trained_model(settings, run->weights, way == WAY_BEST, &model, err));
    if (!model) return SNELLEN_OK;
    snellen_status status = new_cells(s, run, way, err);
    if (!status)
        status = is_text_study(settings)  ? study_read_text(s, settings, model, run->cells[way], err)
                 : is_long_task(settings) ? write_answers(s, settings, model, run->cells[way], err)
                                          : write_lines(s, settings, model, way == WAY_FORCED, run->cells[way], err);
    snellen_model_free(model);
    return status;
}

/* A run before this one that was trained alike: the two differ only in how their weights are used. */
static const struct study_run *trained_alike(const struct study *s, const struct study_run *run)
{
    const struct settings *now = settings_of(s, run);
    for (size_t i = 0; i < s->n_runs && !now->eval.exact; i++) {   /* exact: what is written decides which weights are best */
        const struct settings *before = settings_of(s, &s->runs[i]);
        if (s->runs[i].seed == run->seed && before->train.steps == now->train.steps &&
            !strcmp(after_of(s, run), after_of(s, &s->runs[i])) && !settings_same_run(now, before, NULL)) return &s->runs[i];
    }
    return NULL;
}

static snellen_status do_run(struct study *s, struct study_run *run, snellen_error *err)
{
    bool found;
    const struct study_run *alike = trained_alike(s, run);
    run->weights = alike ? alike->weights : run->folder;
    TRY(load_scores(s, run, &found, err));
    if (found) return SNELLEN_OK;
    if (alike) {
        run->steps = alike->steps;
        run->loss = alike->loss;
        run->seconds = alike->seconds;
        run->best_is_last = alike->best_is_last;
        TRY(folder_make(run->folder, err));
    } else {
        TRY(train(s, run, err));
    }
    TRY(score(s, run, WAY_FREE, err));
    if (has_anchors(settings_of(s, run))) TRY(score(s, run, WAY_FORCED, err));
    if (!run->best_is_last) TRY(score(s, run, WAY_BEST, err));
    return save_scores(s, run, err);
}

/* ---- variants and seeds -------------------------------------------------------------------------------------------------------- */

static snellen_status check_places(const struct int_row *lengths, snellen_error *err)
{
    FAIL_IF(!lengths->n, SNELLEN_E_USAGE, "eval.lengths: at least one place of the text expected");
    for (size_t i = 0; i < lengths->n; i++)
        FAIL_IF(lengths->v[i] <= (i ? lengths->v[i - 1] : 1), SNELLEN_E_USAGE,
                "eval.lengths: ascending places of a text expected, the first at least 2");
    return SNELLEN_OK;
}

/* Each length that lines are written at: found out now and not when the model is trained. */
static snellen_status check_lines(const struct settings *settings, const char *variant, snellen_error *err)
{
    struct line_spec spec;
    const snellen_line_options options = line_options_of(settings);
    snellen_status status = line_spec_set(&spec, settings->data.task, &options, err);
    for (size_t i = 0; i < settings->eval.lengths.n && !status; i++)
        status = line_check(&spec, settings->eval.lengths.v[i], err);
    return status ? error_prefix(err, status, "variant %s, eval.lengths", variant) : SNELLEN_OK;
}

/* The base of the file, its `full` part if asked for, the variant's own keys, the caller's: later ones win. */
static snellen_status read_settings(struct study *s, size_t variant, snellen_error *err)
{
    const struct study_variant *v = &s->file.variants[variant], *full = &s->file.full;
    size_t n = 0;
    const char **keys = arena_alloc(&s->arena, (2 * STUDY_MAX_KEYS + s->options->n_overrides + 1) * sizeof *keys);
    FAIL_IF(!keys, SNELLEN_E_MEMORY, "study: memory ran out");
    for (size_t i = 0; s->options->full && i < full->n_keys; i++) keys[n++] = full->keys[i];
    for (size_t i = 0; i < v->n_keys; i++) keys[n++] = v->keys[i];
    for (size_t i = 0; i < s->options->n_overrides; i++) keys[n++] = s->options->overrides[i];
    TRY(settings_parse(s->file.base, strlen(s->file.base), s->file.path, keys, n, &s->settings[variant], err));
    s->n_settings++;
    bool text = is_text_study(&s->settings[variant]);
    FAIL_IF(!*s->settings[variant].data.task && !text, SNELLEN_E_USAGE,
            "%s: data.task or eval.text is missing: a study scores what a model writes, or how well it reads a text",
            s->file.path);
    FAIL_IF(text && s->file.attribution, SNELLEN_E_USAGE, "%s: attribution: maps are drawn of lines of parity",
            s->file.path);
    if (text) TRY(check_places(&s->settings[variant].eval.lengths, err));
    snellen_session_options session;
    if (text || is_long_task(&s->settings[variant])) TRY(evaluation_session(&s->settings[variant], 0, &session, err));
    else TRY(check_lines(&s->settings[variant], v->name, err));
    FAIL_IF(s->settings[variant].seeds.n > STUDY_MAX_SEEDS, SNELLEN_E_USAGE, "%s: more than %d seeds", s->file.path,
            STUDY_MAX_SEEDS);
    return SNELLEN_OK;
}

/* Is `name` the first of `names`, which commas separate? */
static bool is_first(const char *name, const char *names)
{
    size_t n = strcspn(names, ",");
    return strlen(name) == n && !strncmp(name, names, n);
}

static const char *next_name(const char *names)
{
    const char *comma = strchr(names, ',');
    return comma ? comma + 1 : NULL;
}

static bool is_among(const char *name, const char *names)
{
    for (; names; names = next_name(names))
        if (is_first(name, names)) return true;
    return false;
}

/* Asked for, or what another one that is goes on with. */
static bool is_wanted(const struct study *s, size_t variant)
{
    const char *name = s->file.variants[variant].name;
    if (!s->options->only || is_among(name, s->options->only)) return true;
    for (size_t v = variant + 1; v < s->file.n_variants; v++)
        if (!strcmp(s->file.variants[v].after, name) && is_wanted(s, v)) return true;
    return false;
}

static snellen_status check_only(const struct study *s, snellen_error *err)
{
    for (const char *names = s->options->only; names; names = next_name(names)) {
        bool known = false;
        for (size_t v = 0; v < s->file.n_variants; v++) known |= is_first(s->file.variants[v].name, names);
        FAIL_IF(!known, SNELLEN_E_USAGE, "%s: there is no variant '%.*s'", s->file.path,
                (int)MIN(strcspn(names, ","), 256), names);
    }
    return SNELLEN_OK;
}

static snellen_status list_runs(struct study *s, snellen_error *err)
{
    TRY(check_only(s, err));
    for (size_t v = 0; v < s->file.n_variants; v++) {
        TRY(read_settings(s, v, err));
        s->runs_room += s->settings[v].seeds.n;
    }
    s->runs = arena_alloc(&s->arena, MAX(s->runs_room, 1) * sizeof *s->runs);
    FAIL_IF(!s->runs, SNELLEN_E_MEMORY, "study: memory ran out");
    return SNELLEN_OK;
}

/* Seed by seed over all variants, so that a study that is stopped has as much of each as possible. */
static snellen_status do_runs(struct study *s, snellen_error *err)
{
    for (size_t i = 0; i < STUDY_MAX_SEEDS; i++)
        for (size_t v = 0; v < s->file.n_variants; v++) {
            const struct int_row *seeds = &s->settings[v].seeds;
            if (i >= seeds->n || !is_wanted(s, v)) continue;
            struct study_run *run = &s->runs[s->n_runs];
            *run = (struct study_run){.variant = v, .seed = seeds->v[i]};
            snprintf(run->folder, sizeof run->folder, "%s/%s/seed-%lld", s->options->folder, s->file.variants[v].name,
                     (long long)run->seed);
            TRY(do_run(s, run, err));
            s->n_runs++;
        }
    return SNELLEN_OK;
}

/* ---- findings ----------------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double study_median(double *values, size_t n)
{
    if (!n) return (double)NAN;
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* NAN = nothing. */
static double value_of(const struct study_run *run, enum study_measure measure, enum study_way way, size_t i)
{
    if (measure == MEASURE_MASS) return run->mass ? run->mass[i] : (double)NAN;
    const struct study_cell *cell = run->cells[way] ? &run->cells[way][i] : NULL;
    if (!cell || !cell->n) return (double)NAN;
    return measure == MEASURE_NLL ? cell->nll : (double)cell->n_answer / (double)cell->n;
}

size_t study_values(const struct study *s, enum study_measure measure, size_t variant, enum study_way way, size_t i,
                    double *values)
{
    size_t n = 0;
    for (size_t r = 0; r < s->n_runs && i < s->settings[variant].eval.lengths.n; r++) {
        double value = s->runs[r].variant == variant ? value_of(&s->runs[r], measure, way, i) : (double)NAN;
        if (!isnan(value)) values[n++] = value;
    }
    return n;
}

/* One line a variant and way: the median at each length, and where there are several seeds the least and the most. */
static void report_measure(const struct study *s, enum study_measure measure, const char *what, struct strbuf *out)
{
    double values[STUDY_MAX_SEEDS];
    int digits = measure == MEASURE_NLL ? 4 : 2;
    strbuf_printf(out, "%s, median over seeds (least .. most)\n", what);
    for (size_t v = 0; v < s->n_settings; v++)
        for (int way = 0; way < WAY_COUNT; way++) {
            if (!study_values(s, measure, v, (enum study_way)way, 0, values)) continue;
            strbuf_printf(out, "  %s, %s:", s->file.variants[v].name, way_names[way]);
            for (size_t i = 0; i < s->settings[v].eval.lengths.n; i++) {
                size_t n = study_values(s, measure, v, (enum study_way)way, i, values);
                double median = study_median(values, n);
                strbuf_printf(out, " %lld: %.*f", (long long)s->settings[v].eval.lengths.v[i], digits, median);
                if (n > 1) strbuf_printf(out, " (%.*f .. %.*f)", digits, values[0], digits, values[n - 1]);
            }
            strbuf_puts(out, "\n");
        }
}

static void report(const struct study *s, struct strbuf *out)
{
    strbuf_printf(out, "%s\n", s->file.title);
    if (is_text_study(&s->settings[0])) {
        report_measure(s, MEASURE_RIGHT, "share of right tokens from the length before to each", out);
        report_measure(s, MEASURE_NLL, "nll of these tokens, nats", out);
    } else {
        report_measure(s, MEASURE_RIGHT, "right final answers", out);
    }
    strbuf_printf(out, "report: %s/index.html\n", s->options->folder);
}

/* ---- the study ------------------------------------------------------------------------------------------------------------------ */

static snellen_status do_study(struct study *s, snellen_error *err)
{
    TRY(list_runs(s, err));
    TRY(folder_make(s->options->folder, err));
    snellen_status status = do_runs(s, err);
    if ((status && status != SNELLEN_E_CANCELLED) || !s->n_runs) return status;
    if (!status && s->file.attribution) TRY(study_maps(s, err));
    snellen_error quiet;
    snellen_status drawn = study_draw(s, status ? &quiet : err);
    return status ? status : drawn;
}

snellen_status snellen_study(const snellen_study_options *options, const snellen_progress *progress, char **out,
                             snellen_error *err)
{
    struct study s = {.options = options, .progress = progress};
    struct strbuf text = {0};
    *out = NULL;
    TRY(study_file_open(options->study, &s.file, err));
    snellen_status status = s.file.exam.n_keys ? exam_study(&s.file, options, progress, out, err) : do_study(&s, err);
    if ((!status || status == SNELLEN_E_CANCELLED) && s.n_runs) {
        snellen_error quiet;
        report(&s, &text);
        snellen_status taken = strbuf_take(&text, out, NULL, status ? &quiet : err);
        status = status ? status : taken;
    }
    for (size_t i = 0; i < s.n_settings; i++) settings_free(&s.settings[i]);
    study_file_free(&s.file);
    arena_free(&s.arena);
    return status;
}
