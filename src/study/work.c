/* Asks what the plan says and keeps every number: in the plan for the report, in the database as soon as a part of the
 * work is finished, so that a stopped run loses only the part it was in. */
#include "study/checkup.h"
#include "study/retrieval.h"

#include <stdlib.h>
#include <string.h>

const char *checkup_precision_name(snellen_precision precision)
{
    static const char *const names[] = {[SNELLEN_F32] = "f32", [SNELLEN_BF16] = "bf16", [SNELLEN_F16] = "f16",
                                        [SNELLEN_Q8_0] = "q8_0"};
    return (unsigned)precision < COUNT_OF(names) ? names[precision] : "?";
}

/* 0 = all that is computed, then by bit. */
static size_t part_index(unsigned part)
{
    size_t i = 0;
    for (; part; part /= 2) i++;
    return i;
}

const char *checkup_part_name(unsigned part)
{
    static const char *const names[] = {"all", "weights", "activations", "cache", "logits"};
    return part_index(part) < COUNT_OF(names) ? names[part_index(part)] : "?";
}

#define TYPES(type) {type, type "-weights", type "-activations", type "-cache", type "-logits"}

const char *checkup_type_name(const struct checkup_collapse *k)
{
    static const char *const names[][5] = {TYPES("f32"), TYPES("bf16"), TYPES("f16"), TYPES("q8_0")};
    bool known = (unsigned)k->precision < COUNT_OF(names) && part_index(k->part) < COUNT_OF(names[0]);
    return known ? names[k->precision][part_index(k->part)] : "?";
}

const char *checkup_rounding_name(snellen_precision precision)
{
    static const char *const names[] = {"", "rounding to bf16", "rounding to f16", "rounding the cache to q8_0"};
    return (unsigned)precision < COUNT_OF(names) ? names[precision] : "?";
}

/* ---- progress: parts count their own units, the whole counts predicted tokens ------------------------------------------------ */

struct part {
    struct checkup *c;
    uint64_t work;   /* predicted for this part */
};

static bool part_step(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    const struct part *part = user;
    const struct checkup *c = part->c;
    if (!c->progress || !c->progress->step) return true;
    double share = total ? (double)MIN(done, total) / (double)total : 0;
    uint64_t now = c->work_done + (uint64_t)(share * (double)part->work);
    return c->progress->step(c->progress->user, "tokens", MIN(now, c->plan.work), c->plan.work);
}

/* ---- numbers on their way to the database -------------------------------------------------------------------------------------- */

struct numbers {
    struct strbuf b;
    snellen_number key;
    char subject[64];   /* key.subject may point here */
};

static void put_number(struct numbers *n, const char *metric, double value)
{
    n->key.metric = metric;
    n->key.value = value;
    strbuf_put(&n->b, &n->key, sizeof n->key);
}

static snellen_status save_numbers(struct checkup *c, struct numbers *n, snellen_error *err)
{
    snellen_status status = SNELLEN_OK;
    if (n->b.failed) status = error_set(err, SNELLEN_E_MEMORY, "numbers for the database: memory ran out");
    else if (c->recorder && n->b.n) {
        /* The growing text is aligned as malloc aligns; its bytes are whole structs. */
        const void *numbers = n->b.text;
        status = snellen_record_add(c->recorder, numbers, n->b.n / sizeof(snellen_number), err);
    }
    strbuf_free(&n->b);
    return status;
}

static bool is_paper_length(int64_t n)
{
    static const int64_t paper[] = {1, 2, 6, 11, 51, 101, 501, 1001, 2001};
    for (size_t i = 0; i < COUNT_OF(paper); i++)
        if (paper[i] == n) return true;
    return false;
}

/* y_n at every length; the layers below it at the paper's lengths (all lengths stand in the CSV files). */
static void put_collapse(struct numbers *n, const struct checkup_collapse *k, int64_t last_layer)
{
    snprintf(n->subject, sizeof n->subject, "collapse-%s", k->sequence);
    n->key = (snellen_number){.subject = n->subject, .cure = "", .style = "", .precision = checkup_type_name(k)};
    for (size_t i = 0; i < k->result->n_rows; i++) {
        const snellen_collapse_row *row = &k->result->rows[i];
        if (row->layer != last_layer && !is_paper_length(row->n)) continue;
        n->key.length = row->n;
        n->key.prompt = row->prompt;
        n->key.layer = row->layer;
        put_number(n, "linf_mean", row->linf_mean);
        put_number(n, "linf_min", row->linf_min);
        put_number(n, "linf_max", row->linf_max);
        put_number(n, "l1", row->l1);
        put_number(n, "relative", row->relative);
        put_number(n, "mean_abs", row->mean_abs);
        put_number(n, "bit_equal", row->bit_equal);
        if (row->layer != last_layer) continue;
        put_number(n, "same_logits", row->same_logits);
        put_number(n, "same_top", row->same_top);
        put_number(n, "shift", row->shift);
    }
}

