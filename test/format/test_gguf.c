/* GGUF files: what is read from good ones, and what is said of wrong ones. */
#include "gguf_bytes.h"

#include "format/format.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static snellen_error err;

/* ---- good files -------------------------------------------------------------------------------------------------- */

static void reads_every_kind_of_value(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    const int8_t i8 = -100;
    const uint16_t u16 = 60000;
    const int64_t i64 = INT64_MIN;
    const uint64_t u64 = UINT64_MAX;
    const double f64 = 1e300;
    gguf_bytes_key(&b, "u8", GGUF_U8, "\xc8", 1);
    gguf_bytes_key(&b, "i8", GGUF_I8, &i8, 1);
    gguf_bytes_key(&b, "u16", GGUF_U16, &u16, 2);
    gguf_bytes_key(&b, "i64", GGUF_I64, &i64, 8);
    gguf_bytes_key(&b, "u64", GGUF_U64, &u64, 8);
    gguf_bytes_key(&b, "f64", GGUF_F64, &f64, 8);
    gguf_bytes_u32(&b, "u32", 4000000000u);
    gguf_bytes_f32(&b, "f32", 2.5f);
    gguf_bytes_f32(&b, "whole", 3.0f);
    gguf_bytes_bool(&b, "yes", true);
    gguf_bytes_text(&b, "text", "gr\xc3\xbc\xc3\x9f");
    size_t n;
    uint8_t *bytes = gguf_bytes_finish(&b, &n);
    struct gguf *g;
    assert_int_equal(gguf_parse(bytes, n, "x", &g, &err), SNELLEN_OK);
    int64_t whole;
    double real;
    bool yes = false;
    const char *text;
    size_t n_text;
    assert_true(gguf_int(g, "u8", &whole) && whole == 200);
    assert_true(gguf_int(g, "i8", &whole) && whole == -100);
    assert_true(gguf_int(g, "u16", &whole) && whole == 60000);
    assert_true(gguf_int(g, "i64", &whole) && whole == INT64_MIN);
    assert_true(gguf_int(g, "u32", &whole) && whole == 4000000000);
    assert_true(gguf_int(g, "whole", &whole) && whole == 3);
    assert_true(gguf_float(g, "u32", &real) && real == 4e9);
    assert_true(gguf_float(g, "f32", &real) && real == 2.5);
    assert_true(gguf_float(g, "f64", &real) && real == 1e300);
    assert_true(gguf_bool(g, "yes", &yes) && yes);
    assert_true(gguf_text(g, "text", &text, &n_text));
    assert_memory_equal(text, "gr\xc3\xbc\xc3\x9f", 6);
    assert_int_equal(n_text, 6);
    /* What does not fit the kind that is asked for is not given. */
    assert_false(gguf_int(g, "u64", &whole));
    assert_false(gguf_int(g, "f32", &whole));
    assert_false(gguf_int(g, "f64", &whole));
    assert_false(gguf_int(g, "text", &whole));
    assert_false(gguf_int(g, "yes", &whole));
    assert_false(gguf_bool(g, "u8", &yes));
    assert_false(gguf_float(g, "missing", &real));
    const char *key;
    size_t n_key;
    assert_true(gguf_key(g, 10, &key, &n_key) && n_key == 4 && !memcmp(key, "text", 4));
    assert_false(gguf_key(g, 11, &key, &n_key));
    gguf_close(g);
    mem_free(bytes);
}

