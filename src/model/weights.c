/* Weights: one list of tensors, from which follow names, shapes, what is required, and where each goes. Matrices stay
 * where they are mapped, in the type of the file; vectors (norms, biases) are widened to f32 once. */
#include "model/model.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- the list ---------------------------------------------------------------------------------------------------- */

enum slot_kind { SLOT_NORM, SLOT_LINEAR, SLOT_TABLE };
enum slot_size { NONE, D, Q, KV, FF, HEAD, VOCAB, CONTEXT };          /* what a dimension is */
enum slot_when { ALWAYS, GATED, QK_NORM, POST_NORMS, EMBEDDING_NORM, LEARNED, UNTIED };
enum slot_bias { BIAS_MAYBE, BIAS_QKV, BIAS_NEVER };                  /* all_bias demands them all */

struct slot {
    const char *name;    /* <name>.weight, .bias; within a layer blk.N.<name>.weight */
    enum slot_kind kind;
    size_t offset;       /* in struct layer_weights or snellen_model */
    enum slot_size n_out, n_in;
    enum weight_role role;
    enum slot_when when;
    enum slot_bias bias;
};

#define AT(field) offsetof(struct layer_weights, field)
static const struct slot layer_slots[] = {
    {"attn_norm", SLOT_NORM, AT(attn_norm), .n_out = D},
    {"attn_q", SLOT_LINEAR, AT(q), .n_out = Q, .n_in = D, .role = ROLE_IN, .bias = BIAS_QKV},
    {"attn_k", SLOT_LINEAR, AT(k), .n_out = KV, .n_in = D, .role = ROLE_IN, .bias = BIAS_QKV},
    {"attn_v", SLOT_LINEAR, AT(v), .n_out = KV, .n_in = D, .role = ROLE_IN, .bias = BIAS_QKV},
    {"attn_q_norm", SLOT_NORM, AT(q_norm), .n_out = HEAD, .when = QK_NORM},
    {"attn_k_norm", SLOT_NORM, AT(k_norm), .n_out = HEAD, .when = QK_NORM},
    {"attn_output", SLOT_LINEAR, AT(output), .n_out = D, .n_in = Q, .role = ROLE_RESIDUAL},
    {"post_attention_norm", SLOT_NORM, AT(post_attn_norm), .n_out = D, .when = POST_NORMS},
    {"ffn_norm", SLOT_NORM, AT(ffn_norm), .n_out = D},
    {"ffn_gate", SLOT_LINEAR, AT(gate), .n_out = FF, .n_in = D, .role = ROLE_IN, .when = GATED},
    {"ffn_up", SLOT_LINEAR, AT(up), .n_out = FF, .n_in = D, .role = ROLE_IN},
    {"ffn_down", SLOT_LINEAR, AT(down), .n_out = D, .n_in = FF, .role = ROLE_RESIDUAL},
    {"post_ffw_norm", SLOT_NORM, AT(post_ffn_norm), .n_out = D, .when = POST_NORMS},
};
#undef AT
#define AT(field) offsetof(struct snellen_model, field)
static const struct slot model_slots[] = {
    {"token_embd", SLOT_TABLE, AT(embedding), .n_out = VOCAB, .n_in = D, .role = ROLE_TOKENS},
    {"token_embd_norm", SLOT_NORM, AT(embedding_norm), .n_out = D, .when = EMBEDDING_NORM},
    {"position_embd", SLOT_TABLE, AT(position_table), .n_out = CONTEXT, .n_in = D, .role = ROLE_POSITIONS,
     .when = LEARNED},
    {"output_norm", SLOT_NORM, AT(output_norm), .n_out = D},
    {"output", SLOT_LINEAR, AT(output), .n_out = VOCAB, .n_in = D, .role = ROLE_IN, .when = UNTIED,
     .bias = BIAS_NEVER},
};
#undef AT

static int64_t slot_size(const struct model_desc *d, enum slot_size size)
{
    switch (size) {
    case Q: return d->n_heads * d->head_dim;
    case KV: return d->n_kv_heads * d->head_dim;
    case FF: return d->d_ff;
    case HEAD: return d->head_dim;
    case VOCAB: return d->n_vocab;
    case CONTEXT: return d->n_context;
    case NONE: return 0;
    default: return d->d_model;
    }
}

