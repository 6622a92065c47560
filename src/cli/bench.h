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
/* Rates of n_tokens in seconds [reps] each, sorted. */
void measure_seconds(struct measure *m, const double *seconds);

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

/* bench_draw.c: two figures, each where the rows have two points of it at least: bench-prompt over the sizes of
 * prompts, bench-decode over depths. An earlier run is drawn beside it: its prompts of all sizes, its decoding of as
 * many tokens at all depths, whether or not this run has them too. */
struct bench_figures {
    const struct bench_row *rows;
    size_t n_rows;
    const struct earlier *earlier;   /* NULL = none */
    const char *caption, *folder;    /* the folder exists */
};
/* Will there be any? Asks tests, tokens and depths, no rates: to know before it is measured. */
bool bench_has_figures(const struct bench_row *rows, size_t n);
snellen_status bench_draw(const struct bench_figures *f, snellen_error *err);

/* What is asked for. */
struct bench_args {
    struct common_opts common;
    struct int_list prompts, depths;
    int64_t n_decode, reps, n_stream;
    bool train, memories;
    const char *folder, *compare;    /* NULL = none */
    struct earlier earlier;          /* empty without compare */
};

/* bench_table.c: the rows of sessions and of --train: printed one by one as they are measured, or together as JSON;
 * beside those of an earlier run, and drawn, where that is asked for. */
struct bench_table {
    const struct bench_args *args;
    json_t *about;                   /* the run as --json prints it, rows last */
    struct bench_row *rows;          /* one a test; n_rows of them have their rates */
    size_t n_rows;
    bool draws;
};
/* The head, and what is to be known before hours of measuring: an unfair comparison, a line of a single point, a folder
 * that cannot be made. No more than n tests are added. table_free() after failure too. */
snellen_status table_begin(struct bench_table *t, const struct bench_args *a, const snellen_model_info *info,
                           const struct measure *tests, size_t n, snellen_error *err);
/* A test is done. */
void table_add(struct bench_table *t, const struct measure *m);
snellen_status table_finish(struct bench_table *t, snellen_error *err);
void table_free(struct bench_table *t);

/* bench_memories.c: every memory side by side, in one table: reading a prompt, making tokens near the start and far from
 * it, what is resident, and with `train` steps of training on such a prompt. `common` has the sizes of the memories; a
 * model without a prompt of its own gets one. */
struct memories_options {
    const struct common_opts *common;
    int64_t n_prompt, n_decode, near, far, reps;
    bool train;
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
