/* Vocabularies made by hand, from GGUF keys and from tokenizer.json: what merging does with them, and wrong ones, which
 * are an error or work, and never more. */
#include "test/test.h"

#include "test/format/gguf_bytes.h"
#include "tokenize/tokenize.h"

#define KEY(name) "tokenizer.ggml." name

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

/* ---- GGUF vocabularies ------------------------------------------------------------------------------------------- */

struct vocab {
    struct strbuf tokens, merges;
    uint64_t n_tokens, n_merges;
    uint32_t types[600];
    float scores[600];
};

static void add(struct vocab *v, const char *text, uint32_t type, float score)
{
    put_text(&v->tokens, text);
    v->types[v->n_tokens] = type;
    v->scores[v->n_tokens++] = score;
}

static void add_merge(struct vocab *v, const char *text)
{
    put_text(&v->merges, text);
    v->n_merges++;
}

static void put_array(struct gguf_bytes *g, const char *key, uint32_t kind, uint64_t n, const void *bytes, size_t size)
{
    struct strbuf b = {0};
    put_u32(&b, kind);
    put_u64(&b, n);
    strbuf_put(&b, bytes, size);
    gguf_bytes_key(g, key, GGUF_ARRAY, b.text, b.n);
    strbuf_free(&b);
}

/* The keys of v into g; v is emptied. */
static void put_vocab(struct gguf_bytes *g, struct vocab *v, const char *model)
{
    gguf_bytes_text(g, KEY("model"), model);
    put_array(g, KEY("tokens"), GGUF_TEXT, v->n_tokens, v->tokens.text, v->tokens.n);
    put_array(g, KEY("token_type"), GGUF_I32, v->n_tokens, v->types, v->n_tokens * 4);
    put_array(g, KEY("scores"), GGUF_F32, v->n_tokens, v->scores, v->n_tokens * 4);
    put_array(g, KEY("merges"), GGUF_TEXT, v->n_merges, v->merges.n ? v->merges.text : "", v->merges.n);
    strbuf_free(&v->tokens);
    strbuf_free(&v->merges);
    memset(v, 0, sizeof *v);
}

/* Reads and frees what stands in g. */
static snellen_status read_vocab(struct gguf_bytes *g, struct tokenizer **t, snellen_error *err)
{
    size_t n;
    uint8_t *bytes = gguf_bytes_finish(g, &n);
    struct gguf *file;
    snellen_error why;
    *t = NULL;
    if (gguf_parse(bytes, n, "test.gguf", &file, &why)) fail_msg("%s", why.message);
    snellen_status status = tokenizer_from_gguf(file, "test.gguf", t, err);
    gguf_close(file);
    mem_free(bytes);
    return status;
}

/* "<unk>", "<s>", "</s>", 256 byte tokens, then pieces with falling scores. */
static void add_sentencepiece(struct vocab *v, const char *const *pieces, size_t n)
{
    add(v, "<unk>", UNKNOWN, 0);
    add(v, "<s>", CONTROL, 0);
    add(v, "</s>", CONTROL, 0);
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        add(v, name, BYTE, 0);
    }
    for (size_t i = 0; i < n; i++) add(v, pieces[i], NORMAL, -(float)i);
}

/* Ids of the text, and that it comes back. */
static void check(struct tokenizer *t, const char *text, size_t n_text, unsigned flags, const int32_t *want,
                  size_t n_want)
{
    int32_t *ids;
    size_t n, n_out;
    char *out;
    MUST(tokenizer_encode(t, text, n_text, flags, &ids, &n, err));
    assert_int_equal(n, n_want);
    assert_memory_equal(ids, want, n * sizeof *ids);
    MUST(tokenizer_decode(t, ids, n, flags & SNELLEN_SPECIAL, &out, &n_out, err));
    assert_int_equal(n_out, n_text);
    assert_memory_equal(out, text, n_text);
    snellen_free(ids);
    snellen_free(out);
}
#define CHECK_IDS(t, text, flags, ...)                                                                                 \
    do {                                                                                                               \
        const int32_t want_[] = {__VA_ARGS__};                                                                         \
        check(t, text, sizeof(text) - 1, flags, want_, COUNT_OF(want_));                                               \
    } while (0)

