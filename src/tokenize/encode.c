/* Text to ids: special tokens are found first, the stretches between them are normalised, cut into words and merged. */
#include "tokenize/vocab.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

struct encoding {
    const struct tokenizer *t;
    unsigned flags;
    struct bpe_work work;
    struct id_list out;
    struct strbuf text;     /* a stretch in the vocabulary's spelling */
};

/* ---- special tokens ------------------------------------------------------------------------------------------------------ */

/* The longest special token that the text begins with, or -1. Added tokens always count, control tokens when asked for. */
static int32_t special_at(const struct tokenizer *t, const char *text, size_t n, unsigned flags)
{
    unsigned first = (unsigned char)*text;
    for (size_t i = t->special_first[first]; i < t->special_first[first + 1]; i++) {
        const struct piece *p = &t->pieces[t->specials[i]];
        if (p->kind == TOKEN_CONTROL && !(flags & SNELLEN_SPECIAL)) continue;
        if (p->n <= n && !memcmp(p->bytes, text, p->n)) return t->specials[i];
    }
    return -1;
}

/* ---- a stretch without special tokens --------------------------------------------------------------------------------------- */

static snellen_status encode_word(void *user, const char *word, size_t n, snellen_error *err)
{
    struct encoding *e = user;
    return bpe_word(e->t, &e->work, word, n, &e->out, err);
}

/* Canonical composition of valid UTF-8; other bytes stay as they are. */
static snellen_status compose(const char *text, size_t n, struct strbuf *out, snellen_error *err)
{
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t n_composed = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &composed,
                                               UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    FAIL_IF(n_composed == UTF8PROC_ERROR_NOMEM, SNELLEN_E_MEMORY, "text: memory ran out");
    if (n_composed < 0)
        strbuf_put(out, text, n);
    else
        strbuf_put(out, composed, (size_t)n_composed);
    free(composed);
    return SNELLEN_OK;
}

static void spell_spaces(struct strbuf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t run = strcspn(text + i, " ");    /* the text is NUL ended and may hold NULs: */
        if (run > n - i) run = n - i;
        if (run == 0 && text[i] != ' ') run = 1;
        strbuf_put(out, text + i, run);
        i += run;
        for (; i < n && text[i] == ' '; i++) strbuf_puts(out, space_piece);
        if (i < n && text[i] == 0) strbuf_put(out, text + i++, 1);
    }
}

static snellen_status encode_stretch(struct encoding *e, const char *text, size_t n, bool first, snellen_error *err)
{
    const struct tokenizer *t = e->t;
    if (!n) return SNELLEN_OK;
    bool prefix = t->prefix_space == PREFIX_ALWAYS || (t->prefix_space == PREFIX_FIRST && first);
    if (t->byte_level && *text == ' ') prefix = false;
    if (!prefix && !t->spaces_as_pieces && !t->normalize_nfc) return split_words(t, text, n, encode_word, e, err);

    struct strbuf plain = {0};
    e->text.n = 0;
    if (prefix) strbuf_puts(&plain, " ");
    snellen_status status = SNELLEN_OK;
    if (t->normalize_nfc)
        status = compose(text, n, &plain, err);
    else
        strbuf_put(&plain, text, n);
    if (!status && plain.failed) status = error_set(err, SNELLEN_E_MEMORY, "text: memory ran out");
    if (!status && t->spaces_as_pieces)
        spell_spaces(&e->text, plain.text, plain.n);
    else if (!status)
        strbuf_put(&e->text, plain.text, plain.n);
    strbuf_free(&plain);
    TRY(status);
    FAIL_IF(e->text.failed, SNELLEN_E_MEMORY, "text: memory ran out");
    return split_words(t, e->text.text, e->text.n, encode_word, e, err);
}

/* ---- the whole text ------------------------------------------------------------------------------------------------------------ */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static snellen_status encode_text(struct encoding *e, const char *text, size_t n, snellen_error *err)
{
    const struct tokenizer *t = e->t;
    size_t done = 0;
    for (size_t at = 0; at < n;) {
        int32_t id = special_at(t, text + at, n - at, e->flags);
        if (id < 0) {
            at++;
            continue;
        }
        size_t start = at, end = at + t->pieces[id].n;
        while (t->pieces[id].lstrip && start > done && is_blank(text[start - 1])) start--;
        while (t->pieces[id].rstrip && end < n && is_blank(text[end])) end++;
        TRY(encode_stretch(e, text + done, start - done, done == 0, err));
        TRY(ids_push(&e->out, id, err));
        done = at = end;
    }
    return encode_stretch(e, text + done, n - done, done == 0, err);
}

snellen_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n_bytes, unsigned flags, int32_t **ids,
                                size_t *n_ids, snellen_error *err)
{
    struct encoding e = {.t = t, .flags = flags};
    FAIL_IF(n_bytes > INT32_MAX / 8, SNELLEN_E_USAGE, "a text of %zu bytes in one piece, at most %d expected", n_bytes,
            INT32_MAX / 8);
    snellen_status status = SNELLEN_OK;
    if ((flags & SNELLEN_BOS) && t->bos_wanted && t->bos >= 0) status = ids_push(&e.out, t->bos, err);
    if (!status) status = encode_text(&e, text, n_bytes, err);
    if (!status && !e.out.ids) {    /* an empty list is an array too */
        e.out.ids = malloc(sizeof *e.out.ids);
        if (!e.out.ids) status = error_set(err, SNELLEN_E_MEMORY, "tokens: memory ran out");
    }
    bpe_work_free(&e.work);
    strbuf_free(&e.text);
    if (status) {
        free(e.out.ids);
        return status;
    }
    *ids = e.out.ids;
    *n_ids = e.out.n;
    return SNELLEN_OK;
}
