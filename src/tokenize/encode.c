/* Text to tokens and back, over a vocabulary that does not change.
 *
 * Encoding: added tokens are found in the text; what lies between them is normalised where the vocabulary asks for it
 * (a space put before, a Unicode normal form), searched once more, cut into words, and each word merged. Decoding puts
 * the tokens' bytes together and takes the spaces away that encoding put there. Without a normal form and with a token
 * for every byte, decoding gives back exactly what was encoded. */
#include "tokenize/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- words ------------------------------------------------------------------------------------------------------- */

static snellen_status word_to_tokens(void *user, const char *text, size_t n, snellen_error *err)
{
    return bpe_word(user, text, n, err);
}

/* Bytes that are no UTF-8. One that has no token is written as U+FFFD, so that it can be seen that there was something;
 * a valid character that cannot be spelled is left out, as llama.cpp and Hugging Face do. */
static snellen_status invalid_bytes(struct bpe *b, const char *text, size_t n, snellen_error *err)
{
    static const char replacement[] = "\ufffd";
    const struct tokenizer *t = b->t;
    if (t->symbols != SYMBOLS_BYTES) return bpe_word(b, text, n, err);
    for (size_t begin = 0, end; begin < n; begin = end) {
        bool spelled = t->byte_ids[(uint8_t)text[begin]] >= 0;
        for (end = begin + 1; end < n && (t->byte_ids[(uint8_t)text[end]] >= 0) == spelled;) end++;
        if (spelled) TRY(bpe_word(b, text + begin, end - begin, err));
        for (size_t i = begin; i < end && !spelled; i++) TRY(bpe_word(b, replacement, 3, err));
    }
    return SNELLEN_OK;
}

/* Where the stretch of valid (or of invalid) UTF-8 ends that begins at text. */
static size_t stretch_end(const char *text, size_t n, bool *valid)
{
    *valid = utf8_next(text, n, NULL) > 0;
    size_t i = 0;
    for (size_t size; i < n; i += MAX(size, 1)) {
        size = utf8_next(text + i, n - i, NULL);
        if ((size > 0) != *valid) break;
    }
    return i;
}

static snellen_status plain_text(struct bpe *b, const char *text, size_t n, snellen_error *err)
{
    const struct word_sink sink = {word_to_tokens, b};
    if (b->t->symbols == SYMBOLS_WORDS) return words_encode(b->t, b->out, text, n, err);
    if (b->t->pre.n == 0 && b->t->symbols == SYMBOLS_CHARACTERS) return n ? bpe_word(b, text, n, err) : SNELLEN_OK;
    for (size_t begin = 0, size; begin < n; begin += size) {
        bool valid;
        size = stretch_end(text + begin, n - begin, &valid);
        if (valid)
            TRY(pretokenizer_run(&b->t->pre, text + begin, size, &sink, err));
        else
            TRY(invalid_bytes(b, text + begin, size, err));
    }
    return SNELLEN_OK;
}

/* ---- added tokens and normalising -------------------------------------------------------------------------------- */

/* Text after normalising: the tokens that are found in it, and what lies between them. */
static snellen_status normal_text(struct bpe *b, const char *text, size_t n, bool special, snellen_error *err)
{
    size_t from = 0, begin, end;
    const struct added *a;
    while ((a = added_set_find(&b->t->added_normal, b->t, text, n, from, special, &begin, &end))) {
        TRY(plain_text(b, text + from, begin - from, err));
        TRY(id_list_put(b->out, a->id, err));
        from = end;
    }
    return plain_text(b, text + from, n - from, err);
}

static bool is_ascii(const char *text, size_t n)
{
    uint8_t all = 0;
    for (size_t i = 0; i < n; i++) all |= (uint8_t)text[i];
    return all < 0x80;
}

/* The normal form of the valid stretches; other bytes stay. */
static snellen_status put_normal_form(struct strbuf *out, const char *text, size_t n, int options, snellen_error *err)
{
    for (size_t begin = 0, size; begin < n; begin += size) {
        bool valid;
        size = stretch_end(text + begin, n - begin, &valid);
        if (!valid || is_ascii(text + begin, size)) {
            strbuf_put(out, text + begin, size);
            continue;
        }
        utf8proc_uint8_t *mapped = NULL;
        utf8proc_ssize_t n_mapped =
            utf8proc_map((const utf8proc_uint8_t *)text + begin, (utf8proc_ssize_t)size, &mapped, options);
        if (n_mapped < 0) {
            snellen_status status = n_mapped == UTF8PROC_ERROR_NOMEM ? SNELLEN_E_MEMORY : SNELLEN_E_INTERNAL;
            FAIL(status, "Unicode normal form of %zu bytes: %s", size, utf8proc_errmsg(n_mapped));
        }
        strbuf_put(out, mapped, (size_t)n_mapped);
        free(mapped);
    }
    return SNELLEN_OK;
}

