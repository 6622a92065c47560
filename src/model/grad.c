/* A step of training or attribution: memory, the order of blocks and layers, the way in and the way out. */
#include "model/grad_step.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

/* Rows of a block that go through a layer together: enough for fast products, few enough for the caches. A model of 4
 * layers and width 128 trains on 16 x 60 rows at a time 1.1 times as fast as on 64 x 60. */
enum { GROUP_ROWS = 1024 };
enum { SLICE_BYTES = 96 << 20, LEAST_SLICE = 64, MOST_SLICE = 4096, COLUMNS = 64 };

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static void lay_out_tape(struct grad *g, struct layout *l, struct tape *t)
{
    const struct model_desc *d = &g->model->desc;
    const struct arch *arch = g->model->arch;
    int64_t rows = g->block_rows, width_q = d->n_heads * d->head_dim, width_kv = d->n_kv_heads * d->head_dim;
    t->h = layout_rows(l, rows, d->d_model);
    t->q_raw = arch->qk_norm ? layout_rows(l, rows, width_q) : NULL;
    t->k_raw = arch->qk_norm ? layout_rows(l, rows, width_kv) : NULL;
    t->q = layout_rows(l, rows, width_q);
    t->mix = layout_rows(l, rows, width_q);
    t->lse = layout_rows(l, rows, d->n_heads);
    t->a = arch->post_norms ? layout_rows(l, rows, d->d_model) : g->s.t1;
    t->x_mid = d->parallel_residual ? NULL : layout_rows(l, rows, d->d_model);
    t->h2 = layout_rows(l, rows, d->d_model);
    t->gate = arch->gated ? layout_rows(l, rows, d->d_ff) : NULL;
    t->up = layout_rows(l, rows, d->d_ff);
    t->act = layout_rows(l, rows, d->d_ff);
    t->f = arch->post_norms ? layout_rows(l, rows, d->d_model) : g->s.t2;
}

static void lay_out_sink(struct grad *g, struct layout *l, bool rotary, bool local)
{
    const struct model_desc *d = &g->model->desc;
    struct grad_scratch *s = &g->s;
    int64_t rows = g->block_rows, half = g->model->rope.half;
    s->near = layout_place(l, (uint64_t)rows, sizeof *s->near);
    s->near_turns = rotary ? layout_rows(l, rows, 2 * half) : NULL;
    s->near_turns_local = local ? layout_rows(l, rows, 2 * half) : NULL;
    s->q_near = layout_rows(l, rows, d->n_heads * d->head_dim);
    s->dq_near = layout_rows(l, rows, d->n_heads * d->head_dim);
}

