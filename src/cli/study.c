/* study: runs a named experiment from training to picture. */
#include "cli/cli.h"

#include <string.h>

enum { MOST_ARGS = 64 };

static int list_studies(void)
{
    snellen_study_info *list;
    snellen_error err;
    size_t n;
    if (snellen_studies_list(&list, &n, &err)) return ui_fail(&err);
    if (ui.json) {
        json_t *all = json_array();
        for (size_t i = 0; all && i < n; i++)
            json_array_append_new(all, json_pack("{s:s, s:o, s:s, s:s}", "name", list[i].name, "path",
                                                 cli_json_text(list[i].path, strlen(list[i].path)), "title",
                                                 list[i].title, "about", list[i].about));
        snellen_free(list);
        return ui_json(all ? json_pack("{s:o}", "studies", all) : NULL) ? 0 : 1;
    }
    for (size_t i = 0; i < n; i++) printf("%-20s %s\n", list[i].name, list[i].title);
    if (!n) ui_note("no study is found; SNELLEN_STUDIES names the folder where they lie");
    snellen_free(list);
    return ui_flush() ? 0 : 1;
}

/* "studies/array-parity.yaml" -> "runs/array-parity" */
static void default_folder(const char *study, char *out, size_t size)
{
    const char *slash = strrchr(study, '/'), *name = slash ? slash + 1 : study, *dot = strrchr(name, '.');
    snprintf(out, size, "runs/%.*s", (int)(dot && dot > name ? (size_t)(dot - name) : strlen(name)), name);
}

static int run_study(const snellen_study_options *options)
{
    snellen_error err;
    char *report;
    ui_begin_work();
    snellen_status status = snellen_study(options, ui_progress(), &report, &err);
    bool shown = true;
    ui_clear();
    if (report && ui.json) shown = ui_json(json_pack("{s:o}", "results", cli_json_text(options->folder, strlen(options->folder))));
    else if (report) {
        fputs(report, stdout);
        shown = ui_flush();
    }
    snellen_free(report);
    if (status == SNELLEN_E_CANCELLED) ui_note("the same command goes on where this one stopped");
    if (status) return ui_fail(&err);
    return shown ? 0 : 1;
}

static int run(int argc, char **argv)
{
    snellen_study_options o = {0};
    const char *args[OPTS_MAX_ARGS];
    char folder[4096];
    int64_t threads = 0;
    const struct opt table[] = {
        OPT_GROUP("what to do"),
        OPT_TEXT('o', "out", "DIR", &o.folder, "folder of the study; one that holds parts of it is gone on with",
                 .shown = "runs/NAME"),
        OPT_FLAG(0, "full", &o.full, "the longer form: more steps and seeds, hours instead of tens of minutes"),
        OPT_TEXT(0, "only", "VARIANTS", &o.only, "lines of the figure, separated by commas, and what they go on from", .shown = "all"),
        OPT_TEXT(0, "db", "FILE", &o.database, "database that keeps the runs; '' for none", .shown = "the one of `snellen runs`"),
        OPT_INT(0, "threads", "N", &threads, 1, 1024, "threads; the results do not depend on it",
                .shown = "the cores this process may use"),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_study, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    if (!strcmp(args[0], "list")) return list_studies();
    default_folder(args[0], folder, sizeof folder);
    o.study = args[0];
    o.overrides = args + 1;
    while (o.n_overrides + 1 < OPTS_MAX_ARGS && args[o.n_overrides + 1]) o.n_overrides++;
    if (!o.folder) o.folder = folder;
    o.n_threads = (int)threads;
    o.command = ui_command();
    return run_study(&o);
}

const struct verb verb_study = {
    .name = "study",
    .summary = "an experiment from its file to the picture",
    .run = run,
    .works = true,
    .usage = "(NAME | FILE.yaml | list) [-o DIR] [--full] [key=value ..]",
    .about = "Trains every variant of a study over its seeds, lets the trained models write over lengths, and draws. What the "
             "folder holds already is not done again: after Ctrl-C the same command goes on. Studies named glasses-.. ask a model "
             "and train none. `key=value` changes a key of the file, as in train.steps=500.",
    .args = "NAME",
    .min_args = 1,
    .max_args = OPTS_MAX_ARGS,
    .examples = { "snellen study array-parity -o parity",
                  "snellen study array-parity --only mnemonic seeds=[1]" },
};
