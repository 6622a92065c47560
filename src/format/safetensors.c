/* safetensors: the reader. A file is 8 bytes with the length of a JSON header, the header, the data; each entry of the
 * header gives type, shape and where its data lies. After safetensors_parse() all of that lies inside the file and no
 * byte belongs to two tensors. */
#include "format/json_guard.h"
#include "format/safetensors.h"

#include <string.h>

static const struct safetensors_type types[] = {
    {"F32", 32, true, DT_F32}, {"F16", 16, true, DT_F16}, {"BF16", 16, true, DT_BF16},
    {.name = "F64", .bits = 64}, {.name = "I64", .bits = 64}, {.name = "I32", .bits = 32}, {.name = "I16", .bits = 16},
    {.name = "I8", .bits = 8}, {.name = "U64", .bits = 64}, {.name = "U32", .bits = 32}, {.name = "U16", .bits = 16},
    {.name = "U8", .bits = 8}, {.name = "BOOL", .bits = 8}, {.name = "F8_E4M3", .bits = 8},
    {.name = "F8_E5M2", .bits = 8}, {.name = "F8_E8M0", .bits = 8}, {.name = "F6_E2M3", .bits = 6},
    {.name = "F6_E3M2", .bits = 6}, {.name = "F4", .bits = 4}, {.name = "C64", .bits = 64},
};

const struct safetensors_type *safetensors_type_of(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (!strcmp(types[i].name, name)) return &types[i];
    return NULL;
}

bool safetensors_bytes(const struct safetensors_type *type, int n_dims, const int64_t *shape, uint64_t *n_bytes)
{
    uint64_t bits = (uint64_t)type->bits;
    for (int i = 0; i < n_dims; i++)
        if (shape[i] < 0 || !size_mul(bits, (uint64_t)shape[i], &bits)) return false;
    *n_bytes = bits / 8;
    return bits % 8 == 0 && *n_bytes <= INT64_MAX;
}

struct safetensors {
    struct file_map map;                /* empty when the bytes are the caller's */
    struct arena arena;                 /* names, shapes, data that had to move */
    struct safetensors_entry *entries;  /* all tensors, in the order of the header */
    size_t n_entries;
    struct name_table names;
    struct tensor *tensors;             /* those of types that the decoder can use */
    size_t n_tensors;
};

/* What is being read: the header's place and the data behind it. */
struct header {
    const char *file;
    const uint8_t *data;
    uint64_t start, size;               /* of the data: where in the file, and how many bytes */
};

/* ---- one entry --------------------------------------------------------------------------------------------------- */

static bool json_size(const json_t *value, int64_t *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = json_integer_value(value);
    return true;
}

static snellen_status read_shape(struct safetensors *s, const struct header *h, const json_t *value,
                                 struct safetensors_entry *e, snellen_error *err)
{
    json_t *shape = json_object_get(value, "shape");
    size_t n = json_array_size(shape);
    FAIL_IF(!json_is_array(shape) || n > SAFETENSORS_MOST_DIMS, SNELLEN_E_FORMAT,
            "%s: tensor '%s': 'shape' with at most %d numbers expected", h->file, e->name, SAFETENSORS_MOST_DIMS);
    int64_t *sizes = arena_alloc(&s->arena, n * sizeof *sizes);
    FAIL_IF(!sizes, SNELLEN_E_MEMORY, "%s: memory ran out", h->file);
    for (size_t i = 0; i < n; i++)
        FAIL_IF(!json_size(json_array_get(shape, i), &sizes[i]), SNELLEN_E_FORMAT,
                "%s: tensor '%s': 'shape' with whole numbers from 0 expected", h->file, e->name);
    e->n_dims = (int)n;
    e->shape = sizes;
    return SNELLEN_OK;
}

