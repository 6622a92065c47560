/* The decoder: embedding, layers, final norm, logits, for a batch of rows. */
#include "model/model.h"

#include <math.h>
#include <string.h>

/* ---- the way in ------------------------------------------------------------------------------------------------------ */

void decoder_embed(const struct snellen_model *model, struct workspace *w, const struct batch *batch)
{
    int64_t d = model->desc.d_model, n = batch->n_rows;
    for (int64_t i = 0; i < n; i++) weight_row(w->x + i * d, &model->embedding.weight, batch->tokens[i]);
    round_to(w->x, w->round.weights, n * d);
    if (model->desc.embedding_scale != 1) {
        /* The scale has the precision of the activations, as it has in the models' own code. */
        float scale = (float)model->desc.embedding_scale;
        round_to(&scale, w->round.activations, 1);
        round_to(w->x, w->round.activations, n * d);
        scale_by(w->x, scale, n * d);
    }
    if (positions_added(model))
        for (int64_t i = 0; i < n; i++) {
            position_vector(model, w->h, batch->positions[i]);
            if (model->desc.positions == POSITION_LEARNED) round_to(w->h, w->round.weights, d);
            add_to(w->x + i * d, w->h, d);
        }
    round_to(w->x, w->round.activations, n * d);
    if (model->embedding_norm.weight) norm_forward(model, &model->embedding_norm, w->x, w->x, n, d, w);
}

static void turn_rows(const struct snellen_model *model, struct workspace *w, const struct batch *batch,
                      const struct memory *memory)
{
    if (model->desc.positions != POSITION_ROTARY) return;
    const struct rope *rope = &model->rope, *local = &model->rope_local;
    const int64_t *shifted = memory->ops->query_positions(memory);
    int64_t n = batch->n_rows;
    rope_angles(w->turns, batch->positions, n, rope->inv_freq, rope->half, rope->scale);
    if (shifted) rope_angles(w->turns_shifted, shifted, n, rope->inv_freq, rope->half, rope->scale);
    if (!w->turns_local) return;
    rope_angles(w->turns_local, batch->positions, n, local->inv_freq, local->half, local->scale);
    if (shifted) rope_angles(w->turns_shifted_local, shifted, n, local->inv_freq, local->half, local->scale);
}

void sharpen_rows(struct workspace *w, int64_t row0, const int64_t *positions, int64_t n)
{
    const struct temper *t = &w->temper;
    for (int64_t i = 0; t->on && i < n; i++) {
        int64_t place = positions[i] + 1;
        bool by_length = t->log_from && place > t->log_from;
        w->sharpness[row0 + i] = (float)((by_length ? log((double)place) / log((double)t->log_from) : 1) / t->temp);
    }
}

/* ---- through the layers ------------------------------------------------------------------------------------------------ */

/* Infinities and NaN have all exponent bits set; integer arithmetic keeps the loop vectorised. */
static bool all_finite(const float *x, int64_t n)
{
    uint32_t worst = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7f800000u;
        worst = bits > worst ? bits : worst;
    }
    return worst != 0x7f800000u;
}

static snellen_status not_finite(const struct snellen_model *model, const struct workspace *w, int64_t layer,
                                 snellen_error *err)
{
    const struct roundings *r = &w->round;
    bool f16 = r->weights == ROUND_F16 || r->activations == ROUND_F16 || r->cache == ROUND_F16;
    FAIL(f16 ? SNELLEN_E_OVERFLOW : SNELLEN_E_FORMAT, "%s: %s %lld: values are no longer finite (%s)", model->file->path,
         layer ? "after layer" : "embedding", (long long)layer,
         f16 ? "f16 overflows above 65504; bf16 and f32 do not" : "NaN in the weights?");
}

static void keep_hidden(const struct batch_outputs *out, int64_t stage, const float *rows, int64_t n)
{
    if (out->hidden) memcpy(out->hidden + stage * out->hidden_stride, rows, (size_t)n * sizeof(float));
}

snellen_status decoder_forward(const struct snellen_model *model, struct workspace *w, const struct batch *batch,
                               struct memory *memory, const struct batch_outputs *out, snellen_error *err)
{
    int64_t n = batch->n_rows * model->desc.d_model, n_layers = model->desc.n_layers;
    passes_forward(model, w, memory);
    memory->ops->begin(memory, batch);
    decoder_embed(model, w, batch);
    turn_rows(model, w, batch, memory);
    sharpen_rows(w, 0, batch->positions, batch->n_rows);
    riders_place(model, w, batch, memory);
    keep_hidden(out, 0, w->x, n);
    if (!all_finite(w->x, n)) return not_finite(model, w, 0, err);
    for (int64_t layer = 0; layer < n_layers; layer++) {
        layer_forward(model, layer, w, batch, memory);
        keep_hidden(out, layer + 1, w->x, n);
        if (!all_finite(w->x, n)) return not_finite(model, w, layer + 1, err);
    }
    memory->ops->end(memory);
    norm_forward(model, &model->output_norm, w->h, w->x, batch->n_rows, model->desc.d_model, w);
    keep_hidden(out, n_layers + 1, w->h, n);
    return SNELLEN_OK;
}

/* ---- the way out ----------------------------------------------------------------------------------------------------------- */

void decoder_logits(const struct snellen_model *model, struct workspace *w, const int64_t *rows, int64_t n, float *logits)
{
    int64_t d = model->desc.d_model;
    for (int64_t i = 0; i < n; i++) memcpy(w->picked + i * d, w->h + rows[i] * d, (size_t)d * sizeof(float));
    linear_product(&model->output, logits, w->picked, n, w);
    if (model->desc.logit_soft_cap > 0) {
        round_to(logits, w->round.activations, n * model->desc.n_vocab);
        soft_cap(logits, (float)model->desc.logit_soft_cap, n * model->desc.n_vocab);
    }
    round_to(logits, w->round.logits, n * model->desc.n_vocab);
}
