/* The registry of verbs, from the one list in cli.h. */
#include "cli/cli.h"

#include <string.h>

#define CLI_VERB_ROW(name) &verb_##name,
static const struct verb *const verbs[] = { CLI_VERBS(CLI_VERB_ROW) };
#undef CLI_VERB_ROW

const struct verb *verb_at(size_t i)
{
    return i < COUNT_OF(verbs) ? verbs[i] : NULL;
}

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(verbs); i++)
        if (!strcmp(verbs[i]->name, name)) return verbs[i];
    return NULL;
}
