/* gemm: products of f32 matrices, cut into tiles of the result; a tile is one call of SGEMM on one thread. The tiles
 * depend on the shape only and no sum is split, so that every number of threads gives the same bytes. */
#include "base/base.h"
#include "kernels/kernels.h"

#include <cblas.h>

/* Tiles: ENOUGH of them for the threads to share, of at least WORK multiplications each; no side below LEAST, where
 * packing costs as much as arithmetic, and none above MOST. Below SERIAL multiplications a second thread costs more than
 * it brings. */
enum { ENOUGH = 16, WORK = 1 << 22, LEAST = 64, MOST = 1024, STEP = 16, SERIAL = 1 << 18 };

static int64_t part(int64_t n, int64_t parts)
{
    int64_t size = (n + parts - 1) / parts;
    return MIN(n, (size + STEP - 1) / STEP * STEP);
}

/* Tiles of height x width that cover m x n, each a sum over k: the longer side is cut until there are enough. */
static void choose_tiles(int64_t m, int64_t n, int64_t k, int64_t *height, int64_t *width)
{
    int64_t down = 1, across = 1, wanted = MIN(ENOUGH, m * n * k / WORK);
    *height = m;
    *width = n;
    while (MAX(*height, *width) >= 2 * LEAST && (down * across < wanted || MAX(*height, *width) > MOST)) {
        if (*height > *width) *height = part(m, ++down);
        else *width = part(n, ++across);
    }
}

void gemm_strided(float *c, int64_t ldc, bool add, const float *a, int64_t lda, bool a_transposed, const float *b,
                  int64_t ldb, bool b_transposed, int64_t m, int64_t n, int64_t k)
{
    if (m <= 0 || n <= 0) return;
    int64_t height, width;
    choose_tiles(m, n, k, &height, &width);
    int64_t across = (n + width - 1) / width, tiles = across * ((m + height - 1) / height);
#pragma omp parallel for schedule(dynamic) if (tiles > 1 && m * n * k > SERIAL)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t i = t / across * height, j = t % across * width;
        cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans, b_transposed ? CblasTrans : CblasNoTrans,
                    (int)MIN(height, m - i), (int)MIN(width, n - j), (int)k, 1, a + (a_transposed ? i : i * lda),
                    (int)lda, b + (b_transposed ? j * ldb : j), (int)ldb, add ? 1 : 0, c + i * ldc + j, (int)ldc);
    }
}

void gemm(float *c, bool add, const float *a, bool a_transposed, const float *b, bool b_transposed, int64_t m, int64_t n,
          int64_t k)
{
    gemm_strided(c, n, add, a, a_transposed ? m : k, a_transposed, b, b_transposed ? k : n, b_transposed, m, n, k);
}
