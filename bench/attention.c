/* bench_attention: how fast attention() is, beside what the machine can do, measured in the same run.
 * Prompt: GFLOP/s over the pairs that a causal rule lets through, 4 head_dim operations each, against the f32
 * multiply-add limit. Decode: GB/s of K and V read once, against reading an array. Median of several runs. */
#include "base/base.h"
#include "kernels/kernels.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define RUNS 9

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times)
{
    qsort(times, RUNS, sizeof(*times), by_value);
    return times[RUNS / 2];
}

/* ---- limits ------------------------------------------------------------------------------------------------------ */

static volatile float sink;

#if defined(__x86_64__)
/* 12 chains of multiply-adds fill the pipes of any of these processors. */
__attribute__((target("avx2,fma"))) static void multiply_adds_8(int64_t n)
{
    __m256 a[12], x = _mm256_set1_ps(0.999f);
    for (int i = 0; i < 12; i++) a[i] = _mm256_set1_ps((float)i);
    for (int64_t k = 0; k < n; k++)
        for (int i = 0; i < 12; i++) a[i] = _mm256_fmadd_ps(a[i], x, x);
    for (int i = 1; i < 12; i++) a[0] = _mm256_add_ps(a[0], a[i]);
    sink = _mm256_cvtss_f32(a[0]);
}

__attribute__((target("avx512f"))) static void multiply_adds_16(int64_t n)
{
    __m512 a[12], x = _mm512_set1_ps(0.999f);
    for (int i = 0; i < 12; i++) a[i] = _mm512_set1_ps((float)i);
    for (int64_t k = 0; k < n; k++)
        for (int i = 0; i < 12; i++) a[i] = _mm512_fmadd_ps(a[i], x, x);
    for (int i = 1; i < 12; i++) a[0] = _mm512_add_ps(a[0], a[i]);
    sink = _mm512_cvtss_f32(a[0]);
}

/* GFLOP/s of all threads; 0 where there is no AVX2. */
static double flop_limit(void)
{
    const int64_t n = 3000000;
    bool wide = __builtin_cpu_supports("avx512f");
    if (!__builtin_cpu_supports("avx2")) return 0;
    double times[RUNS];
    for (int r = 0; r < RUNS; r++) {
        double start = seconds();
#pragma omp parallel
        (wide ? multiply_adds_16 : multiply_adds_8)(n);
        times[r] = seconds() - start;
    }
    return (double)n * 12 * 2 * (wide ? 16 : 8) * omp_get_max_threads() / median(times) * 1e-9;
}
#else
static double flop_limit(void) { return 0; }
#endif

/* GB/s of all threads. */
static double read_limit(void)
{
    int64_t n = 32 << 20;
    uint64_t *x = malloc((size_t)n * 8), total = 0;
    if (!x) return 0;
    memset(x, 1, (size_t)n * 8);
    double times[RUNS];
    for (int r = 0; r < RUNS; r++) {
        double start = seconds();
#pragma omp parallel for reduction(+ : total)
        for (int64_t i = 0; i < n; i++) total += x[i];
        times[r] = seconds() - start;
    }
    sink = (float)total;
    free(x);
    return (double)n * 8 / median(times) * 1e-9;
}

/* ---- attention --------------------------------------------------------------------------------------------------- */

#define MAX_LAYERS 64

static void *filled(int64_t n, bool half)
{
    char *x = malloc((size_t)n * (half ? 2 : 4));
    if (!x) {
        fprintf(stderr, "bench_attention: no memory\n");
        exit(1);
    }
    for (int64_t i = 0; i < n; i++) {
        float f = (float)((uint64_t)i * 2654435761u % 2001) * 1e-3f - 1;
        if (half) ((uint16_t *)(void *)x)[i] = f32_to_f16(f);
        else ((float *)(void *)x)[i] = f;
    }
    return x;
}