static void put_answers(struct numbers *n, const struct checkup_task *task, const snellen_task_result *result)
{
    n->key = (snellen_number){.subject = task->task, .cure = task->cure, .style = task->style, .precision = "",
                              .layer = -1};
    for (size_t i = 0; i < result->n_answers; i++) {
        const snellen_answer *a = &result->answers[i];
        n->key.length = a->length;
        n->key.prompt = a->prompt;
        put_number(n, "expected", (double)a->expected);
        put_number(n, "margin", (double)a->margin);
        put_number(n, "best_wrong", (double)a->best_wrong);
        if (!a->generated) continue;
        put_number(n, "parsed", a->parsed);
        if (a->parsed) put_number(n, "got", (double)a->got);
    }
}

/* ---- answers of several batches into one task ------------------------------------------------------------------------------------ */

snellen_status checkup_merge(struct checkup_task *task, struct arena *arena, const snellen_task_result *result,
                             snellen_error *err)
{
    size_t room = task->n_answers + result->n_answers;
    if (!room) return SNELLEN_OK;
    if (room > task->room) {
        snellen_answer *grown = realloc(task->answers, room * sizeof *grown);
        FAIL_IF(!grown, SNELLEN_E_MEMORY, "answers: memory ran out");
        task->answers = grown;
        task->room = room;
    }
    size_t n_before = task->n_answers;
    for (size_t i = 0; i < result->n_answers; i++) {
        snellen_answer a = result->answers[i];
        if (a.text) {
            a.text = arena_text(arena, a.text, strlen(a.text));
            FAIL_IF(!a.text, SNELLEN_E_MEMORY, "answers: memory ran out");
        }
        /* The same question asked again has the same margin; a written answer is what it may add. */
        snellen_answer *same = n_before ? bsearch(&a, task->answers, n_before, sizeof a, answers_in_order) : NULL;
        if (!same) task->answers[task->n_answers++] = a;
        else if (a.generated) *same = a;
    }
    qsort(task->answers, task->n_answers, sizeof *task->answers, answers_in_order);
    mem_free(task->score.cells);
    task->score = (snellen_task_result){.answers = task->answers, .n_answers = task->n_answers};
    return score_cells(&task->score, err);
}

/* ---- the parts -------------------------------------------------------------------------------------------------------------------- */

/* Numbers that an exam had when it was stopped are this run's, too. */
static snellen_status record_collapse(struct checkup *c, const struct checkup_collapse *k, snellen_error *err)
{
    struct numbers numbers = {0};
    c->work_done += k->tokens;
    if (!k->result) return SNELLEN_OK;
    put_collapse(&numbers, k, c->info->n_layers + 1);
    return save_numbers(c, &numbers, err);
}

static snellen_status work_collapse(struct checkup *c, struct checkup_collapse *k, snellen_error *err)
{
    if (k->result || k->overflow) return record_collapse(c, k, err);
    snellen_collapse_options o = c->probe ? *c->probe : snellen_collapse_options_default();
    o.sequence = k->sequence;
    o.lengths = k->lengths;
    o.n_lengths = k->n_lengths;
    o.n_prompts = k->n_prompts;
    o.chat = c->chat;
    o.seed = c->options.seed;
    o.session = c->options.session;
    o.session.precision = k->precision;
    o.session.round_parts = k->part;
    if (!c->probe) o.session.n_context = 0; /* what the questions need is not what the longest sequence does */
    struct part part = {c, k->tokens};
    const snellen_progress progress = {part_step, &part};
    snellen_error why = {0};
    snellen_status status = snellen_probe_collapse(c->model, &o, &progress, &k->result, &why);
    if (status == SNELLEN_E_OVERFLOW) { /* a finding, not a failure: the others go on */
        k->overflow = arena_text(&c->arena, why.message, strlen(why.message));
        FAIL_IF(!k->overflow, SNELLEN_E_MEMORY, "exam: memory ran out");
        status = SNELLEN_OK;
    }
    if (status && err) *err = why;
    TRY(status);
    return record_collapse(c, k, err);
}

