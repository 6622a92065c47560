/* Tokens that are looked for in the text itself, before it is cut into words: special tokens, and those that were added
 * to a vocabulary by hand. The leftmost match counts, and the longest of those that begin there. */
#include "tokenize/vocab.h"

#include <stdlib.h>
#include <string.h>

/* ---- making ------------------------------------------------------------------------------------------------------ */

static int by_bytes(const void *a, const void *b, void *user)
{
    const struct tokenizer *t = user;
    const struct added *x = a, *y = b;
    const struct token *s = &t->tokens[x->id], *r = &t->tokens[y->id];
    int order = memcmp(s->bytes, r->bytes, MIN(s->n, r->n));
    if (order) return order;
    if (s->n != r->n) return s->n < r->n ? -1 : 1;
    if (s->kind != r->kind) return s->kind == TOKEN_USER ? -1 : 1;  /* one that always counts hides one that may not */
    return (x->id > y->id) - (x->id < y->id);
}

static bool same_bytes(const struct token *a, const struct token *b)
{
    return a->n == b->n && !memcmp(a->bytes, b->bytes, a->n);
}

snellen_status added_set_make(struct added_set *set, struct added *list, size_t n, struct tokenizer *t,
                              const char *file, snellen_error *err)
{
    set->list = list;
    FAIL_IF(n > MOST_TOKENS, SNELLEN_E_FORMAT, "%s: tokenizer: %zu added tokens", file, n);
    if (n) qsort_r(list, n, sizeof *list, by_bytes, t);
    for (size_t i = 0; i < n; i++) {
        struct token *token = &t->tokens[list[i].id];
        token->added = true;
        bool again = set->n && same_bytes(token, &t->tokens[list[set->n - 1].id]);
        if (token->n && !again) list[set->n++] = list[i];
    }
    for (uint32_t i = 0, byte = 0; byte < 257; byte++) {
        while (i < set->n && (uint8_t)t->tokens[list[i].id].bytes[0] < byte) i++;
        set->first[byte] = i;
    }
    return SNELLEN_OK;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

/* Byte `depth` of entry i, -1 when it has none. */
static int byte_at(const struct added_set *set, const struct tokenizer *t, size_t i, size_t depth)
{
    const struct token *token = &t->tokens[set->list[i].id];
    return depth < token->n ? (uint8_t)token->bytes[depth] : -1;
}

/* The first entry in [low, high) whose byte `depth` is at least `byte`. */
static size_t lower_bound(const struct added_set *set, const struct tokenizer *t, size_t low, size_t high, size_t depth,
                          int byte)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (byte_at(set, t, middle, depth) < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest entry that the text begins with, or NULL. Entries [low, high) agree with the text's first `depth` bytes;
 * the one that ends there, if any, stands first. */
static const struct added *longest_at(const struct added_set *set, const struct tokenizer *t, const char *text,
                                      size_t n, bool special)
{
    const struct added *found = NULL;
    size_t low = set->first[(uint8_t)text[0]], high = set->first[(uint8_t)text[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        const struct token *token = &t->tokens[set->list[low].id];
        if (token->n == depth && (special || token->kind != TOKEN_SPECIAL)) found = &set->list[low];
        if (depth == n) break;
        int byte = (uint8_t)text[depth];
        low = lower_bound(set, t, low, high, depth, byte);
        high = lower_bound(set, t, low, high, depth, byte + 1);
    }
    return found;
}

bool added_set_has(const struct added_set *set, const struct tokenizer *t, const char *bytes, size_t n)
{
    const struct added *a = n ? longest_at(set, t, bytes, n, true) : NULL;
    return a && t->tokens[a->id].n == n;
}

static bool stands_alone(const char *text, size_t n, size_t begin, size_t end)
{
    int32_t code;
    if (utf8_last(text, begin, &code) && utf8_is_word(code)) return false;
    return !(utf8_next(text + end, n - end, &code) && utf8_is_word(code));
}

/* White space beside [begin, end), not before `from`. */
static void take_spaces(const struct added *a, const char *text, size_t n, size_t from, size_t *begin, size_t *end)
{
    int32_t code;
    size_t size;
    while (a->strip_left && (size = utf8_last(text + from, *begin - from, &code)) && utf8_is_space(code))
        *begin -= size;
    while (a->strip_right && (size = utf8_next(text + *end, n - *end, &code)) && utf8_is_space(code)) *end += size;
}

const struct added *added_set_find(const struct added_set *set, const struct tokenizer *t, const char *text, size_t n,
                                   size_t from, bool special, size_t *begin, size_t *end)
{
    for (size_t i = from; i < n && set->n;) {
        uint8_t byte = (uint8_t)text[i];
        const struct added *a =
            set->first[byte] < set->first[byte + 1] ? longest_at(set, t, text + i, n - i, special) : NULL;
        if (!a) {
            i++;
            continue;
        }
        size_t after = i + t->tokens[a->id].n;
        if (!a->single_word || stands_alone(text, n, i, after)) {
            *begin = i;
            *end = after;
            take_spaces(a, text, n, from, begin, end);
            return a;
        }
        i = after;
    }
    return NULL;
}
