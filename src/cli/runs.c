/* runs: what has been run, from the results database. */
#include "cli/cli.h"

#include <math.h>
#include <string.h>

enum { COMMAND_WIDTH = 64, MOST_IDS = 8 };

static json_t *real_or_null(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *text_json(const char *text)
{
    return cli_json_text(text, strlen(text));
}

static json_t *run_json(const snellen_run *r)
{
    json_t *machine = json_loads(r->machine, 0, NULL);
    return json_pack("{s:I, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "id", (json_int_t)r->id, "time",
                     text_json(r->time), "verb", text_json(r->verb), "command", text_json(r->command), "seed",
                     (json_int_t)r->seed, "version", text_json(r->version), "model", text_json(r->model), "path",
                     text_json(r->model_path), "hash", text_json(r->model_hash), "machine",
                     machine ? machine : text_json(r->machine), "wall", real_or_null(r->wall), "status",
                     text_json(r->status), "numbers", (json_int_t)r->n_numbers);
}

/* Printed text comes from a file: control characters must not reach the terminal. */
static void put_text(const char *text, int width)
{
    size_t n = strlen(text), shown = width > 0 && n > (size_t)width ? (size_t)width - 2 : n;
    cli_put_escaped(stdout, text, shown);
    if (shown < n) fputs("..", stdout);
}

static int list(const char *database)
{
    snellen_error err;
    snellen_run *runs;
    size_t n;
    if (snellen_runs_list(database, &runs, &n, &err)) return ui_fail(&err);
    bool good = true;
    if (ui.json) {
        json_t *all = json_array();
        for (size_t i = 0; all && i < n; i++) json_array_append_new(all, run_json(&runs[i]));
        good = ui_json(all ? json_pack("{s:o}", "runs", all) : NULL);
    } else {
        if (n) printf("%5s  %-19s  %-10s %8s %8s  %s\n", "id", "time (UTC)", "status", "seconds", "numbers", "command");
        for (size_t i = 0; i < n; i++) {
            const snellen_run *r = &runs[i];
            printf("%5lld  %-19.19s  %-10.10s ", (long long)r->id, r->time, r->status);
            if (isfinite(r->wall)) printf("%8.1f", r->wall);
            else printf("%8s", "-");
            printf(" %8llu  ", (unsigned long long)r->n_numbers);
            put_text(r->command, COMMAND_WIDTH);
            putchar('\n');
        }
        if (!n) ui_note("nothing has been recorded yet; snellen checkup MODEL records what it finds");
    }
    snellen_free(runs);
    return good ? 0 : 1;
}

static json_t *number_json(const snellen_number *x)
{
    json_t *o = json_pack("{s:o, s:o, s:o}", "subject", text_json(x->subject), "metric", text_json(x->metric), "value",
                          real_or_null(x->value));
    const struct { const char *name, *text; } words[] = {{"cure", x->cure}, {"style", x->style}, {"precision", x->precision}};
    const struct { const char *name; int64_t value; } keys[] = {
        {"length", x->length}, {"prompt", x->prompt}, {"layer", x->layer}};
    for (size_t i = 0; o && i < COUNT_OF(words); i++)
        if (*words[i].text) json_object_set_new(o, words[i].name, text_json(words[i].text));
    for (size_t i = 0; o && i < COUNT_OF(keys); i++)
        if (keys[i].value >= 0) json_object_set_new(o, keys[i].name, json_integer(keys[i].value));
    return o;
}

static void print_key(int64_t key)
{
    if (key >= 0) printf(" %6lld", (long long)key);
    else printf(" %6s", "-");
}

static void print_run(const snellen_run *r, const snellen_number *numbers, size_t n)
{
    const struct { const char *name, *text; } rows[] = {
        {"time", r->time},   {"command", r->command}, {"model", r->model},     {"path", r->model_path},
        {"hash", r->model_hash}, {"version", r->version}, {"machine", r->machine}, {"status", r->status},
    };
    printf("%-8s %lld\n", "run", (long long)r->id);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        printf("%-8s ", rows[i].name);
        put_text(rows[i].text, 0);
        putchar('\n');
    }
    printf("%-8s %llu\n", "seed", (unsigned long long)r->seed);
    if (isfinite(r->wall)) printf("%-8s %.1f s\n", "wall", r->wall);
    if (n)
        printf("\n%-18s %-10s %-9s %-5s %6s %6s %6s  %-12s %s\n", "subject", "cure", "style", "prec.", "length", "prompt",
               "layer", "metric", "value");
    for (size_t i = 0; i < n; i++) {
        const snellen_number *x = &numbers[i];
        printf("%-18.40s %-10.20s %-9.20s %-5.10s", x->subject, *x->cure ? x->cure : "-", *x->style ? x->style : "-",
               *x->precision ? x->precision : "-");
        print_key(x->length);
        print_key(x->prompt);
        print_key(x->layer);
        printf("  %-12.40s %.9g\n", x->metric, x->value);
    }
}

