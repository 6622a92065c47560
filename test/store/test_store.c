/* The results database: what goes in comes out, kills and damage are survived or told. The model is a stand-in: the
 * store asks a model for its path and its hash only. */
#include "base/base.h"

#include <math.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- stand-ins ------------------------------------------------------------------------------------------------------- */

static const snellen_model_info INFO = {.path = "/models/tiny.gguf"};

const snellen_model_info *snellen_model_get_info(const snellen_model *model)
{
    (void)model;
    return &INFO;
}

snellen_status snellen_model_hash(const snellen_model *model, char hash[33], snellen_error *err)
{
    (void)model;
    (void)err;
    memcpy(hash, "00112233445566778899aabbccddeeff", 33);
    return SNELLEN_OK;
}

const char *snellen_isa(void)
{
    return "scalar";
}

int snellen_default_threads(void)
{
    return 3;
}

/* ---- fixture ---------------------------------------------------------------------------------------------------------- */

static char folder[64], path[128];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/snellen-store-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/runs.db", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const snellen_run_start START = {.verb = "checkup", .command = "snellen checkup tiny \xc3\xa9", .model_name = "tiny",
                                        .seed = UINT64_MAX, .n_threads = 2};

static int64_t write_run(size_t n, const char *status)
{
    snellen_error err;
    snellen_recorder *r;
    assert_int_equal(snellen_record_begin(path, NULL, &START, &r, &err), SNELLEN_OK);
    for (size_t i = 0; i < n; i++) {
        snellen_number x = {.subject = "copy-last", .cure = i ? "hint" : "", .style = "plain", .precision = "bf16",
                            .length = (int64_t)i, .prompt = -1, .layer = 7, .metric = "margin",
                            .value = i == 1 ? (double)NAN : -1.5 * (double)i};
        assert_int_equal(snellen_record_add(r, &x, 1, &err), SNELLEN_OK);
    }
    int64_t id = snellen_record_id(r);
    assert_int_equal(snellen_record_finish(r, status, &err), SNELLEN_OK);
    return id;
}

/* ---- tests ------------------------------------------------------------------------------------------------------------ */

static void test_round_trip(void **state)
{
    (void)state;
    int64_t first = write_run(0, "incomplete"), second = write_run(3, "done");
    snellen_run *runs;
    size_t n;
    snellen_error err;
    assert_int_equal(snellen_runs_list(path, &runs, &n, &err), SNELLEN_OK);
    assert_int_equal(n, 2);
    assert_int_equal(runs[0].id, second); /* newest first */
    assert_int_equal(runs[1].id, first);
    assert_string_equal(runs[1].status, "incomplete");
    assert_int_equal(runs[0].n_numbers, 3);
    snellen_free(runs);

    snellen_run *run;
    snellen_number *x;
    assert_int_equal(snellen_runs_show(path, second, &run, &x, &n, &err), SNELLEN_OK);
    assert_string_equal(run->command, START.command);
    assert_string_equal(run->verb, "checkup");
    assert_true(run->seed == UINT64_MAX);
    assert_string_equal(run->version, snellen_version());
    assert_string_equal(run->model, "tiny");
    assert_string_equal(run->model_path, INFO.path);
    assert_string_equal(run->model_hash, "00112233445566778899aabbccddeeff");
    assert_non_null(strstr(run->machine, "\"threads\":2"));
    assert_non_null(strstr(run->machine, "\"isa\":\"scalar\""));
    assert_true(run->wall >= 0 && run->wall < 60);
    assert_int_equal(strlen(run->time), 19);
    assert_int_equal(n, 3);
    assert_string_equal(x[0].cure, "");
    assert_string_equal(x[1].cure, "hint");
    assert_string_equal(x[2].subject, "copy-last");
    assert_string_equal(x[2].precision, "bf16");
    assert_int_equal(x[2].length, 2);
    assert_int_equal(x[2].prompt, -1);
    assert_int_equal(x[2].layer, 7);
    assert_true(isnan(x[1].value));
    assert_true(x[2].value == -3.0);
    snellen_free(run);
    snellen_free(x);
}

static void test_delete(void **state)
{
    (void)state;
    int64_t id = write_run(4, "done"), other = write_run(2, "done");
    snellen_error err;
    assert_int_equal(snellen_runs_delete(path, id, &err), SNELLEN_OK);
    assert_int_equal(snellen_runs_delete(path, id, &err), SNELLEN_E_USAGE);
    sqlite3 *db;
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM numbers", -1, &s, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(s), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(s, 0), 2); /* the other run's */
    sqlite3_finalize(s);
    sqlite3_close(db);
    snellen_run *run;
    snellen_number *x;
    size_t n;
    assert_int_equal(snellen_runs_show(path, id, &run, &x, &n, &err), SNELLEN_E_USAGE);
    assert_int_equal(snellen_runs_show(path, other, &run, &x, &n, &err), SNELLEN_OK);
    snellen_free(run);
    snellen_free(x);
}

static void test_missing(void **state)
{
    (void)state;
    snellen_run *runs;
    size_t n = 99;
    snellen_error err;
    assert_int_equal(snellen_runs_list(path, &runs, &n, &err), SNELLEN_OK);
    assert_int_equal(n, 0);
    assert_false(file_exists(path)); /* looking makes no file */
    snellen_free(runs);
    assert_int_equal(snellen_runs_delete(path, 1, &err), SNELLEN_E_USAGE);
    char deep[256];
    snprintf(deep, sizeof deep, "%s/no/such/folder.db", folder);
    snellen_recorder *r;
    assert_int_equal(snellen_record_begin(deep, NULL, &START, &r, &err), SNELLEN_E_IO);
    assert_non_null(strstr(err.message, deep));
}

