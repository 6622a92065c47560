/* A session: one timeline over a model. It cuts what it is fed into batches, asks for the logits that are wanted, and
 * keeps those of the last row. All memory is taken when it is made. */
#include "model/session.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---------------------------------------------------------------------------------------------------------------- */

static snellen_status cost_of(const snellen_model *model, const snellen_session_options *o, snellen_session_cost *cost,
                              snellen_error *err)
{
    struct memory_shape m = session_memory_shape(model, o);
    struct workspace_shape w = session_workspace_shape(&m, o);
    cost->model_bytes = model->info.weight_bytes;
    cost->n_seen = o->memory == SNELLEN_MEMORY_FULL ? o->n_context : o->window;
    if (memory_find(o->memory)->room) cost->n_seen = o->window ? o->window : (o->segments + 1) * o->block;
    FAIL_IF(!memory_find(o->memory)->bytes(&m, &cost->cache_bytes) || !workspace_bytes(model, &w, &cost->scratch_bytes),
            SNELLEN_E_MEMORY, "a session of %lld tokens is more than any machine holds", (long long)o->n_context);
    return SNELLEN_OK;
}

snellen_status snellen_session_cost_of(const snellen_model *model, const snellen_session_options *options,
                                       snellen_session_cost *cost, snellen_error *err)
{
    snellen_session_options o = options ? *options : snellen_session_options_default();
    TRY(session_resolve(model, &o, err));
    return cost_of(model, &o, cost, err);
}

static snellen_status session_init(snellen_session *s, snellen_error *err)
{
    snellen_session_cost cost;
    TRY(cost_of(s->model, &s->options, &cost, err));
    uint64_t available = mem_available();
    FAIL_IF(cost.cache_bytes > available || cost.scratch_bytes > available - cost.cache_bytes, SNELLEN_E_MEMORY,
            "the session needs %.1f MB (cache %.1f MB for %lld tokens, working memory %.1f MB), %.1f MB are available; "
            "a smaller context (--context N), an f16 cache or a window needs less",
            (double)(cost.cache_bytes + cost.scratch_bytes) / 1e6, (double)cost.cache_bytes / 1e6,
            (long long)s->options.n_context, (double)cost.scratch_bytes / 1e6, (double)available / 1e6);
    struct memory_shape m = session_memory_shape(s->model, &s->options);
    struct workspace_shape w = session_workspace_shape(&m, &s->options);
    FAIL_IF(m.fam && !m.prompt, SNELLEN_E_USAGE, "memory %s: the model has no memory prompt; one is learnt in training "
            "(--fam-prompt FILE takes the tensor fam.prompt of a file)", snellen_memory_name(s->options.memory));
    TRY(memory_find(s->options.memory)->create(&m, &s->memory, err));
    TRY(workspace_init(&s->w, s->model, &w, err));
    TRY(NEW_ARRAY(&s->last_logits, s->model->desc.n_vocab, "logits", err));
    TRY(NEW_ARRAY(&s->rows, s->options.chunk, "rows", err));
    TRY(NEW_ARRAY(&s->next, s->options.chunk, "rows", err));
    return NEW_ARRAY(&s->groups, s->options.chunk, "rows", err);
}

snellen_status snellen_session_new(const snellen_model *model, const snellen_session_options *options,
                                   snellen_session **session, snellen_error *err)
{
    snellen_session_options o = options ? *options : snellen_session_options_default();
    TRY(session_resolve(model, &o, err));
    snellen_session *s = calloc(1, sizeof *s);
    FAIL_IF(!s, SNELLEN_E_MEMORY, "memory ran out");
    s->model = model;
    s->options = o;
    snellen_status status = session_init(s, err);
    if (status) {
        snellen_session_free(s);
        return status;
    }
    *session = s;
    return SNELLEN_OK;
}

void snellen_session_free(snellen_session *s)
{
    if (!s) return;
    if (s->memory) s->memory->ops->free(s->memory);
    workspace_free(&s->w);
    mem_free(s->last_logits);
    mem_free(s->rows);
    mem_free(s->next);
    mem_free(s->groups);
    free(s);
}

