/* The ground everything stands on: sizes that cannot overflow, errors that keep their message, text, cursors, files that
 * appear whole or not at all, random numbers. argv[1] = folder to write to. */
#include "test/test.h"

#include "base/base.h"

#include <sys/stat.h>
#include <unistd.h>

static const char *folder;

static const char *path_of(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void test_sizes_do_not_overflow(void **state)
{
    (void)state;
    uint64_t x;
    assert_true(size_mul(1u << 31, 1u << 31, &x) && x == (uint64_t)1 << 62);
    assert_false(size_mul((uint64_t)1 << 32, (uint64_t)1 << 32, &x));
    assert_false(size_add(UINT64_MAX, 1, &x));
    assert_true(size_add(UINT64_MAX - 1, 1, &x));
    int64_t *array;
    MUST_FAIL(SNELLEN_E_MEMORY, NEW_ARRAY(&array, (uint64_t)1 << 61, "numbers", err));
    MUST_FAIL(SNELLEN_E_MEMORY, NEW_ARRAY(&array, (uint64_t)1 << 52, "numbers", err));
    MUST(NEW_ARRAY(&array, 1001, "numbers", err));
    assert_int_equal((uintptr_t)array % 64, 0);
    for (int i = 0; i < 1001; i++) assert_int_equal(array[i], 0);
    mem_free(array);
    MUST(NEW_ARRAY(&array, 0, "numbers", err));
    mem_free(array);
    mem_free(NULL);
    assert_true(mem_available() > 1 << 20);
}

static snellen_status fails_below(snellen_error *err)
{
    FAIL_IF(true, SNELLEN_E_FORMAT, "tensor '%s' is cut", "a");
    return SNELLEN_OK;
}

static snellen_status hands_up(snellen_error *err)
{
    TRY(fails_below(err));
    return SNELLEN_E_INTERNAL;
}

static void test_errors_are_values(void **state)
{
    (void)state;
    snellen_error err = {0};
    assert_int_equal(hands_up(&err), SNELLEN_E_FORMAT);
    assert_int_equal(error_prefix(&err, SNELLEN_E_FORMAT, "model.%s", "gguf"), SNELLEN_E_FORMAT);
    assert_string_equal(err.message, "model.gguf: tensor 'a' is cut");
    assert_int_equal(hands_up(NULL), SNELLEN_E_FORMAT);
    assert_int_equal(error_at(&err, SNELLEN_E_IO, 77, "here"), SNELLEN_E_IO);
    assert_int_equal(err.offset, 77);
    char longest[4000];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    error_set(&err, SNELLEN_E_IO, "%s", longest);
    error_prefix(&err, SNELLEN_E_IO, "%s", longest);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
}

static void test_arenas_and_text(void **state)
{
    (void)state;
    struct arena a = {0};
    char *texts[1000];
    for (int i = 0; i < 1000; i++) texts[i] = arena_printf(&a, "%0*d", i, i);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal((uintptr_t)texts[i] % 16, 0);
        assert_int_equal(atoi(texts[i]), i);
    }
    assert_null(arena_alloc(&a, SIZE_MAX / 2 + 10));
    assert_memory_equal(arena_text(&a, "a\0b", 3), "a\0b", 4);
    arena_free(&a);
    struct strbuf b = {0};
    for (int i = 0; i < 5000; i++) strbuf_printf(&b, "%d,", i % 10);
    strbuf_put(&b, "\0", 1);
    char *text;
    size_t n;
    MUST(strbuf_take(&b, &text, &n, err));
    assert_int_equal(n, 10001);
    assert_int_equal(strlen(text), 10000);
    snellen_free(text);
    MUST(strbuf_take(&b, &text, NULL, err));
    assert_string_equal(text, "");
    snellen_free(text);
}

static void test_cursor_stops_at_the_end(void **state)
{
    (void)state;
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct cursor c = {.bytes = bytes, .size = sizeof bytes};
    assert_int_equal(cursor_u16(&c), 0x0201);
    assert_int_equal(cursor_u32(&c), 0x06050403);
    assert_int_equal(cursor_u8(&c), 7);
    assert_int_equal(cursor_u32(&c), 0);
    assert_true(c.failed);
    assert_int_equal(c.failed_at, 7);
    assert_null(cursor_take(&c, 1));
    assert_int_equal(c.failed_at, 7);
    struct cursor huge = {.bytes = bytes, .size = sizeof bytes, .pos = 5};
    assert_null(cursor_take(&huge, UINT64_MAX));
    assert_true(huge.failed);
}

