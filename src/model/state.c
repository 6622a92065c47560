/* The file of a state: written beside its place and renamed, checked whole before any of it is used. */
#include "model/state.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

static const char magic[8] = "SNELSTAT";
static const char kept_name[] = "state of a session";   /* in memory */
enum { HEAD = 16, SUM = 8, MAX_TEXT = 256 };

void state_fail(struct state *s, snellen_status status, const char *what)
{
    if (!s->status) s->status = error_set(s->err, status, "%s: %s", s->path, what);
}

/* ---- the way out ------------------------------------------------------------------------------------------------- */

static void put(struct state *s, const void *data, uint64_t n)
{
    if (s->status || !n) return;
    if (s->kept) {
        strbuf_put(s->kept, data, n);
        if (s->kept->failed) state_fail(s, SNELLEN_E_MEMORY, "memory ran out");
        return;
    }
    if (fwrite(data, 1, n, s->file.stream) != n)
        state_fail(s, SNELLEN_E_IO, strerror(errno));
    else if (XXH3_64bits_update(s->sum, data, n) != XXH_OK)
        state_fail(s, SNELLEN_E_INTERNAL, "hashing failed");
}

snellen_status state_save_begin(struct state *s, const char *path, snellen_error *err)
{
    const uint32_t version[2] = {STATE_VERSION};
    *s = (struct state){.saving = true, .path = path, .err = err, .sum = XXH3_createState()};
    FAIL_IF(!s->sum, SNELLEN_E_MEMORY, "%s: memory ran out", path);
    s->status = atomic_file_open(&s->file, path, err);
    if (s->status) return state_end(s);
    XXH3_64bits_reset(s->sum);
    put(s, magic, sizeof magic);
    put(s, version, sizeof version);
    return SNELLEN_OK;
}

void state_keep_begin(struct state *s, struct strbuf *kept, snellen_error *err)
{
    *s = (struct state){.saving = true, .path = kept_name, .kept = kept, .err = err};
}

static snellen_status save_end(struct state *s)
{
    if (s->kept) return s->status;
    XXH64_hash_t sum = XXH3_64bits_digest(s->sum);
    put(s, &sum, sizeof sum);
    XXH3_freeState(s->sum);
    if (!s->status) return atomic_file_commit(&s->file, s->err);
    atomic_file_abort(&s->file);
    return s->status;
}

/* ---- the way back ------------------------------------------------------------------------------------------------ */

static snellen_status check_file(const struct file_map *map, const char *path, snellen_error *err)
{
    FAIL_IF(map->size < sizeof magic || memcmp(map->data, magic, sizeof magic), SNELLEN_E_FORMAT,
            "%s: not the state of a session", path);
    FAIL_IF(map->size < HEAD + SUM, SNELLEN_E_FORMAT, "%s: the state was cut to %llu bytes", path,
            (unsigned long long)map->size);
    uint32_t version;
    XXH64_hash_t sum;
    memcpy(&version, map->data + sizeof magic, sizeof version);
    memcpy(&sum, map->data + map->size - SUM, sizeof sum);
    FAIL_IF(version != STATE_VERSION, SNELLEN_E_UNSUPPORTED, "%s: a state of version %u, version %d expected", path,
            version, STATE_VERSION);
    FAIL_IF(XXH3_64bits(map->data, map->size - SUM) != sum, SNELLEN_E_FORMAT,
            "%s: the state was cut or changed: its checksum does not fit", path);
    return SNELLEN_OK;
}

snellen_status state_restore_begin(struct state *s, const char *path, snellen_error *err)
{
    *s = (struct state){.path = path, .err = err};
    TRY(file_map_open(&s->map, path, err));
    s->status = check_file(&s->map, path, err);
    if (s->status) return state_end(s);
    s->in = (struct cursor){.bytes = s->map.data, .size = s->map.size - SUM, .pos = HEAD};
    return SNELLEN_OK;
}

void state_return_begin(struct state *s, const struct strbuf *kept, snellen_error *err)
{
    *s = (struct state){.path = kept_name, .err = err, .in = {.bytes = (const uint8_t *)kept->text, .size = kept->n}};
}

static snellen_status restore_end(struct state *s)
{
    if (s->in.pos != s->in.size) state_fail(s, SNELLEN_E_FORMAT, "the state is longer than what it holds");
    file_map_close(&s->map);
    return s->status;
}

snellen_status state_end(struct state *s)
{
    return s->saving ? save_end(s) : restore_end(s);
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

void state_bytes(struct state *s, void *data, uint64_t n)
{
    if (s->saving) {
        put(s, data, n);
        return;
    }
    const uint8_t *from = s->status ? NULL : cursor_take(&s->in, n);
    if (from) memcpy(data, from, n);
    else state_fail(s, SNELLEN_E_FORMAT, "the state ends too early");
}

void state_skip_rest(struct state *s)
{
    if (!s->saving && !s->status) s->in.pos = s->in.size;
}

void state_number(struct state *s, int64_t *value, int64_t low, int64_t high, const char *what)
{
    int64_t x = *value;
    state_bytes(s, &x, sizeof x);
    if (s->status) return;
    if (x < low || x > high)
        s->status = error_set(s->err, SNELLEN_E_FORMAT, "%s: %s is %lld, %lld to %lld expected", s->path, what,
                              (long long)x, (long long)low, (long long)high);
    else
        *value = x;
}

void state_same(struct state *s, int64_t value, const char *what)
{
    int64_t x = value;
    state_bytes(s, &x, sizeof x);
    if (!s->status && x != value)
        s->status = error_set(s->err, SNELLEN_E_USAGE, "%s: the state's %s is %lld, this session's %lld", s->path, what,
                              (long long)x, (long long)value);
}

void state_same_text(struct state *s, const char *value, const char *what)
{
    char x[MAX_TEXT] = {0};
    int64_t n = (int64_t)strlen(value);
    state_number(s, &n, 0, MAX_TEXT - 1, what);
    if (s->status) return;
    if (s->saving) memcpy(x, value, (size_t)n);
    state_bytes(s, x, (uint64_t)n);
    if (s->status) return;
    x[n] = 0;
    if (strcmp(x, value))
        s->status = error_set(s->err, SNELLEN_E_USAGE, "%s: the state's %s is %s, this session's %s", s->path, what, x,
                              value);
}