void snellen_session_set_progress(snellen_session *s, const snellen_progress *progress)
{
    s->progress = progress ? *progress : (snellen_progress){0};
}

void session_watch(snellen_session *s, struct attn_watch *watch)
{
    s->w.watch = watch;
}

int64_t snellen_session_length(const snellen_session *s)
{
    return s->memory->length;
}

int64_t snellen_session_capacity(const snellen_session *s)
{
    return s->memory->ops->capacity(s->memory);
}

const float *snellen_session_logits(const snellen_session *s)
{
    return s->has_logits ? s->last_logits : NULL;
}

void session_clear(snellen_session *s)
{
    s->memory->ops->truncate(s->memory, 0);
    s->has_logits = false;
}

snellen_status snellen_session_truncate(snellen_session *s, int64_t n_tokens, snellen_error *err)
{
    FAIL_IF(n_tokens < 0 || n_tokens > s->memory->length, SNELLEN_E_USAGE, "cannot keep %lld of %lld tokens",
            (long long)n_tokens, (long long)s->memory->length);
    if (n_tokens == s->memory->length) return SNELLEN_OK;
    FAIL_IF(!s->memory->ops->truncate(s->memory, n_tokens), SNELLEN_E_CONTEXT,
            "cannot go back to %lld tokens: what they see has left the %s memory", (long long)n_tokens,
            s->memory->ops->name);
    s->has_logits = false;
    return SNELLEN_OK;
}

/* ---- a memory's own rows --------------------------------------------------------------------------------------------------- */

const float *snellen_session_memory(const snellen_session *s, int64_t layer)
{
    const struct memory_riders *r = s->memory->ops->riders;
    bool there = r && s->memory->length > 0 && layer >= 0 && layer < s->model->desc.n_layers;
    return there ? r->rows(s->memory, layer) : NULL;
}

snellen_status snellen_session_set_memory(snellen_session *s, const float *rows, snellen_error *err)
{
    const struct memory_riders *r = s->memory->ops->riders;
    FAIL_IF(!r, SNELLEN_E_UNSUPPORTED, "%s memory has no rows of each layer's own", s->memory->ops->name);
    session_clear(s);
    int64_t n = s->memory->ops->n_rows(s->memory) * s->model->desc.d_model;
    for (int64_t layer = 0; layer < s->model->desc.n_layers; layer++)
        memcpy(r->rows(s->memory, layer), rows + layer * n, (size_t)n * sizeof *rows);
    r->carried(s->memory);
    return SNELLEN_OK;
}

snellen_status session_replace_memory(snellen_session *s, int64_t layer, const float *rows, snellen_error *err)
{
    const struct memory_ops *ops = s->memory->ops;
    FAIL_IF(!ops->replace, SNELLEN_E_UNSUPPORTED, "%s memory has no rows of its own", ops->name);
    int64_t n = s->memory->length;
    FAIL_IF(n == 0 || n % s->options.block, SNELLEN_E_USAGE, "a memory is replaced where a block of %lld tokens ends, "
            "not after %lld", (long long)s->options.block, (long long)n);
    FAIL_IF(layer < 0 || layer >= (ops->riders ? s->model->desc.n_layers : 1), SNELLEN_E_USAGE,
            "layer %lld has no memory", (long long)layer);
    ops->replace(s->memory, layer, rows);
    return SNELLEN_OK;
}

/* ---- logits of a batch ------------------------------------------------------------------------------------------------------ */

/* Where a call's results go, and how far it is. */
struct feed {
    const snellen_outputs *out;
    size_t n_tokens;        /* of the whole call */
    size_t at;              /* tokens before this batch */
    size_t n_logits;        /* rows of out->logits already written */
};

static bool row_wanted(const struct feed *f, size_t row)
{
    const snellen_outputs *o = f->out;
    if (!o->logits) return false;
    return !o->rows || (f->n_logits < o->n_rows && o->rows[f->n_logits] == (int64_t)row);
}