static const char *const pieces[] = {"ab", "\u2581a", "bc", "abc", "\u2581", "a", "b", "c", "aa", "\u2581\u2581"};
enum { AB = 259, _A, BC, ABC, _, A, B, C, AA, __, N_PIECES = 10 };

static void test_sentencepiece(void **state)
{
    (void)state;
    struct vocab v = {0};
    struct gguf_bytes g = {0};
    struct tokenizer *t;
    add_sentencepiece(&v, pieces, N_PIECES);
    add(&v, "<tag>", USER, -1000);
    enum { TAG = AB + N_PIECES };
    put_vocab(&g, &v, "llama");
    gguf_bytes_bool(&g, KEY("add_space_prefix"), false);
    MUST(read_vocab(&g, &t, err));
    CHECK_IDS(t, "abc", 0, ABC);                 /* ab first, then abc */
    CHECK_IDS(t, "bc", 0, BC);
    CHECK_IDS(t, " abc", 0, _, ABC);             /* ab before " a" */
    CHECK_IDS(t, " ac", 0, _A, C);
    CHECK_IDS(t, "aaa", 0, AA, A);               /* of equal scores the leftmost */
    CHECK_IDS(t, "a  b", 0, A, __, B);
    CHECK_IDS(t, "a\xc3\xa9" "b", 0, A, 3 + 0xc3, 3 + 0xa9, B);
    CHECK_IDS(t, "\xff\0", 0, 3 + 0xff, 3);
    CHECK_IDS(t, "a\u2581" "a", 0, A, 3 + 0xe2, 3 + 0x96, 3 + 0x81, A);  /* U+2581 in the text is no space */
    CHECK_IDS(t, "a<tag>c", 0, A, TAG, C);
    CHECK_IDS(t, "<s>a<unk>", SNELLEN_SPECIAL, 1, A, 0);
    CHECK_IDS(t, "<s>", 0, 3 + '<', 3 + 's', 3 + '>');
    tokenizer_free(t);

    /* Llama 2: a space before each text between special tokens, and begin of sequence */
    add_sentencepiece(&v, pieces, N_PIECES);
    put_vocab(&g, &v, "llama");
    MUST(read_vocab(&g, &t, err));
    CHECK_IDS(t, "ac", 0, _A, C);
    CHECK_IDS(t, " ac", 0, _, _A, C);
    CHECK_IDS(t, "a</s>ac", SNELLEN_SPECIAL, _A, 2, _A, C);
    int32_t *ids;
    size_t n;
    MUST(tokenizer_encode(t, "a", 1, SNELLEN_BOS, &ids, &n, err));
    assert_true(n == 2 && ids[0] == 1 && ids[1] == _A);
    assert_true(tokenizer_ends(t, 2));
    snellen_free(ids);
    tokenizer_free(t);
}

/* Bytes as letters: 'a' .. 'e', a space (U+0120), U+FFFD's three bytes. */
static void add_bytes(struct vocab *v)
{
    static const char *const tokens[] = {"a", "b", "c", "d", "e", "\u0120", "\u00ef", "\u00bf", "\u00bd",
                                         "ab", "\u0120a"};
    for (size_t i = 0; i < COUNT_OF(tokens); i++) add(v, tokens[i], NORMAL, 0);
    add_merge(v, "\u0120 a");
    add_merge(v, "a b");
}

