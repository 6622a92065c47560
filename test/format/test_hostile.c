/* Model files as an enemy would write them: cut at every byte, flipped bits, counts that lie. No input may crash the
 * readers, and what they take in memory is bounded by the size of the file. Every allocation of format and base goes
 * through calloc(), which the linker hands to the counter below (--wrap=calloc). */
#include "gguf_bytes.h"

#include "format/inner.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t taken;  /* bytes asked for since the counter was set to 0, freed or not */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);

void *__wrap_calloc(size_t n, size_t size)
{
    taken += (uint64_t)n * size;
    return __real_calloc(n, size);
}

static void *counted_malloc(size_t n)
{
    taken += n;
    return malloc(n);
}

/* Arenas and hash tables start with whole blocks; a tree of JSON takes some ten times its text. */
enum { FIXED_BYTES = 1 << 18, TIMES_FILE = 48 };

static void expect_modest(size_t n)
{
    if (taken > FIXED_BYTES + TIMES_FILE * (uint64_t)n)
        fail_msg("%llu bytes were taken for a file of %zu", (unsigned long long)taken, n);
}

/* ---- one attempt for each format: opens, touches everything, closes ---------------------------------------------- */

static snellen_error err;

static void touch(const void *p, uint64_t n)
{
    const volatile uint8_t *bytes = p;
    if (n) (void)bytes[0], (void)bytes[n - 1];
}

static snellen_status try_gguf(const uint8_t *bytes, size_t n)
{
    struct gguf *g;
    taken = 0;
    snellen_status status = gguf_parse(bytes, n, "x", &g, &err);
    expect_modest(n);
    if (status) return status;
    const struct tensor *t;
    size_t n_tensors = gguf_tensors(g, &t);
    for (size_t i = 0; i < n_tensors; i++) touch(t[i].data, t[i].n_bytes);
    struct arena arena = {0};
    struct model_desc desc;
    desc_from_gguf(g, "x", &arena, &desc, &err);
    arena_free(&arena);
    gguf_close(g);
    return SNELLEN_OK;
}

static snellen_status try_safetensors(const uint8_t *bytes, size_t n)
{
    struct safetensors *s;
    taken = 0;
    snellen_status status = safetensors_parse(bytes, n, "x", &s, &err);
    expect_modest(n);
    if (status) return status;
    const struct tensor *t;
    size_t n_tensors = safetensors_tensors(s, &t);
    for (size_t i = 0; i < n_tensors; i++) touch(t[i].data, t[i].n_bytes);
    safetensors_close(s);
    return SNELLEN_OK;
}

static snellen_status try_config(const uint8_t *bytes, size_t n)
{
    struct arena arena = {0};
    struct model_desc desc;
    taken = 0;
    snellen_status status = desc_from_config((const char *)bytes, n, "x", &arena, &desc, &err);
    expect_modest(n);
    arena_free(&arena);
    return status;
}

typedef snellen_status attempt(const uint8_t *bytes, size_t n);

/* ---- good files to spoil ----------------------------------------------------------------------------------------- */

static uint8_t *good_gguf(size_t *n)
{
    struct gguf_bytes b = {0};
    struct strbuf v = {0};
    put_u32(&v, GGUF_TEXT);
    put_u64(&v, 2);
    put_text(&v, "a");
    put_text(&v, "bc");
    gguf_bytes_key(&b, "tokens", GGUF_ARRAY, v.text, v.n);
    strbuf_free(&v);
    gguf_bytes_u32_array(&b, "gemma3.attention.head_count_kv", (const uint32_t[]){1, 1}, 2);
    gguf_bytes_u32(&b, "gemma3.attention.sliding_window", 4);
    gguf_bytes_f32(&b, "gemma3.rope.freq_base", 1e6f);
    gguf_bytes_model(&b, "gemma3");
    float x[8] = {0};
    gguf_bytes_tensor(&b, "output_norm.weight", GGML_F32, 1, (const uint64_t[]){8}, x, sizeof x);
    return gguf_bytes_finish(&b, n);
}