/* Seconds of one call of n_rows rows at the end of n_keys keys. `layers` pairs of K and V take turns, so that decoding
 * finds its cache in memory, as the layers of a model do. */
static double time_attention(const struct attn_shape *shape, int64_t n_rows, int64_t n_keys, int layers)
{
    bool half = shape->kv_type == DT_F16;
    int64_t n_kv = shape->n_kv_heads * n_keys * shape->head_dim, n_q = n_rows * shape->n_heads * shape->head_dim;
    size_t bytes = attention_scratch_bytes(shape, omp_get_max_threads());
    float *q = filled(n_q, false), *out = filled(n_q, false);
    void *scratch = filled((int64_t)(bytes / 4 + 1), false), *k[MAX_LAYERS], *v[MAX_LAYERS];
    int64_t *positions = filled(n_rows * 2, false);
    for (int64_t i = 0; i < n_rows; i++) positions[i] = n_keys - n_rows + i;
    for (int l = 0; l < layers; l++) k[l] = filled(n_kv, half), v[l] = filled(n_kv, half);
    double times[RUNS];
    for (int r = -2; r < RUNS; r++) { /* the first two warm up */
        double start = seconds();
        for (int l = 0; l < layers; l++) {
            struct attn_span span = { .k = k[l], .v = v[l], .head_stride = n_keys * shape->head_dim,
                                      .n_keys = n_keys, .rule = SPAN_CAUSAL };
            attention(out, q, positions, n_rows, &span, 1, shape, scratch, bytes);
        }
        if (r >= 0) times[r] = (seconds() - start) / layers;
    }
    for (int l = 0; l < layers; l++) {
        free(k[l]);
        free(v[l]);
    }
    free(positions);
    free(scratch);
    free(out);
    free(q);
    return median(times);
}

static void print_case(const char *work, const struct attn_shape *s, int64_t n, double t, double rate, const char *unit,
                       double limit)
{
    printf("%-7s %lld/%lld x %-5lld %-4s %6lld %12.1f %8.1f %s %6.0f%%\n", work, (long long)s->n_heads,
           (long long)s->n_kv_heads, (long long)s->head_dim, s->kv_type == DT_F16 ? "f16" : "f32", (long long)n,
           t * 1e6, rate, unit, limit > 0 ? rate / limit * 100 : 0);
}

int main(void)
{
    static const struct attn_shape shapes[] = { { .n_heads = 9, .n_kv_heads = 3, .head_dim = 64, .scale = 0.125f },
                                                { .n_heads = 4, .n_kv_heads = 1, .head_dim = 256, .scale = 0.0625f } };
    double flops = flop_limit(), bytes = read_limit();
    printf("%s, %d threads; limits: %.0f GFLOP/s, %.1f GB/s\n\n", kernels_isa(), omp_get_max_threads(), flops, bytes);
    printf("%-7s %-11s %-4s %6s %12s %13s %7s\n", "work", "heads", "kv", "keys", "microseconds", "rate", "limit");
    for (int half = 0; half < 2; half++)
        for (size_t i = 0; i < COUNT_OF(shapes); i++) {
            struct attn_shape s = shapes[i];
            s.kv_type = half ? DT_F16 : DT_F32;
            for (int64_t n = 512; n <= 2048; n *= 4) {
                double t = time_attention(&s, n, n, 1);
                double work = 4.0 * (double)s.head_dim * (double)s.n_heads * (double)(n * (n + 1) / 2);
                print_case("prompt", &s, n, t, work / t * 1e-9, "GF/s", flops);
            }
            for (int64_t n = 2048; n <= 8192; n *= 4) {
                double size = 2.0 * (double)(n * s.n_kv_heads * s.head_dim) * (half ? 2 : 4);
                double t = time_attention(&s, 1, n, (int)MIN((double)MAX_LAYERS, 256e6 / size + 1));
                print_case("decode", &s, n, t, size / t * 1e-9, "GB/s", bytes);
            }
        }
    return 0;
}