static void lay_out_scratch(struct grad *g, struct layout *l)
{
    const struct model_desc *d = &g->model->desc;
    struct grad_scratch *s = &g->s;
    int64_t rows = g->block_rows, width_q = d->n_heads * d->head_dim, half = g->model->rope.half;
    bool rotary = d->positions == POSITION_ROTARY, local = rotary && d->window > 0;
    int64_t widest = MAX(MAX(d->d_model, d->d_ff), width_q);
    struct attn_shape shape = {.n_heads = d->n_heads, .n_kv_heads = d->n_kv_heads, .head_dim = d->head_dim};
    int64_t fam = g->options.fam, n_kinds = g->rows_of ? g->rows_of->n_kinds : 0;
    int64_t most_keys = (g->options.segments + 1) * g->block_each + (g->options.fam_blocks + g->options.rmt) * fam;
    int64_t n_lists = (1 + n_kinds) * g->options.n_seqs;
    s->t1 = layout_rows(l, rows, d->d_model);
    s->t2 = layout_rows(l, rows, d->d_model);
    s->dh = layout_rows(l, rows, d->d_model);
    s->dq = layout_rows(l, rows, width_q);
    s->dmix = layout_rows(l, rows, width_q);
    s->dup = layout_rows(l, rows, d->d_ff);
    s->dgate = g->model->arch->gated ? layout_rows(l, rows, d->d_ff) : NULL;
    s->stats = layout_rows(l, MAX(rows * d->n_heads, g->slice), 2);
    s->low = g->model->lora_rank ? layout_rows(l, rows, g->model->lora_rank) : NULL;
    s->dlow = g->model->lora_rank ? layout_rows(l, rows, g->model->lora_rank) : NULL;
    s->positions = layout_place(l, (uint64_t)rows, sizeof *s->positions);
    s->stands = layout_place(l, (uint64_t)rows, sizeof *s->stands);
    s->turns = rotary ? layout_rows(l, rows, 2 * half) : NULL;
    s->turns_local = local ? layout_rows(l, rows, 2 * half) : NULL;
    s->key_turns = fam && rotary ? layout_rows(l, rows, 2 * half) : s->turns;
    s->key_turns_local = fam && local ? layout_rows(l, rows, 2 * half) : s->turns_local;
    s->places = layout_place(l, (uint64_t)fam, sizeof *s->places);
    if (g->options.sinks) lay_out_sink(g, l, rotary, local);
    s->sequences = layout_place(l, (uint64_t)n_lists, sizeof *s->sequences);
    s->spans = layout_place(l, (uint64_t)(n_lists * grad_spans_each(&g->options)), sizeof *s->spans);
    s->attention = layout_place(l, attention_backward_scratch_bytes(&shape, rows, most_keys, g->options.n_threads), 1);
    s->panel = layout_place(l, matmul_backward_scratch_bytes(widest), 1);
    g->w.low = s->low;
    g->w.round = (struct roundings){0};
    g->w.exact = true; /* the backward is that of f32 products */
    g->w.scratch_bytes = matmul_exact_scratch_bytes(g->options.n_threads);
    g->w.scratch = layout_place(l, g->w.scratch_bytes, 1);
}

static void lay_out_kv(struct grad *g, struct layout *l, struct grad_kv *kv)
{
    int64_t width = g->model->desc.n_kv_heads * g->model->desc.head_dim;
    int64_t rows = g->total_rows + g->options.fam;
    kv->k = layout_rows(l, rows, width);
    kv->v = layout_rows(l, rows, width);
    kv->dk = layout_rows(l, rows, width);
    kv->dv = layout_rows(l, rows, width);
}

static void lay_out_memory(struct grad *g, struct layout *l)
{
    int64_t d = g->model->desc.d_model, n_layers = g->model->desc.n_layers, fam = g->options.fam;
    if (!fam) return;
    g->raised = layout_rows(l, g->block_rows, d);
    g->dmemory = layout_rows(l, grad_levels(g) * g->group * fam, d);
    g->memory_rows = layout_rows(l, grad_levels(g) * fam, d);
    if (g->options.rmt) return;
    g->starts = layout_place(l, (uint64_t)n_layers, sizeof *g->starts);
    for (int64_t i = 0; i < n_layers; i++) {
        float *rows = layout_rows(l, fam, d);
        if (g->starts) g->starts[i] = rows;
    }
    lay_out_tape(g, l, &g->start_tape);
}

