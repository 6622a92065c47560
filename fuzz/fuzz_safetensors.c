/* safetensors files: after success every tensor lies in the file or in a copy, and its bytes fit its shape. */
#include "fuzz.h"

#include "format/hf_names.h"
#include "format/safetensors.h"

#include <string.h>

static void check_entry(const struct safetensors *s, const struct safetensors_entry *e, const uint8_t *begin,
                        const uint8_t *end)
{
    const char *type;
    int n_dims;
    const int64_t *shape;
    const void *data;
    uint64_t n_bytes, expected;
    CHECK(safetensors_raw(s, e->name, &type, &n_dims, &shape, &data, &n_bytes));
    CHECK(data == e->data && n_bytes == e->n_bytes && type == e->type->name);
    CHECK(safetensors_bytes(e->type, n_dims, shape, &expected) && expected == n_bytes);
    CHECK(e->data >= begin && e->data <= end && n_bytes <= (uint64_t)(end - e->data));
    /* The names of every architecture can be asked for any name. */
    static const char *const archs[] = {"llama", "gemma3", "gpt2", "gpt_neox", "bloom", "opt"};
    struct model_desc desc = {0};
    char canonical[HF_NAME_BYTES];
    enum hf_change change;
    for (size_t i = 0; i < COUNT_OF(archs); i++) {
        snprintf(desc.arch, sizeof desc.arch, "%s", archs[i]);
        if (hf_name(&desc, e->name, canonical, &change)) CHECK(strchr(canonical, '#') == NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct safetensors *s;
    snellen_error err;
    if (safetensors_parse(bytes, n, "fuzz.safetensors", &s, &err)) {
        CHECK(err.status != SNELLEN_OK && !strncmp(err.message, "fuzz.safetensors: ", 18));
        return 0;
    }
    const struct safetensors_entry *e;
    for (size_t i = 0; safetensors_entry_at(s, i, &e); i++) check_entry(s, e, bytes, bytes + n);
    const struct tensor *tensors;
    size_t n_tensors = safetensors_tensors(s, &tensors);
    for (size_t i = 0; i < n_tensors; i++) {
        const uint8_t *data = tensors[i].data;
        CHECK((uintptr_t)data % 4 == 0 && tensors[i].n_bytes > 0);
        touch(data);
        touch(data + tensors[i].n_bytes - 1);
    }
    safetensors_close(s);
    return 0;
}
