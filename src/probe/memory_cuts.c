/* How much of an answer comes through a memory: it is cut after a block, the rest of the text is read, the answer's
 * probability is compared.
 *
 * One session is both trunk and branches: it reads up to a cut and is kept; each branch goes on from there with other
 * rows, and the session returns. The answer is read token by token in all of them and batches end where blocks do, so
 * that a branch whose rows were not replaced would give every bit of the answer without a cut. */
#include "probe/probe.h"

#include "model/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct cutting {
    snellen_memory_cuts public;   /* first: the two share their address */
    int64_t *blocks, *right;
    double *log_p;
    float *start;                 /* [levels, fam, d] rows the text began with */
    int64_t n_levels, level;      /* memories of their own: a layer's each (fam), or one; floats of each */
    const int32_t *tokens;
    int64_t n_before, n_read;     /* tokens before the answer; those that the trunk has read */
    snellen_session *session;
    struct strbuf kept;
    struct reading_progress progress;
};

/* ---- where ------------------------------------------------------------------------------------------------------- */

/* All blocks, or so many of them that the first and the last are among them and the steps are even. */
static snellen_status choose_cuts(struct cutting *c, const snellen_memory_options *o, snellen_error *err)
{
    snellen_memory_cuts *r = &c->public;
    int64_t block = c->session->options.block;
    FAIL_IF(o->n_cuts < 0, SNELLEN_E_USAGE, "%lld cuts, 0 (after every block) or more expected", (long long)o->n_cuts);
    r->n_blocks = (c->n_before - 1) / block;
    FAIL_IF(r->n_blocks < 1, SNELLEN_E_USAGE,
            "%lld tokens before the answer: no block of %lld is complete with a token behind it",
            (long long)c->n_before, (long long)block);
    int64_t n = o->n_cuts ? MIN(o->n_cuts, r->n_blocks) : r->n_blocks;
    r->n_columns = 1 + (o->by_layer && c->n_levels > 1 ? c->n_levels : 0);   /* one level is all there is */
    TRY(NEW_ARRAY(&c->blocks, n, "cuts", err));
    TRY(NEW_ARRAY(&c->log_p, n * r->n_columns, "cuts", err));
    TRY(NEW_ARRAY(&c->right, n * r->n_columns, "cuts", err));
    for (int64_t i = 0; i < n; i++)
        c->blocks[i] = n == 1 ? r->n_blocks - 1 : llround((double)i * (double)(r->n_blocks - 1) / (double)(n - 1));
    r->n_cuts = (size_t)n;
    c->progress.total = (uint64_t)c->n_before * 2;
    for (int64_t i = 0; i < n; i++)
        c->progress.total += (uint64_t)(c->n_before - (c->blocks[i] + 1) * block) * (uint64_t)r->n_columns;
    return SNELLEN_OK;
}

/* The rows that a text begins with: of a learned prompt what its way up through the layers gives, seen once a token is
 * read. */
static snellen_status take_start(struct cutting *c, snellen_error *err)
{
    const struct snellen_model *model = c->session->model;
    bool riders = c->session->memory->ops->riders;
    c->level = c->session->options.fam * model->desc.d_model;
    c->n_levels = riders ? model->desc.n_layers : 1;
    FAIL_IF(riders && c->session->options.block < 2, SNELLEN_E_USAGE, "cuts need blocks of at least 2 tokens");
    TRY(NEW_ARRAY(&c->start, c->n_levels * c->level, "memory rows", err));
    if (!riders) memcpy(c->start, model->memory.prompt, (size_t)c->level * sizeof *c->start);
    if (!riders) return SNELLEN_OK;
    TRY(snellen_session_feed(c->session, c->tokens, 1, NULL, err));
    for (int64_t i = 0; i < c->n_levels; i++)
        memcpy(c->start + i * c->level, snellen_session_memory(c->session, i), (size_t)c->level * sizeof *c->start);
    return snellen_session_truncate(c->session, 0, err);
}

/* ---- readings ---------------------------------------------------------------------------------------------------- */

static snellen_status read_on(struct cutting *c, int64_t from, int64_t to, snellen_error *err)
{
    TRY(snellen_session_feed(c->session, c->tokens + from, (size_t)(to - from), NULL, err));
    c->progress.done += (uint64_t)(to - from);
    return SNELLEN_OK;
}