/* The list of all arrays. In the first pass every place is NULL: what is there is decided from the settings alone. */
static void lay_out(struct grad *g, struct layout *l)
{
    int64_t d = g->model->desc.d_model, n_layers = g->model->desc.n_layers, n = g->n_blocks * n_layers;
    int64_t n_tapes = g->options.checkpoint ? 1 : n;
    struct tape tape;
    struct grad_kv kv;
    lay_out_scratch(g, l);
    g->inputs = layout_place(l, (uint64_t)n, sizeof *g->inputs);
    g->tapes = layout_place(l, (uint64_t)n_tapes, sizeof *g->tapes);
    g->kv = layout_place(l, (uint64_t)n_layers, sizeof *g->kv);
    for (int64_t i = 0; i < n; i++) {
        float *rows = layout_rows(l, g->block_rows, d);
        if (g->inputs) g->inputs[i] = rows;
    }
    for (int64_t i = 0; i < n_tapes; i++) lay_out_tape(g, l, g->tapes ? &g->tapes[i] : &tape);
    for (int64_t i = 0; i < n_layers; i++) {
        if (i == 0 || !g->one_kv) lay_out_kv(g, l, &kv);
        if (g->kv) g->kv[i] = kv;
    }
    lay_out_memory(g, l);
    g->x = layout_rows(l, g->block_rows, d);
    g->dx = layout_rows(l, g->total_rows, d);
    g->logits = g->options.inputs_only ? NULL : layout_rows(l, g->slice, g->model->desc.n_vocab);
    bool capped = !g->options.inputs_only && g->model->desc.logit_soft_cap > 0;
    g->capped = capped ? layout_rows(l, g->slice, g->model->desc.n_vocab) : NULL;
    g->picked = layout_rows(l, g->slice, d);
    g->normed = layout_rows(l, g->slice, d);
    g->dpicked = layout_rows(l, g->slice, d);
    g->dnormed = layout_rows(l, g->slice, d);
    g->losses = layout_rows(l, g->slice, 1);
    g->picks = layout_place(l, (uint64_t)g->block_rows, sizeof *g->picks);
    g->tokens = layout_place(l, (uint64_t)g->block_rows, sizeof *g->tokens);
}

static snellen_status check_memory(const struct snellen_model *model, struct grad_options *o, snellen_error *err)
{
    const snellen_model_memory *own = &model->memory;
    bool seen = o->segments || o->stop_gradient || o->block_window || o->fam_blocks > 1;
    bool odd = !o->fam || o->fam_positions != SNELLEN_FAM_LAST || (own->prompt && own->prompt_rows != o->fam);
    FAIL_IF(o->rmt && (seen || odd), SNELLEN_E_USAGE,
            "a recurrent memory: one prompt of at least a row, one memory on the last places, and no blocks before the own one");
    if (!o->fam) o->fam_blocks = 0;
    if (!o->fam) return SNELLEN_OK;
    if (!o->fam_blocks) o->fam_blocks = 1;
    FAIL_IF(o->fam < 0 || o->fam_blocks < 0 || o->fam_blocks > MEMORY_MAX_FAM_BLOCKS || !o->block || o->fam > o->block,
            SNELLEN_E_USAGE, "a feedback memory of %lld rows, %lld blocks of it: 1 to %d blocks, and rows "
            "as many as a block has tokens at most (%lld)", (long long)o->fam, (long long)o->fam_blocks,
            MEMORY_MAX_FAM_BLOCKS, (long long)o->block);
    FAIL_IF(!own->prompt || own->fam != o->fam, SNELLEN_E_USAGE, "a feedback memory of %lld rows: the model's prompt has %lld",
            (long long)o->fam, (long long)own->fam);
    FAIL_IF(o->fam_positions != SNELLEN_FAM_LAST && model->desc.positions == POSITION_ALIBI, SNELLEN_E_UNSUPPORTED,
            "feedback memory: with ALiBi its rows stand on the last places of a block");
    return SNELLEN_OK;
}

