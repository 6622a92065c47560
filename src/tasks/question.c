/* Questions: the items of a call become prompts, prompts become tokens, and a plan says in which order they are asked
 * so that what they have in common is read once.
 *
 * The plan looks at tokens only, so it is right whatever the tokenizer joins. Questions whose answer is decided by
 * one row of logits are grouped: the longest is fed, the others branch off it (QUESTION_BRANCH tokens at most). All
 * others, and those that are to be answered in words, are sorted by their tokens and asked one after the other; the
 * session goes back to the common prefix each time, which walks the tree of all prompts and reads each of its edges
 * once. */
#include "tasks/eval.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPTS = 10000 };

size_t common_prefix(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t n = 0, end = MIN(n_a, n_b);
    while (n < end && a[n] == b[n]) n++;
    return n;
}

unsigned task_token_flags(bool chat)
{
    return chat ? SNELLEN_SPECIAL : SNELLEN_BOS;
}

/* ---- items ------------------------------------------------------------------------------------------------------- */

static int compare_lengths(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The lengths of an item, ascending, each once. */
static snellen_status lengths_of(struct exam *exam, const struct task_item *item, const struct task *task,
                                 const int64_t **lengths, size_t *n, snellen_error *err)
{
    *lengths = task->info.lengths;
    *n = task->info.n_lengths;
    if (!item->lengths) return SNELLEN_OK;
    FAIL_IF(!item->n_lengths, SNELLEN_E_USAGE, "task %s: no lengths are given", task->info.name);
    int64_t *own = arena_alloc(&exam->arena, item->n_lengths * sizeof *own);
    FAIL_IF(!own, SNELLEN_E_MEMORY, "lengths: memory ran out");
    memcpy(own, item->lengths, item->n_lengths * sizeof *own);
    qsort(own, item->n_lengths, sizeof *own, compare_lengths);
    *n = 0;
    for (size_t i = 0; i < item->n_lengths; i++) {
        FAIL_IF(own[i] < 1 || own[i] > TASK_MAX_LENGTH, SNELLEN_E_USAGE, "task %s: length %lld, 1 to %d expected",
                task->info.name, (long long)own[i], TASK_MAX_LENGTH);
        if (!*n || own[i] != own[*n - 1]) own[(*n)++] = own[i];
    }
    *lengths = own;
    return SNELLEN_OK;
}

static snellen_status check_counts(const struct task_item *item, const struct task *task, snellen_error *err)
{
    uint32_t most = MIN(task->info.n_prompts, (uint32_t)MAX_PROMPTS);
    FAIL_IF(item->n_prompts < 1 || item->n_prompts > most, SNELLEN_E_USAGE,
            "task %s: %u prompts a length, 1 to %u expected (so many different ones there are)", task->info.name,
            item->n_prompts, most);
    FAIL_IF(item->n_generate > item->n_prompts, SNELLEN_E_USAGE,
            "task %s: %u answers of %u prompts cannot be generated", task->info.name, item->n_generate,
            item->n_prompts);
    return SNELLEN_OK;
}

/* Candidates that a task needs: one set for all tasks with the same frame, as large as the largest asks. */
static snellen_status want_set(struct exam *exam, const struct task *task, int64_t max_answer, snellen_error *err)
{
    struct answer_set *set = exam->sets, *end = exam->sets + exam->n_sets;
    while (set < end && (set->closed != task->closed || strcmp(set->frame, task->info.frame))) set++;
    FAIL_IF(set == exam->sets + MAX_ANSWER_SETS, SNELLEN_E_INTERNAL, "more than %d frames of answers", MAX_ANSWER_SETS);
    if (set == end) {
        *set = (struct answer_set){.frame = task->info.frame, .closed = task->closed};
        exam->n_sets++;
    }
    set->max_answer = MAX(set->max_answer, max_answer);
    return SNELLEN_OK;
}

static const struct answer_set *set_of(const struct exam *exam, const struct task *task)
{
    const struct answer_set *set = exam->sets;
    while (set->closed != task->closed || strcmp(set->frame, task->info.frame)) set++;
    return set;
}

static snellen_status prepare_sets(struct exam *exam, snellen_error *err)
{
    for (size_t i = 0; i < exam->n_items; i++) {
        const struct task_item *item = &exam->items[i];
        const struct task *task;
        struct task_form form;
        const int64_t *lengths;
        size_t n;
        TRY(task_find(item->task, &task, err));
        TRY(task_form_set(task, item->style, item->cure, &form, err));
        TRY(lengths_of(exam, item, task, &lengths, &n, err));
        TRY(check_counts(item, task, err));
        TRY(want_set(exam, task, task->max_answer(lengths[n - 1]), err));
    }
    for (size_t i = 0; i < exam->n_sets; i++)
        TRY(answer_set_build(&exam->sets[i], exam->model, exam->setting.chat, err));
    return SNELLEN_OK;
}

/* ---- prompts to tokens ------------------------------------------------------------------------------------------- */

/* *tokens has room for a candidate's path behind them. */
static snellen_status tokenize(struct exam *exam, const char *text, int32_t **tokens, size_t *n, snellen_error *err)
{
    int32_t *ids;
    TRY(snellen_tokenize(exam->model, text, strlen(text), task_token_flags(exam->setting.chat), &ids, n, err));
    *tokens = arena_alloc(&exam->arena, (*n + ANSWER_MAX_DEPTH) * sizeof *ids);
    if (*tokens && *n) memcpy(*tokens, ids, *n * sizeof *ids);
    snellen_free(ids);
    FAIL_IF(!*tokens, SNELLEN_E_MEMORY, "prompts: memory ran out");
    return SNELLEN_OK;
}

/* The prompt as the model is given it, up to where its answer begins. *opened is handed over. */
static snellen_status open_prompt(struct exam *exam, const char *prompt, char **opened, snellen_error *err)
{
    if (exam->setting.chat) {
        const snellen_message message = {.role = "user", .content = prompt};
        return snellen_chat_format(exam->model, &message, 1, true, opened, err);
    }
    struct strbuf b = {0};
    strbuf_printf(&b, "%s\n", prompt);
    return strbuf_take(&b, opened, NULL, err);
}

/* Tokens with frame: those of the text with the right answer, without that answer's path. */
static snellen_status tokenize_framed(struct exam *exam, struct question *q, const char *opened, snellen_error *err)
{
    int32_t path[ANSWER_MAX_DEPTH];
    struct strbuf b = {0};
    char *text;
    strbuf_printf(&b, "%s%s%lld", opened, q->set->frame, (long long)q->answer.expected);
    TRY(strbuf_take(&b, &text, NULL, err));
    snellen_status status = tokenize(exam, text, &q->tokens, &q->n_tokens, err);
    snellen_free(text);
    TRY(status);
    size_t n = (size_t)answer_set_path(q->set, q->set->node_of[q->answer.expected], path);
    FAIL_IF(q->n_tokens <= n || memcmp(q->tokens + q->n_tokens - n, path, n * sizeof *path), SNELLEN_E_UNSUPPORTED,
            "the tokenizer joins the answer %lld with what stands before it", (long long)q->answer.expected);
    q->n_tokens -= n;
    q->answer.n_tokens = (uint32_t)q->n_tokens;
    return SNELLEN_OK;
}

static snellen_status write_question(struct exam *exam, struct question *q, const struct task *task,
                                     const struct task_form *form, bool generate, snellen_error *err)
{
    struct strbuf b = {0};
    char *prompt, *opened;
    q->answer = (snellen_answer){.length = form->length, .prompt = form->prompt, .best_wrong = -1, .text = ""};
    q->answer.expected = task->write(task, form, &b);
    q->set = set_of(exam, task);
    q->limit = task->max_answer(form->length);
    TRY(strbuf_take(&b, &prompt, NULL, err));
    snellen_status status = open_prompt(exam, prompt, &opened, err);
    snellen_free(prompt);
    TRY(status);
    status = tokenize_framed(exam, q, opened, err);
    if (!status && generate) status = tokenize(exam, opened, &q->asked, &q->n_asked, err);
    snellen_free(opened);
    return status;
}

/* Most tokens that the session holds while the question is asked; the right answer's path and one that branches off. */
static size_t tokens_needed(const struct question *q)
{
    return MAX(q->n_tokens + 2 * (size_t)q->set->depth, q->asked ? q->n_asked + q->max_new : 0);
}

/* Tokens that a session of these options can be fed; INT64_MAX = without end. */
static int64_t context_limit(const struct exam *exam)
{
    const snellen_model_info *info = snellen_model_get_info(exam->model);
    const snellen_session_options *o = &exam->setting.session;
    if (o->memory == SNELLEN_MEMORY_FULL) return o->n_context ? o->n_context : info->n_context;
    return strcmp(info->positions, "learned") ? INT64_MAX : info->n_context;
}

static snellen_status grow_questions(struct exam *exam, size_t n, snellen_error *err)
{
    if (exam->n_questions + n <= exam->questions_room) return SNELLEN_OK;
    size_t room = MAX(exam->n_questions + n, 2 * exam->questions_room);
    struct question *grown;
    TRY(NEW_ARRAY(&grown, room, "questions", err));
    if (exam->n_questions) memcpy(grown, exam->questions, exam->n_questions * sizeof *grown);
    mem_free(exam->questions);
    exam->questions = grown;
    exam->questions_room = room;
    return SNELLEN_OK;
}

/* What was answered before. */
static void recall_answer(struct question *q, const struct task_item *item)
{
    const snellen_answer *k = item->n_known ? bsearch(&q->answer, item->known, item->n_known, sizeof *k, answers_in_order) : NULL;
    if (!k) return;
    q->answer.margin = k->margin;
    q->answer.best_wrong = k->best_wrong;
    q->scored = true;
    if (!k->generated || !q->asked) return;
    q->answer.generated = true;
    q->answer.parsed = k->parsed;
    q->answer.got = k->got;
    if (k->text) q->answer.text = k->text;
    q->asked = NULL;
}

/* All prompts of one length. *fits is false, and they are not kept, when one is longer than the context. */
static snellen_status write_cell(struct exam *exam, size_t item_index, const struct task *task, struct task_form *form,
                                 bool *fits, snellen_error *err)
{
    const struct task_item *item = &exam->items[item_index];
    int64_t limit = context_limit(exam);
    size_t before = exam->n_questions;
    TRY(grow_questions(exam, item->n_prompts, err));
    for (uint32_t p = 0; p < item->n_prompts; p++) {
        struct question *q = &exam->questions[exam->n_questions++];
        *q = (struct question){.item = item_index};
        q->max_new = item->max_new ? item->max_new : task_max_new(form->style);
        form->prompt = p;
        TRY(write_question(exam, q, task, form, p < item->n_generate, err));
        recall_answer(q, item);
        *fits = tokens_needed(q) <= (uint64_t)limit;
        if (*fits) continue;
        exam->n_questions = before;
        FAIL_IF(item->lengths, SNELLEN_E_CONTEXT,
                "task %s: length %lld takes %zu tokens, the context holds %lld; shorter lengths, or a larger context "
                "(--context N) where the model's positions allow it", task->info.name, (long long)form->length,
                tokens_needed(q), (long long)limit);
        return SNELLEN_OK;
    }
    return SNELLEN_OK;
}

static snellen_status write_item(struct exam *exam, size_t item_index, snellen_error *err)
{
    const struct task_item *item = &exam->items[item_index];
    const struct task *task;
    const int64_t *lengths;
    size_t n_lengths, before = exam->n_questions;
    struct task_form form = {.seed = exam->setting.seed};
    bool fits = true;
    TRY(task_find(item->task, &task, err));
    TRY(task_form_set(task, item->style, item->cure, &form, err));
    TRY(lengths_of(exam, item, task, &lengths, &n_lengths, err));
    for (size_t i = 0; i < n_lengths && fits; i++) {
        form.length = lengths[i];
        TRY(write_cell(exam, item_index, task, &form, &fits, err));
    }
    FAIL_IF(exam->n_questions == before, SNELLEN_E_CONTEXT,
            "task %s: not even length %lld fits the context of %lld tokens", task->info.name, (long long)lengths[0],
            (long long)context_limit(exam));
    return SNELLEN_OK;
}

/* ---- the plan ---------------------------------------------------------------------------------------------------- */

static int compare_tokens(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    size_t n = common_prefix(a, n_a, b, n_b);
    if (n == n_a || n == n_b) return (n_a > n_b) - (n_a < n_b);
    return a[n] < b[n] ? -1 : 1;
}

static int compare_questions(const void *a, const void *b, void *user)
{
    const struct question *all = user;
    size_t i = *(const size_t *)a, j = *(const size_t *)b;
    int order = compare_tokens(all[i].tokens, all[i].n_tokens, all[j].tokens, all[j].n_tokens);
    return order ? order : (i > j) - (i < j);
}

/* The session's room allows this branch off this spine, and it is short enough to be worth it. */
static bool may_branch(const struct exam *exam, const struct question *spine, const struct question *q, size_t *n)
{
    const snellen_session_options *o = &exam->setting.session;
    size_t keep = common_prefix(spine->tokens, spine->n_tokens, q->tokens, q->n_tokens);
    *n = q->n_tokens - MIN(keep, q->n_tokens - 1);
    if (*n > QUESTION_BRANCH) return false;
    return !o->chunk || *n <= (size_t)o->chunk || spine->n_tokens + *n <= (uint64_t)o->n_context;
}

/* Takes the group of the longest question of `left` [*n_left] out of it. */
static void take_group(struct exam *exam, size_t *left, size_t *n_left)
{
    const struct question *all = exam->questions;
    struct question_group *g = &exam->groups[exam->n_groups++];
    size_t longest = 0, kept = 0;
    for (size_t i = 1; i < *n_left; i++)
        if (all[left[i]].n_tokens > all[left[longest]].n_tokens) longest = i;
    g->spine = left[longest];
    g->first = exam->n_branches;
    for (size_t i = 0; i < *n_left; i++) {
        size_t n;
        if (i == longest) continue;
        if (may_branch(exam, &all[g->spine], &all[left[i]], &n)) {
            exam->branches[exam->n_branches++] = left[i];
            g->n_tokens += n;
        } else {
            left[kept++] = left[i];
        }
    }
    g->n = exam->n_branches - g->first;
    *n_left = kept;
}

/* Tokens of b that a, fed just before, does not begin with. */
static size_t tokens_after(const struct question *a, const struct question *b)
{
    return b->n_tokens - common_prefix(a->tokens, a->n_tokens, b->tokens, b->n_tokens);
}

static snellen_status make_plan(struct exam *exam, snellen_error *err)
{
    static const struct question nothing;
    size_t n = exam->n_questions, n_left = 0;
    size_t *left;
    TRY(NEW_ARRAY(&exam->groups, n, "plan", err));
    TRY(NEW_ARRAY(&exam->branches, n, "plan", err));
    TRY(NEW_ARRAY(&exam->alone, n, "plan", err));
    TRY(NEW_ARRAY(&left, n, "plan", err));
    for (size_t i = 0; i < n; i++) {
        const struct question *q = &exam->questions[i];
        bool grouped = exam->setting.session.memory == SNELLEN_MEMORY_FULL && answer_set_single(q->set);
        if (grouped) left[n_left++] = i;   /* those that are known, too: the others are then asked as if nothing was known */
        if ((!grouped && !q->scored) || q->asked) exam->alone[exam->n_alone++] = i;
        if (q->asked) exam->plan.generated_tokens += q->max_new;
    }
    const struct question *previous = &nothing;
    while (n_left) {
        take_group(exam, left, &n_left);
        struct question_group *g = &exam->groups[exam->n_groups - 1];
        g->n_tokens += tokens_after(previous, &exam->questions[g->spine]);
        exam->plan.prompt_tokens += g->n_tokens;
        previous = &exam->questions[g->spine];
    }
    mem_free(left);
    qsort_r(exam->alone, exam->n_alone, sizeof *exam->alone, compare_questions, exam->questions);
    for (size_t i = 0; i < exam->n_alone; i++) {
        const struct question *q = &exam->questions[exam->alone[i]];
        exam->plan.prompt_tokens += tokens_after(previous, q);
        previous = q;
    }
    exam->plan.n_questions = n;
    return SNELLEN_OK;
}

/* A session as large as needed, where the caller left it open. */
static void resolve_context(struct exam *exam)
{
    int64_t limit = context_limit(exam), needed = 0;
    if (exam->setting.session.memory != SNELLEN_MEMORY_FULL || exam->setting.session.n_context) return;
    for (size_t i = 0; i < exam->n_questions; i++) needed = MAX(needed, (int64_t)tokens_needed(&exam->questions[i]));
    exam->setting.session.n_context = MIN(needed + QUESTION_BRANCH, limit);
}

snellen_status exam_prepare(struct exam *exam, snellen_error *err)
{
    FAIL_IF(!exam->n_items, SNELLEN_E_USAGE, "no task is given");
    TRY(prepare_sets(exam, err));
    for (size_t i = 0; i < exam->n_items; i++) TRY(write_item(exam, i, err));
    resolve_context(exam);
    return make_plan(exam, err);
}

void exam_free(struct exam *exam)
{
    for (size_t i = 0; i < exam->n_sets; i++) answer_set_free(&exam->sets[i]);
    mem_free(exam->questions);
    mem_free(exam->groups);
    mem_free(exam->branches);
    mem_free(exam->alone);
    arena_free(&exam->arena);
}