/* Only chosen rows, no nll: one product, straight into the caller's array. */
static void logits_of_wanted(snellen_session *s, struct feed *f, int64_t n)
{
    int64_t vocab = s->model->desc.n_vocab, n_wanted = 0;
    float *to = f->out->logits ? f->out->logits + f->n_logits * (size_t)vocab : NULL;
    for (int64_t i = 0; i < n; i++)
        if (row_wanted(f, f->at + (size_t)i)) {
            s->rows[n_wanted++] = i;
            f->n_logits++;
        }
    if (n_wanted) decoder_logits(s->model, &s->w, s->rows, n_wanted, to);
}

/* Is this the likeliest token, the first of equals? */
static bool is_likeliest(const float *logits, int64_t vocab, int32_t token)
{
    for (int64_t i = 0; i < vocab; i++)
        if (logits[i] > logits[token] || (i < token && !(logits[i] < logits[token]))) return false;
    return true;
}

/* Of token t of the call, whose logits are those after token t - 1. */
static void score_token(const snellen_session *s, const struct feed *f, size_t t, const float *logits, int32_t token)
{
    int64_t vocab = s->model->desc.n_vocab;
    f->out->nll[t] = cross_entropy(logits, vocab, token);
    if (f->out->right) f->out->right[t] = is_likeliest(logits, vocab, token);
}

/* All rows, a tile at a time: each gives the nll of the token after it. nll [n], next [n] of this batch; nll of row i's
 * next token belongs to row i + 1. */
static void logits_of_all(snellen_session *s, struct feed *f, int64_t n)
{
    int64_t vocab = s->model->desc.n_vocab;
    for (int64_t row0 = 0; row0 < n; row0 += s->w.logit_rows) {
        int64_t tile = MIN(s->w.logit_rows, n - row0);
        for (int64_t i = 0; i < tile; i++) s->rows[i] = row0 + i;
        decoder_logits(s->model, &s->w, s->rows, tile, s->w.logits);
        #pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < tile; i++)
            if (s->next[row0 + i] >= 0)
                score_token(s, f, f->at + (size_t)(row0 + i) + 1, s->w.logits + i * vocab, s->next[row0 + i]);
        for (int64_t i = 0; i < tile; i++)
            if (row_wanted(f, f->at + (size_t)(row0 + i)))
                memcpy(f->out->logits + f->n_logits++ * (size_t)vocab, s->w.logits + i * vocab,
                       (size_t)vocab * sizeof(float));
    }
}

/* One batch through the decoder, with all that the call wants of it. */
static snellen_status run_batch(snellen_session *s, const struct batch *batch, struct feed *f, snellen_error *err)
{
    int64_t d = s->model->desc.d_model;
    struct batch_outputs hidden = {0};
    if (f->out->hidden) {
        hidden.hidden = f->out->hidden + f->at * (size_t)d;
        hidden.hidden_stride = (int64_t)f->n_tokens * d;
    }
    TRY(decoder_forward(s->model, &s->w, batch, s->memory, &hidden, err));
    if (f->out->nll)
        logits_of_all(s, f, batch->n_rows);
    else
        logits_of_wanted(s, f, batch->n_rows);
    f->at += (size_t)batch->n_rows;
    return SNELLEN_OK;
}

snellen_status session_check_tokens(const snellen_model *model, const int32_t *tokens, size_t n, snellen_error *err)
{
    int64_t vocab = model->desc.n_vocab;
    for (size_t i = 0; i < n; i++)
        FAIL_IF(tokens[i] < 0 || tokens[i] >= vocab, SNELLEN_E_USAGE, "token %zu is %d, 0 to %lld expected", i, tokens[i],
                (long long)vocab - 1);
    return SNELLEN_OK;
}

static snellen_status report(const snellen_session *s, size_t done, size_t total, snellen_error *err)
{
    FAIL_IF(s->progress.step && !s->progress.step(s->progress.user, "tokens", done, total), SNELLEN_E_CANCELLED,
            "stopped after %zu of %zu tokens", done, total);
    return SNELLEN_OK;
}