static bool slot_wanted(const struct arch *arch, const struct model_desc *d, enum slot_when when)
{
    switch (when) {
    case GATED: return arch->gated;
    case QK_NORM: return arch->qk_norm;
    case POST_NORMS: return arch->post_norms;
    case EMBEDDING_NORM: return arch->embedding_norm;
    case LEARNED: return d->positions == POSITION_LEARNED;
    case UNTIED: return !d->tied_output;
    default: return true;
    }
}

/* ---- single tensors ---------------------------------------------------------------------------------------------- */

enum { NAME_BYTES = 96 };

static snellen_status missing(const struct snellen_model *model, const char *name, snellen_error *err)
{
    FAIL(SNELLEN_E_FORMAT, "%s: tensor '%s': not in the file, a %s model has it", model->file->path, name,
         model->arch->name);
}

/* A vector of n entries as f32; every entry must be finite. */
static snellen_status bind_vector(struct snellen_model *model, const struct tensor *t, int64_t n, const float **out,
                                  snellen_error *err)
{
    FAIL_IF(t->n_dims != 1 || t->shape[0] != n, SNELLEN_E_FORMAT,
            "%s: tensor '%s': %lld entries in %d dimensions found, [%lld] expected", model->file->path, t->name,
            (long long)t->shape[0], t->n_dims, (long long)n);
    float *values = arena_alloc(&model->arena, (size_t)n * sizeof(float));
    FAIL_IF(!values, SNELLEN_E_MEMORY, "%s: tensor '%s': memory ran out", model->file->path, t->name);
    struct weight row = {t->type, t->data, 1, n};
    weight_row(values, &row, 0);
    for (int64_t i = 0; i < n; i++)
        FAIL_IF(!isfinite(values[i]), SNELLEN_E_FORMAT, "%s: tensor '%s': entry %lld is %g, a finite number expected",
                model->file->path, t->name, (long long)i, (double)values[i]);
    *out = values;
    return SNELLEN_OK;
}

static snellen_status bind_norm(struct snellen_model *model, const char *name, int64_t n, struct norm *norm,
                                snellen_error *err)
{
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s.weight", name);
    const struct tensor *t = model_file_find(model->file, full);
    if (!t) return missing(model, full, err);
    TRY(bind_vector(model, t, n, &norm->weight, err));
    snprintf(full, sizeof full, "%s.bias", name);
    t = model_file_find(model->file, full);
    if (t) return bind_vector(model, t, n, &norm->bias, err);
    return model->arch->norm == NORM_LAYER ? missing(model, full, err) : SNELLEN_OK;
}

static snellen_status bind_matrix(struct snellen_model *model, const struct tensor *t, int64_t n_out, int64_t n_in,
                                  struct weight *w, snellen_error *err)
{
    FAIL_IF(t->n_dims != 2 || t->shape[0] != n_out || t->shape[1] != n_in, SNELLEN_E_FORMAT,
            "%s: tensor '%s': shape [%lld, %lld] found, [%lld, %lld] expected", model->file->path, t->name,
            (long long)t->shape[0], t->n_dims > 1 ? (long long)t->shape[1] : 1, (long long)n_out, (long long)n_in);
    *w = (struct weight){t->type, t->data, n_out, n_in};
    return SNELLEN_OK;
}

static snellen_status bind_linear(struct snellen_model *model, const char *name, int64_t n_out, int64_t n_in,
                                  bool must_bias, struct linear *linear, snellen_error *err)
{
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s.weight", name);
    const struct tensor *t = model_file_find(model->file, full);
    if (!t) return missing(model, full, err);
    TRY(bind_matrix(model, t, n_out, n_in, &linear->weight, err));
    snprintf(full, sizeof full, "%s.bias", name);
    t = model_file_find(model->file, full);
    if (t) return bind_vector(model, t, n_out, &linear->bias, err);
    return must_bias ? missing(model, full, err) : SNELLEN_OK;
}

/* ---- fused q, k, v ----------------------------------------------------------------------------------------------- */

/* Rows [row0, row0 + n_out) of a taller matrix and its bias. */
static struct linear linear_rows(const struct linear *tall, int64_t row0, int64_t n_out)
{
    struct linear part = *tall;
    part.weight.n_out = n_out;
    part.weight.data = (const char *)tall->weight.data + row0 * dtype_row_bytes(tall->weight.type, tall->weight.n_in);
    if (part.bias) part.bias += row0;
    return part;
}

