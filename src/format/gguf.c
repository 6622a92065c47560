/* GGUF: a reader for versions 2 and 3 (the format's description: ggml/docs/gguf.md).
 *
 * The bytes stay where they are mapped; what is kept beside them is one small record for each key, tensor and text in
 * an array. Every count is held against the bytes that are left before anything is allocated for it, so memory stays
 * within a small multiple of the file. After gguf_parse() every key, array element and tensor can be read unchecked.
 * Only little-endian files: tensors are used in place. */
#include "format/gguf.h"

#include <math.h>
#include <string.h>

/* Bytes of one value; 0 = the value says itself. */
static const uint8_t kind_bytes[GGUF_COUNT] = {
    [GGUF_U8] = 1, [GGUF_I8] = 1, [GGUF_U16] = 2, [GGUF_I16] = 2, [GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4,
    [GGUF_BOOL] = 1, [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

/* Tensor types by their number in the file: the name, and ours where there is one. */
static const struct tensor_type {
    const char *name;
    bool known;
    enum dtype type;
} tensor_types[] = {
    [0] = {"F32", true, DT_F32}, [1] = {"F16", true, DT_F16}, [2] = {"Q4_0", true, DT_Q4_0},
    [3] = {"Q4_1", true, DT_Q4_1}, [6] = {"Q5_0", true, DT_Q5_0}, [7] = {"Q5_1", true, DT_Q5_1},
    [8] = {"Q8_0", true, DT_Q8_0}, [9] = {.name = "Q8_1"}, [10] = {"Q2_K", true, DT_Q2_K},
    [11] = {"Q3_K", true, DT_Q3_K}, [12] = {"Q4_K", true, DT_Q4_K}, [13] = {"Q5_K", true, DT_Q5_K},
    [14] = {"Q6_K", true, DT_Q6_K}, [15] = {.name = "Q8_K"}, [16] = {.name = "IQ2_XXS"}, [17] = {.name = "IQ2_XS"},
    [18] = {.name = "IQ3_XXS"}, [19] = {.name = "IQ1_S"}, [20] = {.name = "IQ4_NL"}, [21] = {.name = "IQ3_S"},
    [22] = {.name = "IQ2_S"}, [23] = {.name = "IQ4_XS"}, [24] = {.name = "I8"}, [25] = {.name = "I16"},
    [26] = {.name = "I32"}, [27] = {.name = "I64"}, [28] = {.name = "F64"}, [29] = {.name = "IQ1_M"},
    [30] = {"BF16", true, DT_BF16}, [34] = {.name = "TQ1_0"}, [35] = {.name = "TQ2_0"}, [39] = {.name = "MXFP4"},
};

int gguf_type_number(enum dtype type)
{
    for (int i = 0; i < (int)COUNT_OF(tensor_types); i++)
        if (tensor_types[i].known && tensor_types[i].type == type) return i;
    return -1;
}

struct gguf_value {
    const char *key;
    uint32_t n_key;
    const uint8_t *record;    /* key, kind and value as they lie in the file */
    uint64_t n_record;
    uint8_t kind, element;    /* enum gguf_kind; of the elements when kind is GGUF_ARRAY */
    uint64_t n;               /* bytes of a text, elements of an array */
    const uint8_t *data;      /* the number, the text, the first element */
    const uint64_t *texts;    /* arrays of texts: where each one's length stands, in bytes from data */
};

struct gguf {
    struct file_map map;      /* empty when the bytes are the caller's */
    struct arena arena;
    struct gguf_value *values;
    uint64_t n_values;
    struct name_table keys, names;
    struct tensor *tensors;
    uint64_t n_tensors;
};

struct parser {
    struct gguf *g;
    struct cursor c;
    const char *file;
    snellen_error *err;
};

/* A limit on counts beside the bytes that are left; indices are 32 bits. */
enum { MOST_ENTRIES = 1 << 24, LONGEST_KEY = 65535, DEEPEST_ARRAY = 8 };

#define PARSE_FAIL(p, at, ...) return error_at((p)->err, SNELLEN_E_FORMAT, (at), __VA_ARGS__)

static snellen_status cut_short(const struct parser *p)
{
    PARSE_FAIL(p, p->c.failed_at, "%s: the header goes on at byte %llu, but the file ends at byte %llu (file cut "
               "short?)", p->file, (unsigned long long)p->c.failed_at, (unsigned long long)p->c.size);
}

static uint64_t bytes_left(const struct parser *p)
{
    return p->c.size - p->c.pos;
}

/* ---- header ------------------------------------------------------------------------------------------------------ */

static snellen_status parse_head(struct parser *p)
{
    const uint8_t *magic = cursor_take(&p->c, 4);
    if (!magic || memcmp(magic, "GGUF", 4))
        PARSE_FAIL(p, 0, "%s: does not begin with the letters GGUF: not a GGUF file", p->file);
    uint32_t version = cursor_u32(&p->c);
    if (p->c.failed) return cut_short(p);
    if ((version & 0xffff) == 0 && version != 0)
        return error_at(p->err, SNELLEN_E_UNSUPPORTED, 4, "%s: a big-endian GGUF file; only little-endian ones can be "
                        "read", p->file);
    if (version != 2 && version != 3)
        return error_at(p->err, SNELLEN_E_UNSUPPORTED, 4, "%s: GGUF version %lu, 2 or 3 expected%s", p->file,
                        (unsigned long)version, version == 1 ? " (convert the model again)" : "");
    p->g->n_tensors = cursor_u64(&p->c);
    p->g->n_values = cursor_u64(&p->c);
    if (p->c.failed) return cut_short(p);
    /* Fewest bytes of a key: length 8, one letter, kind 4, value 1. Of a tensor: length 8, one letter, count of
     * dimensions 4, one dimension 8, type 4, offset 8. */
    if (p->g->n_values > MIN(bytes_left(p) / 14, (uint64_t)MOST_ENTRIES))
        PARSE_FAIL(p, 16, "%s: says it has %llu keys, which %llu bytes cannot hold", p->file,
                   (unsigned long long)p->g->n_values, (unsigned long long)bytes_left(p));
    if (p->g->n_tensors > MIN(bytes_left(p) / 33, (uint64_t)MOST_ENTRIES))
        PARSE_FAIL(p, 8, "%s: says it has %llu tensors, which %llu bytes cannot hold", p->file,
                   (unsigned long long)p->g->n_tensors, (unsigned long long)bytes_left(p));
    return SNELLEN_OK;
}

/* ---- keys and values --------------------------------------------------------------------------------------------- */

static bool take_text(struct cursor *c, const uint8_t **text, uint64_t *n)
{
    *n = cursor_u64(c);
    *text = cursor_take(c, *n);
    return *text != NULL;
}

static snellen_status parse_array(struct parser *p, struct gguf_value *v, const char *key, int depth);

/* Texts have their lengths before them: one pass writes down where each stands. */
static snellen_status parse_text_array(struct parser *p, struct gguf_value *v, const char *key)
{
    uint64_t *texts = arena_alloc(&p->g->arena, v->n * sizeof *texts);
    if (!texts) return error_set(p->err, SNELLEN_E_MEMORY, "%s: key '%s': memory ran out", p->file, key);
    uint64_t start = p->c.pos;
    for (uint64_t i = 0; i < v->n; i++) {
        const uint8_t *text;
        uint64_t n;
        texts[i] = p->c.pos - start;
        if (!take_text(&p->c, &text, &n)) return cut_short(p);
    }
    v->texts = texts;
    return SNELLEN_OK;
}

/* Arrays of arrays are walked, so that what stands behind them is found; nobody asks for their elements. */
static snellen_status parse_nested_array(struct parser *p, const struct gguf_value *v, const char *key, int depth)
{
    for (uint64_t i = 0; i < v->n; i++) {
        struct gguf_value inner = {0};
        snellen_status status = parse_array(p, &inner, key, depth + 1);
        if (status) return status;
    }
    return SNELLEN_OK;
}

static snellen_status parse_array(struct parser *p, struct gguf_value *v, const char *key, int depth)
{
    uint64_t at = p->c.pos;
    uint32_t element = cursor_u32(&p->c);
    v->n = cursor_u64(&p->c);
    if (p->c.failed) return cut_short(p);
    if (element >= GGUF_COUNT)
        PARSE_FAIL(p, at, "%s: key '%s': elements of kind %lu, at most %d expected", p->file, key,
                   (unsigned long)element, GGUF_COUNT - 1);
    if (depth > DEEPEST_ARRAY)
        PARSE_FAIL(p, at, "%s: key '%s': arrays within arrays, more than %d deep", p->file, key, DEEPEST_ARRAY);
    v->element = (uint8_t)element;
    uint64_t least = element == GGUF_TEXT ? 8 : element == GGUF_ARRAY ? 12 : kind_bytes[element];
    if (v->n > bytes_left(p) / least)
        PARSE_FAIL(p, at, "%s: key '%s': says it has %llu elements, which %llu bytes cannot hold (file cut short?)",
                   p->file, key, (unsigned long long)v->n, (unsigned long long)bytes_left(p));
    v->data = p->c.bytes + p->c.pos;
    if (element == GGUF_ARRAY) return parse_nested_array(p, v, key, depth);
    /* The outermost only: inner ones have no reader. */
    if (element == GGUF_TEXT && depth == 0) return parse_text_array(p, v, key);
    if (element != GGUF_TEXT) {
        cursor_take(&p->c, v->n * least);
        return SNELLEN_OK;
    }
    for (uint64_t i = 0; i < v->n; i++) {
        const uint8_t *text;
        uint64_t n;
        if (!take_text(&p->c, &text, &n)) return cut_short(p);
    }
    return SNELLEN_OK;
}

static snellen_status parse_value(struct parser *p, struct gguf_value *v)
{
    uint64_t at = p->c.pos, n_key;
    const uint8_t *key;
    if (!take_text(&p->c, &key, &n_key)) return cut_short(p);
    if (n_key < 1 || n_key > LONGEST_KEY)
        PARSE_FAIL(p, at, "%s: a key of %llu bytes, 1 to %d expected", p->file, (unsigned long long)n_key, LONGEST_KEY);
    v->key = (const char *)key;
    v->n_key = (uint32_t)n_key;
    char shown[SHOWN_BYTES];
    name_shown(shown, v->key, v->n_key);
    uint64_t kind_at = p->c.pos;
    uint32_t kind = cursor_u32(&p->c);
    if (p->c.failed) return cut_short(p);
    if (kind >= GGUF_COUNT)
        PARSE_FAIL(p, kind_at, "%s: key '%s': a value of kind %lu, at most %d expected", p->file, shown,
                   (unsigned long)kind, GGUF_COUNT - 1);
    v->kind = (uint8_t)kind;
    if (kind == GGUF_ARRAY) return parse_array(p, v, shown, 0);
    if (kind == GGUF_TEXT)
        take_text(&p->c, &v->data, &v->n);
    else
        v->data = cursor_take(&p->c, kind_bytes[kind]);
    return p->c.failed ? cut_short(p) : SNELLEN_OK;
}

static snellen_status parse_values(struct parser *p)
{
    struct gguf *g = p->g;
    snellen_error *err = p->err;
    TRY(NEW_ARRAY(&g->values, g->n_values, p->file, err));
    TRY(name_table_init(&g->keys, g->n_values, p->file, err));
    for (uint64_t i = 0; i < g->n_values; i++) {
        struct gguf_value *v = &g->values[i];
        uint64_t at = p->c.pos;
        TRY(parse_value(p, v));
        v->record = p->c.bytes + at;
        v->n_record = p->c.pos - at;
        char shown[SHOWN_BYTES];
        if (!name_table_put(&g->keys, v->key, v->n_key, (uint32_t)i))
            PARSE_FAIL(p, at, "%s: key '%s' is there twice", p->file, name_shown(shown, v->key, v->n_key));
    }
    return SNELLEN_OK;
}

/* ---- tensors ----------------------------------------------------------------------------------------------------- */

static snellen_status parse_tensor_type(const struct parser *p, struct tensor *t, uint32_t type)
{
    if (type < COUNT_OF(tensor_types) && tensor_types[type].known) {
        t->type = tensor_types[type].type;
        return SNELLEN_OK;
    }
    if (type < COUNT_OF(tensor_types) && tensor_types[type].name)
        return error_at(p->err, SNELLEN_E_UNSUPPORTED, p->c.pos - 4, "%s: tensor '%s': its type %s is not supported",
                        p->file, t->name, tensor_types[type].name);
    return error_at(p->err, SNELLEN_E_UNSUPPORTED, p->c.pos - 4, "%s: tensor '%s': its type has the unknown number %lu",
                    p->file, t->name, (unsigned long)type);
}

/* Name, dimensions (innermost first in the file), type, offset from the start of the data. */
static snellen_status parse_tensor(struct parser *p, struct tensor *t, uint64_t *offset)
{
    uint64_t at = p->c.pos, n;
    const uint8_t *name;
    char shown[SHOWN_BYTES];
    if (!take_text(&p->c, &name, &n)) return cut_short(p);
    if (!name_is_good((const char *)name, n))
        PARSE_FAIL(p, at, "%s: a tensor is called '%s'; 1 to 255 bytes without control characters expected", p->file,
                   name_shown(shown, (const char *)name, n));
    t->name = arena_text(&p->g->arena, (const char *)name, n);
    if (!t->name) return error_set(p->err, SNELLEN_E_MEMORY, "%s: memory ran out", p->file);
    uint32_t n_dims = cursor_u32(&p->c);
    if (p->c.failed) return cut_short(p);
    if (n_dims < 1 || n_dims > 4)
        PARSE_FAIL(p, p->c.pos - 4, "%s: tensor '%s': %lu dimensions, 1 to 4 expected", p->file, t->name,
                   (unsigned long)n_dims);
    t->n_dims = (int)n_dims;
    for (uint32_t i = 0; i < n_dims; i++) {
        uint64_t size = cursor_u64(&p->c);
        if (size > INT64_MAX)
            PARSE_FAIL(p, p->c.pos - 8, "%s: tensor '%s': a dimension of %llu", p->file, t->name,
                       (unsigned long long)size);
        t->shape[n_dims - 1 - i] = (int64_t)size;
    }
    uint32_t type = cursor_u32(&p->c);
    if (p->c.failed) return cut_short(p);
    snellen_status status = parse_tensor_type(p, t, type);
    if (status) return status;
    *offset = cursor_u64(&p->c);
    if (p->c.failed) return cut_short(p);
    status = tensor_measure(t, p->file, p->err);
    if (status && p->err) p->err->offset = at;
    return status;
}

/* Puts data and extent of each tensor in place: offsets aligned, ends inside the file. extents[i].begin comes in as the
 * offset that the file gives. */
static snellen_status place_tensors(struct parser *p, struct extent *extents, uint64_t alignment)
{
    struct gguf *g = p->g;
    uint64_t start;
    if (!size_add(p->c.pos, alignment - 1, &start)) return cut_short(p);
    start = start / alignment * alignment;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        struct tensor *t = &g->tensors[i];
        uint64_t offset = extents[i].begin, end;
        if (offset % alignment)
            PARSE_FAIL(p, start, "%s: tensor '%s': data begins %llu bytes into the data, a multiple of %llu expected",
                       p->file, t->name, (unsigned long long)offset, (unsigned long long)alignment);
        bool fits = size_add(start, offset, &extents[i].begin) && size_add(extents[i].begin, t->n_bytes, &end);
        if (!fits)
            PARSE_FAIL(p, start, "%s: tensor '%s': data begins %llu bytes into the data, past any file's end", p->file,
                       t->name, (unsigned long long)offset);
        if (end > p->c.size)
            PARSE_FAIL(p, p->c.size, "%s: tensor '%s': data ends at byte %llu, %llu expected (file cut short?)",
                       p->file, t->name, (unsigned long long)p->c.size, (unsigned long long)end);
        t->data = p->c.bytes + extents[i].begin;
        extents[i].end = end;
        extents[i].name = t->name;
    }
    return SNELLEN_OK;
}

static snellen_status read_alignment(struct parser *p, uint64_t *alignment)
{
    int64_t value = 32;
    if (name_table_get(&p->g->keys, "general.alignment", strlen("general.alignment")) >= 0 &&
        !gguf_int(p->g, "general.alignment", &value))
        PARSE_FAIL(p, 0, "%s: key 'general.alignment': a whole number expected", p->file);
    if (value < 8 || value % 8 || value > 1 << 20)
        PARSE_FAIL(p, 0, "%s: key 'general.alignment': %lld, a multiple of 8 up to 1048576 expected", p->file,
                   (long long)value);
    *alignment = (uint64_t)value;
    return SNELLEN_OK;
}

static snellen_status parse_tensors(struct parser *p, struct extent *extents)
{
    struct gguf *g = p->g;
    snellen_error *err = p->err;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        struct tensor *t = &g->tensors[i];
        uint64_t at = p->c.pos;
        TRY(parse_tensor(p, t, &extents[i].begin));
        if (!name_table_put(&g->names, t->name, strlen(t->name), (uint32_t)i))
            PARSE_FAIL(p, at, "%s: tensor '%s' is there twice", p->file, t->name);
    }
    uint64_t alignment = 32;
    TRY(read_alignment(p, &alignment));
    TRY(place_tensors(p, extents, alignment));
    return extents_check(extents, g->n_tensors, p->file, err);
}

static snellen_status parse_file(struct parser *p)
{
    struct gguf *g = p->g;
    snellen_error *err = p->err;
    TRY(parse_head(p));
    TRY(parse_values(p));
    TRY(NEW_ARRAY(&g->tensors, g->n_tensors, p->file, err));
    TRY(name_table_init(&g->names, g->n_tensors, p->file, err));
    struct extent *extents = NULL;
    TRY(NEW_ARRAY(&extents, g->n_tensors, p->file, err));
    snellen_status status = parse_tensors(p, extents);
    mem_free(extents);
    return status;
}

/* ---- open and close ---------------------------------------------------------------------------------------------- */

snellen_status gguf_parse(const uint8_t *bytes, uint64_t size, const char *name, struct gguf **out, snellen_error *err)
{
    FAIL_IF((uintptr_t)bytes % 8, SNELLEN_E_USAGE, "%s: bytes at an address that is no multiple of 8", name);
    struct gguf *g;
    TRY(NEW_ARRAY(&g, 1, name, err));
    struct parser p = {.g = g, .c = {.bytes = bytes, .size = size}, .file = name, .err = err};
    snellen_status status = parse_file(&p);
    if (status) {
        gguf_close(g);
        return status;
    }
    *out = g;
    return SNELLEN_OK;
}

snellen_status gguf_open(const char *path, struct gguf **out, snellen_error *err)
{
    struct file_map map;
    TRY(file_map_open(&map, path, err));
    snellen_status status = gguf_parse(map.data, map.size, path, out, err);
    if (status)
        file_map_close(&map);
    else
        (*out)->map = map;
    return status;
}

void gguf_close(struct gguf *g)
{
    if (!g) return;
    name_table_free(&g->keys);
    name_table_free(&g->names);
    mem_free(g->values);
    mem_free(g->tensors);
    arena_free(&g->arena);
    file_map_close(&g->map);
    mem_free(g);
}

size_t gguf_tensors(const struct gguf *g, const struct tensor **tensors)
{
    *tensors = g->tensors;
    return g->n_tensors;
}

/* ---- values by key ----------------------------------------------------------------------------------------------- */

bool gguf_key(const struct gguf *g, size_t i, const char **key, size_t *n)
{
    if (i >= g->n_values) return false;
    *key = g->values[i].key;
    *n = g->values[i].n_key;
    return true;
}

bool gguf_record(const struct gguf *g, size_t i, const uint8_t **bytes, uint64_t *n)
{
    if (i >= g->n_values) return false;
    *bytes = g->values[i].record;
    *n = g->values[i].n_record;
    return true;
}

static const struct gguf_value *value_of(const struct gguf *g, const char *key)
{
    int64_t i = name_table_get(&g->keys, key, strlen(key));
    return i < 0 ? NULL : &g->values[i];
}

/* Little-endian bytes, at any address, as unsigned. */
static uint64_t raw_uint(const uint8_t *p, int n)
{
    uint64_t x = 0;
    for (int i = 0; i < n; i++) x |= (uint64_t)p[i] << (8 * i);
    return x;
}

static bool number_as_float(enum gguf_kind kind, const uint8_t *p, double *out)
{
    uint64_t raw = raw_uint(p, kind_bytes[kind]);
    float f32;
    switch (kind) {
    case GGUF_U8: case GGUF_U16: case GGUF_U32: case GGUF_U64: *out = (double)raw; return true;
    case GGUF_I8: *out = (int8_t)raw; return true;
    case GGUF_I16: *out = (int16_t)raw; return true;
    case GGUF_I32: *out = (int32_t)raw; return true;
    case GGUF_I64: *out = (double)(int64_t)raw; return true;
    case GGUF_F32:
        memcpy(&f32, p, sizeof f32);
        *out = (double)f32;
        return true;
    case GGUF_F64: memcpy(out, p, sizeof *out); return true;
    default: return false;
    }
}

static bool number_as_int(enum gguf_kind kind, const uint8_t *p, int64_t *out)
{
    if (kind == GGUF_U64 || kind == GGUF_I64) {
        uint64_t raw = raw_uint(p, 8);
        if (kind == GGUF_U64 && raw > INT64_MAX) return false;
        *out = (int64_t)raw;
        return true;
    }
    double value;
    if (!number_as_float(kind, p, &value)) return false;
    if (!(fabs(value) <= 9007199254740992.0) || value != floor(value)) return false;  /* 2^53: exact in a double */
    *out = (int64_t)value;
    return true;
}

bool gguf_int(const struct gguf *g, const char *key, int64_t *out)
{
    const struct gguf_value *v = value_of(g, key);
    return v && number_as_int(v->kind, v->data, out);
}

bool gguf_float(const struct gguf *g, const char *key, double *out)
{
    const struct gguf_value *v = value_of(g, key);
    return v && number_as_float(v->kind, v->data, out);
}

bool gguf_bool(const struct gguf *g, const char *key, bool *out)
{
    const struct gguf_value *v = value_of(g, key);
    if (!v || v->kind != GGUF_BOOL) return false;
    *out = *v->data != 0;
    return true;
}

bool gguf_text(const struct gguf *g, const char *key, const char **text, size_t *n)
{
    const struct gguf_value *v = value_of(g, key);
    if (!v || v->kind != GGUF_TEXT) return false;
    *text = (const char *)v->data;
    *n = v->n;
    return true;
}

bool gguf_array(const struct gguf *g, const char *key, uint64_t *n)
{
    const struct gguf_value *v = value_of(g, key);
    if (!v || v->kind != GGUF_ARRAY) return false;
    *n = v->n;
    return true;
}

/* Element i, or NULL. */
static const uint8_t *element_of(const struct gguf *g, const char *key, uint64_t i, enum gguf_kind *kind)
{
    const struct gguf_value *v = value_of(g, key);
    if (!v || v->kind != GGUF_ARRAY || i >= v->n) return NULL;
    *kind = v->element;
    if (v->element == GGUF_TEXT) return v->data + v->texts[i];
    return kind_bytes[v->element] ? v->data + i * kind_bytes[v->element] : NULL;
}

bool gguf_array_text(const struct gguf *g, const char *key, uint64_t i, const char **text, size_t *n)
{
    enum gguf_kind kind;
    const uint8_t *p = element_of(g, key, i, &kind);
    if (!p || kind != GGUF_TEXT) return false;
    *n = raw_uint(p, 8);
    *text = (const char *)p + 8;
    return true;
}

bool gguf_array_int(const struct gguf *g, const char *key, uint64_t i, int64_t *out)
{
    enum gguf_kind kind;
    const uint8_t *p = element_of(g, key, i, &kind);
    if (!p) return false;
    if (kind == GGUF_BOOL) *out = *p != 0;
    return kind == GGUF_BOOL || (kind != GGUF_TEXT && number_as_int(kind, p, out));
}

bool gguf_array_float(const struct gguf *g, const char *key, uint64_t i, double *out)
{
    enum gguf_kind kind;
    const uint8_t *p = element_of(g, key, i, &kind);
    return p && kind != GGUF_TEXT && number_as_float(kind, p, out);
}
