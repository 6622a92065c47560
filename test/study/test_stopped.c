/* An exam that is stopped and goes on says what an unbroken one says; exams of several models stand side by side. The model is one of
 * two layers over characters, trained for three steps here: it knows nothing, and that is enough. */
#include "test/test.h"

#include <dirent.h>
#include <jansson.h>
#include <unistd.h>

static char folder[64];
static snellen_model *model;

static const char *in_folder(const char *name)
{
    static char path[4][512];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static int make_model(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/snellen-stopped-XXXXXX");
    if (!mkdtemp(folder)) return 1;
    FILE *text = fopen(in_folder("ascii.txt"), "w"), *study = fopen(in_folder("tiny.yaml"), "w");
    if (!text || !study) return 1;
    for (int i = 0; i < 40 * 95; i++) fputc(' ' + i % 95, text);
    fprintf(study, "model: {arch: llama, layers: 2, width: 32, heads: 1, vocab: chars, context: 4096}\n"
                   "data: {text: %s, length: 64}\n"
                   "train: {steps: 3, batch: 4, lr: 1e-3}\n", in_folder("ascii.txt"));
    if (fclose(text) || fclose(study)) return 1;
    const snellen_train_options options = {.study = in_folder("tiny.yaml"), .folder = in_folder("run"), .database = "", .n_threads = 1};
    snellen_trained *trained;
    size_t n;
    snellen_error err;
    if (snellen_train(&options, NULL, &trained, &n, &err)) return 1;
    snellen_free(trained);
    return snellen_model_load(in_folder("run/model"), &model, &err) != SNELLEN_OK;
}

static int drop_model(void **state)
{
    (void)state;
    char command[128];
    snellen_model_free(model);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* Says stop at the n-th call; 0 = never. */
struct countdown {
    int left;
};

static bool count_down(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct countdown *c = user;
    (void)what;
    assert_true(done <= total);
    return !c->left || --c->left;
}

static snellen_checkup_options options_into(const char *name)
{
    snellen_checkup_options o = snellen_checkup_options_default();
    o.folder = in_folder(name);
    o.database = "";
    o.model_name = "tiny";
    o.full = true;
    o.n_prompts = 1;
    o.session.n_threads = 1;
    return o;
}

static json_t *exam(const snellen_checkup_options *o, int stop_at, bool *continued)
{
    struct countdown c = {stop_at};
    const snellen_progress progress = {count_down, &c};
    snellen_checkup *result;
    snellen_error err = {0};
    snellen_status status = snellen_checkup_run(model, o, &progress, &result, &err);
    if (status && status != SNELLEN_E_CANCELLED) fail_msg("%s", err.message);
    assert_non_null(result);
    assert_int_equal(result->complete, !status);
    *continued = result->continued;
    json_t *json = status ? NULL : json_loads(result->json, 0, NULL);
    assert_true(status || json);
    snellen_checkup_free(result);
    return json;
}

/* Numbers within 1e-3 (questions stand in another order), everything else equal. */
static void expect_alike(const json_t *a, const json_t *b)
{
    assert_int_equal(json_typeof(a), json_typeof(b));
    if (json_is_array(a)) {
        assert_int_equal(json_array_size(a), json_array_size(b));
        for (size_t i = 0; i < json_array_size(a); i++) expect_alike(json_array_get(a, i), json_array_get(b, i));
    } else if (json_is_object(a)) {
        const char *key;
        json_t *value;
        assert_int_equal(json_object_size(a), json_object_size(b));
        void *at = json_object_iter((json_t *)(uintptr_t)a);
        for (; at; at = json_object_iter_next((json_t *)(uintptr_t)a, at)) {
            key = json_object_iter_key(at);
            value = json_object_iter_value(at);
            assert_non_null(json_object_get(b, key));
            expect_alike(value, json_object_get(b, key));
        }
    } else if (json_is_real(a)) {
        assert_true(fabs(json_real_value(a) - json_real_value(b)) < 1e-3);
    } else {
        assert_true(json_equal(a, b));
    }
}

/* The one file of a stopped exam in a folder; false = there is none. */
static bool state_file(const char *place, char *path, size_t size)
{
    DIR *dir = opendir(place);
    bool found = false;
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir));) {
        if (strncmp(e->d_name, "stopped-", 8)) continue;
        assert_false(found);
        found = snprintf(path, size, "%s/%s", place, e->d_name) < (int)size;
    }
    closedir(dir);
    return found;
}

