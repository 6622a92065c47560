/* attention() against a plain sum in double: random lists of spans, every instruction set that is there, every thread
 * count, rows alone and in chunks. Arrays are odd, unaligned and end where their data ends, so that the sanitizers see
 * every step too far; sentinels stand around the output. */
#include "base/base.h"
#include "kernels/kernels.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

static const char *const isas[] = { "scalar", "avx2", "avx512" };

#define SENTINEL 12345.5f
#define GUARD 24
#define MAX_SPANS 300

/* One call with everything it points to. */
struct scene {
    struct attn_shape shape;
    int64_t n_rows;
    size_t n_spans;
    struct attn_span spans[MAX_SPANS];
    float *q;
    int64_t *positions;
    void *owned[4 * MAX_SPANS + 8];
    size_t n_owned;
};

/* ---- random scenes ----------------------------------------------------------------------------------------------- */

static void *own(struct scene *s, size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    s->owned[s->n_owned++] = p;
    return p;
}

/* n random numbers of a type, one element off alignment, with nothing after the last. */
static void *random_values(struct scene *s, struct rng *r, int64_t n, enum dtype type, float size)
{
    if (type == DT_F16) {
        uint16_t *x = (uint16_t *)own(s, ((size_t)n + 1) * 2) + 1;
        for (int64_t i = 0; i < n; i++) x[i] = f32_to_f16((float)rng_normal(r) * size);
        return x;
    }
    if (type == DT_Q8_0) {
        char *x = (char *)own(s, (size_t)(n / 32 * 34) + 2) + 2;
        for (int64_t i = 0; i < n; i += 32) {
            float block[32];
            for (int k = 0; k < 32; k++) block[k] = (float)rng_normal(r) * size;
            assert_true(quantise_row(type, x + i / 32 * 34, block, 32));
        }
        return x;
    }
    float *x = (float *)own(s, ((size_t)n + 1) * 4) + 1;
    for (int64_t i = 0; i < n; i++) x[i] = (float)rng_normal(r) * size;
    return x;
}

static int64_t pick(struct rng *r, const int64_t *from, size_t n) { return from[rng_below(r, n)]; }

static void scene_span(struct scene *s, struct rng *r, int64_t max_keys, int64_t rows)
{
    const struct attn_shape *shape = &s->shape;
    struct attn_span *span = &s->spans[s->n_spans++];
    *span = (struct attn_span){ 0 };
    span->n_keys = rng_below(r, 6) == 0 ? 0 : (int64_t)rng_below(r, (uint64_t)max_keys) + 1;
    span->head_stride = span->n_keys * shape->head_dim + (int64_t)rng_below(r, 3) * (shape->kv_type == DT_Q8_0 ? 32 : 7);
    int64_t n = (shape->n_kv_heads - 1) * span->head_stride + span->n_keys * shape->head_dim;
    span->k = random_values(s, r, n, shape->kv_type, 1);
    span->v = random_values(s, r, n, shape->kv_type, 1);
    span->rule = (enum span_rule)rng_below(r, 3);
    span->first_position = (int64_t)rng_below(r, 2 * (uint64_t)max_keys) - max_keys / 2;
    span->band = (int64_t)rng_below(r, (uint64_t)max_keys);
    if (rng_below(r, 4) == 0) span->q = random_values(s, r, s->n_rows * shape->n_heads * shape->head_dim, DT_F32, 1);
    if (rng_below(r, 4) == 0) {
        int64_t *p = own(s, (size_t)s->n_rows * sizeof(*p));
        for (int64_t i = 0; i < s->n_rows; i++) p[i] = (int64_t)rng_below(r, 1000);
        span->q_positions = p;
    }
    if (rows || rng_below(r, 3) == 0) {
        span->row0 = (int64_t)rng_below(r, (uint64_t)s->n_rows);
        span->rows = rows ? rows : (int64_t)rng_below(r, (uint64_t)(s->n_rows - span->row0)) + 1;
        span->rows = MIN(span->rows, s->n_rows - span->row0);
    }
}

