/* checkup: the eye exam of a model, to a report folder and the results database. */
#include "cli/checkup.h"

#include <string.h>

/* Where the report goes when nobody says: named after the model, in the current folder. */
static bool default_folder(const char *model, char *out, size_t size)
{
    size_t n = strlen(model);
    while (n > 1 && model[n - 1] == '/') n--;
    size_t start = n;
    while (start && model[start - 1] != '/') start--;
    const char *dot = memchr(model + start, '.', n - start);
    size_t length = dot && dot > model + start ? (size_t)(dot - model) - start : n - start;
    return (size_t)snprintf(out, size, "checkup-%.*s", (int)MIN(length, 200), model + start) < size;
}

static bool print_result(const snellen_checkup *r)
{
    if (!ui.json) {
        ui_clear();
        fputs(r->summary, stdout);
        if (*r->page) printf("\nreport: %s\n", r->page);
        return ui_flush();
    }
    json_t *o = json_loads(r->json, 0, NULL);
    if (o) json_object_set_new(o, "page", cli_json_text(r->page, strlen(r->page)));
    if (o) json_object_set_new(o, "run", r->run ? json_integer(r->run) : json_null());
    return ui_json(o);
}

static void finish(const snellen_checkup *result, snellen_status done, const snellen_error *err, int *status)
{
    if (result && !print_result(result)) *status = 1;
    if (result && result->continued) ui_note("went on from an exam that was stopped");
    if (!done) return;
    *status = ui_fail(err);
    if (result) ui_note("what was finished is in the report and the database; the same command goes on from there");
}

static int examine(const struct common_opts *common, const snellen_checkup_options *options)
{
    int status = 0;
    snellen_error err;
    snellen_checkup *result = NULL;
    snellen_model *model = common_load(options->model_name, common, &status);
    if (!model) return status;
    snellen_status done = snellen_checkup_run(model, options, ui_progress(), &result, &err);
    finish(result, done, &err, &status);
    snellen_checkup_free(result);
    snellen_model_free(model);
    return status;
}

/* The models are held together: they are compared when the last one was asked. */
static int examine_all(const struct common_opts *common, const snellen_checkup_options *options, const char *const *names, size_t n)
{
    int status = 0;
    snellen_error err;
    snellen_checkup *result = NULL;
    snellen_model *models[SNELLEN_MOST_EXAMS];
    const snellen_model *asked[SNELLEN_MOST_EXAMS];
    size_t loaded = 0;
    for (; loaded < n && (models[loaded] = common_load(names[loaded], common, &status)); loaded++) asked[loaded] = models[loaded];
    if (loaded == n) {
        snellen_status done = snellen_checkup_compare(asked, names, n, options, ui_progress(), &result, &err);
        finish(result, done, &err, &status);
    }
    snellen_checkup_free(result);
    while (loaded) snellen_model_free(models[--loaded]);
    return status;
}

/* prompts: NULL, a number of prompts a cell, or a file of the user's own. */
static int checkup(struct own_args *own, snellen_checkup_options *options, const char *const *models, size_t n_models,
                   const char *folder, const char *prompts)
{
    char place[256];
    if (n_models > 1 && own->common->lora)
        return ui_wrong("checkup: --lora goes with one model; `snellen export --lora` makes a model of it that can stand beside others");
    if (!folder && n_models > 1) folder = "checkup";
    if (!folder && !default_folder(own->model, place, sizeof place)) return ui_wrong("checkup: --out DIR is missing");
    own->folder = options->folder = folder ? folder : place;
    snellen_error err;
    if (common_session(own->common, &options->session, &err)) return ui_fail(&err);
    int64_t n_prompts = 0;
    bool counts = prompts && opts_integer(prompts, &n_prompts);
    if (prompts && !counts) {
        if (n_models > 1) return ui_wrong("checkup: --prompts FILE goes with one model, %zu found", n_models);
        if (options->only || options->full) return ui_wrong("checkup: --prompts FILE asks your own questions: no --only and no --full");
        own->file = prompts;
        return checkup_own(own);
    }
    if (counts && (n_prompts < 1 || n_prompts > 1000))
        return ui_wrong("checkup: --prompts: '%.100s' found, a whole number from 1 to 1000, or a file, expected", prompts);
    if (own->fillers.n || own->cures || own->bare) return ui_wrong("checkup: --fill, --cures and --bare go with --prompts FILE");
    options->command = ui_command();
    options->n_prompts = (uint32_t)n_prompts;
    options->seed = own->common->seed;
    return n_models > 1 ? examine_all(own->common, options, models, n_models) : examine(own->common, options);
}

