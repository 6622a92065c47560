/* Number formats and matrix products: golden values of the formats, every instruction set against scalar, products
 * against sums in double, and the promises of kernels.h: equal bytes for any number of threads, nothing written beyond
 * the output, any alignment of weights, no harm from NaN and infinity. */
#include "kernels/table.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define SENTINEL 12345.678f

static const char *golden_path;
static const char *const isas[] = { "scalar", "avx2", "avx512" };

/* ---- data ------------------------------------------------------------------------------------------------------------ */

static uint64_t random_state = 88172645463325252ull;

static uint32_t random_bits(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

/* Uniform in [-1, 1). */
static float random_float(void) { return (float)(random_bits() >> 8) * 0x1p-23f - 1; }

/* Offsets of the f16 fields of a block; -1 = none. */
static const int half_fields[DT_COUNT][2] = {
    [DT_Q4_0] = { 0, -1 }, [DT_Q4_1] = { 0, 2 }, [DT_Q5_0] = { 0, -1 }, [DT_Q5_1] = { 0, 2 }, [DT_Q8_0] = { 0, -1 },
    [DT_Q2_K] = { 80, 82 }, [DT_Q3_K] = { 108, -1 }, [DT_Q4_K] = { 0, 2 }, [DT_Q5_K] = { 0, 2 }, [DT_Q6_K] = { 208, -1 },
};

static void random_row(enum dtype type, uint8_t *row, int64_t n)
{
    int64_t size = dtype_infos[type].block_bytes;
    for (int64_t b = 0; b < n / dtype_infos[type].block; b++, row += size) {
        float f = random_float();
        uint16_t h = type == DT_F16 ? f32_to_f16(f) : f32_to_bf16(f);
        if (type == DT_F32) memcpy(row, &f, 4);
        else if (size == 2) memcpy(row, &h, 2);
        else {
            for (int64_t i = 0; i < size; i++) row[i] = (uint8_t)random_bits();
            for (int i = 0; i < 2 && half_fields[type][i] >= 0; i++) {
                h = f32_to_f16(random_float() * 0.05f);
                memcpy(row + half_fields[type][i], &h, 2);
            }
        }
    }
}

/* A random matrix whose data begin `skip` bytes past an aligned address; free w->data - skip. */
static struct weight random_weight(enum dtype type, int64_t n_out, int64_t n_in, size_t skip)
{
    int64_t row_bytes = dtype_row_bytes(type, n_in);
    uint8_t *data = malloc((size_t)(n_out * row_bytes) + skip);
    assert_non_null(data);
    for (int64_t j = 0; j < n_out; j++) random_row(type, data + skip + j * row_bytes, n_in);
    return (struct weight){ .type = type, .data = data + skip, .n_out = n_out, .n_in = n_in };
}

static void weight_free(const struct weight *w, size_t skip)
{
    char *data;
    memcpy(&data, &w->data, sizeof(data)); /* drops the const of data that random_weight() took */
    free(data - skip);
}

/* n floats: blocks of 32 of very different size. */
static float *random_x(int64_t n)
{
    float *x = malloc((size_t)n * sizeof(*x));
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = random_float() * ldexpf(1, (int)(i / 32 * 7 % 11) - 5);
    return x;
}

/* n floats with a sentinel before and after; free with fenced_free(), which looks at both. */
static float *fenced_new(int64_t n)
{
    float *y = malloc((size_t)(n + 2) * sizeof(*y));
    assert_non_null(y);
    for (int64_t i = 0; i < n + 2; i++) y[i] = SENTINEL;
    return y + 1;
}

static void fenced_free(float *y, int64_t n)
{
    assert_true(y[-1] == SENTINEL && y[n] == SENTINEL);
    free(y - 1);
}

/* Calls `test` under each instruction set of this machine; every other test begins and ends with the best one. */
static void with_each_isa(void (*test)(void))
{
    const char *best = kernels_isa();
    for (int i = 0; i < COUNT_OF(isas); i++) {
        if (!kernels_choose(isas[i])) continue;
        assert_string_equal(kernels_isa(), isas[i]);
        test();
    }
    assert_true(kernels_choose(best));
}

/* ---- formats --------------------------------------------------------------------------------------------------------- */

static void row_bytes_are_checked(void **state)
{
    (void)state;
    assert_int_equal(dtype_row_bytes(DT_F32, 3), 12);
    assert_int_equal(dtype_row_bytes(DT_Q4_1, 576), 360);
    assert_int_equal(dtype_row_bytes(DT_Q6_K, 512), 420);
    assert_int_equal(dtype_row_bytes(DT_Q6_K, 0), 0);
    assert_int_equal(dtype_row_bytes(DT_Q4_1, 33), -1);
    assert_int_equal(dtype_row_bytes(DT_Q2_K, 128), -1);
    assert_int_equal(dtype_row_bytes(DT_F16, -2), -1);
    assert_int_equal(dtype_row_bytes(DT_F32, INT64_MAX), -1);
    for (int t = 0; t < DT_COUNT; t++) assert_true(dtype_infos[t].name && dtype_infos[t].block_bytes > 0);
}

static bool same_or_nan(float a, float b) { return a == b || (isnan(a) && isnan(b)); }

static void check_golden(void)
{
    FILE *f = fopen(golden_path, "rb");
    assert_non_null(f);
    int formats = 0;
    struct { char name[8]; uint32_t n, bytes; } head;
    while (fread(&head, sizeof(head), 1, f) == 1) {
        int type = 0;
        while (type < DT_COUNT && strncmp(dtype_infos[type].name, head.name, 8)) type++;
        assert_true(type < DT_COUNT);
        assert_int_equal(dtype_row_bytes((enum dtype)type, head.n), head.bytes);
        uint8_t *row = malloc(head.bytes);
        float *want = malloc(head.n * sizeof(*want)), *got = fenced_new(head.n);
        assert_true(row && want && fread(row, head.bytes, 1, f) == 1 && fread(want, head.n * sizeof(*want), 1, f) == 1);
        struct weight w = { .type = (enum dtype)type, .data = row, .n_out = 1, .n_in = head.n };
        weight_row(got, &w, 0);
        for (uint32_t i = 0; i < head.n; i++)
            if (got[i] != want[i])
                fail_msg("%s %s element %u: %.9g, not %.9g", kernels_isa(), head.name, i, (double)got[i], (double)want[i]);
        fenced_free(got, head.n), free(row), free(want);
        formats++;
    }
    fclose(f);
    assert_int_equal(formats, DT_COUNT - DT_Q4_0);
}

static void formats_match_golden_values(void **state)
{
    (void)state;
    with_each_isa(check_golden);
}

/* The value of an f16 by its definition. */
static double f16_value(uint16_t h)
{
    int exponent = (h >> 10) & 31, fraction = h & 1023;
    double v = exponent == 0    ? ldexp(fraction, -24)
               : exponent == 31 ? (fraction ? (double)NAN : (double)INFINITY)
                                : ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -v : v;
}

static void half_floats_are_exact(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double want = f16_value((uint16_t)h);
        float got = f16_to_f32((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(got) && isnan(f16_to_f32(f32_to_f16(got))));
        } else {
            assert_true((double)got == want && !signbit(got) == !(h & 0x8000));
            assert_int_equal(f32_to_f16(got), h);
        }
        uint32_t bits = h << 16;
        float b = bf16_to_f32((uint16_t)h);
        assert_memory_equal(&b, &bits, 4);
        if (isnan(b)) assert_true(isnan(bf16_to_f32(f32_to_bf16(b))));
        else assert_int_equal(f32_to_bf16(b), h);
    }
    uint32_t low_nan_bits = 0x7f800001; /* a NaN whose upper half alone would be an infinity */
    float low_nan;
    memcpy(&low_nan, &low_nan_bits, 4);
    assert_true(isnan(bf16_to_f32(f32_to_bf16(low_nan))) && isnan(f16_to_f32(f32_to_f16(low_nan))));
}

