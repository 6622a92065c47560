/* grad_attention: attention over spans for training, forward and backward, by tiles of TILE_ROWS rows and TILE_KEYS keys
 * (arXiv 2205.14135). The products of a tile are SGEMM calls on strided rows, heads are not gathered.
 *
 *     forward    s = scale q k^T (cap, distance, mask);  p = e^(s - max);  out = p v / sum p;  lse = max + log sum p
 *     backward   p = e^(s - lse);  dv += p^T dout;  dp = dout v^T;  ds = p (dp - sum(dout out));
 *                dq += scale ds k;  dk += scale ds^T q
 *
 * Parallel over (sequence, kv head): the query heads of a group add to the same dk and dv one after the other, so no
 * sum depends on the number of threads. */
#include "base/base.h"
#include "kernels/grad.h"
#include "kernels/table.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 64, TILE_KEYS = 128, ALIGNMENT = 64 };

/* What a thread works in. */
struct tile {
    float s[TILE_ROWS * TILE_KEYS];    /* scores, then probabilities */
    float ds[TILE_ROWS * TILE_KEYS];   /* gradients of the probabilities, then of the scores */
    float max[TILE_ROWS], sum[TILE_ROWS], mean[TILE_ROWS];
};

/* One head of one sequence. */
struct head {
    const struct grad_sequence *seq;
    const struct attn_shape *shape;
    int64_t head, kv_head, stride;     /* stride: elements from a row to the next in q, out */
    struct tile *tile;
};

static const float *row_of(const struct head *h, const float *rows, int64_t row)
{
    return rows + row * h->stride + h->head * h->shape->head_dim;
}

/* ---- scores of a tile ------------------------------------------------------------------------------------------------ */

/* Keys [from, to) of a block that begins at position `first` and has n keys, as seen from `position`. */
static void visible(const struct grad_span *span, int64_t first, int64_t n, int64_t position, int64_t *from, int64_t *to)
{
    *from = 0;
    *to = n;
    if (span->rule == SPAN_ALL) return;
    *to = MAX(0, MIN(n, position - first + 1));
    if (span->rule == SPAN_BAND) *from = MIN(*to, MAX(0, position - span->band + 1 - first));
}

/* s [rows, n] of rows row0.. against keys key0..; -inf where a row does not see a key. False when none is seen. */
static bool scores(const struct head *h, const struct grad_span *span, int64_t row0, int64_t rows, int64_t key0, int64_t n)
{
    const struct attn_shape *shape = h->shape;
    const int64_t *positions = h->seq->positions + row0;
    int64_t first = span->first_position + key0, from, to, seen = 0;
    for (int64_t i = 0; i < rows; i++) {
        visible(span, first, n, positions[i], &from, &to);
        seen += to - from;
    }
    if (!seen) return false;
    float *s = h->tile->s, cap = shape->soft_cap, slope = shape->alibi ? shape->alibi[h->head] : 0;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)n, (int)shape->head_dim, shape->scale,
                row_of(h, h->seq->q, row0), (int)h->stride, span->k + key0 * span->stride + h->kv_head * shape->head_dim,
                (int)span->stride, 0, s, TILE_KEYS);
    for (int64_t i = 0; i < rows; i++) {
        float *row = s + i * TILE_KEYS;
        if (cap > 0) kernels()->row->soft_cap(row, cap, n);
        if (shape->alibi)
            for (int64_t j = 0; j < n; j++) row[j] -= slope * (float)llabs(positions[i] - first - j);
        if (seen == rows * n) continue;
        visible(span, first, n, positions[i], &from, &to);
        for (int64_t j = 0; j < from; j++) row[j] = -INFINITY;
        for (int64_t j = to; j < n; j++) row[j] = -INFINITY;
    }
    return true;
}

/* ---- forward --------------------------------------------------------------------------------------------------------- */

/* The running softmax takes the scores of n keys: out and sum are brought to the new maximum, s becomes e^(s - max). */
static void take_scores(const struct head *h, int64_t row0, int64_t rows, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
    struct tile *t = h->tile;
    for (int64_t i = 0; i < rows; i++) {
        float *s = t->s + i * TILE_KEYS, top = k->max(s, n);
        if (top > t->max[i]) {
            float shrink = expf(t->max[i] - top);
            k->scale(h->seq->out + (row0 + i) * h->stride + h->head * h->shape->head_dim, shrink, h->shape->head_dim);
            t->sum[i] *= shrink;
            t->max[i] = top;
        }
        if (t->max[i] == -INFINITY) {   /* nothing seen so far */
            memset(s, 0, (size_t)n * sizeof *s);
            continue;
        }
        k->softmax(s, t->max[i], 1, n);
        t->sum[i] += k->sum(s, n);
    }
}

static void forward_rows(const struct head *h, int64_t row0, int64_t rows)
{
    struct tile *t = h->tile;
    int64_t e = h->shape->head_dim;
    float *out = h->seq->out + row0 * h->stride + h->head * e;
    for (int64_t i = 0; i < rows; i++) {
        memset(out + i * h->stride, 0, (size_t)e * sizeof *out);
        t->max[i] = -INFINITY;
        t->sum[i] = 0;
    }
    for (size_t a = 0; a < h->seq->n_spans; a++) {
        const struct grad_span *span = &h->seq->spans[a];
        for (int64_t key0 = 0; key0 < span->n_keys; key0 += TILE_KEYS) {
            int64_t n = MIN(TILE_KEYS, span->n_keys - key0);
            if (!scores(h, span, row0, rows, key0, n)) continue;
            take_scores(h, row0, rows, n);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)e, (int)n, 1, t->s, TILE_KEYS,
                        span->v + key0 * span->stride + h->kv_head * e, (int)span->stride, 1, out, (int)h->stride);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        bool seen = t->sum[i] > 0;
        if (seen) kernels()->row->scale(out + i * h->stride, 1 / t->sum[i], e);
        h->seq->lse[h->head * h->seq->n_rows + row0 + i] = seen ? t->max[i] + logf(t->sum[i]) : -INFINITY;
    }
}

