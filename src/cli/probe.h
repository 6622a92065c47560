/* Inside src/cli: the measurements of `probe`, each a verb of its own, one file and one line in probe.c. */
#ifndef CLI_PROBE_H
#define CLI_PROBE_H

#include "cli/cli.h"
#include "format/format.h"

extern const struct verb probe_collapse, probe_attention, probe_attribution, probe_memory, probe_squash;

/* The prompt of a probe: --tokens (ids or a file of them) or -p text, one of the two. *ids by mem_free(). */
snellen_status probe_prompt(const snellen_model *model, const char *text, const char *tokens, int32_t **ids, size_t *n,
                            snellen_error *err);

/* A prompt and what follows it (probe_text.c). */
struct probe_text {
    const char *prompt, *tokens, *file;   /* as given; file: a text */
    const char *continuation;
    int64_t write;                        /* tokens that the model writes itself, greedily; ends at an end token */
    int32_t *ids;                         /* prompt and continuation */
    size_t n, n_prompt;
};
/* Reads what was given; where the model writes, in a session of these options (full memory gets the context that is
 * needed). */
snellen_status probe_text_read(struct probe_text *t, const snellen_model *model, const snellen_session_options *session,
                               snellen_error *err);
/* More tokens behind those that are there. */
snellen_status probe_text_append(struct probe_text *t, const int32_t *ids, size_t n, snellen_error *err);
void probe_text_free(struct probe_text *t);

/* A probe whose numbers the database keeps (probe_files.c). */
typedef snellen_status probe_measure(void *work, snellen_recorder *recorder, snellen_error *err);
/* Calls it with the recorder of a run; NULL where database is "" (NULL = the one of `snellen runs`). */
snellen_status probe_recorded(const snellen_model *model, const char *name, const struct common_opts *common,
                              const char *database, probe_measure *measure, void *work, snellen_error *err);

/* A tensor of a safetensors file; at most 16 of them in one. */
struct probe_tensor {
    struct safetensors_spec spec;
    const void *data;
    uint64_t n_bytes;
};
snellen_status probe_write_tensors(const char *path, const struct probe_tensor *tensors, size_t n, snellen_error *err);

#endif
