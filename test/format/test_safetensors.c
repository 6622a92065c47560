/* safetensors files: reading, writing, and what is said of wrong ones. */
#include "format/safetensors.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static snellen_error err;
static const char *golden;

/* The file with this header and n_data counting bytes behind it. */
static uint8_t *file_with(const char *header, size_t n_data, size_t *n)
{
    size_t n_header = strlen(header);
    void *memory;
    *n = 8 + n_header + n_data;
    assert_int_equal(mem_new(&memory, *n, 1, "test", &err), SNELLEN_OK);
    uint8_t *bytes = memory;
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)n_header >> (8 * i));
    memcpy(bytes + 8, header, n_header);
    for (size_t i = 0; i < n_data; i++) bytes[8 + n_header + i] = (uint8_t)(i + 1);
    return bytes;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void reads_a_file_of_another_writer(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s/llama/expected.safetensors", golden);
    struct safetensors *s;
    assert_int_equal(safetensors_open(path, &s, &err), SNELLEN_OK);
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    uint64_t n_bytes;
    assert_true(safetensors_raw(s, "tokens", &type, &n_dims, &shape, &data, &n_bytes));
    assert_string_equal(type, "I64");
    assert_int_equal(n_dims, 1);
    assert_int_equal(shape[0], 23);
    assert_int_equal(n_bytes, 23 * 8);
    int64_t token;
    for (int i = 0; i < 23; i++) {
        memcpy(&token, (const char *)data + i * 8, 8);
        assert_in_range(token, 0, 100);
    }
    assert_false(safetensors_raw(s, "nothing", &type, &n_dims, &shape, &data, &n_bytes));
    /* Whole numbers are in the raw view only; floats in both, with the same bytes. */
    const struct tensor *t;
    size_t n = safetensors_tensors(s, &t);
    bool seen = false;
    for (size_t i = 0; i < n; i++) {
        assert_string_not_equal(t[i].name, "tokens");
        if (strcmp(t[i].name, "logits")) continue;
        seen = true;
        assert_int_equal(t[i].type, DT_F32);
        assert_int_equal(t[i].shape[0], 23);
        assert_int_equal(t[i].shape[1], 101);
        assert_true(safetensors_raw(s, "logits", &type, &n_dims, &shape, &data, &n_bytes));
        assert_ptr_equal(data, t[i].data);
    }
    assert_true(seen);
    safetensors_close(s);
}

static void moves_data_at_odd_addresses(void **state)
{
    (void)state;
    size_t n;
    uint8_t *bytes = file_with("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                               "\"b\":{\"dtype\":\"F16\",\"shape\":[2,1],\"data_offsets\":[1,5]},"
                               "\"none\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[5,5]},"
                               "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[5,9]}}", 9, &n);
    struct safetensors *s;
    const struct tensor *t;
    assert_int_equal(safetensors_parse(bytes, n, "x", &s, &err), SNELLEN_OK);
    assert_int_equal(safetensors_tensors(s, &t), 1);  /* neither scalars nor tensors without elements are weights */
    assert_string_equal(t[0].name, "b");
    assert_int_equal((uintptr_t)t[0].data % 4, 0);
    assert_memory_equal(t[0].data, ((const uint8_t[]){2, 3, 4, 5}), 4);
    safetensors_close(s);
    mem_free(bytes);
}