/* A full exam reads ones through a q8_0 cache as well, where the heads are wide enough; the other sequences not. */
static void expect_small_cache(const json_t *collapses)
{
    int found = 0;
    for (size_t i = 0; i < json_array_size(collapses); i++) {
        const json_t *k = json_array_get(collapses, i);
        if (strcmp(json_string_value(json_object_get(k, "precision")), "q8_0")) continue;
        assert_string_equal(json_string_value(json_object_get(k, "sequence")), "ones");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(k, "bits_differ"), "longest_tried")), 2001);
        assert_true(json_is_object(json_object_get(k, "kept")));
        found++;
    }
    assert_int_equal(found, 1);
}

static void test_goes_on(void **state)
{
    (void)state;
    static const int stops[] = {1, 900};
    char path[1024];
    bool continued;
    snellen_checkup_options o = options_into("whole");
    json_t *whole = exam(&o, 0, &continued);
    assert_false(continued);
    assert_false(state_file(o.folder, path, sizeof path));
    o = options_into("stopped");
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        assert_null(exam(&o, stops[i], &continued));
        assert_int_equal(continued, i > 0);
        assert_true(state_file(o.folder, path, sizeof path));
    }
    json_t *parts = exam(&o, 0, &continued);
    assert_true(continued);
    assert_false(state_file(o.folder, path, sizeof path));
    expect_small_cache(json_object_get(whole, "collapse"));
    expect_alike(json_object_get(whole, "collapse"), json_object_get(parts, "collapse"));
    expect_alike(json_object_get(whole, "tasks"), json_object_get(parts, "tasks"));
    assert_true(json_array_size(json_object_get(whole, "tasks")) > 30);
    json_decref(whole);
    json_decref(parts);
}

/* A file that was changed is refused by name; another exam does not take it for its own. */
static void test_changed(void **state)
{
    (void)state;
    char path[1024];
    bool continued;
    snellen_checkup_options o = options_into("changed");
    o.only = "collapse";
    assert_null(exam(&o, 5, &continued));
    assert_true(state_file(o.folder, path, sizeof path));
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, 60, SEEK_SET), 0);
    int byte = fgetc(f);
    assert_int_equal(fseek(f, 60, SEEK_SET), 0);
    fputc(byte ^ 1, f);
    assert_int_equal(fclose(f), 0);
    snellen_checkup *result;
    snellen_error err = {0};
    assert_int_equal(snellen_checkup_run(model, &o, NULL, &result, &err), SNELLEN_E_FORMAT);
    assert_non_null(strstr(err.message, "checksum"));
    assert_non_null(strstr(err.message, "stopped-"));
    o.seed = 2;
    assert_null(exam(&o, 5, &continued));
    assert_false(continued);
}

static void test_side_by_side(void **state)
{
    (void)state;
    const snellen_model *models[] = {model, model};
    const char *const names[] = {"first", "the same/again"};
    snellen_checkup_options o = options_into("beside");
    o.full = false;
    o.budget = 1;
    snellen_checkup *result;
    MUST(snellen_checkup_compare(models, names, 2, &o, NULL, &result, err));
    assert_true(result->complete);
    json_t *json = json_loads(result->json, 0, NULL), *rows = json_object_get(json, "differences");
    assert_int_equal(json_array_size(json_object_get(json, "exams")), 2);
    assert_true(json_array_size(rows) >= 8);
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const char *again = json_string_value(json_array_get(json_array_get(rows, i), 2));
        assert_int_equal(strncmp(again, "+0.00 (0.00 .. 0.00), right ", 28), 0);
    }
    rows = json_object_get(json, "reach");
    assert_true(json_array_size(rows) >= 10);
    for (size_t i = 0; i < json_array_size(rows); i++)
        assert_true(json_equal(json_array_get(json_array_get(rows, i), 1), json_array_get(json_array_get(rows, i), 2)));
    assert_non_null(strstr(result->summary, "the same/again"));
    assert_int_equal(access(in_folder("beside/2-again/index.html"), R_OK), 0);
    assert_int_equal(access(in_folder("beside/copy-last.png"), R_OK), 0);
    json_decref(json);
    snellen_checkup_free(result);

    MUST_FAIL(SNELLEN_E_USAGE, snellen_checkup_compare(models, names, 1, &o, NULL, &result, err));
    struct countdown c = {300};
    const snellen_progress progress = {count_down, &c};
    MUST_FAIL(SNELLEN_E_CANCELLED, snellen_checkup_compare(models, names, 2, &o, &progress, &result, err));
    assert_non_null(result);
    assert_false(result->complete);
    assert_non_null(strstr(result->summary, "INCOMPLETE"));
    snellen_checkup_free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_goes_on), cmocka_unit_test(test_changed),
                                       cmocka_unit_test(test_side_by_side)};
    return cmocka_run_group_tests_name("stopped", tests, make_model, drop_model);
}
