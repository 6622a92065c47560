/* The numbers of the probe of retrieval as JSON and in the database. */
#include "study/retrieval.h"

#include <math.h>

/* ---- as JSON ----------------------------------------------------------------------------------------------------- */

/* JSON has no NaN: null. */
static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *length_json(int64_t length)
{
    return length < 0 ? json_null() : json_integer(length);
}

static json_t *cell_json(const snellen_retrieval_cell *c, bool written)
{
    json_t *o = json_pack("{s:s, s:I, s:o, s:I, s:I, s:f, s:f, s:o, s:o, s:o}", "task", c->task, "length",
                          (json_int_t)c->length, "depth", c->depth < 0 ? json_null() : json_real(c->depth), "n",
                          (json_int_t)c->n, "right", (json_int_t)c->n_right, "right_low", c->right_low, "right_high",
                          c->right_high, "margin", real(c->margin), "margin_low", real(c->margin_low), "margin_high",
                          real(c->margin_high));
    if (!written || !o) return o;
    json_object_set_new(o, "written_right", json_integer(c->n_written_right));
    json_object_set_new(o, "written_low", json_real(c->written_low));
    json_object_set_new(o, "written_high", json_real(c->written_high));
    return o;
}

static json_t *answer_json(const snellen_retrieval_answer *a)
{
    json_t *o = json_pack("{s:s, s:I, s:f, s:I, s:I, s:I, s:s, s:s, s:o}", "task", a->task, "length", (json_int_t)a->length,
                          "depth", a->depth, "prompt", (json_int_t)a->prompt, "tokens", (json_int_t)a->n_tokens, "at",
                          (json_int_t)a->at, "right", a->right, "best_wrong", a->best_wrong, "margin", real((double)a->margin));
    if (!a->text || !o) return o;
    json_t *text = json_string(a->text);   /* what a model writes need not be UTF-8 */
    json_object_set_new(o, "written", text ? text : json_null());
    json_object_set_new(o, "written_right", json_boolean(a->written_right));
    return o;
}

json_t *retrieval_json(const snellen_retrieval_result *r)
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
    return json_pack("{s:o, s:o, s:o, s:o, s:I}", "tasks", tasks, "lengths", lengths, "cells", cells, "answers", answers,
                     "tokens", (json_int_t)r->n_tokens);
}

/* ---- in the database --------------------------------------------------------------------------------------------- */

/* Two or three numbers of an answer. */
static snellen_status put_answer(struct arena *texts, const snellen_retrieval_answer *a, const char *precision,
                                 snellen_number *numbers, size_t *n, snellen_error *err)
{
    const snellen_number of = {.subject = arena_printf(texts, "retrieval-%s", a->task),
                               .cure = arena_printf(texts, "depth %.4g", a->depth), .style = "", .precision = precision,
                               .length = a->length, .prompt = a->prompt, .layer = -1};
    FAIL_IF(!of.subject || !of.cure, SNELLEN_E_MEMORY, "numbers for the database: memory ran out");
    numbers[*n] = of, numbers[*n].metric = "margin", numbers[(*n)++].value = (double)a->margin;
    numbers[*n] = of, numbers[*n].metric = "right", numbers[(*n)++].value = a->margin > 0;
    if (a->text) numbers[*n] = of, numbers[*n].metric = "written_right", numbers[(*n)++].value = a->written_right;
    return SNELLEN_OK;
}

snellen_status retrieval_record(snellen_recorder *recorder, const snellen_retrieval_result *r, const char *precision,
                                snellen_error *err)
{
    struct arena texts = {0};
    snellen_number *numbers;
    size_t n = 0;
    TRY(NEW_ARRAY(&numbers, 3 * r->n_answers, "numbers for the database", err));
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; i < r->n_answers && !status; i++)
        status = put_answer(&texts, &r->answers[i], precision, numbers, &n, err);
    if (!status) status = snellen_record_add(recorder, numbers, n, err);
    arena_free(&texts);
    mem_free(numbers);
    return status;
}