static void test_files_appear_whole(void **state)
{
    (void)state;
    char *text = NULL;
    size_t n;
    MUST(folder_make(path_of("a/b/c"), err));
    MUST(folder_make(path_of("a/b/c"), err));
    MUST(file_write_atomic(path_of("a/b/c/file"), "hello", 5, err));
    MUST(file_read(path_of("a/b/c/file"), 5, &text, &n, err));
    assert_string_equal(text, "hello");
    mem_free(text);
    MUST_FAIL(SNELLEN_E_FORMAT, file_read(path_of("a/b/c/file"), 4, &text, &n, err));
    MUST_FAIL(SNELLEN_E_IO, file_read(path_of("missing"), 4, &text, &n, err));
    MUST_FAIL(SNELLEN_E_IO, file_read(path_of("a"), 4, &text, &n, err));
    MUST_FAIL(SNELLEN_E_IO, folder_make(path_of("a/b/c/file/d"), err));
    struct atomic_file f;
    MUST(atomic_file_open(&f, path_of("a/b/c/file"), err));
    fputs("half", f.stream);
    atomic_file_abort(&f);
    MUST(file_read(path_of("a/b/c/file"), 5, &text, &n, err));
    assert_string_equal(text, "hello");
    mem_free(text);
    MUST(file_write_atomic(path_of("empty"), "", 0, err));
    struct file_map map;
    MUST(file_map_open(&map, path_of("empty"), err));
    assert_int_equal(map.size, 0);
    file_map_close(&map);
    MUST_FAIL(SNELLEN_E_IO, file_write_atomic("/nonexistent/file", "a", 1, err));
    MUST_FAIL(SNELLEN_E_IO, file_write_atomic("/dev/null", "a", 1, err));
    MUST_FAIL(SNELLEN_E_IO, file_write_atomic(path_of("a"), "a", 1, err));
}

static void test_a_folder_is_held_by_one(void **state)
{
    (void)state;
    int first, second;
    MUST(folder_make(path_of("held"), err));
    MUST(folder_lock(path_of("held"), "busy", &first, err));
    snellen_error refused;
    assert_int_equal(folder_lock(path_of("held"), "busy", &second, &refused), SNELLEN_E_IO);
    assert_non_null(strstr(refused.message, "held: another process is busy"));
    folder_unlock(first);
    MUST(folder_lock(path_of("held"), "busy", &second, err));
    folder_unlock(second);
    MUST_FAIL(SNELLEN_E_IO, folder_lock(path_of("not there"), "busy", &first, err));
}

static void test_random_numbers(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    struct rng a, b, c;
    rng_seed(&a, 7, 1);
    rng_seed(&b, 7, 1);
    rng_seed(&c, 7, 2);
    int equal = 0, count[6] = {0};
    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_u64(&a);
        assert_true(x == rng_u64(&b));
        equal += x == rng_u64(&c);
    }
    assert_int_equal(equal, 0);
    double mean = 0, square = 0, uniform = 0;
    for (int i = 0; i < DRAWS; i++) {
        count[rng_below(&a, 6)]++;
        double z = rng_normal(&a), u = rng_uniform(&a);
        assert_true(u >= 0 && u < 1);
        uniform += u / DRAWS;
        mean += z / DRAWS;
        square += z * z / DRAWS;
    }
    for (int i = 0; i < 6; i++) assert_true(abs(count[i] - DRAWS / 6) < 5 * 118); /* five standard deviations */
    assert_true(fabs(mean) < 0.02 && fabs(square - 1) < 0.03 && fabs(uniform - 0.5) < 0.006);
    assert_int_equal(rng_below(&a, 1), 0);
}

static void test_orders_are_permutations(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {1, 2, 3, 12, 255, 257, 5000};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        uint64_t n = sizes[k], same = 0, moved = 0;
        uint8_t *seen = calloc(n, 2);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t first = order_at(n, i, 7), second = order_at(n, n + i, 7);
            assert_true(first < n && second < n && !seen[first] && !seen[n + second]);
            seen[first] = seen[n + second] = 1;
            same += first == second;
            moved += first != i;
        }
        if (n > 200) assert_true(same < n / 10 && moved > n - n / 10);
        free(seen);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    folder = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_do_not_overflow), cmocka_unit_test(test_errors_are_values),
        cmocka_unit_test(test_arenas_and_text),       cmocka_unit_test(test_cursor_stops_at_the_end),
        cmocka_unit_test(test_files_appear_whole),    cmocka_unit_test(test_a_folder_is_held_by_one),
        cmocka_unit_test(test_random_numbers),        cmocka_unit_test(test_orders_are_permutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