static const char safetensors_text[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"model.norm.weight\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
    "\"ids\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]},"
    "\"lm_head.weight\":{\"dtype\":\"BF16\",\"shape\":[1,2],\"data_offsets\":[16,20]}}";

/* A safetensors file with this header and n_data bytes of zeros. */
static uint8_t *safetensors_file(const char *header, size_t n_header, size_t n_data, size_t *n)
{
    void *bytes;
    *n = 8 + n_header + n_data;
    assert_int_equal(mem_new(&bytes, *n, 1, "test", &err), SNELLEN_OK);
    struct strbuf b = {0};
    put_u64(&b, n_header);
    memcpy(bytes, b.text, 8);
    memcpy((char *)bytes + 8, header, n_header);
    strbuf_free(&b);
    return bytes;
}

static const char config_text[] =
    "{\"model_type\": \"gemma3_text\", \"num_hidden_layers\": 6, \"hidden_size\": 32, \"num_attention_heads\": 4, "
    "\"head_dim\": 8, \"vocab_size\": 99, \"sliding_window\": 8, \"rope_parameters\": {\"full_attention\": "
    "{\"rope_type\": \"yarn\", \"factor\": 2, \"rope_theta\": 1000.5}, \"sliding_attention\": {\"rope_type\": "
    "\"default\"}}, \"layer_types\": null, \"query_pre_attn_scalar\": 8}";

/* ---- spoiling ---------------------------------------------------------------------------------------------------- */

/* Each prefix lies in a block of its own, so that a sanitizer sees a read past its end. */
static void cut_everywhere(attempt *try, const uint8_t *bytes, size_t n)
{
    assert_int_equal(try(bytes, n), SNELLEN_OK);
    assert_true(taken > 0);  /* the counter counts */
    for (size_t i = 0; i < n; i++) {
        uint8_t *part = malloc(i ? i : 1);
        assert_non_null(part);
        memcpy(part, bytes, i);
        assert_int_equal(try(part, i), SNELLEN_E_FORMAT);
        assert_memory_equal(err.message, "x: ", 3);
        free(part);
    }
}

static void flip_at_random(attempt *try, const uint8_t *bytes, size_t n, int rounds, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed, 0);
    void *copy;
    int refused = 0;
    assert_int_equal(mem_new(&copy, n, 1, "test", &err), SNELLEN_OK);
    for (int i = 0; i < rounds; i++) {
        memcpy(copy, bytes, n);
        for (uint64_t flips = 1 + rng_below(&rng, 8); flips > 0; flips--) {
            uint8_t *p = (uint8_t *)copy + rng_below(&rng, n);
            *p = rng_below(&rng, 2) ? (uint8_t)rng_u64(&rng) : (uint8_t)(*p ^ (1u << rng_below(&rng, 8)));
        }
        refused += try(copy, n) != SNELLEN_OK;
    }
    assert_true(refused > rounds / 2);
    mem_free(copy);
}

static void survives_cut_files(void **state)
{
    (void)state;
    size_t n;
    uint8_t *bytes = good_gguf(&n);
    cut_everywhere(try_gguf, bytes, n);
    mem_free(bytes);
    bytes = safetensors_file(safetensors_text, strlen(safetensors_text), 20, &n);
    cut_everywhere(try_safetensors, bytes, n);
    mem_free(bytes);
    cut_everywhere(try_config, (const uint8_t *)config_text, strlen(config_text));
}

static void survives_flipped_bits(void **state)
{
    (void)state;
    size_t n;
    uint8_t *bytes = good_gguf(&n);
    flip_at_random(try_gguf, bytes, n, 20000, 1);
    mem_free(bytes);
    bytes = safetensors_file(safetensors_text, strlen(safetensors_text), 20, &n);
    flip_at_random(try_safetensors, bytes, n, 20000, 2);
    mem_free(bytes);
    flip_at_random(try_config, (const uint8_t *)config_text, strlen(config_text), 20000, 3);
}

/* ---- lies -------------------------------------------------------------------------------------------------------- */

/* Every aligned or unaligned 8 bytes of the file, taken for a count, become absurd ones. */
static void survives_absurd_counts(void **state)
{
    (void)state;
    static const uint64_t lies[] = {UINT64_MAX, INT64_MAX, (uint64_t)1 << 61, (uint64_t)1 << 32, 1 << 24, 100000};
    size_t n;
    uint8_t *bytes = good_gguf(&n);
    for (size_t i = 0; i + 8 <= n; i++) {
        uint8_t kept[8];
        memcpy(kept, bytes + i, 8);
        for (size_t j = 0; j < COUNT_OF(lies); j++) {
            memcpy(bytes + i, &lies[j], 8);
            try_gguf(bytes, n);
        }
        memcpy(bytes + i, kept, 8);
    }
    assert_int_equal(try_gguf(bytes, n), SNELLEN_OK);
    mem_free(bytes);
}

static void refuses_counts_that_the_file_cannot_hold(void **state)
{
    (void)state;
    static const struct {
        uint64_t n_tensors, n_keys;
        const char *part;
    } lies[] = {
        {(uint64_t)1 << 60, 0, "tensors, which"}, {0, (uint64_t)1 << 60, "keys, which"}, {1000, 0, "tensors, which"},
        {0, 1000, "keys, which"},
    };
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        struct gguf_bytes b = {.n_tensors = lies[i].n_tensors, .n_keys = lies[i].n_keys};
        size_t n;
        uint8_t *bytes = gguf_bytes_finish(&b, &n);
        assert_int_equal(try_gguf(bytes, n), SNELLEN_E_FORMAT);
        assert_non_null(strstr(err.message, lies[i].part));
        assert_true(taken < 4096);
        mem_free(bytes);
    }
}

