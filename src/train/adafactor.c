/* Adafactor (Shazeer and Stern 2018, arXiv 1804.04235): the second moment of a matrix is kept as the means of its rows
 * and of its columns, whose product over their mean estimates it; vectors keep theirs whole. No first moment. Form and
 * constants are those of torch.optim.Adafactor; without relative_step the step is lr itself (algorithm 4 with a given
 * step size). */
#include "train/optim_inner.h"

#include <float.h>
#include <math.h>

enum { COLUMNS = 64 };
static const double DECAY = -0.8;       /* 1 - beta2 of step t is t^DECAY */
static const double EPS1 = FLT_EPSILON; /* least root of a second moment */
static const double EPS2 = 1e-3;        /* least root mean square of a tensor that a relative step takes */
static const double MOST = 1.0;         /* root mean square that an update may have (section 6) */

snellen_status adafactor_new(struct optim *o, snellen_error *err)
{
    int64_t rows = 1;
    for (size_t i = 0; i < o->params->n; i++)
        if (o->params->list[i].n_dims == 2) rows = MAX(rows, o->params->list[i].shape[0]);
    return NEW_ARRAY(&o->row_sums, MAX((size_t)rows, o->n_pieces), "optimiser's sums", err);
}

/* x += share (y - x) */
static float lerp(float x, float y, float share)
{
    return x + share * (y - x);
}

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

static double root_mean_square(struct optim *o, const float *x, int64_t n)
{
    int64_t n_pieces = (n + OPTIM_PIECE - 1) / OPTIM_PIECE;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n_pieces; i++)
        o->row_sums[i] = optim_sum_squares(x + i * OPTIM_PIECE, MIN(n - i * OPTIM_PIECE, (int64_t)OPTIM_PIECE));
    return sqrt(sum_of(o->row_sums, n_pieces) / (double)n);
}

/* ---- a matrix ---------------------------------------------------------------------------------------------------- */

struct matrix {
    float *w;                   /* [n_rows, n_cols] */
    const float *g;
    float *row_var, *col_var;   /* [n_rows], [n_cols] */
    int64_t n_rows, n_cols;
    float grad_scale;
};

/* Means of squared gradients over each row and over each column move by `share` towards those of this step. */
static void matrix_moments(const struct matrix *m, float share)
{
    double square = (double)m->grad_scale * (double)m->grad_scale;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m->n_rows; i++) {
        double sum = square * optim_sum_squares(m->g + i * m->n_cols, m->n_cols);
        m->row_var[i] = lerp(m->row_var[i], (float)(sum / (double)m->n_cols), share);
    }
#pragma omp parallel for schedule(static)
    for (int64_t j0 = 0; j0 < m->n_cols; j0 += COLUMNS) {
        double sum[COLUMNS] = {0};
        int64_t n = MIN(m->n_cols - j0, (int64_t)COLUMNS);
        for (int64_t i = 0; i < m->n_rows; i++)
            for (int64_t j = 0; j < n; j++) {
                double g = (double)m->g[i * m->n_cols + j0 + j];
                sum[j] += g * g;
            }
        for (int64_t j = 0; j < n; j++)
            m->col_var[j0 + j] = lerp(m->col_var[j0 + j], (float)(square * sum[j] / (double)m->n_rows), share);
    }
}

/* The update of entry (i, j): g / sqrt(row_var_i col_var_j / mean row_var). */
static float matrix_update(const struct matrix *m, int64_t i, int64_t j, float mean)
{
    float estimate = m->row_var[i] * m->col_var[j] / mean;
    return m->g[i * m->n_cols + j] * m->grad_scale / sqrtf(MAX(estimate, (float)(EPS1 * EPS1)));
}

static void matrix_step(struct optim *o, const struct matrix *m, float shrink, float share, double step)
{
    matrix_moments(m, share);
    double mean_of_rows = 0;
    for (int64_t i = 0; i < m->n_rows; i++) mean_of_rows += (double)m->row_var[i] / (double)m->n_rows;
    float mean = (float)MAX(mean_of_rows, EPS1);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m->n_rows; i++) {
        double sum = 0;
        for (int64_t j = 0; j < m->n_cols; j++) {
            double u = (double)matrix_update(m, i, j, mean);
            sum += u * u;
        }
        o->row_sums[i] = sum;
    }
    double rms = sqrt(sum_of(o->row_sums, m->n_rows) / (double)(m->n_rows * m->n_cols));
    float alpha = (float)(step / MAX(1.0, rms / MOST));
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < m->n_rows; i++)
        for (int64_t j = 0; j < m->n_cols; j++) {
            float *w = &m->w[i * m->n_cols + j];
            *w = *w * shrink - alpha * matrix_update(m, i, j, mean);
        }
}

/* ---- a vector ---------------------------------------------------------------------------------------------------- */

static void vector_step(float *w, float *variance, const float *g, uint64_t n, float grad_scale, float share,
                        double step)
{
    double sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        float d = g[i] * grad_scale;
        variance[i] = lerp(variance[i], d * d, share);
        double u = (double)(d / sqrtf(MAX(variance[i], (float)(EPS1 * EPS1))));
        sum += u * u;
    }
    float alpha = (float)(step / MAX(1.0, sqrt(sum / (double)n) / MOST));
    for (uint64_t i = 0; i < n; i++)
        w[i] -= alpha * (g[i] * grad_scale / sqrtf(MAX(variance[i], (float)(EPS1 * EPS1))));
}

void adafactor_step(struct optim *o, double lr, float grad_scale)
{
    double t = (double)o->steps;
    float share = (float)pow(t, DECAY);
    for (size_t i = 0; i < o->params->n; i++) {
        const struct param *p = &o->params->list[i];
        float *const *slot = o->moments[i].slot;
        double rate = lr * p->rate, step = rate;
        if (o->options.relative_step) step = MIN(rate, 1 / sqrt(t)) * MAX(EPS2, root_mean_square(o, p->value, (int64_t)p->n));
        if (p->n_dims == 2) {
            struct matrix m = {p->value, p->grad, slot[0], slot[1], p->shape[0], p->shape[1], grad_scale};
            matrix_step(o, &m, p->matrix ? (float)(1 - rate * o->options.weight_decay) : 1, share, step);
        } else {
            vector_step(p->value, slot[0], p->grad, p->n, grad_scale, share, step);
        }
    }
}