static int run(int argc, char **argv)
{
    struct common_opts common = common_opts_default();
    snellen_checkup_options options = snellen_checkup_options_default();
    struct own_args own = {.common = &common};
    const char *args[SNELLEN_MOST_EXAMS] = {NULL}, *folder = NULL, *database = NULL, *prompts = NULL;
    bool quick = false;
    int64_t budget = (int64_t)options.budget;
    const struct opt table[] = {
        OPT_GROUP("what to do"),
        OPT_TEXT('o', "out", "DIR", &folder, "report folder: index.html, PNG, SVG and CSV of each figure, results.json",
                 .shown = "checkup-MODEL, of several models checkup, in the current folder"),
        OPT_FLAG(0, "quick", &quick, "what fits into a minute or so: each cell one prompt, then as many more as the budget "
                 "allows; this is the default"),
        OPT_FLAG(0, "full", &options.full, "every prompt and every written answer; up to an hour"),
        OPT_TEXT(0, "prompts", "N|FILE", &prompts, "prompts a cell; or a jsonl file of your own questions, {\"prompt\", "
                 "\"expected\"} a line, which are asked in place of the exam", .shown = "--full: 20; --quick: by the budget"),
        OPT_INTS(0, "fill", "LIST", &own.fillers, 0, CLI_MAX_TOKENS, "own questions: tokens of filler before each, or where it "
                 "says {filler}", .shown = "0,256,1K,4K,16K as far as the context reaches"),
        OPT_TEXT(0, "cures", "LIST", &own.cures, "own questions: rewrite (digits in groups, names for items, fives), sharper "
                 "(attention at temperature 0.8), twice (the prompt before the filler as well)", .shown = "all three"),
        OPT_FLAG(0, "bare", &own.bare, "own questions: without the model's chat template"),
        OPT_INT(0, "budget", "N", &budget, 1, CLI_MAX_TOKENS, "--quick: tokens to spend, a written one counts as "
                "four; one prompt a cell is asked even where that takes more, further ones while they fit. No clock is "
                "asked, so the numbers do not depend on the machine's speed"),
        OPT_CHOICE(0, "only", "PART", &options.only, "collapse copying counting retrieval", "that part alone, with the numbers that the "
                   "whole exam gives: redraws its figures", .shown = "all"),
        OPT_TEXT(0, "db", "FILE", &database, "database that keeps the numbers; '' for none",
                 .shown = "the one of `snellen runs`"),
        OPT_INT(0, "chunk", "N", &common.chunk, 1, 8192, "tokens processed at a time", .shown = "512"),
        OPTS_THREADS(&common),
        OPTS_SEED(&common),
        OPTS_LORA(&common),
        OPTS_ATTENTION(&common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_checkup, table, COUNT_OF(table), argc, argv, args);
    if (status < 0) {
        size_t n = 1;
        while (n < SNELLEN_MOST_EXAMS && args[n]) n++;
        own.model = options.model_name = args[0];
        own.database = options.database = database;
        options.budget = (uint64_t)budget;
        status = quick && options.full ? ui_wrong("checkup: --quick and --full exclude each other")
                                       : checkup(&own, &options, args, n, folder, prompts);
    }
    int_list_free(&own.fillers);
    return status;
}

const struct verb verb_checkup = {
    .name = "checkup",
    .summary = "the eye exam: where a model loses the thread of a long input, and what helps",
    .run = run,
    .works = true,
    .usage = "MODEL [MODEL ..] [-o DIR] [--quick | --full] [options]",
    .about = "Asks the model to copy and to count at growing lengths, with and without cures (a hint, a comma every 3 "
             "digits, alternating digits, reasoning, examples), and measures how far the vectors of n and n+1 equal items "
             "lie apart in f32, bf16 and f16 (arXiv 2406.04267). Says in plain words how far it sees, and draws it. "
             "Several models are asked the same and stand side by side.",
    .args = "MODEL MODEL ..",
    .min_args = 1,
    .max_args = SNELLEN_MOST_EXAMS,
    .examples = { "snellen checkup smollm2 gemma3 -o report", "snellen checkup smollm2 --prompts questions.jsonl --fill 0,512,2K" },
};
