/* safetensors: the writer. Header first, then each tensor's bytes where they belong; the file stands under a temporary
 * name until commit. The widest types come first, so that every tensor is aligned to its elements. */
#include "format/json_guard.h"
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    const char *name;
    const struct safetensors_type *type;
    uint64_t begin, n_bytes;      /* begin counts from the start of the data */
};

struct safetensors_writer {
    struct atomic_file file;
    struct arena arena;           /* path, names */
    char *path;
    struct slot *slots;           /* [n_slots] in the caller's order */
    size_t n_slots;
    uint64_t data_start, data_bytes, given;
};

/* ---- header ------------------------------------------------------------------------------------------------------ */

static int widest_first(const void *a, const void *b)
{
    const struct slot *x = *(const struct slot *const *)a, *y = *(const struct slot *const *)b;
    if (x->type->bits != y->type->bits) return y->type->bits - x->type->bits;
    return (x > y) - (x < y);
}

static snellen_status lay_out(struct safetensors_writer *w, const struct safetensors_spec *specs, snellen_error *err)
{
    struct slot **order;
    TRY(NEW_ARRAY(&order, w->n_slots, w->path, err));
    snellen_status status = SNELLEN_OK;
    for (size_t i = 0; i < w->n_slots && !status; i++) {
        const struct safetensors_spec *spec = &specs[i];
        struct slot *s = order[i] = &w->slots[i];
        s->name = arena_text(&w->arena, spec->name, strlen(spec->name));
        s->type = safetensors_type_of(spec->type);
        if (!s->name)
            status = error_set(err, SNELLEN_E_MEMORY, "%s: memory ran out", w->path);
        else if (!s->type)
            status = error_set(err, SNELLEN_E_USAGE, "%s: tensor '%s': its type '%s' is unknown", w->path, spec->name,
                               spec->type);
        else if (spec->n_dims < 0 || spec->n_dims > 4 || !name_is_good(spec->name, strlen(spec->name)) ||
                 !safetensors_bytes(s->type, spec->n_dims, spec->shape, &s->n_bytes))
            status = error_set(err, SNELLEN_E_USAGE, "%s: tensor '%s': no such shape can be written", w->path,
                               spec->name);
    }
    if (!status) qsort(order, w->n_slots, sizeof *order, widest_first);
    for (size_t i = 0; i < w->n_slots && !status; i++) {
        order[i]->begin = w->data_bytes;
        if (!size_add(w->data_bytes, order[i]->n_bytes, &w->data_bytes) || w->data_bytes > INT64_MAX / 2)
            status = error_set(err, SNELLEN_E_USAGE, "%s: its tensors are larger than any file", w->path);
    }
    mem_free(order);
    return status;
}

/* NULL when a text is not UTF-8 (or memory runs out). */
static json_t *metadata_json(const struct safetensors_note *notes, size_t n_notes)
{
    json_t *object = json_object();
    for (size_t i = 0; i < n_notes; i++)
        if (json_object_set_new(object, notes[i].key, json_string(notes[i].value))) {
            json_decref(object);
            return NULL;
        }
    return object;
}

static json_t *header_json(const struct safetensors_writer *w, const struct safetensors_spec *specs,
                           const struct safetensors_note *notes, size_t n_notes)
{
    json_t *root = json_object();
    if (n_notes && json_object_set_new(root, "__metadata__", metadata_json(notes, n_notes))) {
        json_decref(root);
        return NULL;
    }
    for (size_t i = 0; i < w->n_slots; i++) {
        const struct slot *s = &w->slots[i];
        json_t *shape = json_array();
        for (int j = 0; j < specs[i].n_dims; j++) json_array_append_new(shape, json_integer(specs[i].shape[j]));
        json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", s->type->name, "shape", shape, "data_offsets",
                                  (json_int_t)s->begin, (json_int_t)(s->begin + s->n_bytes));
        if (!entry || json_object_set_new(root, s->name, entry)) {
            json_decref(root);
            return NULL;
        }
    }
    return root;
}

