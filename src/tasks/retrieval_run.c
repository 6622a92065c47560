/* Asks the questions of the probe of retrieval: lengths, prompts, and of each prompt all tasks and depths, so that filler and
 * list in common are read once. Counts cells and effective lengths.
 *
 * Invariant: `held` is what the session has read. */
#include "tasks/retrieval.h"

#include <math.h>
#include <string.h>

enum { MAX_NEW = 32, MAX_PROMPTS = 10000, MAX_CONTEXT = 1 << 24, DEFAULT_PROMPTS = 4 };

static const int64_t usual_lengths[] = {256, 512, 1024, 2048};
static const double usual_depths[] = {0, 0.25, 0.5, 0.75, 1};
static const double chance = 1.0 / SNELLEN_RETRIEVAL_ANSWERS;

/* A result with what it owns. */
struct owned_retrieval {
    snellen_retrieval_result result;   /* first: the two share their address */
    struct arena texts;
};

struct finding {
    const snellen_retrieval_options *options;
    const snellen_progress *progress;
    struct retrieval_maker maker;
    bool wanted[RETRIEVAL_TASKS];
    enum retrieval_task tasks[RETRIEVAL_TASKS];   /* [n_tasks] in the order asked for */
    size_t n_tasks;
    const int64_t *lengths;
    const double *depths;
    size_t n_lengths, n_depths;
    snellen_session *session;
    int32_t *held;             /* [longest + room] */
    size_t n_held;
    uint64_t done, planned;    /* tokens of questions */
    bool *asked;               /* [answers planned] */
    struct owned_retrieval *owned;
};

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

static snellen_status choose_tasks(struct finding *f, snellen_error *err)
{
    const char *list = f->options->tasks;
    if (!list) list = "passkey,needle,list-index,list-content";
    for (const char *p = list;; p++) {
        size_t n = strcspn(p, ",");
        int task = 0;
        while (task < RETRIEVAL_TASKS && (strlen(retrieval_names[task]) != n || strncmp(retrieval_names[task], p, n))) task++;
        FAIL_IF(task == RETRIEVAL_TASKS, SNELLEN_E_USAGE, "task '%.*s': passkey, needle, list-index or list-content expected",
                (int)MIN(n, 100), p);
        if (!f->wanted[task]) f->tasks[f->n_tasks++] = (enum retrieval_task)task;
        f->wanted[task] = true;
        p += n;
        if (!*p) return SNELLEN_OK;
    }
}

/* Tokens that a session of these options can be fed; what was asked for may go beyond what the model was made for. */
static int64_t context_limit(const struct finding *f)
{
    const snellen_model_info *info = snellen_model_get_info(f->maker.model);
    bool ends = !strcmp(info->positions, "learned");
    if (f->options->session.n_context) return f->options->session.n_context;
    return ends || !f->options->lengths ? info->n_context : MAX_CONTEXT;
}

/* What stands behind a question: the answers' tails, and what is written. */
static int64_t room_behind(const struct finding *f)
{
    return f->options->written ? MAX_NEW : 2 * ANSWER_MAX_DEPTH;
}

static snellen_status choose_lengths(struct finding *f, snellen_error *err)
{
    bool own = !f->options->lengths;
    int64_t limit = context_limit(f) - room_behind(f);
    f->lengths = own ? usual_lengths : f->options->lengths;
    f->n_lengths = own ? COUNT_OF(usual_lengths) : f->options->n_lengths;
    FAIL_IF(!f->n_lengths, SNELLEN_E_USAGE, "no length is given");
    for (size_t i = 0; i < f->n_lengths; i++) {
        if (own && i && f->lengths[i] > limit) f->n_lengths = i;
        if (i >= f->n_lengths) break;
        FAIL_IF(f->lengths[i] > limit, SNELLEN_E_CONTEXT, "length is %lld tokens, the context holds %lld and needs %lld of them for "
                "the answer", (long long)f->lengths[i], (long long)context_limit(f), (long long)room_behind(f));
        FAIL_IF(f->lengths[i] < 1 || (i && f->lengths[i] <= f->lengths[i - 1]), SNELLEN_E_USAGE,
                "length is %lld after %lld, ascending numbers expected", (long long)f->lengths[i],
                i ? (long long)f->lengths[i - 1] : 0);
    }
    return SNELLEN_OK;
}

