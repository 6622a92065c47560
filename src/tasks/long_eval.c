/* Feeds samples of a task of long memory to a model, piece by piece, and lets it write the answers: greedily, and what
 * it wrote is what it reads on, right or wrong.
 *
 * Invariant: `unread` are the tokens that are settled and not yet in the session. */
#include "tasks/long.h"
#include "tasks/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { READ_AT_ONCE = 4096, DEFAULT_SAMPLES = 20, MAX_SAMPLES = 100000 };

/* A result with what it owns. */
struct owned_recall {
    snellen_long_result result;   /* first: the two share their address */
    size_t recalled_room;
    struct arena texts;
};

struct recalling {
    const snellen_model *model;
    const snellen_long_eval_options *options;
    const char *task;
    const int64_t *lengths;
    const double *depths;         /* [n_depths] */
    size_t n_lengths, n_depths;
    snellen_session *session;
    snellen_reader **readers;     /* [n_depths] */
    int32_t tokens[READ_AT_ONCE];
    uint8_t marks[READ_AT_ONCE];
    int32_t unread[READ_AT_ONCE + 1];
    size_t n_unread;
    struct token_row right, written;  /* of the answer that is being written */
    int64_t distance;             /* .. from what it asks for */
    uint64_t n_tokens, n_planned; /* settled so far, and in all */
    const snellen_progress *progress;
    struct owned_recall *owned;
};

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

/* Most tokens that the model can read. */
static int64_t context_limit(const struct recalling *e)
{
    const snellen_session_options *s = &e->options->session;
    const snellen_model_info *info = snellen_model_get_info(e->model);
    if (s->memory == SNELLEN_MEMORY_FULL && s->n_context) return s->n_context;
    return strcmp(info->positions, "learned") ? INT64_MAX : info->n_context;
}

/* Of the task's own grid the lengths that fit are taken. */
static snellen_status choose_lengths(struct recalling *e, snellen_error *err)
{
    const snellen_task_info *info = &long_task_find(e->task)->info;
    const snellen_model_info *model = snellen_model_get_info(e->model);
    bool own = !e->options->lengths, full = e->options->session.memory == SNELLEN_MEMORY_FULL;
    e->lengths = own ? info->lengths : e->options->lengths;
    e->n_lengths = own ? info->n_lengths : e->options->n_lengths;
    FAIL_IF(!e->n_lengths, SNELLEN_E_USAGE, "task %s: no length is given", e->task);
    int64_t limit = context_limit(e);
    if (own && full) limit = MIN(limit, model->n_context);
    for (size_t i = 0; i < e->n_lengths; i++) {
        if (own && i && e->lengths[i] > limit) e->n_lengths = i;
        FAIL_IF(i < e->n_lengths && e->lengths[i] > limit, SNELLEN_E_CONTEXT,
                "task %s: length is %lld, the context holds %lld; shorter lengths, or a larger context (--context N) "
                "where the model's positions allow it", e->task, (long long)e->lengths[i], (long long)limit);
    }
    return SNELLEN_OK;
}

/* One reader a depth. Each length is begun once, so that what does not fit shows before the work. */
static snellen_status open_readers(struct recalling *e, snellen_error *err)
{
    TRY(NEW_ARRAY(&e->readers, e->n_depths, "readers", err));
    for (size_t d = 0; d < e->n_depths; d++) {
        snellen_long_options o = e->options->task;
        o.depth = e->depths[d];
        TRY(snellen_reader_new(e->model, e->task, &o, &e->readers[d], err));
    }
    TRY(choose_lengths(e, err));
    for (size_t d = 0; d < e->n_depths; d++)
        for (size_t i = 0; i < e->n_lengths; i++) {
            TRY(snellen_reader_start(e->readers[d], e->lengths[i], 0, err));
            e->n_planned += (uint64_t)e->lengths[i] * e->options->n_samples;
        }
    return SNELLEN_OK;
}

static snellen_status open_session(struct recalling *e, snellen_error *err)
{
    snellen_session_options o = e->options->session;
    if (o.memory == SNELLEN_MEMORY_FULL && !o.n_context)
        for (size_t i = 0; i < e->n_lengths; i++) o.n_context = MAX(o.n_context, e->lengths[i]);
    return snellen_session_new(e->model, &o, &e->session, err);
}

