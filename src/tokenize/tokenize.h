/* tokenize: text to token ids and back, and the two chat templates. One tokenizer, described by data: pieces, merge
 * ranks or scores, a pre-tokeniser, special tokens; read from GGUF keys or from tokenizer.json. */
#ifndef TOKENIZE_TOKENIZE_H
#define TOKENIZE_TOKENIZE_H

#include "base/base.h"
#include "format/format.h"

struct tokenizer;

/* The tokenizer of a model file. *out is NULL (and the status OK) when the file carries none. */
snellen_status tokenizer_load(const struct model_file *f, struct tokenizer **out, snellen_error *err);
/* From the parts, for tests and fuzzing: tokenizer.json's bytes, with tokenizer_config.json's or NULL. */
snellen_status tokenizer_from_json(const char *json, size_t n, const char *config, size_t n_config, const char *name,
                                   struct tokenizer **out, snellen_error *err);
snellen_status tokenizer_from_gguf(const struct gguf *g, const char *name, struct tokenizer **out, snellen_error *err);
/* A vocabulary for a small model: whole words, separated by white space in text, or the characters of a text. Ids: the
 * special tokens first (unknown, begin, end; each may be NULL), then the words in their order or the characters by code
 * point. */
struct vocabulary {
    const char *const *words;   /* [n_words]; NULL = characters */
    size_t n_words;
    const char *text;           /* n_text bytes of UTF-8, whose characters make the vocabulary */
    size_t n_text;
    const char *unknown, *bos, *eos;
};
/* The texts of its tokenizer.json and tokenizer_config.json, to be freed with free(). Words that repeat, are empty or
 * have white space in them are SNELLEN_E_USAGE. */
snellen_status vocabulary_make(const struct vocabulary *v, char **tokenizer, char **config, snellen_error *err);
void tokenizer_free(struct tokenizer *t);

/* As snellen_tokenize(), snellen_detokenize() and the others of snellen.h; *ids and *text by snellen_free().
 *
 * Decoding gives back exactly the bytes that were encoded (same SNELLEN_SPECIAL for both), save where the vocabulary
 * forbids it: a normal form in tokenizer.json is applied; white space that an added token takes along (lstrip, rstrip)
 * is gone; a space at the start is one with the space that some tokenizers put there; and a vocabulary need not have a
 * token for every byte (SmolLM2's lacks 21, none of them in ordinary text): such characters are left out, and such
 * bytes of invalid UTF-8 become U+FFFD. Single ids of a SentencePiece vocabulary decode without their leading space;
 * tokenizer_bytes() has it. */
snellen_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t n_bytes, unsigned flags,
                                int32_t **ids, size_t *n_ids, snellen_error *err);
snellen_status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n_ids, unsigned flags,
                                char **text, size_t *n_bytes, snellen_error *err);
int64_t tokenizer_size(const struct tokenizer *t);
const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n_bytes);
const char *tokenizer_kind(const struct tokenizer *t, int32_t id);
bool tokenizer_ends(const struct tokenizer *t, int32_t id);
int32_t tokenizer_bos(const struct tokenizer *t, bool *wanted);
/* The token that ends texts, -1 = none. */
int32_t tokenizer_eos(const struct tokenizer *t);

/* Writing. The texts of tokenizer.json and tokenizer_config.json, by free() (write_hf.c). */
snellen_status tokenizer_write_json(const struct tokenizer *t, char **tokenizer, char **config, snellen_error *err);
/* The keys tokenizer.* for a model of n_vocab rows, as llama.cpp reads them (write_gguf.c). SNELLEN_E_UNSUPPORTED for a
 * tokenizer that it does not have. Words and characters are tokens that it finds in text as they are: it then encodes
 * every text of theirs as we do, and decodes words without the spaces between them. */
snellen_status tokenizer_put_gguf(const struct tokenizer *t, int64_t n_vocab, struct gguf_writer *w,
                                  snellen_error *err);

/* "chatml", "gemma", "" (no template), "other": any template that is not known, word for word, to give what we write.
 * */
const char *tokenizer_chat(const struct tokenizer *t);
snellen_status tokenizer_chat_format(const struct tokenizer *t, const snellen_message *messages, size_t n, bool answer,
                                     char **text, snellen_error *err);

#endif
