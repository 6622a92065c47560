/* attention_body: one step of the running softmax, over the vector words of the file that includes it.
 *
 * For a block of keys: scores s_j = q.k_j, m' = max(m, s), sum' = sum 2^(m - m') + sum_j 2^(s_j - m') and out likewise
 * with v_j. Two forms: a panel of many queries (register tiles of keys x lanes and of widths x lanes), and the few
 * queries of one row (dot products along the head width, K and V read once for all of them). */

/* ---- a panel: lanes are queries ---------------------------------------------------------------------------------- */

#define PANEL (PANEL_VECTORS * VL)

/* scores [n, PANEL] = k [n, head_dim] q [head_dim, PANEL] for n = 1 .. PANEL_TILE keys. */
INLINE void panel_score_tile(const int n, float *scores, const float *k, const float *q, int64_t head_dim)
{
    vf acc[PANEL_TILE][PANEL_VECTORS];
    for (int i = 0; i < n; i++)
        for (int c = 0; c < PANEL_VECTORS; c++) acc[i][c] = v_set1(0);
    for (int64_t d = 0; d < head_dim; d++) {
        vf vq[PANEL_VECTORS];
        UNROLL for (int c = 0; c < PANEL_VECTORS; c++) vq[c] = v_load(q + d * PANEL + c * VL);
        UNROLL for (int i = 0; i < n; i++) {
            vf vk = v_set1(k[i * head_dim + d]);
            UNROLL for (int c = 0; c < PANEL_VECTORS; c++) acc[i][c] = v_fma(vk, vq[c], acc[i][c]);
        }
    }
    for (int i = 0; i < n; i++)
        for (int c = 0; c < PANEL_VECTORS; c++) v_store(scores + i * PANEL + c * VL, acc[i][c]);
}

static void panel_scores(float *scores, const float *k, const float *q, int64_t n_keys, int64_t head_dim)
{
    int64_t j = 0;
    for (; j + PANEL_TILE <= n_keys; j += PANEL_TILE)
        panel_score_tile(PANEL_TILE, scores + j * PANEL, k + j * head_dim, q, head_dim);
    for (; j + 2 <= n_keys; j += 2) panel_score_tile(2, scores + j * PANEL, k + j * head_dim, q, head_dim);
    for (; j < n_keys; j++) panel_score_tile(1, scores + j * PANEL, k + j * head_dim, q, head_dim);
}

INLINE vf tanh_times(vf s, vf cap) { return v_mul(cap, tanh_of(s)); }

/* Cap, distance and visibility, where there are any. */
static void panel_rule(float *scores, int64_t n_keys, const struct attn_rule *rule)
{
    if (rule->cap > 0) map_with(scores, n_keys * PANEL, tanh_times, rule->cap);
    for (int c = 0; rule->slopes && c < PANEL; c += VL) {
        vf slope = v_load(rule->slopes + c), distance = v_load(rule->distances + c);
        for (int64_t j = 0; j < n_keys; j++) {
            float *s = scores + j * PANEL + c;
            v_store(s, v_fnma(slope, v_abs(v_sub(distance, v_set1((float)j))), v_load(s)));
        }
    }
    for (int c = 0; rule->first && c < PANEL; c += VL) {
        vf first = v_load(rule->first + c), end = v_load(rule->end + c), never = v_set1(-INFINITY);
        for (int64_t j = 0; j < n_keys; j++) {
            float *s = scores + j * PANEL + c;
            vf vj = v_set1((float)j);
            vf seen = v_select_less(vj, end, v_load(s), never);
            v_store(s, v_select_less(vj, first, never, seen));
        }
    }
}