static snellen_status choose_depths(struct finding *f, snellen_error *err)
{
    f->depths = f->options->depths ? f->options->depths : usual_depths;
    f->n_depths = f->options->depths ? f->options->n_depths : COUNT_OF(usual_depths);
    FAIL_IF(!f->n_depths || f->n_depths > SNELLEN_RETRIEVAL_MAX_DEPTHS, SNELLEN_E_USAGE, "%zu depths, 1 to %d expected", f->n_depths,
            SNELLEN_RETRIEVAL_MAX_DEPTHS);
    for (size_t i = 0; i < f->n_depths; i++)
        FAIL_IF(!(f->depths[i] >= 0 && f->depths[i] <= 1) || (i && f->depths[i] <= f->depths[i - 1]), SNELLEN_E_USAGE,
                "depth is %g, ascending numbers from 0 to 1 expected", f->depths[i]);
    return SNELLEN_OK;
}

/* Checks the options; nothing is asked and nothing allocated yet. */
static snellen_status choose(struct finding *f, snellen_error *err)
{
    const snellen_retrieval_options *o = f->options;
    const snellen_model_info *info = snellen_model_get_info(f->maker.model);
    FAIL_IF(!info->has_tokenizer, SNELLEN_E_UNSUPPORTED, "retrieval is asked in words and needs a tokenizer: %s",
            info->no_tokenizer ? info->no_tokenizer : "the model has none");
    FAIL_IF(o->session.memory != SNELLEN_MEMORY_FULL, SNELLEN_E_USAGE, "retrieval needs memory full: all answers are read behind one "
            "prompt");
    FAIL_IF(o->n_prompts < 1 || o->n_prompts > MAX_PROMPTS, SNELLEN_E_USAGE, "prompts are %u, 1 to %d expected", o->n_prompts,
            MAX_PROMPTS);
    TRY(choose_tasks(f, err));
    TRY(choose_lengths(f, err));
    return choose_depths(f, err);
}

static snellen_status prepare(struct finding *f, snellen_error *err)
{
    const snellen_retrieval_options *o = f->options;
    TRY(choose(f, err));
    size_t n_answers = f->n_tasks * f->n_lengths * f->n_depths * o->n_prompts;
    int64_t context = f->lengths[f->n_lengths - 1] + room_behind(f);
    for (size_t i = 0; i < f->n_lengths; i++)
        f->planned += (uint64_t)f->lengths[i] * f->n_tasks * f->n_depths * o->n_prompts;
    TRY(NEW_ARRAY(&f->held, context, "tokens", err));
    TRY(NEW_ARRAY(&f->asked, n_answers, "answers", err));
    TRY(NEW_ARRAY(&f->owned->result.answers, n_answers, "answers", err));
    snellen_session_options session = o->session;
    if (!session.n_context) session.n_context = context;
    return snellen_session_new(f->maker.model, &session, &f->session, err);
}

/* ---- one question ------------------------------------------------------------------------------------------------ */

static bool go_on(void *user, const char *what, uint64_t done, uint64_t all)
{
    const struct finding *f = user;
    const snellen_progress *p = f->progress;
    (void)what, (void)done, (void)all;
    return !p || !p->step || p->step(p->user, "tokens", f->done, f->planned);
}

