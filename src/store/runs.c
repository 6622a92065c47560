/* Reading runs: list, show, delete. A result is handed over as one piece of memory, structs first and their texts
 * behind them, so that one snellen_free() ends it. */
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- rows into one piece of memory --------------------------------------------------------------------------------- */

/* Rows are gathered with offsets into `text` in place of pointers; pack() turns them into pointers. */
struct gathered {
    struct strbuf rows, text;
};

/* The offset of a copy of the column's text, as a pointer-sized integer in the field of a pointer. */
static const char *gather_text(struct gathered *g, sqlite3_stmt *s, int column)
{
    const char *text = (const char *)sqlite3_column_text(s, column);
    size_t n = text ? (size_t)sqlite3_column_bytes(s, column) : 0;
    uintptr_t at = g->text.n;
    /* Text with a NUL inside (a damaged file) ends there, as every reader of a C string would have it. */
    strbuf_put(&g->text, text ? text : "", text ? strnlen(text, n) : 0);
    strbuf_put(&g->text, "", 1);
    return (const char *)at;
}

static snellen_status pack(struct gathered *g, const size_t *fields, size_t n_fields, size_t row_size, void **out,
                           size_t *n, snellen_error *err)
{
    bool failed = g->rows.failed || g->text.failed;
    *n = g->rows.n / row_size;
    char *block = failed ? NULL : malloc(g->rows.n + g->text.n + 1);
    if (block) {
        char *text = block + g->rows.n;
        if (g->rows.n) memcpy(block, g->rows.text, g->rows.n);
        if (g->text.n) memcpy(text, g->text.text, g->text.n);
        for (size_t i = 0; i < *n; i++)
            for (size_t k = 0; k < n_fields; k++) {
                uintptr_t at;
                char *field = block + i * row_size + fields[k];
                memcpy(&at, field, sizeof at);
                const char *p = text + at;
                memcpy(field, &p, sizeof p);
            }
    }
    strbuf_free(&g->rows);
    strbuf_free(&g->text);
    FAIL_IF(!block, SNELLEN_E_MEMORY, "results: memory ran out");
    *out = block;
    return SNELLEN_OK;
}

/* ---- runs ------------------------------------------------------------------------------------------------------------ */

#define RUN_COLUMNS                                                                                                    \
    "SELECT id, time, verb, command, seed, version, model, model_path, model_hash, machine, wall, status, "            \
    "(SELECT count(*) FROM numbers WHERE run = runs.id) FROM runs "

static snellen_status gather_runs(const struct store *store, sqlite3_stmt *s, snellen_run **runs, size_t *n,
                                  snellen_error *err)
{
    static const size_t fields[] = {
        offsetof(snellen_run, time),       offsetof(snellen_run, verb),  offsetof(snellen_run, command),
        offsetof(snellen_run, version),    offsetof(snellen_run, model), offsetof(snellen_run, model_path),
        offsetof(snellen_run, model_hash), offsetof(snellen_run, machine), offsetof(snellen_run, status),
    };
    struct gathered g = {{0}, {0}};
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        snellen_run run;
        memset(&run, 0, sizeof run);
        run.id = sqlite3_column_int64(s, 0);
        run.time = gather_text(&g, s, 1);
        run.verb = gather_text(&g, s, 2);
        run.command = gather_text(&g, s, 3);
        run.seed = (uint64_t)sqlite3_column_int64(s, 4);
        run.version = gather_text(&g, s, 5);
        run.model = gather_text(&g, s, 6);
        run.model_path = gather_text(&g, s, 7);
        run.model_hash = gather_text(&g, s, 8);
        run.machine = gather_text(&g, s, 9);
        run.wall = sqlite3_column_type(s, 10) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(s, 10);
        run.status = gather_text(&g, s, 11);
        run.n_numbers = (uint64_t)sqlite3_column_int64(s, 12);
        strbuf_put(&g.rows, &run, sizeof run);
    }
    if (code != SQLITE_DONE) {
        strbuf_free(&g.rows);
        strbuf_free(&g.text);
        return store_error(store, err);
    }
    return pack(&g, fields, COUNT_OF(fields), sizeof(snellen_run), (void **)runs, n, err);
}

snellen_status snellen_runs_list(const char *database, snellen_run **runs, size_t *n, snellen_error *err)
{
    struct store store;
    bool exists;
    TRY(store_open(&store, database, false, &exists, err));
    if (!exists) {
        *runs = calloc(1, sizeof **runs);
        FAIL_IF(!*runs, SNELLEN_E_MEMORY, "results: memory ran out");
        *n = 0;
        return SNELLEN_OK;
    }
    sqlite3_stmt *s;
    snellen_status status = store_prepare(&store, RUN_COLUMNS "ORDER BY id DESC", &s, err);
    if (!status) status = gather_runs(&store, s, runs, n, err);
    sqlite3_finalize(s);
    store_close(&store);
    return status;
}

