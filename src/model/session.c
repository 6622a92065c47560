/* A session: one timeline over a model. It cuts what it is fed into batches, asks for the logits that are wanted, and
 * keeps those of the last row. All memory is taken when it is made. */
#include "model/session.h"

#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

/* ---- threads ----------------------------------------------------------------------------------------------------------- */

/* Cores that the cgroup's quota allows; INT32_MAX without one. */
static int cgroup_cores(void)
{
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f) return INT32_MAX;
    double quota, period;
    int n = fscanf(f, "%lf %lf", &quota, &period);
    fclose(f);
    return n == 2 && quota > 0 && period > 0 ? (int)ceil(quota / period) : INT32_MAX;
}

int snellen_default_threads(void)
{
    cpu_set_t mask;
    int cores = sched_getaffinity(0, sizeof mask, &mask) ? 1 : CPU_COUNT(&mask);
    return MAX(1, MIN(cores, cgroup_cores()));
}

/* ---- options ------------------------------------------------------------------------------------------------------------- */

enum { DEFAULT_CHUNK = 512, MAX_CHUNK = 8192, DEFAULT_SINKS = 4, DEFAULT_SINK_WINDOW = 1024, MAX_THREADS = 1024,
       DEFAULT_BLOCK = 1024, DEFAULT_SEGMENTS = 3, DEFAULT_FAM = 64 };
static const int64_t max_context = (int64_t)1 << 40;

snellen_session_options snellen_session_options_default(void)
{
    return (snellen_session_options){.memory = SNELLEN_MEMORY_FULL, .sinks = DEFAULT_SINKS, .segments = -1,
                                     .precision = SNELLEN_F32,
                                     .cache = SNELLEN_F32, .attn_temp = 1};
}

snellen_status snellen_memory_parse(const char *name, snellen_memory_kind *kind, snellen_error *err)
{
    struct strbuf known = {0};
    for (size_t i = 0; memory_list(i); i++) {
        if (!strcmp(memory_list(i)->name, name)) {
            *kind = memory_list(i)->kind;
            strbuf_free(&known);
            return SNELLEN_OK;
        }
        strbuf_printf(&known, "%s%s", i ? ", " : "", memory_list(i)->name);
    }
    snellen_status status = error_set(err, SNELLEN_E_USAGE, "memory '%s' is not known; there are: %s", name,
                                      known.text ? known.text : "");
    strbuf_free(&known);
    return status;
}

const char *snellen_memory_name(snellen_memory_kind kind)
{
    const struct memory_ops *ops = memory_find(kind);
    return ops ? ops->name : "";
}

static snellen_status in_range(int64_t value, int64_t low, int64_t high, const char *what, snellen_error *err)
{
    FAIL_IF(value < low || value > high, SNELLEN_E_USAGE, "%s is %lld, %lld to %lld expected", what, (long long)value,
            (long long)low, (long long)high);
    return SNELLEN_OK;
}

/* bswa, xl, fam, rmt: what is not given is the model's own, then the paper's. */
static snellen_status resolve_blocks(const snellen_model *model, snellen_session_options *o, snellen_error *err)
{
    const snellen_model_memory *own = &model->memory;
    const char *name = snellen_memory_name(o->memory);
    if (o->block == 0) o->block = own->block ? own->block : DEFAULT_BLOCK;
    if (o->segments < 0) o->segments = own->block ? own->segments : DEFAULT_SEGMENTS;
    if (o->fam == 0) o->fam = own->fam ? own->fam : DEFAULT_FAM;
    if (o->fam_blocks == 0) o->fam_blocks = own->fam_blocks ? own->fam_blocks : 1;
    if (o->memory != SNELLEN_MEMORY_XL) o->window = 0;
    else if (o->window == 0) o->window = own->window ? own->window : o->block;
    if (o->memory == SNELLEN_MEMORY_RMT) o->segments = 0;
    TRY(in_range(o->block, 1, 1 << 24, "block", err));
    TRY(in_range(o->segments, 0, 1 << 16, "segments", err));
    if (o->memory == SNELLEN_MEMORY_XL) TRY(in_range(o->window, 1, max_context, "window", err));
    if (!memory_find(o->memory)->n_rows) return SNELLEN_OK;
    TRY(in_range(o->fam, 1, 1 << 16, "fam", err));
    TRY(in_range(o->fam_blocks, 1, MEMORY_MAX_FAM_BLOCKS, "fam_blocks", err));
    FAIL_IF(own->prompt && own->fam != o->fam, SNELLEN_E_USAGE, "memory %s: %lld rows wanted, the model's memory prompt has %lld",
            name, (long long)o->fam, (long long)own->fam);
    FAIL_IF(o->fam > o->block, SNELLEN_E_USAGE, "memory %s: %lld rows are more than the %lld tokens of a block",
            name, (long long)o->fam, (long long)o->block);
    FAIL_IF(o->memory == SNELLEN_MEMORY_FAM && own->fam_positions != SNELLEN_FAM_LAST && model->desc.positions == POSITION_ALIBI, SNELLEN_E_UNSUPPORTED,
            "memory fam: with ALiBi its rows stand on the last places of a block");
    return SNELLEN_OK;
}

