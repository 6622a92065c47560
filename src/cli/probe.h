/* Inside src/cli: the measurements of `probe`, each a verb of its own, one file and one line in probe.c. */
#ifndef CLI_PROBE_H
#define CLI_PROBE_H

#include "cli/cli.h"
#include "format/format.h"

extern const struct verb probe_collapse, probe_attention, probe_attribution, probe_memory, probe_squash, probe_retrieval;

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

/* A sample of a task of long memory in place of such a text (probe_sample.c). */
struct probe_sample {
    const char *task;                     /* NULL = none */
    snellen_long_options options;
    int64_t length, index, pool;          /* 0: 1024 tokens; the first; as the task says */
};
struct probe_sample probe_sample_default(void);
#define OPTS_SAMPLE(s)                                                                                                            \
    OPT_TEXT(0, "task", "TASK", &(s)->task, "a sample of a task of long memory with its answer instead: passkey, associative"),      \
    OPT_INT(0, "length", "N", &(s)->length, SNELLEN_LONG_MIN, SNELLEN_LONG_MAX, "its tokens", .shown = "1024"),                       \
    OPT_INT(0, "sample", "I", &(s)->index, 0, 1000000, "which sample of the test set"),                                              \
    OPT_TEXT(0, "format", "FORMAT", &(s)->options.format, "its format; `snellen task list` says which there are",                     \
             .shown = "the first"),                                                                                                  \
    OPT_REAL(0, "depth", "D", &(s)->options.depth, 0, 1,                                                                              \
             "passkey: where the key stands, 0 = at the start, 1 = before the question", .shown = "anywhere"),                       \
    OPT_INT(0, "within", "N", &(s)->options.within, 1, SNELLEN_LONG_MAX, "passkey: the key ends within the first N tokens",           \
            .shown = "anywhere"),                                                                                                    \
    OPT_INT(0, "pairs", "N", &(s)->options.pairs, 1, 10000, "associative: pairs of a key and a value", .shown = "8"),                 \
    OPT_INT(0, "pool", "N", &(s)->pool, 1, 240, "symbols: words in use", .shown = "128"),                                             \
    OPT_INT(0, "digits", "N", &(s)->options.digits, 1, 9, "digits of a key or value", .shown = "5, associative 1")
snellen_long_options probe_sample_options(const struct probe_sample *s, uint64_t seed);
/* Options of a task where there is none, or a text beside it. */
snellen_status probe_sample_fits(const struct probe_sample *s, const struct probe_text *t, snellen_error *err);
/* t->n_prompt: where the answer, which ends the sample, begins. */
snellen_status probe_sample_read(const struct probe_sample *s, struct probe_text *t, const snellen_model *model, uint64_t seed,
                                 snellen_error *err);

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
