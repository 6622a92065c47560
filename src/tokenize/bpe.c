/* Byte pair encoding: a word's symbols, bytes or characters, are merged pair by pair, always the pair of lowest rank
 * (or highest score), of equal ones the leftmost, until no pair is left that has a merge.
 *
 * A heap of pairs over a linked list of symbols: n log n for a word of n bytes, however long. Pairs of symbols that
 * have changed since stay in the heap and are recognised when they come up: symbols only grow, so a pair is as it was
 * exactly if its length is. */
#include "tokenize/vocab.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

struct bpe_symbol {
    uint32_t begin, n;        /* bytes of the word; n = 0: merged into the one before */
    int32_t previous, next;   /* -1 = none */
    int32_t id;               /* -1 = no such token */
};

struct bpe_pair {
    uint64_t key;             /* rank << 32 | index of the left symbol: the order of merging */
    uint32_t n;               /* bytes of both */
    int32_t id;               /* what they become */
};

snellen_status id_list_put(struct id_list *list, int32_t id, snellen_error *err)
{
    if (list->n == list->capacity) {
        size_t capacity = MAX(list->capacity * 2, 64);
        int32_t *ids = capacity > SIZE_MAX / sizeof *ids ? NULL : realloc(list->ids, capacity * sizeof *ids);
        FAIL_IF(!ids, SNELLEN_E_MEMORY, "tokens: %.1f MB cannot be had (%.1f MB available)",
                (double)capacity * sizeof *ids / 1e6, (double)mem_available() / 1e6);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return SNELLEN_OK;
}

static void free_work(struct bpe *b)
{
    mem_free(b->symbols);
    mem_free(b->heap);
    b->symbols = NULL;
    b->heap = NULL;
    b->capacity = 0;
}

void bpe_free(struct bpe *b)
{
    free_work(b);
    mem_free(b->known);
}

/* Room for n symbols. Each merge takes one pair from the heap and puts at most two there: 2 n pairs are enough. */
static snellen_status bpe_reserve(struct bpe *b, size_t n, snellen_error *err)
{
    if (n <= b->capacity) return SNELLEN_OK;
    size_t capacity = MAX(n, MAX(b->capacity * 2, 256));
    free_work(b);
    TRY(NEW_ARRAY(&b->symbols, capacity, "symbols of a word", err));
    TRY(NEW_ARRAY(&b->heap, 2 * capacity, "pairs of a word", err));
    b->capacity = capacity;
    return SNELLEN_OK;
}

/* ---- the heap: smallest key on top ------------------------------------------------------------------------------- */

static void heap_push(struct bpe_pair *heap, size_t *n, struct bpe_pair pair)
{
    size_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2].key > pair.key; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = pair;
}

static struct bpe_pair heap_pop(struct bpe_pair *heap, size_t *n)
{
    struct bpe_pair top = heap[0], last = heap[--*n];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && heap[child + 1].key < heap[child].key) child++;
        if (heap[child].key >= last.key) break;
        heap[i] = heap[child];
    }
    heap[i] = last;
    return top;
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

/* What symbols `left` and the one after it become, if anything, goes to the heap. */
static void offer_pair(struct bpe *b, const char *text, int32_t left, size_t *n_pairs)
{
    const struct tokenizer *t = b->t;
    const struct bpe_symbol *s = &b->symbols[left];
    if (s->next < 0) return;
    const struct bpe_symbol *r = &b->symbols[s->next];
    uint32_t rank, n = s->n + r->n;
    int32_t id;
    if (t->orders) {
        id = piece_find(t, text + s->begin, n);
        if (id < 0) return;
        rank = t->orders[id];
    } else {
        const struct merge *m = s->id < 0 || r->id < 0 ? NULL : merge_find(t, s->id, r->id);
        if (!m) return;
        id = m->id;
        rank = m->rank;
    }
    heap_push(b->heap, n_pairs, (struct bpe_pair){(uint64_t)rank << 32 | (uint32_t)left, n, id});
}

static void merge_symbols(struct bpe *b, const char *text, int32_t n)
{
    size_t n_pairs = 0;
    for (int32_t i = 0; i + 1 < n; i++) offer_pair(b, text, i, &n_pairs);
    while (n_pairs) {
        struct bpe_pair pair = heap_pop(b->heap, &n_pairs);
        struct bpe_symbol *left = &b->symbols[(uint32_t)pair.key];
        if (left->n == 0 || left->next < 0) continue;
        struct bpe_symbol *right = &b->symbols[left->next];
        if (left->n + right->n != pair.n) continue;
        left->id = pair.id;
        left->n = pair.n;
        left->next = right->next;
        right->n = 0;
        if (left->next >= 0) b->symbols[left->next].previous = (int32_t)(uint32_t)pair.key;
        offer_pair(b, text, (int32_t)(uint32_t)pair.key, &n_pairs);
        if (left->previous >= 0) offer_pair(b, text, left->previous, &n_pairs);
    }
}

