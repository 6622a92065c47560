/* Findings by sense, and cures in order. A new sense is a row of SENSES and the function that gathers its lines. */
#include "study/senses.h"

#include <stdlib.h>
#include <string.h>

/* ---- cures --------------------------------------------------------------------------------------------------------------- */

static bool is_plain(const struct checkup_task *t)
{
    return !t->cure[0] && !strcmp(t->style, "plain");
}

const char *senses_cure_name(const struct checkup_task *t)
{
    static const char *const names[][2] = {
        {"hint", "a hint"}, {"commas", "a comma every 3rd"}, {"alternate", "alternating digits"}, {"step", "step by step"},
        {"examples", "two worked examples"}, {"anchors", "a name before each five"}, {"reverse", "the sequence turned round"},
        {"fives", "brackets around each five"}, {"commas:2", "a comma every 2nd"}, {"commas:5", "a comma every 5th"},
        {"commas:10", "a comma every 10th"}};
    const char *key = t->cure[0] ? t->cure : t->style;
    const struct session_cure *read = session_cure_find(t->cure);
    if (read) return read->words;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (!strcmp(names[i][0], key)) return names[i][1];
    return is_plain(t) ? "no cure" : key;
}

/* The larger gain first. */
static int by_gain(const void *pa, const void *pb)
{
    const struct cure_finding *a = &((const struct cure_rank *)pa)->gain, *b = &((const struct cure_rank *)pb)->gain;
    if (a->share > b->share || a->share < b->share) return a->share > b->share ? -1 : 1;
    return (a->gain < b->gain) - (a->gain > b->gain);
}

size_t senses_rank(const struct checkup_plan *plan, const char *task, struct cure_rank ranks[SENSES_MAX_CURES])
{
    size_t n = 0;
    const struct checkup_task *without = checkup_find_task(plan, task, "plain", "");
    for (size_t i = 0; i < plan->n_tasks && n < SENSES_MAX_CURES; i++) {
        const struct checkup_task *t = &plan->tasks[i];
        if (strcmp(t->task, task) || is_plain(t) || !t->n_answers) continue;
        ranks[n] = (struct cure_rank){t, checkup_judge_cure(t, without)};
        n += ranks[n].gain.known;
    }
    qsort(ranks, n, sizeof *ranks, by_gain);
    return n;
}

bool senses_helps(const struct cure_finding *g)
{
    return g->n > 1 && (g->share_low > 0 || g->low > 0) && !(g->share_high < 0) && !(g->high < 0);
}

bool senses_hurts(const struct cure_finding *g)
{
    return g->n > 1 && (g->share_high < 0 || g->high < 0) && !(g->share_low > 0) && !(g->low > 0);
}

/* ---- lines of a sense --------------------------------------------------------------------------------------------------------- */

static size_t gather_collapse(const struct checkup *c, struct sense_line *lines)
{
    static const char *const names[] = {[SNELLEN_F32] = "in f32", [SNELLEN_BF16] = "in bf16", [SNELLEN_F16] = "in f16",
                                        [SNELLEN_Q8_0] = "with a cache in q8_0"};
    size_t n = 0;
    for (int p = 0; p < CHECKUP_PRECISIONS; p++) {
        struct collapse_finding f = checkup_judge_collapse(&c->plan, "ones", (snellen_precision)p, c->info);
        if (f.known) lines[n++] = (struct sense_line){names[p], "ones", "collapse-ones", NULL, f.tells};
    }
    return n;
}

struct task_line {
    const char *task, *what, *unit;
};

static size_t gather_tasks(const struct checkup *c, const struct task_line *tasks, size_t n_tasks, struct sense_line *lines)
{
    size_t n = 0;
    for (size_t i = 0; i < n_tasks; i++) {
        struct task_finding f = checkup_judge_task(checkup_find_task(&c->plan, tasks[i].task, "plain", ""));
        if (f.known) lines[n++] = (struct sense_line){tasks[i].what, tasks[i].unit, tasks[i].task, tasks[i].task, f.sees};
    }
    return n;
}

static size_t gather_copying(const struct checkup *c, struct sense_line *lines)
{
    static const struct task_line tasks[] = {{"copy-last", "last digit", "digits"}, {"copy-first", "first digit", "digits"}};
    return gather_tasks(c, tasks, COUNT_OF(tasks), lines);
}

static size_t gather_counting(const struct checkup *c, struct sense_line *lines)
{
    static const struct task_line tasks[] = {{"count-sum", "a sum of ones", "summands"}, {"count-ones", "ones", "ones"},
                                             {"count-bernoulli", "ones among bits", "bits"}, {"count-car", "a word", "words"}};
    return gather_tasks(c, tasks, COUNT_OF(tasks), lines);
}

/* ---- finding -------------------------------------------------------------------------------------------------------------------- */

/* A task that is guessed at the shortest length already fails there. */
static size_t gather_finding(const struct checkup *c, struct sense_line *lines)
{
    static const char *const tasks[][2] = {{"passkey", "a pass key"}, {"needle", "a fact"}, {"list-index", "the 7th item of a list"},
                                           {"list-content", "an item by its name"}};
    const snellen_retrieval_result *r = c->plan.retrieval.result;
    size_t n = 0;
    for (size_t i = 0; r && i < COUNT_OF(tasks); i++) {
        struct retrieval_finding f = checkup_judge_retrieval(r, tasks[i][0]);
        if (!f.known) continue;
        lines[n++] = (struct sense_line){tasks[i][1], "tokens", "retrieval-lengths", NULL, f.finds};
    }
    return n;
}

