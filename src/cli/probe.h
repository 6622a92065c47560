/* Inside src/cli: the measurements of `probe`, each a verb of its own, one file and one line in probe.c. */
#ifndef CLI_PROBE_H
#define CLI_PROBE_H

#include "cli/cli.h"

extern const struct verb probe_collapse, probe_attention, probe_attribution;

/* The prompt of a probe: --tokens (ids or a file of them) or -p text, one of the two. *ids by mem_free(). */
snellen_status probe_prompt(const snellen_model *model, const char *text, const char *tokens, int32_t **ids, size_t *n,
                            snellen_error *err);

#endif
