/* The rows of a feedback memory (TransformerFAM, arXiv 2404.09173, algorithm 2): each layer has its own, made by that
 * layer's weights from its rows before and the block that is complete. No layer waits for another: an update takes each
 * layer's keys of the block as they were computed when the block ran. */
#include "model/model.h"

#include <string.h>

static void turns_of(const struct snellen_model *model, struct workspace *w, const double *positions, int64_t n)
{
    const struct rope *rope = &model->rope, *local = &model->rope_local;
    for (int64_t i = 0; i < n; i++) w->row_positions[i] = (int64_t)positions[i];
    if (model->desc.positions != POSITION_ROTARY) return;
    rope_angles_between(w->turns, positions, n, rope->inv_freq, rope->half, rope->scale);
    if (w->turns_local) rope_angles_between(w->turns_local, positions, n, local->inv_freq, local->half, local->scale);
}

/* The rows in w->x are the layer's memory now. */
static void keep_rows(const struct snellen_model *model, struct workspace *w, struct memory *m, int64_t layer, int64_t n)
{
    const struct memory_feedback *f = m->ops->feedback;
    memcpy(f->rows(m, layer), w->x, (size_t)(n * model->desc.d_model) * sizeof *w->x);
    layer_project(model, layer, w, n, f->queries(m, layer));
    f->keep(m, layer, w->k, w->v);
}

static void attend_rows(const struct snellen_model *model, struct workspace *w, struct memory *m, int64_t layer,
                        const struct batch *rows, bool with_x)
{
    const struct memory_feedback *f = m->ops->feedback;
    layer_attend(model, layer, w, rows, f->queries(m, layer), f->spans(m, layer, w->spans), with_x);
}

static void load_rows(const struct snellen_model *model, struct workspace *w, struct memory *m, int64_t layer, int64_t n)
{
    memcpy(w->x, m->ops->feedback->rows(m, layer), (size_t)(n * model->desc.d_model) * sizeof *w->x);
}

void feedback_forward(const struct snellen_model *model, struct workspace *w, struct memory *m)
{
    const struct memory_feedback *f = m->ops->feedback;
    enum memory_work work = f ? f->work(m) : MEMORY_NOTHING;
    if (work == MEMORY_NOTHING) return;
    int64_t n = f->n_rows(m);
    const struct batch rows = {.positions = w->row_positions, .n_rows = n};
    struct attn_watch *watch = w->watch;
    turns_of(model, w, f->positions(m), n);
    sharpen_rows(w, &rows);
    w->watch = NULL;
    for (int64_t layer = 0; layer < model->desc.n_layers; layer++) {
        if (layer == 0 || work != MEMORY_START_PROMPT) load_rows(model, w, m, layer, n);
        if (work == MEMORY_UPDATE) attend_rows(model, w, m, layer, &rows, f->carries(m));
        keep_rows(model, w, m, layer, n);
        if (work == MEMORY_START_PROMPT) attend_rows(model, w, m, layer, &rows, true);
    }
    w->watch = watch;
    f->done(m);
}
