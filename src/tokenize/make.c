/* Vocabularies of small models: whole words, or the characters of a text, as the tokenizer.json that Hugging Face
 * tokenizers and vocab_hf.c read. */
#include "tokenize/hf.h"

#include <stdlib.h>
#include <string.h>

/* Symbols in the order of their ids. */
struct maker {
    const struct vocabulary *v;
    json_t *vocab;          /* symbol -> id */
    json_t *added;          /* the special ones */
};

static snellen_status out_of_memory(snellen_error *err)
{
    FAIL(SNELLEN_E_MEMORY, "vocabulary: memory ran out");
}

json_t *hf_added_token(int32_t id, const char *text, size_t n, const struct added *a, bool special)
{
    return json_pack("{s:I, s:s%, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content", text, n, "single_word",
                     a->single_word, "lstrip", a->strip_left, "rstrip", a->strip_right, "normalized", 0, "special",
                     special);
}

static snellen_status add(struct maker *m, const char *symbol, size_t n, bool special, snellen_error *err)
{
    char shown[SHOWN_PIECE];
    spelling_shown(shown, symbol, n);
    FAIL_IF(n == 0 || n >= LONGEST_PIECE, SNELLEN_E_USAGE, "vocabulary: a symbol of %zu bytes, 1 to %d expected", n,
            LONGEST_PIECE - 1);
    size_t id = json_object_size(m->vocab);
    FAIL_IF(id >= MOST_TOKENS, SNELLEN_E_USAGE, "vocabulary: more than %d symbols", MOST_TOKENS);
    int32_t code;
    for (size_t i = 0, size; i < n; i += size) {
        size = utf8_next(symbol + i, n - i, &code);
        FAIL_IF(!size || !code, SNELLEN_E_USAGE, "vocabulary: the symbol '%s' is not UTF-8 text", shown);
        FAIL_IF(m->v->words && utf8_is_space(code), SNELLEN_E_USAGE, "vocabulary: the word '%s' has white space in it",
                shown);
    }
    FAIL_IF(json_object_getn(m->vocab, symbol, n), SNELLEN_E_USAGE, "vocabulary: '%s' is there twice", shown);
    if (json_object_setn_new(m->vocab, symbol, n, json_integer((json_int_t)id))) return out_of_memory(err);
    if (!special) return SNELLEN_OK;
    json_t *entry = hf_added_token((int32_t)id, symbol, n, &(struct added){0}, true);
    return json_array_append_new(m->added, entry) ? out_of_memory(err) : SNELLEN_OK;
}

static snellen_status add_specials(struct maker *m, snellen_error *err)
{
    const char *const specials[] = {m->v->unknown, m->v->bos, m->v->eos};
    for (size_t i = 0; i < COUNT_OF(specials); i++) {
        bool again = specials[i] && json_object_get(m->vocab, specials[i]);   /* one token may be begin and end */
        if (specials[i] && !again) TRY(add(m, specials[i], strlen(specials[i]), true, err));
    }
    return SNELLEN_OK;
}

/* The characters of the text, each once, by code point. */
static snellen_status add_characters(struct maker *m, snellen_error *err)
{
    enum { CODES = 0x110000 };
    const char **first;    /* [code] where it stands in the text */
    TRY(NEW_ARRAY(&first, CODES, "characters of the text", err));
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0, size; i < m->v->n_text && !status; i += MAX(size, 1)) {
        int32_t code = 0;
        size = utf8_next(m->v->text + i, m->v->n_text - i, &code);
        if (!size)
            status = error_at(err, SNELLEN_E_USAGE, i, "vocabulary: the text is not UTF-8 at byte %zu", i);
        else if (!first[code])
            first[code] = m->v->text + i;
    }
    for (int32_t code = 0; code < CODES && !status; code++)
        if (first[code]) status = add(m, first[code], utf8_next(first[code], 4, NULL), false, err);
    mem_free(first);
    return status;
}

static snellen_status add_all(struct maker *m, snellen_error *err)
{
    const struct vocabulary *v = m->v;
    TRY(add_specials(m, err));
    for (size_t i = 0; v->words && i < v->n_words; i++) TRY(add(m, v->words[i], strlen(v->words[i]), false, err));
    if (!v->words) TRY(add_characters(m, err));
    FAIL_IF(json_object_size(m->vocab) == 0, SNELLEN_E_USAGE, "vocabulary: no symbol in it");
    return SNELLEN_OK;
}

/* tokenizers demands a name for unknown words, there or not. */
static json_t *word_model(json_t *vocab, const char *unknown)
{
    return json_pack("{s:s, s:O, s:s}", "type", "WordLevel", "vocab", vocab, "unk_token", unknown ? unknown : "<unk>");
}

/* Characters are BPE that never merges. */
static json_t *character_model(json_t *vocab, const char *unknown)
{
    return json_pack("{s:s, s:n, s:s?, s:n, s:n, s:b, s:b, s:b, s:O, s:[]}", "type", "BPE", "dropout", "unk_token",
                     unknown, "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                     "ignore_merges", 0, "vocab", vocab, "merges");
}

char *vocabulary_text(bool words, json_t *vocab, json_t *added, const char *unknown)
{
    json_t *root = json_pack("{s:s, s:n, s:n, s:O, s:n, s:o, s:n, s:o, s:o}", "version", "1.0", "truncation", "padding",
                             "added_tokens", added, "normalizer", "pre_tokenizer",
                             words ? json_pack("{s:s}", "type", "WhitespaceSplit") : json_null(), "post_processor",
                             "decoder", words ? json_null() : json_pack("{s:s}", "type", "Fuse"), "model",
                             words ? word_model(vocab, unknown) : character_model(vocab, unknown));
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    return text;
}

static char *config_text(const struct vocabulary *v)
{
    json_t *root = json_pack("{s:s, s:s*, s:s*, s:s*, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "bos_token",
                             v->bos, "eos_token", v->eos, "unk_token", v->unknown, "clean_up_tokenization_spaces", 0);
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    return text;
}

snellen_status vocabulary_make(const struct vocabulary *v, char **tokenizer, char **config, snellen_error *err)
{
    struct maker m = {v, json_object(), json_array()};
    snellen_status status = m.vocab && m.added ? add_all(&m, err) : out_of_memory(err);
    if (!status) {
        *tokenizer = vocabulary_text(v->words != NULL, m.vocab, m.added, v->unknown);
        *config = config_text(v);
        if (!*tokenizer || !*config) {
            free(*tokenizer);
            free(*config);
            status = out_of_memory(err);
        }
    }
    json_decref(m.vocab);
    json_decref(m.added);
    return status;
}
