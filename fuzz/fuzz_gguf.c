/* GGUF files: after success every key, element and tensor can be read, and the description that comes out is sane. */
#include "fuzz.h"

#include "format/inner.h"

#include <string.h>

struct range {
    const uint8_t *begin, *end;
};

static void check_inside(struct range r, const void *p, uint64_t n)
{
    const uint8_t *bytes = p;
    CHECK(bytes >= r.begin && bytes <= r.end && n <= (uint64_t)(r.end - bytes));
    if (!n) return;
    touch(bytes);
    touch(bytes + n - 1);
}

static void check_array(const struct gguf *g, const char *key, uint64_t n, struct range r)
{
    const char *text;
    size_t n_text;
    int64_t whole;
    double real;
    for (uint64_t i = 0; i < n; i++) {
        if (gguf_array_text(g, key, i, &text, &n_text)) check_inside(r, text, n_text);
        if (gguf_array_int(g, key, i, &whole) && gguf_array_float(g, key, i, &real)) CHECK(real == (double)whole);
    }
    CHECK(!gguf_array_text(g, key, n, &text, &n_text) && !gguf_array_int(g, key, n, &whole));
}

static void check_keys(const struct gguf *g, struct range r)
{
    const char *name, *text;
    size_t n_name, n_text;
    for (size_t i = 0; gguf_key(g, i, &name, &n_name); i++) {
        check_inside(r, name, n_name);
        char *key = strndup(name, n_name);
        CHECK(key);
        int64_t whole;
        double real;
        bool truth;
        uint64_t n;
        if (gguf_int(g, key, &whole)) CHECK(gguf_float(g, key, &real) && real == (double)whole);
        gguf_bool(g, key, &truth);
        if (gguf_text(g, key, &text, &n_text)) check_inside(r, text, n_text);
        if (gguf_array(g, key, &n)) check_array(g, key, n, r);
        free(key);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct gguf *g;
    snellen_error err;
    if (gguf_parse(bytes, n, "fuzz.gguf", &g, &err)) {
        CHECK(err.status != SNELLEN_OK && !strncmp(err.message, "fuzz.gguf: ", 11));
        return 0;
    }
    struct range r = {bytes, bytes + n};
    check_keys(g, r);
    const struct tensor *tensors;
    size_t n_tensors = gguf_tensors(g, &tensors);
    for (size_t i = 0; i < n_tensors; i++) {
        check_inside(r, tensors[i].data, tensors[i].n_bytes);
        CHECK((uintptr_t)tensors[i].data % 4 == 0 && tensors[i].n_bytes > 0 && tensors[i].name[0]);
    }
    struct arena arena = {0};
    struct model_desc desc;
    if (!desc_from_gguf(g, "fuzz.gguf", &arena, &desc, &err)) {
        CHECK(!desc_check(&desc, "fuzz.gguf", &err));
        if (desc.windowed) touch(&desc.windowed[desc.n_layers - 1]);
    }
    arena_free(&arena);
    gguf_close(g);
    return 0;
}
