/* Gradients by the embedded input: of logits (attribution), or of a row's vector along given ones (over-squashing). */
#include "model/grad_step.h"

#include <math.h>
#include <string.h>

/* dx [d] = gradient of a seed by the last layer's result x [d] of its row. */
static void seed_gradient(struct grad *g, const struct grad_seed *seed, const float *x, float *dx)
{
    const struct snellen_model *model = g->model;
    int64_t d = model->desc.d_model;
    double cap = seed->vector ? 0 : model->desc.logit_soft_cap, slope = 1;
    if (seed->vector) memcpy(g->dnormed, seed->vector, (size_t)d * sizeof(float));
    else weight_row(g->dnormed, &model->output.weight, seed->id);
    if (cap > 0) {
        double logit = model->output.bias ? (double)model->output.bias[seed->id] : 0;
        norm_forward(model, &model->output_norm, g->normed, x, 1, d, &g->w);
        for (int64_t i = 0; i < d; i++) logit += (double)g->normed[i] * (double)g->dnormed[i];
        slope = 1 - tanh(logit / cap) * tanh(logit / cap);
    }
    scale_by(g->dnormed, (float)slope, d);
    norm_backward(g, &model->output_norm, dx, g->dnormed, x, 1, d);
}

/* The embedded input without positions. */
static void embed_bare(struct grad *g, const struct grad_block *b, float *embedded)
{
    struct snellen_model bare = *g->model;
    bare.desc.positions = POSITION_NONE;
    const struct batch batch = {.tokens = g->tokens, .positions = g->s.stands, .n_rows = b->n_tokens};
    g->w.x = embedded;
    g->w.h = g->s.t1;
    decoder_embed(&bare, &g->w, &batch);
}

/* What follows from the last layer's result is taken on the way up. */
struct inputs {
    const struct grad_seed *seeds;
    int64_t n_seeds;
    float *gradients, *embedded;
};

static void take_seeds(struct grad *g, const struct grad_block *b, void *user)
{
    const struct inputs *in = user;
    int64_t d = g->model->desc.d_model, first = b->index * g->block_each;
    for (int64_t i = 0; i < in->n_seeds; i++) {
        int64_t row = in->seeds[i].row;
        if (row >= first && row < first + b->rows_each)
            seed_gradient(g, &in->seeds[i], g->x + (row - first) * d, in->gradients + (i * g->n_tokens + row) * d);
    }
    if (in->embedded) embed_bare(g, b, in->embedded + first * d);
}

bool grad_told(const snellen_progress *progress, const char *what, int64_t done, int64_t total)
{
    return !progress || !progress->step || progress->step(progress->user, what, (uint64_t)done, (uint64_t)total);
}

/* Down through the layers of a single block, all seeds together. */
static snellen_status layers_down(struct grad *g, float *gradients, int64_t n_seeds, const snellen_progress *progress,
                                  snellen_error *err)
{
    int64_t n_layers = g->model->desc.n_layers, size = g->n_tokens * g->model->desc.d_model;
    struct grad_block b = grad_block_at(g, 0);
    for (int64_t layer = n_layers - 1; layer >= 0; layer--) {
        const struct tape *t = grad_remember(g, &b, layer);
        for (int64_t i = 0; i < n_seeds; i++) {
            FAIL_IF(!grad_told(progress, "layers", (n_layers - 1 - layer) * n_seeds + i, n_layers * n_seeds),
                    SNELLEN_E_CANCELLED, "stopped in layer %lld", (long long)layer);
            grad_clear_kv(g, layer);
            grad_layer_backward(g, layer, &b, t, gradients + i * size);
        }
    }
    return SNELLEN_OK;
}

void grad_copy_rows(const struct grad *g, float *rows, bool in)
{
    int64_t d = g->model->desc.d_model;
    for (int64_t t = 0; t < grad_blocks(g); t++) {
        struct grad_block b = grad_block_at(g, t);
        float *from = rows + t * g->block_each * d, *to = g->dx + b.row0 * d;
        memcpy(in ? to : from, in ? from : to, (size_t)(b.n_tokens * d) * sizeof(float));
    }
}

/* Down through all blocks, one seed after the other. */
static snellen_status blocks_down(struct grad *g, const struct step *step, float *gradients, int64_t n_seeds,
                                  const snellen_progress *progress, snellen_error *err)
{
    int64_t size = g->n_tokens * g->model->desc.d_model;
    for (int64_t i = 0; i < n_seeds; i++) {
        FAIL_IF(!grad_told(progress, "gradients", i, n_seeds), SNELLEN_E_CANCELLED, "stopped at seed %lld of %lld", (long long)i,
                (long long)n_seeds);
        grad_copy_rows(g, gradients + i * size, true);
        grad_step_down(g, step);
        grad_copy_rows(g, gradients + i * size, false);
    }
    return SNELLEN_OK;
}

snellen_status grad_inputs(struct grad *g, const int32_t *tokens, int64_t n, const struct grad_seed *seeds, int64_t n_seeds,
                           float *gradients, float *embedded, const snellen_progress *progress, snellen_error *err)
{
    FAIL_IF(!g->options.inputs_only, SNELLEN_E_USAGE, "prepared for training, not for attribution");
    TRY(grad_begin(g, tokens, 1, n, 0, err));
    for (int64_t i = 0; i < n_seeds; i++)
        FAIL_IF(seeds[i].row < 0 || seeds[i].row >= n || (!seeds[i].vector && (seeds[i].id < 0 ||
                seeds[i].id >= g->model->desc.n_vocab)), SNELLEN_E_USAGE, "seed %lld: token %d at row %lld", (long long)i,
                seeds[i].id, (long long)seeds[i].row);
    const struct step step = {.tokens = tokens};
    struct inputs in = {seeds, n_seeds, gradients, embedded};
    memset(gradients, 0, (size_t)(n_seeds * n * g->model->desc.d_model) * sizeof *gradients);
    grad_step_up(g, &step, take_seeds, &in);
    bool one_block = grad_blocks(g) == 1 && !g->rows_of;
    return one_block ? layers_down(g, gradients, n_seeds, progress, err)
                     : blocks_down(g, &step, gradients, n_seeds, progress, err);
}
