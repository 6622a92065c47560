/* checkup: the eye exam, in parts.
 *
 *   plan.c      what is asked, decided from numbers of tokens before the first one is read; session_cures.c: read otherwise
 *   work.c      asks it, keeps every number in the database
 *   judge.c     from numbers to findings: how far the model sees, which cure helps; pure
 *   senses.c    findings by what a person asks: does it copy, count ..; cures in order (senses.h); pure
 *   summary.c   findings in plain words
 *   figures.c   the pictures
 *   overview.c  cards of the senses and rankings of cures for the page
 *   page.c      index.html; json.c: results.json
 *   checkup.c   puts the parts together
 *
 * Invariant: figures, page, summary and JSON read the same numbers, and none of them computes what another one shows. */
#ifndef STUDY_CHECKUP_H
#define STUDY_CHECKUP_H

#include "base/base.h"
#include "report/html.h"
#include "study/session_cures.h"
#include "tasks/tasks.h"

/* ---- the plan --------------------------------------------------------------------------------------------------------- */

enum { CHECKUP_PRECISIONS = 4, CHECKUP_MAX_GRID = 96 };

/* One run of the collapse probe. */
struct checkup_collapse {
    const char *sequence;
    snellen_precision precision;
    unsigned part;               /* one of SNELLEN_ROUND_*: what the precision rounds; 0 = all that is computed */
    const int64_t *lengths;
    size_t n_lengths;
    uint32_t n_prompts;
    uint64_t tokens;             /* predicted */
    snellen_collapse *result;    /* NULL until it is done */
    const char *overflow;        /* the model left the range of f16: where, in words; there is no result then */
};

/* One line of a figure: a task in a style with a cure, and all answers to it, from whatever batch. */
struct checkup_task {
    const char *task, *style, *cure;  /* never NULL; cure: of the task, or the name of a session's */
    snellen_answer *answers;          /* by length, then prompt */
    size_t n_answers, room;
    snellen_task_result score;        /* answers shared with the above; cells of their own */
};

/* Questions asked in one session. */
struct checkup_batch {
    const char *what;
    const struct session_cure *read;  /* how the session reads; NULL = as the exam does */
    struct task_item *items;
    size_t *task_of;             /* [n_items] index into tasks */
    size_t n_items;
    struct task_cost cost;       /* predicted */
};

/* Finding what stands at a depth of a length. */
struct checkup_retrieval {
    snellen_retrieval_options options;  /* lengths NULL = the model's context holds none of them: nothing is asked */
    struct task_cost cost;              /* predicted */
    snellen_retrieval_result *result;   /* NULL until it is done; what there is of it when it was stopped */
    const char *refused;                /* why nothing could be asked: a length too short for the model's tokens; NULL = it could */
};

enum { CHECKUP_MAX_COLLAPSES = 32, CHECKUP_MAX_TASKS = 72, CHECKUP_MAX_BATCHES = 16 };

struct checkup_plan {
    int64_t grid[CHECKUP_MAX_GRID];  /* lengths of the collapse probe */
    size_t n_grid;
    struct checkup_collapse collapses[CHECKUP_MAX_COLLAPSES];
    size_t n_collapses;
    struct checkup_task tasks[CHECKUP_MAX_TASKS];
    size_t n_tasks;
    struct checkup_batch batches[CHECKUP_MAX_BATCHES];
    size_t n_batches;
    struct checkup_retrieval retrieval;
    uint32_t coarse_prompts;     /* quick: prompts a cell of the coarse grid */
    uint64_t work;               /* predicted, in tokens of a prompt; a generated one counts as CHECKUP_GENERATED */
};
enum { CHECKUP_GENERATED = 4 };

struct checkup {
    const snellen_model *model;
    const snellen_model_info *info;
    snellen_checkup_options options;
    const snellen_collapse_options *probe; /* a probe alone: what its user set; NULL in an exam */
    const snellen_progress *progress;
    struct arena arena;          /* texts, items, grids */
    bool chat;
    struct checkup_plan plan;
    uint64_t work_done;
    snellen_recorder *recorder;  /* NULL = no database, or the exam is over */
    int64_t run;                 /* its id there; 0 = none */
    struct plot_figure *figures; /* of the report, once it is written */
    size_t n_figures;
    char model_hash[33];
    double seconds;
    bool continued;              /* an exam that was stopped */
};

snellen_status checkup_plan(struct checkup *c, snellen_error *err);
/* True when the model can be read in this precision: a q8_0 cache needs heads of a multiple of 32. */
bool checkup_can_read(const snellen_model *model, snellen_precision precision);
/* True when options.only leaves this part in. */
bool checkup_wants(const struct checkup *c, const char *part);
void checkup_plan_free(struct checkup_plan *plan);
/* Lengths 1..max: all up to 8, then about five an octave, with the paper's and the powers of two. Returns their number. */
size_t checkup_grid(int64_t max, int64_t grid[CHECKUP_MAX_GRID]);
/* Most prompts k in 1..most with fixed + (k - 1) * slope <= budget. */
uint32_t checkup_prompts_for(uint64_t budget, uint64_t fixed, uint64_t slope, uint32_t most);
uint64_t checkup_work_of(const struct task_cost *cost);
/* Options of the session that asks a batch. */
struct task_setting checkup_setting(const struct checkup *c, const struct checkup_batch *batch);