static snellen_status resolve(const struct snellen_model *model, const struct grad_options *options, struct grad *g,
                              snellen_error *err)
{
    static const int64_t most = (int64_t)1 << 31;
    struct grad_options *o = &g->options;
    *o = *options;
    g->model = model;
    FAIL_IF(o->n_seqs < 1 || o->n_tokens < 1 || o->n_seqs > most / o->n_tokens, SNELLEN_E_USAGE,
            "%lld sequences of %lld tokens a step", (long long)o->n_seqs, (long long)o->n_tokens);
    FAIL_IF(o->block < 0 || o->segments < 0 || o->window < 0 || o->block_window < 0 || o->segments > most,
            SNELLEN_E_USAGE, "sizes of blocks and windows are not negative");
    FAIL_IF(!o->block && (o->segments || o->block_window || o->stop_gradient), SNELLEN_E_USAGE,
            "segments, block window and stopped gradients belong to blocks");
    FAIL_IF(o->block && o->window, SNELLEN_E_USAGE, "a window and blocks exclude each other");
    FAIL_IF(o->sinks && (o->sinks < 0 || o->sinks > ATTENTION_NEAR_KEYS || !o->window || positions_added(model)),
            SNELLEN_E_UNSUPPORTED, "%lld first tokens beside a window: at most %d, and positions that can shift", (long long)o->sinks,
            ATTENTION_NEAR_KEYS);
    TRY(check_memory(model, o, err));
    g->rows_of = o->rmt ? &grad_rmt : o->fam ? &grad_fam : NULL;
    g->extra = g->rows_of ? g->rows_of->n_kinds * o->fam : 0;
    if (!o->n_threads) o->n_threads = snellen_default_threads();
    if (!o->block) o->block = o->n_tokens;
    g->block_each = o->block = MIN(o->block, o->n_tokens);
    g->n_blocks = (o->n_tokens + o->block - 1) / o->block;
    o->segments = MIN(o->segments, g->n_blocks - 1);
    FAIL_IF(o->inputs_only && o->n_seqs > 1, SNELLEN_E_USAGE, "attribution takes one sequence");
    int64_t fit = MAX(1, GROUP_ROWS / g->block_each), groups = (o->n_seqs + fit - 1) / fit;
    g->group = (o->n_seqs + groups - 1) / groups;
    g->block_rows = g->group * (g->block_each + g->extra);
    g->total_rows = g->group * (o->n_tokens + g->n_blocks * g->extra);
    int64_t slice = SLICE_BYTES / (int64_t)sizeof(float) / model->desc.n_vocab;
    g->slice = MIN(MAX(MIN(slice, MOST_SLICE), LEAST_SLICE), g->block_rows);
    g->one_kv = g->n_blocks == 1 && o->checkpoint;
    return SNELLEN_OK;
}

snellen_status grad_bytes(const struct snellen_model *model, const struct grad_options *options, uint64_t *bytes,
                          snellen_error *err)
{
    struct grad g = {0};
    struct layout l = {0};
    TRY(resolve(model, options, &g, err));
    lay_out(&g, &l);
    FAIL_IF(l.overflow, SNELLEN_E_MEMORY, "a step of %lld x %lld tokens is more than any machine holds",
            (long long)options->n_seqs, (long long)options->n_tokens);
    *bytes = l.used;
    return SNELLEN_OK;
}

snellen_status grad_new(const struct snellen_model *model, const struct grad_options *options, struct grad **out,
                        snellen_error *err)
{
    uint64_t bytes;
    TRY(grad_bytes(model, options, &bytes, err));
    FAIL_IF(bytes > mem_available(), SNELLEN_E_MEMORY,
            "a step of %lld x %lld tokens needs %.1f MB, %.1f MB are available; fewer or shorter sequences%s need less",
            (long long)options->n_seqs, (long long)options->n_tokens, (double)bytes / 1e6,
            (double)mem_available() / 1e6, options->checkpoint ? "" : ", or checkpointing,");
    struct grad *g = calloc(1, sizeof *g);
    FAIL_IF(!g, SNELLEN_E_MEMORY, "memory ran out");
    struct layout l = {0};
    snellen_status status = resolve(model, options, g, err);
    if (!status) status = NEW_ARRAY(&g->memory, bytes, "a step's memory", err);
    if (status) {
        grad_free(g);
        return status;
    }
    l.block = g->memory;
    lay_out(g, &l);
    *out = g;
    return SNELLEN_OK;
}

void grad_free(struct grad *g)
{
    if (!g) return;
    mem_free(g->memory);
    free(g);
}

/* ---- blocks and tapes -------------------------------------------------------------------------------------------- */

int64_t grad_blocks(const struct grad *g)
{
    return (g->n_tokens + g->block_each - 1) / g->block_each;
}

struct grad_block grad_block_at(const struct grad *g, int64_t index)
{
    int64_t before = index * g->block_each, each = MIN(g->block_each, g->n_tokens - before);
    return (struct grad_block){.index = index, .row0 = (before + index * g->extra) * g->n_seqs,
                               .n_rows = (each + g->extra) * g->n_seqs, .rows_each = each, .n_tokens = each * g->n_seqs,
                               .position = g->position + before,
                               .bare = g->rows_of == &grad_fam && index == 0 && !g->memory_start};
}