static snellen_status bind_fused_qkv(struct snellen_model *model, int64_t layer, struct layer_weights *lw,
                                     snellen_error *err)
{
    const struct model_desc *d = &model->desc;
    int64_t n_q = slot_size(d, Q), n_kv = slot_size(d, KV);
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "blk.%lld.attn_qkv", (long long)layer);
    struct linear tall = {0};
    TRY(bind_linear(model, name, n_q + 2 * n_kv, d->d_model, model->arch->all_bias, &tall, err));
    lw->q = linear_rows(&tall, 0, n_q);
    lw->k = linear_rows(&tall, n_q, n_kv);
    lw->v = linear_rows(&tall, n_q + n_kv, n_kv);
    return SNELLEN_OK;
}

static snellen_status bind_layer(struct snellen_model *model, int64_t layer, snellen_error *err)
{
    const struct arch *arch = model->arch;
    struct layer_weights *lw = &model->layers[layer];
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "blk.%lld.attn_qkv.weight", (long long)layer);
    bool fused = model_file_find(model->file, name) != NULL;
    if (fused) TRY(bind_fused_qkv(model, layer, lw, err));
    for (size_t i = 0; i < COUNT_OF(layer_slots); i++) {
        const struct slot *s = &layer_slots[i];
        if (!slot_wanted(arch, &model->desc, s->when) || (fused && s->bias == BIAS_QKV)) continue;
        void *field = (char *)lw + s->offset;
        int64_t n_out = slot_size(&model->desc, s->n_out), n_in = slot_size(&model->desc, s->n_in);
        bool must_bias = arch->all_bias || (arch->qkv_bias && s->bias == BIAS_QKV);
        snprintf(name, sizeof name, "blk.%lld.%s", (long long)layer, s->name);
        if (s->kind == SLOT_NORM)
            TRY(bind_norm(model, name, n_out, field, err));
        else
            TRY(bind_linear(model, name, n_out, n_in, must_bias, field, err));
    }
    return SNELLEN_OK;
}

/* ---- the whole model --------------------------------------------------------------------------------------------- */

static snellen_status bind_table(struct snellen_model *model, const char *name, int64_t n_out, int64_t n_in,
                                 struct weight *table, snellen_error *err)
{
    char full[NAME_BYTES];
    snprintf(full, sizeof full, "%s.weight", name);
    const struct tensor *t = model_file_find(model->file, full);
    return t ? bind_matrix(model, t, n_out, n_in, table, err) : missing(model, full, err);
}

/* The absence of an output matrix says that the embedding is used. */
static snellen_status bind_globals(struct snellen_model *model, snellen_error *err)
{
    model->desc.tied_output = !model_file_find(model->file, "output.weight");
    for (size_t i = 0; i < COUNT_OF(model_slots); i++) {
        const struct slot *s = &model_slots[i];
        if (!slot_wanted(model->arch, &model->desc, s->when)) continue;
        void *field = (char *)model + s->offset;
        int64_t n_out = slot_size(&model->desc, s->n_out), n_in = slot_size(&model->desc, s->n_in);
        if (s->kind == SLOT_NORM)
            TRY(bind_norm(model, s->name, n_out, field, err));
        else if (s->kind == SLOT_TABLE)
            TRY(bind_table(model, s->name, n_out, n_in, &((struct linear *)field)->weight, err));
        else
            TRY(bind_linear(model, s->name, n_out, n_in, false, field, err));
    }
    if (model->desc.tied_output) model->output.weight = model->embedding.weight;
    return SNELLEN_OK;
}

snellen_status weights_bind(struct snellen_model *model, snellen_error *err)
{
    const struct model_desc *d = &model->desc;
    model->layers = arena_alloc(&model->arena, (size_t)d->n_layers * sizeof *model->layers);
    FAIL_IF(!model->layers, SNELLEN_E_MEMORY, "%s: memory ran out", model->file->path);
    TRY(bind_globals(model, err));
    for (int64_t i = 0; i < d->n_layers; i++) TRY(bind_layer(model, i, err));
    return SNELLEN_OK;
}

/* ---- the list as others see it ----------------------------------------------------------------------------------- */

