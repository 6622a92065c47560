/* Vocabularies of small models: words and characters to tokenizer.json and back, through text and ids. */
#include "tokenize/tokenize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static snellen_error err;

static struct tokenizer *make(const struct vocabulary *v)
{
    char *json, *config;
    struct tokenizer *t = NULL;
    if (vocabulary_make(v, &json, &config, &err)) fail_msg("%s", err.message);
    if (tokenizer_from_json(json, strlen(json), config, strlen(config), "made", &t, &err)) fail_msg("%s", err.message);
    free(json);
    free(config);
    return t;
}

static void expect_ids(const struct tokenizer *t, const char *text, unsigned flags, const int32_t *ids, size_t n)
{
    int32_t *got;
    size_t n_got;
    if (tokenizer_encode(t, text, strlen(text), flags, &got, &n_got, &err)) fail_msg("%s", err.message);
    assert_int_equal(n_got, n);
    for (size_t i = 0; i < n; i++) assert_int_equal(got[i], ids[i]);
    snellen_free(got);
}

static void expect_text(const struct tokenizer *t, const int32_t *ids, size_t n, unsigned flags, const char *text)
{
    char *got;
    size_t n_got;
    if (tokenizer_decode(t, ids, n, flags, &got, &n_got, &err)) fail_msg("%s", err.message);
    assert_string_equal(got, text);
    snellen_free(got);
}

static void words_are_tokens(void **state)
{
    (void)state;
    static const char *const words[] = {"0", "1", "10", "über", ">", "Ġ"};
    struct tokenizer *t = make(&(struct vocabulary){.words = words, .n_words = 6, .unknown = "<unk>", .bos = "<s>",
                                                    .eos = "<s>"});
    assert_int_equal(tokenizer_size(t), 8);
    const int32_t ids[] = {2, 4, 3, 5, 6, 7};
    expect_ids(t, "0 10 1 über > Ġ", 0, ids, 6);
    expect_ids(t, "  0\n10\t1 über\xc2\xa0>\xe3\x80\x80Ġ ", 0, ids, 6);
    expect_text(t, ids, 6, 0, "0 10 1 über > Ġ");
    expect_ids(t, "", 0, NULL, 0);
    expect_ids(t, " \n ", 0, NULL, 0);
    expect_ids(t, "0 01 \xff <s> <unk>", 0, (int32_t[]){2, 0, 0, 0, 0}, 5);
    expect_ids(t, "0 <s> 1", SNELLEN_SPECIAL, (int32_t[]){2, 1, 3}, 3);
    bool wanted;
    assert_int_equal(tokenizer_bos(t, &wanted), 1);
    assert_true(tokenizer_ends(t, 1));
    assert_string_equal(tokenizer_kind(t, 0), "special");
    assert_string_equal(tokenizer_kind(t, 2), "normal");
    assert_string_equal(tokenizer_bytes(t, 4, NULL), " 10");
    tokenizer_free(t);
}

static void a_vocabulary_without_unknown_refuses_other_words(void **state)
{
    (void)state;
    static const char *const words[] = {"a", "b"};
    struct tokenizer *t = make(&(struct vocabulary){.words = words, .n_words = 2});
    int32_t *ids;
    size_t n;
    expect_ids(t, "b a", 0, (int32_t[]){1, 0}, 2);
    assert_int_equal(tokenizer_encode(t, "a c", 3, 0, &ids, &n, &err), SNELLEN_E_USAGE);
    assert_non_null(strstr(err.message, "'c' is not in the vocabulary"));
    char longer[5000];
    memset(longer, 'a', sizeof longer);
    assert_int_equal(tokenizer_encode(t, longer, sizeof longer, 0, &ids, &n, &err), SNELLEN_E_USAGE);
    assert_int_equal(tokenizer_bos(t, NULL), -1);
    tokenizer_free(t);
}

static void characters_are_tokens(void **state)
{
    (void)state;
    static const char text[] = "hello\n wörld 漢 hello";
    struct tokenizer *t = make(&(struct vocabulary){.text = text, .n_text = strlen(text), .eos = "<e>"});
    assert_int_equal(tokenizer_size(t), 12);
    /* <e> \n space d e h l o r w ö 漢 */
    const int32_t ids[] = {5, 4, 6, 6, 7, 1, 2, 9, 10, 8, 6, 3, 2, 11};
    expect_ids(t, "hello\n wörld 漢", 0, ids, 14);
    expect_text(t, ids, 14, 0, "hello\n wörld 漢");
    expect_ids(t, "h<e>", SNELLEN_SPECIAL, (int32_t[]){5, 0}, 2);
    expect_ids(t, "hxh", 0, (int32_t[]){5, 5}, 2);   /* no token and none for unknown: left out, as others do */
    tokenizer_free(t);
}

static void refuses_what_is_no_vocabulary(void **state)
{
    (void)state;
    static const char *const twice[] = {"a", "a"}, *const spaced[] = {"a b"}, *const empty[] = {""},
                      *const invalid[] = {"\xff"}, *const special[] = {"<s>"};
    static char longer[5000];
    memset(longer, 'a', sizeof longer - 1);
    const char *const long_one[] = {longer};
    const struct vocabulary wrong[] = {
        {.words = twice, .n_words = 2},   {.words = spaced, .n_words = 1}, {.words = empty, .n_words = 1},
        {.words = invalid, .n_words = 1}, {.words = twice, .n_words = 0},  {.words = long_one, .n_words = 1},
        {.words = special, .n_words = 1, .bos = "<s>"}, {.text = "", .n_text = 0},      {.text = "a\xff", .n_text = 2},
        {.text = "a\0b", .n_text = 3},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char *json, *config;
        assert_int_equal(vocabulary_make(&wrong[i], &json, &config, &err), SNELLEN_E_USAGE);
        assert_non_null(strstr(err.message, "vocabulary: "));
    }
}

static void refuses_other_word_models(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "{\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"a\"}}",
        "{\"pre_tokenizer\":{\"type\":\"Whitespace\"},\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0}}}",
        "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},"
        "\"merges\":[]}}",
        "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct tokenizer *t;
        assert_int_equal(tokenizer_from_json(wrong[i], strlen(wrong[i]), NULL, 0, "x", &t, &err),
                         SNELLEN_E_UNSUPPORTED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_tokens),
        cmocka_unit_test(a_vocabulary_without_unknown_refuses_other_words),
        cmocka_unit_test(characters_are_tokens),
        cmocka_unit_test(refuses_what_is_no_vocabulary),
        cmocka_unit_test(refuses_other_word_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
