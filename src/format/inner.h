/* What the files of format share with each other and with nobody else: a table of names, the description's parts. */
#ifndef FORMAT_INNER_H
#define FORMAT_INNER_H

#include "format/format.h"

/* ---- names (names.c) --------------------------------------------------------------------------------------------- */

/* Name -> index by hash; names are kept by reference. About 32 bytes a name. */
struct name_table {
    struct name_slot *slots;
    uint64_t mask;         /* number of slots - 1, slots a power of two and at most 2/3 full */
};
/* Room for n names; `what` stands in the message when memory runs out. */
snellen_status name_table_init(struct name_table *t, uint64_t n, const char *what, snellen_error *err);
void name_table_free(struct name_table *t);
/* False when the name is there already. No more puts than name_table_init() was told. */
bool name_table_put(struct name_table *t, const char *name, size_t n, uint32_t index);
/* The index, or -1. A table that was never initialised holds nothing. */
int64_t name_table_get(const struct name_table *t, const char *name, size_t n);

/* Bytes from a file as they may stand in a message: control bytes become '?', long text is cut. Returns buffer. */
enum { SHOWN_BYTES = 128 };
const char *name_shown(char buffer[SHOWN_BYTES], const char *text, size_t n);
/* True for 1..255 bytes without control bytes: what a tensor may be called. */
bool name_is_good(const char *text, size_t n);

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

/* Checks dimensions (1..4, each >= 1, their product in int64) and whole blocks, and sets t->n_bytes from t->type and
 * t->shape. `file` and t->name stand in the message. */
snellen_status tensor_measure(struct tensor *t, const char *file, snellen_error *err);
/* A stretch [begin, end) of a file that belongs to one tensor. */
struct extent {
    uint64_t begin, end;
    const char *name;
};
/* Sorts the extents and refuses two that share a byte. */
snellen_status extents_check(struct extent *extents, size_t n, const char *file, snellen_error *err);

/* ---- descriptions ------------------------------------------------------------------------------------------------ */

/* desc_gguf.c: all of the description that stands in keys and tensors. desc.windowed lies in the arena. */
snellen_status desc_from_gguf(const struct gguf *g, const char *file, struct arena *arena, struct model_desc *desc,
                              snellen_error *err);
/* desc.c: every number within its bounds, heads divide. */
snellen_status desc_check(const struct model_desc *desc, const char *file, snellen_error *err);
/* desc.c: an array desc.windowed [n_layers], all zero; n_layers is checked first. */
snellen_status desc_windows(struct model_desc *desc, struct arena *arena, const char *file, snellen_error *err);

/* ---- folders (hf.c) ---------------------------------------------------------------------------------------------- */

/* The weights of a Hugging Face folder under canonical names; desc decides how fused rows are put in order. */
struct hf;
snellen_status hf_open(const char *folder, const struct model_desc *desc, struct hf **out, snellen_error *err);
void hf_close(struct hf *hf);
size_t hf_tensors(const struct hf *hf, const struct tensor **tensors);
/* Path of weight file i; NULL past the last one. */
const char *hf_file(const struct hf *hf, size_t i);

#endif