/* scores become 2^(score - max) with the new maximum; shrink [PANEL] = 2^(old maximum - new maximum). */
INLINE void panel_weights(const struct attn_panel *p, int64_t n_keys, vf *shrink)
{
    vf m[PANEL_VECTORS], base[PANEL_VECTORS], sum[PANEL_VECTORS];
    UNROLL for (int c = 0; c < PANEL_VECTORS; c++) m[c] = v_load(p->max + c * VL);
    for (int64_t j = 0; j < n_keys; j++)
        UNROLL for (int c = 0; c < PANEL_VECTORS; c++) m[c] = v_max(v_load(p->scores + j * PANEL + c * VL), m[c]);
    UNROLL for (int c = 0; c < PANEL_VECTORS; c++) {
        vf old = v_load(p->max + c * VL);
        v_store(p->max + c * VL, m[c]);
        /* while a lane has seen nothing its maximum is -inf, and -inf - -inf is not a number */
        base[c] = v_max(m[c], v_set1(-FLT_MAX));
        shrink[c] = exp2_of(v_sub(old, base[c]));
        sum[c] = v_set1(0);
    }
    for (int64_t j = 0; j < n_keys; j++)
        UNROLL for (int c = 0; c < PANEL_VECTORS; c++) {
            float *s = p->scores + j * PANEL + c * VL;
            vf e = exp2_of(v_sub(v_load(s), base[c]));
            sum[c] = v_add(sum[c], e);
            v_store(s, e);
        }
    UNROLL for (int c = 0; c < PANEL_VECTORS; c++)
        v_store(p->sum + c * VL, v_fma(v_load(p->sum + c * VL), shrink[c], sum[c]));
}

/* out [n, PANEL] = out shrink + v [n_keys, n]^T weights [n_keys, PANEL] for n = 1 .. PANEL_TILE columns of v. */
INLINE void panel_value_tile(const int n, float *out, const vf *shrink, const float *weights, const float *v,
                             int64_t n_keys, int64_t head_dim)
{
    vf acc[PANEL_TILE][PANEL_VECTORS];
    for (int i = 0; i < n; i++)
        for (int c = 0; c < PANEL_VECTORS; c++) acc[i][c] = v_set1(0);
    for (int64_t j = 0; j < n_keys; j++) {
        vf w[PANEL_VECTORS];
        UNROLL for (int c = 0; c < PANEL_VECTORS; c++) w[c] = v_load(weights + j * PANEL + c * VL);
        UNROLL for (int i = 0; i < n; i++) {
            vf vv = v_set1(v[j * head_dim + i]);
            UNROLL for (int c = 0; c < PANEL_VECTORS; c++) acc[i][c] = v_fma(vv, w[c], acc[i][c]);
        }
    }
    for (int i = 0; i < n; i++)
        for (int c = 0; c < PANEL_VECTORS; c++) {
            float *o = out + i * PANEL + c * VL;
            v_store(o, v_fma(v_load(o), shrink[c], acc[i][c]));
        }
}

static void attn_panel(const struct attn_panel *p, const float *k, const float *v, int64_t n_keys, int64_t head_dim,
                       const struct attn_rule *rule)
{
    vf shrink[PANEL_VECTORS];
    panel_scores(p->scores, k, p->q, n_keys, head_dim);
    panel_rule(p->scores, n_keys, rule);
    panel_weights(p, n_keys, shrink);
    int64_t d = 0;
    for (; d + PANEL_TILE <= head_dim; d += PANEL_TILE)
        panel_value_tile(PANEL_TILE, p->out + d * PANEL, shrink, p->scores, v + d, n_keys, head_dim);
    for (; d + 2 <= head_dim; d += 2)
        panel_value_tile(2, p->out + d * PANEL, shrink, p->scores, v + d, n_keys, head_dim);
    for (; d < head_dim; d++)
        panel_value_tile(1, p->out + d * PANEL, shrink, p->scores, v + d, n_keys, head_dim);
}

/* ---- the queries of one row -------------------------------------------------------------------------------------- */

/* Keys whose dot products run side by side, and vectors of V's width that do. */
#define KEY_TILE 4
#define VALUE_TILE 4

/* VL elements at offset i of an f32 or f16 array; `part` of them, the rest 0. */
INLINE vf kv_load(const void *x, const bool half, int64_t i)
{
    return half ? v_load_half((const uint16_t *)x + i) : v_load((const float *)x + i);
}
INLINE vf kv_load_part(const void *x, const bool half, int64_t i, int64_t part)
{
    return half ? v_load_half_part((const uint16_t *)x + i, part) : v_load_part((const float *)x + i, part);
}