/* The session holds exactly tokens [n] then, and the logits after the last of them. */
static snellen_status go_to(struct finding *f, const int32_t *tokens, size_t n, snellen_error *err)
{
    size_t keep = MIN(common_prefix(f->held, f->n_held, tokens, n), n - 1);
    TRY(snellen_session_truncate(f->session, (int64_t)keep, err));
    f->n_held = 0;   /* should reading fail, the session is not used again */
    TRY(snellen_session_feed(f->session, tokens + keep, n - keep, NULL, err));
    memcpy(f->held + keep, tokens + keep, (n - keep) * sizeof *tokens);
    f->n_held = n;
    f->owned->result.n_tokens += n - keep;
    return SNELLEN_OK;
}

/* log of the sum of exp(logits) */
static double log_sum(const float *logits, int64_t n)
{
    double sum = 0;
    float top = logits[0];
    for (int64_t i = 1; i < n; i++) top = fmaxf(top, logits[i]);
    for (int64_t i = 0; i < n; i++) sum += exp((double)(logits[i] - top));
    return (double)top + log(sum);
}

/* log p of every answer behind the prompt, which has been read: the first token of each from the prompt's logits, the others in
 * branches that are read side by side. */
static snellen_status score_answers(struct finding *f, const struct retrieval_question *q, double log_p[SNELLEN_RETRIEVAL_ANSWERS],
                                    snellen_error *err)
{
    float nll[SNELLEN_RETRIEVAL_ANSWERS * ANSWER_MAX_DEPTH];
    snellen_branch branches[SNELLEN_RETRIEVAL_ANSWERS];
    const float *logits = snellen_session_logits(f->session);
    double all = log_sum(logits, snellen_model_get_info(f->maker.model)->n_vocab);
    size_t longest = 0, row = 0;
    for (size_t i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; i++) {
        log_p[i] = (double)logits[q->tails[i][0]] - all;
        branches[i] = (snellen_branch){.keep = (int64_t)q->n_tokens, .tokens = q->tails[i], .n_tokens = q->n_tails[i]};
        longest = MAX(longest, q->n_tails[i]);
    }
    if (longest == 1) return SNELLEN_OK;
    TRY(snellen_session_branches(f->session, branches, SNELLEN_RETRIEVAL_ANSWERS, &(snellen_outputs){.nll = nll}, err));
    for (size_t i = 0; i < SNELLEN_RETRIEVAL_ANSWERS; row += q->n_tails[i++])
        for (size_t j = 1; j < q->n_tails[i]; j++) log_p[i] -= (double)nll[row + j];
    f->owned->result.n_tokens += row;
    return SNELLEN_OK;
}

static snellen_status ask_margin(struct finding *f, const struct retrieval_question *q, snellen_retrieval_answer *a,
                                 snellen_error *err)
{
    double log_p[SNELLEN_RETRIEVAL_ANSWERS];
    size_t best = 1;
    struct arena *texts = &f->owned->texts;
    TRY(go_to(f, q->tokens, q->n_tokens, err));
    TRY(score_answers(f, q, log_p, err));
    for (size_t i = 2; i < SNELLEN_RETRIEVAL_ANSWERS; i++)
        if (log_p[i] > log_p[best]) best = i;
    a->margin = (float)(log_p[0] - log_p[best]);
    a->right = arena_text(texts, q->answers.text[0], strlen(q->answers.text[0]));
    a->best_wrong = arena_text(texts, q->answers.text[best], strlen(q->answers.text[best]));
    FAIL_IF(!a->right || !a->best_wrong, SNELLEN_E_MEMORY, "answers: memory ran out");
    return SNELLEN_OK;
}

/* Greedily, until a token ends the answer or MAX_NEW are written. */
static snellen_status write_tokens(struct finding *f, struct strbuf *text, snellen_error *err)
{
    const snellen_model *model = f->maker.model;
    int64_t n_vocab = snellen_model_get_info(model)->n_vocab;
    for (int i = 0; i < MAX_NEW; i++) {
        int32_t token = likeliest(snellen_session_logits(f->session), n_vocab);
        if (snellen_token_ends(model, token)) break;
        size_t n = 0;
        const char *bytes = snellen_token_bytes(model, token, &n);
        bool shown = bytes && strcmp(snellen_token_kind(model, token), "special");
        for (size_t j = 0; shown && j < n; j++) strbuf_put(text, bytes[j] ? bytes + j : " ", 1);
        if (i + 1 == MAX_NEW) break;
        TRY(snellen_session_feed(f->session, &token, 1, NULL, err));
        f->held[f->n_held++] = token;
        f->owned->result.n_tokens++;
    }
    return SNELLEN_OK;
}