static struct scene *scene_new(struct rng *r, int64_t n_rows, int64_t n_kv, int64_t group, int64_t dim)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->n_rows = n_rows;
    s->shape = (struct attn_shape){ .n_heads = n_kv * group, .n_kv_heads = n_kv, .head_dim = dim,
                                    .scale = 1 / sqrtf((float)dim), .kv_type = rng_below(r, 2) ? DT_F16 : DT_F32 };
    if (dim % 32 == 0 && rng_below(r, 3) == 0) s->shape.kv_type = DT_Q8_0;
    if (rng_below(r, 4) == 0) s->shape.soft_cap = 2.5f;
    if (rng_below(r, 3) == 0) {
        float *slopes = own(s, (size_t)s->shape.n_heads * sizeof(float));
        for (int64_t h = 0; h < s->shape.n_heads; h++) slopes[h] = exp2f(-8 * (float)(h + 1) / (float)s->shape.n_heads);
        s->shape.alibi = slopes;
        float *factors = own(s, (size_t)n_rows * sizeof(float));
        for (int64_t i = 0; i < n_rows; i++) factors[i] = (float)(0.5 + rng_uniform(r));
        if (rng_below(r, 2)) s->shape.slope_factors = factors;
    }
    s->q = random_values(s, r, n_rows * s->shape.n_heads * dim, DT_F32, 1);
    s->positions = own(s, (size_t)n_rows * sizeof(int64_t));
    int64_t p = (int64_t)rng_below(r, 300);
    for (int64_t i = 0; i < n_rows; i++) s->positions[i] = p += (int64_t)rng_below(r, 3);
    return s;
}

static void scene_free(struct scene *s)
{
    for (size_t i = 0; i < s->n_owned; i++) free(s->owned[i]);
    free(s);
}

/* ---- the reference ----------------------------------------------------------------------------------------------- */

static double value(const void *x, enum dtype type, int64_t i)
{
    if (type == DT_F32) return (double)((const float *)x)[i];
    if (type == DT_F16) return (double)f16_to_f32(((const uint16_t *)x)[i]);
    const char *block = (const char *)x + i / 32 * 34;
    uint16_t scale;
    memcpy(&scale, block, 2);
    return (double)f16_to_f32(scale) * (int8_t)block[2 + i % 32];
}

static bool sees(const struct attn_span *s, int64_t row, int64_t p, int64_t j)
{
    int64_t q = s->first_position + j;
    if (s->rows > 0 && (row < s->row0 || row >= s->row0 + s->rows)) return false;
    if (s->rule == SPAN_CAUSAL) return q <= p;
    if (s->rule == SPAN_BAND) return p - s->band < q && q <= p;
    return true;
}

static double score(const struct scene *s, const struct attn_span *span, int64_t row, int64_t head, int64_t j)
{
    const struct attn_shape *a = &s->shape;
    int64_t at = head / (a->n_heads / a->n_kv_heads) * span->head_stride + j * a->head_dim;
    const float *q = (span->q ? span->q : s->q) + (row * a->n_heads + head) * a->head_dim;
    double dot = 0;
    for (int64_t d = 0; d < a->head_dim; d++) dot += (double)q[d] * value(span->k, a->kv_type, at + d);
    dot *= (double)a->scale;
    if (a->soft_cap > 0) dot = (double)a->soft_cap * tanh(dot / (double)a->soft_cap);
    const int64_t *positions = span->q_positions ? span->q_positions : s->positions;
    double factor = a->slope_factors ? (double)a->slope_factors[row] : 1;
    if (a->alibi) dot -= (double)a->alibi[head] * factor * fabs((double)(positions[row] - span->first_position - j));
    return dot;
}

