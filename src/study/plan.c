/* What a checkup asks, decided before the first token is read. The numbers of tokens are known from the tokenizer alone,
 * so that the plan is the same on every machine; how fast it is done is another matter. */
#include "study/checkup.h"

#include <stdlib.h>
#include <string.h>

enum { FULL_PROMPTS = 20, FULL_OTHER_PROMPTS = 3, FULL_LONG_ANSWERS = 2, COARSE_STEP = 8, SPARSE_STEP = 3,
       QUICK_RETRIEVAL_PROMPTS = 2, MOST_SESSION_CURES = 4 };
/* Room for the wording of a collapse prompt in its template. */
enum { WORDING_TOKENS = 100, COLLAPSE_PREFIX = 24 };

/* Longest n in a quick exam, by sequence and precision; 0 = only in a full one, which goes to 2001. */
static const struct {
    const char *sequence;
    snellen_precision precision;
    int64_t quick;
} COLLAPSES[] = {
    {"ones", SNELLEN_F32, 2001},    {"commas", SNELLEN_F32, 1100},  {"copy", SNELLEN_F32, 1100},
    {"digits", SNELLEN_F32, 260},   {"alternate", SNELLEN_F32, 260}, {"ones", SNELLEN_BF16, 520},
    {"commas", SNELLEN_BF16, 130},  {"copy", SNELLEN_BF16, 130},    {"digits", SNELLEN_BF16, 130},
    {"alternate", SNELLEN_BF16, 0}, {"ones", SNELLEN_F16, 260},     {"commas", SNELLEN_F16, 130},
    {"copy", SNELLEN_F16, 130},     {"digits", SNELLEN_F16, 130},   {"alternate", SNELLEN_F16, 0},
    {"ones", SNELLEN_Q8_0, 0},
};
_Static_assert(COUNT_OF(COLLAPSES) <= CHECKUP_MAX_COLLAPSES, "room for every collapse");
static const int64_t LONGEST = 2001; /* paper, Fig 5 */
static const int64_t QUICK_LONGEST = 800; /* of a question in a quick exam; a full one copies up to 1,500 digits */

enum task_part {
    PART_ALWAYS,    /* a margin in every cell */
    PART_WRITTEN,   /* the same, and written answers; in a quick exam some, and further prompts if the budget allows */
    PART_SPARSE,    /* in a quick exam at every third length: counting with many tokens of wording */
    PART_COARSE,    /* in a quick exam on the coarse grid only: ours, beyond the paper's cells */
    PART_FULL,      /* only in a full exam: ours, too */
    PART_FULL_COARSE,  /* the same, on the coarse grid */
};

/* The lines of the figures. copy-alternating is copy-last with the cure `alternate` and not asked twice. */
static const struct {
    const char *task, *style, *cure;
    enum task_part part;
} TASKS[] = {
    {"copy-last", "plain", "", PART_WRITTEN},          {"copy-last", "plain", "hint", PART_WRITTEN},
    {"copy-last", "plain", "commas", PART_COARSE},     {"copy-last", "plain", "alternate", PART_ALWAYS},
    {"copy-first", "plain", "", PART_WRITTEN},         {"copy-first", "plain", "hint", PART_ALWAYS},
    {"copy-last", "plain", "anchors", PART_FULL},      {"copy-last", "plain", "reverse", PART_FULL},
    {"copy-first", "plain", "commas", PART_FULL},      {"copy-first", "plain", "alternate", PART_FULL},
    {"copy-first", "plain", "anchors", PART_FULL},     {"copy-first", "plain", "reverse", PART_FULL},
    {"copy-last-end-a", "plain", "", PART_ALWAYS},     {"copy-last-end-a", "plain", "hint", PART_FULL},
    {"copy-last-end-b", "plain", "", PART_ALWAYS},     {"copy-last-end-b", "plain", "hint", PART_FULL},
    {"count-sum", "plain", "", PART_WRITTEN},          {"count-sum", "step", "", PART_SPARSE},
    {"count-sum", "examples", "", PART_SPARSE},        {"count-ones", "plain", "", PART_WRITTEN},
    {"count-ones", "step", "", PART_SPARSE},           {"count-ones", "examples", "", PART_SPARSE},
    {"count-ones", "plain", "commas", PART_COARSE},    {"count-bernoulli", "plain", "", PART_WRITTEN},
    {"count-bernoulli", "step", "", PART_SPARSE},      {"count-bernoulli", "examples", "", PART_SPARSE},
    {"count-sum", "plain", "fives", PART_FULL},        {"count-ones", "plain", "fives", PART_FULL},
    {"count-bernoulli", "plain", "fives", PART_FULL},  {"count-car", "plain", "fives", PART_FULL},
    {"count-car", "plain", "", PART_WRITTEN},          {"count-car", "step", "", PART_SPARSE},
    {"count-car", "examples", "", PART_SPARSE},
    {"copy-last", "plain", "commas:2", PART_FULL_COARSE},   {"copy-last", "plain", "commas:5", PART_FULL_COARSE},
    {"copy-last", "plain", "commas:10", PART_FULL_COARSE},  {"copy-first", "plain", "commas:2", PART_FULL_COARSE},
    {"copy-first", "plain", "commas:5", PART_FULL_COARSE},  {"copy-first", "plain", "commas:10", PART_FULL_COARSE},
    {"count-ones", "plain", "commas:2", PART_FULL_COARSE},  {"count-ones", "plain", "commas:5", PART_FULL_COARSE},
    {"count-ones", "plain", "commas:10", PART_FULL_COARSE},
};
/* Asked once more by a full exam with each cure of the session, on the coarse grid. */
static const char *const READ_OTHERWISE[] = {"copy-last", "copy-first", "count-sum", "count-ones", "count-bernoulli", "count-car"};
_Static_assert(COUNT_OF(TASKS) + MOST_SESSION_CURES * COUNT_OF(READ_OTHERWISE) <= CHECKUP_MAX_TASKS, "room for every task");

