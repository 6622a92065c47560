/* GGUF: the writer, version 3, little endian. Keys and the list of tensors are put together in memory, then written in
 * front of the data; the file stands under a temporary name until commit. */
#include "format/gguf.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 32 };   /* what files without general.alignment have */

_Static_assert((int)GGUF_WRITES_INT == (int)GGUF_I32 && (int)GGUF_WRITES_FLOAT == (int)GGUF_F32 &&
               (int)GGUF_WRITES_BOOL == (int)GGUF_BOOL && (int)GGUF_WRITES_TEXT == (int)GGUF_TEXT, "kinds by number");

struct place {
    uint64_t begin, n_bytes;      /* in the file */
};

struct gguf_writer {
    struct atomic_file file;
    struct strbuf keys;           /* all keys and values */
    uint64_t n_keys, missing;     /* missing: elements that the last array still lacks */
    const char *wrong;            /* the first mistake of the caller */
    struct place *places;         /* [n_tensors] */
    size_t n_tensors;
    uint64_t data_bytes, given;
};

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void put_u32(struct strbuf *b, uint32_t x)
{
    const uint8_t bytes[4] = {(uint8_t)x, (uint8_t)(x >> 8), (uint8_t)(x >> 16), (uint8_t)(x >> 24)};
    strbuf_put(b, bytes, sizeof bytes);
}

static void put_u64(struct strbuf *b, uint64_t x)
{
    put_u32(b, (uint32_t)x);
    put_u32(b, (uint32_t)(x >> 32));
}

static void put_f32(struct strbuf *b, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_u32(b, bits);
}

static void put_text(struct strbuf *b, const char *text, size_t n)
{
    put_u64(b, n);
    strbuf_put(b, text, n);
}

static void wrong(struct gguf_writer *w, const char *what)
{
    if (!w->wrong) w->wrong = what;
}

static void begin_value(struct gguf_writer *w, const char *key, enum gguf_kind kind)
{
    if (w->missing) wrong(w, "an array got fewer elements than it has");
    put_text(&w->keys, key, strlen(key));
    put_u32(&w->keys, kind);
    w->n_keys++;
}

void gguf_put_int(struct gguf_writer *w, const char *key, int64_t value)
{
    if (value < 0 || value > UINT32_MAX) wrong(w, "a number is no 32-bit one");
    begin_value(w, key, GGUF_U32);
    put_u32(&w->keys, (uint32_t)value);
}

void gguf_put_float(struct gguf_writer *w, const char *key, double value)
{
    begin_value(w, key, GGUF_F32);
    put_f32(&w->keys, (float)value);
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool value)
{
    begin_value(w, key, GGUF_BOOL);
    strbuf_put(&w->keys, &(char){(char)value}, 1);
}

void gguf_put_bytes(struct gguf_writer *w, const char *key, const char *text, size_t n)
{
    begin_value(w, key, GGUF_TEXT);
    put_text(&w->keys, text, n);
}

void gguf_put_text(struct gguf_writer *w, const char *key, const char *value)
{
    gguf_put_bytes(w, key, value, strlen(value));
}

void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_writes element, uint64_t n)
{
    begin_value(w, key, GGUF_ARRAY);
    put_u32(&w->keys, element);
    put_u64(&w->keys, n);
    w->missing = n;
}

static struct strbuf *next_element(struct gguf_writer *w)
{
    if (!w->missing) wrong(w, "an array got more elements than it has");
    w->missing -= w->missing > 0;
    return &w->keys;
}

void gguf_add_int(struct gguf_writer *w, int32_t value)
{
    put_u32(next_element(w), (uint32_t)value);
}

void gguf_add_float(struct gguf_writer *w, float value)
{
    put_f32(next_element(w), value);
}

void gguf_add_bool(struct gguf_writer *w, bool value)
{
    strbuf_put(next_element(w), &(char){(char)value}, 1);
}

void gguf_add_text(struct gguf_writer *w, const char *text, size_t n)
{
    put_text(next_element(w), text, n);
}

void gguf_put_record(struct gguf_writer *w, const uint8_t *bytes, uint64_t n)
{
    strbuf_put(&w->keys, bytes, n);
    w->n_keys++;
}

/* ---- the list of tensors ----------------------------------------------------------------------------------------- */

