/* Byte-pair encoding of one word: start from bytes or characters, and join the neighbours whose pair comes first (smallest
 * merge rank, or best score of the whole; the leftmost of equals) until no pair is left. Candidates wait in a heap, so that
 * a word of n symbols takes n log n steps. */
#include "tokenize/vocab.h"

#include <stdlib.h>
#include <string.h>

struct bpe_symbol {
    int32_t id;             /* -1: a character that is no token */
    int32_t previous, next; /* -1 = none */
    uint32_t at, n;         /* its bytes in the word; n = 0 once it was joined to its left neighbour */
};

struct bpe_pair {
    double order;           /* smaller goes first */
    int32_t left;           /* symbol; its right neighbour is its `next` */
    uint32_t n;             /* bytes of both when the pair was found: the pair is stale when they changed */
    int32_t result;
};

/* ---- lists that grow ------------------------------------------------------------------------------------------------------ */

static bool grow(void **items, size_t *capacity, size_t needed, size_t size)
{
    if (needed <= *capacity) return true;
    size_t larger = MAX(needed, MAX(*capacity * 2, 64));
    void *p = realloc(*items, larger * size);
    if (!p) return false;
    *items = p;
    *capacity = larger;
    return true;
}

snellen_status ids_push(struct id_list *list, int32_t id, snellen_error *err)
{
    FAIL_IF(!grow((void **)&list->ids, &list->capacity, list->n + 1, sizeof *list->ids), SNELLEN_E_MEMORY,
            "tokens: memory ran out");
    list->ids[list->n++] = id;
    return SNELLEN_OK;
}

void bpe_work_free(struct bpe_work *work)
{
    free(work->symbols);
    free(work->heap);
}

/* ---- heap of pairs ---------------------------------------------------------------------------------------------------------- */

static bool goes_first(const struct bpe_pair *a, const struct bpe_pair *b)
{
    return a->order != b->order ? a->order < b->order : a->left < b->left;
}

static void heap_push(struct bpe_work *w, struct bpe_pair pair)
{
    size_t i = w->n_heap++;
    for (; i > 0 && goes_first(&pair, &w->heap[(i - 1) / 2]); i = (i - 1) / 2) w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = pair;
}

static struct bpe_pair heap_pop(struct bpe_work *w)
{
    struct bpe_pair first = w->heap[0], last = w->heap[--w->n_heap];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= w->n_heap) break;
        if (child + 1 < w->n_heap && goes_first(&w->heap[child + 1], &w->heap[child])) child++;
        if (!goes_first(&w->heap[child], &last)) break;
        w->heap[i] = w->heap[child];
        i = child;
    }
    w->heap[i] = last;
    return first;
}

/* ---- merging ------------------------------------------------------------------------------------------------------------------ */

/* The pair that begins at symbol `left`, if the vocabulary joins it. Every symbol enters the heap at most twice a change:
 * room is taken beforehand. */
static void consider(const struct tokenizer *t, struct bpe_work *w, const char *word, int32_t left)
{
    const struct bpe_symbol *a = &w->symbols[left], *b = &w->symbols[a->next];
    uint32_t n = a->n + b->n;
    struct bpe_pair pair = {.left = left, .n = n};
    if (t->merges) {
        const struct merge *m = a->id >= 0 && b->id >= 0 ? vocab_find_merge(t, a->id, b->id) : NULL;
        if (!m) return;
        pair.order = m->rank;
        pair.result = m->result;
    } else {
        pair.result = vocab_find(t, word + a->at, n);
        if (pair.result < 0) return;
        pair.order = -(double)t->scores[pair.result];
    }
    heap_push(w, pair);
}

static void merge_all(const struct tokenizer *t, struct bpe_work *w, const char *word)
{
    struct bpe_symbol *s = w->symbols;
    w->n_heap = 0;
    for (size_t i = 0; i + 1 < w->n_symbols; i++) consider(t, w, word, (int32_t)i);
    while (w->n_heap) {
        struct bpe_pair pair = heap_pop(w);
        struct bpe_symbol *a = &s[pair.left];
        if (!a->n || a->next < 0 || a->n + s[a->next].n != pair.n) continue;
        struct bpe_symbol *b = &s[a->next];
        a->n = pair.n;
        a->id = pair.result;
        a->next = b->next;
        b->n = 0;
        if (a->next >= 0) s[a->next].previous = pair.left;
        if (a->previous >= 0) consider(t, w, word, a->previous);
        if (a->next >= 0) consider(t, w, word, pair.left);
    }
}

/* ---- in and out ------------------------------------------------------------------------------------------------------------------ */

static void start_symbols(const struct tokenizer *t, struct bpe_work *w, const char *word, size_t n)
{
    w->n_symbols = 0;
    for (size_t at = 0; at < n;) {
        size_t length = t->byte_level ? 1 : utf8_length(word + at, n - at);
        int32_t i = (int32_t)w->n_symbols++;
        int32_t id = t->byte_level ? t->byte_tokens[(unsigned char)word[at]] : vocab_find(t, word + at, length);
        w->symbols[i] = (struct bpe_symbol){.id = id, .previous = i - 1, .next = i + 1, .at = (uint32_t)at,
                                            .n = (uint32_t)length};
        at += length;
    }
    w->symbols[w->n_symbols - 1].next = -1;
}

/* A character without a token: its bytes, or the unknown token. */
static snellen_status emit_unknown(const struct tokenizer *t, const char *bytes, size_t n, struct id_list *out,
                                   snellen_error *err)
{
    for (size_t i = 0; t->byte_fallback && i < n; i++)
        if (t->byte_tokens[(unsigned char)bytes[i]] < 0) goto unknown;
    for (size_t i = 0; t->byte_fallback && i < n; i++) TRY(ids_push(out, t->byte_tokens[(unsigned char)bytes[i]], err));
    if (t->byte_fallback) return SNELLEN_OK;
unknown:
    FAIL_IF(t->unknown < 0, SNELLEN_E_FORMAT, "%s: no token for byte 0x%02x and no unknown token", t->name,
            (unsigned char)bytes[0]);
    return ids_push(out, t->unknown, err);
}

snellen_status bpe_word(const struct tokenizer *t, struct bpe_work *w, const char *word, size_t n, struct id_list *out,
                        snellen_error *err)
{
    if (!n) return SNELLEN_OK;
    FAIL_IF(n > INT32_MAX / 4, SNELLEN_E_USAGE, "a word of %zu bytes", n);
    if (t->whole_words || n == 1) {
        int32_t id = vocab_find(t, word, n);
        if (id >= 0) return ids_push(out, id, err);
    }
    FAIL_IF(!grow((void **)&w->symbols, &w->symbol_capacity, n, sizeof *w->symbols) ||
                !grow((void **)&w->heap, &w->heap_capacity, 3 * n, sizeof *w->heap),
            SNELLEN_E_MEMORY, "tokens: memory ran out");
    start_symbols(t, w, word, n);
    merge_all(t, w, word);
    for (int32_t i = 0; i >= 0; i = w->symbols[i].next) {
        const struct bpe_symbol *s = &w->symbols[i];
        if (s->id >= 0)
            TRY(ids_push(out, s->id, err));
        else
            TRY(emit_unknown(t, word + s->at, s->n, out, err));
    }
    return SNELLEN_OK;
}