/* Between each pair of neighbours: the middle goes to the even one, the floats beside it to the nearer one. */
static void check_ties(uint16_t (*narrow)(float), float (*wide)(uint16_t), uint32_t infinity)
{
    for (uint32_t h = 0; h < infinity; h++) {
        double upper = h + 1 < infinity ? (double)wide((uint16_t)(h + 1)) : /* where the next power of two would be */
                                          (double)wide((uint16_t)h) * 2 - (double)wide((uint16_t)(h - 1));
        float middle = (float)(((double)wide((uint16_t)h) + upper) / 2);
        uint32_t even = h & 1 ? h + 1 : h;
        for (int sign = 0; sign < 2; sign++) {
            float s = sign ? -1 : 1;
            uint32_t top = sign ? 0x8000 : 0;
            assert_int_equal(narrow(s * middle), even | top);
            assert_int_equal(narrow(s * nextafterf(middle, 0)), h | top);
            assert_int_equal(narrow(s * nextafterf(middle, INFINITY)), (h + 1) | top);
        }
    }
}

static void half_floats_round_to_even(void **state)
{
    (void)state;
    check_ties(f32_to_f16, f16_to_f32, 0x7c00);
    check_ties(f32_to_bf16, bf16_to_f32, 0x7f80);
    assert_int_equal(f32_to_f16(1e30f), 0x7c00);
    assert_int_equal(f32_to_f16(-INFINITY), 0xfc00);
    assert_int_equal(f32_to_f16(1e-30f), 0);
    assert_int_equal(f32_to_f16(-1e-30f), 0x8000);
}

