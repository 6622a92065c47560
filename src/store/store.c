/* The database file: where it lies, its schema, its errors. SQLite's own journal keeps it whole when a run is killed;
 * a second process waits for the first (busy timeout) instead of failing. */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

enum { BUSY_MS = 10000 };

static const char SCHEMA[] =
    "CREATE TABLE runs ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " time TEXT NOT NULL,"
    " verb TEXT NOT NULL,"
    " command TEXT NOT NULL,"
    " seed INTEGER NOT NULL," /* the 64 bits, read as signed */
    " version TEXT NOT NULL,"
    " model TEXT NOT NULL,"
    " model_path TEXT NOT NULL,"
    " model_hash TEXT NOT NULL,"
    " machine TEXT NOT NULL,"
    " wall REAL,"
    " status TEXT NOT NULL);"
    "CREATE TABLE numbers ("
    " id INTEGER PRIMARY KEY,"
    " run INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,"
    " subject TEXT NOT NULL,"
    " cure TEXT, style TEXT, precision TEXT," /* NULL where a column does not apply */
    " length INTEGER, prompt INTEGER, layer INTEGER,"
    " metric TEXT NOT NULL,"
    " value REAL);"
    "CREATE INDEX numbers_of_run ON numbers(run);";

snellen_status store_error(const struct store *s, snellen_error *err)
{
    int code = s->db ? sqlite3_errcode(s->db) & 0xff : SQLITE_NOMEM;
    const char *message = s->db ? sqlite3_errmsg(s->db) : "memory ran out";
    switch (code) {
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        FAIL(SNELLEN_E_FORMAT, "%s: %s; not a results database, or a damaged one: move it away or name another "
             "with SNELLEN_DB", s->path, message);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        FAIL(SNELLEN_E_IO, "%s: in use by another process for more than %d s", s->path, BUSY_MS / 1000);
    case SQLITE_NOMEM:
        FAIL(SNELLEN_E_MEMORY, "%s: %s", s->path, message);
    default:
        FAIL(SNELLEN_E_IO, "%s: %s", s->path, message);
    }
}

snellen_status store_prepare(const struct store *s, const char *sql, sqlite3_stmt **statement, snellen_error *err)
{
    *statement = NULL;
    if (sqlite3_prepare_v2(s->db, sql, -1, statement, NULL) != SQLITE_OK) return store_error(s, err);
    return SNELLEN_OK;
}

snellen_status store_run(const struct store *s, const char *sql, snellen_error *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK) return store_error(s, err);
    return SNELLEN_OK;
}

static snellen_status pragma_int(const struct store *s, const char *sql, int64_t *out, snellen_error *err)
{
    sqlite3_stmt *statement;
    TRY(store_prepare(s, sql, &statement, err));
    int code = sqlite3_step(statement);
    *out = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    snellen_status status = code == SQLITE_ROW ? SNELLEN_OK : store_error(s, err);
    sqlite3_finalize(statement);
    return status;
}

/* Inside a transaction: two processes that both find an empty file must not both make its tables. */
static snellen_status check_schema(const struct store *s, snellen_error *err)
{
    int64_t version, application, tables;
    TRY(pragma_int(s, "PRAGMA user_version", &version, err));
    TRY(pragma_int(s, "PRAGMA application_id", &application, err));
    TRY(pragma_int(s, "SELECT count(*) FROM sqlite_master", &tables, err));
    if (version == 0 && application == 0 && tables == 0) {
        TRY(store_run(s, SCHEMA, err));
        struct strbuf sql = {0};
        strbuf_printf(&sql, "PRAGMA user_version = %d; PRAGMA application_id = %d", STORE_VERSION, STORE_APPLICATION);
        snellen_status status = sql.failed ? error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", s->path)
                                           : store_run(s, sql.text, err);
        strbuf_free(&sql);
        return status;
    }
    FAIL_IF(application != STORE_APPLICATION, SNELLEN_E_FORMAT,
            "%s: a SQLite database, but not of results of snellen: name another with SNELLEN_DB", s->path);
    FAIL_IF(version > STORE_VERSION, SNELLEN_E_UNSUPPORTED,
            "%s: schema version %lld, this program knows up to %d: it was written by a newer snellen", s->path,
            (long long)version, STORE_VERSION);
    FAIL_IF(version < 1, SNELLEN_E_FORMAT, "%s: schema version %lld, expected 1..%d", s->path, (long long)version,
            STORE_VERSION);
    return SNELLEN_OK;
}

static snellen_status resolve_path(const char *path, bool create, char **out, snellen_error *err)
{
    struct arena arena = {0};
    snellen_status status = SNELLEN_OK;
    const char *variable = getenv("SNELLEN_DB");
    if (!path && variable && *variable) path = variable;
    if (!path) {
        const char *folder = folder_data(&arena);
        if (!folder)
            status = error_set(err, SNELLEN_E_IO, "no place for the results database: set SNELLEN_DB or HOME");
        else if (create)
            status = folder_make(folder, err);
        if (!status) path = arena_printf(&arena, "%s/runs.db", folder);
    }
    if (!status) {
        *out = path ? strdup(path) : NULL;
        if (!*out) status = error_set(err, SNELLEN_E_MEMORY, "results database: memory ran out");
    }
    arena_free(&arena);
    return status;
}

snellen_status store_open(struct store *s, const char *path, bool create, bool *exists, snellen_error *err)
{
    memset(s, 0, sizeof *s);
    TRY(resolve_path(path, create, &s->path, err));
    bool there = file_exists(s->path);
    if (exists) *exists = there || create;
    if (!there && !create) {
        store_close(s);
        return SNELLEN_OK;
    }
    int flags = SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0);
    snellen_status status = SNELLEN_OK;
    if (sqlite3_open_v2(s->path, &s->db, flags, NULL) != SQLITE_OK) {
        status = store_error(s, err);
    } else {
        sqlite3_busy_timeout(s->db, BUSY_MS);
        /* A file handed over by someone else must not make SQLite run what its schema says. */
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        status = store_run(s, "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL", err);
        /* The write lock is only taken to make the tables; readers of a finished file do not wait for a writer. */
        if (!status) status = store_run(s, create ? "BEGIN IMMEDIATE" : "BEGIN", err);
        if (!status) {
            status = check_schema(s, err);
            if (status) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
            else status = store_run(s, "COMMIT", err);
        }
    }
    if (status) store_close(s);
    return status;
}

void store_close(struct store *s)
{
    if (s->db) sqlite3_close(s->db);
    free(s->path);
    memset(s, 0, sizeof *s);
}
