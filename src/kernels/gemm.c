/* gemm: products of f32 matrices, cut into tiles of the result; a tile is one call on one thread. The tiles depend on
 * the shape only and no sum is split, so that every number of threads gives the same bytes. */
#include "base/base.h"
#include "kernels/table.h"

#include <cblas.h>
#include <string.h>

/* Tiles: ENOUGH of them for the threads to share, of at least WORK multiplications each; no side below LEAST, where
 * packing costs as much as arithmetic, and none above MOST. Below SERIAL multiplications a second thread costs more
 * than it brings; above, the loop is always a parallel region, in which BLAS itself stays on one thread. */
enum { ENOUGH = 16, WORK = 7 << 20, LEAST = 64, MOST = 1024, STEP = 16, SERIAL = 1 << 18 };

/* Where both sides of b are at most OWN, the kernel of our own is up to 2.5 times as fast as SGEMM; wider ones lose. */
enum { OWN = 512 };

/* With AVX-512 OpenBLAS takes products of up to IN_PLACE multiplications where they lie, if neither matrix is
 * transposed, without packing: for n = k = 128 one core of Zen 4 makes 110 GFLOP/s instead of 95, for n = 128, k = 512
 * 98 instead of 81. Wider ones gain nothing, and its kernels for AVX2 lose a tenth by tiles so small. */
enum { IN_PLACE = 1000 * 1000, IN_PLACE_ROWS = 64, IN_PLACE_WIDTH = 384, IN_PLACE_DEPTH = 160, IN_PLACE_SUM = 640 };

bool gemm_in_place(int64_t n, int64_t k)
{
    return n <= IN_PLACE_WIDTH && k <= IN_PLACE_SUM && !strcmp(kernels_isa(), "avx512");
}

void gemm_transpose(float *y, const float *x, int64_t m, int64_t n)
{
    for (int64_t i0 = 0; i0 < m; i0 += STEP)
        for (int64_t j0 = 0; j0 < n; j0 += STEP)
            for (int64_t j = j0; j < MIN(j0 + STEP, n); j++)
                for (int64_t i = i0; i < MIN(i0 + STEP, m); i++) y[j * m + i] = x[i * n + j];
}

static int64_t part(int64_t n, int64_t parts)
{
    int64_t size = (n + parts - 1) / parts;
    return MIN(n, (size + STEP - 1) / STEP * STEP);
}

/* Pieces of height x width that cover the result, and of `depth` of the sum, which a thread takes in order. */
struct tiles {
    int64_t height, width, depth;
};

/* The longer side is cut until there are enough. */
static struct tiles cut(int64_t m, int64_t n, int64_t k)
{
    struct tiles t = {.height = m, .width = n, .depth = k};
    int64_t down = 1, across = 1, wanted = MIN(ENOUGH, m * n * k / WORK);
    while (MAX(t.height, t.width) >= 2 * LEAST && (down * across < wanted || MAX(t.height, t.width) > MOST)) {
        if (t.height > t.width) t.height = part(m, ++down);
        else t.width = part(n, ++across);
    }
    return t;
}

static struct tiles cut_in_place(int64_t n, int64_t k)
{
    struct tiles t = {.width = n, .depth = MIN(k, IN_PLACE_DEPTH)};
    t.height = MIN(IN_PLACE / (n * t.depth) / STEP * STEP, IN_PLACE_ROWS);
    return t;
}

void gemm_serial(float *c, int64_t ldc, float scale, bool add, const struct operand *a, const struct operand *b,
                 int64_t m, int64_t n, int64_t k)
{
    if (kernels()->gemm && n <= OWN && k <= OWN) kernels()->gemm(c, ldc, scale, add, a, b, m, n, k);
    else
        cblas_sgemm(CblasRowMajor, a->transposed ? CblasTrans : CblasNoTrans, b->transposed ? CblasTrans : CblasNoTrans,
                    (int)m, (int)n, (int)k, scale, a->at, (int)a->stride, b->at, (int)b->stride, add ? 1 : 0, c,
                    (int)ldc);
}

void gemm_strided(float *c, int64_t ldc, bool add, const float *a, int64_t lda, bool a_transposed, const float *b,
                  int64_t ldb, bool b_transposed, int64_t m, int64_t n, int64_t k)
{
    if (m <= 0) return;
    bool in_place = !a_transposed && !b_transposed && gemm_in_place(n, k);
    struct tiles tile = in_place ? cut_in_place(n, k) : cut(m, n, k);
    int64_t across = (n + tile.width - 1) / tile.width, tiles = across * ((m + tile.height - 1) / tile.height);
#pragma omp parallel for schedule(dynamic) if (m * n * k > SERIAL)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t i = t / across * tile.height, j = t % across * tile.width;
        for (int64_t d = 0; d < k; d += tile.depth) {
            struct operand rows = {a + (a_transposed ? d * lda + i : i * lda + d), lda, a_transposed};
            struct operand columns = {b + (b_transposed ? j * ldb + d : d * ldb + j), ldb, b_transposed};
            gemm_serial(c + i * ldc + j, ldc, 1, add || d, &rows, &columns, MIN(tile.height, m - i),
                        MIN(tile.width, n - j), MIN(tile.depth, k - d));
        }
    }
}

void gemm(float *c, bool add, const float *a, bool a_transposed, const float *b, bool b_transposed, int64_t m,
          int64_t n, int64_t k)
{
    gemm_strided(c, n, add, a, a_transposed ? m : k, a_transposed, b, b_transposed ? k : n, b_transposed, m, n, k);
}
