/* A tokenizer into the keys of a GGUF file, in the kinds that llama.cpp has. */
#include "tokenize/vocab.h"

#include <string.h>

#define KEY(name) "tokenizer.ggml." name

enum gguf_token_type { TYPE_NORMAL = 1, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_USER, TYPE_UNUSED, TYPE_BYTE };

/* Words and characters are made here and are told apart by a key of ours. */
static bool is_small(const struct tokenizer *t)
{
    return t->symbols == SYMBOLS_WORDS || (t->symbols == SYMBOLS_CHARACTERS && !t->byte_fallback && !t->merges.n &&
                                           !t->orders && !t->pre.n && !t->normal_form && !t->prefix);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

/* Ids of which the tokenizer knows nothing have rows in the model all the same. */
static void add_filler(struct gguf_writer *w, int64_t id)
{
    char name[32];
    int n = snprintf(name, sizeof name, "[PAD%lld]", (long long)id);
    gguf_add_text(w, name, (size_t)n);
}

static bool is_filler(const struct tokenizer *t, int64_t id)
{
    return id >= t->n || !t->tokens[id].n;
}

static void put_tokens(const struct tokenizer *t, int64_t n_vocab, bool small, struct gguf_writer *w)
{
    gguf_put_array(w, KEY("tokens"), GGUF_WRITES_TEXT, (uint64_t)n_vocab);
    for (int64_t i = 0; i < n_vocab; i++) {
        if (is_filler(t, i)) {
            add_filler(w, i);
            continue;
        }
        const struct token *token = &t->tokens[i];
        char letters[3 * LONGEST_PIECE];
        bool spelled = token->kind == TOKEN_NORMAL && !token->hidden && t->symbols == SYMBOLS_BYTES;
        bool spaced = small && t->symbols == SYMBOLS_WORDS && token->kind == TOKEN_NORMAL;
        if (spelled)
            gguf_add_text(w, letters, spelling_letters(token->bytes, token->n, letters));
        else
            gguf_add_text(w, token->bytes + spaced, token->n - spaced);
    }
}

static void put_types(const struct tokenizer *t, int64_t n_vocab, bool small, struct gguf_writer *w)
{
    static const int32_t types[] = {[TOKEN_NORMAL] = TYPE_NORMAL, [TOKEN_SPECIAL] = TYPE_CONTROL,
                                    [TOKEN_USER] = TYPE_USER, [TOKEN_BYTE] = TYPE_BYTE, [TOKEN_UNUSED] = TYPE_UNUSED};
    gguf_put_array(w, KEY("token_type"), GGUF_WRITES_INT, (uint64_t)n_vocab);
    for (int64_t i = 0; i < n_vocab; i++) {
        bool plain = !is_filler(t, i) && t->tokens[i].kind == TOKEN_NORMAL;
        gguf_add_int(w, is_filler(t, i) ? TYPE_UNUSED : small && plain ? TYPE_USER : types[t->tokens[i].kind]);
    }
}

static void put_special(const struct tokenizer *t, struct gguf_writer *w)
{
    if (t->bos >= 0) gguf_put_int(w, KEY("bos_token_id"), t->bos);
    if (t->eos >= 0) gguf_put_int(w, KEY("eos_token_id"), t->eos);
    if (t->unknown >= 0) gguf_put_int(w, KEY("unknown_token_id"), t->unknown);
    gguf_put_bool(w, KEY("add_bos_token"), t->wants_bos && t->bos >= 0);
    if (t->template) gguf_put_bytes(w, "tokenizer.chat_template", t->template, t->n_template);
}

/* ---- merges ------------------------------------------------------------------------------------------------------ */

/* All merges by rank; by mem_free(). */
static snellen_status merges_in_order(const struct tokenizer *t, const struct merge ***out, snellen_error *err)
{
    const struct merge **list;
    uint64_t most = 0, n = 0;
    for (uint64_t i = 0; t->merges.slots && i <= t->merges.mask; i++)
        if (t->merges.slots[i].left >= 0) most = MAX(most, (uint64_t)t->merges.slots[i].rank + 1);
    TRY(NEW_ARRAY(&list, most, "merges", err));
    for (uint64_t i = 0; i < (most ? t->merges.mask + 1 : 0); i++)
        if (t->merges.slots[i].left >= 0) list[t->merges.slots[i].rank] = &t->merges.slots[i];
    for (uint64_t i = 0; i < most; i++)   /* some ranks are not used */
        if (list[i]) list[n++] = list[i];
    *out = list;
    return SNELLEN_OK;
}

static snellen_status put_merges(const struct tokenizer *t, struct gguf_writer *w, snellen_error *err)
{
    const struct merge **list;
    TRY(merges_in_order(t, &list, err));
    gguf_put_array(w, KEY("merges"), GGUF_WRITES_TEXT, t->merges.n);
    for (uint64_t i = 0; i < t->merges.n; i++) {
        const struct token *left = &t->tokens[list[i]->left], *right = &t->tokens[list[i]->right];
        char text[3 * LONGEST_PIECE + 1];
        size_t n = spelling_letters(left->bytes, left->n, text);
        text[n++] = ' ';
        n += spelling_letters(right->bytes, right->n, text + n);
        gguf_add_text(w, text, n);
    }
    mem_free(list);
    return SNELLEN_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

snellen_status tokenizer_put_gguf(const struct tokenizer *t, int64_t n_vocab, struct gguf_writer *w, snellen_error *err)
{
    bool small = is_small(t);
    const char *pre = small ? "gpt-2" : pretokenizer_name(&t->pre, t->ignore_merges);
    FAIL_IF(!small && t->symbols != SYMBOLS_BYTES, SNELLEN_E_UNSUPPORTED,
            "the tokenizer merges characters by rank, which GGUF files cannot hold; leave it out (--no-tokenizer)");
    FAIL_IF(!pre || (!small && t->prefix), SNELLEN_E_UNSUPPORTED,
            "the tokenizer cuts text in a way that GGUF files have no name for; leave it out (--no-tokenizer)");
    gguf_put_text(w, KEY("model"), "gpt2");
    gguf_put_text(w, KEY("pre"), pre);
    if (small) gguf_put_text(w, "snellen.tokenizer", t->symbols == SYMBOLS_WORDS ? "words" : "characters");
    put_tokens(t, n_vocab, small, w);
    put_types(t, n_vocab, small, w);
    put_special(t, w);
    return put_merges(t, w, err);
}
