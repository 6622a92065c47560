/* The rows of a memory's own: where they stand, and those that run up through the layers alone (the prompt that a
 * feedback memory begins with, arXiv 2404.09173; the rows of a recurrent memory, arXiv 2207.06881). Those that ride behind a
 * batch's rows go through layer.c with them. */
#include "model/model.h"

#include <string.h>

/* Turns for n rows from row0 on. */
static void turns_of(const struct snellen_model *model, struct workspace *w, int64_t row0, const double *positions,
                     int64_t n)
{
    const struct rope *rope = &model->rope, *local = &model->rope_local;
    if (model->desc.positions != POSITION_ROTARY) return;
    rope_angles_between(w->turns + row0 * rope->half * 2, positions, n, rope->inv_freq, rope->half, rope->scale);
    if (!w->turns_local) return;
    rope_angles_between(w->turns_local + row0 * local->half * 2, positions, n, local->inv_freq, local->half, local->scale);
}

static void place_rows(struct workspace *w, int64_t row0, const double *positions, int64_t n)
{
    for (int64_t i = 0; i < n; i++) w->row_positions[row0 + i] = (int64_t)positions[i];
    sharpen_rows(w, row0, w->row_positions + row0, n);
}

void riders_place(const struct snellen_model *model, struct workspace *w, const struct batch *batch,
                  const struct memory *memory)
{
    const struct memory_riders *r = memory->ops->riders;
    int64_t n = batch->n_rows;
    if (!r) return;
    int64_t n_riders = memory->ops->n_rows(memory);
    memcpy(w->row_positions, batch->positions, (size_t)n * sizeof *w->row_positions);
    if (r->project(memory)) turns_of(model, w, n, r->key_positions(memory), n_riders);
    if (!r->attend(memory)) return;
    const double *positions = r->query_positions(memory);
    turns_of(model, w, n + n_riders, positions, n_riders);
    place_rows(w, n, positions, n_riders);
}

static void one_pass(const struct snellen_model *model, struct workspace *w, struct memory *m, const float *rows)
{
    const struct memory_passes *p = m->ops->passes;
    int64_t n = m->ops->n_rows(m);
    const double *positions = p->positions(m);
    turns_of(model, w, 0, positions, n);
    place_rows(w, 0, positions, n);
    memcpy(w->x, rows, (size_t)(n * model->desc.d_model) * sizeof *w->x);
    for (int64_t layer = 0; layer < model->desc.n_layers; layer++) {
        if (p->enter) p->enter(m, layer, w->x);
        layer_pass(model, layer, w, n, m);
    }
    p->done(m, w->x);
}

void passes_forward(const struct snellen_model *model, struct workspace *w, struct memory *m)
{
    const struct memory_passes *p = m->ops->passes;
    const float *rows;
    while (p && (rows = p->run(m))) one_pass(model, w, m, rows);
}
