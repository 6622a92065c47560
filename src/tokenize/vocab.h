/* What the files of tokenize share: the vocabulary, its merges, tokens found in text, the pre-tokeniser, the template.
 *
 * All pieces are kept as the bytes they stand for: GGUF's and tokenizer.json's spellings (bytes as letters, U+2581 for
 * spaces) are undone once, at loading. Encoding and decoding then work on plain bytes, whatever the file was. */
#ifndef TOKENIZE_VOCAB_H
#define TOKENIZE_VOCAB_H

#include "tokenize/tokenize.h"

enum {
    MOST_TOKENS = 4 << 20,    /* as many as any model may have rows of logits */
    LONGEST_PIECE = 4096,     /* bytes; real ones have at most some hundreds */
    MOST_MERGES = 16 << 20,
};

/* ---- tokens (vocab.c) -------------------------------------------------------------------------------------------- */

enum token_kind { TOKEN_NORMAL, TOKEN_SPECIAL, TOKEN_USER, TOKEN_BYTE, TOKEN_UNUSED };

struct token {
    const char *bytes;        /* NUL ended; "" where the file has no token of this id */
    uint32_t n;
    uint8_t kind;
    bool ends;                /* an answer ends with it */
    bool hidden;              /* spelled as no text is: text never becomes it */
    bool added;               /* looked for in the text, see struct added */
};

/* Bytes -> id, open addressing, at most half full. Hashes are seeded at random, so that no file can choose them. */
struct piece_slot {
    uint32_t check;           /* upper half of the hash */
    int32_t id;               /* -1 = free */
};
struct piece_table {
    struct piece_slot *slots;
    uint64_t mask, seed;
};

/* (left id, right id) -> rank and id of the merged piece. */
struct merge {
    int32_t left, right;      /* left -1 = free */
    uint32_t rank;            /* lower merges first */
    int32_t id;
};
struct merge_table {
    struct merge *slots;
    uint64_t mask, seed, n;
};

/* A token that is looked for in the text before anything else happens to it. */
struct added {
    int32_t id;
    bool strip_left, strip_right;  /* takes the white space beside it along */
    bool single_word;              /* only where no letter, digit or _ stands beside it */
};
/* Sorted by bytes, so that walking through the array is walking down a trie. */
struct added_set {
    struct added *list;
    size_t n;
    uint32_t first[257];      /* entries whose first byte is b: list[first[b]] .. list[first[b + 1]] */
};

/* ---- how text is cut into words (pretokenize.c) ------------------------------------------------------------------ */

enum cut { CUT_ISOLATED, CUT_WITH_PREVIOUS, CUT_WITH_NEXT, CUT_CONTIGUOUS };
enum { MOST_CUTTERS = 16 };

struct cutter {
    struct pcre2_real_code_8 *code;
    char *pattern;            /* n bytes, as it was given */
    size_t n;
    bool literal;
    enum cut cut;
};
/* Each cutter cuts what the one before it left. None: a text is one word. */
struct pretokenizer {
    struct cutter cutters[MOST_CUTTERS];
    int n;
};
void pretokenizer_free(struct pretokenizer *p);
/* Adds a regular expression, or a literal text. `file` stands in messages. */
snellen_status pretokenizer_add(struct pretokenizer *p, const char *pattern, size_t n, bool literal, enum cut cut,
                                const char *file, snellen_error *err);
/* The cutters of a pre-tokeniser that GGUF files name ("gpt-2", "llama-bpe", ..). *ignore_merges: a word that is a
 * piece is that piece. *bos: made to see the begin-of-sequence token where no key says otherwise. */
snellen_status pretokenizer_named(struct pretokenizer *p, const char *name, bool *ignore_merges, bool *bos,
                                  const char *file, snellen_error *err);
/* The name under which llama.cpp knows these cutters, or NULL. */
const char *pretokenizer_name(const struct pretokenizer *p, bool ignore_merges);
extern const char regex_gpt2[];

