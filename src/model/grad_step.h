/* The parts of a step (grad.c) that the ways back to the input share (grad_inputs.c, grad_reach.c). */
#ifndef MODEL_GRAD_STEP_H
#define MODEL_GRAD_STEP_H

#include "model/grad.h"

/* What a step was given, from this group's first sequence on, and what it gives. */
struct step {
    const int32_t *tokens;
    const int64_t *places;      /* or NULL */
    const float *weights;
    double scale, loss, weight;
    float *nll;
    const struct reach *reach;  /* weights of paths go down in place of gradients (grad_reach.c); or NULL */
};

/* Checks the input and sets what this step's sizes are. */
snellen_status grad_begin(struct grad *g, const int32_t *tokens, int64_t n_seqs, int64_t n_tokens, int64_t position,
                          snellen_error *err);
int64_t grad_blocks(const struct grad *g);
struct grad_block grad_block_at(const struct grad *g, int64_t index);
/* What the backward of a layer reads; run again where only its input was kept. */
struct tape *grad_remember(struct grad *g, const struct grad_block *b, int64_t layer);
/* Of that, what attention's backward reads. */
struct tape *grad_remember_attention(struct grad *g, const struct grad_block *b, int64_t layer);
void grad_clear_kv(struct grad *g, int64_t layer);
/* Up through all blocks; visit() finds the last layer's result of each in g->x. */
typedef void grad_visit(struct grad *g, const struct grad_block *b, void *user);
void grad_step_up(struct grad *g, const struct step *step, grad_visit *visit, void *user);
/* dx of all blocks' results -> of their inputs. */
void grad_step_down(struct grad *g, const struct step *step);
/* The tokens' rows [n, d] of all blocks, which the blocks' memories stand between: into dx, or out of it. */
void grad_copy_rows(const struct grad *g, float *rows, bool in);

/* A layer of a block, as grad_layer_backward(), for weights of paths. */
void reach_layer_down(struct grad *g, const struct reach *reach, int64_t layer, const struct grad_block *b, float *weights);

/* False when the caller wants to stop. */
bool grad_told(const snellen_progress *progress, const char *what, int64_t done, int64_t total);

#endif
