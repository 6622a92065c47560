/* Weights: one list of tensors, from which follow names, shapes, what is required, and where each goes. Matrices stay
 * where they are mapped, in the type of the file; vectors (norms, biases) are widened to f32 once. */
#include "model/model.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* ---- the list ------------------------------------------------------------------------------------------------------- */

enum slot_kind { SLOT_NORM, SLOT_LINEAR };
enum slot_size { D, Q, KV, FF, HEAD };                                /* what a dimension is */
enum slot_when { ALWAYS, GATED, QK_NORM, POST_NORMS };                /* which architectures have it */
enum slot_bias { BIAS_MAYBE, BIAS_QKV };                              /* all_bias demands them all */

struct slot {
    const char *name;    /* blk.N.<name>.weight, .bias */
    enum slot_kind kind;
    size_t offset;       /* in struct layer_weights */
    enum slot_size n_out, n_in;
    enum slot_when when;
    enum slot_bias bias;
};

#define AT(field) offsetof(struct layer_weights, field)
static const struct slot layer_slots[] = {
    {"attn_norm", SLOT_NORM, AT(attn_norm), .n_out = D},
    {"attn_q", SLOT_LINEAR, AT(q), .n_out = Q, .n_in = D, .bias = BIAS_QKV},
    {"attn_k", SLOT_LINEAR, AT(k), .n_out = KV, .n_in = D, .bias = BIAS_QKV},
    {"attn_v", SLOT_LINEAR, AT(v), .n_out = KV, .n_in = D, .bias = BIAS_QKV},
    {"attn_q_norm", SLOT_NORM, AT(q_norm), .n_out = HEAD, .when = QK_NORM},
    {"attn_k_norm", SLOT_NORM, AT(k_norm), .n_out = HEAD, .when = QK_NORM},
    {"attn_output", SLOT_LINEAR, AT(output), .n_out = D, .n_in = Q},
    {"post_attention_norm", SLOT_NORM, AT(post_attn_norm), .n_out = D, .when = POST_NORMS},
    {"ffn_norm", SLOT_NORM, AT(ffn_norm), .n_out = D},
    {"ffn_gate", SLOT_LINEAR, AT(gate), .n_out = FF, .n_in = D, .when = GATED},
    {"ffn_up", SLOT_LINEAR, AT(up), .n_out = FF, .n_in = D},
    {"ffn_down", SLOT_LINEAR, AT(down), .n_out = D, .n_in = FF},
    {"post_ffw_norm", SLOT_NORM, AT(post_ffn_norm), .n_out = D, .when = POST_NORMS},
};
#undef AT

static int64_t slot_size(const struct model_desc *d, enum slot_size size)
{
    switch (size) {
    case Q: return d->n_heads * d->head_dim;
    case KV: return d->n_kv_heads * d->head_dim;
    case FF: return d->d_ff;
    case HEAD: return d->head_dim;
    default: return d->d_model;
    }
}

static bool slot_wanted(const struct arch *arch, enum slot_when when)
{
    switch (when) {
    case GATED: return arch->gated;
    case QK_NORM: return arch->qk_norm;
    case POST_NORMS: return arch->post_norms;
    default: return true;
    }
}

/* ---- single tensors ---------------------------------------------------------------------------------------------------- */

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

/* ---- fused q, k, v ---------------------------------------------------------------------------------------------------------- */

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
        if (!slot_wanted(arch, s->when) || (fused && s->bias == BIAS_QKV)) continue;
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

/* ---- the whole model ----------------------------------------------------------------------------------------------------------- */

static snellen_status bind_positions(struct snellen_model *model, snellen_error *err)
{
    if (model->desc.positions != POSITION_LEARNED) return SNELLEN_OK;
    const struct tensor *t = model_file_find(model->file, "position_embd.weight");
    if (!t) return missing(model, "position_embd.weight", err);
    return bind_matrix(model, t, model->desc.n_context, model->desc.d_model, &model->position_table, err);
}

static snellen_status bind_output(struct snellen_model *model, snellen_error *err)
{
    const struct model_desc *d = &model->desc;
    const struct tensor *t = model_file_find(model->file, "output.weight");
    if (!t) {
        model->output.weight = model->embedding;
        return SNELLEN_OK;
    }
    return bind_linear(model, "output", d->n_vocab, d->d_model, false, &model->output, err);
}

snellen_status weights_bind(struct snellen_model *model, snellen_error *err)
{
    const struct model_desc *d = &model->desc;
    model->layers = arena_alloc(&model->arena, (size_t)d->n_layers * sizeof *model->layers);
    FAIL_IF(!model->layers, SNELLEN_E_MEMORY, "%s: memory ran out", model->file->path);
    const struct tensor *t = model_file_find(model->file, "token_embd.weight");
    if (!t) return missing(model, "token_embd.weight", err);
    TRY(bind_matrix(model, t, d->n_vocab, d->d_model, &model->embedding, err));
    if (model->arch->embedding_norm)
        TRY(bind_norm(model, "token_embd_norm", d->d_model, &model->embedding_norm, err));
    TRY(bind_positions(model, err));
    for (int64_t i = 0; i < d->n_layers; i++) TRY(bind_layer(model, i, err));
    TRY(bind_norm(model, "output_norm", d->d_model, &model->output_norm, err));
    return bind_output(model, err);
}
