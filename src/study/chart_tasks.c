/* Charts of copying and counting: margins over length by cure and style, and what the written answers say. */
#include "study/chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One line of a chart: a task in a style with a cure. */
struct line_spec {
    const char *task, *style, *cure, *label;
};

static struct chart *new_chart(struct chart *charts, size_t *n, const char *section, const char *name, const char *title)
{
    struct chart *chart = &charts[*n];
    *chart = (struct chart){.text = {.name = name, .section = section, .title = title}};
    return chart;
}

static snellen_status add_margins(struct checkup *c, struct chart *chart, const struct line_spec *spec, snellen_error *err)
{
    const struct checkup_task *t = checkup_find_task(&c->plan, spec->task, spec->style, spec->cure);
    struct chart_line *l;
    if (!t) return SNELLEN_OK;
    TRY(chart_add_line(&c->arena, chart, spec->label, t->score.n_cells, true, &l, err));
    for (; l->n < t->score.n_cells; l->n++) {
        const snellen_cell *cell = &t->score.cells[l->n];
        l->x[l->n] = (double)cell->length;
        l->y[l->n] = cell->margin;
        l->low[l->n] = cell->margin_low;
        l->high[l->n] = cell->margin_high;
    }
    return SNELLEN_OK;
}

static snellen_status margins(struct checkup *c, struct chart *charts, size_t *n, const char *section, const char *name,
                              const char *title, const char *x_label, const struct line_spec *specs, size_t n_specs,
                              snellen_error *err)
{
    struct chart *chart = new_chart(charts, n, section, name, title);
    chart->x_label = x_label;
    chart->y_label = "margin: log p(right) - log p(best wrong)";
    chart->has_rule = true;
    chart->rule_label = "right above, wrong below";
    for (size_t i = 0; i < n_specs; i++) TRY(add_margins(c, chart, &specs[i], err));
    chart->text.caption = "The answer's frame is already written. Above 0 the right answer wins over every wrong one. Bands: 95 % "
                          "intervals over prompts, where a length has more than one.";
    chart->text.command = chart_exam_command(c, section);
    chart->text.alt = "Margin of the right answer over the length of the sequence";
    *n += chart->n_lines > 0;
    return SNELLEN_OK;
}

/* ---- written answers ------------------------------------------------------------------------------------------------------------ */

static const struct line_spec COUNTS[] = {
    {"count-sum", "plain", "", "sum of ones"},
    {"count-ones", "plain", "", "ones"},
    {"count-bernoulli", "plain", "", "ones among random bits"},
    {"count-car", "plain", "", "the word car"},
};

static snellen_status errors(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err)
{
    struct chart *chart = new_chart(charts, n, "counting", "count-errors", "Written counts: absolute error over length");
    chart->x_label = "items in the sequence";
    chart->y_label = "mean |answer - truth|";
    for (size_t i = 0; i < COUNT_OF(COUNTS); i++) {
        const struct checkup_task *t = checkup_find_task(&c->plan, COUNTS[i].task, COUNTS[i].style, COUNTS[i].cure);
        struct chart_line *l;
        if (!t || !checkup_judge_task(t).n_parsed) continue;
        TRY(chart_add_line(&c->arena, chart, COUNTS[i].label, t->score.n_cells, false, &l, err));
        for (size_t k = 0; k < t->score.n_cells; k++) {
            if (!isfinite(t->score.cells[k].abs_error)) continue;
            l->x[l->n] = (double)t->score.cells[k].length;
            l->y[l->n++] = t->score.cells[k].abs_error;
        }
    }
    chart->text.caption = "Plain style, greedy answers in which a number was found.";
    chart->text.command = chart_exam_command(c, "counting");
    chart->text.alt = "Absolute error of written counts over length";
    *n += chart->n_lines > 0;
    return SNELLEN_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How often each number is said (bin 1), and how often it is true. */
static snellen_status add_histogram(struct checkup *c, struct chart *chart, const char *label, double *values, size_t n,
                                    snellen_error *err)
{
    struct chart_line *l;
    qsort(values, n, sizeof *values, by_value);
    TRY(chart_add_line(&c->arena, chart, label, n, false, &l, err));
    l->bars = true;
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && !(values[end] > values[i]);) end++;
        l->x[l->n] = values[i];
        l->y[l->n++] = (double)(end - i);
    }
    return SNELLEN_OK;
}

