/* A tokenizer from the keys of a GGUF file. */
#include "tokenize/vocab.h"

#include <math.h>
#include <string.h>

/* Values of tokenizer.ggml.token_type. */
static enum token_kind kind_of(int64_t type)
{
    switch (type) {
    case 2: return TOKEN_UNKNOWN;
    case 3: return TOKEN_CONTROL;
    case 4: return TOKEN_USER;
    case 5: return TOKEN_UNUSED;
    case 6: return TOKEN_BYTE;
    default: return TOKEN_NORMAL;
    }
}

static snellen_status read_pieces(const struct gguf *g, struct tokenizer *t, snellen_error *err)
{
    uint64_t n_types;
    bool typed = gguf_array(g, "tokenizer.ggml.token_type", &n_types) && n_types == (uint64_t)t->n_pieces;
    for (int64_t i = 0; i < t->n_pieces; i++) {
        const char *text;
        size_t n;
        int64_t type = 1;
        FAIL_IF(!gguf_array_text(g, "tokenizer.ggml.tokens", (uint64_t)i, &text, &n), SNELLEN_E_FORMAT,
                "%s: tokenizer.ggml.tokens: not an array of texts", t->name);
        if (typed) gguf_array_int(g, "tokenizer.ggml.token_type", (uint64_t)i, &type);
        enum token_kind kind = kind_of(type);
        if (t->byte_level && (kind == TOKEN_NORMAL || kind == TOKEN_UNUSED))
            TRY(vocab_set_byte_level_piece(t, (int32_t)i, text, n, kind, err));
        else
            TRY(vocab_set_piece(t, (int32_t)i, text, n, kind, err));
    }
    return vocab_index(t, err);
}

/* "left right", in the byte-level alphabet; the space that parts them is not the first character. */
static snellen_status read_merges(const struct gguf *g, struct tokenizer *t, snellen_error *err)
{
    uint64_t n_merges;
    FAIL_IF(!gguf_array(g, "tokenizer.ggml.merges", &n_merges), SNELLEN_E_FORMAT, "%s: tokenizer.ggml.merges is missing",
            t->name);
    TRY(vocab_merges_new(t, n_merges, err));
    for (uint64_t i = 0; i < n_merges; i++) {
        const char *text;
        size_t n;
        char bytes[512];
        FAIL_IF(!gguf_array_text(g, "tokenizer.ggml.merges", i, &text, &n), SNELLEN_E_FORMAT,
                "%s: tokenizer.ggml.merges: not an array of texts", t->name);
        const char *space = n > 1 ? memchr(text + 1, ' ', n - 1) : NULL;
        if (!space || n > sizeof bytes) continue;
        int64_t n_left = byte_level_undo(text, (size_t)(space - text), bytes);
        int32_t left = n_left > 0 ? vocab_find(t, bytes, (size_t)n_left) : -1;
        int64_t n_right = byte_level_undo(space + 1, n - (size_t)(space + 1 - text), bytes);
        int32_t right = n_right > 0 ? vocab_find(t, bytes, (size_t)n_right) : -1;
        vocab_add_merge(t, left, right, (uint32_t)i);
    }
    return SNELLEN_OK;
}

