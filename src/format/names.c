/* Names from files: a hash table over them, and how they may be shown. */
#include "format/inner.h"

#include <string.h>
#include <xxhash.h>

struct name_slot {
    const char *name;  /* NULL = free */
    uint32_t n, index;
};

snellen_status name_table_init(struct name_table *t, uint64_t n, const char *what, snellen_error *err)
{
    uint64_t slots = 4;
    while (slots / 3 * 2 < n) slots *= 2;
    TRY(NEW_ARRAY(&t->slots, slots, what, err));
    t->mask = slots - 1;
    return SNELLEN_OK;
}

void name_table_free(struct name_table *t)
{
    mem_free(t->slots);
    t->slots = NULL;
    t->mask = 0;
}

/* The slot that holds the name, or the free one where it would go. */
static struct name_slot *name_slot_of(const struct name_table *t, const char *name, size_t n)
{
    uint64_t i = XXH3_64bits(name, n) & t->mask;
    while (t->slots[i].name && (t->slots[i].n != n || memcmp(t->slots[i].name, name, n))) i = (i + 1) & t->mask;
    return &t->slots[i];
}

bool name_table_put(struct name_table *t, const char *name, size_t n, uint32_t index)
{
    struct name_slot *slot = name_slot_of(t, name, n);
    if (slot->name) return false;
    *slot = (struct name_slot){name, (uint32_t)n, index};
    return true;
}

int64_t name_table_get(const struct name_table *t, const char *name, size_t n)
{
    if (!t->slots) return -1;
    const struct name_slot *slot = name_slot_of(t, name, n);
    return slot->name ? (int64_t)slot->index : -1;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

const char *name_shown(char buffer[SHOWN_BYTES], const char *text, size_t n)
{
    size_t kept = MIN(n, (size_t)SHOWN_BYTES - 4);
    for (size_t i = 0; i < kept; i++) buffer[i] = is_control(text[i]) ? '?' : text[i];
    strcpy(buffer + kept, kept < n ? ".." : "");
    return buffer;
}

bool name_is_good(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_control(text[i])) return false;
    return n >= 1 && n <= 255;
}
