/* base: what every other module stands on: error values, checked sizes, arenas, text buffers, files, random numbers.
 *
 * Not here: anything that knows of models or numbers. Nothing below prints or exits. */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include "snellen.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- errors: set once, handed up ------------------------------------------------------------------------------- */

/* Writes status and message into err (may be NULL) and returns status. */
snellen_status error_set(snellen_error *err, snellen_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the byte offset in a file. */
snellen_status error_at(snellen_error *err, snellen_status status, uint64_t offset, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "prefix: " before the message that err already holds; returns its status. */
snellen_status error_prefix(snellen_error *err, snellen_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Return an error from a function whose last parameter is `snellen_error *err`. */
#define FAIL(status, ...) return error_set(err, (status), __VA_ARGS__)
#define FAIL_IF(cond, status, ...)                                                                                     \
    do {                                                                                                               \
        if (cond) return error_set(err, (status), __VA_ARGS__);                                                        \
    } while (0)
/* Evaluate a call that returns a status; hand a failure up at once. */
#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        snellen_status try_status_ = (expr);                                                                           \
        if (try_status_) return try_status_;                                                                           \
    } while (0)
/* The same where something must be released first: sets `status` and jumps. */
#define TRY_GOTO(expr, label)                                                                                          \
    do {                                                                                                               \
        status = (expr);                                                                                               \
        if (status) goto label;                                                                                        \
    } while (0)

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- sizes from outside ------------------------------------------------------------------------------------------ */

/* *out = a * b, a + b; false when it does not fit. */
bool size_mul(uint64_t a, uint64_t b, uint64_t *out);
bool size_add(uint64_t a, uint64_t b, uint64_t *out);

/* Zeroed array of n elements of `size` bytes, aligned to 64; the pointer at `out` (of any object type) is set on
 * success. Never larger than the memory the machine can give: the message has the sum. Free with mem_free(). */
snellen_status mem_new(void *out, uint64_t n, uint64_t size, const char *what, snellen_error *err);
void mem_free(void *p);
/* A typed mem_new: TRY(NEW_ARRAY(&x, n, "hidden rows", err)) */
#define NEW_ARRAY(out, n, what, err) mem_new((out), (uint64_t)(n), sizeof(**(out)), (what), (err))
/* Bytes of memory that can be had now (MemAvailable, within the cgroup's limit). */
uint64_t mem_available(void);

/* Arrays that are taken together: the function that lists them is called twice, first with an empty layout, which
 * adds up their sizes (`used`), then with `block` of that many bytes, which hands out their places. Each begins at
 * 64 bytes. */
struct layout {
    char *block;
    uint64_t used;
    bool overflow;         /* the sum does not fit */
};
/* NULL in the first pass. */
void *layout_place(struct layout *l, uint64_t n, uint64_t size);
/* n_rows rows of n floats */
float *layout_rows(struct layout *l, int64_t n_rows, int64_t n);

/* ---- arenas: many small objects, one lifetime -------------------------------------------------------------------- */

struct arena {
    struct arena_block *head;
};
/* n bytes, 16-aligned, zeroed; NULL when memory runs out. */
void *arena_alloc(struct arena *a, size_t n);
/* A NUL ended copy of n bytes. */
char *arena_text(struct arena *a, const char *text, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_free(struct arena *a);

/* ---- growing text ------------------------------------------------------------------------------------------------- */

/* Zero-initialised = empty. `text` is NUL ended once something was put in. A failed allocation sets `failed` and later
 * puts do nothing: check once at the end. */
struct strbuf {
    char *text;
    size_t n, capacity;
    bool failed;
};
void strbuf_put(struct strbuf *b, const void *bytes, size_t n);
void strbuf_puts(struct strbuf *b, const char *text);
void strbuf_printf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_free(struct strbuf *b);
/* Hands the text over (snellen_free) and empties the buffer; SNELLEN_E_MEMORY when a put had failed. */
snellen_status strbuf_take(struct strbuf *b, char **text, size_t *n, snellen_error *err);

/* ---- names ---------------------------------------------------------------------------------------------------------- */

/* The entry nearest to `word` among n names, or NULL when none is near enough to be meant. */
const char *text_nearest(const char *word, const char *const *names, size_t n);

/* ---- reading untrusted bytes --------------------------------------------------------------------------------------- */

/* A cursor over bytes: reads past the end set `failed` (with the offset) and give zeros; check once. */
struct cursor {
    const uint8_t *bytes;
    uint64_t size, pos;
    bool failed;
    uint64_t failed_at;
};
uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);
uint64_t cursor_u64(struct cursor *c);
/* The next n bytes, or NULL (and failed). */
const uint8_t *cursor_take(struct cursor *c, uint64_t n);

/* ---- files ---------------------------------------------------------------------------------------------------------- */

/* A whole file mapped read-only. Empty files map to data = NULL, size = 0. */
struct file_map {
    const uint8_t *data;
    uint64_t size;
};
snellen_status file_map_open(struct file_map *map, const char *path, snellen_error *err);
void file_map_close(struct file_map *map);
/* The whole file, or pipe, as text with a NUL after it, at most max_bytes. *text by mem_free(). */
snellen_status file_read(const char *path, uint64_t max_bytes, char **text, size_t *n, snellen_error *err);
/* The same of an open file that the caller goes on owning; `name` stands in messages. A signal ends it with
 * SNELLEN_E_CANCELLED. */
snellen_status file_read_stream(int fd, const char *name, uint64_t max_bytes, char **text, size_t *n,
                                snellen_error *err);
/* Writes a new file beside path, syncs it and renames it over path: path is never half written. A path that names a
 * device, pipe or folder is refused. */
snellen_status file_write_atomic(const char *path, const void *bytes, size_t n, snellen_error *err);
/* The same in pieces: open gives a stream on a temporary file, commit syncs and renames, abort removes it. */
struct atomic_file {
    FILE *stream;
    char *path, *temporary;
};
snellen_status atomic_file_open(struct atomic_file *f, const char *path, snellen_error *err);
/* All n bytes at byte `at`, in any order; not together with writes to the stream. */
snellen_status atomic_file_put(struct atomic_file *f, const void *bytes, uint64_t n, uint64_t at, snellen_error *err);
/* Asks for room for n bytes from byte `at` on, so that a full disk shows before the work and not after it. */
snellen_status atomic_file_reserve(struct atomic_file *f, uint64_t at, uint64_t n, snellen_error *err);
snellen_status atomic_file_commit(struct atomic_file *f, snellen_error *err);
void atomic_file_abort(struct atomic_file *f);
bool file_is_folder(const char *path);
bool file_exists(const char *path);
/* mkdir -p */
snellen_status folder_make(const char *path, snellen_error *err);
/* Holds the folder for one process until folder_unlock() or its end; refused with "PATH: another process is `doing`"
 * where another one holds it. Needs no file in it; where a file system knows no locks of folders (NFS), all may. */
snellen_status folder_lock(const char *path, const char *doing, int *lock, snellen_error *err);
void folder_unlock(int lock);
/* $XDG_CACHE_HOME/snellen or ~/.cache/snellen; $XDG_DATA_HOME/snellen or ~/.local/share/snellen. NULL without a
 * home. */
char *folder_cache(struct arena *a);
char *folder_data(struct arena *a);

/* ---- random numbers --------------------------------------------------------------------------------------------------- */

/* xoshiro256**: (seed, stream) gives an independent sequence, the same on every machine. */
struct rng {
    uint64_t state[4];
};
void rng_seed(struct rng *r, uint64_t seed, uint64_t stream);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, n), without bias; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* Uniform in [0, 1), 53 bits. */
double rng_uniform(struct rng *r);
/* Standard normal. */
double rng_normal(struct rng *r);
/* Place i of a random order of n <= 2^62 things; draw i / n of them has an order of its own. A permutation without a
 * table: a Feistel network over the next power of four, walked until it lands below n (Black and Rogaway 2002). */
uint64_t order_at(uint64_t n, uint64_t i, uint64_t seed);

#endif