static void refuses_wrong_files(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t n_data;
        snellen_status status;
        const char *part;
    } wrong[] = {
        {"{", 0, SNELLEN_E_FORMAT, "a header of 1 bytes"},
        {"[]", 0, SNELLEN_E_FORMAT, "does not begin with '{'"},
        {"{\"a\":1}", 0, SNELLEN_E_FORMAT, "'dtype'"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, SNELLEN_E_FORMAT, "'shape'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, SNELLEN_E_FORMAT, "'shape'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, SNELLEN_E_FORMAT, "'shape'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, SNELLEN_E_FORMAT, "'data_offsets'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, SNELLEN_E_FORMAT, "'data_offsets'"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, SNELLEN_E_FORMAT, "8 bytes of data, 4 expected"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, SNELLEN_E_FORMAT, "(file cut short?)"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, SNELLEN_E_FORMAT,
         "multiply to no number"},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1, SNELLEN_E_FORMAT, "multiply to no number"},
        {"{\"a\":{\"dtype\":\"Z9\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, SNELLEN_E_UNSUPPORTED, "'Z9' is unknown"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", 2, SNELLEN_E_FORMAT, "duplicate"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}", 5, SNELLEN_E_FORMAT, "inside that of tensor 'a'"},
        {"{\"a\\u001b[1m\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, SNELLEN_E_FORMAT, "'a?[1m'"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        size_t n;
        uint8_t *bytes = file_with(wrong[i].header, wrong[i].n_data, &n);
        struct safetensors *s;
        snellen_status status = safetensors_parse(bytes, n, "x", &s, &err);
        if (status != wrong[i].status || !strstr(err.message, wrong[i].part))
            fail_msg("%s: status %d, '%s'; '%s' expected", wrong[i].header, status, status ? err.message : "",
                     wrong[i].part);
        mem_free(bytes);
    }
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static const struct safetensors_spec specs[] = {
    {.name = "bytes", .type = "U8", .n_dims = 1, .shape = {3}},
    {.name = "halves", .type = "BF16", .n_dims = 2, .shape = {1, 3}},
    {.name = "floats", .type = "F32", .n_dims = 2, .shape = {2, 3}},
    {.name = "ids", .type = "I64", .n_dims = 1, .shape = {2}},
    {.name = "none", .type = "F32", .n_dims = 2, .shape = {0, 7}},
    {.name = "scalar", .type = "F64", .n_dims = 0},
};

static void new_writer(const char *path, struct safetensors_writer **w)
{
    assert_int_equal(safetensors_writer_new(path, specs, COUNT_OF(specs), w, &err), SNELLEN_OK);
}

static void writes_what_is_read_again(void **state)
{
    (void)state;
    static const char path[] = "written.safetensors";
    static const float floats[6] = {1, 2, 3, 4, 5, 6};
    static const int64_t ids[2] = {-5, 7};
    static const uint16_t halves[3] = {0x3f80, 0x4000, 0x4040};
    static const double scalar = 0.25;
    struct safetensors_writer *w;
    unlink(path);
    new_writer(path, &w);
    /* In any order and any pieces. */
    assert_int_equal(safetensors_writer_put(w, 2, 12, floats + 3, 12, &err), SNELLEN_OK);
    assert_int_equal(safetensors_writer_put(w, 5, 0, &scalar, 8, &err), SNELLEN_OK);
    assert_int_equal(safetensors_writer_put(w, 0, 0, "abc", 3, &err), SNELLEN_OK);
    assert_int_equal(safetensors_writer_put(w, 3, 0, ids, 16, &err), SNELLEN_OK);
    assert_int_equal(safetensors_writer_put(w, 1, 0, halves, 6, &err), SNELLEN_OK);
    assert_int_equal(safetensors_writer_put(w, 2, 0, floats, 12, &err), SNELLEN_OK);
    assert_int_not_equal(safetensors_writer_put(w, 2, 20, floats, 8, &err), SNELLEN_OK);
    assert_int_not_equal(safetensors_writer_put(w, 9, 0, floats, 8, &err), SNELLEN_OK);
    assert_false(file_exists(path));
    assert_int_equal(safetensors_writer_commit(w, &err), SNELLEN_OK);
    struct safetensors *s;
    assert_int_equal(safetensors_open(path, &s, &err), SNELLEN_OK);
    const void *expected[] = {"abc", halves, floats, ids, "", &scalar};
    for (size_t i = 0; i < COUNT_OF(specs); i++) {
        const char *type;
        int n_dims;
        const int64_t *shape;
        const void *data;
        uint64_t n_bytes;
        assert_true(safetensors_raw(s, specs[i].name, &type, &n_dims, &shape, &data, &n_bytes));
        assert_string_equal(type, specs[i].type);
        assert_int_equal(n_dims, specs[i].n_dims);
        assert_memory_equal(shape, specs[i].shape, (size_t)n_dims * sizeof *shape);
        assert_memory_equal(data, expected[i], n_bytes);
    }
    const struct tensor *t;
    assert_int_equal(safetensors_tensors(s, &t), 2);
    safetensors_close(s);
    unlink(path);
}

