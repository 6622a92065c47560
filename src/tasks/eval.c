/* Asks a model the questions of a plan: margins from the candidates' probabilities, answers by greedy generation.
 *
 * Invariant: `held` is what the session has read, so going on to another question can keep the common prefix and be
 * right whatever came before. Where the memory cannot go back (swa, sink), the session starts anew. */
#include "tasks/eval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SEARCH_WIDTH = 3, MAX_BRANCHES = 64 };
static const uint64_t branch_logit_bytes = 32 << 20;  /* at most, unless one row is larger */

struct asking {
    struct exam *exam;
    snellen_session *session;
    int64_t n_vocab;
    int32_t *held;              /* [capacity] */
    size_t n_held;
    float *logits;              /* [logit_rows, n_vocab] */
    int64_t *rows;              /* [logit_rows] */
    size_t logit_rows;
    struct answer_search searches[MAX_ANSWER_SETS];
    struct arena *texts;        /* of the answers */
    const snellen_progress *progress;
    uint64_t done, total;       /* units of work: tokens as planned */
    struct task_cost cost;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Progress within a call of the session and between questions: never past the plan. */
static bool step(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct asking *a = user;
    (void)what;
    (void)done;
    (void)total;
    return !a->progress || !a->progress->step ||
           a->progress->step(a->progress->user, "tokens", MIN(a->done, a->total), a->total);
}

static snellen_status advance(struct asking *a, uint64_t units, snellen_error *err)
{
    a->done += units;
    FAIL_IF(!step(a, "tokens", 0, 0), SNELLEN_E_CANCELLED, "stopped after %llu of %llu tokens of prompts",
            (unsigned long long)MIN(a->done, a->total), (unsigned long long)a->total);
    return SNELLEN_OK;
}

/* ---- the session's timeline -------------------------------------------------------------------------------------- */

/* Makes the session hold exactly tokens [n], and gives the logits of rows first .. n - 1 in a->logits (n > first). */
static snellen_status go_to(struct asking *a, const int32_t *tokens, size_t n, size_t first, uint64_t *counter,
                            snellen_error *err)
{
    size_t keep = MIN(common_prefix(a->held, a->n_held, tokens, n), first);
    if (snellen_session_truncate(a->session, (int64_t)keep, NULL)) {
        keep = 0;
        TRY(snellen_session_truncate(a->session, 0, err));
    }
    a->n_held = keep;
    for (size_t i = first; i < n; i++) a->rows[i - first] = (int64_t)(i - keep);
    snellen_outputs out = {.logits = a->logits, .rows = a->rows, .n_rows = n - first};
    bool last_only = n - first == 1;  /* the session computes that row anyway */
    TRY(snellen_session_feed(a->session, tokens + keep, n - keep, last_only ? NULL : &out, err));
    if (last_only) memcpy(a->logits, snellen_session_logits(a->session), (size_t)a->n_vocab * sizeof(float));
    memcpy(a->held + keep, tokens + keep, (n - keep) * sizeof *tokens);
    a->n_held = n;
    *counter += n - keep;
    return SNELLEN_OK;
}

static float *logit_row(const struct asking *a, size_t row)
{
    return a->logits + row * (size_t)a->n_vocab;
}

/* ---- margins ----------------------------------------------------------------------------------------------------- */

static struct answer_search *search_of(struct asking *a, const struct question *q)
{
    return &a->searches[q->set - a->exam->sets];
}

static void finish_margin(struct question *q, const struct answer_search *search)
{
    q->answer.margin = answer_search_margin(search, &q->answer.best_wrong);
    q->scored = true;
}

/* Logits behind nodes [n], by branches off the session or, where the memory has none, one path after the other. */
static snellen_status see_nodes(struct asking *a, const struct question *q, const int32_t *nodes, int32_t n,
                                snellen_error *err)
{
    struct answer_search *search = search_of(a, q);
    int32_t paths[SEARCH_WIDTH][ANSWER_MAX_DEPTH];
    snellen_branch branches[SEARCH_WIDTH];
    int64_t row = -1;
    for (int32_t i = 0; i < n; i++) {
        size_t n_path = (size_t)answer_set_path(q->set, nodes[i], paths[i]);
        branches[i] = (snellen_branch){.keep = (int64_t)q->n_tokens, .tokens = paths[i], .n_tokens = n_path};
        row += (int64_t)n_path;
        a->rows[i] = row;
    }
    if (a->exam->setting.session.memory == SNELLEN_MEMORY_FULL) {
        snellen_outputs out = {.logits = a->logits, .rows = a->rows, .n_rows = (size_t)n};
        TRY(snellen_session_branches(a->session, branches, (size_t)n, &out, err));
        for (int32_t i = 0; i < n; i++) answer_search_see(search, nodes[i], logit_row(a, (size_t)i));
        a->cost.search_tokens += (uint64_t)row + 1;
        return SNELLEN_OK;
    }
    for (int32_t i = 0; i < n; i++) {
        size_t end = q->n_tokens + branches[i].n_tokens;
        memcpy(q->tokens + q->n_tokens, paths[i], branches[i].n_tokens * sizeof **paths);
        TRY(go_to(a, q->tokens, end, end - 1, &a->cost.search_tokens, err));
        answer_search_see(search, nodes[i], logit_row(a, 0));
    }
    return SNELLEN_OK;
}

/* Feeds the question with the right answer's path behind it, then looks for the best wrong answer. */
static snellen_status ask_margin(struct asking *a, struct question *q, snellen_error *err)
{
    struct answer_search *search = search_of(a, q);
    int32_t path[ANSWER_MAX_DEPTH], nodes[ANSWER_MAX_DEPTH + 1], node = q->set->node_of[q->answer.expected];
    size_t n_path = (size_t)answer_set_path(q->set, node, path);
    if (!q->set->closed) n_path--;  /* nothing is asked behind the last token */
    for (int32_t at = node; at >= 0; at = q->set->nodes[at].parent) nodes[q->set->nodes[at].depth] = at;
    memcpy(q->tokens + q->n_tokens, path, n_path * sizeof *path);  /* where tokenize_framed() found it */
    double start = seconds();
    TRY(go_to(a, q->tokens, q->n_tokens + n_path, q->n_tokens - 1, &a->cost.prompt_tokens, err));
    double fed = seconds();
    a->cost.prompt_seconds += fed - start;
    answer_search_start(search, q->answer.expected, q->limit);
    for (size_t i = 0; i <= n_path; i++) answer_search_see(search, nodes[i], logit_row(a, i));
    for (int32_t n; (n = answer_search_wants(search, nodes, SEARCH_WIDTH)) > 0;) TRY(see_nodes(a, q, nodes, n, err));
    a->cost.search_seconds += seconds() - fed;
    finish_margin(q, search);
    return SNELLEN_OK;
}

/* The margin of a question that one row of logits decides. */
static void single_margin(struct asking *a, struct question *q, const float *logits)
{
    struct answer_search *search = search_of(a, q);
    answer_search_start(search, q->answer.expected, q->limit);
    answer_search_see(search, 0, logits);
    finish_margin(q, search);
}

/* Some of a group's branches, as many as logits fit. */
static snellen_status ask_branches(struct asking *a, const struct question *spine, const size_t *indices, size_t n,
                                   snellen_error *err)
{
    snellen_branch branches[MAX_BRANCHES];
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++) {
        const struct question *q = &a->exam->questions[indices[i]];
        size_t keep = MIN(common_prefix(spine->tokens, spine->n_tokens, q->tokens, q->n_tokens), q->n_tokens - 1);
        branches[i] = (snellen_branch){.keep = (int64_t)keep, .tokens = q->tokens + keep,
                                       .n_tokens = q->n_tokens - keep};
        total += branches[i].n_tokens;
        a->rows[i] = (int64_t)total - 1;
    }
    snellen_outputs out = {.logits = a->logits, .rows = a->rows, .n_rows = n};
    TRY(snellen_session_branches(a->session, branches, n, &out, err));
    a->cost.prompt_tokens += total;
    for (size_t i = 0; i < n; i++) single_margin(a, &a->exam->questions[indices[i]], logit_row(a, i));
    return advance(a, total, err);
}

