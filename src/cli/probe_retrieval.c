/* probe retrieval: what a model finds, by depth and length. */
#include "cli/probe.h"

#include "study/retrieval.h"

#include <inttypes.h>
#include <string.h>

struct retrieval_args {
    struct common_opts common;
    snellen_retrieval_options options;
    struct int_list lengths;
    const char *depths, *folder, *database;
    int64_t prompts;
    bool bare;
};

/* ---- as a table -------------------------------------------------------------------------------------------------- */

/* The cells of a task and length, a column each: share of right answers. */
static void print_depths(const snellen_retrieval_result *r, const snellen_retrieval_cell *row)
{
    for (size_t i = 0; i < r->n_cells; i++) {
        const snellen_retrieval_cell *c = &r->cells[i];
        if (c->task == row->task && c->length == row->length) printf(" %5.0f%%", 100.0 * c->n_right / c->n);
    }
}

static void print_heading(const snellen_retrieval_result *r)
{
    printf("%-13s %8s %9s %7s %17s %8s %17s%s  right at depth", "task", "tokens", "questions", "right", "95 % interval", "margin",
           "95 % interval", r->written ? " written" : "");
    for (size_t i = 0; i < r->n_cells && r->cells[i].length == r->cells[0].length && r->cells[i].task == r->cells[0].task; i++)
        printf(i ? " %6.4g" : " %.4g", r->cells[i].depth);
    printf("\n");
}

static void print_row(const snellen_retrieval_result *r, const snellen_retrieval_cell *c)
{
    char right[40], margin[40];
    snprintf(right, sizeof right, "%.1f .. %.1f%%", 100 * c->right_low, 100 * c->right_high);
    snprintf(margin, sizeof margin, "%.2f .. %.2f", c->margin_low, c->margin_high);
    printf("%-13s %8" PRId64 " %9u %6.1f%% %17s %8.2f %17s", c->task, c->length, c->n, 100.0 * c->n_right / c->n, right, c->margin,
           margin);
    if (r->written) printf(" %6.1f%%", 100.0 * c->n_written_right / c->n);
    printf("          ");
    print_depths(r, c);
    printf("\n");
}

/* An effective length is 85 % of something: of how much, and a caution where that is less than half. `none`: what a score is that
 * has no effective length. */
static void print_reach(const char *task, const char *how, int64_t reach, const snellen_retrieval_cell *shortest, uint32_t n_right,
                        int64_t longest, const char *none)
{
    double percent = 100.0 * n_right / shortest->n;
    printf("%s%s: ", task, how);
    if (reach < 0) printf("%s at %" PRId64 " tokens (%.0f%% right), so no effective length\n", none, shortest->length, percent);
    else printf("effective length %" PRId64 "%s; %.0f%% right at %" PRId64 " tokens%s\n", reach,
                reach == longest ? ", the longest asked" : "", percent, shortest->length,
                percent < 50 ? ", so this length says little" : "");
}

