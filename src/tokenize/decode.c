/* Ids to text. */
#include "tokenize/vocab.h"

#include <string.h>

snellen_status tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n_ids, unsigned flags, char **text,
                                size_t *n_bytes, snellen_error *err)
{
    struct strbuf out = {0};
    bool prefixed = t->prefix_space != PREFIX_NEVER && !t->byte_level;   /* the next stretch begins with a space of ours */
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= t->n_pieces) {
            strbuf_free(&out);
            FAIL(SNELLEN_E_USAGE, "token %zu is %d, 0 to %lld expected", i, ids[i], (long long)t->n_pieces - 1);
        }
        const struct piece *p = &t->pieces[ids[i]];
        bool special = p->kind == TOKEN_CONTROL || p->kind == TOKEN_UNKNOWN || p->kind == TOKEN_UNUSED;
        if (special && !(flags & SNELLEN_SPECIAL)) {
            prefixed = prefixed || t->prefix_space == PREFIX_ALWAYS;
            continue;
        }
        size_t before = out.n;
        strbuf_put(&out, p->plain, p->n_plain);
        if (special || p->kind == TOKEN_USER) {
            prefixed = t->prefix_space == PREFIX_ALWAYS && !t->byte_level;
        } else if (prefixed && out.n > before) {
            if (out.text[before] == ' ') {
                memmove(out.text + before, out.text + before + 1, out.n - before);
                out.n--;
            }
            prefixed = false;
        }
    }
    return strbuf_take(&out, text, n_bytes, err);
}

const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *n_bytes)
{
    if (id < 0 || id >= t->n_pieces) return NULL;
    if (n_bytes) *n_bytes = t->pieces[id].n_plain;
    return t->pieces[id].plain;
}
