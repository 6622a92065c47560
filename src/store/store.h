/* store: the results database, one SQLite file. Here the connection and its schema; the operations are public
 * (snellen.h, "runs").
 *
 * Invariant: whatever the file holds, opening it gives a checked schema of this version or an error. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/base.h"

#include <sqlite3.h>

/* Written to the file (PRAGMA user_version); a file of a newer version is refused, never guessed at. */
enum { STORE_VERSION = 1 };
/* Written to the file (PRAGMA application_id): "snel". */
enum { STORE_APPLICATION = 0x736e656c };

struct store {
    sqlite3 *db;
    char *path;
};

/* Opens `path`, or what it stands for (see snellen.h). A file that is missing is made when `create`; else *exists is
 * false and the store stays closed. */
snellen_status store_open(struct store *s, const char *path, bool create, bool *exists, snellen_error *err);
void store_close(struct store *s);

/* SQLite's word for what went wrong, with the file's name. */
snellen_status store_error(const struct store *s, snellen_error *err);
/* A statement from `sql`; finalise it with sqlite3_finalize(). */
snellen_status store_prepare(const struct store *s, const char *sql, sqlite3_stmt **statement, snellen_error *err);
/* Runs statements that give no rows. */
snellen_status store_run(const struct store *s, const char *sql, snellen_error *err);

/* This machine as a JSON object: cpu, cores, threads, isa, system. By snellen_free(). */
snellen_status store_machine(int n_threads, char **json, snellen_error *err);

#endif