static snellen_status read_place(const struct header *h, const json_t *value, struct safetensors_entry *e,
                                 struct extent *extent, snellen_error *err)
{
    json_t *offsets = json_object_get(value, "data_offsets");
    int64_t begin, end;
    uint64_t expected;
    FAIL_IF(json_array_size(offsets) != 2 || !json_size(json_array_get(offsets, 0), &begin) ||
            !json_size(json_array_get(offsets, 1), &end) || end < begin, SNELLEN_E_FORMAT,
            "%s: tensor '%s': 'data_offsets' with begin and end expected", h->file, e->name);
    FAIL_IF(!safetensors_bytes(e->type, e->n_dims, e->shape, &expected), SNELLEN_E_FORMAT,
            "%s: tensor '%s': its dimensions multiply to no number of bytes that a file can have", h->file, e->name);
    FAIL_IF(expected != (uint64_t)(end - begin), SNELLEN_E_FORMAT,
            "%s: tensor '%s': %lld bytes of data, %llu expected for its type and shape", h->file, e->name,
            (long long)(end - begin), (unsigned long long)expected);
    if ((uint64_t)end > h->size)
        return error_at(err, SNELLEN_E_FORMAT, h->start + h->size,
                        "%s: tensor '%s': data ends at byte %llu, %llu expected (file cut short?)", h->file, e->name,
                        (unsigned long long)(h->start + h->size),
                        (unsigned long long)h->start + (unsigned long long)end);
    e->data = h->data + begin;
    e->n_bytes = expected;
    *extent = (struct extent){h->start + (uint64_t)begin, h->start + (uint64_t)end, e->name};
    return SNELLEN_OK;
}

static snellen_status read_entry(struct safetensors *s, const struct header *h, const char *name, const json_t *value,
                                 struct extent *extent, snellen_error *err)
{
    struct safetensors_entry *e = &s->entries[s->n_entries];
    char shown[SHOWN_BYTES];
    size_t n = strlen(name);
    FAIL_IF(!name_is_good(name, n), SNELLEN_E_FORMAT,
            "%s: a tensor is called '%s'; 1 to 255 bytes without control characters expected", h->file,
            name_shown(shown, name, n));
    e->name = arena_text(&s->arena, name, n);
    FAIL_IF(!e->name, SNELLEN_E_MEMORY, "%s: memory ran out", h->file);
    const char *type = json_string_value(json_object_get(value, "dtype"));
    FAIL_IF(!type, SNELLEN_E_FORMAT, "%s: tensor '%s': 'dtype' with a text expected", h->file, name);
    e->type = safetensors_type_of(type);
    FAIL_IF(!e->type, SNELLEN_E_UNSUPPORTED, "%s: tensor '%s': its type '%s' is unknown", h->file, name,
            name_shown(shown, type, strlen(type)));
    TRY(read_shape(s, h, value, e, err));
    TRY(read_place(h, value, e, extent, err));
    name_table_put(&s->names, e->name, n, (uint32_t)s->n_entries);
    s->n_entries++;
    return SNELLEN_OK;
}

/* ---- all entries ------------------------------------------------------------------------------------------------- */

/* Entries without elements or dimensions and those of other types stay out of the list of tensors. */
static snellen_status list_tensor(struct safetensors *s, const struct header *h, const struct safetensors_entry *e,
                                  snellen_error *err)
{
    if (!e->type->known || e->n_dims < 1 || e->n_dims > 4 || e->n_bytes == 0) return SNELLEN_OK;
    struct tensor *t = &s->tensors[s->n_tensors];
    *t = (struct tensor){.name = e->name, .type = e->type->type, .n_dims = e->n_dims, .data = e->data};
    memcpy(t->shape, e->shape, (size_t)e->n_dims * sizeof *t->shape);
    TRY(tensor_measure(t, h->file, err));
    if ((uintptr_t)t->data % 4) {
        /* The format does not promise alignment: such data moves. */
        void *copy = arena_alloc(&s->arena, t->n_bytes);
        FAIL_IF(!copy, SNELLEN_E_MEMORY, "%s: tensor '%s': %llu bytes cannot be had", h->file, t->name,
                (unsigned long long)t->n_bytes);
        memcpy(copy, t->data, t->n_bytes);
        t->data = copy;
    }
    s->n_tensors++;
    return SNELLEN_OK;
}

