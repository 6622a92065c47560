/* study: named experiments, each a YAML file that trains variants of a model over seeds, lets them write, and draws.
 *
 * A study file is a training file (docs/training.md) with a few keys more:
 *
 *     title, about          what it shows
 *     variants              name -> keys that this line of the figure has of its own
 *                           `after: NAME` among them: it goes on with the weights of that earlier variant, seed by seed
 *     full                  keys that win with --full: longer runs, more seeds
 *     attribution           length of the lines whose attribution maps are drawn (parity); 0 = none
 *
 *   study_file.c     finds and reads study files
 *   study.c          runs one: trains and scores each variant and seed; what was done before is not done again
 *   study_text.c     how well a text is read, over what was read of it
 *   study_maps.c     attribution maps of what was trained, and their mass on the right tokens over length
 *   study_draw.c     figures, the page, results.json */
#ifndef STUDY_STUDY_H
#define STUDY_STUDY_H

#include "report/plot.h"
#include "train/settings.h"

#include <jansson.h>

enum { STUDY_MAX_VARIANTS = 32, STUDY_MAX_KEYS = 64, STUDY_MAX_SEEDS = 64 };

struct study_variant {
    const char *name;
    const char *after;                    /* an earlier variant, whose weights it goes on with; "" = none */
    const char *keys[STUDY_MAX_KEYS];     /* "train.lr=1e-3" */
    size_t n_keys;
};

struct study_file {
    const char *path, *name, *title, *about;
    const char *base;                     /* the rest of the file: a training file */
    struct study_variant variants[STUDY_MAX_VARIANTS], full, exam;   /* exam: has keys where nothing is trained (exam.h) */
    size_t n_variants;
    int64_t attribution;
    struct arena arena;
};

/* A file's path, or the name of one that study_file_list() finds. Without variants there is one, called as the file. */
snellen_status study_file_open(const char *study, struct study_file *out, snellen_error *err);
void study_file_free(struct study_file *f);

/* Right answers of one variant, seed and way of writing at one length. */
struct study_cell {
    int64_t length, n, n_exact, n_answer;
    double per_symbol;
    double nll;                           /* studies of text: mean, nats a token */
};
enum study_way { WAY_FREE, WAY_FORCED, WAY_BEST, WAY_COUNT };   /* last weights writing all, or only what is no anchor; best
                                                                   weights by held-out loss, writing all */
struct study_run {
    size_t variant;
    int64_t seed, steps;
    double loss, seconds;
    bool best_is_last;                    /* the weights of the best evaluation are the last ones */
    char folder[4096];
    const char *weights;                  /* the folder that has them: its own, or that of a run that was trained alike */
    struct study_cell *cells[WAY_COUNT];  /* [n_lengths]; NULL = that way there is none */
    double *mass;                         /* [n_lengths] attribution on the right tokens; NULL = not asked for */
};

struct study {
    const snellen_study_options *options;
    const snellen_progress *progress;
    struct study_file file;
    struct settings settings[STUDY_MAX_VARIANTS];
    size_t n_settings;
    struct study_run *runs;               /* variant by variant, seed by seed */
    size_t n_runs, runs_room;
    struct arena arena;
};

/* Has it a text to be read in place of a task? Right answers are then tokens that the model held for the likeliest, those
 * of a length the ones between the length before and it: cells [n_lengths]. */
bool is_text_study(const struct settings *s);
snellen_status study_read_text(const struct study *s, const struct settings *settings, const snellen_model *model,
                               struct study_cell *cells, snellen_error *err);
/* Maps of the first seed's lines, and mass of all runs. */
snellen_status study_maps(struct study *s, snellen_error *err);
/* Figures, index.html and results.json in the study's folder. */
snellen_status study_draw(struct study *s, snellen_error *err);
/* The median of n values; sorts them. NAN when n is 0. */
double study_median(double *values, size_t n);
/* What is told of a variant at a length: the share of right answers; of a text, nats a token; attribution on the right
 * tokens, whatever the way. */
enum study_measure { MEASURE_RIGHT, MEASURE_NLL, MEASURE_MASS };
/* Values of a variant at length i over its runs, [STUDY_MAX_SEEDS]; returns how many. */
size_t study_values(const struct study *s, enum study_measure measure, size_t variant, enum study_way way, size_t i,
                    double *values);

#endif
