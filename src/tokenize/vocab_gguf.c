/* The tokenizer that a GGUF file carries in its keys: tokenizer.ggml.* and tokenizer.chat_template.
 *
 * Two kinds: "gpt2", byte-level BPE with merges, and "llama", SentencePiece's BPE with scores. Absent keys mean what
 * llama.cpp takes them to mean. Vocabularies of small models made here (make.c) are of the kind "gpt2" for llama.cpp's
 * sake, with tokens that it finds in the text as they are; the key snellen.tokenizer says what they really are. */
#include "tokenize/vocab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

/* The numbers of tokenizer.ggml.token_type. */
enum gguf_token_type { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

struct reader {
    const struct gguf *g;
    const char *file;
    struct tokenizer *t;
    bool sentencepiece;
    bool words, characters;   /* made here */
};

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static snellen_status token_type(const struct reader *r, uint64_t i, enum token_kind *kind, snellen_error *err)
{
    int64_t type = TYPE_NORMAL;
    uint64_t n;
    if (gguf_array(r->g, KEY("token_type"), &n))
        FAIL_IF(!gguf_array_int(r->g, KEY("token_type"), i, &type), SNELLEN_E_FORMAT,
                "%s: tokenizer: %llu token types for %d tokens, or no numbers", r->file, (unsigned long long)n,
                r->t->n);
    switch (type) {
    case TYPE_UNKNOWN: case TYPE_CONTROL: *kind = TOKEN_SPECIAL; break;
    case TYPE_USER: *kind = TOKEN_USER; break;
    case TYPE_UNUSED: *kind = TOKEN_UNUSED; break;
    case TYPE_BYTE: *kind = TOKEN_BYTE; break;
    default: *kind = TOKEN_NORMAL;
    }
    return SNELLEN_OK;
}

/* Token i, its spelling undone. Added tokens are spelled as they are, but for the spaces of SentencePiece. */
static snellen_status read_token(const struct reader *r, uint64_t i, snellen_error *err)
{
    const char *text;
    size_t n;
    enum token_kind kind;
    char bytes[LONGEST_PIECE];
    FAIL_IF(!gguf_array_text(r->g, KEY("tokens"), i, &text, &n), SNELLEN_E_FORMAT,
            "%s: tokenizer: token %llu is no text", r->file, (unsigned long long)i);
    FAIL_IF(n > LONGEST_PIECE, SNELLEN_E_FORMAT, "%s: tokenizer: token %llu has %zu bytes, at most %d expected",
            r->file, (unsigned long long)i, n, LONGEST_PIECE);
    TRY(token_type(r, i, &kind, err));
    if (kind == TOKEN_NORMAL && is_end_name(text, n)) kind = TOKEN_SPECIAL;  /* some converters forgot to say so */
    bool good = true;
    int byte = kind == TOKEN_BYTE ? spelling_byte_token(text, n) : -1;
    if (kind == TOKEN_BYTE && byte < 0) kind = TOKEN_NORMAL;
    if (byte >= 0) {
        bytes[0] = (char)byte;
        n = 1;
    } else if (r->words && kind != TOKEN_SPECIAL && n < LONGEST_PIECE) {
        bytes[0] = ' ';
        memcpy(bytes + 1, text, n++);
        kind = TOKEN_NORMAL;
    } else if (r->characters && kind != TOKEN_SPECIAL) {
        memcpy(bytes, text, n);
        kind = TOKEN_NORMAL;
    } else if (r->sentencepiece && kind != TOKEN_SPECIAL) {
        good = spelling_spaces(text, n, bytes, &n) || kind == TOKEN_USER;
    } else if (!r->sentencepiece && kind == TOKEN_NORMAL) {
        good = spelling_bytes(text, n, bytes, &n);
    } else {
        memcpy(bytes, text, n);
    }
    TRY(token_set(r->t, (int64_t)i, bytes, n, kind, r->file, err));
    r->t->tokens[i].hidden = !good;
    return SNELLEN_OK;
}

/* A special token by its key; `otherwise` where the key is absent. An id out of range is an error, -1 is none. */
static snellen_status special_id(const struct reader *r, const char *key, int64_t otherwise, int32_t *id,
                                 snellen_error *err)
{
    int64_t value;
    if (!gguf_int(r->g, key, &value)) value = otherwise < r->t->n ? otherwise : -1;
    if (value == UINT32_MAX) value = -1;  /* as some files write none */
    FAIL_IF(value < -1 || value >= r->t->n, SNELLEN_E_FORMAT, "%s: '%s' is %lld, tokens are 0 .. %d", r->file, key,
            (long long)value, r->t->n - 1);
    *id = (int32_t)value;
    return SNELLEN_OK;
}

static snellen_status read_special_ids(const struct reader *r, snellen_error *err)
{
    static const char *const ends[] = {KEY("eos_token_id"), KEY("eot_token_id"), KEY("eom_token_id")};
    struct tokenizer *t = r->t;
    int32_t id = -1;
    TRY(special_id(r, KEY("bos_token_id"), r->sentencepiece ? 1 : -1, &t->bos, err));
    TRY(special_id(r, KEY("unknown_token_id"), r->sentencepiece ? 0 : -1, &t->unknown, err));
    for (size_t i = 0; i < COUNT_OF(ends); i++) {
        TRY(special_id(r, ends[i], i == 0 && r->sentencepiece ? 2 : -1, &id, err));
        if (id >= 0) t->tokens[id].ends = true;
        if (t->eos < 0) t->eos = id;
    }
    return SNELLEN_OK;
}

static snellen_status read_added(const struct reader *r, snellen_error *err)
{
    struct tokenizer *t = r->t;
    struct added *list;
    size_t n = 0;
    for (int32_t i = 0; i < t->n; i++) n += t->tokens[i].kind == TOKEN_SPECIAL || t->tokens[i].kind == TOKEN_USER;
    TRY(NEW_ARRAY(&list, n, r->file, err));
    n = 0;
    for (int32_t i = 0; i < t->n; i++)
        if (t->tokens[i].kind == TOKEN_SPECIAL || t->tokens[i].kind == TOKEN_USER) list[n++].id = i;
    return added_set_make(&t->added, list, n, t, r->file, err);
}

/* ---- merges and scores ------------------------------------------------------------------------------------------- */

/* "left right", both spelled as letters for bytes. */
static snellen_status read_merges(const struct reader *r, snellen_error *err)
{
    uint64_t n;
    FAIL_IF(!gguf_array(r->g, KEY("merges"), &n), SNELLEN_E_FORMAT, "%s: tokenizer: '%s' is missing", r->file,
            KEY("merges"));
    TRY(merges_init(r->t, n, r->file, err));
    for (uint64_t i = 0; i < n; i++) {
        const char *text;
        size_t n_text, n_left, n_right;
        char left[LONGEST_PIECE], right[LONGEST_PIECE];
        bool is_text = gguf_array_text(r->g, KEY("merges"), i, &text, &n_text);
        const char *space = is_text && n_text > 1 ? memchr(text + 1, ' ', n_text - 1) : NULL;
        size_t n_rest = space ? n_text - (size_t)(space + 1 - text) : 0;
        FAIL_IF(n_rest == 0 || n_text > LONGEST_PIECE || memchr(space + 1, ' ', n_rest), SNELLEN_E_FORMAT,
                "%s: tokenizer: merge %llu is not two pieces with a space between", r->file, (unsigned long long)i);
        bool good = spelling_bytes(text, (size_t)(space - text), left, &n_left);
        good &= spelling_bytes(space + 1, n_rest, right, &n_right);
        if (good) TRY(merges_add(r->t, (uint32_t)i, left, n_left, right, n_right, r->file, err));
    }
    return SNELLEN_OK;
}

/* A score's place in the order of all floats, highest first. */
static uint32_t order_of(float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits & 0x80000000u ? bits : 0x7fffffffu - bits;
}

static snellen_status read_scores(const struct reader *r, snellen_error *err)
{
    uint64_t n;
    FAIL_IF(!gguf_array(r->g, KEY("scores"), &n) || n != (uint64_t)r->t->n, SNELLEN_E_FORMAT,
            "%s: tokenizer: '%s' with a number for each of the %d tokens expected", r->file, KEY("scores"), r->t->n);
    TRY(NEW_ARRAY(&r->t->orders, n, r->file, err));
    for (uint64_t i = 0; i < n; i++) {
        double score;
        FAIL_IF(!gguf_array_float(r->g, KEY("scores"), i, &score) || isnan(score), SNELLEN_E_FORMAT,
                "%s: tokenizer: the score of token %llu is not a number", r->file, (unsigned long long)i);
        r->t->orders[i] = order_of((float)score + 0.0F);  /* -0 counts as 0 */
    }
    return SNELLEN_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static snellen_status read_pretokenizer(const struct reader *r, bool *bos, snellen_error *err)
{
    const char *text = "default";
    size_t n = strlen(text);
    char name[SHOWN_PIECE];
    gguf_text(r->g, KEY("pre"), &text, &n);
    return pretokenizer_named(&r->t->pre, spelling_shown(name, text, n), &r->t->ignore_merges, bos, r->file, err);
}

static snellen_status read_all(const struct reader *r, snellen_error *err)
{
    struct tokenizer *t = r->t;
    for (int32_t i = 0; i < t->n; i++) TRY(read_token(r, (uint64_t)i, err));
    TRY(read_special_ids(r, err));
    t->symbols = r->words ? SYMBOLS_WORDS : r->sentencepiece || r->characters ? SYMBOLS_CHARACTERS : SYMBOLS_BYTES;
    t->byte_fallback = r->sentencepiece;
    TRY(tokenizer_index(t, r->file, err));
    TRY(read_added(r, err));
    bool bos = r->sentencepiece, prefix = true;
    if (r->sentencepiece) {
        gguf_bool(r->g, KEY("add_space_prefix"), &prefix);
        t->prefix = prefix ? PREFIX_EACH : PREFIX_NONE;
        TRY(read_scores(r, err));
    } else if (r->words || r->characters) {
        t->prefix = r->words ? PREFIX_FIRST : PREFIX_NONE;
        TRY(merges_init(t, 0, r->file, err));
    } else {
        TRY(read_pretokenizer(r, &bos, err));
        TRY(read_merges(r, err));
    }
    gguf_bool(r->g, KEY("add_bos_token"), &bos);
    t->wants_bos = bos;
    const char *template;
    size_t n;
    if (gguf_text(r->g, "tokenizer.chat_template", &template, &n))
        TRY(chat_keep(t, template, n, err));
    return SNELLEN_OK;
}

snellen_status tokenizer_from_gguf(const struct gguf *g, const char *name, struct tokenizer **out, snellen_error *err)
{
    struct reader r = {.g = g, .file = name};
    const char *model;
    char shown[SHOWN_PIECE];
    size_t n_model;
    uint64_t n;
    *out = NULL;
    if (!gguf_text(g, KEY("model"), &model, &n_model)) return SNELLEN_OK;
    r.sentencepiece = n_model == 5 && !memcmp(model, "llama", 5);
    bool bytes = n_model == 4 && !memcmp(model, "gpt2", 4);
    if (n_model == 4 && !memcmp(model, "none", 4)) return SNELLEN_OK;
    FAIL_IF(!r.sentencepiece && !bytes, SNELLEN_E_UNSUPPORTED,
            "%s: tokenizer: the kind '%s' is not supported ('gpt2' and 'llama' are)", name,
            spelling_shown(shown, model, n_model));
    const char *own = "";
    size_t n_own = 0;
    gguf_text(g, "snellen.tokenizer", &own, &n_own);
    r.words = bytes && n_own == 5 && !memcmp(own, "words", 5);
    r.characters = bytes && n_own == 10 && !memcmp(own, "characters", 10);
    FAIL_IF(n_own && !r.words && !r.characters, SNELLEN_E_UNSUPPORTED,
            "%s: 'snellen.tokenizer' = '%s' is not supported", name, spelling_shown(shown, own, n_own));
    FAIL_IF(!gguf_array(g, KEY("tokens"), &n), SNELLEN_E_FORMAT, "%s: tokenizer: '%s' is missing", name, KEY("tokens"));
    TRY(tokenizer_new(n, name, &r.t, err));
    snellen_status status = read_all(&r, err);
    if (status) {
        tokenizer_free(r.t);
        return status;
    }
    *out = r.t;
    return SNELLEN_OK;
}