/* ---- backward -------------------------------------------------------------------------------------------------------- */

/* The scores of a tile are in s: probabilities replace them, the gradients of the scores come into ds. */
static void score_gradients(const struct head *h, int64_t row0, int64_t rows, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
    struct tile *t = h->tile;
    float cap = h->shape->soft_cap;
    for (int64_t i = 0; i < rows; i++) {
        float *s = t->s + i * TILE_KEYS, *ds = t->ds + i * TILE_KEYS;
        float lse = h->seq->lse[h->head * h->seq->n_rows + row0 + i], capped[TILE_KEYS];
        if (cap > 0) memcpy(capped, s, (size_t)n * sizeof *s);
        if (lse == -INFINITY)
            memset(s, 0, (size_t)n * sizeof *s);
        else
            k->softmax(s, lse, 1, n);
        k->softmax_backward(ds, s, t->mean[i], n);
        if (cap <= 0) continue;
        for (int64_t j = 0; j < n; j++)
            if (capped[j] == -INFINITY) capped[j] = 0;
        k->soft_cap_backward(ds, capped, cap, n);
    }
}

/* One tile: rows row0.. against keys key0... */
static void backward_tile(const struct head *h, const struct grad_span *span, int64_t row0, int64_t rows, int64_t key0,
                          int64_t n)
{
    struct tile *t = h->tile;
    int64_t e = h->shape->head_dim, at = key0 * span->stride + h->kv_head * e;
    int stride = (int)h->stride, key_stride = (int)span->stride;
    const float *q = row_of(h, h->seq->q, row0), *dout = row_of(h, h->seq->dout, row0);
    float *dq = h->seq->dq + row0 * h->stride + h->head * e, scale = h->shape->scale;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)n, (int)e, 1, dout, stride, span->v + at,
                key_stride, 0, t->ds, TILE_KEYS);
    score_gradients(h, row0, rows, n);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)e, (int)n, scale, t->ds, TILE_KEYS,
                span->k + at, key_stride, 1, dq, stride);
    if (!span->dk) return;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)e, (int)rows, 1, t->s, TILE_KEYS, dout, stride, 1,
                span->dv + at, key_stride);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)n, (int)e, (int)rows, scale, t->ds, TILE_KEYS, q, stride, 1,
                span->dk + at, key_stride);
}

static void backward_rows(const struct head *h, int64_t row0, int64_t rows)
{
    int64_t e = h->shape->head_dim;
    for (int64_t i = 0; i < rows; i++) {
        memset(h->seq->dq + (row0 + i) * h->stride + h->head * e, 0, (size_t)e * sizeof(float));
        h->tile->mean[i] = kernels()->row->dot(row_of(h, h->seq->dout, row0 + i), row_of(h, h->seq->out, row0 + i), e);
    }
    for (size_t a = 0; a < h->seq->n_spans; a++) {
        const struct grad_span *span = &h->seq->spans[a];
        for (int64_t key0 = 0; key0 < span->n_keys; key0 += TILE_KEYS) {
            int64_t n = MIN(TILE_KEYS, span->n_keys - key0);
            if (scores(h, span, row0, rows, key0, n)) backward_tile(h, span, row0, rows, key0, n);
        }
    }
}

/* ---- all sequences and heads -------------------------------------------------------------------------------------------- */

size_t attention_backward_scratch_bytes(const struct attn_shape *shape, int n_threads)
{
    (void)shape;
    return (size_t)n_threads * sizeof(struct tile) + ALIGNMENT;
}

static void for_all_heads(const struct grad_sequence *sequences, size_t n_sequences, const struct attn_shape *shape,
                          void *scratch, size_t scratch_bytes, void (*work)(const struct head *, int64_t, int64_t))
{
    size_t skip = (size_t)(-(uintptr_t)scratch % ALIGNMENT);
    struct tile *tiles = (void *)((char *)scratch + skip);
    int n_tiles = (int)MIN((size_t)omp_get_max_threads(), (scratch_bytes - skip) / sizeof(struct tile));
    int64_t group = shape->n_heads / shape->n_kv_heads;
#pragma omp parallel for schedule(dynamic) collapse(2) num_threads(n_tiles)
    for (size_t s = 0; s < n_sequences; s++)
        for (int64_t kv = 0; kv < shape->n_kv_heads; kv++) {
            struct head h = {.seq = &sequences[s], .shape = shape, .kv_head = kv,
                             .stride = shape->n_heads * shape->head_dim, .tile = tiles + omp_get_thread_num()};
            for (h.head = kv * group; h.head < (kv + 1) * group; h.head++)
                for (int64_t row0 = 0; row0 < h.seq->n_rows; row0 += TILE_ROWS)
                    work(&h, row0, MIN(TILE_ROWS, h.seq->n_rows - row0));
        }
}

void attention_forward(const struct grad_sequence *sequences, size_t n_sequences, const struct attn_shape *shape,
                       void *scratch, size_t scratch_bytes)
{
    for_all_heads(sequences, n_sequences, shape, scratch, scratch_bytes, forward_rows);
}

void attention_backward(const struct grad_sequence *sequences, size_t n_sequences, const struct attn_shape *shape,
                        void *scratch, size_t scratch_bytes)
{
    for_all_heads(sequences, n_sequences, shape, scratch, scratch_bytes, backward_rows);
}
