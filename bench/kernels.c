/* bench_kernels: how fast matrix products are, for each number format, few rows and many.
 *
 *     bench_kernels [--out N] [--in N] [--rows N,N,..] [--type NAME] [--threads N] [--seconds S] [--exact]
 *
 * Prints for each format and number of rows: the median time, weights read (GB/s) and arithmetic (GFLOP/s). The weights
 * are several copies that together exceed the caches, so that one row reads memory as a decoder does. --exact
 * measures matmul_exact(): widened weights and SGEMM for every number of rows. */
#include "kernels/kernels.h"

#include <getopt.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_BYTES ((int64_t)96 << 20) /* more than the last cache of the machines at hand */
enum { MAX_ROW_COUNTS = 32, MAX_RUNS = 1000 };

struct options {
    int64_t n_out, n_in, rows[MAX_ROW_COUNTS];
    int n_rows, threads;
    double seconds;
    bool exact;
    const char *type;
};

static int fail(const char *message)
{
    fprintf(stderr, "bench_kernels: %s\n", message);
    return 1;
}

/* A positive number up to `max`, or 0. */
static int64_t number(const char *text, char **end, int64_t max)
{
    long long v = strtoll(text, end, 10);
    return v > 0 && v <= max ? v : 0;
}

static bool parse_rows(struct options *o, const char *text)
{
    for (o->n_rows = 0; o->n_rows < MAX_ROW_COUNTS;) {
        char *end;
        if (!(o->rows[o->n_rows++] = number(text, &end, 1 << 16))) return false;
        if (!*end) return true;
        if (*end != ',') return false;
        text = end + 1;
    }
    return false;
}

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        { "out", required_argument, NULL, 'o' },     { "in", required_argument, NULL, 'i' },
        { "rows", required_argument, NULL, 'r' },    { "type", required_argument, NULL, 't' },
        { "threads", required_argument, NULL, 'T' }, { "seconds", required_argument, NULL, 's' },
        { "exact", no_argument, NULL, 'e' },         { NULL, 0, NULL, 0 },
    };
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        char *end = "";
        bool ok = true;
        switch (c) {
        case 'o': ok = (o->n_out = number(optarg, &end, 1 << 20)) > 0; break;
        case 'i': ok = (o->n_in = number(optarg, &end, 1 << 20)) > 0; break;
        case 'r': ok = parse_rows(o, optarg); break;
        case 't': o->type = optarg; break;
        case 'e': o->exact = true; break;
        case 'T': ok = (o->threads = (int)number(optarg, &end, 1024)) > 0; break;
        case 's': ok = (o->seconds = strtod(optarg, &end)) > 0; break;
        default: return false;
        }
        if (!ok || *end) return false;
    }
    return optind == argc;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Any bytes are weights of any block format; 16-bit scales get small exponents so that no value is infinite. */
static void fill(uint8_t *bytes, int64_t n)
{
    uint32_t s = 1;
    for (int64_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(s >> 24) & 0xbb;
    }
}

/* Median seconds of one product over the copies. */
static double measure(const struct options *o, struct weight w, int64_t n_rows, int64_t copies, float *y, const float *x,
                      void *scratch, size_t scratch_bytes)
{
    static double runs[MAX_RUNS];
    int n = 0;
    int64_t bytes = w.n_out * dtype_row_bytes(w.type, w.n_in);
    const char *first = w.data;
    for (double start = omp_get_wtime(); n < MAX_RUNS && (n < 3 || omp_get_wtime() - start < o->seconds); n++) {
        w.data = first + n % copies * bytes;
        double before = omp_get_wtime();
        (o->exact ? matmul_exact : matmul)(y, x, n_rows, &w, scratch, scratch_bytes);
        runs[n] = omp_get_wtime() - before;
    }
    qsort(runs, (size_t)n, sizeof(*runs), by_value);
    return runs[n / 2];
}

static int run(const struct options *o)
{
    int64_t max_rows = 1;
    for (int i = 0; i < o->n_rows; i++)
        if (o->rows[i] > max_rows) max_rows = o->rows[i];
    size_t scratch_bytes = o->exact ? matmul_exact_scratch_bytes(o->threads)
                                    : matmul_scratch_bytes(max_rows, o->n_in, o->threads);
    float *x = malloc((size_t)(max_rows * o->n_in) * sizeof(*x)), *y = malloc((size_t)(max_rows * o->n_out) * sizeof(*y));
    uint8_t *weights = malloc((size_t)(CACHE_BYTES + o->n_out * o->n_in * 4));
    void *scratch = malloc(scratch_bytes);
    int known = 0;
    if (!x || !y || !weights || !scratch) return fail("out of memory");
    fill(weights, CACHE_BYTES + o->n_out * o->n_in * 4);
    for (int64_t i = 0; i < max_rows * o->n_in; i++) x[i] = (float)(i * 7919 % 2003) / 1001.5f - 1;

    printf("%s, %d threads, %lld x %lld\n%-5s %6s %12s %8s %9s\n", kernels_isa(), o->threads, (long long)o->n_out,
           (long long)o->n_in, "type", "rows", "microseconds", "GB/s", "GFLOP/s");
    for (int type = 0; type < DT_COUNT; type++) {
        struct weight w = { .type = (enum dtype)type, .data = weights, .n_out = o->n_out, .n_in = o->n_in };
        int64_t bytes = dtype_row_bytes(w.type, o->n_in) * o->n_out;
        if (o->type && strcmp(o->type, dtype_infos[type].name)) continue;
        known++;
        if (bytes <= 0) continue; /* rows are not whole blocks */
        for (int i = 0; i < o->n_rows; i++) {
            double s = measure(o, w, o->rows[i], 1 + CACHE_BYTES / bytes, y, x, scratch, scratch_bytes);
            printf("%-5s %6lld %12.1f %8.1f %9.1f\n", dtype_infos[type].name, (long long)o->rows[i], s * 1e6,
                   (double)bytes / s * 1e-9, 2e-9 * (double)(o->n_out * o->n_in * o->rows[i]) / s);
        }
    }
    free(x), free(y), free(weights), free(scratch);
    return known ? 0 : fail("no such type");
}

int main(int argc, char **argv)
{
    struct options o = {
        .n_out = 1536, .n_in = 768, .rows = { 1, 4, 16, 64, 512 }, .n_rows = 5,
        .threads = omp_get_max_threads(), .seconds = 0.3,
    };
    if (!parse(&o, argc, argv)) {
        fail("usage: bench_kernels [--out N] [--in N] [--rows N,N,..] [--type NAME] [--threads N] [--seconds S] "
             "[--exact]");
        return 2;
    }
    omp_set_num_threads(o.threads);
    return run(&o);
}