/* Tokens, positions and turns of a block, before its rows go up or down. */
static void enter_block(struct grad *g, const struct grad_block *b, const struct step *step)
{
    const struct snellen_model *model = g->model;
    for (int64_t i = 0; i < b->n_tokens; i++) {
        int64_t seq = i / b->rows_each, row = i % b->rows_each, at = seq * g->stride + b->index * g->block_each + row;
        g->s.positions[i] = b->position + row;
        g->s.stands[i] = step->places ? step->places[at] : g->s.positions[i];
        g->tokens[i] = step->tokens[at];
    }
    if (g->s.turns)
        rope_angles(g->s.turns, g->s.stands, b->n_tokens, model->rope.inv_freq, model->rope.half, model->rope.scale);
    if (g->s.turns_local)
        rope_angles(g->s.turns_local, g->s.stands, b->n_tokens, model->rope_local.inv_freq, model->rope_local.half,
                    model->rope_local.scale);
    if (g->options.sinks) grad_sink_enter_block(g, b);
    if (g->rows_of) g->rows_of->enter_block(g, b);
}

static struct tape *tape_of(struct grad *g, const struct grad_block *b, int64_t layer)
{
    int64_t i = b->index * g->model->desc.n_layers + layer;
    struct tape *t = &g->tapes[g->options.checkpoint ? 0 : i];
    t->x = g->inputs[i];
    return t;
}

/* What the backward of a layer reads; run again where only its input was kept. */
struct tape *grad_remember(struct grad *g, const struct grad_block *b, int64_t layer)
{
    struct tape *t = tape_of(g, b, layer);
    if (g->options.checkpoint) grad_layer_forward(g, layer, b, t, NULL);
    return t;
}

struct tape *grad_remember_attention(struct grad *g, const struct grad_block *b, int64_t layer)
{
    struct tape *t = tape_of(g, b, layer);
    if (g->options.checkpoint) grad_layer_attend(g, layer, b, t);
    return t;
}

void grad_clear_kv(struct grad *g, int64_t layer)
{
    int64_t width = g->model->desc.n_kv_heads * g->model->desc.head_dim;
    int64_t rows = g->options.fam ? g->total_rows + g->options.fam : g->n_seqs * g->n_tokens;
    size_t bytes = (size_t)(rows * width) * sizeof(float);
    memset(g->kv[layer].dk, 0, bytes);
    memset(g->kv[layer].dv, 0, bytes);
}

/* ---- the way in -------------------------------------------------------------------------------------------------- */

static void embed(struct grad *g, const struct grad_block *b, float *x)
{
    const struct batch batch = {.tokens = g->tokens, .positions = g->s.stands, .n_rows = b->n_tokens};
    g->w.x = x;
    g->w.h = g->s.t1;
    decoder_embed(g->model, &g->w, &batch);
}

/* table[rows[i]] += scale dx[i]; a slice of columns at a time, so that equal rows add up in order */
static void add_rows(float *table, const float *dx, float scale, const struct grad *g, const struct grad_block *b,
                     bool by_position)
{
    int64_t d = g->model->desc.d_model;
    #pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < d; j += COLUMNS)
        for (int64_t i = 0; i < b->n_tokens; i++) {
            float *to = table + (by_position ? g->s.stands[i] : g->tokens[i]) * d;
            for (int64_t c = j; c < MIN(j + COLUMNS, d); c++) to[c] += scale * dx[i * d + c];
        }
}

static void embed_backward(struct grad *g, const struct grad_block *b, float *dx)
{
    const struct snellen_model *model = g->model;
    const struct norm *norm = &model->embedding_norm;
    if (!model->embedding.dweight && !model->position_table.dweight && !norm->dweight) return;
    if (norm->weight) {
        struct snellen_model bare = *model;   /* the same without the norm gives the norm's input */
        bare.embedding_norm.weight = NULL;
        const struct batch batch = {.tokens = g->tokens, .positions = g->s.stands, .n_rows = b->n_tokens};
        g->w.x = g->s.t2;
        g->w.h = g->s.t1;
        decoder_embed(&bare, &g->w, &batch);
        norm_backward(g, norm, g->s.t1, dx, g->s.t2, b->n_tokens, model->desc.d_model);
        dx = g->s.t1;
    }
    if (model->embedding.dweight)
        add_rows(model->embedding.dweight, dx, (float)model->desc.embedding_scale, g, b, false);
    if (model->position_table.dweight) add_rows(model->position_table.dweight, dx, 1, g, b, true);
}

