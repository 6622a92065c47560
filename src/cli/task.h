/* Inside the verb `task`: the options, and the kinds of tasks (task.c: in words, task_lines.c:
 * of symbols, task_long.c: of long memory). */
#ifndef CLI_TASK_H
#define CLI_TASK_H

#include "cli/cli.h"

struct task_args {
    struct common_opts common;
    struct int_list lengths;
    int64_t prompts;                      /* 0 = as the action says */
    const char *database;
    /* tasks in words */
    int64_t generate, max_new;
    const char *style, *cure;             /* NULL = not given */
    bool bare;
    /* tasks of symbols; 0 = as snellen_line_options says */
    const char *format;
    int64_t pool, spacing, cycle;
    int64_t lanes;
    bool train, forced;
    /* tasks of long memory; 0 and NULL = as snellen_long_options says */
    const char *depths, *needle, *question, *haystack;
    int64_t within, pairs, every, back, digits;
    double vary;
};

enum { TASK_SHOWN = 3 };   /* samples that `show` prints of a length */

/* False, after a message, when an option of another kind of tasks was given. */
bool task_options_fit(const struct task_args *a, const snellen_task_info *info);

/* `show`: `make` prints samples, or gathers them where `samples` is not NULL (--json); `note` says how to read them.
 * Returns the exit status. */
typedef snellen_status task_samples(const struct task_args *a, const snellen_task_info *info, json_t *samples,
                                    snellen_error *err);
int task_show(const struct task_args *a, const snellen_task_info *info, const char *format, task_samples *make,
              const char *note);

/* The actions on a task of symbols; they return the exit status. */
void lines_list(void);
int lines_show(const struct task_args *a, const snellen_task_info *info);
/* Lets the model write, prints and records; what was finished before an interruption too. recorder NULL = none. */
snellen_status lines_ask(const struct task_args *a, const snellen_task_info *info, const snellen_model *model,
                         const char *name, snellen_recorder *recorder, snellen_error *err);

/* The same for tasks of long memory. */
void long_list(void);
int long_show(const struct task_args *a, const snellen_task_info *info);
snellen_status long_ask(const struct task_args *a, const snellen_task_info *info, const snellen_model *model,
                        const char *name, snellen_recorder *recorder, snellen_error *err);

#endif
