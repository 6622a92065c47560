/* Memory: checked sizes, large zeroed arrays, arenas. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

enum { ARRAY_ALIGNMENT = 64, ARENA_ALIGNMENT = 16, ARENA_BLOCK = 64 << 10 };

bool size_mul(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool size_add(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* The first number after `key` in a file such as /proc/meminfo; UINT64_MAX when there is none ("max" in cgroups). */
static uint64_t number_in_file(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    if (!f) return UINT64_MAX;
    uint64_t value = UINT64_MAX;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        size_t n = strlen(key);
        if (strncmp(line, key, n)) continue;
        char *end;
        unsigned long long x = strtoull(line + n, &end, 10);
        if (end != line + n) value = x;
        break;
    }
    fclose(f);
    return value;
}

uint64_t mem_available(void)
{
    uint64_t kib = number_in_file("/proc/meminfo", "MemAvailable:");
    uint64_t available = kib == UINT64_MAX ? UINT64_MAX : kib * 1024;
    uint64_t limit = number_in_file("/sys/fs/cgroup/memory.max", "");
    uint64_t used = number_in_file("/sys/fs/cgroup/memory.current", "");
    if (limit != UINT64_MAX && used != UINT64_MAX) available = MIN(available, limit > used ? limit - used : 0);
    return available;
}

snellen_status mem_new(void *out, uint64_t n, uint64_t size, const char *what, snellen_error *err)
{
    uint64_t bytes;
    FAIL_IF(!size_mul(n, size, &bytes) || bytes > (uint64_t)PTRDIFF_MAX - ARRAY_ALIGNMENT, SNELLEN_E_MEMORY,
            "%s: %llu elements of %llu bytes are more than any machine holds", what, (unsigned long long)n,
            (unsigned long long)size);
    /* Large blocks come from the kernel already zeroed and are only backed where they are touched. */
    uint64_t padded = (bytes + ARRAY_ALIGNMENT - 1) / ARRAY_ALIGNMENT * ARRAY_ALIGNMENT;
    char *raw = calloc(1, padded + ARRAY_ALIGNMENT);
    FAIL_IF(!raw, SNELLEN_E_MEMORY, "%s: %.1f MB cannot be had (%.1f MB available)", what, (double)bytes / 1e6,
            (double)mem_available() / 1e6);
    /* The byte before the array tells how far the block's start lies back. */
    size_t shift = ARRAY_ALIGNMENT - (uintptr_t)raw % ARRAY_ALIGNMENT;
    raw[shift - 1] = (char)shift;
    void *array = raw + shift;
    memcpy(out, &array, sizeof array);
    return SNELLEN_OK;
}

void mem_free(void *p)
{
    if (!p) return;
    char *bytes = p;
    free(bytes - bytes[-1]);
}

void snellen_free(void *p)
{
    free(p);
}

/* ---- arrays taken together ------------------------------------------------------------------------------------------ */

void *layout_place(struct layout *l, uint64_t n, uint64_t size)
{
    uint64_t bytes, end;
    if (!size_mul(n, size, &bytes) || !size_add(bytes, ARRAY_ALIGNMENT - 1, &bytes) ||
        !size_add(l->used, bytes / ARRAY_ALIGNMENT * ARRAY_ALIGNMENT, &end)) {
        l->overflow = true;
        return NULL;
    }
    void *p = l->block ? l->block + l->used : NULL;
    l->used = end;
    return p;
}

float *layout_rows(struct layout *l, int64_t n_rows, int64_t n)
{
    uint64_t count;
    if (!size_mul((uint64_t)n_rows, (uint64_t)n, &count)) l->overflow = true;
    return l->overflow ? NULL : layout_place(l, count, sizeof(float));
}

/* ---- arenas ---------------------------------------------------------------------------------------------------- */

struct arena_block {
    struct arena_block *next;
    size_t used, capacity;
};

static const size_t arena_header = (sizeof(struct arena_block) + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > PTRDIFF_MAX / 2) return NULL;
    n = (MAX(n, 1) + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
    struct arena_block *b = a->head;
    if (!b || b->capacity - b->used < n) {
        size_t capacity = MAX(n, (size_t)ARENA_BLOCK);
        b = calloc(1, arena_header + capacity);
        if (!b) return NULL;
        b->capacity = capacity;
        b->next = a->head;
        a->head = b;
    }
    void *p = (char *)b + arena_header + b->used;
    b->used += n;
    return p;
}

char *arena_text(struct arena *a, const char *text, size_t n)
{
    if (n == SIZE_MAX) return NULL;
    char *copy = arena_alloc(a, n + 1);
    if (copy && n) memcpy(copy, text, n);
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (!text) return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, args);
    va_end(args);
    return text;
}

void arena_free(struct arena *a)
{
    for (struct arena_block *b = a->head; b;) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
    a->head = NULL;
}