static void check_half_rows(void)
{
    enum { N = 65536 + 5 };
    static uint16_t halves[N], back[N + 1];
    static float wide[N + 1], odd[N];
    for (int i = 0; i < N; i++) {
        uint32_t bits = random_bits();
        halves[i] = (uint16_t)i;
        memcpy(&odd[i], &bits, 4);
    }
    for (int n = N - 9; n <= N; n++) {
        wide[n] = SENTINEL, back[n] = 4711;
        f16_to_f32_row(wide, halves, n);
        assert_true(wide[n] == SENTINEL);
        for (int i = 0; i < n; i++) assert_true(same_or_nan(wide[i], f16_to_f32((uint16_t)i)));
        f32_to_f16_row(back, odd, n);
        assert_int_equal(back[n], 4711);
        for (int i = 0; i < n; i++) assert_int_equal(back[i], f32_to_f16(odd[i]));
    }
}

static void half_rows_match_single_values(void **state)
{
    (void)state;
    with_each_isa(check_half_rows);
}

/* ---- products -------------------------------------------------------------------------------------------------------- */

/* Product of row i of x and row j of w in double, and how far a result may be from it: `share` of the largest entry of
 * each block of 32 for every weight, and some f32 roundings. */
static double exact_product(const float *x, const float *w_row, int64_t n, double share, double *bound)
{
    double sum = 0;
    *bound = 1e-30;
    for (int64_t b = 0; b < n; b += 32) {
        double largest = 0, weights = 0;
        for (int64_t k = b; k < n && k < b + 32; k++) {
            double product = (double)x[k] * (double)w_row[k];
            sum += product;
            largest = fmax(largest, fabs((double)x[k]));
            weights += fabs((double)w_row[k]);
            *bound += fabs(product) * 2e-6;
        }
        /* formats with an offset may add numbers of 128 steps that cancel: their f32 rounding counts with the step */
        *bound += largest * weights * share;
    }
    return sum;
}

typedef void product_fn(float *y, const float *x, int64_t n_rows, const struct weight *w, void *scratch, size_t bytes);