static void test_byte_level(void **state)
{
    (void)state;
    struct vocab v = {0};
    struct gguf_bytes g = {0};
    struct tokenizer *t;
    add_bytes(&v);
    add(&v, "<end>", CONTROL, 0);
    put_vocab(&g, &v, "gpt2");
    gguf_bytes_text(&g, KEY("pre"), "gpt-2");
    MUST(read_vocab(&g, &t, err));
    CHECK_IDS(t, "ab ab", 0, 9, 10, 1);
    CHECK_IDS(t, "a<end>b", SNELLEN_SPECIAL, 0, 11, 1);
    int32_t *ids;
    size_t n;
    static const int32_t want[] = {0, 6, 7, 8, 1};
    MUST(tokenizer_encode(t, "a\xff" "bz\x04", 5, 0, &ids, &n, err));  /* no UTF-8: U+FFFD; no token: left out */
    assert_int_equal(n, COUNT_OF(want));
    assert_memory_equal(ids, want, sizeof want);
    snellen_free(ids);
    assert_int_equal(tokenizer_bos(t, NULL), -1);
    tokenizer_free(t);
}

/* Pieces twice, empty ones, ones that are no UTF-8, merges twice: odd, and no reason to refuse. */
static void test_odd_vocabularies(void **state)
{
    (void)state;
    struct vocab v = {0};
    struct gguf_bytes g = {0};
    struct tokenizer *t;
    add_bytes(&v);
    add(&v, "ab", NORMAL, 0);
    add(&v, "", NORMAL, 0);
    add(&v, "", CONTROL, 0);
    add(&v, "\xff\xfe", NORMAL, 0);
    add(&v, "\xff", USER, 0);
    add(&v, "<0xZZ>", BYTE, 0);
    add(&v, "odd", 77, 0);
    add_merge(&v, "a b");
    put_vocab(&g, &v, "gpt2");
    gguf_bytes_text(&g, KEY("pre"), "llama-bpe");
    MUST(read_vocab(&g, &t, err));
    CHECK_IDS(t, "ab ab", SNELLEN_SPECIAL, 9, 10, 1);
    CHECK_IDS(t, "a\xff" "b", 0, 0, 15, 1);
    tokenizer_free(t);
}

/* ---- wrong GGUF vocabularies ------------------------------------------------------------------------------------- */

static void refuse_gguf(struct gguf_bytes *g, snellen_status status)
{
    struct tokenizer *t;
    MUST_FAIL(status, read_vocab(g, &t, err));
    assert_null(t);
}

static void refuse_vocab(struct vocab *v, const char *model, const char *pre, snellen_status status)
{
    struct gguf_bytes g = {0};
    put_vocab(&g, v, model);
    if (pre) gguf_bytes_text(&g, KEY("pre"), pre);
    refuse_gguf(&g, status);
}

static void test_wrong_merges(void **state)
{
    (void)state;
    static const char *const merges[] = {"", "a", "ab", "a ", "x y", "a c", "ab zz", "a b c"};
    for (size_t i = 0; i < COUNT_OF(merges); i++) {
        struct vocab v = {0};
        add_bytes(&v);
        add_merge(&v, merges[i]);
        refuse_vocab(&v, "gpt2", "gpt-2", SNELLEN_E_FORMAT);
    }
}