/* The items of a batch that belong to the parts wanted; they move to its front. */
static void keep_wanted(const struct checkup *c, struct checkup_batch *b)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->n_items; i++) {
        if (!checkup_wants(c, strncmp(b->items[i].task, "copy", 4) ? "counting" : "copying")) continue;
        b->items[kept] = b->items[i];
        b->task_of[kept++] = b->task_of[i];
    }
    b->n_items = kept;
}

/* A cancelled batch hands over the answers it has; they are kept, and the status goes on up. */
static snellen_status work_batch(struct checkup *c, const struct checkup_batch *b, snellen_error *err)
{
    const struct task_setting setting = checkup_setting(c, b);
    struct part part = {c, checkup_work_of(&b->cost)};
    const snellen_progress progress = {part_step, &part};
    snellen_task_result **results = arena_alloc(&c->arena, b->n_items * sizeof *results);
    FAIL_IF(!results, SNELLEN_E_MEMORY, "results: memory ran out");
    for (size_t i = 0; i < b->n_items; i++) {
        const struct checkup_task *before = &c->plan.tasks[b->task_of[i]];
        b->items[i].known = before->answers;
        b->items[i].n_known = before->n_answers;
    }
    snellen_status asked = tasks_eval(c->model, b->items, b->n_items, &setting, &progress, results, NULL, err);
    snellen_status status = SNELLEN_OK;
    struct numbers numbers = {0};
    for (size_t i = 0; i < b->n_items; i++) {
        if (results[i] && !status) {
            struct checkup_task *task = &c->plan.tasks[b->task_of[i]];
            put_answers(&numbers, task, results[i]);
            status = checkup_merge(task, &c->arena, results[i], err);
        }
    }
    if (!status) {
        snellen_error quiet; /* a failed save must not hide why the questions failed */
        status = save_numbers(c, &numbers, asked ? &quiet : err);
    } else {
        strbuf_free(&numbers.b);
    }
    for (size_t i = 0; i < b->n_items; i++) snellen_task_result_free(results[i]);
    c->work_done += part.work;
    return asked ? asked : status;
}

/* As of a batch, what was asked until it was stopped is kept. */
static snellen_status work_retrieval(struct checkup *c, snellen_error *err)
{
    struct checkup_retrieval *r = &c->plan.retrieval;
    struct part part = {c, checkup_work_of(&r->cost)};
    const snellen_progress progress = {part_step, &part};
    snellen_error why = {0}, quiet;
    snellen_status asked = snellen_retrieval_run(c->model, &r->options, &progress, &r->result, &why), kept = SNELLEN_OK;
    if (r->result && c->recorder)
        kept = retrieval_record(c->recorder, r->result, checkup_precision_name(r->options.session.precision), asked ? &quiet : err);
    c->work_done += part.work;
    if (asked == SNELLEN_E_USAGE) { /* a finding, not a failure: the exam goes on */
        r->refused = arena_text(&c->arena, why.message, strlen(why.message));
        FAIL_IF(!r->refused, SNELLEN_E_MEMORY, "exam: memory ran out");
        return SNELLEN_OK;
    }
    if (asked && err) *err = why;
    return asked ? asked : kept;
}

snellen_status checkup_work(struct checkup *c, snellen_error *err)
{
    struct checkup_plan *plan = &c->plan;
    for (size_t i = 0; i < plan->n_collapses && checkup_wants(c, "collapse"); i++) {
        TRY(work_collapse(c, &plan->collapses[i], err));
        TRY(checkup_keep(c, err));
    }
    for (size_t i = 0; i < plan->n_batches; i++) {
        keep_wanted(c, &plan->batches[i]);
        if (!plan->batches[i].n_items) continue;
        TRY(work_batch(c, &plan->batches[i], err));
        TRY(checkup_keep(c, err));
    }
    return plan->retrieval.options.lengths && checkup_wants(c, "retrieval") ? work_retrieval(c, err) : SNELLEN_OK;
}
