/* Growing text, names that are near each other, and a cursor over untrusted bytes. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

/* ---- growing text ------------------------------------------------------------------------------------------------ */

static bool strbuf_reserve(struct strbuf *b, size_t n)
{
    if (b->failed) return false;
    if (n >= SIZE_MAX / 4 - b->n) return !(b->failed = true);
    size_t needed = b->n + n + 1;
    if (needed <= b->capacity) return true;
    size_t capacity = MAX(needed, b->capacity * 2);
    char *text = realloc(b->text, MAX(capacity, 64));
    if (!text) return !(b->failed = true);
    b->text = text;
    b->capacity = MAX(capacity, 64);
    return true;
}

void strbuf_put(struct strbuf *b, const void *bytes, size_t n)
{
    if (!strbuf_reserve(b, n)) return;
    if (n) memcpy(b->text + b->n, bytes, n);
    b->n += n;
    b->text[b->n] = 0;
}

void strbuf_puts(struct strbuf *b, const char *text)
{
    strbuf_put(b, text, strlen(text));
}

void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || !strbuf_reserve(b, (size_t)n)) return;
    va_start(args, fmt);
    vsnprintf(b->text + b->n, (size_t)n + 1, fmt, args);
    va_end(args);
    b->n += (size_t)n;
}

void strbuf_free(struct strbuf *b)
{
    free(b->text);
    memset(b, 0, sizeof *b);
}

snellen_status strbuf_take(struct strbuf *b, char **text, size_t *n, snellen_error *err)
{
    strbuf_put(b, "", 0);
    if (b->failed) {
        strbuf_free(b);
        FAIL(SNELLEN_E_MEMORY, "text: memory ran out");
    }
    *text = b->text;
    if (n) *n = b->n;
    memset(b, 0, sizeof *b);
    return SNELLEN_OK;
}

/* ---- names ---------------------------------------------------------------------------------------------------------- */

/* Edits (insert, delete, replace, swap of neighbours) that turn a into b; names longer than 31 letters are far. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), d[32][32];
    if (na > 31 || nb > 31) return SIZE_MAX;
    for (size_t i = 0; i <= na; i++) d[i][0] = i;
    for (size_t j = 0; j <= nb; j++) d[0][j] = j;
    for (size_t i = 1; i <= na; i++)
        for (size_t j = 1; j <= nb; j++) {
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, MIN(d[i - 1][j], d[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) best = MIN(best, d[i - 2][j - 2] + 1);
            d[i][j] = best;
        }
    return d[na][nb];
}

const char *text_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    size_t best_distance = SIZE_MAX, length = strlen(word);
    for (size_t i = 0; i < n; i++) {
        size_t distance = edit_distance(word, names[i]);
        if (length >= 3 && !strncmp(word, names[i], length)) distance = 1; /* the beginning of a name is near */
        if (distance < best_distance) best = names[i], best_distance = distance;
    }
    return best_distance <= MAX(length / 3, 1) ? best : NULL;
}

/* ---- cursor ------------------------------------------------------------------------------------------------------- */

const uint8_t *cursor_take(struct cursor *c, uint64_t n)
{
    if (c->failed || n > c->size - c->pos) {
        if (!c->failed) c->failed_at = c->pos;
        c->failed = true;
        return NULL;
    }
    const uint8_t *p = c->bytes + c->pos;
    c->pos += n;
    return p;
}

/* Little endian, whatever the machine. */
static uint64_t cursor_uint(struct cursor *c, int n)
{
    const uint8_t *p = cursor_take(c, (uint64_t)n);
    uint64_t x = 0;
    for (int i = 0; p && i < n; i++) x |= (uint64_t)p[i] << (8 * i);
    return x;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)cursor_uint(c, 1);
}

uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)cursor_uint(c, 2);
}

uint32_t cursor_u32(struct cursor *c)
{
    return (uint32_t)cursor_uint(c, 4);
}

uint64_t cursor_u64(struct cursor *c)
{
    return cursor_uint(c, 8);
}