/* ---- grids and sums -------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

size_t checkup_grid(int64_t max, int64_t grid[CHECKUP_MAX_GRID])
{
    static const int64_t paper[] = {1, 2, 6, 11, 51, 101, 501, 1001, 2001};
    int64_t all[2 * CHECKUP_MAX_GRID];
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < COUNT_OF(paper); i++) all[n++] = paper[i];
    for (int64_t x = 1; x <= 8; x++) all[n++] = x;
    for (int64_t x = 16; x <= 1024; x *= 2) all[n++] = x;
    for (int64_t x = 9; x < LONGEST; x += (x + 5) / 6) all[n++] = x;
    qsort(all, n, sizeof *all, by_value);
    for (size_t i = 0; i < n && kept < CHECKUP_MAX_GRID; i++)
        if (all[i] <= max && (!kept || grid[kept - 1] != all[i])) grid[kept++] = all[i];
    return kept;
}

uint32_t checkup_prompts_for(uint64_t budget, uint64_t fixed, uint64_t slope, uint32_t most)
{
    if (fixed > budget || most <= 1) return 1;
    if (!slope) return most;
    uint64_t further = (budget - fixed) / slope;
    return further >= most - 1 ? most : (uint32_t)further + 1;
}

uint64_t checkup_work_of(const struct task_cost *cost)
{
    return cost->prompt_tokens + cost->search_tokens + CHECKUP_GENERATED * cost->generated_tokens;
}

/* ---- collapse ------------------------------------------------------------------------------------------------------------------ */

bool checkup_can_read(const snellen_model *model, snellen_precision precision)
{
    snellen_session_options o = snellen_session_options_default();
    snellen_session_cost cost;
    o.precision = precision;
    return !snellen_session_cost_of(model, &o, &cost, NULL);
}

static void plan_collapses(struct checkup *c)
{
    struct checkup_plan *plan = &c->plan;
    bool full = c->options.full;
    plan->n_grid = checkup_grid(LONGEST, plan->grid);
    for (size_t i = 0; i < COUNT_OF(COLLAPSES); i++) {
        bool commas = !strcmp(COLLAPSES[i].sequence, "commas");
        int64_t max = full ? LONGEST : COLLAPSES[i].quick, room = c->info->n_context - WORDING_TOKENS;
        if (commas) room = room / 4 * 3;
        struct checkup_collapse *k = &plan->collapses[plan->n_collapses];
        *k = (struct checkup_collapse){.sequence = COLLAPSES[i].sequence, .precision = COLLAPSES[i].precision,
                                       .lengths = plan->grid};
        while (k->n_lengths < plan->n_grid && plan->grid[k->n_lengths] <= MIN(max, room)) k->n_lengths++;
        if (!k->n_lengths) continue; /* not in a quick exam, or a model with hardly any context */
        if (!checkup_can_read(c->model, k->precision)) continue;
        k->n_prompts = 1;
        bool ours = !strcmp(k->sequence, "alternate");
        if (full) k->n_prompts = k->precision == SNELLEN_F32 && !ours ? FULL_PROMPTS : FULL_OTHER_PROMPTS;
        int64_t longest = plan->grid[k->n_lengths - 1];
        k->tokens = k->n_prompts * (uint64_t)(COLLAPSE_PREFIX + longest + (commas ? longest / 3 : 0));
        plan->work += k->tokens;
        plan->n_collapses++;
    }
}