/* ---- following: written answers in the form that was asked for ------------------------------------------------------------------ */

static bool in_form(const struct task *task, const snellen_answer *a)
{
    int64_t number;
    return a->text && number_in_answer(a->text, task->info.frame, &number) >= NUMBER_OPEN;
}

/* Written answers to the tasks of a family at one length. */
static void count_forms(const struct checkup_plan *plan, const char *family, int64_t length, uint32_t *n, uint32_t *n_in_form)
{
    *n = *n_in_form = 0;
    for (size_t i = 0; i < plan->n_tasks; i++) {
        const struct checkup_task *t = &plan->tasks[i];
        const struct task *task;
        if (strncmp(t->task, family, strlen(family)) || task_find(t->task, &task, NULL)) continue;
        for (size_t k = 0; k < t->n_answers; k++) {
            if (!t->answers[k].generated || t->answers[k].length != length) continue;
            ++*n;
            *n_in_form += in_form(task, &t->answers[k]);
        }
    }
}

/* The next length after `length` at which the family has written answers; -1 = none. */
static int64_t next_length(const struct checkup_plan *plan, const char *family, int64_t length)
{
    int64_t next = -1;
    for (size_t i = 0; i < plan->n_tasks; i++) {
        const struct checkup_task *t = &plan->tasks[i];
        for (size_t k = 0; k < t->n_answers && !strncmp(t->task, family, strlen(family)); k++) {
            const snellen_answer *a = &t->answers[k];
            if (a->generated && a->length > length && (next < 0 || a->length < next)) next = a->length;
        }
    }
    return next;
}

static size_t gather_following(const struct checkup *c, struct sense_line *lines)
{
    static const struct task_line families[] = {{"copy", "copying", "digits"}, {"count", "counting", "items"}};
    enum { MOST = 256 };
    int64_t lengths[MOST];
    bool holds[MOST];
    size_t n_lines = 0;
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        size_t n = 0;
        int64_t length = -1;
        while (n < MOST && (length = next_length(&c->plan, families[i].task, length)) >= 0) {
            uint32_t all, good;
            count_forms(&c->plan, families[i].task, length, &all, &good);
            lengths[n] = length;
            holds[n++] = good * 2 > all;
        }
        if (n) lines[n_lines++] = (struct sense_line){families[i].what, families[i].unit, NULL, NULL, checkup_reach(lengths, holds, n)};
    }
    return n_lines;
}

/* ---- senses ------------------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name, *definition, *ask;
    size_t (*gather)(const struct checkup *c, struct sense_line *lines);   /* NULL = no part of an exam asks it */
} SENSES[] = {
    {"Tells apart", "n equal items and n + 1 of them give vectors that differ by at least 2^-7, the paper's line, and by more than "
     "rounding to the number format does.", "snellen checkup MODEL --only collapse", gather_collapse},
    {"Copies", "Asked for the one digit that differs from all others, more than half of the prompts of a length give the right digit a "
     "higher probability than any wrong one.", "snellen checkup MODEL --only copying", gather_copying},
    {"Counts", "Asked how many there are, more than half of the prompts of a length give the right number a higher probability than any "
     "other.", "snellen checkup MODEL --only counting", gather_counting},
    {"Finds", "Of what stands somewhere in a text of that many tokens at least 85 % as much is found as in the shortest one, and there more "
     "than by guessing.", "snellen checkup MODEL --only retrieval", gather_finding},
    {"Follows", "More than half of the answers that it writes at a length have the form that the prompt asks for, right or wrong.",
     "snellen checkup MODEL --full", gather_following},
    {"Remembers", "What was said long ago is still known after that many tokens.",
     "snellen task eval passkey MODEL --format words", NULL},
};
_Static_assert(COUNT_OF(SENSES) == SENSES_MAX, "room for every sense");

/* The line that fails first. */
static size_t weakest_of(const struct sense_line *lines, size_t n)
{
    size_t weakest = 0;
    for (size_t i = 1; i < n; i++) {
        const struct reach *a = &lines[i].reach, *b = &lines[weakest].reach;
        if (a->fails_at >= 0 && (b->fails_at < 0 || a->fails_at < b->fails_at)) weakest = i;
    }
    return weakest;
}

size_t senses_find(const struct checkup *c, struct sense_finding senses[SENSES_MAX])
{
    for (size_t i = 0; i < COUNT_OF(SENSES); i++) {
        struct sense_finding *s = &senses[i];
        *s = (struct sense_finding){.name = SENSES[i].name, .definition = SENSES[i].definition, .ask = SENSES[i].ask};
        if (SENSES[i].gather) s->n_lines = SENSES[i].gather(c, s->lines);
        s->weakest = weakest_of(s->lines, s->n_lines);
    }
    return COUNT_OF(SENSES);
}

bool senses_best_cure(const struct checkup *c, const struct sense_finding *sense, struct cure_rank *best, size_t *line)
{
    bool found = false;
    for (size_t i = 0; i < sense->n_lines; i++) {
        struct cure_rank ranks[SENSES_MAX_CURES];
        const struct sense_line *l = &sense->lines[i];
        size_t n = l->task && l->reach.fails_at >= 0 ? senses_rank(&c->plan, l->task, ranks) : 0, k = 0;
        while (k < n && !senses_helps(&ranks[k].gain)) k++;
        if (k == n || (found && by_gain(best, &ranks[k]) <= 0)) continue;
        *best = ranks[k];
        *line = i;
        found = true;
    }
    return found;
}