static void reads_arrays(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    struct strbuf v = {0};
    static const char *const texts[] = {"one", "", "three"};
    put_u32(&v, GGUF_TEXT);
    put_u64(&v, 3);
    for (int i = 0; i < 3; i++) put_text(&v, texts[i]);
    gguf_bytes_key(&b, "texts", GGUF_ARRAY, v.text, v.n);
    strbuf_free(&v);
    put_u32(&v, GGUF_ARRAY);  /* [["a"], [7]]: walked over */
    put_u64(&v, 2);
    put_u32(&v, GGUF_TEXT);
    put_u64(&v, 1);
    put_text(&v, "a");
    put_u32(&v, GGUF_U32);
    put_u64(&v, 1);
    put_u32(&v, 7);
    gguf_bytes_key(&b, "nested", GGUF_ARRAY, v.text, v.n);
    strbuf_free(&v);
    gguf_bytes_u32_array(&b, "numbers", (const uint32_t[]){5, 6, 7}, 3);
    gguf_bytes_u32_array(&b, "none", NULL, 0);
    gguf_bytes_u32(&b, "last", 9);
    size_t n, n_text;
    uint8_t *bytes = gguf_bytes_finish(&b, &n);
    struct gguf *g;
    assert_int_equal(gguf_parse(bytes, n, "x", &g, &err), SNELLEN_OK);
    uint64_t count;
    const char *text;
    int64_t whole;
    double real;
    assert_true(gguf_array(g, "texts", &count) && count == 3);
    for (uint64_t i = 0; i < 3; i++) {
        assert_true(gguf_array_text(g, "texts", i, &text, &n_text));
        assert_int_equal(n_text, strlen(texts[i]));
        assert_memory_equal(text, texts[i], n_text);
    }
    assert_false(gguf_array_text(g, "texts", 3, &text, &n_text));
    assert_false(gguf_array_int(g, "texts", 0, &whole));
    assert_true(gguf_array(g, "numbers", &count) && count == 3);
    assert_true(gguf_array_int(g, "numbers", 2, &whole) && whole == 7);
    assert_true(gguf_array_float(g, "numbers", 0, &real) && real == 5);
    assert_false(gguf_array_int(g, "numbers", 3, &whole));
    assert_true(gguf_array(g, "none", &count) && count == 0);
    assert_true(gguf_array(g, "nested", &count) && count == 2);
    assert_false(gguf_array_int(g, "nested", 0, &whole));
    assert_true(gguf_int(g, "last", &whole) && whole == 9);
    assert_false(gguf_array(g, "last", &count));
    gguf_close(g);
    mem_free(bytes);
}

static void reads_tensors(uint32_t version, uint64_t alignment)
{
    struct gguf_bytes b = {.version = version, .alignment = alignment};
    float matrix[6] = {0, 1, 2, 3, 4, 5};
    uint8_t blocks[36];
    for (size_t i = 0; i < sizeof blocks; i++) blocks[i] = (uint8_t)i;
    if (alignment) gguf_bytes_u32(&b, "general.alignment", (uint32_t)alignment);
    gguf_bytes_tensor(&b, "matrix", GGML_F32, 2, (const uint64_t[]){3, 2}, matrix, sizeof matrix);
    gguf_bytes_tensor(&b, "blocks", GGML_Q4_0, 4, (const uint64_t[]){32, 2, 1, 1}, blocks, sizeof blocks);
    size_t n;
    uint8_t *bytes = gguf_bytes_finish(&b, &n);
    struct gguf *g;
    assert_int_equal(gguf_parse(bytes, n, "x", &g, &err), SNELLEN_OK);
    const struct tensor *t;
    assert_int_equal(gguf_tensors(g, &t), 2);
    assert_string_equal(t[0].name, "matrix");
    assert_int_equal(t[0].type, DT_F32);
    assert_int_equal(t[0].n_dims, 2);
    assert_int_equal(t[0].shape[0], 2);  /* outermost first */
    assert_int_equal(t[0].shape[1], 3);
    assert_int_equal(t[0].n_bytes, sizeof matrix);
    assert_memory_equal(t[0].data, matrix, sizeof matrix);
    assert_int_equal(t[1].type, DT_Q4_0);
    assert_int_equal(t[1].shape[3], 32);
    assert_int_equal(t[1].shape[2], 2);
    assert_int_equal(t[1].n_bytes, 36);
    assert_memory_equal(t[1].data, blocks, sizeof blocks);
    gguf_close(g);
    mem_free(bytes);
}