/* ---- feeding -------------------------------------------------------------------------------------------------------------------- */

static snellen_status feed_chunks(snellen_session *s, const int32_t *tokens, size_t n_tokens, struct feed *f,
                                  snellen_error *err)
{
    while (f->at < n_tokens) {
        TRY(report(s, f->at, n_tokens, err));
        int64_t n = (int64_t)MIN(n_tokens - f->at, (size_t)s->options.chunk);
        if (s->memory->ops->room) n = MIN(n, s->memory->ops->room(s->memory));
        int64_t last = n - 1;
        const int32_t *chunk = tokens + f->at;
        if (f->out->nll) f->out->nll[f->at] = NAN;
        if (f->out->right) f->out->right[f->at] = 0;
        if (f->out->nll && s->has_logits) score_token(s, f, f->at, s->last_logits, chunk[0]);
        for (int64_t i = 0; i < n; i++) {
            s->w.positions[i] = s->memory->length + i;
            s->next[i] = i < last ? chunk[i + 1] : -1;
        }
        struct batch batch = {.tokens = chunk, .positions = s->w.positions, .n_rows = n};
        s->has_logits = false;
        TRY(run_batch(s, &batch, f, err));
        decoder_logits(s->model, &s->w, &last, 1, s->last_logits);
        s->has_logits = true;
    }
    return SNELLEN_OK;
}

static const snellen_outputs no_outputs;

snellen_status snellen_session_feed(snellen_session *s, const int32_t *tokens, size_t n_tokens,
                                    const snellen_outputs *outputs, snellen_error *err)
{
    int64_t room = snellen_session_capacity(s) - s->memory->length;
    TRY(session_check_tokens(s->model, tokens, n_tokens, err));
    FAIL_IF(room < 0 || n_tokens > (uint64_t)room, SNELLEN_E_CONTEXT,
            "%zu tokens after %lld are more than the context of %lld; --context N makes room where the model's positions "
            "allow it, --memory sink reads without end", n_tokens, (long long)s->memory->length,
            (long long)snellen_session_capacity(s));
    FAIL_IF(outputs && outputs->right && !outputs->nll, SNELLEN_E_USAGE, "outputs: right comes beside nll, which is NULL");
    int threads = omp_get_max_threads();
    omp_set_num_threads(s->options.n_threads);
    struct feed f = {.out = outputs ? outputs : &no_outputs, .n_tokens = n_tokens};
    snellen_status status = feed_chunks(s, tokens, n_tokens, &f, err);
    omp_set_num_threads(threads);
    return status;
}

/* ---- branches -------------------------------------------------------------------------------------------------------------------- */

static snellen_status check_branches(const snellen_session *s, const snellen_branch *branches, size_t n_branches,
                                     size_t *n_tokens, snellen_error *err)
{
    int64_t length = s->memory->length, capacity = snellen_session_capacity(s);
    FAIL_IF(!s->memory->ops->branches, SNELLEN_E_UNSUPPORTED, "branches need full memory, the session has %s",
            s->memory->ops->name);
    *n_tokens = 0;
    for (size_t i = 0; i < n_branches; i++) {
        const snellen_branch *b = &branches[i];
        FAIL_IF(b->keep < 0 || b->keep > length, SNELLEN_E_USAGE, "branch %zu keeps %lld of %lld tokens", i,
                (long long)b->keep, (long long)length);
        /* A branch of several batches leaves its earlier rows behind the session's own. */
        int64_t start = b->n_tokens > (size_t)s->options.chunk ? length : b->keep;
        FAIL_IF(b->n_tokens > (uint64_t)(capacity - start), SNELLEN_E_CONTEXT,
                "branch %zu: %zu tokens after %lld are more than the context of %lld", i, b->n_tokens, (long long)start,
                (long long)capacity);
        TRY(session_check_tokens(s->model, b->tokens, b->n_tokens, err));
        *n_tokens += b->n_tokens;
    }
    return SNELLEN_OK;
}