static snellen_status resolve_window(const snellen_model *model, const struct memory_ops *ops, snellen_session_options *o,
                                     snellen_error *err)
{
    if (o->memory == SNELLEN_MEMORY_FULL) {
        o->window = 0;
        return SNELLEN_OK;
    }
    if (ops->room) return resolve_blocks(model, o, err);
    if (o->window == 0 && model->memory.kind == o->memory) o->window = model->memory.window;
    if (o->window == 0) o->window = model->desc.window;
    if (o->window == 0 && ops->shifts_positions) o->window = DEFAULT_SINK_WINDOW;
    FAIL_IF(o->window == 0, SNELLEN_E_USAGE, "memory swa: the model has no window of its own, give one (--window W)");
    TRY(in_range(o->window, 1, max_context, "window", err));
    TRY(in_range(o->sinks, 0, 1 << 20, "sinks", err));
    FAIL_IF(ops->shifts_positions && positions_added(model), SNELLEN_E_UNSUPPORTED,
            "memory sink: %s positions of a %s model cannot be counted inside the cache", model->info.positions,
            model->arch->name);
    return SNELLEN_OK;
}

snellen_status session_resolve(const snellen_model *model, snellen_session_options *o, snellen_error *err)
{
    const struct memory_ops *ops = memory_find(o->memory);
    FAIL_IF(!ops, SNELLEN_E_USAGE, "memory kind %d is not known", (int)o->memory);
    FAIL_IF((unsigned)o->precision > SNELLEN_F16, SNELLEN_E_USAGE, "precision is f32, bf16 or f16");
    FAIL_IF(o->cache != SNELLEN_F32 && o->cache != SNELLEN_F16 && o->cache != SNELLEN_Q8_0, SNELLEN_E_USAGE,
            "cache is f32, f16 or q8_0");
    FAIL_IF(o->cache == SNELLEN_Q8_0 && dtype_row_bytes(DT_Q8_0, model->desc.head_dim) < 0, SNELLEN_E_UNSUPPORTED,
            "a q8_0 cache holds blocks of 32 numbers, but this model's heads are %lld wide: f16 or f32 can hold them",
            (long long)model->desc.head_dim);
    if (o->attn_temp == 0) o->attn_temp = 1;
    FAIL_IF(!(o->attn_temp > 0 && o->attn_temp <= 1e6), SNELLEN_E_USAGE, "the temperature of attention is %g, more than 0 "
            "expected (--attn-temp T)", o->attn_temp);
    TRY(in_range(o->attn_log, 0, max_context, "the length from which attention is sharpened", err));
    FAIL_IF(o->attn_log == 1, SNELLEN_E_USAGE, "attention is sharpened by log(t) / log(n): n = 1 has no logarithm to "
            "divide by, 2 or more expected (--attn-log N)");
    TRY(resolve_window(model, ops, o, err));
    if (o->n_context == 0) o->n_context = model->desc.n_context;
    TRY(in_range(o->n_context, 1, max_context, "context", err));
    FAIL_IF(model->desc.positions == POSITION_LEARNED && o->n_context > model->desc.n_context, SNELLEN_E_USAGE,
            "context is %lld, but the model has learned positions for %lld tokens", (long long)o->n_context,
            (long long)model->desc.n_context);
    if (o->chunk == 0) o->chunk = DEFAULT_CHUNK;
    TRY(in_range(o->chunk, 1, MAX_CHUNK, "chunk", err));
    if (o->memory == SNELLEN_MEMORY_FULL) o->chunk = MIN(o->chunk, o->n_context);
    if (o->n_threads == 0) o->n_threads = snellen_default_threads();
    return in_range(o->n_threads, 1, MAX_THREADS, "threads", err);
}

static enum dtype kv_type_of(const snellen_session_options *o)
{
    if (o->cache == SNELLEN_Q8_0) return DT_Q8_0;
    return o->cache == SNELLEN_F16 && o->precision != SNELLEN_BF16 ? DT_F16 : DT_F32;
}

struct memory_shape session_memory_shape(const snellen_model *model, const snellen_session_options *o)
{
    const struct model_desc *d = &model->desc;
    return (struct memory_shape){
        .n_layers = d->n_layers, .n_kv_heads = d->n_kv_heads, .head_dim = d->head_dim, .windowed = d->windowed,
        .model_window = d->window,
        .kv_type = kv_type_of(o),
        .n_context = o->n_context,
        .max_position = model->desc.positions == POSITION_LEARNED ? d->n_context : INT64_MAX,
        .chunk = o->chunk, .window = o->window, .sinks = o->sinks,
        .block = o->block, .segments = o->segments, .fam = memory_find(o->memory)->n_rows ? o->fam : 0,
        .fam_blocks = o->fam_blocks, .fam_positions = model->memory.fam_positions, .n_heads = d->n_heads,
        .d_model = d->d_model, .prompt = model->memory.prompt,
        .prompt_each_layer = model->memory.prompt_rows > model->memory.fam,
    };
}

struct workspace_shape session_workspace_shape(const struct memory_shape *m, const snellen_session_options *o)
{
    static const enum rounding roundings[] = {[SNELLEN_F32] = ROUND_NONE, [SNELLEN_BF16] = ROUND_BF16,
                                              [SNELLEN_F16] = ROUND_F16};
    const struct memory_ops *ops = memory_find(o->memory);
    return (struct workspace_shape){.rows = o->chunk + 2 * m->fam, .branches = ops->branches, .shifts = ops->shifts_positions,
                                    .n_threads = o->n_threads, .rounding = roundings[o->precision],
                                    .kv_type = m->kv_type, .exact = o->exact,
                                    .temper = {o->attn_temp != 1 || o->attn_log, o->attn_temp, o->attn_log}};
}

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
