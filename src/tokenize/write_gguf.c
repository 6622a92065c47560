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

static void put_token(const struct tokenizer *t, const struct token *token, bool small, struct gguf_writer *w)
{
    char text[3 * LONGEST_PIECE];
    bool plain = token->kind == TOKEN_NORMAL && !token->hidden;
    size_t n = token->n, spaced = small && t->symbols == SYMBOLS_WORDS && plain;
    if (token->kind == TOKEN_BYTE)
        n = (size_t)sprintf(text, "<0x%02X>", (uint8_t)token->bytes[0]);
    else if (plain && t->symbols == SYMBOLS_BYTES)
        n = spelling_letters(token->bytes, token->n, text);
    else if (!small && t->symbols == SYMBOLS_CHARACTERS && token->kind != TOKEN_SPECIAL)
        n = spelling_marks(token->bytes, token->n, text);
    else
        memcpy(text, token->bytes + spaced, n -= spaced);
    gguf_add_text(w, text, n);
}

static void put_tokens(const struct tokenizer *t, int64_t n_vocab, bool small, struct gguf_writer *w)
{
    gguf_put_array(w, KEY("tokens"), GGUF_WRITES_TEXT, (uint64_t)n_vocab);
    for (int64_t i = 0; i < n_vocab; i++) {
        if (is_filler(t, i))
            add_filler(w, i);
        else
            put_token(t, &t->tokens[i], small, w);
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

/* ---- scores ------------------------------------------------------------------------------------------------------ */

/* The score that has this place in the order of all floats, highest first (vocab_gguf.c). */
static float score_of(uint32_t order)
{
    uint32_t bits = order & 0x80000000u ? order : 0x7fffffffu - order;
    float score;
    memcpy(&score, &bits, sizeof score);
    return score;
}

/* Merges by rank are SentencePiece's scores when each piece has the rank of the first merge that makes it. */
static snellen_status put_scores(const struct tokenizer *t, int64_t n_vocab, struct gguf_writer *w, snellen_error *err)
{
    static const float never = -1e9f;   /* pieces that no merge makes */
    float *scores;
    TRY(NEW_ARRAY(&scores, n_vocab, "scores", err));
    for (int64_t i = 0; i < n_vocab; i++) scores[i] = t->orders && i < t->n ? score_of(t->orders[i]) : never;
    for (uint64_t i = 0; !t->orders && t->merges.n && i <= t->merges.mask; i++) {
        const struct merge *m = &t->merges.slots[i];
        if (m->left >= 0 && m->id < n_vocab) scores[m->id] = MAX(scores[m->id], -1 - (float)m->rank);
    }
    gguf_put_array(w, KEY("scores"), GGUF_WRITES_FLOAT, (uint64_t)n_vocab);
    for (int64_t i = 0; i < n_vocab; i++) gguf_add_float(w, scores[i]);
    mem_free(scores);
    return SNELLEN_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static snellen_status put_bytes_model(const struct tokenizer *t, bool small, struct gguf_writer *w, snellen_error *err)
{
    const char *pre = small ? "gpt-2" : pretokenizer_name(&t->pre, t->ignore_merges);
    FAIL_IF(!pre || (!small && t->prefix), SNELLEN_E_UNSUPPORTED,
            "the tokenizer cuts text in a way that GGUF files have no name for; leave it out (--no-tokenizer)");
    gguf_put_text(w, KEY("model"), "gpt2");
    gguf_put_text(w, KEY("pre"), pre);
    if (small) gguf_put_text(w, "snellen.tokenizer", t->symbols == SYMBOLS_WORDS ? "words" : "characters");
    return put_merges(t, w, err);
}

static snellen_status put_characters_model(const struct tokenizer *t, int64_t n_vocab, struct gguf_writer *w,
                                           snellen_error *err)
{
    FAIL_IF(!t->byte_fallback || t->pre.n > 1 || t->normal_form, SNELLEN_E_UNSUPPORTED,
            "the tokenizer is neither of the kind of GPT-2 nor of SentencePiece's, which GGUF files have; leave it out "
            "(--no-tokenizer)");
    gguf_put_text(w, KEY("model"), "llama");
    gguf_put_text(w, KEY("pre"), "default");
    gguf_put_bool(w, KEY("add_space_prefix"), t->prefix != PREFIX_NONE);
    return put_scores(t, n_vocab, w, err);
}

snellen_status tokenizer_put_gguf(const struct tokenizer *t, int64_t n_vocab, struct gguf_writer *w,
                                  snellen_error *err)
{
    bool small = is_small(t);
    if (small || t->symbols == SYMBOLS_BYTES)
        TRY(put_bytes_model(t, small, w, err));
    else
        TRY(put_characters_model(t, n_vocab, w, err));
    put_tokens(t, n_vocab, small, w);
    put_types(t, n_vocab, small, w);
    put_special(t, w);
    return SNELLEN_OK;
}