/* ---- retrieval ---------------------------------------------------------------------------------------------------------------- */

/* In a quick exam lists alone: all questions about one read it once. */
static snellen_status plan_retrieval(struct checkup *c, snellen_error *err)
{
    static const int64_t quick_lengths[] = {256, 1024}, full_lengths[] = {256, 512, 1024, 2048};
    static const double quick_depths[] = {0, 0.5, 1};
    enum { ANSWER_ROOM = 64 };
    struct checkup_retrieval *r = &c->plan.retrieval;
    bool full = c->options.full;
    snellen_retrieval_options o = snellen_retrieval_options_default(c->model);
    o.lengths = full ? full_lengths : quick_lengths;
    o.n_lengths = full ? COUNT_OF(full_lengths) : COUNT_OF(quick_lengths);
    while (o.n_lengths && o.lengths[o.n_lengths - 1] + ANSWER_ROOM > c->info->n_context) o.n_lengths--;
    if (!o.n_lengths) return SNELLEN_OK;
    if (!full) o.tasks = "list-index,list-content", o.depths = quick_depths, o.n_depths = COUNT_OF(quick_depths);
    if (!full) o.n_prompts = QUICK_RETRIEVAL_PROMPTS;
    if (c->options.n_prompts) o.n_prompts = c->options.n_prompts;
    o.written = full;
    o.chat = c->chat;
    o.seed = c->options.seed;
    o.session = c->options.session;
    o.session.n_context = 0;
    r->options = o;
    TRY(retrieval_plan(c->model, &o, &r->cost, err));
    c->plan.work += checkup_work_of(&r->cost);
    return SNELLEN_OK;
}

/* ---- tasks ------------------------------------------------------------------------------------------------------------------------ */

static void plan_tasks(struct checkup *c)
{
    for (size_t i = 0; i < COUNT_OF(TASKS); i++)
        c->plan.tasks[c->plan.n_tasks++] =
            (struct checkup_task){.task = TASKS[i].task, .style = TASKS[i].style, .cure = TASKS[i].cure};
}

/* Every step-th length of a task's grid and the last one, as far as the exam goes; where lengths are left out, as far as
 * the model has room. */
static snellen_status some_lengths(struct checkup *c, struct task_item *item, size_t step, snellen_error *err)
{
    snellen_task_info info;
    for (size_t t = 0; snellen_task_list(t, &info); t++) {
        if (strcmp(info.name, item->task)) continue;
        int64_t *lengths = arena_alloc(&c->arena, (info.n_lengths / step + 2) * sizeof *lengths);
        FAIL_IF(!lengths, SNELLEN_E_MEMORY, "plan: memory ran out");
        size_t n = 0, fits = info.n_lengths;
        /* A word or a summand may be two tokens; a model with less room is asked shorter questions. */
        while (fits && step > 1 && info.lengths[fits - 1] * 2 + 4 * WORDING_TOKENS > c->info->n_context) fits--;
        while (fits && !c->options.full && info.lengths[fits - 1] > QUICK_LONGEST) fits--;
        for (size_t i = 0; i < fits; i += step) lengths[n++] = info.lengths[i];
        if (n && lengths[n - 1] != info.lengths[fits - 1]) lengths[n++] = info.lengths[fits - 1];
        item->lengths = lengths;
        item->n_lengths = n;
    }
    return SNELLEN_OK;
}