static snellen_status ask_in_words(struct finding *f, const struct retrieval_question *q, snellen_retrieval_answer *a,
                                   snellen_error *err)
{
    struct strbuf text = {0};
    strbuf_puts(&text, "");
    TRY(go_to(f, q->asked, q->n_asked, err));
    snellen_status status = write_tokens(f, &text, err);
    a->text = text.failed ? NULL : arena_text(&f->owned->texts, text.text, text.n);
    strbuf_free(&text);
    if (status) return status;
    FAIL_IF(!a->text, SNELLEN_E_MEMORY, "answers: memory ran out");
    a->written_right = retrieval_says(a->text, &q->answers);
    return SNELLEN_OK;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static snellen_status ask(struct finding *f, const struct retrieval_scene *scene, size_t task, size_t length, size_t depth,
                          uint32_t prompt, snellen_error *err)
{
    struct retrieval_question q;
    size_t place = ((task * f->n_lengths + length) * f->n_depths + depth) * f->options->n_prompts + prompt;
    snellen_retrieval_answer *a = &f->owned->result.answers[place];
    FAIL_IF(!go_on(f, "tokens", 0, 0), SNELLEN_E_CANCELLED, "stopped after %llu of %llu tokens of questions",
            (unsigned long long)f->done, (unsigned long long)f->planned);
    snellen_status status = retrieval_make(&f->maker, scene, f->tasks[task], f->depths[depth], &q, err);
    *a = (snellen_retrieval_answer){.task = retrieval_names[f->tasks[task]], .length = f->lengths[length], .at = q.at,
                                    .depth = f->depths[depth], .prompt = prompt, .n_tokens = (int64_t)q.n_tokens};
    if (!status) status = ask_margin(f, &q, a, err);
    if (!status && f->options->written) status = ask_in_words(f, &q, a, err);
    retrieval_question_free(&q);
    f->asked[place] = !status;
    f->done += (uint64_t)f->lengths[length];
    return status;
}

/* All questions about one prompt's key, fact or list. */
static snellen_status ask_scene(struct finding *f, enum retrieval_kind kind, size_t length, uint32_t prompt, snellen_error *err)
{
    struct retrieval_scene scene;
    bool fits = false;
    retrieval_draw(&scene, kind, f->maker.seed, prompt);
    for (size_t task = 0; task < f->n_tasks; task++) {
        if (retrieval_kind_of(f->tasks[task]) != kind) continue;
        if (!fits) TRY(retrieval_fit(&f->maker, &scene, f->lengths[length], f->wanted, f->depths, f->n_depths, err));
        fits = true;
        for (size_t depth = 0; depth < f->n_depths; depth++) TRY(ask(f, &scene, task, length, depth, prompt, err));
    }
    return SNELLEN_OK;
}

static snellen_status ask_all(struct finding *f, snellen_error *err)
{
    TRY(prepare(f, err));
    snellen_session_set_progress(f->session, &(snellen_progress){.step = go_on, .user = f});
    for (size_t length = 0; length < f->n_lengths; length++)
        for (uint32_t prompt = 0; prompt < f->options->n_prompts; prompt++)
            for (int kind = 0; kind < RETRIEVAL_KINDS; kind++)
                TRY(ask_scene(f, (enum retrieval_kind)kind, length, prompt, err));
    return SNELLEN_OK;
}

/* ---- scores ------------------------------------------------------------------------------------------------------ */

/* One cell from its answers [n]; `margins` [n] is scratch. */
static snellen_retrieval_cell score(const snellen_retrieval_answer *answers, size_t n, double depth, double *margins)
{
    snellen_retrieval_cell c = {.task = answers->task, .length = answers->length, .depth = depth, .n = (uint32_t)n};
    for (size_t i = 0; i < n; i++) {
        margins[i] = (double)answers[i].margin;
        c.n_right += answers[i].margin > 0;
        c.n_written_right += answers[i].written_right;
    }
    mean_interval(margins, n, &c.margin, &c.margin_low, &c.margin_high);
    wilson_interval(c.n_right, c.n, &c.right_low, &c.right_high);
    wilson_interval(c.n_written_right, c.n, &c.written_low, &c.written_high);
    return c;
}

/* The answers there are, without gaps. */
static void pack_answers(const struct finding *f)
{
    snellen_retrieval_result *r = &f->owned->result;
    size_t n = f->n_tasks * f->n_lengths * f->n_depths * f->options->n_prompts;
    for (size_t i = 0; f->asked && i < n; i++)
        if (f->asked[i]) r->answers[r->n_answers++] = r->answers[i];
}

/* Answers from i on that agree in task and length, and in depth too. */
static size_t group_end(const snellen_retrieval_result *r, size_t i, bool depth)
{
    const snellen_retrieval_answer *first = &r->answers[i];
    for (; i < r->n_answers; i++) {
        const snellen_retrieval_answer *a = &r->answers[i];
        if (a->task != first->task || a->length != first->length || (depth && a->depth > first->depth)) break;
    }
    return i;
}

static snellen_status count_cells(const struct finding *f, snellen_error *err)
{
    snellen_retrieval_result *r = &f->owned->result;
    double *margins;
    TRY(NEW_ARRAY(&r->cells, f->n_tasks * f->n_lengths * f->n_depths, "cells", err));
    TRY(NEW_ARRAY(&r->lengths, f->n_tasks * f->n_lengths, "cells", err));
    TRY(NEW_ARRAY(&margins, r->n_answers, "margins", err));
    for (size_t i = 0, end; i < r->n_answers; i = end) {
        end = group_end(r, i, true);
        r->cells[r->n_cells++] = score(r->answers + i, end - i, r->answers[i].depth, margins);
    }
    for (size_t i = 0, end; i < r->n_answers; i = end) {
        end = group_end(r, i, false);
        if (end - i == f->n_depths * f->options->n_prompts)
            r->lengths[r->n_lengths++] = score(r->answers + i, end - i, -1, margins);
    }
    mem_free(margins);
    return SNELLEN_OK;
}

int64_t snellen_retrieval_reach(const int64_t *lengths, const double *scores, size_t n)
{
    int64_t reach = -1;
    for (size_t i = 0; i < n && scores[0] > 0 && scores[i] >= 0.85 * scores[0]; i++) reach = lengths[i];
    return reach;
}

static snellen_status score_task(const struct finding *f, snellen_retrieval_task *task, snellen_error *err)
{
    const snellen_retrieval_result *r = &f->owned->result;
    struct arena *room = &f->owned->texts;
    int64_t *lengths = arena_alloc(room, r->n_lengths * sizeof *lengths);
    double *right = arena_alloc(room, r->n_lengths * sizeof *right), *written = arena_alloc(room, r->n_lengths * sizeof *written);
    size_t n = 0;
    bool above_chance = false, writes = false;
    FAIL_IF(!lengths || !right || !written, SNELLEN_E_MEMORY, "scores: memory ran out");
    for (size_t i = 0; i < r->n_lengths; i++) {
        const snellen_retrieval_cell *c = &r->lengths[i];
        if (c->task != task->task) continue;
        if (!n) above_chance = c->right_low > chance, writes = c->written_low > chance;
        lengths[n] = c->length;
        right[n] = (double)c->n_right / c->n;
        written[n++] = (double)c->n_written_right / c->n;
    }
    task->reach = above_chance ? snellen_retrieval_reach(lengths, right, n) : -1;
    task->reach_written = writes ? snellen_retrieval_reach(lengths, written, n) : -1;
    return SNELLEN_OK;
}

static snellen_status score_all(const struct finding *f, snellen_error *err)
{
    snellen_retrieval_result *r = &f->owned->result;
    r->written = f->options->written;
    pack_answers(f);
    TRY(count_cells(f, err));
    TRY(NEW_ARRAY(&r->tasks, f->n_tasks, "tasks", err));
    for (size_t i = 0; i < f->n_tasks; i++) {
        r->tasks[r->n_tasks++].task = retrieval_names[f->tasks[i]];
        TRY(score_task(f, &r->tasks[i], err));
    }
    return SNELLEN_OK;
}

/* ---- what it will cost --------------------------------------------------------------------------------------------- */

/* Tokens that all depths of one prompt take. A text is read again from where the depth before was said; a list once. */
static double tokens_of_kind(const struct finding *f, enum retrieval_kind kind, int64_t length)
{
    double sum = (double)length;
    for (size_t d = 1; kind != RETRIEVAL_LIST && d < f->n_depths; d++) sum += (double)length * (1 - f->depths[d - 1]);
    return sum;
}

snellen_status retrieval_plan(const snellen_model *model, const snellen_retrieval_options *options, struct task_cost *cost,
                              snellen_error *err)
{
    enum { QUESTION = 60 };   /* what is no filler, and the answers' tails */
    struct finding f = {.options = options, .maker = {.model = model}};
    bool kinds[RETRIEVAL_KINDS] = {false};
    double tokens = 0;
    TRY(choose(&f, err));
    uint64_t n_questions = (uint64_t)f.n_tasks * f.n_lengths * f.n_depths * options->n_prompts;
    for (size_t i = 0; i < f.n_tasks; i++) kinds[retrieval_kind_of(f.tasks[i])] = true;
    for (size_t i = 0; i < f.n_lengths; i++)
        for (int kind = 0; kind < RETRIEVAL_KINDS; kind++)
            if (kinds[kind]) tokens += options->n_prompts * tokens_of_kind(&f, (enum retrieval_kind)kind, f.lengths[i]);
    *cost = (struct task_cost){.prompt_tokens = (uint64_t)tokens + QUESTION * n_questions,
                               .generated_tokens = options->written ? MAX_NEW * n_questions : 0};
    return SNELLEN_OK;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

snellen_retrieval_options snellen_retrieval_options_default(const snellen_model *model)
{
    return (snellen_retrieval_options){.n_prompts = DEFAULT_PROMPTS, .chat = snellen_task_options_default(model).chat, .seed = 1,
                                       .session = snellen_session_options_default()};
}

snellen_status snellen_retrieval_run(const snellen_model *model, const snellen_retrieval_options *options,
                                     const snellen_progress *progress, snellen_retrieval_result **result, snellen_error *err)
{
    struct finding f = {.options = options, .progress = progress, .maker = {.model = model, .chat = options->chat,
                        .written = options->written, .seed = options->seed}};
    *result = NULL;
    TRY(NEW_ARRAY(&f.owned, 1, "results", err));
    snellen_status status = ask_all(&f, err), scored = SNELLEN_OK;
    bool usable = !status || status == SNELLEN_E_CANCELLED;
    if (usable) scored = score_all(&f, err);
    if (usable && !scored) *result = &f.owned->result;
    else snellen_retrieval_free(&f.owned->result);
    snellen_session_free(f.session);
    mem_free(f.held);
    mem_free(f.asked);
    return scored ? scored : status;
}

void snellen_retrieval_free(snellen_retrieval_result *result)
{
    if (!result) return;
    struct owned_retrieval *owned = (struct owned_retrieval *)result;
    mem_free(result->answers);
    mem_free(result->cells);
    mem_free(result->lengths);
    mem_free(result->tasks);
    arena_free(&owned->texts);
    mem_free(owned);
}
