/* Types of safetensors files, shared by reader and writer. */
#ifndef FORMAT_SAFETENSORS_H
#define FORMAT_SAFETENSORS_H

#include "format/inner.h"

struct safetensors_type {
    const char *name;
    int bits;              /* of one element */
    bool known;            /* `type` holds: the decoder can use it */
    enum dtype type;
};
/* NULL for a name that the format does not have. */
const struct safetensors_type *safetensors_type_of(const char *name);
/* Bytes of a tensor; false when they do not fit or are no whole bytes. */
bool safetensors_bytes(const struct safetensors_type *type, int n_dims, const int64_t *shape, uint64_t *n_bytes);

/* The header is JSON of at most this many bytes (the format's own limit). */
enum { SAFETENSORS_LARGEST_HEADER = 100000000, SAFETENSORS_MOST_DIMS = 16 };

/* Tensor i as it stands in the file, whatever its type; false past the last one. */
struct safetensors_entry {
    const char *name;
    const struct safetensors_type *type;
    int n_dims;
    const int64_t *shape;
    const uint8_t *data;   /* at any address */
    uint64_t n_bytes;
};
bool safetensors_entry_at(const struct safetensors *s, size_t i, const struct safetensors_entry **entry);

#endif
