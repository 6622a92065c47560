/* config.json: a description that comes out is within its bounds. */
#include "fuzz.h"

#include "format/inner.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct arena arena = {0};
    struct model_desc desc;
    snellen_error err;
    if (desc_from_config((const char *)bytes, n, "config.json", &arena, &desc, &err)) {
        CHECK(err.status != SNELLEN_OK && !strncmp(err.message, "config.json: ", 13));
    } else {
        if (desc.n_vocab == 0) desc.n_vocab = 1;
        CHECK(!desc_check(&desc, "config.json", &err));
        CHECK(memchr(desc.arch, 0, sizeof desc.arch));
        for (int64_t i = 0; desc.windowed && i < desc.n_layers; i++) CHECK(desc.windowed[i] <= 1);
        CHECK(desc.window == 0 || desc.windowed);
    }
    arena_free(&arena);
    return 0;
}
