/* The vocabulary: tokens by id, pieces by their bytes, merges by their pair.
 *
 * Not here: where it is read from (vocab_gguf.c, vocab_hf.c) and how it is used (bpe.c). After tokenizer_index()
 * nothing of it changes, so that threads can share it. */
#include "tokenize/vocab.h"

#include <string.h>
#include <unistd.h>
#include <xxhash.h>

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

snellen_status tokenizer_new(uint64_t n, const char *file, struct tokenizer **out, snellen_error *err)
{
    FAIL_IF(n == 0, SNELLEN_E_FORMAT, "%s: tokenizer: there are no tokens", file);
    FAIL_IF(n > MOST_TOKENS, SNELLEN_E_FORMAT, "%s: tokenizer: %llu tokens, at most %d expected", file,
            (unsigned long long)n, MOST_TOKENS);
    struct tokenizer *t;
    TRY(NEW_ARRAY(&t, 1, file, err));
    t->n = (int32_t)n;
    t->bos = t->eos = t->unknown = -1;
    snellen_status status = NEW_ARRAY(&t->tokens, n, "tokens", err);
    if (status) {
        tokenizer_free(t);
        return status;
    }
    for (uint64_t i = 0; i < n; i++) t->tokens[i].kind = TOKEN_UNUSED;
    *out = t;
    return SNELLEN_OK;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t) return;
    pretokenizer_free(&t->pre);
    mem_free(t->added.list);
    mem_free(t->added_normal.list);
    mem_free(t->merges.slots);
    mem_free(t->orders);
    mem_free(t->pieces.slots);
    mem_free(t->tokens);
    arena_free(&t->arena);
    mem_free(t);
}

snellen_status token_set(struct tokenizer *t, int64_t id, const char *bytes, size_t n, enum token_kind kind,
                         const char *file, snellen_error *err)
{
    FAIL_IF(id < 0 || id >= t->n, SNELLEN_E_FORMAT, "%s: tokenizer: token id %lld is not within 0 .. %d", file,
            (long long)id, t->n - 1);
    FAIL_IF(n > LONGEST_PIECE, SNELLEN_E_FORMAT, "%s: tokenizer: token %lld has %zu bytes, at most %d expected", file,
            (long long)id, n, LONGEST_PIECE);
    struct token *token = &t->tokens[id];
    FAIL_IF(token->bytes, SNELLEN_E_FORMAT, "%s: tokenizer: two tokens have the id %lld", file, (long long)id);
    char *copy = arena_text(&t->arena, bytes, n);
    FAIL_IF(!copy, SNELLEN_E_MEMORY, "%s: tokenizer: memory ran out", file);
    *token = (struct token){.bytes = copy, .n = (uint32_t)n, .kind = (uint8_t)kind};
    return SNELLEN_OK;
}

int32_t token_named(const struct tokenizer *t, const char *bytes, size_t n)
{
    for (int32_t i = 0; i < t->n; i++)
        if (t->tokens[i].bytes && t->tokens[i].n == n && !memcmp(t->tokens[i].bytes, bytes, n)) return i;
    return -1;
}

/* ---- pieces ------------------------------------------------------------------------------------------------------ */

/* Hashes differ from run to run; nothing that can be seen depends on them. Without entropy they are merely the same. */
static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getentropy(&seed, sizeof seed)) seed = 0;
    return seed;
}

/* The smallest power of two that is at least 2 n. */
static uint64_t slots_for(uint64_t n)
{
    uint64_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    return slots;
}

static struct piece_slot *piece_slot_of(const struct tokenizer *t, const char *bytes, size_t n, uint32_t *check)
{
    uint64_t hash = XXH3_64bits_withSeed(bytes, n, t->pieces.seed);
    *check = (uint32_t)(hash >> 32);
    for (uint64_t i = hash & t->pieces.mask;; i = (i + 1) & t->pieces.mask) {
        struct piece_slot *slot = &t->pieces.slots[i];
        if (slot->id < 0) return slot;
        const struct token *token = &t->tokens[slot->id];
        if (slot->check == *check && token->n == n && !memcmp(token->bytes, bytes, n)) return slot;
    }
}

int32_t piece_find(const struct tokenizer *t, const char *bytes, size_t n)
{
    if (n == 0 || n > t->longest) return -1;
    uint32_t check;
    return piece_slot_of(t, bytes, n, &check)->id;
}

static bool is_piece(const struct token *token)
{
    return token->n > 0 && !token->hidden && (token->kind == TOKEN_NORMAL || token->kind == TOKEN_USER);
}

/* Where two tokens stand for the same bytes, the first normal one is what text becomes. */
static void add_piece(struct tokenizer *t, int32_t id)
{
    const struct token *token = &t->tokens[id];
    uint32_t check;
    struct piece_slot *slot = piece_slot_of(t, token->bytes, token->n, &check);
    bool better = slot->id < 0 || (t->tokens[slot->id].kind == TOKEN_USER && token->kind == TOKEN_NORMAL);
    if (better) *slot = (struct piece_slot){check, id};
    t->longest = MAX(t->longest, token->n);
    for (uint32_t i = 0; i + 1 < token->n; i++) {
        uint32_t pair = (uint32_t)(uint8_t)token->bytes[i] << 8 | (uint8_t)token->bytes[i + 1];
        t->joined[pair / 64] |= (uint64_t)1 << pair % 64;
    }
}

