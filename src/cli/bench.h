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

void measure_sort(struct measure *m);
double measure_median(const struct measure *m);

/* bench_memories.c: every memory side by side, in one table: reading a prompt, making tokens near the start and far from
 * it, what is resident. `common` has the sizes of the memories; a model without a prompt of its own gets one. */
struct memories_options {
    const struct common_opts *common;
    int64_t n_prompt, n_decode, near, far, reps;
};
snellen_status bench_memories(snellen_model *model, const struct memories_options *options, snellen_error *err);

#endif