/* ---- the work ----------------------------------------------------------------------------------------------------------- */

/* Asks everything that is not answered yet. After SNELLEN_E_CANCELLED what is finished stands in the plan and in the database. */
snellen_status checkup_work(struct checkup *c, snellen_error *err);
/* Puts answers into a task's, in order; one that is there already is replaced if the new one was generated. */
snellen_status checkup_merge(struct checkup_task *task, struct arena *arena, const snellen_task_result *result,
                             snellen_error *err);

/* ---- an exam that is stopped (stopped.c) ---------------------------------------------------------------------------------- */

/* All answers so far into a file of the report's folder, named by everything that decides them. Without a folder nothing is done. */
snellen_status checkup_keep(struct checkup *c, snellen_error *err);
/* Back from there, where the same exam was stopped; then c->continued. What is in the plan already stays. */
snellen_status checkup_take_up(struct checkup *c, snellen_error *err);
/* The exam is whole: the file goes. */
void checkup_let_go(struct checkup *c);

/* ---- findings (judge.c) --------------------------------------------------------------------------------------------------- */

/* How far something holds along a grid of lengths. */
struct reach {
    bool any;                    /* there are lengths at all */
    int64_t up_to;               /* it holds at every length up to this one; 0 = not even at the first */
    int64_t fails_at;            /* the first length where it does not; -1 = none */
    int64_t longest;             /* of the grid */
    bool again;                  /* it holds again at some length after fails_at: not monotone */
    int64_t last;                /* the last length at which it holds; 0 = none */
};
struct reach checkup_reach(const int64_t *lengths, const bool *holds, size_t n);

/* What the collapse probe says of one sequence in one precision. "Tells n from n + 1": */
struct collapse_finding {
    bool known;
    struct reach bits;           /* the two vectors differ in at least one bit, for every prompt */
    struct reach line;           /* measure (a) at y_n, mean over prompts, is at least 2^-7 */
    struct reach logits;         /* the same of all logits */
    struct reach top;            /* the likeliest next token: not a test of sight, told for completeness */
    struct reach noise;          /* all but f32: measure (a) in f32 is larger than the same measure of y_n in this
                                    precision against y_n in f32 */
    struct reach kept;           /* it is larger than the same measure of what rounding does to y*_n - y_n: what
                                    rounding moves both vectors by is no loss */
    bool has_noise;              /* noise and kept are known */
    struct reach tells;          /* line and, where there is one, noise: the headline */
    double first, last;          /* measure (a) at the first and the last length */
};
/* The collapse of this sequence and precision, or NULL while it is not done; of a part of it. */
const struct checkup_collapse *checkup_find_collapse(const struct checkup_plan *plan, const char *sequence,
                                                     snellen_precision precision);
const struct checkup_collapse *checkup_find_part(const struct checkup_plan *plan, const char *sequence,
                                                 snellen_precision precision, unsigned part);
/* Of one that was found, or NULL. */
struct collapse_finding checkup_judge_part(const struct checkup_plan *plan, const struct checkup_collapse *k,
                                           const snellen_model_info *info);
struct collapse_finding checkup_judge_collapse(const struct checkup_plan *plan, const char *sequence,
                                               snellen_precision precision, const snellen_model_info *info);
/* The row of a prompt, the i-th length and a layer. */
const snellen_collapse_row *checkup_collapse_row(const struct checkup_collapse *k, uint32_t prompt, size_t i,
                                                 int64_t layer);
/* Measure (a) at y_n over prompts: mean, and lowest and highest head's of the mean over prompts. */
void checkup_collapse_at(const struct checkup_collapse *k, int64_t layer, size_t i, double *mean, double *low, double *high);
/* Mean over prompts and heads of the largest |y_n - y_n of f32| of a head's slice; NAN without the f32 run. */
double checkup_rounding_at(const struct checkup_collapse *k, const struct checkup_collapse *f32, size_t i,
                           const snellen_model_info *info);
/* The same of the difference y*_n - y_n against that of f32: what one more item loses. */
double checkup_loss_at(const struct checkup_collapse *k, const struct checkup_collapse *f32, size_t i,
                       const snellen_model_info *info);

struct task_finding {
    bool known;
    struct reach sees;           /* more than half of a length's prompts have margin > 0 */
    int64_t blind_at;            /* as in snellen_task_result */
    double mean_margin;          /* over all answers */
    uint32_t n_generated, n_right, n_parsed;
    int64_t favourite;           /* the number named most often */
    uint32_t favourite_count;
};
const struct checkup_task *checkup_find_task(const struct checkup_plan *plan, const char *task, const char *style,
                                             const char *cure);