/* A process that is killed in the middle: what it added is there, the run is marked as never finished. */
static void test_killed(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        snellen_recorder *r;
        snellen_number x = {.subject = "s", .metric = "m", .length = -1, .prompt = -1, .layer = -1, .value = 4};
        if (snellen_record_begin(path, NULL, &START, &r, NULL)) _exit(1);
        if (snellen_record_add(r, &x, 1, NULL)) _exit(1);
        _exit(0);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    snellen_run *runs;
    size_t n;
    assert_int_equal(snellen_runs_list(path, &runs, &n, NULL), SNELLEN_OK);
    assert_int_equal(n, 1);
    assert_string_equal(runs[0].status, "running");
    assert_int_equal(runs[0].n_numbers, 1);
    assert_true(isnan(runs[0].wall));
    snellen_free(runs);
}

/* Several writers at once wait for each other; no number is lost. */
static void test_writers(void **state)
{
    (void)state;
    enum { WRITERS = 4, NUMBERS = 10 };
    pid_t children[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            write_run(NUMBERS, "done");
            _exit(0);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        int how;
        waitpid(children[i], &how, 0);
        assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }
    snellen_run *runs;
    size_t n;
    assert_int_equal(snellen_runs_list(path, &runs, &n, NULL), SNELLEN_OK);
    assert_int_equal(n, WRITERS);
    for (size_t i = 0; i < n; i++) assert_int_equal(runs[i].n_numbers, NUMBERS);
    snellen_free(runs);
}

static void set_pragma(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_versions(void **state)
{
    (void)state;
    write_run(1, "done");
    snellen_run *runs;
    size_t n;
    snellen_error err;
    set_pragma("PRAGMA user_version = 2");
    assert_int_equal(snellen_runs_list(path, &runs, &n, &err), SNELLEN_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "newer"));
    set_pragma("PRAGMA user_version = -5");
    assert_int_equal(snellen_runs_list(path, &runs, &n, &err), SNELLEN_E_FORMAT);
    set_pragma("PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert_int_equal(snellen_runs_list(path, &runs, &n, &err), SNELLEN_E_FORMAT);
    snellen_recorder *r;
    assert_int_equal(snellen_record_begin(path, NULL, &START, &r, &err), SNELLEN_E_FORMAT);
}

/* Every byte of the file overwritten in turn, in strides, and cuts: an error or a sane list, never a crash. */
static void test_damage(void **state)
{
    (void)state;
    write_run(40, "done");
    char *whole;
    size_t size;
    assert_int_equal(file_read(path, 1 << 24, &whole, &size, NULL), SNELLEN_OK);
    unsigned refused = 0, tries = 0;
    struct rng rng;
    rng_seed(&rng, 1, 0);
    for (size_t i = 0; i < 150; i++, tries++) {
        char *copy;
        snellen_error err;
        assert_int_equal(mem_new(&copy, size, 1, "copy", &err), SNELLEN_OK);
        memcpy(copy, whole, size);
        size_t n = i % 3 == 2 ? rng_below(&rng, size) : size;
        if (i % 3 < 2)
            for (int k = 0; k < 20; k++) copy[rng_below(&rng, i % 3 ? size : 4096)] = (char)rng_u64(&rng);
        assert_int_equal(file_write_atomic(path, copy, n, &err), SNELLEN_OK);
        mem_free(copy);
        snellen_run *runs, *run;
        snellen_number *x;
        size_t count;
        snellen_status status = snellen_runs_list(path, &runs, &count, &err);
        if (!status) snellen_free(runs);
        refused += status != SNELLEN_OK;
        assert_true(!status || err.message[0]);
        if (!snellen_runs_show(path, 1, &run, &x, &count, &err)) {
            snellen_free(run);
            snellen_free(x);
        }
    }
    assert_true(refused > 0 && refused < tries);
    mem_free(whole);
    assert_int_equal(file_write_atomic(path, "this is no database at all, but a text file", 43, NULL), SNELLEN_OK);
    snellen_run *runs;
    size_t count;
    snellen_error err;
    assert_int_equal(snellen_runs_list(path, &runs, &count, &err), SNELLEN_E_FORMAT);
}

static void test_place(void **state)
{
    (void)state;
    char home[160];
    snprintf(home, sizeof home, "%s/data", folder);
    setenv("XDG_DATA_HOME", home, 1);
    unsetenv("SNELLEN_DB");
    snellen_recorder *r;
    assert_int_equal(snellen_record_begin(NULL, NULL, &START, &r, NULL), SNELLEN_OK);
    assert_int_equal(snellen_record_finish(r, "done", NULL), SNELLEN_OK);
    char expected[256];
    snprintf(expected, sizeof expected, "%s/snellen/runs.db", home);
    assert_true(file_exists(expected));
    setenv("SNELLEN_DB", path, 1);
    assert_int_equal(snellen_record_begin(NULL, NULL, &START, &r, NULL), SNELLEN_OK);
    assert_int_equal(snellen_record_finish(r, "done", NULL), SNELLEN_OK);
    assert_true(file_exists(path));
    unsetenv("SNELLEN_DB");
    unsetenv("XDG_DATA_HOME");
}

#define STORE_TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(test_round_trip), STORE_TEST(test_delete),   STORE_TEST(test_missing), STORE_TEST(test_killed),
        STORE_TEST(test_writers),    STORE_TEST(test_versions), STORE_TEST(test_damage),  STORE_TEST(test_place),
    };
    return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
