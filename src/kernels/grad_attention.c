/* grad_attention: attention over spans for training, forward and backward, by tiles of TILE_ROWS rows and TILE_KEYS
 * keys (arXiv 2205.14135). The products of a tile are of strided rows, heads are not gathered.
 *
 *     forward    s = scale q k^T (cap, distance, mask);  p = e^(s - max);  out = p v / sum p;  lse = max + log sum p
 *     backward   p = e^(s - lse);  dv += p^T dout;  dp = dout v^T;  ds = p (dp - sum(dout out));
 *                dq += scale ds k;  dk += scale ds^T q
 *
 * The forward is parallel over (sequence, head, tile of rows). The backward is parallel over (sequence, kv head, piece
 * of the keys): what adds to the same dk and dv comes one after the other, and each piece has a dq of its own, which
 * are added up in order at the end. Pieces depend on the shape only, so no sum depends on the number of threads. */
#include "base/base.h"
#include "kernels/grad.h"
#include "kernels/table.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 64, TILE_KEYS = 128, PIECE_KEYS = 4 * TILE_KEYS, MOST_PIECES = 4, ALIGNMENT = 64 };
/* Near spans lie in the first piece, which has their dq. */
_Static_assert((int)ATTENTION_NEAR_KEYS <= (int)PIECE_KEYS, "near keys are those of one piece");

/* What a thread works in. */
struct tile {
    float s[TILE_ROWS * TILE_KEYS];    /* scores, then probabilities */
    float ds[TILE_ROWS * TILE_KEYS];   /* gradients of the probabilities, then of the scores */
    float capped[TILE_ROWS * TILE_KEYS];  /* scores after the soft cap, where there is one */
    float max[TILE_ROWS], sum[TILE_ROWS], mean[TILE_ROWS];
};

/* One head of one sequence. */
struct head {
    const struct grad_sequence *seq;
    const struct attn_shape *shape;
    int64_t head, kv_head, stride;     /* stride: elements from a row to the next in q, out */
    int64_t from, to;                  /* backward: of the sequence's keys, span after span, those of this piece */
    float *dq;                         /* where the piece's dq goes, as seq->dq */
    struct tile *tile;
};

static const float *row_of(const struct head *h, const float *rows, int64_t row)
{
    return rows + row * h->stride + h->head * h->shape->head_dim;
}

/* The rows as a span sees them: queries, and where they stand. */
static const float *queries(const struct head *h, const struct grad_span *span)
{
    return span->near ? h->seq->q_near : h->seq->q;
}

static const int64_t *places(const struct head *h, const struct grad_span *span)
{
    return span->near ? h->seq->near : h->seq->positions;
}

/* ---- scores of a tile -------------------------------------------------------------------------------------------- */

/* Keys [from, to) of a block that begins at position `first` and has n keys, as seen from `position`. */
static void visible(const struct grad_span *span, int64_t first, int64_t n, int64_t position, int64_t *from,
                    int64_t *to)
{
    *from = 0;
    *to = n;
    if (span->rule == SPAN_ALL) return;
    *to = MAX(0, MIN(n, position - first + 1));
    if (span->rule == SPAN_BAND) *from = MIN(*to, MAX(0, position - span->band + 1 - first));
}

/* s [rows, n] of rows row0.. against keys key0..; -inf where a row does not see a key. False when none is seen. */
static bool scores(const struct head *h, const struct grad_span *span, int64_t row0, int64_t rows, int64_t key0,
                   int64_t n)
{
    const struct attn_shape *shape = h->shape;
    const int64_t *positions = places(h, span) + row0;
    int64_t first = span->first_position + key0, from, to, seen = 0;
    for (int64_t i = 0; i < rows; i++) {
        visible(span, first, n, positions[i], &from, &to);
        seen += to - from;
    }
    if (!seen) return false;
    float *s = h->tile->s, cap = shape->soft_cap, slope = shape->alibi ? shape->alibi[h->head] : 0;
    struct operand q = {row_of(h, queries(h, span), row0), h->stride, false};
    struct operand k = {span->k + key0 * span->stride + h->kv_head * shape->head_dim, span->stride, true};
    gemm_serial(s, TILE_KEYS, shape->scale, false, &q, &k, rows, n, shape->head_dim);
    for (int64_t i = 0; i < rows; i++) {
        float *row = s + i * TILE_KEYS;
        if (cap > 0) {
            kernels()->row->soft_cap(row, cap, n);
            memcpy(h->tile->capped + i * TILE_KEYS, row, (size_t)n * sizeof *row);
        }
        if (shape->alibi)
            for (int64_t j = 0; j < n; j++) row[j] -= slope * (float)llabs(positions[i] - first - j);
        if (seen == rows * n) continue;
        visible(span, first, n, positions[i], &from, &to);
        for (int64_t j = 0; j < from; j++) row[j] = -INFINITY;
        for (int64_t j = to; j < n; j++) row[j] = -INFINITY;
    }
    return true;
}

