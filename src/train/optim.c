/* Optimisers that treat every element alike, norms and schedules. The factored one is adafactor.c.
 * All loops run over pieces of OPTIM_PIECE elements, listed once: equal work for threads, and sums that add up in one
 * order. */
#include "train/optim_inner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const optim_names[OPTIM_COUNT] = {
    [OPTIM_ADAMW] = "adamw", [OPTIM_ADAFACTOR] = "adafactor", [OPTIM_SGD] = "sgd"};
const char *const schedule_names[SCHEDULE_COUNT] = {
    [SCHEDULE_CONSTANT] = "constant", [SCHEDULE_COSINE] = "cosine", [SCHEDULE_LINEAR] = "linear"};

/* ---- moments ----------------------------------------------------------------------------------------------------- */

struct optim_options optim_options_default(void)
{
    return (struct optim_options){.kind = OPTIM_ADAMW, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
}

/* Slot i of a param: its name and size; false past the last one. */
static bool slot_of(enum optim_kind kind, bool momentum, const struct param *p, size_t i, const char **name,
                    uint64_t *n)
{
    bool factored = kind == OPTIM_ADAFACTOR && p->n_dims == 2;
    size_t n_slots = kind == OPTIM_SGD ? momentum : kind == OPTIM_ADAMW || factored ? 2 : 1;
    if (i >= n_slots) return false;
    static const char *const adamw[] = {"exp_avg", "exp_avg_sq"}, *const factors[] = {"row_var", "col_var"};
    *name = kind == OPTIM_SGD ? "momentum" : kind == OPTIM_ADAMW ? adamw[i] : factored ? factors[i] : "variance";
    *n = factored ? (uint64_t)p->shape[i] : p->n;
    return true;
}

bool optim_bytes(enum optim_kind kind, bool momentum, const struct params *params, uint64_t *bytes)
{
    const char *name;
    uint64_t n, sum = 0;
    for (size_t i = 0; i < params->n; i++)
        for (size_t k = 0; slot_of(kind, momentum, &params->list[i], k, &name, &n); k++)
            if (!size_add(sum, n, &sum)) return false;
    return size_mul(sum, sizeof(float), bytes);
}

static snellen_status list_pieces(struct optim *o, snellen_error *err)
{
    for (size_t i = 0; i < o->params->n; i++) o->n_pieces += (o->params->list[i].n + OPTIM_PIECE - 1) / OPTIM_PIECE;
    TRY(NEW_ARRAY(&o->pieces, o->n_pieces, "optimiser's pieces", err));
    TRY(NEW_ARRAY(&o->sums, o->n_pieces, "optimiser's sums", err));
    size_t at = 0;
    for (size_t i = 0; i < o->params->n; i++)
        for (uint64_t start = 0, n = o->params->list[i].n; start < n; start += OPTIM_PIECE)
            o->pieces[at++] = (struct optim_piece){i, start, MIN(n - start, (uint64_t)OPTIM_PIECE)};
    return SNELLEN_OK;
}

/* All moments lie in one block. */
static snellen_status place_moments(struct optim *o, snellen_error *err)
{
    bool momentum = o->options.momentum != 0;
    uint64_t bytes, n;
    FAIL_IF(!optim_bytes(o->options.kind, momentum, o->params, &bytes), SNELLEN_E_MEMORY,
            "optimiser's moments: more than any machine holds");
    TRY(NEW_ARRAY(&o->values, bytes / sizeof(float), "optimiser's moments", err));
    TRY(NEW_ARRAY(&o->moments, o->params->n, "optimiser's moments", err));
    const char *name;
    float *at = o->values;
    for (size_t i = 0; i < o->params->n; i++)
        for (size_t k = 0; slot_of(o->options.kind, momentum, &o->params->list[i], k, &name, &n); k++, at += n)
            o->moments[i].slot[k] = at;
    return SNELLEN_OK;
}

snellen_status optim_new(const struct optim_options *options, struct params *params, struct optim **out,
                         snellen_error *err)
{
    struct optim *o = calloc(1, sizeof *o);
    FAIL_IF(!o, SNELLEN_E_MEMORY, "optimiser: memory ran out");
    o->options = *options;
    o->params = params;
    snellen_status status = list_pieces(o, err);
    if (!status) status = place_moments(o, err);
    if (!status && options->kind == OPTIM_ADAFACTOR) status = adafactor_new(o, err);
    if (status) optim_free(o);
    else *out = o;
    return status;
}

void optim_free(struct optim *o)
{
    if (!o) return;
    mem_free(o->pieces);
    mem_free(o->sums);
    mem_free(o->values);
    mem_free(o->moments);
    mem_free(o->row_sums);
    free(o);
}

bool optim_state_at(struct optim *o, size_t i, struct optim_state *state)
{
    bool momentum = o->options.momentum != 0;
    for (size_t p = 0; p < o->params->n; p++) {
        const struct param *param = &o->params->list[p];
        for (size_t k = 0; slot_of(o->options.kind, momentum, param, k, &state->slot, &state->n); k++)
            if (i-- == 0) {
                state->param = param;
                state->data = o->moments[p].slot[k];
                return true;
            }
    }
    return false;
}

int64_t optim_steps(const struct optim *o)
{
    return o->steps;
}

void optim_set_steps(struct optim *o, int64_t steps)
{
    o->steps = steps;
}

/* ---- norms ------------------------------------------------------------------------------------------------------- */

double optim_sum_squares(const float *x, int64_t n)
{
    enum { LANES = 8 };
    double lane[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) lane[k] += (double)x[i + k] * (double)x[i + k];
    for (; i < n; i++) sum += (double)x[i] * (double)x[i];
    for (int k = 0; k < LANES; k++) sum += lane[k];
    return sum;
}

static double norm_of(const struct optim *o, bool grads)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < o->n_pieces; i++) {
        const struct optim_piece *piece = &o->pieces[i];
        const struct param *p = &o->params->list[piece->param];
        o->sums[i] = optim_sum_squares((grads ? p->grad : p->value) + piece->start, (int64_t)piece->n);
    }
    double sum = 0;
    for (size_t i = 0; i < o->n_pieces; i++) sum += o->sums[i];
    return sqrt(sum);
}