/* ---- the way out ------------------------------------------------------------------------------------------------- */

/* Place in tokens and weights of what row i of a block predicts; -1 = nothing. */
static int64_t target_of(const struct grad *g, const struct grad_block *b, int64_t i)
{
    int64_t seq = i / b->rows_each, t = b->index * g->block_each + i % b->rows_each + 1;
    return t < g->n_tokens ? seq * g->stride + t : -1;
}

/* The losses of n rows of the block, listed in picks, and their gradient by the last layer's result in dx [rows, d]. */
static void loss_of_slice(struct grad *g, const struct grad_block *b, const int64_t *picks, int64_t n,
                          struct step *step, float *dx)
{
    const struct snellen_model *model = g->model;
    int64_t d = model->desc.d_model, vocab = model->desc.n_vocab;
    float cap = (float)model->desc.logit_soft_cap;
    for (int64_t i = 0; i < n; i++) memcpy(g->picked + i * d, g->x + picks[i] * d, (size_t)d * sizeof(float));
    norm_forward(model, &model->output_norm, g->normed, g->picked, n, d, &g->w);
    linear_forward(&model->output, g->logits, g->normed, n, &g->w);
    if (cap > 0) {
        soft_cap(g->logits, cap, n * vocab);
        memcpy(g->capped, g->logits, (size_t)(n * vocab) * sizeof(float));
    }
    #pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        int64_t target = target_of(g, b, picks[i]);
        float *row = g->logits + i * vocab, scale = (float)(step->scale * (double)step->weights[target]);
        g->losses[i] = step->scale == 0 ? cross_entropy(row, vocab, step->tokens[target])
                                        : cross_entropy_backward(row, vocab, step->tokens[target], scale);
    }
    if (step->scale == 0) return;
    if (cap > 0) soft_cap_backward(g->logits, g->capped, cap, n * vocab);
    linear_backward(g, &model->output, g->dnormed, false, g->logits, g->normed, n);
    norm_backward(g, &model->output_norm, g->dpicked, g->dnormed, g->picked, n, d);
    for (int64_t i = 0; i < n; i++) memcpy(dx + picks[i] * d, g->dpicked + i * d, (size_t)d * sizeof(float));
}

static void loss_of_block(struct grad *g, const struct grad_block *b, void *user)
{
    struct step *step = user;
    int64_t d = g->model->desc.d_model, n = 0;
    float *dx = g->dx + b->row0 * d;
    if (step->scale != 0) memset(dx, 0, (size_t)(b->n_tokens * d) * sizeof *dx);
    for (int64_t i = 0; i < b->n_tokens; i++) {
        int64_t target = target_of(g, b, i);
        if (target >= 0 && step->weights[target] != 0) g->picks[n++] = i;
    }
    for (int64_t at = 0; at < n; at += g->slice) {
        int64_t size = MIN(g->slice, n - at);
        loss_of_slice(g, b, g->picks + at, size, step, dx);
        for (int64_t i = 0; i < size; i++) {
            int64_t target = target_of(g, b, g->picks[at + i]);
            step->loss += (double)step->weights[target] * (double)g->losses[i];
            step->weight += (double)step->weights[target];
            if (step->nll) step->nll[target] = g->losses[i];
        }
    }
}

/* ---- up and down ------------------------------------------------------------------------------------------------- */