static snellen_status read_scores(const struct gguf *g, struct tokenizer *t, snellen_error *err)
{
    uint64_t n;
    FAIL_IF(!gguf_array(g, "tokenizer.ggml.scores", &n) || n != (uint64_t)t->n_pieces, SNELLEN_E_FORMAT,
            "%s: tokenizer.ggml.scores: %lld scores expected", t->name, (long long)t->n_pieces);
    t->scores = arena_alloc(&t->arena, (size_t)n * sizeof *t->scores);
    FAIL_IF(!t->scores, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
    for (uint64_t i = 0; i < n; i++) {
        double score = 0;
        FAIL_IF(!gguf_array_float(g, "tokenizer.ggml.scores", i, &score) || isnan(score), SNELLEN_E_FORMAT,
                "%s: tokenizer.ggml.scores: entry %llu is not a number", t->name, (unsigned long long)i);
        t->scores[i] = (float)score;
    }
    return SNELLEN_OK;
}

/* A token id by key; -1 without the key, an error when the vocabulary has no such id. */
static snellen_status read_id(const struct gguf *g, const struct tokenizer *t, const char *key, int32_t *id,
                              snellen_error *err)
{
    int64_t value;
    if (!gguf_int(g, key, &value)) return SNELLEN_OK;
    FAIL_IF(value < 0 || value >= t->n_pieces, SNELLEN_E_FORMAT, "%s: %s is %lld, 0 to %lld expected", t->name, key,
            (long long)value, (long long)t->n_pieces - 1);
    *id = (int32_t)value;
    return SNELLEN_OK;
}

static snellen_status read_specials(const struct gguf *g, struct tokenizer *t, snellen_error *err)
{
    int32_t end_of_turn = -1;
    TRY(read_id(g, t, "tokenizer.ggml.bos_token_id", &t->bos, err));
    TRY(read_id(g, t, "tokenizer.ggml.eos_token_id", &t->eos, err));
    TRY(read_id(g, t, "tokenizer.ggml.eot_token_id", &end_of_turn, err));
    TRY(read_id(g, t, "tokenizer.ggml.unknown_token_id", &t->unknown, err));
    t->bos_wanted = !t->byte_level;
    gguf_bool(g, "tokenizer.ggml.add_bos_token", &t->bos_wanted);
    if (end_of_turn >= 0) t->ends[end_of_turn] = 1;
    const char *text;
    size_t n;
    if (gguf_text(g, "tokenizer.chat_template", &text, &n)) {
        t->chat_template = arena_text(&t->arena, text, n);
        FAIL_IF(!t->chat_template, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
    }
    return SNELLEN_OK;
}

static snellen_status read_byte_level(const struct gguf *g, struct tokenizer *t, snellen_error *err)
{
    const char *pre = "default";
    size_t n = strlen(pre);
    gguf_text(g, "tokenizer.ggml.pre", &pre, &n);
    TRY(split_add_named(t, pre, n, err));
    t->whole_words = n >= 5 && !memcmp(pre, "llama", 5);   /* Llama 3 takes whole words as they are */
    bool prefix = false;
    if (gguf_bool(g, "tokenizer.ggml.add_space_prefix", &prefix) && prefix) t->prefix_space = PREFIX_FIRST;
    return read_merges(g, t, err);
}

static snellen_status read_sentencepiece(const struct gguf *g, struct tokenizer *t, snellen_error *err)
{
    bool prefix = true;
    gguf_bool(g, "tokenizer.ggml.add_space_prefix", &prefix);
    t->prefix_space = prefix ? PREFIX_ALWAYS : PREFIX_NEVER;
    t->spaces_as_pieces = true;
    t->byte_fallback = true;
    return read_scores(g, t, err);
}

static snellen_status read_all(const struct gguf *g, struct tokenizer *t, bool byte_level, snellen_error *err)
{
    t->byte_level = byte_level;
    TRY(read_pieces(g, t, err));
    TRY(byte_level ? read_byte_level(g, t, err) : read_sentencepiece(g, t, err));
    TRY(read_specials(g, t, err));
    return vocab_finish(t, err);
}

snellen_status tokenizer_from_gguf(const struct gguf *g, const char *name, struct tokenizer **out, snellen_error *err)
{
    const char *model;
    size_t n;
    uint64_t n_pieces;
    FAIL_IF(!gguf_text(g, "tokenizer.ggml.model", &model, &n), SNELLEN_E_FORMAT, "%s: tokenizer.ggml.model is missing", name);
    bool byte_level = n == 4 && !memcmp(model, "gpt2", 4), sentencepiece = n == 5 && !memcmp(model, "llama", 5);
    FAIL_IF(!byte_level && !sentencepiece, SNELLEN_E_UNSUPPORTED,
            "%s: tokenizer '%.*s' is not supported; there are gpt2 (byte-level BPE) and llama (SentencePiece BPE)", name,
            (int)MIN(n, 80), model);
    FAIL_IF(!gguf_array(g, "tokenizer.ggml.tokens", &n_pieces) || n_pieces > INT32_MAX, SNELLEN_E_FORMAT,
            "%s: tokenizer.ggml.tokens is missing", name);
    struct tokenizer *t;
    TRY(vocab_new(name, (int64_t)n_pieces, &t, err));
    snellen_status status = read_all(g, t, byte_level, err);
    if (status) {
        tokenizer_free(t);
        return status;
    }
    *out = t;
    return SNELLEN_OK;
}
