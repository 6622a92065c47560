/* Small tokenizers of every kind that tokenizer.json can describe, against what Hugging Face's `tokenizers` makes of
 * the same texts (make_fixtures.py). argv: the folder fixtures. */
#include "test/test.h"

#include "tokenize/tokenize.h"

#include <jansson.h>

static const char *folder;
static json_t *expected;

static json_t *load_json(const char *path)
{
    json_error_t why;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &why);
    if (!root) fail_msg("%s: %s", path, why.text);
    return root;
}

static struct tokenizer *load(const char *name)
{
    char path[4096], *json;
    size_t n;
    struct tokenizer *t;
    snprintf(path, sizeof path, "%s/%s.json", folder, name);
    MUST(file_read(path, 1 << 20, &json, &n, err));
    MUST(tokenizer_from_json(json, n, NULL, 0, path, &t, err));
    mem_free(json);
    return t;
}

static void check_case(struct tokenizer *t, const char *name, const json_t *c)
{
    const json_t *text = json_object_get(c, "text"), *want = json_object_get(c, "ids");
    const json_t *back = json_object_get(c, "decoded");
    int32_t *ids;
    size_t n, n_out;
    char *out;
    MUST(tokenizer_encode(t, json_string_value(text), json_string_length(text), SNELLEN_SPECIAL, &ids, &n, err));
    bool same = n == json_array_size(want);
    for (size_t i = 0; same && i < n; i++) same = ids[i] == json_integer_value(json_array_get(want, i));
    if (!same) fail_msg("%s: other ids for '%s'", name, json_string_value(text));
    if (json_is_string(back)) {
        MUST(tokenizer_decode(t, ids, n, SNELLEN_SPECIAL, &out, &n_out, err));
        if (n_out != json_string_length(back) || memcmp(out, json_string_value(back), n_out))
            fail_msg("%s: '%s' comes back as '%s'", name, json_string_value(text), out);
        snellen_free(out);
    }
    snellen_free(ids);
}

static void test_ids_and_round_trips(void **state)
{
    (void)state;
    json_t *all = json_object_get(expected, "tokenizers"), *one, *c;
    size_t i, j, n_cases = 0;
    json_array_foreach(all, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        struct tokenizer *t = load(name);
        json_array_foreach(json_object_get(one, "cases"), j, c) {
            check_case(t, name, c);
            n_cases++;
        }
        tokenizer_free(t);
    }
    assert_true(json_array_size(all) == 8 && n_cases > 8 * 60);
}

/* Any bytes come back, from every kind that has a token for each byte and changes nothing. */
static void test_any_bytes_come_back(void **state)
{
    static const char *const names[] = {"gpt2", "smollm", "llama3", "llama2", "gemma"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct tokenizer *t = load(names[i]);
        struct rng rng;
        rng_seed(&rng, 7, i);
        for (int round = 0; round < 200; round++) {
            char text[256], *out;
            int32_t *ids;
            size_t n = rng_below(&rng, sizeof text), n_ids, n_out;
            uint64_t spread = rng_below(&rng, 2) ? 256 : 128;
            for (size_t k = 0; k < n; k++) text[k] = (char)(rng_below(&rng, 4) ? rng_below(&rng, spread) : ' ');
            MUST(tokenizer_encode(t, text, n, 0, &ids, &n_ids, err));
            MUST(tokenizer_decode(t, ids, n_ids, 0, &out, &n_out, err));
            assert_int_equal(n_out, n);
            assert_memory_equal(out, text, n);
            snellen_free(ids);
            snellen_free(out);
        }
        tokenizer_free(t);
    }
}

/* Added and special tokens: kinds, and what the flags make of them. */
static void test_special_tokens(void **state)
{
    (void)state;
    struct tokenizer *t = load("smollm");
    static const char text[] = "<|im_start|>a<tool>";
    int32_t *ids;
    size_t n, n_out;
    char *out;
    MUST(tokenizer_encode(t, text, strlen(text), SNELLEN_SPECIAL, &ids, &n, err));
    assert_int_equal(n, 3);
    assert_string_equal(tokenizer_kind(t, ids[0]), "special");
    assert_string_equal(tokenizer_kind(t, ids[1]), "normal");
    assert_string_equal(tokenizer_kind(t, ids[2]), "user");
    assert_string_equal(tokenizer_bytes(t, ids[0], &n_out), "<|im_start|>");
    MUST(tokenizer_decode(t, ids, n, 0, &out, &n_out, err));
    assert_string_equal(out, "a<tool>");  /* special tokens are dropped, added ones are text */
    snellen_free(out);
    int32_t special = ids[0], user = ids[2];
    snellen_free(ids);
    MUST(tokenizer_encode(t, text, strlen(text), 0, &ids, &n, err));
    assert_true(n > 3 && ids[0] != special && ids[n - 1] == user);
    snellen_free(ids);
    assert_true(tokenizer_ends(t, special + 1));   /* <|im_end|> */
    assert_false(tokenizer_ends(t, special));
    assert_null(tokenizer_bytes(t, -1, &n));
    assert_null(tokenizer_bytes(t, (int32_t)tokenizer_size(t), &n));
    int32_t past = (int32_t)tokenizer_size(t);
    MUST_FAIL(SNELLEN_E_USAGE, tokenizer_decode(t, &past, 1, 0, &out, &n, err));
    tokenizer_free(t);
}

static void test_begin_of_sequence(void **state)
{
    (void)state;
    struct tokenizer *t = load("llama3");
    bool wanted;
    int32_t bos = tokenizer_bos(t, &wanted), *ids;
    size_t n;
    assert_true(wanted && bos >= 0);
    MUST(tokenizer_encode(t, "the", 3, SNELLEN_BOS, &ids, &n, err));
    assert_true(n == 2 && ids[0] == bos);
    snellen_free(ids);
    tokenizer_free(t);
    t = load("gpt2");
    assert_int_equal(tokenizer_bos(t, &wanted), -1);
    assert_false(wanted);
    MUST(tokenizer_encode(t, "", 0, SNELLEN_BOS, &ids, &n, err));
    assert_int_equal(n, 0);
    snellen_free(ids);
    tokenizer_free(t);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 1;
    folder = argv[1];
    char path[4096];
    snprintf(path, sizeof path, "%s/expected.json", folder);
    expected = load_json(path);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_and_round_trips),
        cmocka_unit_test(test_any_bytes_come_back),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_begin_of_sequence),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(expected);
    return failed;
}