/* Small records in great numbers: what a file of this size can ask for at most. */
static void stays_modest_for_dense_files(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct gguf_bytes b = {0};
    char name[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%x", i);
        gguf_bytes_bool(&b, name, true);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%x", i);
        gguf_bytes_tensor_at(&b, name, GGML_F32, 1, (const uint64_t[]){8}, (uint64_t)i * 32);
    }
    void *data;
    assert_int_equal(mem_new(&data, MANY, 32, "test", &err), SNELLEN_OK);
    gguf_bytes_data(&b, data, MANY * 32);
    mem_free(data);
    size_t n;
    uint8_t *bytes = gguf_bytes_finish(&b, &n);
    assert_int_equal(try_gguf(bytes, n), SNELLEN_OK);
    mem_free(bytes);

    struct strbuf v = {0};
    put_u32(&v, GGUF_TEXT);
    put_u64(&v, MANY);
    for (int i = 0; i < MANY; i++) put_text(&v, "");
    gguf_bytes_key(&b, "empty", GGUF_ARRAY, v.text, v.n);
    strbuf_free(&v);
    bytes = gguf_bytes_finish(&b, &n);
    assert_int_equal(try_gguf(bytes, n), SNELLEN_OK);
    mem_free(bytes);
}

/* A header of nothing but n times `unit` between `open` and `close`: refused before a tree is built of it. */
static void expect_no_tree(const char *open, const char *unit, const char *close, size_t times)
{
    struct strbuf b = {0};
    strbuf_puts(&b, open);
    for (size_t i = 0; i < times; i++) strbuf_puts(&b, unit);
    strbuf_puts(&b, close);
    size_t n;
    uint8_t *bytes = safetensors_file(b.text, b.n, 0, &n);
    assert_int_equal(try_safetensors(bytes, n), SNELLEN_E_FORMAT);
    assert_true(taken < 4096);
    mem_free(bytes);
    assert_int_equal(try_config((const uint8_t *)b.text, b.n), SNELLEN_E_FORMAT);
    assert_true(taken < 4096);
    strbuf_free(&b);
}

/* The densest JSON that is let through: a tree is built of it, and expect_modest() measures that. */
static void stays_modest_for_dense_json(void **state)
{
    (void)state;
    static const char *const units[] = {"1,  ", "[],         ", "{},         ", "\"\",  ", "[1],        ", "1.5,"};
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        struct strbuf b = {0};
        strbuf_puts(&b, "{\"a\":[");
        for (int j = 0; j < 50000; j++) strbuf_puts(&b, units[i]);
        strbuf_puts(&b, "0]}");
        size_t n;
        uint8_t *bytes = safetensors_file(b.text, b.n, 0, &n);
        assert_int_equal(try_safetensors(bytes, n), SNELLEN_E_FORMAT);
        assert_true(taken > n);
        mem_free(bytes);
        strbuf_free(&b);
    }
}

static void refuses_json_of_brackets(void **state)
{
    (void)state;
    expect_no_tree("{\"a\":[", "[],", "[]]}", 100000);
    expect_no_tree("{\"a\":", "[", "", 100000);
    expect_no_tree("{\"a\":[", "1,", "1]}", 100000);
    expect_no_tree("{\"a\":", "{\"b\":", "", 100000);
    expect_no_tree("{\"a\":[", "[],    ", "[]]}", 100000);  /* few commas, but too many brackets */
    struct strbuf deep = {0};                               /* few brackets, but too deep */
    strbuf_puts(&deep, "{\"a\":");
    for (int i = 0; i < 100; i++) strbuf_puts(&deep, "[");
    for (int i = 0; i < 100; i++) strbuf_puts(&deep, "]");
    strbuf_puts(&deep, "}");
    assert_int_equal(try_config((const uint8_t *)deep.text, deep.n), SNELLEN_E_FORMAT);
    assert_non_null(strstr(err.message, "brackets"));
    strbuf_free(&deep);
}

int main(void)
{
    json_set_alloc_funcs(counted_malloc, free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_cut_files),
        cmocka_unit_test(survives_flipped_bits),
        cmocka_unit_test(survives_absurd_counts),
        cmocka_unit_test(refuses_counts_that_the_file_cannot_hold),
        cmocka_unit_test(stays_modest_for_dense_files),
        cmocka_unit_test(stays_modest_for_dense_json),
        cmocka_unit_test(refuses_json_of_brackets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