static snellen_status read_entries(struct safetensors *s, const struct header *h, const json_t *root,
                                   snellen_error *err)
{
    size_t most = json_object_size(root);
    TRY(NEW_ARRAY(&s->entries, most, h->file, err));
    TRY(NEW_ARRAY(&s->tensors, most, h->file, err));
    TRY(name_table_init(&s->names, most, h->file, err));
    struct extent *extents;
    TRY(NEW_ARRAY(&extents, most, h->file, err));
    snellen_status status = SNELLEN_OK;
    const char *name;
    json_t *value;
    /* Jansson's macro casts const away on its own terms; the tree is not changed. */
    json_object_foreach((json_t *)(uintptr_t)root, name, value)
        if (!status && strcmp(name, "__metadata__"))
            status = read_entry(s, h, name, value, &extents[s->n_entries], err);
    /* Tensors without bytes cannot overlap anything. */
    size_t n = 0;
    for (size_t i = 0; i < s->n_entries; i++)
        if (extents[i].end > extents[i].begin) extents[n++] = extents[i];
    if (!status) status = extents_check(extents, n, h->file, err);
    mem_free(extents);
    for (size_t i = 0; !status && i < s->n_entries; i++) status = list_tensor(s, h, &s->entries[i], err);
    return status;
}

static snellen_status parse_file(struct safetensors *s, const uint8_t *bytes, uint64_t size, const char *file,
                                 snellen_error *err)
{
    struct cursor c = {.bytes = bytes, .size = size};
    uint64_t n = cursor_u64(&c);
    FAIL_IF(c.failed, SNELLEN_E_FORMAT, "%s: %llu bytes: too few for a safetensors file", file,
            (unsigned long long)size);
    FAIL_IF(n < 2 || n > SAFETENSORS_LARGEST_HEADER, SNELLEN_E_FORMAT,
            "%s: a header of %llu bytes, 2 to %d expected: not a safetensors file", file, (unsigned long long)n,
            SAFETENSORS_LARGEST_HEADER);
    const uint8_t *text = cursor_take(&c, n);
    if (!text)
        return error_at(err, SNELLEN_E_FORMAT, size, "%s: the header ends at byte %llu, but the file ends at byte %llu "
                        "(file cut short?)", file, (unsigned long long)(n + 8), (unsigned long long)size);
    FAIL_IF(text[0] != '{', SNELLEN_E_FORMAT, "%s: its header does not begin with '{': not a safetensors file", file);
    json_t *root;
    TRY(json_parse_object((const char *)text, n, file, &root, err));
    struct header h = {.file = file, .data = bytes + c.pos, .start = c.pos, .size = size - c.pos};
    snellen_status status = read_entries(s, &h, root, err);
    json_decref(root);
    return status;
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

snellen_status safetensors_parse(const uint8_t *bytes, uint64_t size, const char *name, struct safetensors **out,
                                 snellen_error *err)
{
    struct safetensors *s;
    TRY(NEW_ARRAY(&s, 1, name, err));
    snellen_status status = parse_file(s, bytes, size, name, err);
    if (status) {
        safetensors_close(s);
        return status;
    }
    *out = s;
    return SNELLEN_OK;
}

snellen_status safetensors_open(const char *path, struct safetensors **out, snellen_error *err)
{
    struct file_map map;
    TRY(file_map_open(&map, path, err));
    snellen_status status = safetensors_parse(map.data, map.size, path, out, err);
    if (status)
        file_map_close(&map);
    else
        (*out)->map = map;
    return status;
}

void safetensors_close(struct safetensors *s)
{
    if (!s) return;
    name_table_free(&s->names);
    mem_free(s->entries);
    mem_free(s->tensors);
    arena_free(&s->arena);
    file_map_close(&s->map);
    mem_free(s);
}

size_t safetensors_tensors(const struct safetensors *s, const struct tensor **tensors)
{
    *tensors = s->tensors;
    return s->n_tensors;
}

bool safetensors_entry_at(const struct safetensors *s, size_t i, const struct safetensors_entry **entry)
{
    if (i >= s->n_entries) return false;
    *entry = &s->entries[i];
    return true;
}

bool safetensors_raw(const struct safetensors *s, const char *name, const char **type, int *n_dims,
                     const int64_t **shape, const void **data, uint64_t *n_bytes)
{
    int64_t i = name_table_get(&s->names, name, strlen(name));
    if (i < 0) return false;
    const struct safetensors_entry *e = &s->entries[i];
    *type = e->type->name;
    *n_dims = e->n_dims;
    *shape = e->shape;
    *data = e->data;
    *n_bytes = e->n_bytes;
    return true;
}