struct word_sink {
    snellen_status (*word)(void *user, const char *text, size_t n, snellen_error *err);
    void *user;
};
/* Gives every byte of the text, in order, as words. Invalid UTF-8 stands in words of its own. */
snellen_status pretokenizer_run(const struct pretokenizer *p, const char *text, size_t n, const struct word_sink *sink,
                                snellen_error *err);

/* ---- chat (template.c) ------------------------------------------------------------------------------------------- */

enum chat_kind { CHAT_NONE, CHAT_CHATML, CHAT_GEMMA, CHAT_OTHER };

struct chat {
    enum chat_kind kind;
    bool bos;                    /* the begin-of-sequence token stands first */
    bool trim;                   /* white space around contents goes */
    bool refuses_system;
    bool keeps_thoughts;         /* <think> .. </think> in the model's earlier answers stays as it is */
    const char *system;          /* ChatML: what stands in for a missing system message; NULL = nothing */
    const char *opening;         /* of the turn to be answered */
};
/* What the template's text says. Texts lie in the arena. */
snellen_status chat_recognise(struct chat *chat, const char *text, size_t n, struct arena *arena, snellen_error *err);

/* The same for a tokenizer, which also keeps the text. */
snellen_status chat_keep(struct tokenizer *t, const char *text, size_t n, snellen_error *err);

/* ---- the tokenizer ----------------------------------------------------------------------------------------------- */

enum symbols { SYMBOLS_BYTES, SYMBOLS_CHARACTERS, SYMBOLS_WORDS /* whole words, words.c */ };
enum space_prefix { PREFIX_NONE, PREFIX_FIRST, PREFIX_EACH };

struct tokenizer {
    struct arena arena;             /* pieces, template texts */
    struct token *tokens;           /* [n] */
    int32_t n;
    int32_t bos, eos, unknown;      /* -1 = none; eos: the first of those that end answers */
    bool wants_bos;

    struct piece_table pieces;      /* what text becomes: all but special, byte and hidden tokens */
    uint32_t longest;               /* bytes of the longest of them */
    int32_t byte_ids[256];          /* the token of a single byte (or of an ASCII character), -1 = none */
    bool byte_fallback;             /* characters without a token are spelled with byte tokens */
    bool fuse_unknown;

    enum symbols symbols;           /* what a word is made of at first */
    struct merge_table merges;      /* merging by rank .. */
    uint32_t *orders;               /* .. or, when not NULL, by score: [n] place in the order of scores */
    bool ignore_merges;
    uint64_t joined[256 * 256 / 64];/* bit (a << 8 | b): some piece has byte b after byte a */

    enum space_prefix prefix;       /* a space put before the text / before each text between special tokens */
    bool prefix_unless_space;       /* not where a space stands already */
    int normal_form;                /* utf8proc options, 0 = none */
    struct added_set added;         /* found in the text as it is */
    struct added_set added_normal;  /* found in the normalised text */
    struct pretokenizer pre;
    struct chat chat;
    const char *template;           /* [n_template] the chat template's text, NULL = none */
    size_t n_template;
};

/* An empty tokenizer with room for n tokens. */
snellen_status tokenizer_new(uint64_t n, const char *file, struct tokenizer **out, snellen_error *err);
/* Token `id` stands for these bytes; each id once. */
snellen_status token_set(struct tokenizer *t, int64_t id, const char *bytes, size_t n, enum token_kind kind,
                         const char *file, snellen_error *err);
/* After all tokens: makes the table of pieces, byte_ids, what is joined, and marks the usual ends of answers. */
snellen_status tokenizer_index(struct tokenizer *t, const char *file, snellen_error *err);
/* The piece's id, or -1. */
int32_t piece_find(const struct tokenizer *t, const char *bytes, size_t n);
/* A token that ends an answer by its name, in whatever model. */
bool is_end_name(const char *bytes, size_t n);
/* A token of any kind by its bytes, slowly; -1. */
int32_t token_named(const struct tokenizer *t, const char *bytes, size_t n);