static void test_wrong_keys(void **state)
{
    (void)state;
    struct vocab v = {0};
    struct gguf_bytes g = {0};
    struct tokenizer *t;
    MUST(read_vocab(&g, &t, err));  /* no tokenizer is no error */
    assert_null(t);
    gguf_bytes_text(&g, KEY("model"), "gpt2");
    refuse_gguf(&g, SNELLEN_E_FORMAT);
    gguf_bytes_text(&g, KEY("model"), "bert");
    refuse_gguf(&g, SNELLEN_E_UNSUPPORTED);
    gguf_bytes_text(&g, KEY("model"), "llama");
    put_array(&g, KEY("tokens"), GGUF_TEXT, 0, "", 0);
    refuse_gguf(&g, SNELLEN_E_FORMAT);
    gguf_bytes_text(&g, KEY("model"), "llama");
    put_array(&g, KEY("tokens"), GGUF_U32, 1, "abcd", 4);
    refuse_gguf(&g, SNELLEN_E_FORMAT);
    add_bytes(&v);
    refuse_vocab(&v, "gpt2", "a pre-tokeniser of tomorrow", SNELLEN_E_UNSUPPORTED);
    add_bytes(&v);
    refuse_vocab(&v, "gpt2", "", SNELLEN_E_UNSUPPORTED);
    static const uint32_t ids[] = {11, 1000000, 0x80000000u};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        add_bytes(&v);
        put_vocab(&g, &v, "gpt2");
        gguf_bytes_u32(&g, KEY("eos_token_id"), ids[i]);
        refuse_gguf(&g, SNELLEN_E_FORMAT);
    }
    char *longest = malloc(5001);
    memset(longest, 'a', 5000);
    longest[5000] = 0;
    add(&v, longest, NORMAL, 0);
    refuse_vocab(&v, "gpt2", NULL, SNELLEN_E_FORMAT);
    free(longest);
}

static void test_wrong_scores(void **state)
{
    (void)state;
    struct vocab v = {0};
    struct gguf_bytes g = {0};
    struct tokenizer *t;
    add_sentencepiece(&v, pieces, N_PIECES);
    v.scores[AB] = NAN;
    refuse_vocab(&v, "llama", NULL, SNELLEN_E_FORMAT);
    add_sentencepiece(&v, pieces, N_PIECES);
    v.scores[AB] = -INFINITY;  /* a number, and the last to be merged */
    v.scores[_A] = INFINITY;
    put_vocab(&g, &v, "llama");
    MUST(read_vocab(&g, &t, err));
    CHECK_IDS(t, "abc", 0, _A, BC);
    tokenizer_free(t);
    gguf_bytes_text(&g, KEY("model"), "llama");
    put_array(&g, KEY("tokens"), GGUF_TEXT, 2, "\1\0\0\0\0\0\0\0a\1\0\0\0\0\0\0\0b", 18);
    put_array(&g, KEY("scores"), GGUF_F32, 1, "\0\0\0\0", 4);
    refuse_gguf(&g, SNELLEN_E_FORMAT);
    gguf_bytes_text(&g, KEY("model"), "llama");
    put_array(&g, KEY("tokens"), GGUF_TEXT, 2, "\1\0\0\0\0\0\0\0a\1\0\0\0\0\0\0\0b", 18);
    put_array(&g, KEY("token_type"), GGUF_I32, 1, "\1\0\0\0", 4);
    refuse_gguf(&g, SNELLEN_E_FORMAT);
}

/* ---- tokenizer.json ---------------------------------------------------------------------------------------------- */

static snellen_status read_json(const char *json, const char *config, struct tokenizer **t, snellen_error *err)
{
    *t = NULL;
    return tokenizer_from_json(json, strlen(json), config, config ? strlen(config) : 0, "tokenizer.json", t, err);
}

#define BPE(more)                                                                                                      \
    "{" more " \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a b\"]}}"