/* One row of one head, two passes. Returns the largest |score|: in f32 a score is known to 6e-8 of that. */
static double reference(const struct scene *s, double *out, int64_t row, int64_t head)
{
    const struct attn_shape *a = &s->shape;
    double max = -HUGE_VAL, sum = 0, largest = 0;
    for (int64_t d = 0; d < a->head_dim; d++) out[d] = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < s->n_spans; i++) {
            const struct attn_span *span = &s->spans[i];
            for (int64_t j = 0; j < span->n_keys; j++) {
                if (!sees(span, row, s->positions[row], j)) continue;
                double x = score(s, span, row, head, j);
                if (!pass) {
                    max = x > max ? x : max;
                    largest = MAX(largest, fabs(x));
                    continue;
                }
                double e = exp(x - max);
                int64_t at = head / (a->n_heads / a->n_kv_heads) * span->head_stride + j * a->head_dim;
                sum += e;
                for (int64_t d = 0; d < a->head_dim; d++) out[d] += e * value(span->v, a->kv_type, at + d);
            }
        }
    for (int64_t d = 0; sum > 0 && d < a->head_dim; d++) out[d] /= sum;
    return largest;
}

static double *reference_all(const struct scene *s, double *largest)
{
    int64_t heads = s->shape.n_heads, dim = s->shape.head_dim;
    double *out = malloc((size_t)(s->n_rows * heads * dim) * sizeof(*out));
    assert_non_null(out);
    *largest = 0;
    for (int64_t i = 0; i < s->n_rows * heads; i++)
        *largest = MAX(*largest, reference(s, out + i * dim, i / heads, i % heads));
    return out;
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static int64_t out_size(const struct scene *s) { return s->n_rows * s->shape.n_heads * s->shape.head_dim; }

/* Rows [row0, row0 + n_rows) of the scene as a call of their own into out. Scratch is filled with NaN before. */
static void run(const struct scene *s, int64_t row0, int64_t n_rows, float *out, int n_threads)
{
    int64_t width = s->shape.n_heads * s->shape.head_dim, n = n_rows * width;
    size_t bytes = attention_scratch_bytes(&s->shape, n_threads);
    char *scratch = malloc(bytes + 4);
    float *guarded = malloc((size_t)(n + 2 * GUARD) * sizeof(float));
    struct attn_span *spans = malloc((s->n_spans + 1) * sizeof(*spans));
    assert_true(scratch && guarded && spans);
    memset(scratch, 0xff, bytes + 4);
    for (int64_t i = 0; i < n + 2 * GUARD; i++) guarded[i] = SENTINEL;
    size_t n_spans = 0;
    for (size_t i = 0; i < s->n_spans; i++) {
        struct attn_span span = s->spans[i];
        if (span.q) span.q += row0 * width;
        if (span.q_positions) span.q_positions += row0;
        if (span.rows > 0) {
            int64_t from = MAX(span.row0, row0), to = MIN(span.row0 + span.rows, row0 + n_rows);
            if (from >= to) continue;
            span.row0 = from - row0;
            span.rows = to - from;
        }
        spans[n_spans++] = span;
    }
    omp_set_num_threads(n_threads);
    struct attn_shape shape = s->shape;
    if (shape.slope_factors) shape.slope_factors += row0;
    attention(guarded + GUARD - 1, s->q + row0 * width, s->positions + row0, n_rows, spans, n_spans, &shape,
              scratch + 4, bytes);
    for (int i = 0; i < GUARD - 1; i++) assert_true(guarded[i] == SENTINEL);
    for (int i = 0; i <= GUARD; i++) assert_true(guarded[GUARD - 1 + n + i] == SENTINEL);
    memcpy(out, guarded + GUARD - 1, (size_t)n * sizeof(float));
    free(spans);
    free(guarded);
    free(scratch);
}

static void check_close(const float *got, const double *want, int64_t n, double limit, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - want[i]) <= limit))
            fail_msg("%s: element %lld is %.9g, not %.9g", what, (long long)i, (double)got[i], want[i]);
}

static void check_near(const float *got, const float *want, int64_t n, double limit, const char *what)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= limit))
            fail_msg("%s: element %lld is %.9g, not %.9g", what, (long long)i, (double)got[i], (double)want[i]);
}

