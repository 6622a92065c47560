/* bench: what its files share. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/cli.h"

enum { MAX_REPETITIONS = 100 };

struct measure {
    const char *test;         /* "prompt" or "decode" */
    int64_t n_tokens, depth;  /* tokens timed; tokens in the session before */
    int64_t reps;
    double rate[MAX_REPETITIONS];   /* tokens a second, of each repetition; sorted at the end */
};

/* Of this process, now. */
uint64_t resident_bytes(void);
void measure_sort(struct measure *m);
double measure_median(const struct measure *m);

/* bench_memories.c: every memory side by side, in one table: reading a prompt, making tokens near the start and far from
 * it, what is resident. `common` has the sizes of the memories; a model without a prompt of its own gets one. */
struct memories_options {
    const struct common_opts *common;
    int64_t n_prompt, n_decode, near, far, reps;
};
snellen_status bench_memories(snellen_model *model, const struct memories_options *options, snellen_error *err);

/* bench_stream.c: one session reads n_tokens; at 25 places on the way the rates of reading and of n_decode tokens one by
 * one, and what is resident: printed, and drawn into folder (NULL: not). SNELLEN_E_CANCELLED: what was measured is told
 * and drawn. */
struct stream_options {
    int64_t n_tokens, n_decode;
    const char *folder;
};
snellen_status bench_stream(const snellen_model *model, const snellen_session_options *options,
                            const struct stream_options *stream, snellen_error *err);

#endif