/* Text between two added tokens. */
static snellen_status raw_text(struct bpe *b, const char *text, size_t n, bool first, bool special, snellen_error *err)
{
    const struct tokenizer *t = b->t;
    if (n == 0) return SNELLEN_OK;
    bool prefix = (t->prefix == PREFIX_EACH || (t->prefix == PREFIX_FIRST && first)) &&
                  !(t->prefix_unless_space && text[0] == ' ');
    if (!prefix && !t->normal_form) return normal_text(b, text, n, special, err);
    struct strbuf changed = {0};
    if (prefix) strbuf_puts(&changed, " ");
    snellen_status status = SNELLEN_OK;
    if (t->normal_form)
        status = put_normal_form(&changed, text, n, t->normal_form, err);
    else
        strbuf_put(&changed, text, n);
    if (!status && changed.failed) status = error_set(err, SNELLEN_E_MEMORY, "text to tokenise: memory ran out");
    if (!status) status = normal_text(b, changed.text, changed.n, special, err);
    strbuf_free(&changed);
    return status;
}

static snellen_status encode(struct bpe *b, const char *text, size_t n, unsigned flags, snellen_error *err)
{
    const struct tokenizer *t = b->t;
    bool special = flags & SNELLEN_SPECIAL;
    if ((flags & SNELLEN_BOS) && t->wants_bos && t->bos >= 0) TRY(id_list_put(b->out, t->bos, err));
    size_t from = 0, begin, end;
    const struct added *a;
    while ((a = added_set_find(&t->added, t, text, n, from, special, &begin, &end))) {
        TRY(raw_text(b, text + from, begin - from, from == 0, special, err));
        TRY(id_list_put(b->out, a->id, err));
        from = end;
    }
    return raw_text(b, text + from, n - from, from == 0, special, err);
}

snellen_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n_bytes, unsigned flags,
                                int32_t **ids, size_t *n_ids, snellen_error *err)
{
    struct id_list out = {0};
    struct bpe b = {.t = t, .out = &out};
    FAIL_IF(flags & ~(unsigned)(SNELLEN_SPECIAL | SNELLEN_BOS), SNELLEN_E_USAGE, "tokenize: unknown flags 0x%x", flags);
    snellen_status status = encode(&b, n_bytes ? text : "", n_bytes, flags, err);
    bpe_free(&b);
    if (!status && !out.ids) {
        out.ids = malloc(sizeof *out.ids);  /* no tokens are an array too */
        if (!out.ids) status = error_set(err, SNELLEN_E_MEMORY, "tokens: memory ran out");
    }
    if (status) {
        free(out.ids);
        return status;
    }
    *ids = out.ids;
    *n_ids = out.n;
    return SNELLEN_OK;
}

/* ---- tokens to text ---------------------------------------------------------------------------------------------- */

snellen_status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n_ids, unsigned flags,
                                char **text, size_t *n_bytes, snellen_error *err)
{
    FAIL_IF(flags & ~(unsigned)(SNELLEN_SPECIAL | SNELLEN_BOS), SNELLEN_E_USAGE, "detokenize: unknown flags 0x%x",
            flags);
    struct strbuf out = {0};
    bool prefixed = t->prefix != PREFIX_NONE;  /* a space that stands here was put there by encoding */
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= t->n) {
            strbuf_free(&out);
            FAIL(SNELLEN_E_USAGE, "token %zu is %d: ids from 0 to %d expected", i, ids[i], t->n - 1);
        }
        const struct token *token = &t->tokens[ids[i]];
        size_t skip = prefixed && !token->added && token->n && token->bytes[0] == ' ';
        if (token->kind != TOKEN_SPECIAL || (flags & SNELLEN_SPECIAL))
            strbuf_put(&out, token->bytes + skip, token->n - skip);
        bool only_bos = i == 0 && ids[0] == t->bos;
        prefixed = token->added && (t->prefix == PREFIX_EACH || (t->prefix == PREFIX_FIRST && only_bos));
    }
    return strbuf_take(&out, text, n_bytes, err);
}

/* ---- what is known of tokens ------------------------------------------------------------------------------------- */

int64_t tokenizer_size(const struct tokenizer *t)
{
    return t->n;
}

const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n_bytes)
{
    bool known = id >= 0 && id < t->n;
    if (n_bytes) *n_bytes = known ? t->tokens[id].n : 0;
    if (!known) return NULL;
    return t->tokens[id].bytes;
}

const char *tokenizer_kind(const struct tokenizer *t, int32_t id)
{
    static const char *const names[] = {[TOKEN_NORMAL] = "normal", [TOKEN_SPECIAL] = "special", [TOKEN_USER] = "user",
                                        [TOKEN_BYTE] = "byte", [TOKEN_UNUSED] = "unused"};
    return names[id >= 0 && id < t->n ? t->tokens[id].kind : TOKEN_UNUSED];
}

bool tokenizer_ends(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n && t->tokens[id].ends;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->eos;
}

int32_t tokenizer_bos(const struct tokenizer *t, bool *wanted)
{
    if (wanted) *wanted = t->wants_bos && t->bos >= 0;
    return t->bos;
}