/* y = x W^T of `product` against sums in double. */
static void check_product_of(product_fn *product, double share, enum dtype type, int64_t n_rows, int64_t n_out, int64_t n_in,
                             size_t skip)
{
    struct weight w = random_weight(type, n_out, n_in, skip);
    float *x = random_x(n_rows * n_in), *y = fenced_new(n_rows * n_out), *w_row = fenced_new(n_in);
    size_t scratch_bytes = product == matmul_exact ? matmul_exact_scratch_bytes(omp_get_max_threads())
                                                   : matmul_scratch_bytes(n_rows, n_in, omp_get_max_threads());
    char *scratch = malloc(scratch_bytes + 1);
    assert_non_null(scratch);
    scratch[scratch_bytes] = 77;
    product(y, x, n_rows, &w, scratch, scratch_bytes);
    assert_int_equal(scratch[scratch_bytes], 77);
    for (int64_t j = 0; j < n_out; j++) {
        weight_row(w_row, &w, j);
        for (int64_t i = 0; i < n_rows; i++) {
            double bound, want = exact_product(x + i * n_in, w_row, n_in, share, &bound);
            if (!(fabs((double)y[i * n_out + j] - want) <= bound))
                fail_msg("%s %s rows %lld out %lld in %lld: y[%lld, %lld] = %.9g, not %.9g +- %.2g", kernels_isa(),
                         dtype_infos[type].name, (long long)n_rows, (long long)n_out, (long long)n_in, (long long)i,
                         (long long)j, (double)y[i * n_out + j], want, bound);
        }
    }
    fenced_free(y, n_rows * n_out), fenced_free(w_row, n_in), free(x), free(scratch);
    weight_free(&w, skip);
}

/* The weights rounded on the way: the same bytes as of a matrix that holds them so. */
static void check_rounded(enum dtype type, enum rounding to, int64_t n_rows, int64_t n_out, int64_t n_in)
{
    struct weight w = random_weight(type, n_out, n_in, 0);
    float *x = random_x(n_rows * n_in), *y = fenced_new(n_rows * n_out), *want = fenced_new(n_rows * n_out);
    float *row = fenced_new(n_in);
    uint16_t *halves = malloc((size_t)(n_out * n_in) * sizeof *halves);
    size_t scratch_bytes = matmul_exact_scratch_bytes(omp_get_max_threads());
    void *scratch = malloc(scratch_bytes);
    assert_non_null(halves);
    for (int64_t j = 0; j < n_out; j++) {
        weight_row(row, &w, j);
        for (int64_t i = 0; i < n_in; i++)
            halves[j * n_in + i] = to == ROUND_BF16 ? f32_to_bf16(row[i]) : f32_to_f16(row[i]);
    }
    const struct weight held = {to == ROUND_BF16 ? DT_BF16 : DT_F16, halves, n_out, n_in};
    matmul_rounded(y, x, n_rows, &w, to, scratch, scratch_bytes);
    matmul_exact(want, x, n_rows, &held, scratch, scratch_bytes);
    assert_memory_equal(y, want, (size_t)(n_rows * n_out) * sizeof *y);
    matmul_rounded(y, x, n_rows, &w, ROUND_NONE, scratch, scratch_bytes);
    matmul_exact(want, x, n_rows, &w, scratch, scratch_bytes);
    assert_memory_equal(y, want, (size_t)(n_rows * n_out) * sizeof *y);
    fenced_free(y, n_rows * n_out), fenced_free(want, n_rows * n_out), fenced_free(row, n_in);
    free(x), free(halves), free(scratch);
    weight_free(&w, 0);
}

static void check_all_rounded(void)
{
    for (int t = 0; t < DT_COUNT; t++)
        for (enum rounding to = ROUND_BF16; to <= ROUND_F16; to++) {
            int64_t block = dtype_infos[t].block;
            check_rounded((enum dtype)t, to, 1, 7, 2 * block);
            check_rounded((enum dtype)t, to, 40, 200, block == 1 ? 67 : block);
            check_rounded((enum dtype)t, to, 3, 5, block == 1 ? 2051 : block == 32 ? 2080 : 2304);
        }
}

static void rounded_products_are_those_of_the_format(void **state)
{
    (void)state;
    with_each_isa(check_all_rounded);
}

static void check_product(enum dtype type, int64_t n_rows, int64_t n_out, int64_t n_in, size_t skip)
{
    check_product_of(matmul, dtype_infos[type].block > 1 ? 0x1p-15 : 0, type, n_rows, n_out, n_in, skip);
}