/* Place i of the list: model's slots, each with its weight and its bias, then those of each layer. */
static const struct slot *slot_at(const struct model_desc *d, size_t i, int64_t *layer, bool *bias)
{
    size_t slot = i / 2;
    *bias = i % 2;
    *layer = -1;
    if (slot < COUNT_OF(model_slots)) return &model_slots[slot];
    slot -= COUNT_OF(model_slots);
    *layer = (int64_t)(slot / COUNT_OF(layer_slots));
    return *layer < d->n_layers ? &layer_slots[slot % COUNT_OF(layer_slots)] : NULL;
}

/* A new model has all biases that its architecture can have; what a loaded one has stands in its fields. */
static bool bias_usual(const struct arch *arch, const struct slot *s)
{
    if (s->kind == SLOT_NORM) return arch->norm == NORM_LAYER;
    if (s->kind == SLOT_TABLE || s->bias == BIAS_NEVER) return false;
    return arch->norm == NORM_LAYER || (arch->qkv_bias && s->bias == BIAS_QKV);
}

static struct weight vector(const float *values, int64_t n)
{
    return (struct weight){DT_F32, values, 1, n};
}

/* What stands in the slot of a loaded model; data NULL = nothing. */
static struct weight slot_weight(const struct snellen_model *model, const struct slot *s, int64_t layer, bool bias)
{
    const char *base = layer < 0 ? (const char *)model : (const char *)&model->layers[layer];
    const void *field = base + s->offset;
    int64_t n_out = slot_size(&model->desc, s->n_out);
    if (s->kind == SLOT_NORM) {
        const struct norm *norm = field;
        return vector(bias ? norm->bias : norm->weight, n_out);
    }
    const struct linear *linear = field;
    return bias ? vector(linear->bias, n_out) : linear->weight;
}

static void describe(struct weight_entry *e, const struct model_desc *d, const struct slot *s, int64_t layer, bool bias)
{
    const char *suffix = bias ? "bias" : "weight";
    if (layer < 0)
        snprintf(e->name, sizeof e->name, "%s.%s", s->name, suffix);
    else
        snprintf(e->name, sizeof e->name, "blk.%lld.%s.%s", (long long)layer, s->name, suffix);
    bool vector_like = bias || s->kind == SLOT_NORM;
    e->layer = layer;
    e->role = bias ? ROLE_BIAS : s->kind == SLOT_NORM ? ROLE_NORM : s->role;
    e->n_dims = vector_like ? 1 : 2;
    e->shape[0] = slot_size(d, s->n_out);
    e->shape[1] = vector_like ? 1 : slot_size(d, s->n_in);
}

bool weights_next(const struct snellen_model *model, size_t *i, struct weight_entry *e)
{
    const struct slot *s;
    int64_t layer;
    bool bias;
    while ((s = slot_at(&model->desc, (*i)++, &layer, &bias))) {
        if (!slot_wanted(model->arch, &model->desc, s->when)) continue;
        e->weight = slot_weight(model, s, layer, bias);
        if (!e->weight.data) continue;
        describe(e, &model->desc, s, layer, bias);
        return true;
    }
    return false;
}

bool weights_next_place(struct snellen_model *model, size_t *i, struct weight_entry *e, struct weight_place *p)
{
    int64_t layer;
    bool bias;
    if (!weights_next(model, i, e)) return false;
    const struct slot *s = slot_at(&model->desc, *i - 1, &layer, &bias);
    void *field = (layer < 0 ? (char *)model : (char *)&model->layers[layer]) + s->offset;
    *p = (struct weight_place){0};
    if (s->kind == SLOT_NORM) {
        struct norm *norm = field;
        p->vector = bias ? &norm->bias : &norm->weight;
        p->gradient = bias ? &norm->dbias : &norm->dweight;
        return true;
    }
    struct linear *linear = field;
    if (bias) p->vector = &linear->bias;
    else p->matrix = &linear->weight;
    p->map = bias ? NULL : linear;
    p->gradient = bias ? &linear->dbias : &linear->dweight;
    return true;
}

bool weights_next_of(const struct arch *arch, const struct model_desc *d, size_t *i, struct weight_entry *e)
{
    const struct slot *s;
    int64_t layer;
    bool bias;
    while ((s = slot_at(d, (*i)++, &layer, &bias))) {
        if (!slot_wanted(arch, d, s->when) || (bias && !bias_usual(arch, s))) continue;
        e->weight = (struct weight){0};
        describe(e, d, s, layer, bias);
        return true;
    }
    return false;
}
