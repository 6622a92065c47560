/* Vocabularies of whole words (WordLevel of Hugging Face tokenizers): text is cut at white space and each word is one
 * token. A word's token stands for the word with a space before it, so that tokens put together are text again;
 * decoding takes the first space away. */
#include "tokenize/vocab.h"

#include <string.h>

static snellen_status put_word(const struct tokenizer *t, struct id_list *out, const char *word, size_t n,
                               snellen_error *err)
{
    char spaced[LONGEST_PIECE], shown[SHOWN_PIECE];
    int32_t id = -1;
    if (n < sizeof spaced) {
        spaced[0] = ' ';
        memcpy(spaced + 1, word, n);
        id = piece_find(t, spaced, n + 1);
    }
    if (id < 0) id = t->unknown;
    FAIL_IF(id < 0, SNELLEN_E_USAGE, "the word '%s' is not in the vocabulary, which has no token for unknown ones",
            spelling_shown(shown, word, n));
    return id_list_put(out, id, err);
}

snellen_status words_encode(const struct tokenizer *t, struct id_list *out, const char *text, size_t n,
                            snellen_error *err)
{
    for (size_t begin = 0, end = 0; begin < n;) {
        int32_t code = 0;
        size_t size = utf8_next(text + end, n - end, &code);
        bool space = size && utf8_is_space(code);
        if (end == n || space) {
            if (end > begin) TRY(put_word(t, out, text + begin, end - begin, err));
            begin = end = end + size;
        } else {
            end += MAX(size, 1);   /* a byte that is no UTF-8 is part of a word */
        }
    }
    return SNELLEN_OK;
}