static void check_products(void)
{
    for (int t = 0; t < DT_COUNT; t++) {
        enum dtype type = (enum dtype)t;
        int64_t block = dtype_infos[t].block;
        for (int64_t n_rows = 1; n_rows <= 9; n_rows++) check_product(type, n_rows, 5, 3 * block, 0);
        check_product(type, 1, 1, block, 1);
        check_product(type, 2, 77, 5 * block, block == 1 ? 3 : 1);
        check_product(type, 16, 33, block == 1 ? 67 : 2 * block, 0);
        check_product(type, 17, 7, block == 1 ? 67 : 2 * block, 4);
        check_product(type, 66, 200, block == 1 ? 130 : block, 0);
        check_product(type, 33, 50, block == 32 ? 288 : 1280, 1); /* more than one piece of the inner dimension */
        check_product(type, 100, 97, block == 32 ? 576 : 256, 2);
        check_product_of(matmul_exact, 0, type, 3, 50, 2 * block, 0);
        check_product_of(matmul_exact, 0, type, 40, 10, block == 1 ? 67 : 9 * block, 0);
        if (block == 1)
            for (int64_t n = 1; n <= 35; n++) check_product(type, 3, 3, n, 0), check_product(type, 5, 2, n, 2);
    }
    check_product(DT_Q4_1, 1, 100, 576, 0);
    check_product(DT_Q8_0, 40, 10, 2080, 0); /* more than one piece of the inner dimension */
    check_product(DT_F16, 40, 10, 1031, 0);
    check_product(DT_Q6_K, 40, 10, 1280, 1);
}

static void products_match_sums_in_double(void **state)
{
    (void)state;
    with_each_isa(check_products);
}

/* x rounded as the product wants it, by hand: struct dot_rows over one allocation. */
static struct dot_rows rows_new(const float *x, int64_t n_rows, int64_t n)
{
    size_t blocks = (size_t)(n_rows * n / 32);
    struct dot_rows rows = { .x = x, .n_rows = n_rows, .n = n };
    rows.q = calloc(blocks * 32 + 1, sizeof(*rows.q));
    rows.step = calloc(blocks * 6 + 1, sizeof(*rows.step));
    assert_true(rows.q && rows.step);
    rows.sum = rows.step + 2 * blocks;
    rows.pair = rows.sum + 2 * blocks;
    for (int64_t i = 0; i < n_rows && n % 32 == 0; i++) kernels()->dot->round_row(&rows, i);
    return rows;
}

static void rows_free(struct dot_rows *rows) { free(rows->q), free(rows->step); }

/* Every instruction set against scalar: the same steps, sums and integer products, so only the order of f32 sums may
 * differ. */
static void isas_agree(void **state)
{
    (void)state;
    enum { ROWS = 7, OUT = 9 };
    const char *best = kernels_isa();
    for (int t = 0; t < DT_COUNT; t++) {
        int64_t block = dtype_infos[t].block, n = block == 1 ? 219 : 5 * block, row_bytes = dtype_row_bytes((enum dtype)t, n);
        struct weight w = random_weight((enum dtype)t, OUT, n, 1);
        float *x = random_x(ROWS * n), *w_row = fenced_new(n), *first = fenced_new(ROWS * OUT);
        float *numbers = malloc((size_t)(6 * ROWS * n / 32 + 1) * sizeof(*numbers));
        assert_non_null(numbers);
        for (int i = 0; i < COUNT_OF(isas); i++) {
            if (!kernels_choose(isas[i])) continue;
            struct dot_rows rows = rows_new(x, ROWS, n);
            float *y = i ? fenced_new(ROWS * OUT) : first;
            kernels()->dot->dot[t](y, OUT, &rows, w.data, row_bytes, OUT);
            if (i == 0 && block > 1) memcpy(numbers, rows.step, (size_t)(6 * ROWS * n / 32) * sizeof(*numbers));
            if (i > 0 && block > 1) assert_memory_equal(numbers, rows.step, (size_t)(6 * ROWS * n / 32) * sizeof(*numbers));
            for (int64_t k = 0; i > 0 && k < ROWS * OUT; k++) {
                double bound;
                weight_row(w_row, &w, k % OUT);
                /* offsets cancel up to 128 steps, see exact_product(): allow for half a bit of the 16 at most */
                exact_product(x + k / OUT * n, w_row, n, block > 1 ? 0x1p-17 : 0, &bound);
                if (!(fabs((double)(y[k] - first[k])) <= bound))
                    fail_msg("%s %s: %.9g, not %.9g", isas[i], dtype_infos[t].name, (double)y[k], (double)first[k]);
            }
            if (i) fenced_free(y, ROWS * OUT);
            rows_free(&rows);
        }
        fenced_free(first, ROWS * OUT), fenced_free(w_row, n), free(x), free(numbers);
        weight_free(&w, 1);
    }
    assert_true(kernels_choose(best));
}