static void block_forward(struct grad *g, const struct grad_block *b)
{
    int64_t n_layers = g->model->desc.n_layers;
    embed(g, b, tape_of(g, b, 0)->x);
    for (int64_t layer = 0; layer < n_layers; layer++) {
        float *next = layer + 1 < n_layers ? g->inputs[b->index * n_layers + layer + 1] : g->x;
        grad_layer_forward(g, layer, b, tape_of(g, b, layer), g->rows_of ? g->raised : next);
        if (g->rows_of) g->rows_of->pass_on(g, layer, b, g->raised);
    }
}

static void block_backward(struct grad *g, const struct grad_block *b, const struct step *step)
{
    float *dx = g->dx + b->row0 * g->model->desc.d_model;
    for (int64_t layer = g->model->desc.n_layers - 1; layer >= 0; layer--) {
        if (g->one_kv) grad_clear_kv(g, layer);
        if (g->rows_of) g->rows_of->take_back(g, layer, b, dx);
        if (step->reach) reach_layer_down(g, step->reach, layer, b, dx);
        else grad_layer_backward(g, layer, b, grad_remember(g, b, layer), dx);
        if (g->rows_of) g->rows_of->hand_back(g, layer, b, dx);
    }
    if (!g->options.inputs_only) embed_backward(g, b, dx);
}

snellen_status grad_begin(struct grad *g, const int32_t *tokens, int64_t n_seqs, int64_t n_tokens, int64_t position,
                            snellen_error *err)
{
    const struct model_desc *d = &g->model->desc;
    FAIL_IF(n_seqs < 1 || n_seqs > g->options.n_seqs || n_tokens < 1 || n_tokens > g->options.n_tokens, SNELLEN_E_USAGE,
            "%lld sequences of %lld tokens, at most %lld of %lld were prepared", (long long)n_seqs, (long long)n_tokens,
            (long long)g->options.n_seqs, (long long)g->options.n_tokens);
    FAIL_IF(d->positions == POSITION_LEARNED && position + n_tokens > d->n_context, SNELLEN_E_CONTEXT,
            "%lld tokens from position %lld on, but the model has learned positions for %lld", (long long)n_tokens,
            (long long)position, (long long)d->n_context);
    for (int64_t i = 0; g->places && d->positions == POSITION_LEARNED && i < n_seqs * n_tokens; i++)
        FAIL_IF(g->places[i] < 0 || g->places[i] >= d->n_context, SNELLEN_E_CONTEXT,
                "a token stands at %lld, but the model has learned positions for %lld", (long long)g->places[i],
                (long long)d->n_context);
    for (int64_t i = 0; i < n_seqs * n_tokens; i++)
        FAIL_IF(tokens[i] < 0 || tokens[i] >= d->n_vocab, SNELLEN_E_USAGE, "token %lld is %d, 0 to %lld expected",
                (long long)i, tokens[i], (long long)d->n_vocab - 1);
    omp_set_num_threads(g->options.n_threads);
    g->first_group = true;
    g->n_seqs = MIN(g->group, n_seqs);
    g->n_tokens = g->stride = n_tokens;
    g->position = position;
    return SNELLEN_OK;
}

/* Tokens of a sequence up to its last weighted one; at least 1. */
static int64_t weighted_length(const float *weights, int64_t n)
{
    while (n > 1 && weights[n - 1] == 0) n--;
    return n;
}

/* The next sequences that go up and down together: as many as there are rows for, none with less than half of the blocks
 * of another. What comes behind the last weighted token of all of them moves no loss and is left out, so a batch that is
 * sorted by length has little filling; but the memories that are kept are made of all of the first sequence. */
static void choose_group(struct grad *g, const struct step *step, int64_t n_left)
{
    int64_t longest = 1, n = 0, extra = g->extra;
    for (; n < n_left; n++) {
        bool kept = g->rows_of && g->first_group && n == 0;
        int64_t length = kept ? g->stride : weighted_length(step->weights + n * g->stride, g->stride);
        if (n && longest > g->block_each && 2 * length <= longest) break;
        length = MAX(length, longest);
        int64_t each = MIN(g->block_each, length) + extra, blocks = (length + g->block_each - 1) / g->block_each;
        if (n && ((n + 1) * each > g->block_rows || (n + 1) * (length + blocks * extra) > g->total_rows)) break;
        longest = length;
    }
    g->n_seqs = n;
    g->n_tokens = longest;
}