/* ---- one sample -------------------------------------------------------------------------------------------------- */

static snellen_status read_all(struct recalling *e, snellen_error *err)
{
    const snellen_progress *p = e->progress;
    if (p && p->step)
        FAIL_IF(!p->step(p->user, "tokens", e->n_tokens, e->n_planned), SNELLEN_E_CANCELLED,
                "stopped after %llu of %llu tokens", (unsigned long long)e->n_tokens, (unsigned long long)e->n_planned);
    if (e->n_unread) TRY(snellen_session_feed(e->session, e->unread, e->n_unread, NULL, err));
    e->owned->result.n_tokens += e->n_unread;
    e->n_unread = 0;
    return SNELLEN_OK;
}

static snellen_status settle(struct recalling *e, int32_t token, snellen_error *err)
{
    if (e->n_unread == READ_AT_ONCE) TRY(read_all(e, err));
    e->unread[e->n_unread++] = token;
    e->n_tokens++;
    return SNELLEN_OK;
}

/* The model writes one token in the place of the right one. */
static snellen_status write_token(struct recalling *e, const snellen_reader *r, int32_t right, snellen_error *err)
{
    if (!e->right.n) e->distance = snellen_reader_distance(r);
    TRY(read_all(e, err));
    int32_t token = likeliest(snellen_session_logits(e->session), snellen_model_get_info(e->model)->n_vocab);
    TRY(row_put(&e->right, right, 0, err));
    TRY(row_put(&e->written, token, 0, err));
    return settle(e, token, err);
}

static snellen_status keep_text(struct recalling *e, const snellen_reader *r, const struct token_row *row,
                                const char **out, snellen_error *err)
{
    char *text;
    TRY(snellen_reader_text(r, row->ids, row->n, &text, err));
    *out = arena_text(&e->owned->texts, text, strlen(text));
    snellen_free(text);
    FAIL_IF(!*out, SNELLEN_E_MEMORY, "answers: memory ran out");
    return SNELLEN_OK;
}

/* An answer is complete. */
static snellen_status keep_answer(struct recalling *e, const snellen_reader *r, const snellen_recalled *sample,
                                  snellen_error *err)
{
    snellen_long_result *result = &e->owned->result;
    if (result->n_recalled == e->owned->recalled_room) {
        size_t room = MAX(2 * e->owned->recalled_room, (size_t)256);
        snellen_recalled *all = realloc(result->recalled, room * sizeof *all);
        FAIL_IF(!all, SNELLEN_E_MEMORY, "answers: memory ran out");
        result->recalled = all;
        e->owned->recalled_room = room;
    }
    snellen_recalled *a = &result->recalled[result->n_recalled];
    *a = *sample;
    a->distance = e->distance;
    a->n_tokens = (uint32_t)e->right.n;
    for (size_t i = 0; i < e->right.n; i++) a->n_right += e->right.ids[i] == e->written.ids[i];
    a->exact = a->n_right == a->n_tokens;
    TRY(keep_text(e, r, &e->right, &a->expected, err));
    TRY(keep_text(e, r, &e->written, &a->text, err));
    e->right.n = e->written.n = 0;
    result->n_recalled++;
    return SNELLEN_OK;
}

/* A piece of a sample. A token without the mark ends an answer. */
static snellen_status take_piece(struct recalling *e, const snellen_reader *r, size_t n, const snellen_recalled *sample,
                                 snellen_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (e->marks[i] & SNELLEN_MARK_ANSWER) {
            TRY(write_token(e, r, e->tokens[i], err));
            continue;
        }
        if (e->right.n) TRY(keep_answer(e, r, sample, err));
        TRY(settle(e, e->tokens[i], err));
    }
    return SNELLEN_OK;
}

static snellen_status do_sample(struct recalling *e, const snellen_recalled *sample, snellen_reader *r,
                                snellen_error *err)
{
    size_t n;
    e->n_unread = e->right.n = e->written.n = 0;
    TRY(snellen_session_truncate(e->session, 0, err));
    TRY(snellen_reader_start(r, sample->length, sample->index, err));
    do {
        TRY(snellen_reader_next(r, e->tokens, e->marks, READ_AT_ONCE, &n, err));
        TRY(take_piece(e, r, n, sample, err));
    } while (n);
    /* What was written last does not have to be read. */
    return e->right.n ? keep_answer(e, r, sample, err) : SNELLEN_OK;
}