static bool is_known(const struct exam *exam, const struct question_group *g)
{
    size_t i = 0;
    while (i < g->n && exam->questions[exam->branches[g->first + i]].scored) i++;
    return i == g->n && exam->questions[g->spine].scored;
}

static snellen_status ask_group(struct asking *a, const struct question_group *g, snellen_error *err)
{
    if (is_known(a->exam, g)) return advance(a, g->n_tokens, err);
    struct question *spine = &a->exam->questions[g->spine];
    double start = seconds();
    uint64_t before = a->cost.prompt_tokens;
    TRY(go_to(a, spine->tokens, spine->n_tokens, spine->n_tokens - 1, &a->cost.prompt_tokens, err));
    single_margin(a, spine, a->logits);
    TRY(advance(a, a->cost.prompt_tokens - before, err));
    for (size_t i = 0; i < g->n;) {
        size_t n = MIN(g->n - i, a->logit_rows);
        TRY(ask_branches(a, spine, a->exam->branches + g->first + i, n, err));
        i += n;
    }
    a->cost.prompt_seconds += seconds() - start;
    return SNELLEN_OK;
}

/* ---- generated answers ------------------------------------------------------------------------------------------- */

/* Writes tokens until one ends the answer, the number after the frame is complete, or max_new are written. */
static snellen_status write_answer(struct asking *a, struct question *q, struct strbuf *text, snellen_error *err)
{
    enum number_state state = NUMBER_NONE;
    for (uint32_t i = 0; i < q->max_new; i++) {
        int32_t token = likeliest(a->logits, a->n_vocab);
        a->cost.generated_tokens++;
        if (snellen_token_ends(a->exam->model, token)) break;
        size_t n;
        const char *bytes = snellen_token_bytes(a->exam->model, token, &n);
        if (bytes && strcmp(snellen_token_kind(a->exam->model, token), "special"))
            for (size_t j = 0; j < n; j++) strbuf_put(text, bytes[j] ? bytes + j : " ", 1);
        state = text->text ? number_in_answer(text->text, q->set->frame, &q->answer.got) : NUMBER_NONE;
        if (state == NUMBER_FINAL || i + 1 == q->max_new) break;
        TRY(snellen_session_feed(a->session, &token, 1, NULL, err));
        memcpy(a->logits, snellen_session_logits(a->session), (size_t)a->n_vocab * sizeof(float));
        a->held[a->n_held++] = token;
    }
    q->answer.parsed = state != NUMBER_NONE;
    return SNELLEN_OK;
}

