/* Pieces, merges and special tokens in tables. Nothing here trusts the file: ids are checked by the readers, equal pieces
 * and merges are allowed (the first wins), tables are sized from counts that the file's own bytes bound. */
#include "tokenize/vocab.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

const char space_piece[] = "\xe2\x96\x81";   /* U+2581 */

/* ---- pieces ------------------------------------------------------------------------------------------------------------ */

snellen_status vocab_new(const char *name, int64_t n_pieces, struct tokenizer **out, snellen_error *err)
{
    FAIL_IF(n_pieces < 1 || n_pieces > 1 << 24, SNELLEN_E_FORMAT, "%s: a vocabulary of %lld tokens, 1 to %d expected", name,
            (long long)n_pieces, 1 << 24);
    struct tokenizer *t = calloc(1, sizeof *t);
    FAIL_IF(!t, SNELLEN_E_MEMORY, "%s: memory ran out", name);
    t->bos = t->eos = t->unknown = -1;
    t->n_pieces = n_pieces;
    t->name = arena_text(&t->arena, name, strlen(name));
    t->pieces = arena_alloc(&t->arena, (size_t)n_pieces * sizeof *t->pieces);
    t->ends = arena_alloc(&t->arena, (size_t)n_pieces);
    if (!t->name || !t->pieces || !t->ends) {
        tokenizer_free(t);
        FAIL(SNELLEN_E_MEMORY, "%s: memory ran out", name);
    }
    for (int64_t i = 0; i < n_pieces; i++) t->pieces[i] = (struct piece){.bytes = "", .kind = TOKEN_UNUSED};
    *out = t;
    return SNELLEN_OK;
}

void tokenizer_free(struct tokenizer *t)
{
    if (!t) return;
    for (int i = 0; i < t->n_splits; i++) pcre2_code_free(t->splits[i]);
    arena_free(&t->arena);
    free(t);
}