static int show(const char *database, int64_t id)
{
    snellen_error err;
    snellen_run *r;
    snellen_number *numbers;
    size_t n;
    if (snellen_runs_show(database, id, &r, &numbers, &n, &err)) return ui_fail(&err);
    bool good = true;
    if (ui.json) {
        json_t *o = run_json(r), *all = json_array();
        for (size_t i = 0; all && i < n; i++) json_array_append_new(all, number_json(&numbers[i]));
        if (o) json_object_set_new(o, "numbers", all);
        good = ui_json(o);
    } else {
        print_run(r, numbers, n);
    }
    snellen_free(r);
    snellen_free(numbers);
    return good ? 0 : 1;
}

/* ---- side by side ------------------------------------------------------------------------------------------------ */

static json_t *comparison_json(const snellen_comparison *row, size_t n_ids)
{
    const snellen_number x = {.subject = row->subject, .metric = row->metric, .cure = row->cure, .style = row->style,
                              .precision = row->precision, .length = row->length, .prompt = -1, .layer = row->layer};
    json_t *o = number_json(&x), *runs = json_array();
    for (size_t i = 0; runs && i < n_ids; i++) {
        const snellen_compared *r = &row->runs[i];
        json_array_append_new(runs, json_pack("{s:I, s:o, s:I, s:o, s:o, s:o}", "n", (json_int_t)r->n, "mean",
                                              real_or_null(r->mean), "pairs", (json_int_t)r->n_pairs, "difference",
                                              real_or_null(r->difference), "low", real_or_null(r->low), "high",
                                              real_or_null(r->high)));
    }
    if (o) json_object_del(o, "value");
    if (o) json_object_set_new(o, "runs", runs);
    return o;
}

static void print_value(double x)
{
    if (isnan(x)) printf(" %10s", "-");
    else printf(" %10.5g", x);
}

static void print_comparison(const snellen_comparison *row, size_t n_ids)
{
    printf("%-18.40s %-12.40s %-10.20s %-9.20s %-5.10s", row->subject, row->metric, *row->cure ? row->cure : "-",
           *row->style ? row->style : "-", *row->precision ? row->precision : "-");
    print_key(row->length);
    print_key(row->layer);
    print_value(row->runs[0].mean);
    for (size_t i = 1; i < n_ids; i++) {
        const snellen_compared *r = &row->runs[i];
        print_value(r->mean);
        print_value(r->difference);
        if (isnan(r->low)) printf("  %-20s", "");
        else printf("  %9.4g .. %-7.4g", r->low, r->high);
    }
    putchar('\n');
}

