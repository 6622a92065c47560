/* A stopped exam's answers, to a file and back: a state (model/state.h) whose parts are the plan's. Findings in words that follow
 * from the answers are made anew; the retrieval part, the last and short, is asked again. */
#include "study/checkup.h"
#include "model/state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static const char kind[] = "snellen checkup, stopped";
enum { MAX_OVERFLOW = 400, MAX_WRITTEN = 1 << 20 };

/* ---- which exam it is ------------------------------------------------------------------------------------------------------- */

/* Everything that decides the numbers, in words. */
static const char *signature_of(struct checkup *c)
{
    const snellen_checkup_options *o = &c->options;
    return arena_printf(&c->arena, "%s %s %.33s full %d prompts %u budget %llu seed %llu chat %d temp %a log %lld cache %d chunk %lld work %llu",
                        snellen_version(), snellen_isa(), c->model_hash, o->full, o->n_prompts, (unsigned long long)o->budget,
                        (unsigned long long)o->seed, c->chat, o->session.attn_temp, (long long)o->session.attn_log, (int)o->session.cache,
                        (long long)o->session.chunk, (unsigned long long)c->plan.work);
}

static const char *path_of(struct checkup *c, const char *signature)
{
    return arena_printf(&c->arena, "%s/stopped-%016llx.state", c->options.folder,
                        (unsigned long long)XXH3_64bits(signature, strlen(signature)));
}

/* ---- collapse ------------------------------------------------------------------------------------------------------------------ */

enum { ROW_NUMBERS = 13 };

static void pack_row(const snellen_collapse_row *r, double x[ROW_NUMBERS])
{
    const double all[ROW_NUMBERS] = {(double)r->n, r->prompt, (double)r->layer, r->linf_mean, r->linf_min, r->linf_max, r->l1, r->relative,
                                     r->mean_abs, r->bit_equal, r->same_logits, r->same_top, r->shift};
    memcpy(x, all, sizeof all);
}

/* Where a row belongs is the plan's to say: its n, prompt and layer are compared, not believed. */
static bool unpack_row(const double x[ROW_NUMBERS], int64_t n, uint32_t prompt, int64_t layer, snellen_collapse_row *r)
{
    const double place[] = {(double)n, prompt, (double)layer};
    if (memcmp(x, place, sizeof place)) return false;
    *r = (snellen_collapse_row){.n = n, .prompt = prompt, .layer = layer, .linf_mean = x[3], .linf_min = x[4], .linf_max = x[5],
                                .l1 = x[6], .relative = x[7], .mean_abs = x[8], .bit_equal = x[9] > 0, .same_logits = x[10] > 0,
                                .same_top = x[11] > 0, .shift = x[12]};
    return true;
}

static void rows_state(const struct checkup *c, const struct checkup_collapse *k, snellen_collapse *result, struct state *s)
{
    int64_t n_layers = c->info->n_layers + 2;
    for (size_t i = 0; i < result->n_rows && !s->status; i++) {
        double x[ROW_NUMBERS] = {0};
        if (s->saving) pack_row(&result->rows[i], x);
        state_bytes(s, x, sizeof x);
        size_t cell = i / (size_t)n_layers, n = k->n_lengths;   /* for each prompt, n and layer */
        if (!s->saving && !s->status &&
            !unpack_row(x, k->lengths[cell % n], (uint32_t)(cell / n), (int64_t)i % n_layers, &result->rows[i]))
            state_fail(s, SNELLEN_E_FORMAT, "a row of the collapse probe is of another plan");
    }
}

/* The result with its numbers; when restoring it is made. */
static void result_state(const struct checkup *c, struct checkup_collapse *k, struct state *s)
{
    size_t n = k->n_lengths * k->n_prompts;
    uint64_t n_floats = 2 * n * (uint64_t)c->info->d_model;
    snellen_collapse *result = s->saving ? k->result : calloc(1, sizeof *result);
    float *vectors = NULL;
    if (!result) {
        state_fail(s, SNELLEN_E_MEMORY, "memory ran out");
        return;
    }
    if (!s->saving) {
        result->n_rows = n * (size_t)(c->info->n_layers + 2);
        if (!s->status) s->status = NEW_ARRAY(&result->rows, result->n_rows, "rows of the collapse probe", s->err);
        if (!s->status) s->status = NEW_ARRAY(&vectors, n_floats, "vectors of the collapse probe", s->err);
        result->vectors = vectors;
    }
    rows_state(c, k, result, s);
    state_number(s, &result->blind_at, -1, INT64_MAX, "a length");
    state_number(s, &result->faint_at, -1, INT64_MAX, "a length");
    state_bytes(s, s->saving ? (void *)(uintptr_t)result->vectors : vectors, n_floats * sizeof(float));
    if (s->saving) return;
    if (s->status) snellen_collapse_free(result);
    else k->result = result;
}

