/* The tokenizer described by data: what vocab_gguf.c and vocab_hf.c fill, and encode.c and decode.c read.
 *
 * Pieces are held as the bytes they stand for (byte-level alphabets are undone on loading), except in SentencePiece-style
 * vocabularies, where U+2581 stands for a space as it does in the file. */
#ifndef TOKENIZE_VOCAB_H
#define TOKENIZE_VOCAB_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "tokenize/tokenize.h"

enum token_kind { TOKEN_NORMAL, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };

struct piece {
    const char *bytes;      /* as text is matched against it; NUL ended, may hold NULs */
    uint32_t n, n_plain;
    const char *plain;      /* what it adds to a text: spaces as spaces, byte tokens as their byte */
    uint8_t kind;           /* enum token_kind */
    bool lstrip, rstrip;    /* special tokens that swallow white space before, after them */
};

/* Two neighbours that become one token; the smallest rank goes first. */
struct merge {
    int32_t left, right, result;
    uint32_t rank;
};

extern const char space_piece[];    /* U+2581, the space of SentencePiece */
enum { SPACE_BYTES = 3, MAX_SPLITS = 8 };
enum prefix_space { PREFIX_NEVER, PREFIX_FIRST, PREFIX_ALWAYS };

struct tokenizer {
    struct arena arena;
    char *name;                     /* stands in messages */
    struct piece *pieces;           /* [n_pieces] */
    int64_t n_pieces;
    int32_t *table;                 /* [table_size] ids by hash of their bytes, -1 = free */
    uint64_t table_size;            /* a power of two */

    /* merging */
    bool byte_level;                /* symbols are bytes; else UTF-8 characters */
    struct merge *merges;           /* [merge_size] by hash of (left, right), result -1 = free; NULL = by score */
    uint64_t merge_size, n_merges;
    float *scores;                  /* [n_pieces]: without merges, the pair whose whole has the best score goes first */
    bool whole_words;               /* a word that is a token is never built by merging */
    bool byte_fallback;             /* characters without a token become byte tokens */
    int32_t byte_tokens[256];       /* byte_level: the byte's piece; else <0xNN>; -1 = none */
    int32_t unknown;                /* -1 = none */

    /* text to words */
    pcre2_code *splits[MAX_SPLITS]; /* one after the other; matches and what lies between them are words */
    int n_splits;
    bool normalize_nfc;
    bool spaces_as_pieces;          /* " " is written U+2581 */
    enum prefix_space prefix_space; /* a space is put before the text, or before each stretch between special tokens */

    /* special tokens: all control and user pieces by falling length within their first byte */
    int32_t *specials;              /* [n_specials] */
    size_t n_specials, special_first[257];

    int32_t bos, eos;               /* -1 = none */
    bool bos_wanted;
    uint8_t *ends;                  /* [n_pieces] 1 = ends an answer */
    const char *chat_template;      /* NULL = none */
};

/* ---- building (vocab.c) ------------------------------------------------------------------------------------------------ */

/* An empty tokenizer with room for n pieces. */
snellen_status vocab_new(const char *name, int64_t n_pieces, struct tokenizer **out, snellen_error *err);
snellen_status vocab_set_piece(struct tokenizer *t, int32_t id, const char *bytes, size_t n, enum token_kind kind,
                               snellen_error *err);
/* The same for a piece written in the byte-level alphabet of GPT-2; pieces outside the alphabet are taken as they are. */
snellen_status vocab_set_byte_level_piece(struct tokenizer *t, int32_t id, const char *text, size_t n,
                                          enum token_kind kind, snellen_error *err);
/* Undoes the byte-level alphabet: bytes to `out` (room for n), their number; -1 when a character is not of it. */
int64_t byte_level_undo(const char *text, size_t n, char *out);
/* Hashes all pieces; call once, when all are set. The first of equal pieces wins. */
snellen_status vocab_index(struct tokenizer *t, snellen_error *err);
/* The id of a piece, or -1. */
int32_t vocab_find(const struct tokenizer *t, const char *bytes, size_t n);
/* Room for n merges; then each in rank order. Merges of unknown pieces are passed over. */
snellen_status vocab_merges_new(struct tokenizer *t, uint64_t n, snellen_error *err);
void vocab_add_merge(struct tokenizer *t, int32_t left, int32_t right, uint32_t rank);
const struct merge *vocab_find_merge(const struct tokenizer *t, int32_t left, int32_t right);
/* Byte tokens, plain forms, list of special tokens, ends: what follows from the pieces and flags. */
snellen_status vocab_finish(struct tokenizer *t, snellen_error *err);

/* ---- text to words (pretokenize.c) ---------------------------------------------------------------------------------------- */

/* Adds a split by a regular expression; an expression that does not compile is SNELLEN_E_FORMAT. */
snellen_status split_add(struct tokenizer *t, const char *regex, size_t n, snellen_error *err);
/* The splits that llama.cpp's GGUF files name in tokenizer.ggml.pre; SNELLEN_E_UNSUPPORTED for an unknown name. */
snellen_status split_add_named(struct tokenizer *t, const char *name, size_t n, snellen_error *err);
extern const char split_gpt2[], split_digits[];
/* Calls word(user, bytes, n) for each word of a text, in order. */
snellen_status split_words(const struct tokenizer *t, const char *text, size_t n,
                           snellen_status (*word)(void *user, const char *text, size_t n, snellen_error *err), void *user,
                           snellen_error *err);

/* ---- words to tokens (bpe.c) ------------------------------------------------------------------------------------------------ */

/* Growing list of ids. */
struct id_list {
    int32_t *ids;
    size_t n, capacity;
};
snellen_status ids_push(struct id_list *list, int32_t id, snellen_error *err);
/* Working memory that is kept from word to word. Zero-initialised = empty. */
struct bpe_work {
    struct bpe_symbol *symbols;
    struct bpe_pair *heap;
    size_t n_symbols, n_heap, symbol_capacity, heap_capacity;
};
snellen_status bpe_word(const struct tokenizer *t, struct bpe_work *work, const char *word, size_t n, struct id_list *out,
                        snellen_error *err);
void bpe_work_free(struct bpe_work *work);

/* Length of the UTF-8 character at p (1..4) within n bytes; 1 for a byte that starts none. */
size_t utf8_length(const char *p, size_t n);

#endif