static void test_wrong_json(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        snellen_status status;
    } wrong[] = {
        {"", SNELLEN_E_FORMAT},
        {"[]", SNELLEN_E_FORMAT},
        {"{}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"Unigram\", \"vocab\": []}}", SNELLEN_E_UNSUPPORTED},
        {"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}", SNELLEN_E_UNSUPPORTED},
        {"{\"model\": {\"type\": \"BPE\"}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0.5}, \"merges\": []}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 4000000000}, \"merges\": []}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [7]}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b c\"]}}", SNELLEN_E_FORMAT},
        {"{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
         SNELLEN_E_UNSUPPORTED},
        {BPE("\"added_tokens\": {},"), SNELLEN_E_FORMAT},
        {BPE("\"added_tokens\": [{\"content\": \"x\"}],"), SNELLEN_E_FORMAT},
        {BPE("\"added_tokens\": [{\"id\": 3}],"), SNELLEN_E_FORMAT},
        {BPE("\"added_tokens\": [{\"id\": 1, \"content\": \"x\"}],"), SNELLEN_E_FORMAT},
        {BPE("\"added_tokens\": [{\"id\": 9000000, \"content\": \"x\"}],"), SNELLEN_E_FORMAT},
        {BPE("\"normalizer\": {\"type\": \"Lowercase\"},"), SNELLEN_E_UNSUPPORTED},
        {BPE("\"normalizer\": {},"), SNELLEN_E_FORMAT},
        {BPE("\"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"},"), SNELLEN_E_UNSUPPORTED},
        {BPE("\"pre_tokenizer\": {\"type\": \"Sequence\"},"), SNELLEN_E_FORMAT},
        {BPE("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": \"Removed\"},"),
         SNELLEN_E_UNSUPPORTED},
        {BPE("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\"},"),
         SNELLEN_E_UNSUPPORTED},
        {BPE("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a&&b]\"}, \"behavior\": \"Isolated\"},"),
         SNELLEN_E_UNSUPPORTED},
        {BPE("\"decoder\": {\"type\": \"WordPiece\"},"), SNELLEN_E_UNSUPPORTED},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        struct tokenizer *t;
        snellen_error err = {0};
        snellen_status status = read_json(wrong[i].json, NULL, &t, &err);
        if (status != wrong[i].status || t || !err.message[0])
            fail_msg("%s: status %d, %d expected: %s", wrong[i].json, status, wrong[i].status, err.message);
    }
}

/* Names in the configuration beside it; holes between ids; characters without a token. */
static void test_config(void **state)
{
    (void)state;
    struct tokenizer *t;
    MUST(read_json(BPE("\"added_tokens\": [{\"id\": 9, \"content\": \"<b>\", \"special\": true}, {\"id\": 7, \"content\": "
                       "\"<e>\", \"special\": true}],"),
                   "{\"bos_token\": {\"content\": \"<b>\"}, \"eos_token\": \"<e>\", \"add_bos_token\": true}", &t, err));
    assert_int_equal(tokenizer_size(t), 10);
    bool wanted;
    assert_int_equal(tokenizer_bos(t, &wanted), 9);
    assert_true(wanted && tokenizer_ends(t, 7) && !tokenizer_ends(t, 9));
    assert_string_equal(tokenizer_kind(t, 5), "unused");
    size_t n;
    assert_string_equal(tokenizer_bytes(t, 5, &n), "");
    int32_t *ids;
    MUST(tokenizer_encode(t, "abxb", 4, SNELLEN_BOS, &ids, &n, err));
    assert_true(n == 3 && ids[0] == 9 && ids[1] == 2 && ids[2] == 1);
    snellen_free(ids);
    tokenizer_free(t);
    MUST_FAIL(SNELLEN_E_FORMAT, read_json(BPE(""), "{", &t, err));
}

/* An expression that takes for ever on some texts is stopped; a text it can cut is cut. */
static void test_hostile_expression(void **state)
{
    (void)state;
    struct tokenizer *t;
    MUST(read_json(BPE("\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a+)+b|a\"}, \"behavior\": "
                       "\"Isolated\"},"),
                   NULL, &t, err));
    CHECK_IDS(t, "ab", 0, 2);
    char text[200];
    memset(text, 'a', sizeof text);
    int32_t *ids;
    size_t n;
    MUST_FAIL(SNELLEN_E_UNSUPPORTED, tokenizer_encode(t, text, sizeof text, 0, &ids, &n, err));
    tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentencepiece),
        cmocka_unit_test(test_byte_level),
        cmocka_unit_test(test_odd_vocabularies),
        cmocka_unit_test(test_wrong_merges),
        cmocka_unit_test(test_wrong_keys),
        cmocka_unit_test(test_wrong_scores),
        cmocka_unit_test(test_wrong_json),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_hostile_expression),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
