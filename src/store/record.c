/* Writing a run: begin, add, finish. Every call is one transaction, so that a killed run keeps what was added. */
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct snellen_recorder {
    struct store store;
    int64_t id;
    struct timespec began;
};

static void bind_text(sqlite3_stmt *s, int column, const char *text)
{
    sqlite3_bind_text(s, column, text ? text : "", -1, SQLITE_TRANSIENT);
}

/* "" and negative numbers are "does not apply": NULL in the table. */
static void bind_key_text(sqlite3_stmt *s, int column, const char *text)
{
    if (text && *text) bind_text(s, column, text);
    else sqlite3_bind_null(s, column);
}

static void bind_key_int(sqlite3_stmt *s, int column, int64_t value)
{
    if (value >= 0) sqlite3_bind_int64(s, column, value);
    else sqlite3_bind_null(s, column);
}

static snellen_status step_once(const struct store *store, sqlite3_stmt *statement, snellen_error *err)
{
    int code = sqlite3_step(statement);
    snellen_status status = code == SQLITE_DONE ? SNELLEN_OK : store_error(store, err);
    sqlite3_reset(statement);
    return status;
}

static snellen_status insert_run(snellen_recorder *r, const snellen_model *model, const snellen_run_start *start,
                                 snellen_error *err)
{
    const char *path = snellen_model_get_info(model)->path;
    char hash[33];
    TRY(snellen_model_hash(model, hash, err));
    char *machine;
    TRY(store_machine(start->n_threads, &machine, err));
    sqlite3_stmt *s;
    snellen_status status = store_prepare(&r->store,
        "INSERT INTO runs(time, verb, command, seed, version, model, model_path, model_hash, machine, status) "
        "VALUES(datetime('now'), ?, ?, ?, ?, ?, ?, ?, ?, 'running')", &s, err);
    if (!status) {
        bind_text(s, 1, start->verb);
        bind_text(s, 2, start->command);
        sqlite3_bind_int64(s, 3, (int64_t)start->seed);
        bind_text(s, 4, snellen_version());
        bind_text(s, 5, start->model_name ? start->model_name : path);
        bind_text(s, 6, path);
        bind_text(s, 7, hash);
        bind_text(s, 8, machine);
        status = step_once(&r->store, s, err);
        if (!status) r->id = sqlite3_last_insert_rowid(r->store.db);
        sqlite3_finalize(s);
    }
    snellen_free(machine);
    return status;
}

snellen_status snellen_record_begin(const char *database, const snellen_model *model, const snellen_run_start *start,
                                    snellen_recorder **recorder, snellen_error *err)
{
    snellen_recorder *r = calloc(1, sizeof *r);
    FAIL_IF(!r, SNELLEN_E_MEMORY, "results database: memory ran out");
    clock_gettime(CLOCK_MONOTONIC, &r->began);
    snellen_status status = store_open(&r->store, database, true, NULL, err);
    if (!status) status = insert_run(r, model, start, err);
    if (status) {
        store_close(&r->store);
        free(r);
        return status;
    }
    *recorder = r;
    return SNELLEN_OK;
}

int64_t snellen_record_id(const snellen_recorder *recorder)
{
    return recorder->id;
}

static snellen_status insert_numbers(const snellen_recorder *r, const snellen_number *numbers, size_t n,
                                     snellen_error *err)
{
    sqlite3_stmt *s;
    TRY(store_prepare(&r->store,
        "INSERT INTO numbers(run, subject, cure, style, precision, length, prompt, layer, metric, value) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", &s, err));
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; i < n && !status; i++) {
        const snellen_number *x = &numbers[i];
        sqlite3_bind_int64(s, 1, r->id);
        bind_text(s, 2, x->subject);
        bind_key_text(s, 3, x->cure);
        bind_key_text(s, 4, x->style);
        bind_key_text(s, 5, x->precision);
        bind_key_int(s, 6, x->length);
        bind_key_int(s, 7, x->prompt);
        bind_key_int(s, 8, x->layer);
        bind_text(s, 9, x->metric);
        if (isnan(x->value)) sqlite3_bind_null(s, 10);
        else sqlite3_bind_double(s, 10, x->value);
        status = step_once(&r->store, s, err);
    }
    sqlite3_finalize(s);
    return status;
}

snellen_status snellen_record_add(snellen_recorder *recorder, const snellen_number *numbers, size_t n,
                                  snellen_error *err)
{
    TRY(store_run(&recorder->store, "BEGIN IMMEDIATE", err));
    snellen_status status = insert_numbers(recorder, numbers, n, err);
    if (!status) status = store_run(&recorder->store, "COMMIT", err);
    if (status) sqlite3_exec(recorder->store.db, "ROLLBACK", NULL, NULL, NULL);
    return status;
}

snellen_status snellen_record_finish(snellen_recorder *recorder, const char *run_status, snellen_error *err)
{
    if (!recorder) return SNELLEN_OK;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double wall = (double)(now.tv_sec - recorder->began.tv_sec) + 1e-9 * (double)(now.tv_nsec - recorder->began.tv_nsec);
    sqlite3_stmt *s;
    snellen_status status =
        store_prepare(&recorder->store, "UPDATE runs SET status = ?, wall = ? WHERE id = ?", &s, err);
    if (!status) {
        bind_text(s, 1, run_status);
        sqlite3_bind_double(s, 2, wall);
        sqlite3_bind_int64(s, 3, recorder->id);
        status = step_once(&recorder->store, s, err);
        sqlite3_finalize(s);
    }
    store_close(&recorder->store);
    free(recorder);
    return status;
}