snellen_status vocab_set_piece(struct tokenizer *t, int32_t id, const char *bytes, size_t n, enum token_kind kind,
                               snellen_error *err)
{
    FAIL_IF(id < 0 || id >= t->n_pieces, SNELLEN_E_FORMAT, "%s: token id %d, 0 to %lld expected", t->name, id,
            (long long)t->n_pieces - 1);
    FAIL_IF(n > 1 << 20, SNELLEN_E_FORMAT, "%s: token %d has %zu bytes", t->name, id, n);
    char *copy = arena_text(&t->arena, bytes, n);
    FAIL_IF(!copy, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
    t->pieces[id] = (struct piece){.bytes = copy, .n = (uint32_t)n, .kind = (uint8_t)kind};
    return SNELLEN_OK;
}

/* GPT-2 writes each byte as a character: printable ones of Latin-1 stand for themselves; the others, 0..32, 127..160 and
 * 173, are numbered in order from U+0100. */
static int byte_of_character(uint32_t c)
{
    if ((c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff)) return (int)c;
    int i = (int)c - 0x100;
    if (i < 0 || i > 67) return -1;
    return i < 33 ? i : i < 67 ? i - 33 + 127 : 173;
}

size_t utf8_length(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    size_t length = c < 0x80 ? 1 : c >= 0xc2 && c < 0xe0 ? 2 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 1;
    if (length > n) return 1;
    for (size_t i = 1; i < length; i++)
        if (((unsigned char)p[i] & 0xc0) != 0x80) return 1;
    return length;
}

int64_t byte_level_undo(const char *text, size_t n, char *out)
{
    int64_t n_out = 0;
    for (size_t i = 0; i < n;) {
        size_t length = utf8_length(text + i, n - i);
        uint32_t c = (unsigned char)text[i];
        if (length > 2 || (length == 1 && c >= 0x80)) return -1;
        if (length == 2) c = (c & 0x1f) << 6 | ((unsigned char)text[i + 1] & 0x3f);
        int byte = byte_of_character(c);
        if (byte < 0) return -1;
        out[n_out++] = (char)byte;
        i += length;
    }
    return n_out;
}

snellen_status vocab_set_byte_level_piece(struct tokenizer *t, int32_t id, const char *text, size_t n, enum token_kind kind,
                                          snellen_error *err)
{
    char *bytes = malloc(n + 1);
    FAIL_IF(!bytes, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
    int64_t n_bytes = byte_level_undo(text, n, bytes);
    snellen_status status = n_bytes < 0 ? vocab_set_piece(t, id, text, n, kind, err)
                                        : vocab_set_piece(t, id, bytes, (size_t)n_bytes, kind, err);
    free(bytes);
    return status;
}

/* ---- hash of pieces -------------------------------------------------------------------------------------------------------- */

static uint64_t power_above(uint64_t n)
{
    uint64_t size = 16;
    while (size < n * 2) size *= 2;
    return size;
}

snellen_status vocab_index(struct tokenizer *t, snellen_error *err)
{
    t->table_size = power_above((uint64_t)t->n_pieces);
    t->table = arena_alloc(&t->arena, t->table_size * sizeof *t->table);
    FAIL_IF(!t->table, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
    for (uint64_t i = 0; i < t->table_size; i++) t->table[i] = -1;
    for (int64_t id = 0; id < t->n_pieces; id++) {
        const struct piece *p = &t->pieces[id];
        if (!p->n) continue;
        uint64_t at = XXH3_64bits(p->bytes, p->n);
        for (;; at++) {
            int32_t *slot = &t->table[at & (t->table_size - 1)];
            if (*slot < 0) *slot = (int32_t)id;
            const struct piece *q = &t->pieces[*slot];
            if (q->n == p->n && !memcmp(q->bytes, p->bytes, p->n)) break;
        }
    }
    return SNELLEN_OK;
}

int32_t vocab_find(const struct tokenizer *t, const char *bytes, size_t n)
{
    if (!n) return -1;
    for (uint64_t at = XXH3_64bits(bytes, n);; at++) {
        int32_t id = t->table[at & (t->table_size - 1)];
        if (id < 0 || (t->pieces[id].n == n && !memcmp(t->pieces[id].bytes, bytes, n))) return id;
    }
}

/* ---- hash of merges ------------------------------------------------------------------------------------------------------------ */

snellen_status vocab_merges_new(struct tokenizer *t, uint64_t n, snellen_error *err)
{
    FAIL_IF(n > 1 << 26, SNELLEN_E_FORMAT, "%s: %llu merges", t->name, (unsigned long long)n);
    t->merge_size = power_above(n);
    t->merges = arena_alloc(&t->arena, t->merge_size * sizeof *t->merges);
    FAIL_IF(!t->merges, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
    for (uint64_t i = 0; i < t->merge_size; i++) t->merges[i].result = -1;
    return SNELLEN_OK;
}

static uint64_t pair_hash(int32_t left, int32_t right)
{
    uint64_t x = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return x ^ x >> 29;
}

static struct merge *merge_slot(const struct tokenizer *t, int32_t left, int32_t right)
{
    for (uint64_t at = pair_hash(left, right);; at++) {
        struct merge *m = &t->merges[at & (t->merge_size - 1)];
        if (m->result < 0 || (m->left == left && m->right == right)) return m;
    }
}

void vocab_add_merge(struct tokenizer *t, int32_t left, int32_t right, uint32_t rank)
{
    if (left < 0 || right < 0) return;
    const struct piece *a = &t->pieces[left], *b = &t->pieces[right];
    char joined[512];
    if ((size_t)a->n + b->n > sizeof joined) return;
    memcpy(joined, a->bytes, a->n);
    memcpy(joined + a->n, b->bytes, b->n);
    int32_t result = vocab_find(t, joined, (size_t)a->n + b->n);
    struct merge *m = merge_slot(t, left, right);
    if (result < 0 || m->result >= 0 || t->n_merges * 2 >= t->merge_size) return;
    *m = (struct merge){left, right, result, rank};
    t->n_merges++;
}

const struct merge *vocab_find_merge(const struct tokenizer *t, int32_t left, int32_t right)
{
    const struct merge *m = merge_slot(t, left, right);
    return m->result < 0 ? NULL : m;
}

/* ---- what follows from the pieces -------------------------------------------------------------------------------------------- */

/* The byte that a token <0xNN> stands for, or -1. */
static int byte_of_piece(const struct piece *p)
{
    int value = 0;
    if (p->n != 6) return -1;
    for (int i = 3; i < 5; i++) {
        char c = p->bytes[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* What each piece adds to a text. Most are what they are; copies are made only where spaces or bytes are spelled. */
static snellen_status write_plain(struct tokenizer *t, snellen_error *err)
{
    for (int64_t i = 0; i < t->n_pieces; i++) {
        struct piece *p = &t->pieces[i];
        int byte = p->kind == TOKEN_BYTE ? byte_of_piece(p) : -1;
        p->plain = p->bytes;
        p->n_plain = p->n;
        bool spelled = t->spaces_as_pieces && (p->kind == TOKEN_NORMAL || p->kind == TOKEN_USER) &&
                       memmem(p->bytes, p->n, space_piece, SPACE_BYTES);
        if (byte < 0 && !spelled) continue;
        char *plain = arena_alloc(&t->arena, (size_t)p->n + 1);
        FAIL_IF(!plain, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
        p->plain = plain;
        p->n_plain = 0;
        if (byte >= 0) plain[p->n_plain++] = (char)byte;
        for (uint32_t at = 0; byte < 0 && at < p->n;) {
            bool space = p->n - at >= SPACE_BYTES && !memcmp(p->bytes + at, space_piece, SPACE_BYTES);
            plain[p->n_plain++] = space ? ' ' : p->bytes[at];
            at += space ? SPACE_BYTES : 1;
        }
    }
    return SNELLEN_OK;
}

static int by_first_byte_then_length(const void *a, const void *b, void *pieces)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    const struct piece *p = (const struct piece *)pieces + x, *q = (const struct piece *)pieces + y;
    if (p->bytes[0] != q->bytes[0]) return (unsigned char)p->bytes[0] < (unsigned char)q->bytes[0] ? -1 : 1;
    if (p->n != q->n) return p->n > q->n ? -1 : 1;
    return (x > y) - (x < y);
}

static snellen_status list_specials(struct tokenizer *t, snellen_error *err)
{
    for (int64_t i = 0; i < t->n_pieces; i++)
        t->n_specials += (t->pieces[i].kind == TOKEN_CONTROL || t->pieces[i].kind == TOKEN_USER) && t->pieces[i].n;
    t->specials = arena_alloc(&t->arena, (t->n_specials + 1) * sizeof *t->specials);
    FAIL_IF(!t->specials, SNELLEN_E_MEMORY, "%s: memory ran out", t->name);
    size_t n = 0;
    for (int64_t i = 0; i < t->n_pieces; i++)
        if ((t->pieces[i].kind == TOKEN_CONTROL || t->pieces[i].kind == TOKEN_USER) && t->pieces[i].n)
            t->specials[n++] = (int32_t)i;
    qsort_r(t->specials, n, sizeof *t->specials, by_first_byte_then_length, t->pieces);
    size_t at = 0;
    for (int byte = 0; byte < 256; byte++) {
        while (at < n && (unsigned char)t->pieces[t->specials[at]].bytes[0] < byte) at++;
        t->special_first[byte] = at;
    }
    t->special_first[256] = n;
    return SNELLEN_OK;
}

static void find_byte_tokens(struct tokenizer *t)
{
    for (int b = 0; b < 256; b++) {
        char text[8] = {(char)b};
        size_t n = 1;
        if (!t->byte_level) n = (size_t)snprintf(text, sizeof text, "<0x%02X>", b);
        t->byte_tokens[b] = vocab_find(t, text, n);
    }
}

/* Tokens that end an answer: the end token of the file, and those that models of this family use to end a turn. */
static void find_ends(struct tokenizer *t)
{
    static const char *const names[] = {"<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|endoftext|>", "<eos>", "</s>",
                                        "<|end_of_text|>", "<|end|>"};
    if (t->eos >= 0) t->ends[t->eos] = 1;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        int32_t id = vocab_find(t, names[i], strlen(names[i]));
        if (id >= 0 && (t->pieces[id].kind == TOKEN_CONTROL || t->pieces[id].kind == TOKEN_USER)) t->ends[id] = 1;
    }
}

snellen_status vocab_finish(struct tokenizer *t, snellen_error *err)
{
    find_byte_tokens(t);
    find_ends(t);
    TRY(write_plain(t, err));
    return list_specials(t, err);
}

/* ---- what a caller may ask ------------------------------------------------------------------------------------------------------ */

int64_t tokenizer_size(const struct tokenizer *t)
{
    return t->n_pieces;
}

const char *tokenizer_kind(const struct tokenizer *t, int32_t id)
{
    static const char *const names[] = {"normal", "special", "special", "user", "unused", "byte"};
    return id < 0 || id >= t->n_pieces ? "unused" : names[t->pieces[id].kind];
}

bool tokenizer_ends(const struct tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->n_pieces && t->ends[id];
}

int32_t tokenizer_bos(const struct tokenizer *t, bool *wanted)
{
    if (wanted) *wanted = t->bos_wanted && t->bos >= 0;
    return t->bos;
}

snellen_status tokenizer_load(const struct model_file *f, struct tokenizer **out, snellen_error *err)
{
    *out = NULL;
    if (f->gguf) {
        const char *model;
        size_t n;
        return gguf_text(f->gguf, "tokenizer.ggml.model", &model, &n) ? tokenizer_from_gguf(f->gguf, f->path, out, err)
                                                                       : SNELLEN_OK;
    }
    char path[4096], *json = NULL, *config = NULL;
    size_t n = 0, n_config = 0;
    enum { MAX_JSON = 256 << 20 };
    snprintf(path, sizeof path, "%s/tokenizer.json", f->folder);
    if (!file_exists(path)) return SNELLEN_OK;
    char config_path[4096];
    snprintf(config_path, sizeof config_path, "%s/tokenizer_config.json", f->folder);
    snellen_status status = file_read(path, MAX_JSON, &json, &n, err);
    if (!status && file_exists(config_path)) status = file_read(config_path, MAX_JSON, &config, &n_config, err);
    if (!status) status = tokenizer_from_json(json, n, config, n_config, path, out, err);
    mem_free(json);
    mem_free(config);
    return status;
}