static snellen_status histogram(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err)
{
    struct chart *chart = new_chart(charts, n, "counting", "count-answers", "Written counts: which numbers are named");
    size_t room = 0, n_said = 0, n_true = 0;
    for (size_t i = 0; i < c->plan.n_tasks; i++) room += c->plan.tasks[i].n_answers;
    double *said = arena_alloc(&c->arena, MAX(room, 1) * sizeof *said), *truth = arena_alloc(&c->arena, MAX(room, 1) * sizeof *truth);
    FAIL_IF(!said || !truth, SNELLEN_E_MEMORY, "chart: memory ran out");
    int64_t longest = 0;
    for (size_t i = 0; i < COUNT_OF(COUNTS); i++) {
        const struct checkup_task *t = checkup_find_task(&c->plan, COUNTS[i].task, COUNTS[i].style, COUNTS[i].cure);
        for (size_t k = 0; t && k < t->n_answers; k++) longest = MAX(longest, t->answers[k].expected);
    }
    size_t beyond = 0;
    for (size_t i = 0; i < COUNT_OF(COUNTS); i++) {
        const struct checkup_task *t = checkup_find_task(&c->plan, COUNTS[i].task, COUNTS[i].style, COUNTS[i].cure);
        for (size_t k = 0; t && k < t->n_answers; k++) {
            const snellen_answer *a = &t->answers[k];
            if (!a->generated) continue;
            truth[n_true++] = (double)a->expected;
            /* A number with ten digits would leave no room for the others on the axis. */
            if (a->parsed && a->got >= 0 && a->got <= 4 * longest) said[n_said++] = (double)a->got;
            else beyond += a->parsed;
        }
    }
    if (!n_said) return SNELLEN_OK;
    chart->x_label = "number";
    chart->y_label = "answers that name it";
    TRY(add_histogram(c, chart, "said", said, n_said, err));
    TRY(add_histogram(c, chart, "true", truth, n_true, err));
    chart->text.caption = arena_printf(&c->arena, "All written counts in plain style, bins of 1, beside the right answers. %zu answers "
                                                  "beyond four times the largest truth are not shown.", beyond);
    chart->text.command = chart_exam_command(c, "counting");
    chart->text.alt = "How often each number is named and how often it is right";
    ++*n;
    return SNELLEN_OK;
}

/* ---- what a comma's distance does, and how a text is read -------------------------------------------------------------------------- */

enum { MOST_READINGS = CHART_MAX_LINES - 1 };

static snellen_status chart_commas(struct checkup *c, struct chart *charts, size_t *n, const char *task, const char *section,
                                   const char *name, const char *title, snellen_error *err)
{
    const struct line_spec lines[] = {
        {task, "plain", "", "no commas"},               {task, "plain", "commas:2", "after every 2nd"},
        {task, "plain", "commas", "after every 3rd"},   {task, "plain", "commas:5", "after every 5th"},
        {task, "plain", "commas:10", "after every 10th"}};
    if (!checkup_find_task(&c->plan, task, "plain", "commas:2")) return SNELLEN_OK;
    return margins(c, charts, n, section, name, title, "digits in the sequence", lines, COUNT_OF(lines), err);
}

static snellen_status chart_readings(struct checkup *c, struct chart *charts, size_t *n, const char *task, const char *section,
                                     const char *name, const char *title, const char *unit, snellen_error *err)
{
    struct line_spec lines[1 + MOST_READINGS] = {{task, "plain", "", "as the exam does"}};
    size_t n_lines = 1;
    const struct session_cure *cure;
    for (size_t i = 0; i < MOST_READINGS && (cure = session_cure_at(i)); i++) {
        if (checkup_find_task(&c->plan, task, "plain", cure->name))
            lines[n_lines++] = (struct line_spec){task, "plain", cure->name, cure->words};
    }
    return n_lines > 1 ? margins(c, charts, n, section, name, title, unit, lines, n_lines, err) : SNELLEN_OK;
}

