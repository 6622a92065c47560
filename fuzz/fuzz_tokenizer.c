/* tokenizer.json and a text (behind the first zero byte): a tokenizer that comes out encodes any text into ids of its
 * own, and decoding them gives the text back wherever nothing in the vocabulary is made to lose something. */
#include "fuzz.h"

#include "tokenize/vocab.h"

#include <string.h>

enum { LONGEST_TEXT = 512 };

/* A token for every byte, no normal form, nothing that takes white space away. */
static bool is_exact(const struct tokenizer *t)
{
    const struct added_set *sets[] = {&t->added, &t->added_normal};
    bool exact = !t->normal_form && !t->prefix_unless_space && (t->symbols == SYMBOLS_BYTES || t->byte_fallback);
    for (int i = 0; i < 256; i++) exact &= t->byte_ids[i] >= 0;
    for (size_t i = 0; i < COUNT_OF(sets); i++)
        for (size_t k = 0; k < sets[i]->n; k++) {
            const struct added *a = &sets[i]->list[k];
            exact &= !a->strip_left && !a->strip_right && !(t->prefix && t->tokens[a->id].bytes[0] == ' ');
        }
    return exact;
}

static void check_text(const struct tokenizer *t, const char *text, size_t n, unsigned flags)
{
    int32_t *ids;
    size_t n_ids, n_out;
    char *out;
    snellen_error err;
    if (tokenizer_encode(t, text, n, flags, &ids, &n_ids, &err)) {
        CHECK(err.message[0]);
        return;
    }
    for (size_t i = 0; i < n_ids; i++) CHECK(ids[i] >= 0 && ids[i] < tokenizer_size(t));
    CHECK(!tokenizer_decode(t, ids, n_ids, flags, &out, &n_out, &err));
    if (is_exact(t)) CHECK(n_out == n && !memcmp(out, text, n));
    snellen_free(out);
    snellen_free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    const char *json = (const char *)bytes, *end = n ? memchr(json, 0, n) : NULL;
    size_t n_json = end ? (size_t)(end - json) : n, n_text = end ? MIN(n - n_json - 1, (size_t)LONGEST_TEXT) : 0;
    struct tokenizer *t = NULL;
    snellen_error err = {0};
    if (tokenizer_from_json(json, n_json, json, n_json, "tokenizer.json", &t, &err)) {
        CHECK(err.message[0] && !t);
        return 0;
    }
    check_text(t, end ? end + 1 : "", n_text, 0);
    check_text(t, end ? end + 1 : "", n_text, SNELLEN_SPECIAL);
    const snellen_message messages[] = {{"user", "a"}, {"assistant", "<think>b</think>c"}};
    char *text;
    if (!tokenizer_chat_format(t, messages, COUNT_OF(messages), true, &text, &err)) snellen_free(text);
    for (int32_t i = -1; i <= tokenizer_size(t); i++) {
        size_t n_bytes;
        const char *piece = tokenizer_bytes(t, i, &n_bytes);
        CHECK((piece != NULL) == (i >= 0 && i < tokenizer_size(t)));
        if (piece) touch(piece + n_bytes);
        CHECK(tokenizer_kind(t, i)[0]);
    }
    tokenizer_free(t);
    return 0;
}