static bool print_table(const snellen_retrieval_result *r)
{
    ui_clear();
    if (r->n_cells) print_heading(r);
    for (size_t i = 0; i < r->n_lengths; i++) print_row(r, &r->lengths[i]);
    for (size_t t = 0; t < r->n_tasks; t++) {
        const snellen_retrieval_task *task = &r->tasks[t];
        const snellen_retrieval_cell *shortest = NULL;
        int64_t longest = -1;
        for (size_t i = 0; i < r->n_lengths; i++) {
            if (r->lengths[i].task != task->task) continue;
            if (!shortest) shortest = &r->lengths[i];
            longest = r->lengths[i].length;
        }
        if (!shortest) continue;
        print_reach(task->task, "", task->reach, shortest, shortest->n_right, longest, "not clearly above guessing one of ten");
        if (r->written)
            print_reach(task->task, ", written", task->reach_written, shortest, shortest->n_written_right, longest,
                        "not clearly more than one in ten");
    }
    return ui_flush();
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

/* What was asked is told also after an interruption. */
static snellen_status tell(const struct retrieval_args *a, const snellen_retrieval_result *r, snellen_recorder *recorder,
                           bool *printed, snellen_error *err)
{
    snellen_status status = recorder ? retrieval_record(recorder, r, a->common.precision, err) : SNELLEN_OK;
    if (!status && a->folder) status = retrieval_draw_figures(r, a->folder, ui_command(), err);
    *printed = ui.json ? ui_json(retrieval_json(r)) : print_table(r);
    return status;
}

struct retrieval_work {
    struct retrieval_args *args;
    const snellen_model *model;
    bool printed;
};

static snellen_status probe(void *user, snellen_recorder *recorder, snellen_error *err)
{
    struct retrieval_work *w = user;
    struct retrieval_args *a = w->args;
    double depths[SNELLEN_RETRIEVAL_MAX_DEPTHS];
    snellen_retrieval_options o = snellen_retrieval_options_default(w->model);
    snellen_retrieval_result *r = NULL;
    snellen_error later;
    o.tasks = a->options.tasks;
    o.written = a->options.written;
    o.lengths = a->lengths.n ? a->lengths.v : NULL;
    o.n_lengths = a->lengths.n;
    o.n_prompts = (uint32_t)a->prompts;
    o.seed = a->common.seed;
    if (a->bare) o.chat = false;
    if (a->depths) {
        TRY(cli_depths(a->depths, depths, COUNT_OF(depths), &o.n_depths, err));
        o.depths = depths;
    }
    TRY(common_session(&a->common, &o.session, err));
    snellen_status status = snellen_retrieval_run(w->model, &o, ui_progress(), &r, err), told = SNELLEN_OK;
    if (r) told = tell(a, r, recorder, &w->printed, status ? &later : err);   /* the interruption is what is told */
    snellen_retrieval_free(r);
    return status ? status : told;
}

static int work(struct retrieval_args *a, const char *path)
{
    snellen_error err;
    int status = 0;
    snellen_model *model = common_load(path, &a->common, &status);
    if (!model) return status;
    struct retrieval_work w = {.args = a, .model = model, .printed = true};
    snellen_status done = probe_recorded(model, path, &a->common, a->database, probe, &w, &err);
    if (done) status = ui_fail(&err);
    if (done == SNELLEN_E_CANCELLED) ui_note("what was asked until then is told and kept");
    snellen_model_free(model);
    return status ? status : w.printed ? 0 : 1;
}

static int run(int argc, char **argv)
{
    struct retrieval_args a = {.common = common_opts_default(), .options = snellen_retrieval_options_default(NULL)};
    const char *args[1];
    a.prompts = a.options.n_prompts;
    const struct opt table[] = {
        OPT_GROUP("what is asked"),
        OPT_INTS(0, "lengths", "N,..", &a.lengths, 1, 1 << 24, "tokens of a question with its filler, template and the answer's frame, "
                 "ascending", .shown = "256,512,1K,2K as far as the context reaches"),
        OPT_TEXT(0, "depths", "LIST", &a.depths, "where what is asked for stands, 0 = at the start, 1 = at the end",
                 .shown = "0,0.25,0.5,0.75,1"),
        OPT_TEXT(0, "tasks", "LIST", &a.options.tasks, "passkey (five digits in repeated sentences), needle (a fact in varied ones), "
                 "list-index (the number of the 7th item), list-content (of the red apple, in the same list)", .shown = "all four"),
        OPT_INT(0, "prompts", "N", &a.prompts, 1, 10000, "different ones a cell"),
        OPT_FLAG(0, "written", &a.options.written, "also lets the model write its answers, greedily, up to 32 tokens each"),
        OPT_FLAG(0, "bare", &a.bare, "without the model's chat template"),
        OPTS_SEED(&a.common),
        OPT_GROUP("what comes out"),
        OPT_TEXT('o', "figures", "DIR", &a.folder, "folder for PNG, SVG and CSV of each figure"),
        OPT_TEXT(0, "db", "FILE", &a.database, "database that keeps the numbers; '' for none", .shown = "the one of `snellen runs`"),
        OPTS_LORA(&a.common),
        OPTS_NUMBERS(&a.common),
        OPTS_THREADS(&a.common),
        OPTS_ATTENTION(&a.common),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&probe_retrieval, table, COUNT_OF(table), argc, argv, args);
    if (status < 0) status = work(&a, args[0]);
    int_list_free(&a.lengths);
    return status;
}

const struct verb probe_retrieval = {
    .name = "probe retrieval",
    .summary = "what a model finds, by depth and length",
    .run = run,
    .works = true,
    .usage = "MODEL [options]",
    .about = "Asks for a pass key, for a fact, and for an item of a list by its index and by its name, that stand at growing depths of "
             "growing texts. Each right answer is compared with nine wrong ones: the margin is log p(right) - log p(best wrong). The "
             "effective length is the longest at which, and at all shorter ones, at least 85 % of what is right at the shortest "
             "is right.",
    .args = "MODEL",
    .min_args = 1,
    .max_args = 1,
    .examples = { "snellen probe retrieval smollm2 -o figures",
                  "snellen probe retrieval smollm2 --tasks list-index,list-content --lengths 256,512 --written" },
};