/* Which lines of TASKS a batch asks, and how often. */
struct batch_form {
    const char *what;
    const char *family;       /* beginning of the task's name; "" = all */
    enum { ANY_ANSWER, SHORT_ANSWER, LONG_ANSWER } answer; /* long: styles that reason before they answer */
    uint32_t n_prompts, n_generate;
    /* PART_WRITTEN once more on the coarse grid: questions share their prefixes with the others of the batch. */
    uint32_t coarse_prompts, coarse_generate;
};

/* step: every so many lengths of the grid; 1 = all. */
static snellen_status add_item(struct checkup *c, struct checkup_batch *b, size_t task, uint32_t n_prompts,
                               uint32_t n_generate, size_t step, snellen_error *err)
{
    const struct checkup_task *t = &c->plan.tasks[task];
    struct task_item item = {.task = t->task, .style = t->style, .cure = b->read ? "" : t->cure, .n_prompts = n_prompts,
                             .n_generate = n_generate};
    bool some = step > 1 || !c->options.full;
    if (some) TRY(some_lengths(c, &item, step, err));
    if (!n_prompts || (some && !item.n_lengths)) return SNELLEN_OK;
    b->task_of[b->n_items] = task;
    b->items[b->n_items++] = item;
    return SNELLEN_OK;
}

static snellen_status start_batch(struct checkup *c, const char *what, const struct session_cure *read, struct checkup_batch **out,
                                  snellen_error *err)
{
    struct checkup_batch *b = &c->plan.batches[c->plan.n_batches];
    FAIL_IF(c->plan.n_batches == CHECKUP_MAX_BATCHES, SNELLEN_E_INTERNAL, "plan: more than %d batches", CHECKUP_MAX_BATCHES);
    *b = (struct checkup_batch){.what = what, .read = read};
    b->items = arena_alloc(&c->arena, 2 * COUNT_OF(TASKS) * sizeof *b->items);
    b->task_of = arena_alloc(&c->arena, 2 * COUNT_OF(TASKS) * sizeof *b->task_of);
    FAIL_IF(!b->items || !b->task_of, SNELLEN_E_MEMORY, "plan: memory ran out");
    *out = b;
    return SNELLEN_OK;
}

struct task_setting checkup_setting(const struct checkup *c, const struct checkup_batch *batch)
{
    struct task_setting setting = {.chat = c->chat, .seed = c->options.seed, .session = c->options.session};
    if (batch->read) batch->read->apply(c->model, &setting.session);
    return setting;
}

/* The cost of a batch is asked of the tasks; one without items (no length fits the model) is dropped. */
static snellen_status end_batch(struct checkup *c, struct checkup_batch *b, snellen_error *err)
{
    if (!b->n_items) return SNELLEN_OK;
    const struct task_setting setting = checkup_setting(c, b);
    TRY(tasks_plan(c->model, b->items, b->n_items, &setting, &b->cost, err));
    c->plan.work += checkup_work_of(&b->cost);
    c->plan.n_batches++;
    return SNELLEN_OK;
}

static size_t step_of(enum task_part part, bool full)
{
    if (full) return part == PART_FULL_COARSE ? COARSE_STEP : 1;
    return part == PART_COARSE ? COARSE_STEP : part == PART_SPARSE ? SPARSE_STEP : 1;
}

static snellen_status add_batch(struct checkup *c, const struct batch_form *form, snellen_error *err)
{
    struct checkup_batch *b;
    TRY(start_batch(c, form->what, NULL, &b, err));
    for (size_t i = 0; i < COUNT_OF(TASKS); i++) {
        bool is_long = strcmp(TASKS[i].style, "plain");
        if (strncmp(TASKS[i].task, form->family, strlen(form->family))) continue;
        bool only_full = TASKS[i].part == PART_FULL || TASKS[i].part == PART_FULL_COARSE;
        if (!c->options.full && only_full) continue;
        if (form->answer != ANY_ANSWER && (form->answer == LONG_ANSWER) != is_long) continue;
        uint32_t n_generate = TASKS[i].part == PART_WRITTEN || is_long ? form->n_generate : 0;
        TRY(add_item(c, b, i, form->n_prompts, n_generate, step_of(TASKS[i].part, c->options.full), err));
        if (TASKS[i].part != PART_WRITTEN) continue;
        TRY(add_item(c, b, i, form->coarse_prompts, form->coarse_generate, COARSE_STEP, err));
    }
    return end_batch(c, b, err);
}