static void reads_both_versions_and_other_alignments(void **state)
{
    (void)state;
    reads_tensors(2, 0);
    reads_tensors(3, 0);
    reads_tensors(3, 8);
    reads_tensors(3, 4096);
}

static void opens_files(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    gguf_bytes_model(&b, "llama");
    size_t n;
    uint8_t *bytes = gguf_bytes_finish(&b, &n);
    char path[] = "test_gguf.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes, n) == (ssize_t)n && !close(fd));
    struct gguf *g;
    assert_int_equal(gguf_open(path, &g, &err), SNELLEN_OK);
    gguf_close(g);
    assert_int_equal(truncate(path, (off_t)n - 4), 0);
    assert_int_equal(gguf_open(path, &g, &err), SNELLEN_E_FORMAT);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(gguf_open(path, &g, &err), SNELLEN_E_FORMAT);
    unlink(path);
    assert_int_equal(gguf_open(path, &g, &err), SNELLEN_E_IO);
    assert_non_null(strstr(err.message, path));
    mem_free(bytes);
}

/* ---- wrong files ------------------------------------------------------------------------------------------------- */

static void expect_refusal(struct gguf_bytes *b, snellen_status status, const char *part)
{
    size_t n;
    uint8_t *bytes = gguf_bytes_finish(b, &n);
    struct gguf *g;
    assert_int_equal(gguf_parse(bytes, n, "model.gguf", &g, &err), status);
    if (!strstr(err.message, part)) fail_msg("'%s' expected in '%s'", part, err.message);
    assert_memory_equal(err.message, "model.gguf: ", 12);
    mem_free(bytes);
}

static void refuses_other_versions_and_orders(void **state)
{
    (void)state;
    struct gguf_bytes b = {.version = 1};
    expect_refusal(&b, SNELLEN_E_UNSUPPORTED, "GGUF version 1, 2 or 3 expected");
    b.version = 4;
    expect_refusal(&b, SNELLEN_E_UNSUPPORTED, "GGUF version 4");
    b.version = 3u << 24;
    expect_refusal(&b, SNELLEN_E_UNSUPPORTED, "big-endian");
    struct gguf *g;
    static const uint8_t other[64] __attribute__((aligned(8))) = "GGML";
    assert_int_equal(gguf_parse(other, sizeof other, "x", &g, &err), SNELLEN_E_FORMAT);
    assert_non_null(strstr(err.message, "not a GGUF file"));
}

static void refuses_names_that_stand_twice(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    gguf_bytes_u32(&b, "same", 1);
    gguf_bytes_u32(&b, "same", 1);
    expect_refusal(&b, SNELLEN_E_FORMAT, "key 'same' is there twice");
    float x[8] = {0};
    gguf_bytes_tensor(&b, "t", GGML_F32, 1, (const uint64_t[]){8}, x, sizeof x);
    gguf_bytes_tensor(&b, "t", GGML_F32, 1, (const uint64_t[]){8}, x, sizeof x);
    expect_refusal(&b, SNELLEN_E_FORMAT, "tensor 't' is there twice");
    gguf_bytes_tensor(&b, "a\033[31m", GGML_F32, 1, (const uint64_t[]){8}, x, sizeof x);
    expect_refusal(&b, SNELLEN_E_FORMAT, "'a?[31m'");  /* no control bytes reach the terminal */
}

