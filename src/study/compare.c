/* Runs side by side: the numbers of several runs, sorted by what was measured, with differences over the prompts that two of
 * them share. */
#include "base/base.h"
#include "tasks/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RUNS = 64 };

struct entry {
    const snellen_number *x;
    size_t run;
};

struct comparison {
    size_t n_ids;
    snellen_run *runs[MOST_RUNS];               /* their texts are not needed, but must be freed */
    snellen_number *numbers[MOST_RUNS];
    struct entry *entries;                      /* [n] sorted */
    size_t n;
    double *differences;                        /* [n] scratch of one row */
};

static int sign(int64_t a, int64_t b) { return (a > b) - (a < b); }

/* By what was measured, prompts aside. */
static int compare_rows(const snellen_number *a, const snellen_number *b)
{
    const char *const texts[][2] = {{a->subject, b->subject}, {a->metric, b->metric}, {a->cure, b->cure},
                                    {a->style, b->style}, {a->precision, b->precision}};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        int order = strcmp(texts[i][0], texts[i][1]);
        if (order) return order;
    }
    int order = sign(a->layer, b->layer);
    return order ? order : sign(a->length, b->length);
}

static int compare_entries(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    int order = compare_rows(a->x, b->x);
    if (!order) order = sign((int64_t)a->run, (int64_t)b->run);
    return order ? order : sign(a->x->prompt, b->x->prompt);
}

static snellen_status load(struct comparison *c, const char *database, const int64_t *ids, snellen_error *err)
{
    size_t n[MOST_RUNS] = {0}, all = 0;
    for (size_t i = 0; i < c->n_ids; i++) {
        TRY(snellen_runs_show(database, ids[i], &c->runs[i], &c->numbers[i], &n[i], err));
        all += n[i];
    }
    TRY(NEW_ARRAY(&c->entries, MAX(all, 1), "numbers of runs", err));
    TRY(NEW_ARRAY(&c->differences, MAX(all, 1), "differences of runs", err));
    for (size_t i = 0; i < c->n_ids; i++)
        for (size_t k = 0; k < n[i]; k++)
            if (!isnan(c->numbers[i][k].value)) c->entries[c->n++] = (struct entry){&c->numbers[i][k], i};
    qsort(c->entries, c->n, sizeof *c->entries, compare_entries);
    return SNELLEN_OK;
}

/* Entries of one run, [from, to) of a row, against those of the first one, [first, first_to): both by prompt. */
static snellen_compared compare_run(const struct comparison *c, size_t from, size_t to, size_t first, size_t first_to)
{
    snellen_compared r = {.n = (int64_t)(to - from), .mean = (double)NAN, .difference = (double)NAN, .low = (double)NAN,
                          .high = (double)NAN};
    double sum = 0;
    size_t pairs = 0;
    for (size_t i = from; i < to; i++) {
        const snellen_number *x = c->entries[i].x;
        sum += x->value;
        while (first < first_to && c->entries[first].x->prompt < x->prompt) first++;
        if (first < first_to && c->entries[first].x->prompt == x->prompt)
            c->differences[pairs++] = x->value - c->entries[first++].x->value;
    }
    if (to > from) r.mean = sum / (double)(to - from);
    r.n_pairs = (int64_t)pairs;
    if (!pairs) return r;
    mean_interval(c->differences, pairs, &r.difference, &r.low, &r.high);
    if (pairs == 1) r.low = r.high = (double)NAN;
    return r;
}

/* Entries from `from` on that measure the same. */
static size_t row_end(const struct comparison *c, size_t from)
{
    size_t to = from;
    while (to < c->n && !compare_rows(c->entries[from].x, c->entries[to].x)) to++;
    return to;
}

static void fill_row(const struct comparison *c, size_t from, size_t to, snellen_compared *runs)
{
    size_t first_to = from;
    while (first_to < to && c->entries[first_to].run == 0) first_to++;
    for (size_t i = 0, at = from; i < c->n_ids; i++) {
        size_t end = at;
        while (end < to && c->entries[end].run == i) end++;
        runs[i] = compare_run(c, at, end, from, first_to);
        if (i == 0) runs[i].n_pairs = 0, runs[i].difference = runs[i].low = runs[i].high = (double)NAN;
        at = end;
    }
}

/* Rows, what they point at, and their texts, in one piece. */
static snellen_status make_rows(const struct comparison *c, snellen_comparison **rows, size_t *n_rows, snellen_error *err)
{
    size_t n = 0, n_text = 0;
    for (size_t i = 0; i < c->n; i = row_end(c, i), n++) {
        const snellen_number *x = c->entries[i].x;
        n_text += strlen(x->subject) + strlen(x->metric) + strlen(x->cure) + strlen(x->style) + strlen(x->precision) + 5;
    }
    size_t row_bytes = sizeof(snellen_comparison) + c->n_ids * sizeof(snellen_compared);
    *rows = malloc(MAX(n * row_bytes + n_text, 1));   /* less than the numbers that they were made from take */
    FAIL_IF(!*rows, SNELLEN_E_MEMORY, "runs: memory ran out");
    snellen_compared *runs = (void *)(*rows + n);
    char *text = (void *)(runs + n * c->n_ids);
    snellen_comparison *row = *rows;
    for (size_t i = 0, end; i < c->n; i = end, row++, runs += c->n_ids) {
        const snellen_number *x = c->entries[i].x;
        end = row_end(c, i);
        *row = (snellen_comparison){.length = x->length, .layer = x->layer, .runs = runs};
        const char *const from[] = {x->subject, x->metric, x->cure, x->style, x->precision};
        const char **const to[] = {&row->subject, &row->metric, &row->cure, &row->style, &row->precision};
        for (size_t k = 0; k < COUNT_OF(from); k++) {
            *to[k] = strcpy(text, from[k]);
            text += strlen(text) + 1;
        }
        fill_row(c, i, end, runs);
    }
    *n_rows = n;
    return SNELLEN_OK;
}

snellen_status snellen_runs_compare(const char *database, const int64_t *ids, size_t n_ids, snellen_comparison **rows,
                                    size_t *n_rows, snellen_error *err)
{
    FAIL_IF(n_ids < 2 || n_ids > MOST_RUNS, SNELLEN_E_USAGE, "%zu runs: 2 to %d expected", n_ids, MOST_RUNS);
    struct comparison c = {.n_ids = n_ids};
    snellen_status status = load(&c, database, ids, err);
    if (!status) status = make_rows(&c, rows, n_rows, err);
    for (size_t i = 0; i < n_ids; i++) {
        snellen_free(c.runs[i]);
        snellen_free(c.numbers[i]);
    }
    mem_free(c.entries);
    mem_free(c.differences);
    return status;
}
