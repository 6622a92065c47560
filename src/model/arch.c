/* The architectures: one row each. What differs between two models of one architecture (sizes, scalings, windows) is
 * read from the file into model_desc; what is the same for all of them stands here. */
#include "model/model.h"

#include <string.h>

static const struct arch archs[] = {
    {.name = "llama", .norm = NORM_RMS, .gated = true},
    {.name = "qwen2", .norm = NORM_RMS, .gated = true, .qkv_bias = true},
    {.name = "qwen3", .norm = NORM_RMS, .gated = true, .qk_norm = true},
    {.name = "gemma3", .norm = NORM_RMS, .gated = true, .qk_norm = true, .post_norms = true},
    {.name = "gpt2", .norm = NORM_LAYER, .all_bias = true},
    {.name = "gpt_neox", .norm = NORM_LAYER},
    {.name = "bloom", .norm = NORM_LAYER, .embedding_norm = true, .all_bias = true},
    {.name = "opt", .norm = NORM_LAYER},
};

const struct arch *arch_list(size_t i)
{
    return i < COUNT_OF(archs) ? &archs[i] : NULL;
}

const struct arch *arch_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        if (!strcmp(archs[i].name, name)) return &archs[i];
    return NULL;
}