void grad_step_up(struct grad *g, const struct step *step, grad_visit *visit, void *user)
{
    if (g->rows_of) g->rows_of->start(g);
    for (int64_t t = 0; t < grad_blocks(g); t++) {
        struct grad_block b = grad_block_at(g, t);
        enter_block(g, &b, step);
        block_forward(g, &b);
        visit(g, &b, user);
    }
}

void grad_step_down(struct grad *g, const struct step *step)
{
    for (int64_t layer = 0; layer < g->model->desc.n_layers && !g->one_kv; layer++) grad_clear_kv(g, layer);
    if (g->rows_of)
        memset(g->dmemory, 0, (size_t)(grad_levels(g) * g->group * g->options.fam * g->model->desc.d_model) *
                                  sizeof *g->dmemory);
    for (int64_t t = grad_blocks(g) - 1; t >= 0; t--) {
        struct grad_block b = grad_block_at(g, t);
        enter_block(g, &b, step);
        block_backward(g, &b, step);
    }
    if (g->rows_of && !g->options.inputs_only) g->rows_of->start_backward(g);
}

snellen_status grad_step(struct grad *g, const int32_t *tokens, const float *weights, int64_t n_seqs, int64_t n_tokens,
                         int64_t position, double scale, double *loss, double *weight, float *nll, snellen_error *err)
{
    struct step step = {.scale = scale};
    FAIL_IF(g->options.inputs_only, SNELLEN_E_USAGE, "prepared for attribution, not for training");
    TRY(grad_begin(g, tokens, n_seqs, n_tokens, position, err));
    if (nll) memset(nll, 0, (size_t)(n_seqs * n_tokens) * sizeof *nll);
    for (int64_t seq = 0; seq < n_seqs; seq += g->n_seqs) {
        step.tokens = tokens + seq * n_tokens;
        step.places = g->places ? g->places + seq * n_tokens : NULL;
        step.weights = weights + seq * n_tokens;
        step.nll = nll ? nll + seq * n_tokens : NULL;
        g->first_group = seq == 0;
        choose_group(g, &step, n_seqs - seq);
        grad_step_up(g, &step, loss_of_block, &step);
        if (scale != 0) grad_step_down(g, &step);
    }
    *loss = step.loss;
    *weight = step.weight;
    return SNELLEN_OK;
}

snellen_status grad_set_places(struct grad *g, const int64_t *places, snellen_error *err)
{
    enum position_kind kind = g->model->desc.positions;
    FAIL_IF(places && (kind == POSITION_ALIBI || kind == POSITION_NONE), SNELLEN_E_UNSUPPORTED,
            "tokens can stand elsewhere only with rotary, learned or sinusoidal positions");
    FAIL_IF(places && g->rows_of, SNELLEN_E_UNSUPPORTED,
            "tokens cannot stand elsewhere beside a memory whose rows have places of their own");
    g->places = places;
    return SNELLEN_OK;
}

void grad_set_memory(struct grad *g, const float *rows)
{
    g->memory_start = rows;
}

void grad_set_noise(struct grad *g, double size, uint64_t seed)
{
    g->noise = size;
    rng_seed(&g->noise_rng, seed, 0);
}

void grad_add_noise(struct grad *g, float *rows, int64_t n_rows)
{
    int64_t d = g->model->desc.d_model;
    for (int64_t i = 0; i < n_rows && g->noise > 0; i++) {
        float *row = rows + i * d;
        double sum = 0;
        for (int64_t j = 0; j < d; j++) sum += (double)row[j] * (double)row[j];
        double size = g->noise * sqrt(sum / (double)d);
        for (int64_t j = 0; j < d; j++) row[j] += (float)(size * rng_normal(&g->noise_rng));
    }
}

const float *grad_memory(const struct grad *g)
{
    return g->memory_rows;
}

uint64_t grad_memory_size(const struct grad *g)
{
    return (uint64_t)(grad_levels(g) * g->options.fam * g->model->desc.d_model);
}