/* The whole matter for one scene. V is standard normal: limits are absolute. */
static void check_scene(const struct scene *s, struct rng *r)
{
    int64_t n = out_size(s), width = n / s->n_rows;
    double largest, *want = reference_all(s, &largest), limit = 2e-6 + 2e-7 * largest;
    float *got = malloc((size_t)n * sizeof(float)), *other = malloc((size_t)n * sizeof(float));
    assert_true(got && other);
    for (size_t k = 0; k < COUNT_OF(isas); k++) {
        if (!kernels_choose(isas[k])) continue;
        run(s, 0, s->n_rows, got, 1);
        check_close(got, want, n, limit, isas[k]);
        for (int threads = 2; threads <= 3; threads++) {
            run(s, 0, s->n_rows, other, threads);
            assert_memory_equal(got, other, (size_t)n * sizeof(float));
        }
        for (int64_t row = 0, rows; row < s->n_rows; row += rows) {
            rows = rng_below(r, 2) ? 1 : (int64_t)rng_below(r, (uint64_t)(s->n_rows - row)) + 1;
            run(s, row, rows, other, 2);
            check_near(other, got + row * width, rows * width, limit, "chunk of rows");
        }
    }
    free(other);
    free(got);
    free(want);
}

static void random_spans(void **state)
{
    (void)state;
    static const int64_t dims[] = { 8, 16, 64, 80, 128, 256, 1, 3, 7, 20, 33, 64 }, groups[] = { 1, 2, 3, 4, 5, 9 };
    static const int64_t rows[] = { 1, 1, 2, 3, 5, 8, 17, 33, 70, 130 };
    struct rng r;
    for (uint64_t seed = 0; seed < 90; seed++) {
        rng_seed(&r, seed, 1);
        struct scene *s = scene_new(&r, pick(&r, rows, COUNT_OF(rows)), 1 + (int64_t)rng_below(&r, 3),
                                    pick(&r, groups, COUNT_OF(groups)), pick(&r, dims, COUNT_OF(dims)));
        int64_t n_spans = (int64_t)rng_below(&r, 6), max_keys = s->n_rows > 30 ? 150 : 400;
        for (int64_t i = 0; i < n_spans; i++) scene_span(s, &r, max_keys, 0);
        check_scene(s, &r);
        scene_free(s);
    }
}

/* Many branches of one prompt: each row has a span of its own, all share the first. */
static void branches(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 1, 2);
    struct scene *s = scene_new(&r, 64, 2, 3, 64);
    scene_span(s, &r, 300, 64);
    for (int i = 0; i < 250; i++) scene_span(s, &r, 20, 1 + (int64_t)rng_below(&r, 3));
    check_scene(s, &r);
    scene_free(s);
}

/* More query heads on one kv head than an item holds. */
static void wide_groups(void **state)
{
    (void)state;
    static const int64_t groups[] = { 71, 96, 97, 200 };
    struct rng r;
    for (size_t i = 0; i < COUNT_OF(groups); i++) {
        rng_seed(&r, i, 3);
        struct scene *s = scene_new(&r, 3, 1, groups[i], 16);
        for (int k = 0; k < 3; k++) scene_span(s, &r, 200, 0);
        check_scene(s, &r);
        scene_free(s);
    }
}

/* Decoding far into a context: the keys are cut into parts. */
static void deep_decode(void **state)
{
    (void)state;
    struct rng r;
    for (int64_t rows = 1; rows <= 4; rows += 3)
        for (uint64_t seed = 0; seed < 3; seed++) {
            rng_seed(&r, seed, 4);
            struct scene *s = scene_new(&r, rows, 1 + (int64_t)seed, 3, 64);
            for (int i = 0; i < 3; i++) scene_span(s, &r, 4000, 0);
            check_scene(s, &r);
            scene_free(s);
        }
}

