/* The table of cures by session. */
#include "study/session_cures.h"

#include <string.h>

static bool apply_sharper(const snellen_model *model, snellen_session_options *options)
{
    (void)model;
    options->attn_temp = 0.8;
    return true;
}

/* What an answer needs to be fluent and what stands near it (arXiv 2309.17453); the rest is not seen. */
static bool apply_sinks(const snellen_model *model, snellen_session_options *options)
{
    (void)model;
    options->memory = SNELLEN_MEMORY_SINK;
    options->sinks = 4;
    options->window = 256;
    return true;
}

static bool apply_own_memory(const snellen_model *model, snellen_session_options *options)
{
    snellen_memory_kind own = snellen_model_get_memory(model)->kind;
    options->memory = own;
    return own != SNELLEN_MEMORY_FULL;
}

static const struct session_cure CURES[] = {
    {"sharper", "sharper attention (temperature 0.8)", "`--attn-temp 0.8` does it in every verb.", true, apply_sharper},
    {"sinks", "4 sinks and a window of 256", "`--memory sink --window 256` does it in every verb.", false, apply_sinks},
    {"feedback", "the memory it was trained with", "It is what every verb but this exam reads such a model through.", false,
     apply_own_memory},
};

const struct session_cure *session_cure_at(size_t i)
{
    return i < COUNT_OF(CURES) ? &CURES[i] : NULL;
}

const struct session_cure *session_cure_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(CURES); i++)
        if (!strcmp(CURES[i].name, name)) return &CURES[i];
    return NULL;
}
