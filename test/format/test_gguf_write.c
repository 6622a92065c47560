/* Writing GGUF files: what is written is read again, unfinished files leave nothing, a full disk is an error, wrong use
 * is refused. */
#include "format/format.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static snellen_error err;

static const struct tensor two[] = {
    {.name = "token_embd.weight", .type = DT_F32, .n_dims = 2, .shape = {2, 3}},
    {.name = "blk.0.q", .type = DT_Q8_0, .n_dims = 2, .shape = {1, 64}},
};

static struct gguf_writer *new_writer(const char *path)
{
    struct gguf_writer *w = NULL;
    if (gguf_writer_new(path, &w, &err)) fail_msg("%s", err.message);
    gguf_put_text(w, "general.architecture", "llama");
    return w;
}

static void writes_what_is_read_again(void **state)
{
    (void)state;
    unlink("written.gguf");
    struct gguf_writer *w = new_writer("written.gguf");
    gguf_put_int(w, "a.count", UINT32_MAX);
    gguf_put_float(w, "a.real", 0.1);
    gguf_put_bool(w, "a.yes", true);
    gguf_put_bytes(w, "a.bytes", "x\0y", 3);
    gguf_put_array(w, "a.texts", GGUF_WRITES_TEXT, 2);
    gguf_add_text(w, "one", 3);
    gguf_add_text(w, "", 0);
    gguf_put_array(w, "a.ints", GGUF_WRITES_INT, 2);
    gguf_add_int(w, -7);
    gguf_add_int(w, 7);
    gguf_put_array(w, "a.reals", GGUF_WRITES_FLOAT, 1);
    gguf_add_float(w, -0.5f);
    gguf_put_array(w, "a.none", GGUF_WRITES_TEXT, 0);
    gguf_put_array(w, "a.flags", GGUF_WRITES_BOOL, 1);
    gguf_add_bool(w, true);
    assert_int_equal(gguf_writer_shapes(w, two, 2, &err), SNELLEN_OK);
    const float values[6] = {1, 2, 3, 4, 5, 6};
    uint8_t row[68];
    for (size_t i = 0; i < sizeof row; i++) row[i] = (uint8_t)i;
    assert_int_equal(gguf_writer_put(w, 1, 0, row, sizeof row, &err), SNELLEN_OK);
    assert_int_equal(gguf_writer_put(w, 0, 12, values + 3, 12, &err), SNELLEN_OK);
    assert_int_equal(gguf_writer_put(w, 0, 0, values, 12, &err), SNELLEN_OK);
    assert_int_equal(access("written.gguf", F_OK), -1);
    assert_int_equal(gguf_writer_commit(w, &err), SNELLEN_OK);

    struct gguf *g;
    const struct tensor *t;
    if (gguf_open("written.gguf", &g, &err)) fail_msg("%s", err.message);
    assert_int_equal(gguf_tensors(g, &t), 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(t[i].name, two[i].name);
        assert_int_equal(t[i].type, two[i].type);
        assert_int_equal(t[i].shape[0], two[i].shape[0]);
        assert_int_equal(t[i].shape[1], two[i].shape[1]);
    }
    assert_memory_equal(t[0].data, values, sizeof values);
    assert_memory_equal(t[1].data, row, sizeof row);
    int64_t i;
    double x;
    bool flag;
    const char *text;
    size_t n;
    uint64_t count;
    assert_true(gguf_int(g, "a.count", &i) && i == UINT32_MAX);
    assert_true(gguf_float(g, "a.real", &x) && x == (double)0.1f);
    assert_true(gguf_bool(g, "a.yes", &flag) && flag);
    assert_true(gguf_text(g, "a.bytes", &text, &n) && n == 3 && !memcmp(text, "x\0y", 3));
    assert_true(gguf_array(g, "a.texts", &count) && count == 2);
    assert_true(gguf_array_text(g, "a.texts", 0, &text, &n) && n == 3 && !memcmp(text, "one", 3));
    assert_true(gguf_array_text(g, "a.texts", 1, &text, &n) && n == 0);
    assert_true(gguf_array_int(g, "a.ints", 0, &i) && i == -7);
    assert_true(gguf_array_float(g, "a.reals", 0, &x) && x == -0.5);
    assert_true(gguf_array(g, "a.none", &count) && count == 0);
    gguf_close(g);
}

static void records_pass_from_file_to_file(void **state)
{
    (void)state;
    struct gguf *from, *to;
    struct gguf_writer *w;
    const uint8_t *bytes;
    uint64_t n;
    if (gguf_open("written.gguf", &from, &err)) fail_msg("%s", err.message);
    assert_int_equal(gguf_writer_new("copied.gguf", &w, &err), SNELLEN_OK);
    for (size_t i = 0; gguf_record(from, i, &bytes, &n); i++) gguf_put_record(w, bytes, n);
    assert_int_equal(gguf_writer_shapes(w, NULL, 0, &err), SNELLEN_OK);
    assert_int_equal(gguf_writer_commit(w, &err), SNELLEN_OK);
    if (gguf_open("copied.gguf", &to, &err)) fail_msg("%s", err.message);
    size_t i = 0;
    for (; gguf_record(from, i, &bytes, &n); i++) {
        const uint8_t *other;
        uint64_t m;
        assert_true(gguf_record(to, i, &other, &m));
        assert_int_equal(n, m);
        assert_memory_equal(bytes, other, n);
    }
    assert_int_equal(i, 10);
    assert_false(gguf_record(to, i, &bytes, &n));
    gguf_close(from);
    gguf_close(to);
}

