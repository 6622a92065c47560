/* Tokenizers of the real models against golden/tokenizers.json. argv: golden folder, model name, its name in the golden
 * file. The model is $SNELLEN_MODELS/NAME.gguf or the fetched one. Exit 77 = it is not there. */
#include "test/test.h"

#include "tokenize/tokenize.h"

#include <jansson.h>
#include <time.h>

static const char *golden, *key;
static struct tokenizer *tokenizer;

static void round_trip(const char *text, size_t n)
{
    int32_t *ids;
    size_t n_ids, n_out;
    char *out;
    for (unsigned flags = 0; flags <= SNELLEN_SPECIAL; flags++) {
        MUST(tokenizer_encode(tokenizer, text, n, flags, &ids, &n_ids, err));
        MUST(tokenizer_decode(tokenizer, ids, n_ids, flags, &out, &n_out, err));
        if (n_out != n || memcmp(out, text, n)) fail_msg("'%s' comes back as '%s'", text, out);
        snellen_free(ids);
        snellen_free(out);
    }
}

static void test_golden_ids(void **state)
{
    (void)state;
    char path[4096];
    json_error_t why;
    snprintf(path, sizeof path, "%s/tokenizers.json", golden);
    json_t *all = json_load_file(path, JSON_ALLOW_NUL, &why), *c;
    assert_non_null(all);
    size_t i, n_checked = 0;
    json_array_foreach(all, i, c) {
        if (strcmp(json_string_value(json_object_get(c, "model")), key)) continue;
        const json_t *text = json_object_get(c, "text"), *want = json_object_get(c, "ids");
        int32_t *ids;
        size_t n;
        MUST(tokenizer_encode(tokenizer, json_string_value(text), json_string_length(text), SNELLEN_SPECIAL, &ids, &n,
                              err));
        bool same = n == json_array_size(want);
        for (size_t k = 0; same && k < n; k++) same = ids[k] == json_integer_value(json_array_get(want, k));
        if (!same) fail_msg("other ids for '%s'", json_string_value(text));
        snellen_free(ids);
        round_trip(json_string_value(text), json_string_length(text));
        n_checked++;
    }
    json_decref(all);
    assert_true(n_checked >= 20);
}

/* One word of a megabyte, of several kinds: minutes if time were quadratic. */
static void test_long_words(void **state)
{
    (void)state;
    static const char *const units[] = {"a", " ", "ab", ".", "\n", "\xe4\xb8\xad"};
    enum { N = 1 << 20 };
    char *text = malloc(N);
    assert_non_null(text);
    clock_t begin = clock();
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        size_t unit = strlen(units[i]), n = N / unit * unit;
        for (size_t k = 0; k < n; k += unit) memcpy(text + k, units[i], unit);
        round_trip(text, n);
    }
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    print_message("%.1f s for %zu words of 1 MB, twice\n", seconds, COUNT_OF(units));
    assert_true(seconds < 60);
    free(text);
}

/* The template in the file: SmolLM2's has a system message of its own; Gemma's base model has none. */
static void test_chat(void **state)
{
    (void)state;
    const snellen_message question = {"user", "Hi"};
    char *text;
    if (!strcmp(tokenizer_chat(tokenizer), "")) {
        MUST_FAIL(SNELLEN_E_UNSUPPORTED, tokenizer_chat_format(tokenizer, &question, 1, true, &text, err));
        return;
    }
    assert_string_equal(tokenizer_chat(tokenizer), "chatml");
    MUST(tokenizer_chat_format(tokenizer, &question, 1, true, &text, err));
    assert_string_equal(text, "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
                              "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    snellen_free(text);
    const snellen_message both[] = {{"system", "Be brief."}, {"user", "Hi"}};
    MUST(tokenizer_chat_format(tokenizer, both, 2, false, &text, err));
    assert_string_equal(text, "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n");
    snellen_free(text);
}

/* The model's path, or NULL. */
static char *find_model(const char *name)
{
    const char *folder = getenv("SNELLEN_MODELS");
    char *path = NULL;
    snellen_error err;
    if (folder) {
        struct strbuf b = {0};
        size_t n;
        strbuf_printf(&b, "%s/%s.gguf", folder, name);
        return !b.failed && file_exists(b.text) && !strbuf_take(&b, &path, &n, &err) ? path : NULL;
    }
    return catalogue_resolve(name, &path, &err) ? NULL : path;
}

int main(int argc, char **argv)
{
    if (argc != 4) return 1;
    golden = argv[1];
    key = argv[3];
    char *path = find_model(argv[2]);
    if (!path) {
        fprintf(stderr, "skipped: the model %s is not there; run: snellen models get %s\n", argv[2], argv[2]);
        return 77;
    }
    struct gguf *file;
    snellen_error err;
    if (gguf_open(path, &file, &err) || tokenizer_from_gguf(file, path, &tokenizer, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_ids),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_chat),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tokenizer_free(tokenizer);
    gguf_close(file);
    snellen_free(path);
    return failed;
}
