/* The memories: one file each, one line here. */
#include "model/memory.h"

extern const struct memory_ops memory_full, memory_swa, memory_sink, memory_bswa, memory_xl, memory_fam, memory_rmt;

static const struct memory_ops *const memories[] = {&memory_full, &memory_swa, &memory_sink, &memory_bswa, &memory_xl,
                                                    &memory_fam, &memory_rmt};

const struct memory_ops *memory_list(size_t i)
{
    return i < COUNT_OF(memories) ? memories[i] : NULL;
}

const struct memory_ops *memory_find(snellen_memory_kind kind)
{
    for (size_t i = 0; i < COUNT_OF(memories); i++)
        if (memories[i]->kind == kind) return memories[i];
    return NULL;
}