/* How many files in this folder begin with `prefix`. */
static int files_like(const char *prefix)
{
    char command[256];
    snprintf(command, sizeof command, "ls | grep -c '^%s'", prefix);
    FILE *p = popen(command, "r");
    int n = -1;
    assert_true(p && fscanf(p, "%d", &n) == 1);
    pclose(p);
    return n;
}

static void leaves_nothing_of_unfinished_files(void **state)
{
    (void)state;
    struct safetensors_writer *w;
    unlink("partial.safetensors");
    new_writer("aborted.safetensors", &w);
    assert_int_equal(files_like("aborted"), 1);
    safetensors_writer_abort(w);
    assert_int_equal(files_like("aborted"), 0);
    new_writer("partial.safetensors", &w);
    assert_int_equal(safetensors_writer_put(w, 0, 0, "abc", 3, &err), SNELLEN_OK);
    assert_int_not_equal(safetensors_writer_commit(w, &err), SNELLEN_OK);
    assert_non_null(strstr(err.message, "3 of 57 bytes were given"));
    assert_int_equal(files_like("partial"), 0);
}

static void says_that_a_disk_is_full(void **state)
{
    (void)state;
    const struct safetensors_spec big = {.name = "x", .type = "U8", .n_dims = 1, .shape = {1 << 20}};
    struct rlimit old, small;
    struct safetensors_writer *w;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    snellen_status early = safetensors_writer_new("full.safetensors", &big, 1, &w, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(early, SNELLEN_E_IO);
    assert_non_null(strstr(err.message, "full.safetensors: cannot be written"));
    assert_int_equal(files_like("full"), 0);
    /* Room that goes away later shows at the write. */
    assert_int_equal(safetensors_writer_new("full.safetensors", &big, 1, &w, &err), SNELLEN_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    char zeros[4096] = {0};
    snellen_status late = safetensors_writer_put(w, 0, 0, zeros, sizeof zeros, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(late, SNELLEN_E_IO);
    safetensors_writer_abort(w);
    assert_int_equal(files_like("full"), 0);
    assert_int_equal(safetensors_writer_new("no/such/folder/x", &big, 1, &w, &err), SNELLEN_E_IO);
}

static void refuses_what_cannot_be_written(void **state)
{
    (void)state;
    const struct safetensors_spec wrong[][2] = {
        {{.name = "x", .type = "Q4", .n_dims = 1, .shape = {1}}},
        {{.name = "", .type = "U8", .n_dims = 1, .shape = {1}}},
        {{.name = "\xff\xfe", .type = "U8", .n_dims = 1, .shape = {1}}},
        {{.name = "x", .type = "U8", .n_dims = 1, .shape = {-1}}},
        {{.name = "x", .type = "F64", .n_dims = 2, .shape = {INT64_MAX, INT64_MAX}}},
        {{.name = "x", .type = "U8", .n_dims = 1, .shape = {1}}, {.name = "x", .type = "U8", .n_dims = 1, .shape = {1}}},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct safetensors_writer *w;
        assert_int_equal(safetensors_writer_new("wrong", wrong[i], wrong[i][1].name ? 2 : 1, &w, &err), SNELLEN_E_USAGE);
    }
    assert_int_equal(files_like("wrong"), 0);
}

int main(int argc, char **argv)
{
    golden = argc > 1 ? argv[1] : ".";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_file_of_another_writer),
        cmocka_unit_test(moves_data_at_odd_addresses),
        cmocka_unit_test(refuses_wrong_files),
        cmocka_unit_test(writes_what_is_read_again),
        cmocka_unit_test(leaves_nothing_of_unfinished_files),
        cmocka_unit_test(says_that_a_disk_is_full),
        cmocka_unit_test(refuses_what_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