/* ---- all ---------------------------------------------------------------------------------------------------------------------------- */

snellen_status chart_tasks(struct checkup *c, struct chart *charts, size_t *n, snellen_error *err)
{
    static const struct line_spec last[] = {
        {"copy-last", "plain", "", "no cure"},        {"copy-last", "plain", "hint", "hint"},
        {"copy-last", "plain", "commas", "commas"},   {"copy-last", "plain", "alternate", "alternating"},
        {"copy-last", "plain", "anchors", "names"},   {"copy-last", "plain", "reverse", "turned round"}};
    static const struct line_spec first[] = {
        {"copy-first", "plain", "", "no cure"},       {"copy-first", "plain", "hint", "hint"},
        {"copy-first", "plain", "commas", "commas"},  {"copy-first", "plain", "alternate", "alternating"},
        {"copy-first", "plain", "anchors", "names"},  {"copy-first", "plain", "reverse", "turned round"}};
    static const struct line_spec ends[] = {
        {"copy-last", "plain", "", "question after"},       {"copy-last", "plain", "hint", "question after, hint"},
        {"copy-last-end-a", "plain", "", "sequence at the end, a"}, {"copy-last-end-a", "plain", "hint", "a, hint"},
        {"copy-last-end-b", "plain", "", "sequence at the end, b"}, {"copy-last-end-b", "plain", "hint", "b, hint"}};
    static const struct {
        const char *task, *name, *title, *unit;
    } counts[] = {
        {"count-sum", "count-sum", "Counting: a sum of ones", "summands"},
        {"count-ones", "count-ones", "Counting ones", "ones"},
        {"count-bernoulli", "count-bernoulli", "Counting ones among random bits", "bits, 70 % of them ones"},
        {"count-car", "count-car", "Counting a word", "times 'car' stands there"}};
    TRY(margins(c, charts, n, "copying", "copy-last", "Naming the last digit", "digits in the sequence", last, COUNT_OF(last), err));
    TRY(margins(c, charts, n, "copying", "copy-first", "Naming the first digit", "digits in the sequence", first,
                COUNT_OF(first), err));
    TRY(margins(c, charts, n, "copying", "copy-ends", "Naming the last digit: where the sequence stands",
                "digits in the sequence", ends, COUNT_OF(ends), err));
    TRY(chart_commas(c, charts, n, "copy-last", "copying", "copy-last-commas", "Naming the last digit: where commas stand", err));
    TRY(chart_commas(c, charts, n, "copy-first", "copying", "copy-first-commas", "Naming the first digit: where commas stand", err));
    TRY(chart_readings(c, charts, n, "copy-last", "copying", "copy-last-read", "Naming the last digit: how it is read",
                       "digits in the sequence", err));
    TRY(chart_readings(c, charts, n, "copy-first", "copying", "copy-first-read", "Naming the first digit: how it is read",
                       "digits in the sequence", err));
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        const struct line_spec lines[] = {
            {counts[i].task, "plain", "", "plain"}, {counts[i].task, "step", "", "step by step"},
            {counts[i].task, "examples", "", "two worked examples"}, {counts[i].task, "plain", "commas", "commas"},
            {counts[i].task, "plain", "fives", "fives in brackets"}, {counts[i].task, "plain", "sharper", "sharper attention"}};
        TRY(margins(c, charts, n, "counting", counts[i].name, counts[i].title, counts[i].unit, lines, COUNT_OF(lines), err));
    }
    TRY(chart_commas(c, charts, n, "count-ones", "counting", "count-ones-commas", "Counting ones: where commas stand", err));
    TRY(errors(c, charts, n, err));
    return histogram(c, charts, n, err);
}

snellen_status checkup_charts(struct checkup *c, struct chart **charts, size_t *n, snellen_error *err)
{
    *n = 0;
    *charts = arena_alloc(&c->arena, CHART_MAX * sizeof **charts);
    FAIL_IF(!*charts, SNELLEN_E_MEMORY, "charts: memory ran out");
    TRY(chart_collapse(c, *charts, n, err));
    return chart_tasks(c, *charts, n, err);
}