/* Scores of +-500: the running maximum must carry them. */
static void steep_scores(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 9, 5);
    for (int64_t rows = 1; rows <= 40; rows += 39) {
        struct scene *s = scene_new(&r, rows, 1, 2, 64);
        s->shape.soft_cap = 0;
        s->shape.alibi = NULL;
        s->shape.scale = 16;
        while (!s->n_spans || s->spans[s->n_spans - 1].n_keys < 100) scene_span(s, &r, 300, 0);
        s->spans[s->n_spans - 1].rule = SPAN_ALL;
        double largest, *want = reference_all(s, &largest);
        assert_true(largest > 200);
        float *got = malloc((size_t)out_size(s) * sizeof(float));
        for (size_t k = 0; k < COUNT_OF(isas); k++) {
            if (!kernels_choose(isas[k])) continue;
            run(s, 0, rows, got, 2);
            check_close(got, want, out_size(s), 2e-7 * largest, isas[k]);
        }
        free(got);
        free(want);
        scene_free(s);
    }
}

/* Rows that see no key give zeros: keys in the future, a band of none, no spans at all. */
static void sees_nothing(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 3, 6);
    for (int64_t rows = 1; rows <= 61; rows += 30) {
        struct scene *s = scene_new(&r, rows, 1, 3, 24);
        while (s->n_spans < 2) scene_span(s, &r, 100, 0);
        s->spans[0].rule = SPAN_CAUSAL, s->spans[0].first_position = INT64_MAX - 1000;
        s->spans[1].rule = SPAN_BAND, s->spans[1].band = 0;
        float *got = malloc((size_t)out_size(s) * sizeof(float));
        for (s->n_spans = 0; s->n_spans <= 2; s->n_spans++)
            for (size_t k = 0; k < COUNT_OF(isas); k++) {
                if (!kernels_choose(isas[k])) continue;
                run(s, 0, rows, got, 2);
                for (int64_t i = 0; i < out_size(s); i++) assert_true(got[i] == 0);
            }
        free(got);
        scene_free(s);
    }
}

/* Positions whose differences do not fit 64 bits. */
static void extreme_positions(void **state)
{
    (void)state;
    static const int64_t extremes[] = { INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT64_MAX - 200, INT64_MAX };
    struct rng r;
    rng_seed(&r, 4, 6);
    struct scene *s = scene_new(&r, 40, 1, 3, 24);
    scene_span(s, &r, 100, 0);
    struct attn_span *span = &s->spans[0];
    assert_true(span->n_keys > 0 && span->n_keys < 200);
    span->rows = 0;
    float *got = malloc((size_t)out_size(s) * sizeof(float));
    for (size_t first = 0; first + 1 < COUNT_OF(extremes); first++)
        for (int rule = SPAN_CAUSAL; rule <= SPAN_BAND; rule++)
            for (int wide = 0; wide < 2; wide++)
                for (size_t k = 0; k < COUNT_OF(isas); k++) {
                    if (!kernels_choose(isas[k])) continue;
                    span->rule = (enum span_rule)rule;
                    span->first_position = extremes[first];
                    span->band = wide ? INT64_MAX : 5;
                    for (int64_t i = 0; i < s->n_rows; i++) s->positions[i] = extremes[(size_t)i % COUNT_OF(extremes)];
                    run(s, 0, s->n_rows, got, 2);
                    int64_t width = out_size(s) / s->n_rows;
                    for (int64_t i = 0; i < out_size(s); i++) {
                        /* positions below the first see nothing, the first sees one key, all are finite */
                        int64_t p = s->positions[i / width];
                        assert_true(p < extremes[first] ? got[i] == 0 : isfinite(got[i]));
                        assert_true(p != extremes[first] || got[i] != 0);
                    }
                }
    free(got);
    scene_free(s);
}