double optim_grad_norm(const struct optim *o)
{
    return norm_of(o, true);
}

double optim_value_norm(const struct optim *o)
{
    return norm_of(o, false);
}

double optim_clip_factor(double norm, double clip)
{
    return clip > 0 ? MIN(1.0, clip / (norm + 1e-6)) : 1.0;
}

/* ---- updates ----------------------------------------------------------------------------------------------------- */

/* m += (1 - beta1) (g - m);  v = beta2 v + (1 - beta2) g^2;
 * w = (1 - lr decay) w - lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)     (arXiv 1711.05101) */
struct adamw_step {
    float shrink, one_less_beta1, beta2, one_less_beta2, step_size, root_correction, eps;
};

static void adamw_piece(float *restrict w, float *restrict m, float *restrict v, const float *restrict g, uint64_t n,
                        float grad_scale, struct adamw_step s)
{
    for (uint64_t i = 0; i < n; i++) {
        float d = g[i] * grad_scale;
        m[i] += s.one_less_beta1 * (d - m[i]);
        v[i] = s.beta2 * v[i] + s.one_less_beta2 * d * d;
        w[i] = w[i] * s.shrink - s.step_size * (m[i] / (sqrtf(v[i]) / s.root_correction + s.eps));
    }
}

static void adamw(struct optim *o, double lr, float grad_scale)
{
    const struct optim_options *k = &o->options;
    double t = (double)o->steps, correction = 1 - pow(k->beta1, t);
    struct adamw_step s = {.one_less_beta1 = (float)(1 - k->beta1), .beta2 = (float)k->beta2,
                           .one_less_beta2 = (float)(1 - k->beta2), .root_correction = (float)sqrt(1 - pow(k->beta2, t)),
                           .eps = (float)k->eps};
#pragma omp parallel for schedule(static) firstprivate(s)
    for (size_t i = 0; i < o->n_pieces; i++) {
        const struct optim_piece *piece = &o->pieces[i];
        const struct param *p = &o->params->list[piece->param];
        float *const *slot = o->moments[piece->param].slot;
        double rate = lr * p->rate;
        s.shrink = p->matrix ? (float)(1 - rate * k->weight_decay) : 1;
        s.step_size = (float)(rate / correction);
        adamw_piece(p->value + piece->start, slot[0] + piece->start, slot[1] + piece->start, p->grad + piece->start,
                    piece->n, grad_scale, s);
    }
}

/* g += decay w;  b = momentum b + g (b = g at first);  w -= lr b */
static void sgd_piece(float *restrict w, float *restrict b, const float *restrict g, uint64_t n, float grad_scale,
                      float decay, float momentum, float lr)
{
    for (uint64_t i = 0; i < n; i++) {
        float d = g[i] * grad_scale + decay * w[i];
        if (b) d = b[i] = momentum * b[i] + d;
        w[i] -= lr * d;
    }
}

static void sgd(struct optim *o, double lr, float grad_scale)
{
    const struct optim_options *k = &o->options;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < o->n_pieces; i++) {
        const struct optim_piece *piece = &o->pieces[i];
        const struct param *p = &o->params->list[piece->param];
        float *momentum = o->moments[piece->param].slot[0];
        sgd_piece(p->value + piece->start, momentum ? momentum + piece->start : NULL, p->grad + piece->start, piece->n,
                  grad_scale, p->matrix ? (float)k->weight_decay : 0, (float)k->momentum, (float)(lr * p->rate));
    }
}

void optim_step(struct optim *o, double lr, double grad_scale)
{
    o->steps++;
    switch (o->options.kind) {
    case OPTIM_ADAFACTOR: adafactor_step(o, lr, (float)grad_scale); break;
    case OPTIM_SGD: sgd(o, lr, (float)grad_scale); break;
    default: adamw(o, lr, (float)grad_scale);
    }
}

/* ---- schedules --------------------------------------------------------------------------------------------------- */

double schedule_lr(const struct schedule *s, int64_t i)
{
    if (i < s->warmup) return s->lr * (double)(i + 1) / (double)s->warmup;
    double rest = (double)MAX(s->steps - s->warmup, 1), done = MIN((double)(i - s->warmup) / rest, 1.0);
    double left = s->kind == SCHEDULE_COSINE ? 0.5 * (1 + cos(M_PI * done))
                : s->kind == SCHEDULE_LINEAR ? 1 - done
                                             : 1;
    return s->lr * (s->end + (1 - s->end) * left);
}