/* Asks the second-level cache for n keys from key j on. */
INLINE void kv_prefetch(const void *x, const bool half, int64_t j, int64_t n, int64_t head_dim)
{
    int64_t size = half ? 2 : 4;
    const char *at = (const char *)x + j * head_dim * size;
    for (int64_t b = 0; b < n * head_dim * size; b += 64) __builtin_prefetch(at + b, 0, 2);
}

/* scores [nq, ATTN_KEY_BLOCK] of KEY_TILE keys from key j, of which the first n_keys count. */
INLINE void query_score_tile(const int nq, const bool half, float *scores, const float *q, int64_t q_stride,
                             const void *k, int64_t j, int64_t n_keys, int64_t head_dim)
{
    vf acc[MAX_QUERIES][KEY_TILE];
    int64_t at[KEY_TILE], d = 0;
    for (int t = 0; t < KEY_TILE; t++) at[t] = (t < n_keys ? j + t : j) * head_dim;
    for (int i = 0; i < nq; i++)
        for (int t = 0; t < KEY_TILE; t++) acc[i][t] = v_set1(0);
    for (; d + VL <= head_dim; d += VL) {
        vf vk[KEY_TILE];
        UNROLL for (int t = 0; t < KEY_TILE; t++) vk[t] = kv_load(k, half, at[t] + d);
        UNROLL for (int i = 0; i < nq; i++) {
            vf vq = v_load(q + i * q_stride + d);
            UNROLL for (int t = 0; t < KEY_TILE; t++) acc[i][t] = v_fma(vk[t], vq, acc[i][t]);
        }
    }
    if (d < head_dim)
        for (int t = 0; t < KEY_TILE; t++) {
            vf vk = kv_load_part(k, half, at[t] + d, head_dim - d);
            for (int i = 0; i < nq; i++) acc[i][t] = v_fma(vk, v_load(q + i * q_stride + d), acc[i][t]);
        }
    /* all four go into the buffer: there is room up to the next multiple of KEY_TILE */
    for (int i = 0; i < nq; i++)
        v_sum4(scores + i * ATTN_KEY_BLOCK, acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
}

/* scores become 2^(score - max); *sum and *max move on; returns 2^(old maximum - new maximum). */
INLINE float query_weights(float *scores, int64_t n_keys, float *max, float *sum)
{
    int64_t end = (n_keys + VL - 1) / VL * VL;
    for (int64_t j = n_keys; j < end; j++) scores[j] = -INFINITY;
    vf m = v_set1(*max);
    for (int64_t j = 0; j < end; j += VL) m = v_max(v_load(scores + j), m);
    float greatest = v_greatest(m);
    float base = greatest > -FLT_MAX ? greatest : -FLT_MAX;
    vf total = v_set1(0), vb = v_set1(base);
    for (int64_t j = 0; j < end; j += VL) {
        vf e = exp2_of(v_sub(v_load(scores + j), vb));
        total = v_add(total, e);
        v_store(scores + j, e);
    }
    float shrink = v_get_first(exp2_of(v_set1(*max - base)));
    *max = greatest;
    *sum = *sum * shrink + v_sum(total);
    return shrink;
}

/* out [nq] columns [d, d + n_vectors * VL) = out shrink + weights [nq, ATTN_KEY_BLOCK] v; part > 0: one vector, of
 * which `part` elements exist (out has room for all). */
INLINE void query_value_tile(const int nq, const int n_vectors, const bool half, float *out, int64_t out_stride,
                             const float *shrink, const float *weights, const void *v, int64_t d, int64_t part,
                             int64_t n_keys, int64_t head_dim)
{
    vf acc[MAX_QUERIES][VALUE_TILE];
    for (int i = 0; i < nq; i++)
        for (int c = 0; c < n_vectors; c++) acc[i][c] = v_set1(0);
    for (int64_t j = 0; j < n_keys; j++) {
        vf vv[VALUE_TILE];
        UNROLL for (int c = 0; c < n_vectors; c++)
            vv[c] = part ? kv_load_part(v, half, j * head_dim + d, part) : kv_load(v, half, j * head_dim + d + c * VL);
        UNROLL for (int i = 0; i < nq; i++) {
            vf w = v_set1(weights[i * ATTN_KEY_BLOCK + j]);
            UNROLL for (int c = 0; c < n_vectors; c++) acc[i][c] = v_fma(vv[c], w, acc[i][c]);
        }
    }
    for (int i = 0; i < nq; i++)
        for (int c = 0; c < n_vectors; c++) {
            float *o = out + i * out_stride + d + c * VL;
            v_store(o, v_fma(v_load(o), v_set1(shrink[i]), acc[i][c]));
        }
}

/* nq queries from query i0, one block of keys. Where heads are wide V is read in several passes of short stretches,
 * which the processor does not foresee: V and the next block's K are asked for while the scores are computed. */
INLINE void query_step(const int nq, const bool half, const struct attn_queries *s, int64_t i0, const void *k,
                       const void *v, int64_t n_keys, int64_t n_next, int64_t head_dim, const struct attn_rule *rule)
{
    float scores[MAX_QUERIES * ATTN_KEY_BLOCK], shrink[MAX_QUERIES];
    const float *q = s->q + i0 * s->stride;
    float *out = s->out + i0 * s->stride;
    bool ahead = i0 == 0 && head_dim > VALUE_TILE * VL;
    for (int64_t j = 0; j < n_keys; j += KEY_TILE) {
        if (ahead) kv_prefetch(v, half, j, MIN(n_keys - j, KEY_TILE), head_dim);
        if (ahead && j < n_next) kv_prefetch(k, half, n_keys + j, MIN(n_next - j, KEY_TILE), head_dim);
        query_score_tile(nq, half, scores + j, q, s->stride, k, j, n_keys - j, head_dim);
    }
    for (int i = 0; i < nq; i++) {
        float *row = scores + i * ATTN_KEY_BLOCK;
        if (rule->cap > 0) map_with(row, n_keys, tanh_times, rule->cap);
        for (int64_t j = 0; rule->slopes && j < n_keys; j++)
            row[j] -= rule->slopes[i0 + i] * fabsf(rule->distances[i0 + i] - (float)j);
        shrink[i] = query_weights(row, n_keys, &s->max[i0 + i], &s->sum[i0 + i]);
    }
    int64_t d = 0;
    for (; d + VALUE_TILE * VL <= head_dim; d += VALUE_TILE * VL)
        query_value_tile(nq, VALUE_TILE, half, out, s->stride, shrink, scores, v, d, 0, n_keys, head_dim);
    for (; d + VL <= head_dim; d += VL)
        query_value_tile(nq, 1, half, out, s->stride, shrink, scores, v, d, 0, n_keys, head_dim);
    if (d < head_dim)
        query_value_tile(nq, 1, half, out, s->stride, shrink, scores, v, d, head_dim - d, n_keys, head_dim);
}

INLINE void query_steps(const bool half, const struct attn_queries *s, const void *k, const void *v, int64_t n_keys,
                        int64_t n_next, int64_t head_dim, const struct attn_rule *rule)
{
    int64_t i = 0;
    while (i < s->n) {
        /* four queries are two and two where three is the most */
        int64_t left = s->n - i, n = left > MAX_QUERIES ? (left == MAX_QUERIES + 1 ? 2 : MAX_QUERIES) : left;
        switch (n) {
        case 1: query_step(1, half, s, i, k, v, n_keys, n_next, head_dim, rule); break;
        case 2: query_step(2, half, s, i, k, v, n_keys, n_next, head_dim, rule); break;
        case 3: query_step(3, half, s, i, k, v, n_keys, n_next, head_dim, rule); break;
        default: query_step(MAX_QUERIES, half, s, i, k, v, n_keys, n_next, head_dim, rule); break;
        }
        i += n;
    }
}

static void attn_queries(const struct attn_queries *s, const void *k, const void *v, bool half, int64_t n_keys,
                         int64_t n_next, int64_t head_dim, const struct attn_rule *rule)
{
    if (half) query_steps(true, s, k, v, n_keys, n_next, head_dim, rule);
    else query_steps(false, s, k, v, n_keys, n_next, head_dim, rule);
}
