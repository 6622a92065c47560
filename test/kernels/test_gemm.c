/* Products of f32 matrices against sums in double: every instruction set, all four orders, odd sizes, rows further
 * apart than they are wide; nothing is read or written beside a matrix (each ends where its memory does). */
#include "kernels/table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(a) ((int)(sizeof(a) / sizeof((a)[0])))
#define SENTINEL 12345.678f

static const char *const isas[] = { "scalar", "avx2", "avx512" };

static uint64_t random_state = 88172645463325252ull;

/* Uniform in [-1, 1). */
static float random_float(void)
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return (float)(random_state >> 40) * 0x1p-23f - 1;
}

/* [rows, columns] with `gap` elements that are no numbers behind each row but the last. */
static float *random_matrix(int64_t rows, int64_t columns, int64_t gap)
{
    float *x = malloc((size_t)(rows * (columns + gap) - gap) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < rows * (columns + gap) - gap; i++)
        x[i] = i % (columns + gap) < columns ? random_float() : NAN;
    return x;
}

/* Element (i, j) of what the operand means. */
static double element(const struct operand *x, int64_t i, int64_t j)
{
    return (double)x->at[x->transposed ? j * x->stride + i : i * x->stride + j];
}

static void check(gemm_kernel *gemm_of, int64_t m, int64_t n, int64_t k, int order, int64_t gap)
{
    bool a_turned = order & 1, b_turned = order & 2, add = gap & 1;
    float *a = a_turned ? random_matrix(k, m, gap) : random_matrix(m, k, gap);
    float *b = b_turned ? random_matrix(n, k, gap) : random_matrix(k, n, gap);
    float *c = malloc((size_t)(m * (n + gap) - gap) * sizeof *c), scale = add ? 0.37f : 1;
    assert_non_null(c);
    for (int64_t i = 0; i < m * (n + gap) - gap; i++) c[i] = i % (n + gap) >= n ? SENTINEL : add ? 0.25f : NAN;
    struct operand x = {a, (a_turned ? m : k) + gap, a_turned}, y = {b, (b_turned ? k : n) + gap, b_turned};
    gemm_of(c, n + gap, scale, add, &x, &y, m, n, k);
    for (int64_t i = 0; i < m; i++) {
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t d = 0; d < k; d++) sum += element(&x, i, d) * element(&y, d, j);
            assert_true(fabs((double)c[i * (n + gap) + j] - (add ? 0.25 : 0) - sum * (double)scale) < 1e-6 * (double)(k + 8));
        }
        for (int64_t j = n; j < n + gap && i < m - 1; j++) assert_true(c[i * (n + gap) + j] == SENTINEL);
    }
    free(a);
    free(b);
    free(c);
}

static void check_all(gemm_kernel *gemm_of)
{
    for (int order = 0; order < 4; order++) {
        for (int64_t m = 1; m <= 13; m++)
            for (int64_t n = 1; n <= 34; n += m % 3 ? 3 : 1) check(gemm_of, m, n, 1 + (m * 7 + n) % 19, order, m % 4);
        check(gemm_of, 40, 8, 32, order, 5);
        check(gemm_of, 67, 33, 65, order, 0);
        check(gemm_of, 250, 20, 71, order, 3);
        check(gemm_of, 245, 17, 330, order, 0);
        check(gemm_of, 9, 500, 320, order, 1);
        check(gemm_of, 7, 18, 645, order, 2);
    }
}

static void products_match_sums_in_double(void **state)
{
    (void)state;
    const char *best = kernels_isa();
    for (int i = 0; i < COUNT_OF(isas); i++) {
        if (!kernels_choose(isas[i])) continue;
        check_all(gemm_serial);
        if (kernels()->gemm) check_all(kernels()->gemm);
    }
    assert_true(kernels_choose(best));
}

/* What a row gives depends on nothing beside it: the same bytes in any company. */
static void rows_do_not_depend_on_neighbours(void **state)
{
    (void)state;
    enum { M = 31, N = 50, K = 96 };
    const char *best = kernels_isa();
    if (!kernels_choose("avx2")) skip();   /* the one instruction set with a kernel of its own */
    float *a = random_matrix(M, K, 0), *b = random_matrix(N, K, 0), whole[M * N], part[M * N];
    struct operand weights = {b, K, true};
    kernels()->gemm(whole, N, 1, false, &(struct operand){a, K, false}, &weights, M, N, K);
    for (int64_t first = 0; first < M; first++)
        for (int64_t n = 1; first + n <= M; n += 5) {
            kernels()->gemm(part, N, 1, false, &(struct operand){a + first * K, K, false}, &weights, n, N, K);
            assert_memory_equal(part, whole + first * N, (size_t)(n * N) * sizeof *part);
        }
    assert_true(kernels_choose(best));
    free(a);
    free(b);
}

/* The parallel form: any number of tiles, equal to its own parts of rows and columns. */
static void tiles_cover_the_result(void **state)
{
    (void)state;
    enum { M = 700, N = 611, K = 130 };
    float *a = random_matrix(M, K, 0), *b = random_matrix(K, N, 0), *c = malloc(sizeof(float) * M * N);
    assert_non_null(c);
    gemm(c, false, a, false, b, false, M, N, K);
    for (int64_t i = 0; i < M; i += 13)
        for (int64_t j = 0; j < N; j += 7) {
            double sum = 0;
            for (int64_t d = 0; d < K; d++) sum += (double)a[i * K + d] * (double)b[d * N + j];
            assert_true(fabs((double)c[i * N + j] - sum) < 1e-4);
        }
    free(a);
    free(b);
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_match_sums_in_double),
        cmocka_unit_test(rows_do_not_depend_on_neighbours),
        cmocka_unit_test(tiles_cover_the_result),
    };
    return cmocka_run_group_tests_name("kernels/gemm", tests, NULL, NULL);
}