static uint64_t aligned(uint64_t n)
{
    return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Name, dimensions innermost first, type, offset into the data. */
static snellen_status list_tensor(struct gguf_writer *w, const struct tensor *tensor, struct place *place,
                                  struct strbuf *list, snellen_error *err)
{
    struct tensor t = *tensor;
    FAIL_IF(!name_is_good(t.name, strlen(t.name)), SNELLEN_E_USAGE, "%s: no such name of a tensor can be written",
            w->file.path);
    TRY(tensor_measure(&t, w->file.path, err));
    put_text(list, t.name, strlen(t.name));
    put_u32(list, (uint32_t)t.n_dims);
    for (int i = t.n_dims - 1; i >= 0; i--) put_u64(list, (uint64_t)t.shape[i]);
    put_u32(list, (uint32_t)gguf_type_number(t.type));
    put_u64(list, w->data_bytes);
    *place = (struct place){w->data_bytes, t.n_bytes};
    FAIL_IF(!size_add(w->data_bytes, t.n_bytes, &w->data_bytes) || w->data_bytes > INT64_MAX / 2, SNELLEN_E_USAGE,
            "%s: its tensors are larger than any file", w->file.path);
    w->data_bytes = aligned(w->data_bytes);
    return SNELLEN_OK;
}

/* The bytes in front of the data, aligned. */
static void put_head(const struct gguf_writer *w, const struct strbuf *list, struct strbuf *head)
{
    static const char zeros[ALIGNMENT];
    strbuf_put(head, "GGUF", 4);
    put_u32(head, 3);
    put_u64(head, w->n_tensors);
    put_u64(head, w->n_keys);
    strbuf_put(head, w->keys.text, w->keys.n);
    strbuf_put(head, list->text, list->n);
    strbuf_put(head, zeros, aligned(head->n) - head->n);
    head->failed |= w->keys.failed || list->failed;
}

/* What was put together must be what the reader takes: keys and names that repeat show here. */
static snellen_status check_head(const struct gguf_writer *w, const struct strbuf *head, snellen_error *err)
{
    FAIL_IF(head->failed, SNELLEN_E_MEMORY, "%s: memory ran out", w->file.path);
    FAIL_IF(w->wrong || w->missing, SNELLEN_E_USAGE, "%s: %s", w->file.path,
            w->wrong ? w->wrong : "an array got fewer elements than it has");
    uint8_t *copy;
    struct gguf *g;
    TRY(NEW_ARRAY(&copy, head->n, w->file.path, err));
    memcpy(copy, head->text, head->n);
    const uint8_t no_tensors[8] = {0};
    memcpy(copy + 8, no_tensors, sizeof no_tensors);
    snellen_status status = gguf_parse(copy, head->n, w->file.path, &g, err);
    if (!status) gguf_close(g);
    mem_free(copy);
    return status;
}

static snellen_status check_names(const struct gguf_writer *w, const struct tensor *tensors, snellen_error *err)
{
    struct name_table names;
    TRY(name_table_init(&names, w->n_tensors, w->file.path, err));
    size_t i = 0;
    while (i < w->n_tensors && name_table_put(&names, tensors[i].name, strlen(tensors[i].name), (uint32_t)i)) i++;
    name_table_free(&names);
    FAIL_IF(i < w->n_tensors, SNELLEN_E_USAGE, "%s: tensor '%s' is there twice", w->file.path, tensors[i].name);
    return SNELLEN_OK;
}

static snellen_status write_head(struct gguf_writer *w, const struct tensor *tensors, struct strbuf *list,
                                 struct strbuf *head, snellen_error *err)
{
    for (size_t i = 0; i < w->n_tensors; i++) TRY(list_tensor(w, &tensors[i], &w->places[i], list, err));
    TRY(check_names(w, tensors, err));
    put_head(w, list, head);
    TRY(check_head(w, head, err));
    for (size_t i = 0; i < w->n_tensors; i++) w->places[i].begin += head->n;
    TRY(atomic_file_reserve(&w->file, 0, head->n + w->data_bytes, err));
    return atomic_file_put(&w->file, head->text, head->n, 0, err);
}

snellen_status gguf_writer_shapes(struct gguf_writer *w, const struct tensor *tensors, size_t n, snellen_error *err)
{
    FAIL_IF(w->places, SNELLEN_E_INTERNAL, "%s: its tensors were listed before", w->file.path);
    TRY(NEW_ARRAY(&w->places, n, w->file.path, err));
    w->n_tensors = n;
    struct strbuf list = {0}, head = {0};
    snellen_status status = write_head(w, tensors, &list, &head, err);
    strbuf_free(&list);
    strbuf_free(&head);
    return status;
}

/* ---- the writer -------------------------------------------------------------------------------------------------- */

snellen_status gguf_writer_new(const char *path, struct gguf_writer **out, snellen_error *err)
{
    struct gguf_writer *w = calloc(1, sizeof *w);
    FAIL_IF(!w, SNELLEN_E_MEMORY, "%s: memory ran out", path);
    snellen_status status = atomic_file_open(&w->file, path, err);
    if (status) {
        free(w);
        return status;
    }
    *out = w;
    return SNELLEN_OK;
}

snellen_status gguf_writer_put(struct gguf_writer *w, size_t i, uint64_t at, const void *bytes, uint64_t n,
                               snellen_error *err)
{
    FAIL_IF(i >= w->n_tensors, SNELLEN_E_INTERNAL, "%s: tensor %zu of %zu", w->file.path, i, w->n_tensors);
    const struct place *p = &w->places[i];
    FAIL_IF(at > p->n_bytes || n > p->n_bytes - at, SNELLEN_E_INTERNAL,
            "%s: tensor %zu: %llu bytes at byte %llu, but it has %llu", w->file.path, i, (unsigned long long)n,
            (unsigned long long)at, (unsigned long long)p->n_bytes);
    TRY(atomic_file_put(&w->file, bytes, n, p->begin + at, err));
    w->given += n;
    return SNELLEN_OK;
}

/* The last tensor ends on a multiple of the alignment too, as readers of split files ask. */
static snellen_status finish(struct gguf_writer *w, snellen_error *err)
{
    uint64_t expected = 0;
    static const char zeros[ALIGNMENT];
    for (size_t i = 0; i < w->n_tensors; i++) expected += w->places[i].n_bytes;
    FAIL_IF(!w->places || w->given != expected, SNELLEN_E_INTERNAL, "%s: %llu of %llu bytes were given", w->file.path,
            (unsigned long long)w->given, (unsigned long long)expected);
    if (w->n_tensors) {
        const struct place *last = &w->places[w->n_tensors - 1];
        uint64_t end = last->begin + last->n_bytes;
        TRY(atomic_file_put(&w->file, zeros, aligned(end) - end, end, err));
    }
    return atomic_file_commit(&w->file, err);
}

snellen_status gguf_writer_commit(struct gguf_writer *w, snellen_error *err)
{
    snellen_status status = finish(w, err);
    gguf_writer_abort(w);
    return status;
}

void gguf_writer_abort(struct gguf_writer *w)
{
    if (!w) return;
    atomic_file_abort(&w->file);
    mem_free(w->places);
    strbuf_free(&w->keys);
    free(w);
}