/* Files that begin like `name` in the working folder. */
static int files_like(const char *name)
{
    char command[128];
    snprintf(command, sizeof command, "ls | grep -c '^%s'", name);
    FILE *p = popen(command, "r");
    int n = -1;
    assert_true(p && fscanf(p, "%d", &n) == 1);
    pclose(p);
    return n;
}

static void leaves_nothing_of_unfinished_files(void **state)
{
    (void)state;
    struct gguf_writer *w = new_writer("partial.gguf");
    assert_int_equal(files_like("partial"), 1);
    assert_int_equal(gguf_writer_shapes(w, two, 2, &err), SNELLEN_OK);
    assert_int_equal(gguf_writer_put(w, 0, 0, "abcd", 4, &err), SNELLEN_OK);
    assert_int_equal(gguf_writer_put(w, 0, 22, "abcd", 4, &err), SNELLEN_E_INTERNAL);
    assert_int_equal(gguf_writer_commit(w, &err), SNELLEN_E_INTERNAL);
    assert_non_null(strstr(err.message, "4 of 92 bytes were given"));
    assert_int_equal(files_like("partial"), 0);
    gguf_writer_abort(new_writer("partial.gguf"));
    assert_int_equal(files_like("partial"), 0);
}

static void says_that_a_disk_is_full(void **state)
{
    (void)state;
    const struct tensor big = {.name = "x", .type = DT_F32, .n_dims = 1, .shape = {1 << 20}};
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1000;
    struct gguf_writer *w = new_writer("full.gguf");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    snellen_status status = gguf_writer_shapes(w, &big, 1, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, SNELLEN_E_IO);
    assert_non_null(strstr(err.message, "full.gguf: cannot be written"));
    gguf_writer_abort(w);
    assert_int_equal(files_like("full"), 0);
    assert_int_equal(gguf_writer_new("no/such/folder/x", &w, &err), SNELLEN_E_IO);
}

static void expect_refusal(struct gguf_writer *w, const struct tensor *tensors, size_t n, const char *why)
{
    assert_int_not_equal(gguf_writer_shapes(w, tensors, n, &err), SNELLEN_OK);
    if (!strstr(err.message, why)) fail_msg("%s", err.message);
    gguf_writer_abort(w);
}

static void refuses_what_cannot_be_written(void **state)
{
    (void)state;
    const struct tensor twice[] = {two[0], two[0]};
    const struct tensor cut = {.name = "x", .type = DT_Q8_0, .n_dims = 1, .shape = {33}};
    const struct tensor unnamed = {.name = "", .type = DT_F32, .n_dims = 1, .shape = {1}};
    const struct tensor huge[] = {
        {.name = "x", .type = DT_F32, .n_dims = 1, .shape = {INT64_MAX / 8}},
        {.name = "y", .type = DT_F32, .n_dims = 1, .shape = {INT64_MAX / 8}},
    };
    expect_refusal(new_writer("wrong.gguf"), twice, 2, "'token_embd.weight' is there twice");
    expect_refusal(new_writer("wrong.gguf"), &cut, 1, "'x'");
    expect_refusal(new_writer("wrong.gguf"), &unnamed, 1, "no such name");
    expect_refusal(new_writer("wrong.gguf"), huge, 2, "larger than any file");
    struct gguf_writer *w = new_writer("wrong.gguf");
    gguf_put_int(w, "general.architecture", 1);
    expect_refusal(w, NULL, 0, "'general.architecture' is there twice");
    w = new_writer("wrong.gguf");
    gguf_put_int(w, "x", -1);
    expect_refusal(w, NULL, 0, "no 32-bit");
    w = new_writer("wrong.gguf");
    gguf_put_array(w, "x", GGUF_WRITES_INT, 2);
    gguf_add_int(w, 1);
    expect_refusal(w, NULL, 0, "fewer elements");
    w = new_writer("wrong.gguf");
    gguf_put_array(w, "x", GGUF_WRITES_INT, 1);
    gguf_add_int(w, 1);
    gguf_add_int(w, 2);
    expect_refusal(w, NULL, 0, "more elements");
    assert_int_equal(files_like("wrong"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_is_read_again),
        cmocka_unit_test(records_pass_from_file_to_file),
        cmocka_unit_test(leaves_nothing_of_unfinished_files),
        cmocka_unit_test(says_that_a_disk_is_full),
        cmocka_unit_test(refuses_what_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