/* From token `from` to the end. */
static snellen_status read_answer(struct cutting *c, int64_t from, struct answer_score *score, snellen_error *err)
{
    *score = (struct answer_score){0};
    TRY(read_on(c, from, c->n_before, err));
    for (int64_t i = 0; i < c->public.n_answer; i++)
        TRY(answer_token(c->session, c->tokens[c->n_before + i], score, err));
    return SNELLEN_OK;
}

/* Column 0 replaces all rows, column i those of level i - 1. */
static snellen_status one_branch(struct cutting *c, int64_t column, struct answer_score *score, snellen_error *err)
{
    TRY(session_return(c->session, &c->kept, err));
    for (int64_t i = 0; i < c->n_levels; i++)
        if (column == 0 || column == i + 1)
            TRY(session_replace_memory(c->session, i, c->start + i * c->level, err));
    return read_answer(c, c->n_read, score, err);
}

static snellen_status one_cut(struct cutting *c, int64_t cut, snellen_error *err)
{
    int64_t end = (c->blocks[cut] + 1) * c->session->options.block;
    if (c->n_read) TRY(session_return(c->session, &c->kept, err));
    TRY(read_on(c, c->n_read, end, err));
    c->n_read = end;
    TRY(session_keep(c->session, &c->kept, err));
    for (int64_t column = 0; column < c->public.n_columns; column++) {
        struct answer_score score;
        TRY(one_branch(c, column, &score, err));
        c->log_p[cut * c->public.n_columns + column] = score.log_p;
        c->right[cut * c->public.n_columns + column] = score.n_right;
    }
    return SNELLEN_OK;
}

/* Writes as many cuts as were finished. */
static snellen_status all_cuts(struct cutting *c, snellen_error *err)
{
    struct answer_score whole;
    snellen_memory_cuts *r = &c->public;
    size_t n = r->n_cuts;
    r->n_cuts = 0;
    TRY(read_answer(c, 0, &whole, err));
    r->log_p = whole.log_p;
    r->n_right = whole.n_right;
    r->blocks = c->blocks, r->cut_log_p = c->log_p, r->cut_right = c->right;
    TRY(snellen_session_truncate(c->session, 0, err));
    for (; r->n_cuts < n; r->n_cuts++) TRY(one_cut(c, (int64_t)r->n_cuts, err));
    return SNELLEN_OK;
}

static snellen_status cut(struct cutting *c, const snellen_model *model, int64_t n_tokens,
                          const snellen_memory_options *o, snellen_error *err)
{
    FAIL_IF(o->n_answer < 1 || o->n_answer >= n_tokens, SNELLEN_E_USAGE,
            "an answer of %lld tokens at the end of a text of %lld", (long long)o->n_answer, (long long)n_tokens);
    c->public.n_answer = o->n_answer;
    c->n_before = n_tokens - o->n_answer;
    TRY(memory_session(model, &o->session, true, &c->session, err));
    TRY(take_start(c, err));
    TRY(choose_cuts(c, o, err));
    const snellen_progress step = reading_step(&c->progress);
    snellen_session_set_progress(c->session, &step);
    return all_cuts(c, err);
}

snellen_status snellen_probe_memory_cuts(const snellen_model *model, const int32_t *tokens, size_t n_tokens,
                                         const snellen_memory_options *options, const snellen_progress *progress,
                                         snellen_memory_cuts **result, snellen_error *err)
{
    snellen_memory_options o = options ? *options : snellen_memory_options_default();
    struct cutting *c = calloc(1, sizeof *c);
    *result = NULL;
    FAIL_IF(!c, SNELLEN_E_MEMORY, "cuts: memory ran out");
    c->tokens = tokens;
    c->progress.all = progress;
    snellen_status status = cut(c, model, (int64_t)MIN(n_tokens, (size_t)INT64_MAX), &o, err);
    snellen_session_free(c->session);
    strbuf_free(&c->kept);
    mem_free(c->start);
    if (!status || (status == SNELLEN_E_CANCELLED && c->public.blocks)) *result = &c->public;
    else snellen_memory_cuts_free(&c->public);
    return status;
}

void snellen_memory_cuts_free(snellen_memory_cuts *result)
{
    if (!result) return;
    struct cutting *c = (struct cutting *)result;
    mem_free(c->blocks);
    mem_free(c->log_p);
    mem_free(c->right);
    free(c);
}
