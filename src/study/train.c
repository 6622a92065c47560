/* Training runs: settings, folders, seeds, the database, the weights that come out. */
#include "study/training.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

struct job {
    const snellen_train_options *options;
    const snellen_progress *progress;
    struct settings settings;
    int n_threads;
};

static snellen_status path_in(const char *folder, const char *name, char out[4096], snellen_error *err)
{
    FAIL_IF(snprintf(out, 4096, "%s/%s", folder, name) >= 4096, SNELLEN_E_USAGE, "%.200s: a path that is too long",
            folder);
    return SNELLEN_OK;
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

/* A run that goes on must have the settings that it had. */
static snellen_status check_config(const struct settings *now, const char *path, snellen_error *err)
{
    struct settings before;
    TRY(settings_read(path, NULL, 0, &before, err));
    snellen_status status = settings_same_run(now, &before, err);
    settings_free(&before);
    return status ? error_prefix(err, status, "%s", path) : status;
}

static snellen_status prepare_folder(const struct job *job, const char *folder, snellen_error *err)
{
    char path[4096];
    bool there = train_has_checkpoint(folder);
    FAIL_IF(there && !job->options->resume, SNELLEN_E_USAGE,
            "%s: holds a run already; --resume goes on with it, another folder (-o DIR) begins a new one", folder);
    TRY(path_in(folder, "config.yaml", path, err));
    if (there) TRY(check_config(&job->settings, path, err));
    struct strbuf text = {0};
    settings_write(&job->settings, &text);
    snellen_status status = text.failed ? error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", path)
                                        : file_write_atomic(path, text.text, text.n, err);
    strbuf_free(&text);
    return status;
}

/* ---- what comes out ---------------------------------------------------------------------------------------------- */

static snellen_status export_to(const struct training *t, const char *folder, const char *name, snellen_error *err)
{
    char path[4096];
    snellen_export_options options = snellen_export_options_default();
    options.format = "hf";
    options.type = "f32";
    TRY(path_in(folder, name, path, err));
    return snellen_model_export(t->model, path, &options, NULL, NULL, err);
}

/* The weights of the last step, and of the best evaluation where that is another one. */
static snellen_status write_result(struct training *t, const char *folder, snellen_error *err)
{
    char path[4096];
    if (t->lora.rank) {
        TRY(path_in(folder, "lora.safetensors", path, err));
        return values_save(path, t->train.params, t->about, err);
    }
    TRY(export_to(t, folder, "model", err));
    if (isnan(t->train.state.best) || t->train.state.best_step == t->train.state.step) return SNELLEN_OK;
    TRY(path_in(folder, "best.safetensors", path, err));
    TRY(values_load(path, t->train.params, err));
    return export_to(t, folder, "best", err);
}

static void describe(const struct training *t, snellen_status status, snellen_trained *out)
{
    static const char *const ends[] = {[TRAIN_DONE] = "steps", [TRAIN_STOPPED_LOSS] = "loss",
                                       [TRAIN_STOPPED_PATIENCE] = "patience"};
    const struct train_state *s = &t->train.state;
    out->end = status ? "stopped" : ends[t->train.end];
    out->steps = s->step;
    out->loss = s->loss;
    out->best = s->best;
    out->best_step = s->best_step;
    out->n_tokens = s->tokens;
    out->n_skipped = t->train.source->skipped;
    out->seconds = s->seconds;
}

/* ---- the database ------------------------------------------------------------------------------------------------ */

static snellen_status begin_record(const struct job *job, const struct training *t, snellen_recorder **recorder,
                                   snellen_error *err)
{
    const snellen_train_options *o = job->options;
    const char *from = job->settings.model.from;
    if (o->database && !*o->database) return SNELLEN_OK;
    const snellen_run_start start = {.verb = "train", .command = o->command ? o->command : "",
                                     .model_name = *from ? from : job->settings.model.arch, .seed = t->seed,
                                     .n_threads = job->n_threads};
    return snellen_record_begin(o->database, t->model, &start, recorder, err);
}

static snellen_status record_numbers(snellen_recorder *recorder, const snellen_trained *r, snellen_error *err)
{
    const struct {
        const char *metric;
        double value;
    } values[] = {{"loss", r->loss},
                  {"best", r->best},
                  {"best_step", (double)r->best_step},
                  {"steps", (double)r->steps},
                  {"tokens", (double)r->n_tokens},
                  {"seconds", r->seconds},
                  {"skipped_lines", (double)r->n_skipped}};
    snellen_number numbers[COUNT_OF(values)];
    for (size_t i = 0; i < COUNT_OF(values); i++)
        numbers[i] = (snellen_number){.subject = "train", .cure = "", .style = "", .precision = "f32", .length = -1,
                                      .prompt = -1, .layer = -1, .metric = values[i].metric, .value = values[i].value};
    return recorder ? snellen_record_add(recorder, numbers, COUNT_OF(values), err) : SNELLEN_OK;
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

static snellen_status run_training(const struct job *job, struct training *t, snellen_trained *out, snellen_error *err)
{
    snellen_recorder *recorder = NULL;
    t->train.folder = out->folder;
    t->train.progress = job->progress;
    TRY(begin_record(job, t, &recorder, err));
    out->run = recorder ? snellen_record_id(recorder) : 0;
    snellen_status status = train_run(&t->train, job->options->resume && train_has_checkpoint(out->folder), err);
    describe(t, status, out);
    if (!status) status = write_result(t, out->folder, err);
    if (!status) status = record_numbers(recorder, out, err);
    const char *word = !status ? "done" : status == SNELLEN_E_CANCELLED ? "incomplete" : "failed";
    snellen_status recorded = snellen_record_finish(recorder, word, status ? NULL : err);
    return status ? status : recorded;
}

static snellen_status train_locked(const struct job *job, snellen_trained *out, snellen_error *err)
{
    struct training t;
    TRY(prepare_folder(job, out->folder, err));
    TRY(training_open(&t, &job->settings, out->seed, job->n_threads, err));
    snellen_status status = run_training(job, &t, out, err);
    training_close(&t);
    return status;
}

static snellen_status train_seed(const struct job *job, snellen_trained *out, snellen_error *err)
{
    int lock;
    TRY(folder_make(out->folder, err));
    TRY(folder_lock(out->folder, "training in it", &lock, err));
    snellen_status status = train_locked(job, out, err);
    folder_unlock(lock);
    return status;
}

static snellen_status train_seeds(const struct job *job, snellen_trained *results, size_t *n, snellen_error *err)
{
    const struct int_row *seeds = &job->settings.seeds;
    char name[64];
    for (*n = 0; *n < seeds->n; ++*n) {
        snellen_trained *out = &results[*n];
        *out = (snellen_trained){.seed = (uint64_t)seeds->v[*n], .end = "stopped", .best = (double)NAN};
        snprintf(name, sizeof name, "seed-%llu", (unsigned long long)out->seed);
        if (seeds->n > 1) TRY(path_in(job->options->folder, name, out->folder, err));
        else snprintf(out->folder, sizeof out->folder, "%s", job->options->folder);
        TRY(train_seed(job, out, err));
    }
    return SNELLEN_OK;
}

snellen_status snellen_train(const snellen_train_options *options, const snellen_progress *progress,
                             snellen_trained **results, size_t *n, snellen_error *err)
{
    struct job job = {.options = options, .progress = progress,
                      .n_threads = options->n_threads ? options->n_threads : snellen_default_threads()};
    *results = NULL;
    *n = 0;
    TRY(settings_read(options->study, options->overrides, options->n_overrides, &job.settings, err));
    snellen_trained *list = calloc(job.settings.seeds.n, sizeof *list);
    snellen_status status = list ? SNELLEN_OK : error_set(err, SNELLEN_E_MEMORY, "training: memory ran out");
    int threads = omp_get_max_threads();
    omp_set_num_threads(job.n_threads);
    if (!status) status = train_seeds(&job, list, n, err);
    omp_set_num_threads(threads);
    if (status && list && *n < job.settings.seeds.n) ++*n;   /* the one that was begun */
    *results = list;
    settings_free(&job.settings);
    return status;
}

char *snellen_train_keys(void)
{
    struct strbuf text = {0};
    char *out = NULL;
    settings_manual(&text);
    return strbuf_take(&text, &out, NULL, NULL) ? NULL : out;
}