static void print_comparisons(const int64_t *ids, size_t n_ids, const snellen_comparison *rows, size_t n)
{
    char name[32];
    printf("%-18s %-12s %-10s %-9s %-5s %6s %6s", "subject", "metric", "cure", "style", "prec.", "length", "layer");
    for (size_t i = 0; i < n_ids; i++) {
        snprintf(name, sizeof name, "run %lld", (long long)ids[i]);
        printf(" %10s", name);
        if (i) printf(" %10s  %-20s", "difference", "95 % interval");
    }
    putchar('\n');
    for (size_t i = 0; i < n; i++) print_comparison(&rows[i], n_ids);
}

static int diff(const char *database, const int64_t *ids, size_t n_ids)
{
    snellen_error err;
    snellen_comparison *rows;
    size_t n;
    if (snellen_runs_compare(database, ids, n_ids, &rows, &n, &err)) return ui_fail(&err);
    bool good = true;
    if (ui.json) {
        json_t *list = json_array(), *all = json_array();
        for (size_t i = 0; list && i < n_ids; i++) json_array_append_new(list, json_integer((json_int_t)ids[i]));
        for (size_t i = 0; all && i < n; i++) json_array_append_new(all, comparison_json(&rows[i], n_ids));
        good = ui_json(json_pack("{s:o, s:o}", "runs", list, "rows", all));
    } else {
        print_comparisons(ids, n_ids, rows, n);
    }
    snellen_free(rows);
    return good ? 0 : 1;
}

static int delete(const char *database, int64_t id)
{
    snellen_error err;
    if (snellen_runs_delete(database, id, &err)) return ui_fail(&err);
    if (ui.json) return ui_json(json_pack("{s:I}", "deleted", (json_int_t)id)) ? 0 : 1;
    ui_note("run %lld is deleted", (long long)id);
    return 0;
}

static int run(int argc, char **argv)
{
    const char *args[1 + MOST_IDS], *database = NULL;
    const struct opt table[] = {
        OPT_GROUP("which database"),
        OPT_TEXT(0, "db", "FILE", &database, "results database",
                 .shown = "$SNELLEN_DB, else snellen/runs.db in the user's data folder"),
        OPTS_OUTPUT(),
    };
    int status = opts_parse(&verb_runs, table, COUNT_OF(table), argc, argv, args);
    if (status >= 0) return status;
    const char *action = args[0] ? args[0] : "list";
    bool lists = !strcmp(action, "list"), compares = !strcmp(action, "diff"), shows = !strcmp(action, "show");
    if (!lists && !compares && !shows && strcmp(action, "delete"))
        return ui_wrong("runs: '%.100s' found, list, show, diff or delete expected", action);
    int64_t ids[MOST_IDS];
    size_t n = 0;
    for (; args[0] && n < MOST_IDS && args[1 + n]; n++)
        if (!opts_integer(args[1 + n], &ids[n]) || ids[n] < 1) return ui_wrong("runs: '%.100s' is no ID of a run", args[1 + n]);
    if (lists) return n ? ui_wrong("runs: list takes no number, '%.100s' found", args[1]) : list(database);
    if (compares) return n > 1 ? diff(database, ids, n) : ui_wrong("runs: diff needs the IDs of two or more runs");
    if (n != 1) return ui_wrong("runs: %s needs the ID of a run; `snellen runs` lists them", action);
    return shows ? show(database, ids[0]) : delete(database, ids[0]);
}

const struct verb verb_runs = {
    .name = "runs",
    .summary = "what has been run, with all its numbers: the results database",
    .run = run,
    .usage = "[list | show ID | diff ID ID .. | delete ID] [options]",
    .about = "Every checkup, and every probe or task evaluation that is not told otherwise, is kept in a SQLite file: "
             "command, seed, version, model and its hash, machine, seconds, and each number. A run that was killed keeps "
             "the numbers it had and stays \"running\". diff puts runs side by side: means over prompts, and the difference to "
             "the first run over the prompts that both have, with its 95 % interval. Tables `runs` and `numbers` are open to any SQLite client.",
    .args = "ACTION ID ..",
    .max_args = 1 + MOST_IDS,
    .examples = { "snellen runs", "snellen runs diff 3 7" },
};
