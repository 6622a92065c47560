/* train: trains as a study file says. */
#include "cli/cli.h"

#include <math.h>
#include <string.h>

enum { MOST_ARGS = 64 };

/* "studies/parity.yaml" -> "runs/parity" */
static bool default_folder(const char *study, char *out, size_t size)
{
    const char *name = strrchr(study, '/');
    name = name ? name + 1 : study;
    const char *dot = strrchr(name, '.');
    int n = (int)(dot && dot > name ? (size_t)(dot - name) : strlen(name));
    return n > 0 && (size_t)snprintf(out, size, "runs/%.*s", n, name) < size;
}

static void print_text(const snellen_trained *r)
{
    static const struct {
        const char *end, *words;
    } ends[] = {{"steps", "done"}, {"loss", "stopped early, train.stop_loss was reached"},
                {"patience", "stopped early, eval.patience was used up"}, {"stopped", "not finished"}};
    const char *words = "";
    for (size_t i = 0; i < COUNT_OF(ends); i++)
        if (!strcmp(r->end, ends[i].end)) words = ends[i].words;
    printf("%s: seed %llu, %lld steps, %s; loss %.4f", r->folder, (unsigned long long)r->seed, (long long)r->steps,
           words, r->loss);
    if (!isnan(r->best)) printf(", best evaluation %.4f at step %lld", r->best, (long long)r->best_step);
    printf("; %llu tokens in %.1f s, %.0f tokens/s\n", (unsigned long long)r->n_tokens, r->seconds,
           r->seconds > 0 ? (double)r->n_tokens / r->seconds : 0);
    if (r->n_skipped) ui_note("%llu bad lines were passed over", (unsigned long long)r->n_skipped);
}

static json_t *trained_json(const snellen_trained *r)
{
    return json_pack("{s:I, s:o, s:s, s:I, s:o, s:o, s:I, s:I, s:I, s:f, s:I}", "seed", (json_int_t)r->seed, "folder",
                     cli_json_text(r->folder, strlen(r->folder)), "end", r->end, "steps", (json_int_t)r->steps, "loss",
                     cli_json_number(r->loss), "best", cli_json_number(r->best), "best_step", (json_int_t)r->best_step,
                     "tokens", (json_int_t)r->n_tokens, "skipped_lines", (json_int_t)r->n_skipped, "seconds",
                     r->seconds, "run", (json_int_t)r->run);
}

static void tell(const snellen_trained *results, size_t n)
{
    json_t *runs = ui.json ? json_array() : NULL;
    ui_clear();
    for (size_t i = 0; i < n; i++)
        if (ui.json) json_array_append_new(runs, trained_json(&results[i]));
        else if (results[i].steps) print_text(&results[i]);
    if (ui.json) ui_json(json_pack("{s:o}", "runs", runs));
}

static int train(const snellen_train_options *options)
{
    snellen_error err;
    snellen_trained *results;
    size_t n;
    ui_begin_work();
    snellen_status failed = snellen_train(options, ui_progress(), &results, &n, &err);
    if (!failed || failed == SNELLEN_E_CANCELLED) tell(results, n);
    snellen_free(results);
    if (!failed) return 0;
    if (failed == SNELLEN_E_CANCELLED)
        ui_note("%s; go on with: %s%s", err.message, ui_command(), options->resume ? "" : " --resume");
    return ui_fail(&err);
}

static int print_keys(void)
{
    char *keys = snellen_train_keys();
    if (!keys) return ui_wrong("train: memory ran out");
    fputs(keys, stdout);
    snellen_free(keys);
    return 0;
}

static int run(int argc, char **argv)
{
    snellen_train_options options = {0};
    struct common_opts common = common_opts_default();
    const char *args[MOST_ARGS], *words[MOST_ARGS];
    bool keys = false, skip = false;
    char place[512];
    const struct opt table[] = {
        OPT_GROUP("what to do"),
        OPT_TEXT('o', "out", "DIR", &options.folder, "folder of the run: settings, log, checkpoints, trained weights",
                 .shown = "runs/STUDY"),
        OPT_FLAG(0, "resume", &options.resume,
                 "go on from the last checkpoint in the folder, with exactly the losses of an unbroken run"),
        OPT_FLAG(0, "skip-bad-lines", &skip,
                 "count lines of jsonl that are no sample and go on: data.skip_bad_lines=true"),
        OPT_FLAG(0, "keys", &keys, "all keys of study files as a table, and nothing else"),
        OPT_TEXT(0, "db", "FILE", &options.database, "database that keeps the numbers; '' for none",
                 .shown = "the one of `snellen runs`"),
        OPTS_THREADS(&common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_train, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    if (keys) return print_keys();
    if (!args[0]) return ui_wrong("train: the name of a STUDY file is missing (snellen train --help)");
    if (!options.folder && !default_folder(args[0], place, sizeof place))
        return ui_wrong("train: --out DIR is missing");
    if (!options.folder) options.folder = place;
    for (int i = 1; i < MOST_ARGS && args[i]; i++) words[options.n_overrides++] = args[i];
    if (skip && options.n_overrides < MOST_ARGS) words[options.n_overrides++] = "data.skip_bad_lines=true";
    options.study = args[0];
    options.overrides = words;
    options.n_threads = (int)common.threads;
    options.command = ui_command();
    return train(&options);
}

const struct verb verb_train = {
    .name = "train",
    .summary = "train a model, or low-rank factors beside it, as a study file says",
    .run = run,
    .works = true,
    .usage = "STUDY.yaml [-o DIR] [key=value ..] [--resume]",
    .about =
        "A study file is YAML: which model, on what data, how (docs/training.md, or --keys). Each key can be set here, "
        "which wins over the file: train.lr=1e-4. Ctrl-C and kills lose nothing that --resume would need but the "
        "steps after the last checkpoint.",
    .args = "STUDY key=value",
    .min_args = 0,
    .max_args = MOST_ARGS,
    .examples = {"snellen train study.yaml -o runs/first train.lr=3e-4",
                 "snellen train study.yaml -o runs/first --resume"},
};