/* The tasks of READ_OTHERWISE, plain, in a session that reads with a cure. */
static snellen_status add_session_cure(struct checkup *c, const struct session_cure *cure, uint32_t n_prompts, snellen_error *err)
{
    struct checkup_batch *b;
    snellen_session_options scratch = c->options.session;
    if (!cure->apply(c->model, &scratch)) return SNELLEN_OK;
    TRY(start_batch(c, cure->words, cure, &b, err));
    for (size_t i = 0; i < COUNT_OF(READ_OTHERWISE); i++) {
        if (!cure->short_texts && strncmp(READ_OTHERWISE[i], "copy", 4)) continue;
        size_t task = c->plan.n_tasks++;
        c->plan.tasks[task] = (struct checkup_task){.task = READ_OTHERWISE[i], .style = "plain", .cure = cure->name};
        TRY(add_item(c, b, task, n_prompts, 0, COARSE_STEP, err));
    }
    return end_batch(c, b, err);
}

static snellen_status plan_full(struct checkup *c, snellen_error *err)
{
    uint32_t n = c->options.n_prompts ? c->options.n_prompts : FULL_PROMPTS;
    const struct batch_form forms[] = {
        {.what = "copying", .family = "copy", .n_prompts = n, .n_generate = n},
        {.what = "counting", .family = "count", .answer = SHORT_ANSWER, .n_prompts = n, .n_generate = n},
        {.what = "counting with reasons", .family = "count", .answer = LONG_ANSWER, .n_prompts = n,
         .n_generate = MIN(n, FULL_LONG_ANSWERS)},
    };
    for (size_t i = 0; i < COUNT_OF(forms); i++) TRY(add_batch(c, &forms[i], err));
    const struct session_cure *cure;
    for (size_t i = 0; i < MOST_SESSION_CURES && (cure = session_cure_at(i)); i++) TRY(add_session_cure(c, cure, n, err));
    return SNELLEN_OK;
}

static snellen_status plan_quick(struct checkup *c, snellen_error *err)
{
    struct checkup_plan *plan = &c->plan;
    uint32_t n = MAX(1, c->options.n_prompts);
    const struct batch_form copy = {.what = "copying", .family = "copy", .n_prompts = n, .coarse_prompts = 1,
                                    .coarse_generate = 1};
    const struct batch_form count = {.what = "counting", .family = "count", .n_prompts = n, .coarse_prompts = 1,
                                     .coarse_generate = 1};
    TRY(add_batch(c, &copy, err));
    TRY(add_batch(c, &count, err));
    plan->coarse_prompts = n;
    if (c->options.n_prompts) return SNELLEN_OK;
    /* What one prompt on the coarse grid costs, and a second one; the rest of the budget says how many there are. */
    struct batch_form more = {.what = "further prompts", .family = "", .answer = SHORT_ANSWER};
    uint64_t before = plan->work, cost[2];
    size_t n_batches = plan->n_batches;
    for (uint32_t k = 0; k < 2; k++) {
        more.coarse_prompts = k + 1;
        TRY(add_batch(c, &more, err));
        cost[k] = plan->work - before;
        plan->work = before;
        plan->n_batches = n_batches;
    }
    more.coarse_prompts = checkup_prompts_for(c->options.budget, before + cost[0], cost[1] - MIN(cost[1], cost[0]),
                                              FULL_PROMPTS);
    plan->coarse_prompts = more.coarse_prompts;
    return more.coarse_prompts > 1 ? add_batch(c, &more, err) : SNELLEN_OK;
}

bool checkup_wants(const struct checkup *c, const char *part)
{
    return !c->options.only || !strcmp(c->options.only, part);
}

snellen_status checkup_plan(struct checkup *c, snellen_error *err)
{
    plan_collapses(c);
    plan_tasks(c);
    TRY(plan_retrieval(c, err));
    return c->options.full ? plan_full(c, err) : plan_quick(c, err);
}

void checkup_plan_free(struct checkup_plan *plan)
{
    for (size_t i = 0; i < plan->n_collapses; i++) snellen_collapse_free(plan->collapses[i].result);
    for (size_t i = 0; i < plan->n_tasks; i++) {
        free(plan->tasks[i].answers);
        mem_free(plan->tasks[i].score.cells);
    }
    snellen_retrieval_free(plan->retrieval.result);
    memset(plan, 0, sizeof *plan);
}