/* ---- forward ----------------------------------------------------------------------------------------------------- */

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
            struct operand p = {t->s, TILE_KEYS, false};
            struct operand v = {span->v + key0 * span->stride + h->kv_head * e, span->stride, false};
            gemm_serial(out, h->stride, 1, true, &p, &v, rows, e, n);
        }
    }
    for (int64_t i = 0; i < rows; i++) {
        bool seen = t->sum[i] > 0;
        if (seen) kernels()->row->scale(out + i * h->stride, 1 / t->sum[i], e);
        h->seq->lse[h->head * h->seq->n_rows + row0 + i] = seen ? t->max[i] + logf(t->sum[i]) : -INFINITY;
    }
}

/* ---- backward ---------------------------------------------------------------------------------------------------- */

/* The scores of a tile are in s: probabilities replace them, the gradients of the scores come into ds. */
static void score_gradients(const struct head *h, int64_t row0, int64_t rows, int64_t n)
{
    const struct row_kernels *k = kernels()->row;
    struct tile *t = h->tile;
    float cap = h->shape->soft_cap;
    for (int64_t i = 0; i < rows; i++) {
        float *s = t->s + i * TILE_KEYS, *ds = t->ds + i * TILE_KEYS;
        float lse = h->seq->lse[h->head * h->seq->n_rows + row0 + i];
        if (lse == -INFINITY)
            memset(s, 0, (size_t)n * sizeof *s);
        else
            k->softmax(s, lse, 1, n);
        k->softmax_backward(ds, s, t->mean[i], n);
        if (cap > 0) k->soft_cap_backward(ds, t->capped + i * TILE_KEYS, cap, n);
    }
}

/* One tile: rows row0.. against keys key0... */
static void backward_tile(const struct head *h, const struct grad_span *span, int64_t row0, int64_t rows, int64_t key0,
                          int64_t n)
{
    struct tile *t = h->tile;
    int64_t e = h->shape->head_dim, at = key0 * span->stride + h->kv_head * e;
    float *dq = (span->near ? h->seq->dq_near : h->dq) + row0 * h->stride + h->head * e, scale = h->shape->scale;
    struct operand q = {row_of(h, queries(h, span), row0), h->stride, false}, k = {span->k + at, span->stride, false};
    struct operand dout = {row_of(h, h->seq->dout, row0), h->stride, false};
    struct operand v_turned = {span->v + at, span->stride, true}, p_turned = {t->s, TILE_KEYS, true};
    struct operand ds = {t->ds, TILE_KEYS, false}, ds_turned = {t->ds, TILE_KEYS, true};
    gemm_serial(t->ds, TILE_KEYS, 1, false, &dout, &v_turned, rows, n, e);
    score_gradients(h, row0, rows, n);
    gemm_serial(dq, h->stride, scale, true, &ds, &k, rows, e, n);
    if (!span->dk) return;
    gemm_serial(span->dv + at, span->stride, 1, true, &p_turned, &dout, n, e, rows);
    gemm_serial(span->dk + at, span->stride, scale, true, &ds_turned, &q, n, e, rows);
}

static void backward_rows(const struct head *h, int64_t row0, int64_t rows)
{
    int64_t e = h->shape->head_dim, before = 0;
    for (int64_t i = 0; i < rows; i++) {
        memset(h->dq + (row0 + i) * h->stride + h->head * e, 0, (size_t)e * sizeof(float));
        if (h->seq->dq_near && !h->from) memset(h->seq->dq_near + (row0 + i) * h->stride + h->head * e, 0, (size_t)e * sizeof(float));
        h->tile->mean[i] = kernels()->row->dot(row_of(h, h->seq->dout, row0 + i), row_of(h, h->seq->out, row0 + i), e);
    }
    for (size_t a = 0; a < h->seq->n_spans; a++) {
        const struct grad_span *span = &h->seq->spans[a];
        int64_t from = MAX(0, h->from - before), to = MIN(span->n_keys, h->to - before);
        before += span->n_keys;
        for (int64_t key0 = from; key0 < to; key0 += TILE_KEYS) {
            int64_t n = MIN(TILE_KEYS, to - key0);
            if (scores(h, span, row0, rows, key0, n)) backward_tile(h, span, row0, rows, key0, n);
        }
    }
}

/* ---- all sequences and heads ----------------------------------------------------------------------------------- */

static int64_t pieces_of(int64_t n_keys) { return MAX(1, MIN(n_keys / PIECE_KEYS, MOST_PIECES)); }

static size_t dq_bytes(const struct attn_shape *shape, int64_t n_rows)
{
    return (size_t)(n_rows * shape->n_heads * shape->head_dim) * sizeof(float);
}

size_t attention_backward_scratch_bytes(const struct attn_shape *shape, int64_t n_rows, int64_t n_keys, int n_threads)
{
    size_t pieces = (size_t)(pieces_of(n_keys) - 1) * dq_bytes(shape, n_rows);
    return pieces + (size_t)n_threads * sizeof(struct tile) + ALIGNMENT;
}