/* ---- all of them ------------------------------------------------------------------------------------------------- */

static void count_answer(snellen_long_cell *cell, const snellen_recalled *a)
{
    cell->n++;
    cell->n_exact += a->exact;
    cell->n_tokens += a->n_tokens;
    cell->n_right += a->n_right;
}

/* A cell is done; after an interruption it counts the samples that are. */
static void close_cell(struct recalling *e, int64_t length, double depth, size_t first)
{
    snellen_long_result *r = &e->owned->result;
    snellen_long_cell cell = {.length = length, .depth = depth};
    for (size_t i = first; i < r->n_recalled; i++) count_answer(&cell, &r->recalled[i]);
    wilson_interval((uint32_t)cell.n_exact, (uint32_t)cell.n, &cell.exact_low, &cell.exact_high);
    if (cell.n) r->cells[r->n_cells++] = cell;
}

static snellen_status do_cell(struct recalling *e, size_t length, size_t depth, snellen_error *err)
{
    snellen_recalled sample = {.length = e->lengths[length], .depth = e->depths[depth]};
    snellen_long_result *r = &e->owned->result;
    size_t first = r->n_recalled;
    snellen_status status = SNELLEN_OK;
    for (; sample.index < e->options->n_samples && !status; sample.index++) {
        size_t before = r->n_recalled;
        status = do_sample(e, &sample, e->readers[depth], err);
        if (status) r->n_recalled = before;   /* an unfinished sample does not count */
    }
    close_cell(e, sample.length, sample.depth, first);
    return status;
}

static snellen_status do_cells(struct recalling *e, snellen_error *err)
{
    TRY(open_readers(e, err));
    TRY(open_session(e, err));
    TRY(NEW_ARRAY(&e->owned->result.cells, e->n_lengths * e->n_depths, "cells", err));
    for (size_t i = 0; i < e->n_lengths; i++)
        for (size_t d = 0; d < e->n_depths; d++) TRY(do_cell(e, i, d, err));
    return SNELLEN_OK;
}

static void recalling_free(struct recalling *e)
{
    for (size_t d = 0; e->readers && d < e->n_depths; d++) snellen_reader_free(e->readers[d]);
    mem_free(e->readers);
    snellen_session_free(e->session);
    row_free(&e->right);
    row_free(&e->written);
    mem_free(e);
}

snellen_long_eval_options snellen_long_eval_options_default(void)
{
    return (snellen_long_eval_options){.task = snellen_long_options_default(), .n_samples = DEFAULT_SAMPLES,
                                       .session = snellen_session_options_default()};
}

snellen_status snellen_long_eval(const snellen_model *model, const char *task, const snellen_long_eval_options *options,
                                 const snellen_progress *progress, snellen_long_result **result, snellen_error *err)
{
    struct recalling *e;
    *result = NULL;
    FAIL_IF(options->n_samples < 1 || options->n_samples > MAX_SAMPLES, SNELLEN_E_USAGE,
            "samples are %u, 1 to %d expected", options->n_samples, MAX_SAMPLES);
    TRY(NEW_ARRAY(&e, 1, "evaluation", err));
    e->model = model;
    e->options = options;
    e->task = task;
    e->progress = progress;
    e->depths = options->depths ? options->depths : &options->task.depth;
    e->n_depths = options->depths ? options->n_depths : 1;
    snellen_status status = NEW_ARRAY(&e->owned, 1, "results", err);
    if (!status) status = do_cells(e, err);
    if (!status || status == SNELLEN_E_CANCELLED) *result = &e->owned->result;
    else snellen_long_result_free(e->owned ? &e->owned->result : NULL);
    recalling_free(e);
    return status;
}

void snellen_long_result_free(snellen_long_result *result)
{
    if (!result) return;
    struct owned_recall *owned = (struct owned_recall *)result;
    free(result->recalled);
    mem_free(result->cells);
    arena_free(&owned->texts);
    mem_free(owned);
}