/* Length, JSON, blanks up to a multiple of 8. */
static snellen_status write_header(struct safetensors_writer *w, const struct safetensors_spec *specs,
                                   const struct safetensors_note *notes, size_t n_notes, snellen_error *err)
{
    json_t *root = header_json(w, specs, notes, n_notes);
    FAIL_IF(!root, SNELLEN_E_USAGE, "%s: a tensor's name or a note is not UTF-8", w->path);
    bool unique = json_object_size(root) == w->n_slots + (n_notes > 0);
    char *text = unique ? json_dumps(root, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(root);
    FAIL_IF(!unique, SNELLEN_E_USAGE, "%s: two tensors with the same name", w->path);
    FAIL_IF(!text, SNELLEN_E_MEMORY, "%s: memory ran out", w->path);
    size_t n = strlen(text), padded = (n + 7) / 8 * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)padded >> (8 * i));
    static const char blanks[8] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
    snellen_status status = atomic_file_put(&w->file, length, sizeof length, 0, err);
    if (!status) status = atomic_file_put(&w->file, text, n, 8, err);
    if (!status) status = atomic_file_put(&w->file, blanks, padded - n, 8 + n, err);
    free(text);
    w->data_start = 8 + padded;
    return status;
}

/* ---- the writer -------------------------------------------------------------------------------------------------- */

snellen_status safetensors_writer_noted(const char *path, const struct safetensors_spec *specs, size_t n_specs,
                                        const struct safetensors_note *notes, size_t n_notes,
                                        struct safetensors_writer **out, snellen_error *err)
{
    struct safetensors_writer *w = calloc(1, sizeof *w);
    if (w) w->path = arena_text(&w->arena, path, strlen(path));
    if (!w || !w->path) {
        free(w);
        FAIL(SNELLEN_E_MEMORY, "%s: memory ran out", path);
    }
    w->n_slots = n_specs;
    snellen_status status = NEW_ARRAY(&w->slots, n_specs, path, err);
    if (!status) status = lay_out(w, specs, err);
    if (!status) status = atomic_file_open(&w->file, path, err);
    if (!status) status = write_header(w, specs, notes, n_notes, err);
    if (!status) status = atomic_file_reserve(&w->file, w->data_start, w->data_bytes, err);
    if (status) {
        safetensors_writer_abort(w);
        return status;
    }
    *out = w;
    return SNELLEN_OK;
}

snellen_status safetensors_writer_new(const char *path, const struct safetensors_spec *specs, size_t n_specs,
                                      struct safetensors_writer **out, snellen_error *err)
{
    return safetensors_writer_noted(path, specs, n_specs, NULL, 0, out, err);
}

snellen_status safetensors_writer_put(struct safetensors_writer *w, size_t i, uint64_t at, const void *bytes,
                                      uint64_t n, snellen_error *err)
{
    FAIL_IF(i >= w->n_slots, SNELLEN_E_INTERNAL, "%s: tensor %zu of %zu", w->path, i, w->n_slots);
    const struct slot *s = &w->slots[i];
    FAIL_IF(at > s->n_bytes || n > s->n_bytes - at, SNELLEN_E_INTERNAL,
            "%s: tensor '%s': %llu bytes at byte %llu, but it has %llu", w->path, s->name, (unsigned long long)n,
            (unsigned long long)at, (unsigned long long)s->n_bytes);
    TRY(atomic_file_put(&w->file, bytes, n, w->data_start + s->begin + at, err));
    w->given += n;
    return SNELLEN_OK;
}

snellen_status safetensors_writer_commit(struct safetensors_writer *w, snellen_error *err)
{
    snellen_status status = SNELLEN_OK;
    if (w->given < w->data_bytes)
        status = error_set(err, SNELLEN_E_INTERNAL, "%s: %llu of %llu bytes were given", w->path,
                           (unsigned long long)w->given, (unsigned long long)w->data_bytes);
    else
        status = atomic_file_commit(&w->file, err);
    safetensors_writer_abort(w);
    return status;
}

void safetensors_writer_abort(struct safetensors_writer *w)
{
    if (!w) return;
    atomic_file_abort(&w->file);
    mem_free(w->slots);
    arena_free(&w->arena);
    free(w);
}