/* What a call works in. */
struct work {
    const struct grad_sequence *sequences;
    int64_t n_sequences, n_rows;       /* rows: of all sequences */
    const struct attn_shape *shape;
    struct tile *tiles;                /* one a thread */
    float *dq;                         /* [pieces - 1, n_rows, n_heads, head_dim], sequence by sequence */
    int n_threads;
};

static struct work work_in(const struct grad_sequence *sequences, size_t n_sequences, const struct attn_shape *shape,
                           int n_threads, void *scratch)
{
    size_t skip = (size_t)(-(uintptr_t)scratch % ALIGNMENT);
    struct work w = {.sequences = sequences, .n_sequences = (int64_t)n_sequences, .shape = shape,
                     .tiles = (void *)((char *)scratch + skip), .n_threads = n_threads};
    w.dq = (void *)(w.tiles + n_threads);
    for (size_t s = 0; s < n_sequences; s++) w.n_rows += sequences[s].n_rows;
    return w;
}

static struct head head_at(const struct work *w, int64_t seq, int64_t head)
{
    return (struct head){.seq = &w->sequences[seq], .shape = w->shape, .head = head,
                         .kv_head = head / (w->shape->n_heads / w->shape->n_kv_heads),
                         .stride = w->shape->n_heads * w->shape->head_dim, .tile = w->tiles + omp_get_thread_num()};
}

void attention_forward(const struct grad_sequence *sequences, size_t n_sequences, const struct attn_shape *shape,
                       int n_threads, void *scratch)
{
    struct work w = work_in(sequences, n_sequences, shape, n_threads, scratch);
    int64_t longest = 0;
    for (int64_t s = 0; s < w.n_sequences; s++) longest = MAX(longest, sequences[s].n_rows);
#pragma omp parallel for schedule(dynamic) collapse(3) num_threads(n_threads)
    for (int64_t s = 0; s < w.n_sequences; s++)
        for (int64_t head = 0; head < shape->n_heads; head++)
            for (int64_t row0 = 0; row0 < longest; row0 += TILE_ROWS) {
                struct head h = head_at(&w, s, head);
                if (row0 < h.seq->n_rows) forward_rows(&h, row0, MIN(TILE_ROWS, h.seq->n_rows - row0));
            }
}

static int64_t keys_of(const struct grad_sequence *seq)
{
    int64_t n = 0;
    for (size_t a = 0; a < seq->n_spans; a++) n += seq->spans[a].n_keys;
    return n;
}

/* Piece `piece` > 0 of a sequence's dq. */
static float *dq_of_piece(const struct work *w, int64_t seq, int64_t piece)
{
    int64_t row = (piece - 1) * w->n_rows;
    for (int64_t s = 0; s < seq; s++) row += w->sequences[s].n_rows;
    return w->dq + row * w->shape->n_heads * w->shape->head_dim;
}

/* All query heads of a kv head against one piece of the keys. */
static void backward_piece(const struct work *w, int64_t seq, int64_t kv_head, int64_t piece)
{
    int64_t group = w->shape->n_heads / w->shape->n_kv_heads, n_rows = w->sequences[seq].n_rows;
    int64_t n_keys = keys_of(&w->sequences[seq]), pieces = pieces_of(n_keys);
    if (piece >= pieces) return;
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
        struct head h = head_at(w, seq, head);
        h.from = piece * n_keys / pieces;
        h.to = (piece + 1) * n_keys / pieces;
        h.dq = piece ? dq_of_piece(w, seq, piece) : h.seq->dq;
        for (int64_t row0 = 0; row0 < n_rows; row0 += TILE_ROWS)
            backward_rows(&h, row0, MIN(TILE_ROWS, n_rows - row0));
    }
}

void attention_backward(const struct grad_sequence *sequences, size_t n_sequences, const struct attn_shape *shape,
                        int n_threads, void *scratch)
{
    struct work w = work_in(sequences, n_sequences, shape, n_threads, scratch);
    int64_t most = 1;
    for (int64_t s = 0; s < w.n_sequences; s++) most = MAX(most, pieces_of(keys_of(&sequences[s])));
#pragma omp parallel for schedule(dynamic) collapse(3) num_threads(n_threads)
    for (int64_t piece = 0; piece < most; piece++)
        for (int64_t s = 0; s < w.n_sequences; s++)
            for (int64_t kv = 0; kv < shape->n_kv_heads; kv++) backward_piece(&w, s, kv, piece);
    for (int64_t s = 0; s < w.n_sequences; s++)
        for (int64_t piece = 1; piece < pieces_of(keys_of(&sequences[s])); piece++)
            add_to(sequences[s].dq, dq_of_piece(&w, s, piece), sequences[s].n_rows * shape->n_heads * shape->head_dim);
}
