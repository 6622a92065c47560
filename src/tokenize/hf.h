/* What the readers of tokenizer.json share. */
#ifndef TOKENIZE_HF_H
#define TOKENIZE_HF_H

#include "tokenize/vocab.h"

#include <jansson.h>

/* How a tokenizer.json spells its pieces. */
struct hf_spelling {
    bool bytes;    /* each byte a letter (ByteLevel) */
    bool words;    /* whole words, without the space before them (WordLevel) */
    bool spaces;   /* spaces as U+2581 (Metaspace, or a normalizer that replaces them) */
};

/* spelling->words is known before.
 * pipeline_hf.c: "normalizer", "pre_tokenizer" and "decoder" of the file into t's prefix, normal_form and pre. */
snellen_status hf_read_pipeline(struct tokenizer *t, const json_t *root, const char *file, struct hf_spelling *spelling,
                                snellen_error *err);
/* pipeline_hf.c: the token that "post_processor" puts first, or NULL. */
const char *hf_first_token(const json_t *root);

/* make.c: tokenizer.json of a vocabulary (symbol -> id) of words or characters; by free(), NULL without memory. */
char *vocabulary_text(bool words, json_t *vocab, json_t *added, const char *unknown);
/* make.c: an entry of "added_tokens"; NULL when the text is no UTF-8. */
json_t *hf_added_token(int32_t id, const char *text, size_t n, const struct added *a, bool special);

/* A text member; NULL when it is missing or no text. *n may be NULL. */
const char *hf_text(const json_t *object, const char *key, size_t *n);

#endif