snellen_status merges_init(struct tokenizer *t, uint64_t n, const char *file, snellen_error *err);
/* Merge number `rank`; the first of equal pairs counts. All three pieces must be known; merges that special and byte
 * tokens have part in are left out, for text never becomes one of those by merging. After t->added is made. */
snellen_status merges_add(struct tokenizer *t, uint32_t rank, const char *left, size_t n_left, const char *right,
                          size_t n_right, const char *file, snellen_error *err);
const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right);

/* Spellings. Byte-level vocabularies write each byte as a letter: true when all of text was such letters; else out has
 * the text as it is. out holds n bytes at least. */
bool spelling_bytes(const char *text, size_t n, char *out, size_t *n_out);
/* U+2581 to space; false when text has a space too, which pieces are never spelled with. */
bool spelling_spaces(const char *text, size_t n, char *out, size_t *n_out);
/* "<0x0A>": the byte, else -1. */
/* The way back: to out, of room for 3 n bytes; returns its length. */
size_t spelling_letters(const char *bytes, size_t n, char *out);   /* a letter for each byte */
size_t spelling_marks(const char *bytes, size_t n, char *out);     /* spaces become U+2581 */
int spelling_byte_token(const char *text, size_t n);
/* A text from a file as it may stand in a message. Returns out. */
enum { SHOWN_PIECE = 48 };
const char *spelling_shown(char out[SHOWN_PIECE], const char *text, size_t n);

/* ---- added tokens (added.c) -------------------------------------------------------------------------------------- */

/* Sorts the list (which becomes the set's: mem_free) by the tokens' bytes, and marks the tokens. */
snellen_status added_set_make(struct added_set *set, struct added *list, size_t n, struct tokenizer *t,
                              const char *file, snellen_error *err);
/* The first of the longest tokens at or after `from`: [begin, end) of the text, stripped white space included. Special
 * tokens count only when `special`. */
const struct added *added_set_find(const struct added_set *set, const struct tokenizer *t, const char *text, size_t n,
                                   size_t from, bool special, size_t *begin, size_t *end);

/* The set has a token of exactly these bytes. */
bool added_set_has(const struct added_set *set, const struct tokenizer *t, const char *bytes, size_t n);

/* ---- merging (bpe.c) --------------------------------------------------------------------------------------------- */

struct id_list {
    int32_t *ids;             /* by free() */
    size_t n, capacity;
};
snellen_status id_list_put(struct id_list *list, int32_t id, snellen_error *err);

/* Working memory of one call of tokenizer_encode(). */
struct bpe {
    const struct tokenizer *t;
    struct id_list *out;
    struct bpe_symbol *symbols;
    struct bpe_pair *heap;
    size_t capacity;          /* symbols that both have room for */
    struct bpe_known *known;  /* parts met before; NULL until the text has shown to be long */
    unsigned n_parts;
};
void bpe_free(struct bpe *b);
/* One word to tokens. */
snellen_status bpe_word(struct bpe *b, const char *text, size_t n, snellen_error *err);

/* ---- whole words (words.c) --------------------------------------------------------------------------------------- */

/* The words of the text as tokens. SNELLEN_E_USAGE for a word that has none, where there is none for unknown ones. */
snellen_status words_encode(const struct tokenizer *t, struct id_list *out, const char *text, size_t n,
                            snellen_error *err);

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

/* Bytes of the valid character at text, 0 when the bytes there are not one. *code may be NULL. */
size_t utf8_next(const char *text, size_t n, int32_t *code);
/* The same for the character that ends at text + n. */
size_t utf8_last(const char *text, size_t n, int32_t *code);
/* Unicode's White_Space; letters, marks, digits and connectors such as _. */
bool utf8_is_space(int32_t code);
bool utf8_is_word(int32_t code);

#endif
