/* Scores: intervals of means and proportions, the cells of a result, the number that a generated text gives as its
 * answer. Pure functions; no model in sight. */
#include "tasks/tasks.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

/* ---- intervals --------------------------------------------------------------------------------------------------- */

/* P(|T| <= t) for whole degrees of freedom, t = sqrt(df) * tan(angle): the finite series of Abramowitz and Stegun
 * 26.7.3 (odd df) and 26.7.4 (even df). */
static double student_t_within(uint32_t df, double angle)
{
    double c = cos(angle), s = sin(angle), sum = 0;
    if (df % 2) {
        double term = c;
        for (uint32_t k = 1; k < df; k += 2) {
            sum += term;
            term *= c * c * (k + 1) / (k + 2.0);
        }
        return 2 / pi * (angle + s * sum);
    }
    double term = 1;
    for (uint32_t k = 0; k < df; k += 2) {
        sum += term;
        term *= c * c * (k + 1) / (k + 2.0);
    }
    return s * sum;
}

double student_t_975(uint32_t df)
{
    double low = 0, high = pi / 2;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        if (student_t_within(df, middle) < 0.95)
            low = middle;
        else
            high = middle;
    }
    return sqrt(df) * tan((low + high) / 2);
}

void mean_interval(const double *values, size_t n, double *mean, double *low, double *high)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += values[i];
    *mean = *low = *high = sum / (double)n;
    if (n < 2) return;
    for (size_t i = 0; i < n; i++) squares += (values[i] - *mean) * (values[i] - *mean);
    double half = student_t_975((uint32_t)(n - 1)) * sqrt(squares / (double)(n - 1) / (double)n);
    *low = *mean - half;
    *high = *mean + half;
}

void wilson_interval(uint32_t k, uint32_t n, double *low, double *high)
{
    static const double z = 1.959963984540054;  /* 97.5 % quantile of the normal distribution */
    *low = *high = (double)NAN;
    if (!n) return;
    double p = (double)k / n, zz = z * z / n;
    double centre = (p + zz / 2) / (1 + zz), half = z * sqrt(p * (1 - p) / n + zz / 4 / n) / (1 + zz);
    *low = k ? centre - half : 0;
    *high = k < n ? centre + half : 1;
}

void paired_interval(uint32_t gained, uint32_t lost, uint32_t n, double *low, double *high)
{
    const double z = 1.959963984540054;
    double a = ((double)gained + 1) / ((double)n + 2), b = ((double)lost + 1) / ((double)n + 2);
    double half = z * sqrt((a + b - (a - b) * (a - b)) / ((double)n + 2));
    *low = n ? fmax(a - b - half, -1) : (double)NAN;
    *high = n ? fmin(a - b + half, 1) : (double)NAN;
}

int32_t likeliest(const float *logits, int64_t n)
{
    int64_t best = 0;
    float top = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (logits[i] > top) {
            top = logits[i];
            best = i;
        }
    return (int32_t)best;
}

/* ---- the number in an answer ------------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads the number at p (a digit), commas between thousands; *end is behind it. False: too long to be an answer. */
static bool read_number(const char *p, int64_t *number, const char **end)
{
    enum { MAX_DIGITS = 15 };
    int digits = 0;
    int64_t value = 0;
    for (;; p++) {
        bool thousands = *p == ',' && digits >= 1 && digits <= 12 && is_digit(p[1]) && is_digit(p[2]) &&
                         is_digit(p[3]) && !is_digit(p[4]);
        if (thousands) p++;
        if (!is_digit(*p)) break;
        if (++digits <= MAX_DIGITS) value = value * 10 + (*p - '0');
    }
    *end = p;
    *number = value;
    return digits <= MAX_DIGITS;
}

enum number_state number_in_answer(const char *text, const char *frame, int64_t *number)
{
    enum number_state state = NUMBER_NONE;
    size_t n = strlen(frame);
    while (n && frame[n - 1] == ' ') n--;
    for (const char *p = text; *p; p++) {
        if (strncmp(p, frame, n)) continue;
        const char *q = p + n, *end;
        q += strspn(q, " \t\r\n*_`'\"$<([{\\");
        if (is_digit(*q) && read_number(q, number, &end)) state = *end ? NUMBER_FINAL : NUMBER_OPEN;
    }
    if (state != NUMBER_NONE) return state;
    for (const char *p = text, *end; *p; p = end) {
        int64_t value;
        end = p + 1;
        if (!is_digit(*p) || !read_number(p, &value, &end)) continue;
        *number = value;
        state = NUMBER_LOOSE;
    }
    return state;
}

/* ---- cells ------------------------------------------------------------------------------------------------------- */

/* One cell from its answers [n]; `values` [n] is scratch. */
static void score_cell(snellen_cell *cell, const snellen_answer *answers, size_t n, double *values)
{
    uint32_t n_parsed = 0;
    double error = 0;
    *cell = (snellen_cell){.length = answers[0].length, .n = (uint32_t)n};
    for (size_t i = 0; i < n; i++) {
        const snellen_answer *a = &answers[i];
        values[i] = (double)a->margin;
        cell->n_positive += a->margin > 0;
        cell->n_generated += a->generated;
        if (!a->generated || !a->parsed) continue;
        n_parsed++;
        cell->n_right += a->got == a->expected;
        error += fabs((double)(a->got - a->expected));
    }
    mean_interval(values, n, &cell->margin, &cell->margin_low, &cell->margin_high);
    wilson_interval(cell->n_right, cell->n_generated, &cell->right_low, &cell->right_high);
    cell->abs_error = n_parsed ? error / n_parsed : (double)NAN;
}

static int64_t blind_at(const snellen_cell *cells, size_t n)
{
    int64_t length = -1;
    while (n-- && 2 * (uint64_t)cells[n].n_positive <= cells[n].n) length = cells[n].length;
    return length;
}

int answers_in_order(const void *x, const void *y)
{
    const snellen_answer *a = x, *b = y;
    if (a->length != b->length) return a->length < b->length ? -1 : 1;
    return (a->prompt > b->prompt) - (a->prompt < b->prompt);
}

snellen_status score_cells(snellen_task_result *result, snellen_error *err)
{
    const snellen_answer *answers = result->answers;
    size_t n = result->n_answers, n_cells = 0;
    double *values;
    for (size_t i = 0; i < n; i++) n_cells += !i || answers[i].length != answers[i - 1].length;
    TRY(NEW_ARRAY(&result->cells, n_cells, "cells", err));
    TRY(NEW_ARRAY(&values, n, "answers", err));
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && answers[end].length == answers[i].length;) end++;
        score_cell(&result->cells[result->n_cells++], answers + i, end - i, values);
    }
    result->blind_at = blind_at(result->cells, result->n_cells);
    mem_free(values);
    return SNELLEN_OK;
}