bool is_end_name(const char *bytes, size_t n)
{
    static const char *const names[] = {"<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>",
                                        "<|end_of_text|>", "<|end|>"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (strlen(names[i]) == n && !memcmp(names[i], bytes, n)) return true;
    return false;
}

snellen_status tokenizer_index(struct tokenizer *t, const char *file, snellen_error *err)
{
    uint64_t n_pieces = 0, n_slots;
    for (int32_t i = 0; i < t->n; i++) n_pieces += is_piece(&t->tokens[i]);
    n_slots = slots_for(n_pieces);
    TRY(NEW_ARRAY(&t->pieces.slots, n_slots, file, err));
    for (uint64_t i = 0; i < n_slots; i++) t->pieces.slots[i].id = -1;
    t->pieces.mask = n_slots - 1;
    t->pieces.seed = random_seed();
    for (int i = 0; i < 256; i++) t->byte_ids[i] = -1;
    for (int32_t i = 0; i < t->n; i++) {
        struct token *token = &t->tokens[i];
        if (!token->bytes) token->bytes = "";
        if (is_piece(token)) add_piece(t, i);
        if (token->kind == TOKEN_BYTE && token->n == 1) {
            int32_t *id = &t->byte_ids[(uint8_t)token->bytes[0]];
            if (*id < 0) *id = i;
        }
        if (token->kind == TOKEN_SPECIAL || token->kind == TOKEN_USER)
            token->ends |= is_end_name(token->bytes, token->n);
    }
    for (int i = 0; i < 256 && t->symbols == SYMBOLS_BYTES; i++) {
        char byte = (char)i;
        t->byte_ids[i] = piece_find(t, &byte, 1);
    }
    return SNELLEN_OK;
}

/* ---- merges ------------------------------------------------------------------------------------------------------ */

snellen_status merges_init(struct tokenizer *t, uint64_t n, const char *file, snellen_error *err)
{
    FAIL_IF(n > MOST_MERGES, SNELLEN_E_FORMAT, "%s: tokenizer: %llu merges, at most %d expected", file,
            (unsigned long long)n, MOST_MERGES);
    uint64_t n_slots = slots_for(n);
    TRY(NEW_ARRAY(&t->merges.slots, n_slots, file, err));
    for (uint64_t i = 0; i < n_slots; i++) t->merges.slots[i].left = -1;
    t->merges.mask = n_slots - 1;
    t->merges.seed = random_seed();
    t->merges.n = 0;
    return SNELLEN_OK;
}

/* The slot that holds the pair, or the free one where it would go. */
static struct merge *merge_slot_of(const struct tokenizer *t, int32_t left, int32_t right)
{
    uint64_t x = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) ^ t->merges.seed;
    x = (x ^ x >> 32) * 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
    for (uint64_t i = (x ^ x >> 32) & t->merges.mask;; i = (i + 1) & t->merges.mask) {
        struct merge *m = &t->merges.slots[i];
        if (m->left < 0 || (m->left == left && m->right == right)) return m;
    }
}

const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right)
{
    const struct merge *m = merge_slot_of(t, left, right);
    return m->left < 0 ? NULL : m;
}

/* No piece, but a token all the same. */
static bool is_other_token(const struct tokenizer *t, const char *bytes, size_t n)
{
    return added_set_has(&t->added, t, bytes, n) || added_set_has(&t->added_normal, t, bytes, n) ||
           (t->byte_fallback && spelling_byte_token(bytes, n) >= 0);
}

snellen_status merges_add(struct tokenizer *t, uint32_t rank, const char *left, size_t n_left, const char *right,
                          size_t n_right, const char *file, snellen_error *err)
{
    char joined[LONGEST_PIECE];
    FAIL_IF(n_left > LONGEST_PIECE || n_right > LONGEST_PIECE - n_left, SNELLEN_E_FORMAT,
            "%s: tokenizer: merge %u makes a piece of more than %d bytes", file, rank, LONGEST_PIECE);
    memcpy(joined, left, n_left);
    memcpy(joined + n_left, right, n_right);
    int32_t a = piece_find(t, left, n_left), b = piece_find(t, right, n_right);
    int32_t id = piece_find(t, joined, n_left + n_right);
    if ((a < 0 && is_other_token(t, left, n_left)) || (b < 0 && is_other_token(t, right, n_right)) ||
        (id < 0 && is_other_token(t, joined, n_left + n_right)))
        return SNELLEN_OK;
    FAIL_IF(a < 0 || b < 0 || id < 0, SNELLEN_E_FORMAT, "%s: tokenizer: merge %u: %s is no token", file, rank,
            a < 0 ? "its left side" : b < 0 ? "its right side" : "what it makes");
    struct merge *m = merge_slot_of(t, a, b);
    if (m->left >= 0) return SNELLEN_OK;
    *m = (struct merge){a, b, rank, id};
    t->merges.n++;
    return SNELLEN_OK;
}
