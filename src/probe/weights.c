/* The weights of attention, worked out a second time, plainly, from the definition: in double, one row at a time. */
#include "probe/probe.h"

#include <math.h>
#include <stdlib.h>

/* q.k of key j, in double */
static double product_of(const struct attn_span *span, const struct attn_shape *shape, const float *q, int64_t element)
{
    enum { PIECE = 32 };   /* whole blocks of every type of keys */
    float k[PIECE];
    double sum = 0;
    for (int64_t e = 0; e < shape->head_dim; e += PIECE) {
        int64_t n = MIN(PIECE, shape->head_dim - e);
        const char *at = (const char *)span->k + dtype_row_bytes(shape->kv_type, element + e);
        weight_row(k, &(struct weight){shape->kv_type, at, 1, n}, 0);
        for (int64_t i = 0; i < n; i++) sum += (double)(q[e + i] * k[i]);
    }
    return sum;
}

static bool sees(const struct attn_span *span, int64_t row, int64_t position, int64_t key)
{
    if (span->rows && (row < span->row0 || row >= span->row0 + span->rows)) return false;
    if (span->rule == SPAN_ALL) return true;
    return key <= position && (span->rule == SPAN_CAUSAL || key > position - span->band);
}

/* q.k scale with cap and distance, as attention() has it */
static double score_of(const struct attn_span *span, const struct attn_shape *shape, int64_t head, const float *q,
                       int64_t j, int64_t distance, int64_t row)
{
    int64_t at = head / (shape->n_heads / shape->n_kv_heads) * span->head_stride + j * shape->head_dim;
    double cap = (double)shape->soft_cap, score = product_of(span, shape, q, at) * (double)shape->scale;
    if (cap > 0) score = cap * tanh(score / cap);
    if (!shape->alibi) return score;
    double factor = shape->slope_factors ? (double)shape->slope_factors[row] : 1;
    return score - (double)shape->alibi[head] * factor * (double)distance;
}

void attention_row(float *out, int64_t n, const struct attn_shown *shown, const int64_t *places, int64_t head,
                   int64_t row)
{
    const struct attn_shape *shape = shown->shape;
    int64_t position = shown->positions[row];
    const float *q = shown->q + (row * shape->n_heads + head) * shape->head_dim;
    double top = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < n; i++) out[i] = -INFINITY;
    for (size_t s = 0; s < shown->n_spans; s++)
        for (int64_t j = 0; j < shown->spans[s].n_keys; j++) {
            int64_t key = shown->spans[s].first_position + j;
            if (!sees(&shown->spans[s], row, position, key)) continue;
            double score = score_of(&shown->spans[s], shape, head, q, j, llabs(position - key), row);
            out[places[s] + j] = (float)score;
            top = fmax(top, score);
        }
    for (int64_t i = 0; i < n; i++) sum += exp((double)out[i] - top);
    for (int64_t i = 0; i < n; i++) out[i] = (float)(exp((double)out[i] - top) / sum);
}