/* ---- one run ---------------------------------------------------------------------------------------------------------- */

static snellen_status find_run(const struct store *store, int64_t id, snellen_run **run, snellen_error *err)
{
    sqlite3_stmt *s;
    snellen_run *found = NULL;
    size_t n = 0;
    snellen_status status = store_prepare(store, RUN_COLUMNS "WHERE id = ?", &s, err);
    if (!status) {
        sqlite3_bind_int64(s, 1, id);
        status = gather_runs(store, s, &found, &n, err);
    }
    sqlite3_finalize(s);
    if (!status && n != 1) {
        free(found);
        FAIL(SNELLEN_E_USAGE, "%s: no run %lld (see `snellen runs`)", store->path, (long long)id);
    }
    if (!status) *run = found;
    return status;
}

static int64_t column_key(sqlite3_stmt *s, int column)
{
    return sqlite3_column_type(s, column) == SQLITE_NULL ? -1 : sqlite3_column_int64(s, column);
}

static snellen_status gather_numbers(const struct store *store, int64_t id, snellen_number **numbers, size_t *n,
                                     snellen_error *err)
{
    static const size_t fields[] = {
        offsetof(snellen_number, subject),   offsetof(snellen_number, cure),   offsetof(snellen_number, style),
        offsetof(snellen_number, precision), offsetof(snellen_number, metric),
    };
    sqlite3_stmt *s;
    TRY(store_prepare(store,
        "SELECT subject, cure, style, precision, length, prompt, layer, metric, value FROM numbers "
        "WHERE run = ? ORDER BY id", &s, err));
    sqlite3_bind_int64(s, 1, id);
    struct gathered g = {{0}, {0}};
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        snellen_number x;
        memset(&x, 0, sizeof x);
        x.subject = gather_text(&g, s, 0);
        x.cure = gather_text(&g, s, 1);
        x.style = gather_text(&g, s, 2);
        x.precision = gather_text(&g, s, 3);
        x.length = column_key(s, 4);
        x.prompt = column_key(s, 5);
        x.layer = column_key(s, 6);
        x.metric = gather_text(&g, s, 7);
        x.value = sqlite3_column_type(s, 8) == SQLITE_NULL ? (double)NAN : sqlite3_column_double(s, 8);
        strbuf_put(&g.rows, &x, sizeof x);
    }
    snellen_status status = code == SQLITE_DONE ? SNELLEN_OK : store_error(store, err);
    sqlite3_finalize(s);
    if (status) {
        strbuf_free(&g.rows);
        strbuf_free(&g.text);
        return status;
    }
    return pack(&g, fields, COUNT_OF(fields), sizeof(snellen_number), (void **)numbers, n, err);
}

static snellen_status open_existing(struct store *store, const char *database, int64_t id, snellen_error *err)
{
    bool exists;
    TRY(store_open(store, database, false, &exists, err));
    FAIL_IF(!exists, SNELLEN_E_USAGE, "no run %lld: nothing has been recorded yet", (long long)id);
    return SNELLEN_OK;
}

snellen_status snellen_runs_show(const char *database, int64_t id, snellen_run **run, snellen_number **numbers,
                                 size_t *n, snellen_error *err)
{
    struct store store;
    TRY(open_existing(&store, database, id, err));
    snellen_run *found = NULL;
    snellen_status status = find_run(&store, id, &found, err);
    if (!status) status = gather_numbers(&store, id, numbers, n, err);
    store_close(&store);
    if (status) free(found);
    else *run = found;
    return status;
}

snellen_status snellen_runs_delete(const char *database, int64_t id, snellen_error *err)
{
    struct store store;
    TRY(open_existing(&store, database, id, err));
    sqlite3_stmt *s;
    /* The numbers go with the run: ON DELETE CASCADE. */
    snellen_status status = store_prepare(&store, "DELETE FROM runs WHERE id = ?", &s, err);
    if (!status) {
        sqlite3_bind_int64(s, 1, id);
        if (sqlite3_step(s) != SQLITE_DONE) status = store_error(&store, err);
        else if (sqlite3_changes(store.db) == 0)
            status = error_set(err, SNELLEN_E_USAGE, "%s: no run %lld (see `snellen runs`)", store.path, (long long)id);
        sqlite3_finalize(s);
    }
    store_close(&store);
    return status;
}