/* NaN and infinities in q, k or v: it ends, writes all of the output and nothing else. */
static void not_numbers(void **state)
{
    (void)state;
    static const float bad[] = { NAN, INFINITY, -INFINITY, 3e38f };
    struct rng r;
    for (size_t b = 0; b < COUNT_OF(bad); b++)
        for (int where = 0; where < 3; where++)
            for (int64_t rows = 1; rows <= 33; rows += 16) {
                rng_seed(&r, b, 7);
                struct scene *s = scene_new(&r, rows, 1, 2, 32);
                s->shape.kv_type = DT_F32;
                scene_span(s, &r, 130, 0);
                scene_span(s, &r, 130, 0);
                float *in[] = { s->q, (float *)own(s, (size_t)(s->spans[1].n_keys + 1) * 32 * 4),
                                (float *)own(s, (size_t)(s->spans[1].n_keys + 1) * 32 * 4) };
                memcpy(in[1], s->spans[1].k, (size_t)s->spans[1].n_keys * 32 * 4);
                memcpy(in[2], s->spans[1].v, (size_t)s->spans[1].n_keys * 32 * 4);
                s->spans[1].k = in[1], s->spans[1].v = in[2];
                for (int64_t i = 0; i < (where ? s->spans[1].n_keys : rows * 2) * 32; i += 37) in[where][i] = bad[b];
                float *got = malloc((size_t)out_size(s) * sizeof(float));
                for (size_t k = 0; k < COUNT_OF(isas); k++)
                    if (kernels_choose(isas[k])) run(s, 0, rows, got, 2);
                free(got);
                scene_free(s);
            }
}

/* Keys that the rule hides are not read: they lie on pages that cannot be. So the cost of a band is its width. */
static void hidden_keys_are_not_touched(void **state)
{
    (void)state;
    enum { DIM = 64, BAND = 256 };
    int64_t n_keys = 1 << 18, per_page = 4096 / (DIM * 4), last = n_keys / 2;
    size_t bytes = (size_t)n_keys * DIM * 4;
    for (int64_t rows = 1; rows <= 50; rows += 49) {
        float *kv = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_true(kv != MAP_FAILED);
        /* the block of keys that the band begins in may be read from its start */
        int64_t from = (last - rows + 1 - BAND) / 64 * 64 / per_page * per_page;
        int64_t to = (last / per_page + 1) * per_page;
        assert_int_equal(mprotect(kv + from * DIM, (size_t)(to - from) * DIM * 4, PROT_READ | PROT_WRITE), 0);
        for (int64_t i = from * DIM; i < to * DIM; i++) kv[i] = (float)(i % 7) - 3;
        float q[50 * DIM], out[50 * DIM];
        int64_t positions[50];
        for (int64_t i = 0; i < rows * DIM; i++) q[i] = (float)(i % 5) - 2;
        for (int64_t i = 0; i < rows; i++) positions[i] = last - rows + 1 + i;
        struct attn_shape shape = { .n_heads = 1, .n_kv_heads = 1, .head_dim = DIM, .scale = 0.1f };
        struct attn_span span = { .k = kv, .v = kv, .n_keys = n_keys, .rule = SPAN_BAND, .band = BAND };
        size_t n = attention_scratch_bytes(&shape, 2);
        void *scratch = malloc(n);
        for (size_t k = 0; k < COUNT_OF(isas); k++) {
            if (!kernels_choose(isas[k])) continue;
            omp_set_num_threads(2);
            attention(out, q, positions, rows, &span, 1, &shape, scratch, n);
            for (int64_t i = 0; i < rows * DIM; i++) assert_true(fabsf(out[i]) <= 3);
        }
        free(scratch);
        munmap(kv, bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_spans), cmocka_unit_test(branches),     cmocka_unit_test(wide_groups),
        cmocka_unit_test(deep_decode),  cmocka_unit_test(steep_scores), cmocka_unit_test(sees_nothing),
        cmocka_unit_test(extreme_positions), cmocka_unit_test(not_numbers),
        cmocka_unit_test(hidden_keys_are_not_touched),
    };
    return cmocka_run_group_tests_name("kernels/attention", tests, NULL, NULL);
}
