/* probe retrieval: what a model finds, by depth and length. */
#include "cli/probe.h"

#include "study/retrieval_figures.h"

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

/* ---- as JSON ----------------------------------------------------------------------------------------------------- */

static json_t *length_json(int64_t length)
{
    return length < 0 ? json_null() : json_integer(length);
}

static json_t *cell_json(const snellen_retrieval_cell *c, bool written)
{
    json_t *o = json_pack("{s:s, s:I, s:o, s:I, s:I, s:f, s:f, s:o, s:o, s:o}", "task", c->task, "length", (json_int_t)c->length,
                          "depth", c->depth < 0 ? json_null() : json_real(c->depth), "n", (json_int_t)c->n, "right",
                          (json_int_t)c->n_right, "right_low", c->right_low, "right_high", c->right_high, "margin",
                          cli_json_number(c->margin), "margin_low", cli_json_number(c->margin_low), "margin_high",
                          cli_json_number(c->margin_high));
    if (!written || !o) return o;
    json_object_set_new(o, "written_right", json_integer(c->n_written_right));
    json_object_set_new(o, "written_low", json_real(c->written_low));
    json_object_set_new(o, "written_high", json_real(c->written_high));
    return o;
}

static json_t *answer_json(const snellen_retrieval_answer *a)
{
    json_t *o = json_pack("{s:s, s:I, s:f, s:I, s:I, s:I, s:s, s:s, s:o}", "task", a->task, "length", (json_int_t)a->length, "depth",
                          a->depth, "prompt", (json_int_t)a->prompt, "tokens", (json_int_t)a->n_tokens, "at", (json_int_t)a->at,
                          "right", a->right, "best_wrong", a->best_wrong, "margin", cli_json_number((double)a->margin));
    if (!a->text || !o) return o;
    json_object_set_new(o, "written", cli_json_text(a->text, strlen(a->text)));
    json_object_set_new(o, "written_right", json_boolean(a->written_right));
    return o;
}

static bool print_json(const snellen_retrieval_result *r)
{
    json_t *tasks = json_array(), *lengths = json_array(), *cells = json_array(), *answers = json_array();
    for (size_t i = 0; i < r->n_tasks; i++) {
        json_t *o = json_pack("{s:s, s:o}", "task", r->tasks[i].task, "reach", length_json(r->tasks[i].reach));
        if (r->written && o) json_object_set_new(o, "reach_written", length_json(r->tasks[i].reach_written));
        json_array_append_new(tasks, o);
    }
    for (size_t i = 0; i < r->n_lengths; i++) json_array_append_new(lengths, cell_json(&r->lengths[i], r->written));
    for (size_t i = 0; i < r->n_cells; i++) json_array_append_new(cells, cell_json(&r->cells[i], r->written));
    for (size_t i = 0; i < r->n_answers; i++) json_array_append_new(answers, answer_json(&r->answers[i]));
    return ui_json(json_pack("{s:o, s:o, s:o, s:o, s:I}", "tasks", tasks, "lengths", lengths, "cells", cells, "answers", answers,
                             "tokens", (json_int_t)r->n_tokens));
}

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

/* ---- the database ------------------------------------------------------------------------------------------------ */

/* Each answer; the depth stands where other tasks have their cure. */
static snellen_status record(const struct retrieval_args *a, const snellen_retrieval_result *r, snellen_recorder *recorder,
                             snellen_error *err)
{
    for (size_t i = 0; recorder && i < r->n_answers; i++) {
        const snellen_retrieval_answer *answer = &r->answers[i];
        char subject[40], depth[32];
        snprintf(subject, sizeof subject, "retrieval-%s", answer->task);
        snprintf(depth, sizeof depth, "depth %.4g", answer->depth);
        const snellen_number of = {.subject = subject, .cure = depth, .style = "", .precision = a->common.precision,
                                   .length = answer->length, .prompt = answer->prompt, .layer = -1};
        snellen_number numbers[] = {of, of, of};
        numbers[0].metric = "margin", numbers[0].value = (double)answer->margin;
        numbers[1].metric = "right", numbers[1].value = answer->margin > 0;
        numbers[2].metric = "written_right", numbers[2].value = answer->written_right;
        TRY(snellen_record_add(recorder, numbers, answer->text ? 3 : 2, err));
    }
    return SNELLEN_OK;
}

/* ---- the verb ---------------------------------------------------------------------------------------------------- */

/* What was asked is told also after an interruption. */
static snellen_status tell(const struct retrieval_args *a, const snellen_retrieval_result *r, snellen_recorder *recorder,
                           bool *printed, snellen_error *err)
{
    snellen_status status = record(a, r, recorder, err);
    if (!status && a->folder && r->n_cells) status = retrieval_draw_figures(r, a->folder, ui_command(), err);
    *printed = ui.json ? print_json(r) : print_table(r);
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