static void refuses_absurd_dimensions(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    const uint64_t half = (uint64_t)1 << 32, many[5] = {1, 1, 1, 1, 1};
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 0, many, 0);
    expect_refusal(&b, SNELLEN_E_FORMAT, "0 dimensions, 1 to 4 expected");
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 5, many, 0);
    expect_refusal(&b, SNELLEN_E_FORMAT, "5 dimensions, 1 to 4 expected");
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 2, (const uint64_t[]){4, 0}, 0);
    expect_refusal(&b, SNELLEN_E_FORMAT, "is 0, at least 1 expected");
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 1, (const uint64_t[]){UINT64_MAX}, 0);
    expect_refusal(&b, SNELLEN_E_FORMAT, "tensor 't': a dimension of 18446744073709551615");
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 2, (const uint64_t[]){half, half}, 0);
    expect_refusal(&b, SNELLEN_E_FORMAT, "more than 64 bits hold");
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 1, (const uint64_t[]){INT64_MAX}, 0);
    expect_refusal(&b, SNELLEN_E_FORMAT, "more than 64 bits hold");
    gguf_bytes_tensor_at(&b, "t", GGML_Q4_0, 1, (const uint64_t[]){33}, 0);
    expect_refusal(&b, SNELLEN_E_FORMAT, "whole blocks of 32 expected for Q4_0");
}

static void refuses_unknown_types_by_name(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    gguf_bytes_tensor_at(&b, "blk.0.ffn_up.weight", GGML_IQ4_NL, 1, (const uint64_t[]){32}, 0);
    expect_refusal(&b, SNELLEN_E_UNSUPPORTED, "tensor 'blk.0.ffn_up.weight': its type IQ4_NL is not supported");
    gguf_bytes_tensor_at(&b, "t", 4, 1, (const uint64_t[]){32}, 0);
    expect_refusal(&b, SNELLEN_E_UNSUPPORTED, "unknown number 4");
    gguf_bytes_tensor_at(&b, "t", 999, 1, (const uint64_t[]){32}, 0);
    expect_refusal(&b, SNELLEN_E_UNSUPPORTED, "unknown number 999");
    gguf_bytes_key(&b, "k", 13, "", 0);
    gguf_bytes_u32(&b, "more", 1);
    expect_refusal(&b, SNELLEN_E_FORMAT, "a value of kind 13");
}

static void refuses_data_in_wrong_places(void **state)
{
    (void)state;
    struct gguf_bytes b = {0};
    float x[16] = {0};
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 1, (const uint64_t[]){16}, 12);
    gguf_bytes_data(&b, x, sizeof x);
    expect_refusal(&b, SNELLEN_E_FORMAT, "a multiple of 32 expected");
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 1, (const uint64_t[]){16}, 32);
    gguf_bytes_data(&b, x, sizeof x);
    expect_refusal(&b, SNELLEN_E_FORMAT, "tensor 't': data ends at byte 128, 160 expected (file cut short?)");
    assert_int_equal(err.offset, 128);
    gguf_bytes_tensor_at(&b, "t", GGML_F32, 1, (const uint64_t[]){16}, UINT64_MAX - 31);
    expect_refusal(&b, SNELLEN_E_FORMAT, "past any file's end");
    gguf_bytes_tensor_at(&b, "second", GGML_F32, 1, (const uint64_t[]){8}, 32);
    gguf_bytes_tensor_at(&b, "first", GGML_F32, 1, (const uint64_t[]){16}, 0);
    gguf_bytes_data(&b, x, sizeof x);
    expect_refusal(&b, SNELLEN_E_FORMAT, "tensor 'second': data begins at byte");
    static const uint32_t alignments[] = {0, 7, 12, 1u << 21};
    for (size_t i = 0; i < COUNT_OF(alignments); i++) {
        gguf_bytes_u32(&b, "general.alignment", alignments[i]);
        expect_refusal(&b, SNELLEN_E_FORMAT, "'general.alignment'");
    }
    gguf_bytes_text(&b, "general.alignment", "32");
    expect_refusal(&b, SNELLEN_E_FORMAT, "'general.alignment': a whole number expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind_of_value),
        cmocka_unit_test(reads_arrays),
        cmocka_unit_test(reads_both_versions_and_other_alignments),
        cmocka_unit_test(opens_files),
        cmocka_unit_test(refuses_other_versions_and_orders),
        cmocka_unit_test(refuses_names_that_stand_twice),
        cmocka_unit_test(refuses_absurd_dimensions),
        cmocka_unit_test(refuses_unknown_types_by_name),
        cmocka_unit_test(refuses_data_in_wrong_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