/* A row of x gives the same bits alone and among others, and y_stride leaves gaps alone. */
static void check_neighbours(void)
{
    enum { ROWS = 7, OUT = 5, STRIDE = 8 };
    for (int t = 0; t < DT_COUNT; t++) {
        int64_t block = dtype_infos[t].block, n = block == 1 ? 83 : 3 * block, row_bytes = dtype_row_bytes((enum dtype)t, n);
        struct weight w = random_weight((enum dtype)t, OUT, n, 0);
        float *x = random_x(ROWS * n), *y = fenced_new(ROWS * STRIDE), *alone = fenced_new(OUT);
        struct dot_rows all = rows_new(x, ROWS, n);
        kernels()->dot->dot[t](y, STRIDE, &all, w.data, row_bytes, OUT);
        for (int64_t i = 0; i < ROWS; i++) {
            struct dot_rows one = rows_new(x + i * n, 1, n);
            kernels()->dot->dot[t](alone, OUT, &one, w.data, row_bytes, OUT);
            assert_memory_equal(alone, y + i * STRIDE, OUT * sizeof(*y));
            for (int64_t j = OUT; j < STRIDE; j++) assert_true(y[i * STRIDE + j] == SENTINEL);
            rows_free(&one);
        }
        fenced_free(y, ROWS * STRIDE), fenced_free(alone, OUT), free(x);
        rows_free(&all), weight_free(&w, 0);
    }
}

static void rows_do_not_depend_on_neighbours(void **state)
{
    (void)state;
    with_each_isa(check_neighbours);
}

/* Many rows in whole numbers: a row gives the same bits alone, among others and with another instruction set; nothing
 * is written beside the columns asked for. */
static void whole_number_products_agree(void **state)
{
    (void)state;
    enum { ROWS = 17, OUT = 77, STRIDE = 80, N = 1280 };
    const char *best = kernels_isa();
    void *panel = aligned_alloc(64, IGEMM_PANEL_BYTES);
    assert_non_null(panel);
    for (int t = DT_Q4_0; t < DT_COUNT; t++) {
        int64_t row_bytes = dtype_row_bytes((enum dtype)t, N);
        struct weight w = random_weight((enum dtype)t, OUT, N, 1);
        float *x = random_x(ROWS * N), *first = NULL;
        for (int i = 0; i < COUNT_OF(isas); i++) {
            if (!kernels_choose(isas[i]) || !kernels()->igemm) continue;
            float *y = fenced_new(ROWS * STRIDE), *alone = fenced_new(OUT);
            struct dot_rows all = rows_new(x, ROWS, N);
            kernels()->igemm->product[t](y, STRIDE, &all, w.data, row_bytes, OUT, panel);
            for (int64_t r = 0; r < ROWS; r++) {
                struct dot_rows one = rows_new(x + r * N, 1, N);
                kernels()->igemm->product[t](alone, OUT, &one, w.data, row_bytes, OUT, panel);
                assert_memory_equal(alone, y + r * STRIDE, OUT * sizeof(*y));
                for (int64_t j = OUT; j < STRIDE; j++) assert_true(y[r * STRIDE + j] == SENTINEL);
                rows_free(&one);
            }
            rows_free(&all), fenced_free(alone, OUT);
            if (first) {
                assert_memory_equal(first, y, ROWS * STRIDE * sizeof(*y));
                fenced_free(y, ROWS * STRIDE);
            } else {
                first = y;
            }
        }
        if (first) fenced_free(first, ROWS * STRIDE);
        free(x), weight_free(&w, 1);
    }
    free(panel);
    assert_true(kernels_choose(best));
}