/* The symbols that a part of a word begins as; their number. */
static int32_t first_symbols(struct bpe *b, const char *text, size_t n)
{
    const struct tokenizer *t = b->t;
    int32_t count = 0;
    for (size_t i = 0; i < n; count++) {
        size_t size = t->symbols == SYMBOLS_BYTES ? 1 : MAX(utf8_next(text + i, n - i, NULL), 1);
        int32_t id = t->symbols == SYMBOLS_BYTES ? t->byte_ids[(uint8_t)text[i]] : piece_find(t, text + i, size);
        b->symbols[count] = (struct bpe_symbol){(uint32_t)i, (uint32_t)size, count - 1, count + 1, id};
        i += size;
    }
    b->symbols[count - 1].next = -1;
    return count;
}

/* ---- what came before: most words of a text come again and again ------------------------------------------------- */

enum { KNOWN_SLOTS = 4096, KNOWN_BYTES = 22, KNOWN_IDS = 10, FREE_PARTS = 256 };

struct bpe_known {
    uint8_t n, n_ids;         /* n = 0: free */
    char text[KNOWN_BYTES];
    int32_t ids[KNOWN_IDS];
};

/* Where this part stands if it is known; NULL for a part that is never kept. */
static struct bpe_known *known_slot(struct bpe *b, const char *text, size_t n)
{
    if (n > KNOWN_BYTES || ++b->n_parts < FREE_PARTS) return NULL;
    if (!b->known && NEW_ARRAY(&b->known, KNOWN_SLOTS, "known words", NULL)) b->n_parts = 0;  /* goes on without */
    return b->known ? &b->known[XXH3_64bits(text, n) % KNOWN_SLOTS] : NULL;
}

static void keep_known(struct bpe_known *slot, const char *text, size_t n, const int32_t *ids, size_t n_ids)
{
    if (n_ids > KNOWN_IDS) return;
    slot->n = (uint8_t)n;
    slot->n_ids = (uint8_t)n_ids;
    memcpy(slot->text, text, n);
    memcpy(slot->ids, ids, n_ids * sizeof *ids);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* What a symbol without a token of its own becomes: byte tokens if there is one for each of its bytes; the unknown
 * token; else nothing for a character that the vocabulary cannot spell, and U+FFFD for a byte that is no text. */
static snellen_status put_unknown(struct bpe *b, const char *text, size_t n, bool *after_unknown, snellen_error *err)
{
    const struct tokenizer *t = b->t;
    bool spelled = t->byte_fallback;
    for (size_t i = 0; i < n && spelled; i++) spelled = t->byte_ids[(uint8_t)text[i]] >= 0;
    for (size_t i = 0; i < n && spelled; i++) TRY(id_list_put(b->out, t->byte_ids[(uint8_t)text[i]], err));
    if (!spelled && t->unknown >= 0 && !(t->fuse_unknown && *after_unknown)) TRY(id_list_put(b->out, t->unknown, err));
    *after_unknown = !spelled;
    return SNELLEN_OK;
}

/* A part of a word that no piece reaches out of. */
static snellen_status bpe_part(struct bpe *b, const char *text, size_t n, bool *after_unknown, snellen_error *err)
{
    struct bpe_known *known = known_slot(b, text, n);
    if (known && known->n == n && !memcmp(known->text, text, n)) {
        for (int i = 0; i < known->n_ids; i++) TRY(id_list_put(b->out, known->ids[i], err));
        *after_unknown = false;
        return SNELLEN_OK;
    }
    TRY(bpe_reserve(b, n, err));
    merge_symbols(b, text, first_symbols(b, text, n));
    size_t before = b->out->n;
    bool all_known = true;
    for (int32_t i = 0; i >= 0; i = b->symbols[i].next) {
        const struct bpe_symbol *s = &b->symbols[i];
        if (s->id < 0) {
            TRY(put_unknown(b, text + s->begin, s->n, after_unknown, err));
            all_known = false;
            continue;
        }
        TRY(id_list_put(b->out, s->id, err));
        *after_unknown = false;
    }
    if (known && all_known) keep_known(known, text, n, b->out->ids + before, b->out->n - before);
    return SNELLEN_OK;
}

/* No piece has the byte at i after the one before it: nothing is ever merged across, and both sides can be encoded on
 * their own. Characters stay whole. */
static bool is_seam(const struct tokenizer *t, const char *text, size_t i)
{
    uint32_t pair = (uint32_t)(uint8_t)text[i - 1] << 8 | (uint8_t)text[i];
    if (t->joined[pair / 64] >> pair % 64 & 1) return false;
    return t->symbols == SYMBOLS_BYTES || ((uint8_t)text[i] & 0xc0) != 0x80;
}

snellen_status bpe_word(struct bpe *b, const char *text, size_t n, snellen_error *err)
{
    int32_t whole = b->t->ignore_merges ? piece_find(b->t, text, n) : -1;
    if (whole >= 0) return id_list_put(b->out, whole, err);
    bool after_unknown = false;
    for (size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && !is_seam(b->t, text, end);) end++;
        FAIL_IF(end - begin > INT32_MAX, SNELLEN_E_UNSUPPORTED, "a word of %zu bytes: at most %d can be tokenised",
                end - begin, INT32_MAX);
        TRY(bpe_part(b, text + begin, end - begin, &after_unknown, err));
    }
    return SNELLEN_OK;
}
