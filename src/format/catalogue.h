/* The models that can be named, and how one is fetched; inside of format. */
#ifndef FORMAT_CATALOGUE_H
#define FORMAT_CATALOGUE_H

#include "format/inner.h"

/* A file inside a wheel on PyPI. A model may be cut into several, which are joined in order. */
struct catalogue_part {
    const char *project, *version, *member;
};

struct catalogue_entry {
    const char *name, *summary, *licence;
    uint64_t n_bytes;
    const char *sha256;              /* of the joined file, 64 hex digits */
    struct catalogue_part parts[8];
    size_t n_parts;
};

/* NULL for an unknown name. */
const struct catalogue_entry *catalogue_find(const char *name);
/* Where models lie: $XDG_CACHE_HOME/snellen/models; NULL without a home or memory. */
char *catalogue_folder(struct arena *arena);

/* Fetches the parts of an entry through the package index at index_url (PyPI's simple API as JSON), joins them and
 * checks the sum: afterwards folder/NAME.gguf is the whole file, or is not there (fetch.c). One at a time a folder. */
snellen_status catalogue_fetch(const struct catalogue_entry *entry, const char *index_url, const char *folder,
                               const snellen_progress *progress, snellen_error *err);

#endif