struct task_finding checkup_judge_task(const struct checkup_task *task);

/* A cure against none: over the questions (length, prompt) that both were asked. */
struct cure_finding {
    bool known;
    uint32_t n;                  /* such questions */
    double gain, low, high;      /* mean margin with the cure minus without, 95 % interval (Student's t) */
    uint32_t right_with, right_without;  /* margins > 0 */
    double share, share_low, share_high; /* of right ones with minus without, 95 % interval: paired_interval() */
};
struct cure_finding checkup_judge_cure(const struct checkup_task *with, const struct checkup_task *without);

/* What a task of retrieval says: "finds" at a length = at least 85 % of the share that is right at the shortest. */
struct retrieval_finding {
    bool known;                  /* asked in full at a length or more */
    bool guesses;                /* at the shortest length the share is not clearly (95 %) above one of ten: there is no reach */
    struct reach finds;
    const snellen_retrieval_cell *shortest, *longest; /* all depths together */
    double ends, middle;         /* mean margin at depths 0 and 1, and at those between; NAN where there are none */
};
struct retrieval_finding checkup_judge_retrieval(const snellen_retrieval_result *result, const char *task);
/* The items of a list by name against the same ones by index. */
struct cure_finding checkup_judge_by_name(const snellen_retrieval_result *result);

/* ---- words, pictures, page -------------------------------------------------------------------------------------------------- */

/* "up to 64", "up to 2,001, the longest tried", "not even at 1", "up to 12, and again at some longer ones". */
void checkup_put_reach(struct strbuf *b, const struct reach *reach);
/* 12345 -> "12,345". */
void checkup_put_count(struct strbuf *b, int64_t n);
/* The findings in words: text is one line each, no markup; lines tell where each is and how good it is. */
struct checkup_line {
    size_t start, length;        /* in text, without the line's end */
    enum report_level level;
    const char *figure;          /* id of the one that shows it, NULL = none */
};
enum { CHECKUP_MAX_LINES = 48 };
struct checkup_words {
    struct strbuf text;
    struct checkup_line lines[CHECKUP_MAX_LINES];
    size_t n_lines;
};
void checkup_summary(const struct checkup *c, bool complete, struct checkup_words *words);

/* All charts there are numbers for, as figures and in files in options.folder: PNG, SVG, CSV of each. They live in
 * c->arena. */
snellen_status checkup_figures(struct checkup *c, struct plot_figure **figures, size_t *n, snellen_error *err);
/* index.html; `figures` as above. */
snellen_status checkup_page(struct checkup *c, bool complete, const struct checkup_words *words,
                            const struct plot_figure *figures, size_t n_figures, snellen_error *err);
snellen_status checkup_json(struct checkup *c, bool complete, const char *summary, char **json, snellen_error *err);

const char *checkup_precision_name(snellen_precision precision);
/* "weights", ..; 0: "all". "bf16-weights"; "bf16" where all that is computed is rounded. */
const char *checkup_part_name(unsigned part);
const char *checkup_type_name(const struct checkup_collapse *k);
/* "rounding to bf16", "rounding the cache to q8_0". */
const char *checkup_rounding_name(snellen_precision precision);

/* ---- a probe alone (probe.c) --------------------------------------------------------------------------------------------------- */

struct probe_request {
    const char *sequence;             /* one, or "all" */
    const char *precision;            /* one, or "all" */
    const char *part;                 /* of one precision: what it rounds, as checkup_part_name(); "each" = all, and
                                         each part alone. A part is measured beside f32 */
    snellen_collapse_options collapse;/* everything else; lengths NULL = checkup_grid(up_to) */
    int64_t up_to;
    const char *numbers;              /* safetensors file; NULL = none */
};

/* Fills c (model, options and progress are set) with the probe's results, its figures in options.folder when that is
 * set, its numbers in the database and in request->numbers. After SNELLEN_E_CANCELLED the plan holds what was finished
 * and no file was written. Free with checkup_free() in any case. */
snellen_status checkup_probe(struct checkup *c, const struct probe_request *request, snellen_error *err);
void checkup_free(struct checkup *c);

/* ---- exams of several models (checkup.c, side_by_side.c) ------------------------------------------------------------------------ */

/* The exam from its first question to its report. c has model, info, options and progress; plan, findings and figures stay in it
 * until checkup_free(), its file of answers until checkup_let_go(). *result as from snellen_checkup_run(). */
snellen_status checkup_examine(struct checkup *c, snellen_checkup **result, snellen_error *err);
/* A result for snellen_checkup_free(). The texts are taken, json as from malloc(), in any case. */
snellen_status checkup_result(bool complete, bool continued, struct strbuf *summary, char *json, struct strbuf *page, int64_t run,
                              snellen_checkup **result, snellen_error *err);

#endif
