/* tasks: questions whose right answer is known, the model's answers to them, and how good they are.
 *
 *   tasks.c     the registry; options by name; what snellen.h says of tasks
 *   copy.c      a family of tasks: the last or first digit of a sequence
 *   count.c     a family of tasks: how many
 *   question.c  prompts to tokens, and the order in which questions share their prefixes
 *   answers.c   the candidates' log probabilities over a trie of their tokens
 *   eval.c      asks a model: margins and generated answers
 *   score.c     intervals, cells, the number in an answer's text
 *
 * Models are used through snellen.h only. A new family is one file with a `struct task_family` and one line in
 * tasks.c. Tasks of symbols (parity, addition, ..) are another kind: symbols.h. */
#ifndef TASKS_TASKS_H
#define TASKS_TASKS_H

#include "base/base.h"

/* ---- how a prompt is written ------------------------------------------------------------------------------------- */

enum task_style { TASK_PLAIN, TASK_STEP, TASK_EXAMPLES };

/* Everything that decides the text of one prompt. */
struct task_form {
    int64_t length;       /* items in the sequence */
    uint32_t prompt;      /* 0 = the paper's own */
    uint64_t seed;
    enum task_style style;
    bool hint;            /* the paper's hint is appended */
    bool alternate;       /* the repeated digit alternates with the other one */
    bool reverse;         /* copying: the sequence is turned round, and its other end asked for */
    bool anchors;         /* copying: each five digits have a name before them */
    bool fives;           /* counting: items in brackets, five by five */
    uint32_t comma;       /* a comma after every this many items, none after the last; 0 = no commas */
};

struct task {
    snellen_task_info info;
    const void *kind;     /* what the family knows about this task */
    /* Writes the prompt and returns the right answer. */
    int64_t (*write)(const struct task *task, const struct task_form *form, struct strbuf *text);
    /* Candidates are 0..max_answer(length). */
    int64_t (*max_answer)(int64_t length);
    bool closed;          /* a candidate's probability includes that no digit follows it */
};

struct task_family {
    const struct task *tasks;
    size_t n;
};

extern const struct task_family copy_family, count_family;

enum { TASK_MAX_LENGTH = 100000, TASK_MAX_VARIANTS = 128 };

/* The task in words of this name; the message lists all that are known. */
snellen_status task_find(const char *name, const struct task **task, snellen_error *err);
/* SNELLEN_E_USAGE with the names of all tasks. */
snellen_status task_unknown(const char *name, snellen_error *err);
/* Which of the words of a list (separated by spaces) this one is; -1 = none. */
int word_index(const char *list, const char *word);
/* Style and cure by name (NULL = plain, none) into a form; they must be among the task's own. */
snellen_status task_form_set(const struct task *task, const char *style, const char *cure, struct task_form *form,
                             snellen_error *err);
/* Which of n <= TASK_MAX_VARIANTS variants prompt p < n shows: a permutation by seed that leaves 0 at 0. */
uint32_t task_variant(uint64_t seed, uint32_t prompt, uint32_t n);
/* True where the form wants a comma between items i - 1 and i. */
bool task_comma_due(const struct task_form *form, int64_t i);
/* Tokens that an answer may take when nobody says. */
uint32_t task_max_new(enum task_style style);

/* ---- asking a model several things together ---------------------------------------------------------------------- */

/* One task with a cure and a style, over lengths. */
struct task_item {
    const char *task, *style, *cure;  /* style, cure NULL = plain, none */
    const int64_t *lengths;           /* NULL = the task's grid, as far as it fits the context */
    size_t n_lengths;
    uint32_t n_prompts, n_generate;   /* as in snellen_task_options */
    uint32_t max_new;
    const snellen_answer *known;      /* [n_known] by length, then prompt: what was asked before and is not asked again; they come back */
    size_t n_known;                   /* with the others. One that was not generated may be, now */
};
/* By length, then prompt: for qsort() and bsearch(). */
int answers_in_order(const void *a, const void *b);

/* What all items of a call have in common. */
struct task_setting {
    bool chat;
    uint64_t seed;
    snellen_session_options session;
};

/* What a call cost, or will cost. */
struct task_cost {
    uint64_t n_questions;
    uint64_t prompt_tokens;     /* through the model, shared prefixes once; planned: without the search over numbers */
    uint64_t search_tokens;     /* candidates' digits; planned: 0 */
    uint64_t generated_tokens;  /* planned: the most it can be */
    double prompt_seconds, search_seconds, generate_seconds;  /* planned: 0 */
};

/* Asks all items in one session, so that questions that begin alike (all lengths of a prompt, a hint after the
 * sequence, ..) read their common prefix once. results [n_items] as snellen_task_eval() gives them, also after
 * SNELLEN_E_CANCELLED; all NULL after another failure. cost may be NULL. */
snellen_status tasks_eval(const snellen_model *model, const struct task_item *items, size_t n_items,
                          const struct task_setting *setting, const snellen_progress *progress,
                          snellen_task_result **results, struct task_cost *cost, snellen_error *err);
/* The cost beforehand: same checks, nothing is asked. */
snellen_status tasks_plan(const snellen_model *model, const struct task_item *items, size_t n_items,
                          const struct task_setting *setting, struct task_cost *cost, snellen_error *err);

/* What snellen_retrieval_run() costs, beforehand: the same checks of its options, nothing is asked (retrieval_run.c). */
snellen_status retrieval_plan(const snellen_model *model, const snellen_retrieval_options *options, struct task_cost *cost,
                              snellen_error *err);

/* ---- scores (score.c) -------------------------------------------------------------------------------------------- */

/* The 97.5 % quantile of Student's t with df >= 1 degrees of freedom. */
double student_t_975(uint32_t df);
/* Mean of n >= 1 values and its 95 % interval. */
void mean_interval(const double *values, size_t n, double *mean, double *low, double *high);
/* Wilson's 95 % interval of k successes in n; NAN when n = 0. */
void wilson_interval(uint32_t k, uint32_t n, double *low, double *high);
/* Two shares of the same n questions, `gained` of which are right only with something and `lost` only without it: the 95 % interval
 * of their difference, (gained - lost) / n, by Bonett and Price (2012, adjusted Wald for paired shares); NAN when n = 0. */
void paired_interval(uint32_t gained, uint32_t lost, uint32_t n, double *low, double *high);

/* The likeliest token, the first of equals; NaN is never likely. */
int32_t likeliest(const float *logits, int64_t n);

enum number_state {
    NUMBER_NONE,    /* no number in the text */
    NUMBER_LOOSE,   /* the last number in the text, but not after the frame */
    NUMBER_OPEN,    /* after the frame, at the very end of the text: more digits may follow */
    NUMBER_FINAL,   /* after the frame, something else follows it */
};
/* The answer's number in a generated text: after the last occurrence of the frame (compared without its trailing
 * space) that has one, else the last number. Between frame and number may stand spaces, quotes, brackets and the like.
 * "1,234" is one number. Numbers of more than 15 digits are none. */
enum number_state number_in_answer(const char *text, const char *frame, int64_t *number);

/* Cells and blind_at from answers that are ordered by length. result->answers is filled in. */
snellen_status score_cells(snellen_task_result *result, snellen_error *err);

#endif
