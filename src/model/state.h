/* state: what a session is, on its way to a file or back. Whoever has a part of it lists that part once, in one function
 * for both ways: the calls below write what they are given, or fill it in from the file. The first failure wins; later
 * calls do nothing.
 *
 * The file (docs/formats.md): "SNELSTAT", version u32, 0 u32, the parts one after the other, XXH3-64 of all before. */
#ifndef MODEL_STATE_H
#define MODEL_STATE_H

#include "base/base.h"

enum { STATE_VERSION = 1 };

struct state {
    bool saving;
    const char *path;
    struct strbuf *kept;         /* in memory instead of a file; NULL = a file */
    struct atomic_file file;     /* saving */
    void *sum;                   /* XXH3 state of what was written */
    struct file_map map;         /* restoring */
    struct cursor in;            /* the parts */
    snellen_status status;
    snellen_error *err;
};

/* Opens `path` to be written, or reads and checks it: magic, version, checksum. */
snellen_status state_save_begin(struct state *s, const char *path, snellen_error *err);
snellen_status state_restore_begin(struct state *s, const char *path, snellen_error *err);
/* The same in memory, without magic, version and checksum: parts are put behind what `kept` holds, or taken from all of
 * it. */
void state_keep_begin(struct state *s, struct strbuf *kept, snellen_error *err);
void state_return_begin(struct state *s, const struct strbuf *kept, snellen_error *err);
/* Commits the file, or checks that all of it was read; without success nothing is written. Returns the first failure. */
snellen_status state_end(struct state *s);

/* What follows in the file is not wanted. */
void state_skip_rest(struct state *s);
/* n bytes as they lie in memory, little endian. */
void state_bytes(struct state *s, void *data, uint64_t n);
/* A number from low to high. */
void state_number(struct state *s, int64_t *value, int64_t low, int64_t high, const char *what);
/* What must be alike when the state is restored: an option, a size. */
void state_same(struct state *s, int64_t value, const char *what);
void state_same_text(struct state *s, const char *value, const char *what);
/* The state cannot be: keeps the first failure. */
void state_fail(struct state *s, snellen_status status, const char *what);

#endif