static void collapse_state(struct checkup *c, struct checkup_collapse *k, struct state *s)
{
    enum { NOTHING, RESULT, OVERFLOW };
    char words[MAX_OVERFLOW + 1] = {0};
    int64_t what = k->result ? RESULT : k->overflow ? OVERFLOW : NOTHING;
    state_number(s, &what, NOTHING, OVERFLOW, "a part of the exam");
    if (s->status || what == NOTHING) return;
    if (what == RESULT) {
        result_state(c, k, s);
        return;
    }
    if (s->saving) snprintf(words, sizeof words, "%s", k->overflow);
    state_bytes(s, words, MAX_OVERFLOW);
    if (!s->saving && !s->status) k->overflow = arena_text(&c->arena, words, strlen(words));
}

/* ---- answers ------------------------------------------------------------------------------------------------------------------- */

static void text_state(struct checkup *c, const char **text, struct state *s)
{
    int64_t n = *text ? (int64_t)strlen(*text) : 0;
    state_number(s, &n, 0, MAX_WRITTEN, "length of an answer");
    if (s->status) return;
    char *room = s->saving ? (char *)(uintptr_t)*text : arena_alloc(&c->arena, (size_t)n + 1);
    if (!room && n) state_fail(s, SNELLEN_E_MEMORY, "memory ran out");
    state_bytes(s, room, (uint64_t)n);
    if (s->saving || s->status || !room) return;
    room[n] = 0;
    *text = room;
}

static void answer_state(struct checkup *c, snellen_answer *a, struct state *s)
{
    int64_t prompt = a->prompt, n_tokens = a->n_tokens, generated = a->generated, parsed = a->parsed;
    state_number(s, &a->length, 0, INT64_MAX, "length of a sequence");
    state_number(s, &prompt, 0, UINT32_MAX, "a prompt");
    state_number(s, &n_tokens, 0, UINT32_MAX, "tokens of a prompt");
    state_number(s, &a->expected, INT64_MIN, INT64_MAX, "an answer");
    state_number(s, &a->best_wrong, INT64_MIN, INT64_MAX, "an answer");
    state_number(s, &a->got, INT64_MIN, INT64_MAX, "an answer");
    state_number(s, &generated, 0, 1, "an answer");
    state_number(s, &parsed, 0, 1, "an answer");
    state_bytes(s, &a->margin, sizeof a->margin);
    text_state(c, &a->text, s);
    a->prompt = (uint32_t)prompt;
    a->n_tokens = (uint32_t)n_tokens;
    a->generated = generated;
    a->parsed = parsed;
}

static void task_state(struct checkup *c, struct checkup_task *t, struct state *s)
{
    enum { MOST_ANSWERS = 1 << 20 };
    int64_t n = (int64_t)t->n_answers;
    state_same_text(s, t->task, "task");
    state_same_text(s, t->cure, "cure");
    state_number(s, &n, 0, MOST_ANSWERS, "number of answers");
    if (s->saving) {
        for (int64_t i = 0; i < n; i++) answer_state(c, &t->answers[i], s);
        return;
    }
    snellen_task_result read = {.n_answers = (size_t)n};
    if (!s->status) s->status = NEW_ARRAY(&read.answers, MAX(n, 1), "answers", s->err);
    for (int64_t i = 0; i < n && !s->status; i++) answer_state(c, &read.answers[i], s);
    if (!s->status) s->status = checkup_merge(t, &c->arena, &read, s->err);
    mem_free(read.answers);
}

/* ---- the whole --------------------------------------------------------------------------------------------------------------------- */

static void exam_state(struct checkup *c, const char *signature, struct state *s)
{
    state_same_text(s, kind, "kind of file");
    state_same_text(s, signature, "exam");
    for (size_t i = 0; i < c->plan.n_collapses && !s->status; i++) collapse_state(c, &c->plan.collapses[i], s);
    for (size_t i = 0; i < c->plan.n_tasks && !s->status; i++) task_state(c, &c->plan.tasks[i], s);
}

snellen_status checkup_keep(struct checkup *c, snellen_error *err)
{
    struct state s;
    if (!c->options.folder || c->probe) return SNELLEN_OK;   /* a probe on its own is asked again */
    const char *signature = signature_of(c), *path = signature ? path_of(c, signature) : NULL;
    FAIL_IF(!path, SNELLEN_E_MEMORY, "exam: memory ran out");
    TRY(state_save_begin(&s, path, err));
    exam_state(c, signature, &s);
    return state_end(&s);
}

snellen_status checkup_take_up(struct checkup *c, snellen_error *err)
{
    struct state s;
    struct stat there;
    if (!c->options.folder) return SNELLEN_OK;
    const char *signature = signature_of(c), *path = signature ? path_of(c, signature) : NULL;
    FAIL_IF(!path, SNELLEN_E_MEMORY, "exam: memory ran out");
    if (stat(path, &there)) return SNELLEN_OK;
    TRY(state_restore_begin(&s, path, err));
    exam_state(c, signature, &s);
    TRY(state_end(&s));
    c->continued = true;
    return SNELLEN_OK;
}

void checkup_let_go(struct checkup *c)
{
    if (!c->options.folder) return;
    const char *signature = signature_of(c), *path = signature ? path_of(c, signature) : NULL;
    if (path) unlink(path);
}