/* A batch in the making: groups of rows from as many branches as fit. */
struct packing {
    struct batch batch;
    int32_t *tokens;
};

static void pack_rows(snellen_session *s, struct packing *p, const snellen_branch *b, int64_t placed, int64_t n)
{
    int64_t row0 = p->batch.n_rows;
    s->groups[p->batch.n_groups++] = (struct row_group){.row0 = row0, .rows = n, .keep = b->keep, .placed = placed};
    for (int64_t i = 0; i < n; i++) {
        int64_t j = placed + i;
        p->tokens[row0 + i] = b->tokens[j];
        s->w.positions[row0 + i] = b->keep + j;
        s->next[row0 + i] = i + 1 < n ? b->tokens[j + 1] : -1;
    }
    p->batch.n_rows += n;
}

static snellen_status flush_pack(snellen_session *s, struct packing *p, struct feed *f, snellen_error *err)
{
    if (!p->batch.n_rows) return SNELLEN_OK;
    TRY(report(s, f->at, f->n_tokens, err));
    for (size_t i = 0; f->out->nll && i < p->batch.n_groups; i++) f->out->nll[f->at + (size_t)s->groups[i].row0] = NAN;
    TRY(run_batch(s, &p->batch, f, err));
    p->batch.n_rows = 0;
    p->batch.n_groups = 0;
    return SNELLEN_OK;
}

/* A branch longer than a chunk, alone in its batches. Between two of them the last row's logits give the nll of the next
 * batch's first token. */
static snellen_status run_long_branch(snellen_session *s, struct packing *p, const snellen_branch *b, struct feed *f,
                                      snellen_error *err)
{
    int64_t vocab = s->model->desc.n_vocab;
    for (int64_t placed = 0; placed < (int64_t)b->n_tokens;) {
        int64_t n = MIN(s->options.chunk, (int64_t)b->n_tokens - placed), last = n - 1;
        pack_rows(s, p, b, placed, n);
        float first = NAN;
        if (placed && f->out->nll) first = cross_entropy(s->w.logits, vocab, b->tokens[placed]);
        size_t at = f->at;
        TRY(flush_pack(s, p, f, err));
        if (f->out->nll) {
            f->out->nll[at] = first;
            decoder_logits(s->model, &s->w, &last, 1, s->w.logits);
        }
        placed += n;
    }
    return SNELLEN_OK;
}

static snellen_status run_branches(snellen_session *s, const snellen_branch *branches, size_t n_branches,
                                   struct packing *p, struct feed *f, snellen_error *err)
{
    p->batch = (struct batch){.tokens = p->tokens, .positions = s->w.positions, .groups = s->groups};
    for (size_t i = 0; i < n_branches; i++) {
        const snellen_branch *b = &branches[i];
        if (!b->n_tokens) continue;
        if (p->batch.n_rows + (int64_t)b->n_tokens > s->options.chunk) TRY(flush_pack(s, p, f, err));
        if (b->n_tokens > (size_t)s->options.chunk)
            TRY(run_long_branch(s, p, b, f, err));
        else
            pack_rows(s, p, b, 0, (int64_t)b->n_tokens);
    }
    return flush_pack(s, p, f, err);
}

snellen_status snellen_session_branches(snellen_session *s, const snellen_branch *branches, size_t n_branches,
                                        const snellen_outputs *outputs, snellen_error *err)
{
    struct feed f = {.out = outputs ? outputs : &no_outputs};
    FAIL_IF(f.out->right, SNELLEN_E_UNSUPPORTED, "outputs: right is not told of branches");
    TRY(check_branches(s, branches, n_branches, &f.n_tokens, err));
    struct packing p = {0};
    TRY(NEW_ARRAY(&p.tokens, s->options.chunk, "branch rows", err));
    int threads = omp_get_max_threads();
    omp_set_num_threads(s->options.n_threads);
    snellen_status status = run_branches(s, branches, n_branches, &p, &f, err);
    omp_set_num_threads(threads);
    mem_free(p.tokens);
    return status;
}
