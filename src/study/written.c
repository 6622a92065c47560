/* What a model writes of a task's lines while it is trained, as the measure of its evaluations. */
#include "study/training.h"

#include <inttypes.h>

/* For each length the share of exact lines, and of right symbols. */
static void put_cells(const snellen_lines_result *result, json_t *numbers, double *measure)
{
    json_t *exact = json_object(), *symbols = json_object();
    double sum = 0;
    for (size_t i = 0; i < result->n_cells; i++) {
        const snellen_lines_cell *c = &result->cells[i];
        char length[24];
        double share = (double)c->n_exact / (double)c->n;
        snprintf(length, sizeof length, "%" PRId64, c->length);
        json_object_set_new(exact, length, json_real(share));
        json_object_set_new(symbols, length, json_real((double)c->n_right / (double)c->n_symbols));
        sum += share;
    }
    *measure = 1 - sum / (double)result->n_cells;
    json_object_set_new(numbers, "exact", exact);
    json_object_set_new(numbers, "symbols", symbols);
}

/* The same of answers after samples of long memory. */
static void put_long_cells(const snellen_long_result *result, json_t *numbers, double *measure)
{
    json_t *exact = json_object(), *digits = json_object();
    double sum = 0;
    for (size_t i = 0; i < result->n_cells; i++) {
        const snellen_long_cell *c = &result->cells[i];
        char length[24];
        double share = (double)c->n_exact / (double)c->n;
        snprintf(length, sizeof length, "%" PRId64, c->length);
        json_object_set_new(exact, length, json_real(share));
        json_object_set_new(digits, length, json_real((double)c->n_right / (double)c->n_tokens));
        sum += share;
    }
    *measure = 1 - sum / (double)MAX(result->n_cells, 1);
    json_object_set_new(numbers, "exact", exact);
    json_object_set_new(numbers, "symbols", digits);
}

static snellen_status measure_long(const struct written *w, double *measured, json_t *numbers, snellen_error *err)
{
    const struct settings *s = w->settings;
    snellen_long_eval_options o = snellen_long_eval_options_default();
    snellen_long_result *result;
    TRY(evaluation_session(s, w->n_threads, &o.session, err));
    o.task = long_options_of(s, false, 1);
    o.lengths = s->eval.lengths.v;
    o.n_lengths = s->eval.lengths.n;
    o.n_samples = (uint32_t)s->eval.lines;
    TRY(snellen_long_eval(w->model, s->data.task, &o, NULL, &result, err));
    put_long_cells(result, numbers, measured);
    snellen_long_result_free(result);
    return SNELLEN_OK;
}

static snellen_status measure_written(struct evaluator *evaluator, int64_t step, double *measured, json_t *numbers,
                                      snellen_error *err)
{
    const struct written *w = (const struct written *)evaluator;
    const struct settings *s = w->settings;
    snellen_lines_options o = snellen_lines_options_default();
    snellen_lines_result *result;
    (void)step;
    if (is_long_task(s)) return measure_long(w, measured, numbers, err);
    o.line = line_options_of(s);
    o.lengths = s->eval.lengths.v;
    o.n_lengths = s->eval.lengths.n;
    o.n_samples = (uint32_t)s->eval.lines;
    o.session.n_threads = w->n_threads;
    TRY(snellen_lines_eval(w->model, s->data.task, &o, NULL, &result, err));
    put_cells(result, numbers, measured);
    snellen_lines_result_free(result);
    return SNELLEN_OK;
}

void written_init(struct written *w, const struct settings *s, const snellen_model *model, int n_threads)
{
    *w = (struct written){.evaluator = {measure_written}, .settings = s, .model = model, .n_threads = n_threads};
}