static snellen_status ask_in_words(struct asking *a, struct question *q, snellen_error *err)
{
    struct strbuf text = {0};
    double start = seconds();
    TRY(go_to(a, q->asked, q->n_asked, q->n_asked - 1, &a->cost.prompt_tokens, err));
    double asked = seconds();
    a->cost.prompt_seconds += asked - start;
    snellen_status status = write_answer(a, q, &text, err);
    a->cost.generate_seconds += seconds() - asked;
    if (!status) {
        q->answer.text = arena_text(a->texts, text.text ? text.text : "", text.n);
        q->answer.generated = true;
        if (text.failed || !q->answer.text) status = error_set(err, SNELLEN_E_MEMORY, "answers: memory ran out");
    }
    strbuf_free(&text);
    return status;
}

static snellen_status ask_alone(struct asking *a, struct question *q, snellen_error *err)
{
    uint64_t before = a->cost.prompt_tokens;
    if (q->asked) TRY(ask_in_words(a, q, err));
    if (!q->scored) TRY(ask_margin(a, q, err));
    return advance(a, a->cost.prompt_tokens - before + (q->asked ? q->max_new : 0), err);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static snellen_status asking_start(struct asking *a, snellen_error *err)
{
    struct exam *exam = a->exam;
    size_t longest = 0;
    a->n_vocab = snellen_model_get_info(exam->model)->n_vocab;
    a->total = exam->plan.prompt_tokens + exam->plan.generated_tokens;
    uint64_t row_bytes = (uint64_t)a->n_vocab * sizeof(float);
    a->logit_rows = (size_t)MAX(MIN(branch_logit_bytes / row_bytes, MAX_BRANCHES), ANSWER_MAX_DEPTH + 1);
    for (size_t i = 0; i < exam->n_questions; i++) {
        const struct question *q = &exam->questions[i];
        longest = MAX(longest, MAX(q->n_tokens + ANSWER_MAX_DEPTH, q->n_asked + q->max_new));
    }
    TRY(NEW_ARRAY(&a->held, longest, "tokens", err));
    TRY(NEW_ARRAY(&a->logits, a->logit_rows * (size_t)a->n_vocab, "logits", err));
    TRY(NEW_ARRAY(&a->rows, a->logit_rows, "rows", err));
    for (size_t i = 0; i < exam->n_sets; i++) TRY(answer_search_new(&a->searches[i], &exam->sets[i], err));
    TRY(snellen_session_new(exam->model, &exam->setting.session, &a->session, err));
    const snellen_progress progress = {.step = step, .user = a};
    snellen_session_set_progress(a->session, &progress);
    return SNELLEN_OK;
}

static snellen_status ask_everything(struct asking *a, snellen_error *err)
{
    struct exam *exam = a->exam;
    TRY(asking_start(a, err));
    for (size_t i = 0; i < exam->n_groups; i++) TRY(ask_group(a, &exam->groups[i], err));
    for (size_t i = 0; i < exam->n_alone; i++) TRY(ask_alone(a, &exam->questions[exam->alone[i]], err));
    return SNELLEN_OK;
}

static void asking_free(struct asking *a)
{
    snellen_session_free(a->session);
    mem_free(a->held);
    mem_free(a->logits);
    mem_free(a->rows);
    for (size_t i = 0; i < COUNT_OF(a->searches); i++) answer_search_free(&a->searches[i]);
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

/* A result with what it owns. */
struct owned_result {
    snellen_task_result result;  /* first: the two share their address */
    struct arena texts;
};

void snellen_task_result_free(snellen_task_result *result)
{
    if (!result) return;
    struct owned_result *owned = (struct owned_result *)result;
    mem_free(result->answers);
    mem_free(result->cells);
    arena_free(&owned->texts);
    mem_free(owned);
}

static snellen_status collect(const struct exam *exam, size_t item, snellen_task_result **result, snellen_error *err)
{
    struct owned_result *owned;
    size_t n = 0;
    TRY(NEW_ARRAY(&owned, 1, "results", err));
    snellen_task_result *r = *result = &owned->result;
    for (size_t i = 0; i < exam->n_questions; i++)
        n += exam->questions[i].item == item && exam->questions[i].scored;
    TRY(NEW_ARRAY(&r->answers, n, "answers", err));
    for (size_t i = 0; i < exam->n_questions; i++) {
        const struct question *q = &exam->questions[i];
        if (q->item != item || !q->scored) continue;
        snellen_answer *answer = &r->answers[r->n_answers++];
        *answer = q->answer;
        answer->text = arena_text(&owned->texts, q->answer.text, strlen(q->answer.text));
        FAIL_IF(!answer->text, SNELLEN_E_MEMORY, "answers: memory ran out");
    }
    return score_cells(r, err);
}

snellen_status tasks_eval(const snellen_model *model, const struct task_item *items, size_t n_items,
                          const struct task_setting *setting, const snellen_progress *progress,
                          snellen_task_result **results, struct task_cost *cost, snellen_error *err)
{
    for (size_t i = 0; i < n_items; i++) results[i] = NULL;
    struct exam exam = {.model = model, .items = items, .n_items = n_items, .setting = *setting};
    struct arena texts = {0};
    struct asking asking = {.exam = &exam, .texts = &texts, .progress = progress};
    snellen_status status = exam_prepare(&exam, err), collected = SNELLEN_OK;
    if (!status) status = ask_everything(&asking, err);
    if (!status || status == SNELLEN_E_CANCELLED) {
        for (size_t i = 0; i < n_items && !collected; i++) collected = collect(&exam, i, &results[i], err);
        for (size_t i = 0; i < n_items && collected; i++) {
            snellen_task_result_free(results[i]);
            results[i] = NULL;
        }
        asking.cost.n_questions = exam.n_questions;
        if (cost) *cost = asking.cost;
    }
    asking_free(&asking);
    arena_free(&texts);
    exam_free(&exam);
    return collected ? collected : status;
}

snellen_status tasks_plan(const snellen_model *model, const struct task_item *items, size_t n_items,
                          const struct task_setting *setting, struct task_cost *cost, snellen_error *err)
{
    struct exam exam = {.model = model, .items = items, .n_items = n_items, .setting = *setting};
    snellen_status status = exam_prepare(&exam, err);
    if (!status) *cost = exam.plan;
    exam_free(&exam);
    return status;
}
