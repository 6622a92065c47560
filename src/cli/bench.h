/* bench: what its files share. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli/cli.h"

enum { MAX_REPETITIONS = 100 };

struct measure {
    const char *test;         /* "prompt", "decode"; of training "train", "small" */
    int64_t n_tokens, depth;  /* tokens timed; tokens in the session before */
    int64_t reps;
    double rate[MAX_REPETITIONS];   /* tokens a second, of each repetition; sorted at the end */
};

/* Of this process, now. */
uint64_t resident_bytes(void);
void measure_sort(struct measure *m);
double measure_median(const struct measure *m);

/* A line of the table: what was measured, and what came out in tokens a second. */
struct bench_row {
    const char *test;
    int64_t tokens, depth, reps;
    double median, least, most;
};

/* bench_compare.c: an earlier run, as --json printed it. Its rows are checked: sizes from 0 up, rates from 1e-6 to
 * 1e12, least <= median <= most. What is wrong with the file is told with the line and column, or with the key. */
struct earlier {
    json_t *run;              /* owns the texts of the rows */
    struct bench_row *rows;   /* [n_rows]; reps are not read */
    size_t n_rows;
};
/* earlier_free() after success. */
snellen_status earlier_read(const char *path, struct earlier *e, snellen_error *err);
/* The same of n bytes; `name` is what messages call them. */
snellen_status earlier_parse(const char *text, size_t n, const char *name, struct earlier *e, snellen_error *err);
void earlier_free(struct earlier *e);
/* The row of the same test, tokens and depth, the first of several; NULL = none. */
const struct bench_row *earlier_find(const struct earlier *e, const struct bench_row *row);
/* What makes a comparison unfair, as "threads 2, now 1; isa ..": model (the last name of its path), memory, cache, cpu,
 * threads, isa, as far as both runs say them. `now` is this run in the form of --json. Nothing is put where all is
 * the same. */
void earlier_differences(const struct earlier *e, const json_t *now, struct strbuf *out);

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