static void threads_give_equal_bytes(void **state)
{
    (void)state;
    static const int64_t shapes[][3] = { { 1, 1000, 576 }, { 5, 333, 512 }, { 17, 192, 256 }, { 130, 400, 1280 }, { 300, 192, 576 } };
    static const enum dtype types[] = { DT_F32, DT_F16, DT_Q4_1, DT_Q8_0, DT_Q2_K, DT_Q6_K };
    int threads = omp_get_max_threads();
    for (int s = 0; s < COUNT_OF(shapes); s++)
        for (int t = 0; t < COUNT_OF(types); t++) {
            int64_t n_rows = shapes[s][0], n_out = shapes[s][1], n_in = shapes[s][2];
            if (dtype_row_bytes(types[t], n_in) < 0) continue;
            struct weight w = random_weight(types[t], n_out, n_in, 0);
            float *x = random_x(n_rows * n_in), *first = fenced_new(n_rows * n_out), *y = fenced_new(n_rows * n_out);
            for (int k = 1; k <= 3; k++) {
                size_t scratch_bytes = matmul_scratch_bytes(n_rows, n_in, k);
                void *scratch = malloc(scratch_bytes);
                assert_non_null(scratch);
                omp_set_num_threads(k);
                matmul(k == 1 ? first : y, x, n_rows, &w, scratch, scratch_bytes);
                if (k > 1) assert_memory_equal(first, y, (size_t)(n_rows * n_out) * sizeof(*y));
                free(scratch);
            }
            fenced_free(first, n_rows * n_out), fenced_free(y, n_rows * n_out), free(x);
            weight_free(&w, 0);
        }
    omp_set_num_threads(threads);
}

/* Products of unlike formats and sizes together are those products one by one, whatever the number of threads. */
static void several_are_one_by_one(void **state)
{
    (void)state;
    static const enum dtype types[] = { DT_Q4_1, DT_F32, DT_Q6_K, DT_Q8_0 };
    static const int64_t n_out[] = { 333, 64, 1, 1000 };
    enum { N = 512, PRODUCTS = 4 };
    int threads = omp_get_max_threads();
    for (int64_t n_rows = 1; n_rows <= 20; n_rows += n_rows < 3 ? 1 : 17) {
        struct weight w[PRODUCTS];
        struct product products[PRODUCTS];
        float *x = random_x(n_rows * N), *alone[PRODUCTS];
        size_t scratch_bytes = matmul_scratch_bytes(n_rows, N, 3);
        void *scratch = malloc(scratch_bytes);
        assert_non_null(scratch);
        for (int i = 0; i < PRODUCTS; i++) {
            w[i] = random_weight(types[i], n_out[i], N, 0);
            products[i] = (struct product){ fenced_new(n_rows * n_out[i]), &w[i] };
            matmul(alone[i] = fenced_new(n_rows * n_out[i]), x, n_rows, &w[i], scratch, scratch_bytes);
        }
        for (int k = 1; k <= 3; k++) {
            omp_set_num_threads(k);
            for (int i = 0; i < PRODUCTS; i++) memset(products[i].y, 0, (size_t)(n_rows * n_out[i]) * sizeof(float));
            matmul_several(products, PRODUCTS, x, n_rows, scratch, scratch_bytes);
            for (int i = 0; i < PRODUCTS; i++)
                assert_memory_equal(alone[i], products[i].y, (size_t)(n_rows * n_out[i]) * sizeof(float));
        }
        for (int i = 0; i < PRODUCTS; i++) {
            fenced_free(products[i].y, n_rows * n_out[i]), fenced_free(alone[i], n_rows * n_out[i]);
            weight_free(&w[i], 0);
        }
        free(x), free(scratch);
    }
    omp_set_num_threads(threads);
}

/* ---- numbers that are none ------------------------------------------------------------------------------------------- */

