/* checkup --prompts: questions of the user's own at growing lengths, as they are and with cures. */
#include "cli/checkup.h"

#include <string.h>

static json_t *cell_json(const snellen_own_cell *c)
{
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "cure", c->cure, "filler", (json_int_t)c->filler, "n",
                     (json_int_t)c->n, "right", (json_int_t)c->n_right, "right_low", cli_json_number(c->right_low), "right_high",
                     cli_json_number(c->right_high), "margin", cli_json_number(c->margin), "margin_low",
                     cli_json_number(c->margin_low), "margin_high", cli_json_number(c->margin_high));
}

static json_t *answer_json(const snellen_own_answer *a)
{
    return json_pack("{s:s, s:I, s:I, s:b, s:o, s:o}", "cure", a->cure, "filler", (json_int_t)a->filler, "prompt",
                     (json_int_t)a->prompt, "right", (int)a->right, "margin", cli_json_number((double)a->margin), "nll",
                     cli_json_number((double)a->nll));
}

static json_t *result_json(const snellen_own_result *r)
{
    json_t *cells = json_array(), *answers = json_array(), *reach = json_object();
    for (size_t i = 0; i < r->n_cells; i++) {
        json_array_append_new(cells, cell_json(&r->cells[i]));
        json_object_set_new(reach, r->cells[i].cure, json_integer(snellen_own_reach(r, r->cells[i].cure)));
    }
    for (size_t i = 0; i < r->n_answers; i++) json_array_append_new(answers, answer_json(&r->answers[i]));
    return json_pack("{s:o, s:o, s:o}", "reach", reach, "cells", cells, "answers", answers);
}

static void print_cells(const snellen_own_result *r)
{
    printf("%-9s %9s %10s %8s %18s %9s %20s\n", "cure", "filler", "questions", "right", "95 % interval", "margin", "95 % interval");
    for (size_t i = 0; i < r->n_cells; i++) {
        const snellen_own_cell *c = &r->cells[i];
        char right[40], margin[40];
        snprintf(right, sizeof right, "%.1f .. %.1f%%", 100 * c->right_low, 100 * c->right_high);
        snprintf(margin, sizeof margin, "%.3f .. %.3f", c->margin_low, c->margin_high);
        printf("%-9s %9lld %10u %7.1f%% %18s %9.3f %20s\n", *c->cure ? c->cure : "-", (long long)c->filler, c->n,
               100.0 * c->n_right / c->n, right, c->margin, margin);
    }
    for (size_t i = 0; i < r->n_cells; i++) {
        const char *cure = r->cells[i].cure;
        if (i && !strcmp(cure, r->cells[i - 1].cure)) continue;
        int64_t reach = snellen_own_reach(r, cure);
        if (reach < 0) printf("%s: none is right even with the least filler\n", *cure ? cure : "as it is");
        else printf("%s: reaches %lld tokens of filler\n", *cure ? cure : "as it is", (long long)reach);
    }
}

static snellen_status record(const snellen_own_result *r, snellen_recorder *recorder, const char *precision, snellen_error *err)
{
    for (size_t i = 0; recorder && i < r->n_answers; i++) {
        const snellen_own_answer *a = &r->answers[i];
        const snellen_number of = {.subject = "own", .cure = a->cure, .style = "", .precision = precision, .length = a->filler,
                                   .prompt = a->prompt, .layer = -1};
        snellen_number numbers[] = {of, of, of};
        numbers[0].metric = "right", numbers[0].value = a->right;
        numbers[1].metric = "margin", numbers[1].value = (double)a->margin;
        numbers[2].metric = "nll", numbers[2].value = (double)a->nll;
        TRY(snellen_record_add(recorder, numbers, COUNT_OF(numbers), err));
    }
    return SNELLEN_OK;
}

/* What was finished is told also after an interruption. */
static snellen_status tell(const struct own_args *a, const snellen_own_result *r, snellen_recorder *recorder, snellen_error *err)
{
    snellen_status status = record(r, recorder, a->common->precision, err);
    if (!status && r->n_cells) status = snellen_own_draw(r, a->folder, a->file, ui_command(), err);
    if (status) return status;
    if (ui.json) {
        ui_json(result_json(r));
        return SNELLEN_OK;
    }
    print_cells(r);
    if (r->n_cells) printf("report: %s/index.html\n", a->folder);
    return SNELLEN_OK;
}

static snellen_status ask(const struct own_args *a, const snellen_model *model, snellen_recorder *recorder, snellen_error *err)
{
    snellen_own_options o = snellen_own_options_default(model);
    snellen_own_result *r = NULL;
    TRY(common_session(a->common, &o.session, err));
    struct common_opts own = *a->common;
    common_own_memory(&own, model, &o.session);
    o.fillers = a->fillers.n ? a->fillers.v : NULL;
    o.n_fillers = a->fillers.n;
    if (a->cures) o.cures = a->cures;
    if (a->bare) o.chat = false;
    snellen_status status = snellen_own_eval(model, a->file, &o, ui_progress(), &r, err), told = SNELLEN_OK;
    ui_clear();
    if (r) told = tell(a, r, recorder, status ? NULL : err);
    snellen_own_result_free(r);
    return status ? status : told;
}

int checkup_own(const struct own_args *a)
{
    int status = 0;
    snellen_error err;
    snellen_recorder *recorder = NULL;
    snellen_model *model = common_load(a->model, a->common, &status);
    if (!model) return status;
    const snellen_run_start start = {.verb = "checkup", .command = ui_command(), .model_name = a->model,
                                     .seed = a->common->seed, .n_threads = (int)a->common->threads};
    snellen_status done = a->database && !*a->database ? SNELLEN_OK
                                                       : snellen_record_begin(a->database, model, &start, &recorder, &err);
    if (!done) done = ask(a, model, recorder, &err);
    const char *word = !done ? "done" : done == SNELLEN_E_CANCELLED ? "incomplete" : "failed";
    snellen_status recorded = snellen_record_finish(recorder, word, done ? NULL : &err);
    if (done || recorded) status = ui_fail(&err);
    if (done == SNELLEN_E_CANCELLED) ui_note("cells that were whole are in the report and the database");
    snellen_model_free(model);
    return status;
}
