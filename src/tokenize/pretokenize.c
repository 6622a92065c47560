/* Text to words. A tokenizer has a list of regular expressions; each cuts what the one before it left into matches and the
 * stretches between them. Bytes that are no UTF-8 match nothing and so become words of their own, without loss. */
#include "tokenize/vocab.h"

#include <string.h>

/* ---- the patterns of the field ------------------------------------------------------------------------------------------ */

const char split_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char split_digits[] = "\\p{N}";
static const char split_llama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
static const char split_qwen2[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";
static const char split_bloom[] = " ?[^(\\s|.,!?\xe2\x80\xa6\xe3\x80\x82\xef\xbc\x8c\xe3\x80\x81\xe0\xa5\xa4\xdb\x94\xd8\x8c)]+";
static const char split_punctuation[] = "[\\p{P}\\$\\+<=>\\^~\\|]+";
static const char split_numbers[] = "\\p{N}+";
static const char split_thousands[] = "[0-9][0-9][0-9]";

/* Names of tokenizer.ggml.pre. */
static const struct {
    const char *name;
    const char *splits[4];
} named_splits[] = {
    {"gpt-2", {split_gpt2}},
    {"gpt2", {split_gpt2}},
    {"olmo", {split_gpt2}},
    {"mpt", {split_gpt2}},
    {"smollm", {split_digits, split_gpt2}},
    {"starcoder", {split_digits, split_gpt2}},
    {"refact", {split_digits, split_gpt2}},
    {"command-r", {split_digits, split_gpt2}},
    {"codeshell", {split_digits, split_gpt2}},
    {"llama3", {split_llama3}},
    {"llama-v3", {split_llama3}},
    {"llama-bpe", {split_llama3}},
    {"dbrx", {split_llama3}},
    {"smaug-bpe", {split_llama3}},
    {"qwen2", {split_qwen2}},
    {"deepseek-r1-qwen", {split_qwen2}},
    {"bloom", {split_bloom}},
    {"default", {split_punctuation, split_gpt2, split_numbers, split_thousands}},
};

snellen_status split_add(struct tokenizer *t, const char *regex, size_t n, snellen_error *err)
{
    int code;
    PCRE2_SIZE at;
    FAIL_IF(t->n_splits == MAX_SPLITS, SNELLEN_E_UNSUPPORTED, "%s: more than %d splits of the text", t->name, MAX_SPLITS);
    FAIL_IF(n > 4096, SNELLEN_E_UNSUPPORTED, "%s: a regular expression of %zu bytes, at most 4096 expected", t->name, n);
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)regex, n, PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF, &code, &at,
                                         NULL);
    if (!compiled) {
        char why[200];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        FAIL(SNELLEN_E_FORMAT, "%s: regular expression of the pre-tokenizer: %s at byte %zu", t->name, why, at);
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);    /* without it matching is slower, not different */
    t->splits[t->n_splits++] = compiled;
    return SNELLEN_OK;
}

snellen_status split_add_named(struct tokenizer *t, const char *name, size_t n, snellen_error *err)
{
    for (size_t i = 0; i < COUNT_OF(named_splits); i++) {
        if (strlen(named_splits[i].name) != n || memcmp(named_splits[i].name, name, n)) continue;
        for (size_t j = 0; j < COUNT_OF(named_splits[i].splits) && named_splits[i].splits[j]; j++)
            TRY(split_add(t, named_splits[i].splits[j], strlen(named_splits[i].splits[j]), err));
        return SNELLEN_OK;
    }
    FAIL(SNELLEN_E_UNSUPPORTED, "%s: pre-tokenizer '%.*s' is not supported", t->name, (int)MIN(n, 80), name);
}

/* ---- cutting ---------------------------------------------------------------------------------------------------------------- */

struct cutting {
    const struct tokenizer *t;
    pcre2_match_data *match[MAX_SPLITS];
    pcre2_match_context *limits;
    snellen_status (*word)(void *user, const char *text, size_t n, snellen_error *err);
    void *user;
};

static snellen_status cut(const struct cutting *c, int stage, const char *text, size_t n, snellen_error *err)
{
    if (!n) return SNELLEN_OK;
    if (stage == c->t->n_splits) return c->word(c->user, text, n, err);
    size_t done = 0, at = 0;
    while (at < n) {
        int found = pcre2_match(c->t->splits[stage], (PCRE2_SPTR)text, n, at, 0, c->match[stage], c->limits);
        FAIL_IF(found < 0 && found != PCRE2_ERROR_NOMATCH, SNELLEN_E_FORMAT,
                "%s: the pre-tokenizer's regular expression gave up on the text (code %d)", c->t->name, found);
        if (found < 0) break;
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(c->match[stage]);
        size_t start = range[0], end = range[1];
        if (end <= start) {   /* an empty match cuts nothing */
            at = MAX(end, at) + 1;
            continue;
        }
        TRY(cut(c, stage + 1, text + done, start - done, err));
        TRY(cut(c, stage + 1, text + start, end - start, err));
        done = at = end;
    }
    return cut(c, stage + 1, text + done, n - done, err);
}

snellen_status split_words(const struct tokenizer *t, const char *text, size_t n,
                           snellen_status (*word)(void *user, const char *text, size_t n, snellen_error *err), void *user,
                           snellen_error *err)
{
    enum { MATCH_LIMIT = 50000000 };
    struct cutting c = {.t = t, .word = word, .user = user, .limits = pcre2_match_context_create(NULL)};
    bool ready = c.limits != NULL;
    if (ready) pcre2_set_match_limit(c.limits, MATCH_LIMIT);
    for (int i = 0; i < t->n_splits; i++) {
        c.match[i] = pcre2_match_data_create(1, NULL);
        ready = ready && c.match[i];
    }
    snellen_status status = ready ? cut(&c, 0, text, n, err) : error_set(err, SNELLEN_E_MEMORY, "memory ran out");
    for (int i = 0; i < t->n_splits; i++) pcre2_match_data_free(c.match[i]);
    pcre2_match_context_free(c.limits);
    return status;
}