static void check_bad_numbers(void)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-42f, 0x1p-101f, 0 };
    enum { N = 512, OUT = 3 };
    for (int t = 0; t < DT_COUNT; t++)
        for (int64_t n_rows = 1; n_rows <= 20; n_rows += 19) {
            struct weight w = random_weight((enum dtype)t, OUT, N, 0);
            float *x = random_x(n_rows * N), *y = fenced_new(n_rows * OUT);
            size_t scratch_bytes = matmul_scratch_bytes(n_rows, N, omp_get_max_threads());
            void *scratch = malloc(scratch_bytes);
            assert_non_null(scratch);
            for (int b = 0; b < COUNT_OF(bad); b++) {
                for (int64_t i = 0; i < n_rows; i++) x[i * N + 40] = bad[b];
                matmul(y, x, n_rows, &w, scratch, scratch_bytes);
                /* an f16 weight times an infinity may be one or NaN, but nothing that looks like a result */
                for (int64_t k = 0; k < n_rows * OUT; k++) assert_true(isfinite(y[k]) == isfinite(bad[b]) || fabsf(bad[b]) > 1e38f);
            }
            for (int64_t i = 0; i < n_rows * N; i++) x[i] = 1e-40f; /* below what is rounded: as good as zero */
            matmul(y, x, n_rows, &w, scratch, scratch_bytes);
            for (int64_t k = 0; k < n_rows * OUT; k++) assert_true(fabsf(y[k]) < 1e-30f);
            fenced_free(y, n_rows * OUT), free(x), free(scratch);
            weight_free(&w, 0);
        }
}

static void bad_numbers_do_no_harm(void **state)
{
    (void)state;
    with_each_isa(check_bad_numbers);
}

/* Weights of any bytes, scales that are NaN or infinite among them. */
static void check_any_bytes(void)
{
    enum { N = 512, OUT = 8 };
    for (int t = 0; t < DT_COUNT; t++)
        for (int64_t n_rows = 1; n_rows <= 20; n_rows += 19) {
            struct weight w = random_weight((enum dtype)t, OUT, N, 0);
            uint8_t *bytes = malloc((size_t)(OUT * dtype_row_bytes((enum dtype)t, N)));
            assert_non_null(bytes);
            for (int64_t i = 0; i < OUT * dtype_row_bytes((enum dtype)t, N); i++) bytes[i] = i < 9 ? 255 : (uint8_t)random_bits();
            weight_free(&w, 0);
            w.data = bytes;
            float *x = random_x(n_rows * N), *y = fenced_new(n_rows * OUT), *row = fenced_new(N);
            size_t scratch_bytes = matmul_scratch_bytes(n_rows, N, omp_get_max_threads());
            void *scratch = malloc(scratch_bytes);
            assert_non_null(scratch);
            matmul(y, x, n_rows, &w, scratch, scratch_bytes);
            weight_row(row, &w, OUT - 1);
            fenced_free(y, n_rows * OUT), fenced_free(row, N), free(x), free(scratch), free(bytes);
        }
}

static void any_bytes_do_no_harm(void **state)
{
    (void)state;
    with_each_isa(check_any_bytes);
}

static void instruction_sets_are_chosen_by_name(void **state)
{
    (void)state;
    char best[16];
    snprintf(best, sizeof(best), "%s", kernels_isa());
    assert_false(kernels_choose("sse9"));
    assert_string_equal(kernels_isa(), best);
    assert_true(kernels_choose("scalar"));
    assert_string_equal(kernels_isa(), "scalar");
    assert_true(kernels_choose(best));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s quants.bin\n", argv[0]);
        return 2;
    }
    golden_path = argv[1];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(row_bytes_are_checked),
        cmocka_unit_test(formats_match_golden_values),
        cmocka_unit_test(half_floats_are_exact),
        cmocka_unit_test(half_floats_round_to_even),
        cmocka_unit_test(half_rows_match_single_values),
        cmocka_unit_test(products_match_sums_in_double),
        cmocka_unit_test(rounded_products_are_those_of_the_format),
        cmocka_unit_test(isas_agree),
        cmocka_unit_test(rows_do_not_depend_on_neighbours),
        cmocka_unit_test(whole_number_products_agree),
        cmocka_unit_test(threads_give_equal_bytes),
        cmocka_unit_test(several_are_one_by_one),
        cmocka_unit_test(bad_numbers_do_no_harm),
        cmocka_unit_test(any_bytes_do_no_harm),
        cmocka_unit_test(instruction_sets_are_chosen_by_name),
    };
    return cmocka_run_group_tests_name("kernels/dot", tests, NULL, NULL);
}
