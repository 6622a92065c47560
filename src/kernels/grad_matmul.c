/* grad_matmul: gradients of a matrix product, as matrix products. Each is cut into tiles of its result; a tile is one
 * call of SGEMM on one thread, so that no sum depends on the number of threads. */
#include "base/base.h"
#include "kernels/grad.h"
#include "kernels/table.h"

#include <cblas.h>

/* Tiles: at least ENOUGH of them where the matrix is large enough for tiles of LEAST rows and columns. */
enum { ENOUGH = 8, LEAST = 96, MOST = 1024, PANEL_ROWS = 256 };

static int64_t tile_size(int64_t n, int64_t tiles)
{
    int64_t size = (n + tiles - 1) / tiles;
    size = (size + 15) / 16 * 16;
    return MIN(MAX(size, LEAST), MOST);
}

void gemm(float *c, bool add, const float *a, bool a_transposed, const float *b, bool b_transposed, int64_t m, int64_t n,
          int64_t k)
{
    int64_t width = tile_size(n, ENOUGH / 4), across = (n + width - 1) / width;
    int64_t height = tile_size(m, (ENOUGH + across - 1) / across), tiles = across * ((m + height - 1) / height);
    int64_t lda = a_transposed ? m : k, ldb = b_transposed ? k : n;
#pragma omp parallel for schedule(dynamic) if (m * n * k > 1 << 18)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t i = t / across * height, j = t % across * width;
        cblas_sgemm(CblasRowMajor, a_transposed ? CblasTrans : CblasNoTrans, b_transposed ? CblasTrans : CblasNoTrans,
                    (int)MIN(height, m - i), (int)MIN(width, n - j), (int)k, 1, a + (a_transposed ? i : i * lda),
                    (int)lda, b + (b_transposed ? j * ldb : j), (int)ldb, add ? 1 : 0, c + i * n + j, (int)n);
    }
}

size_t matmul_backward_scratch_bytes(int64_t max_in)
{
    return (size_t)PANEL_ROWS * (size_t)max_in * sizeof(float);
}

/* dx (+)= dy[:, out0 .. out0 + n) of the rows of w that are widened in `panel` [n, n_in] */
static void add_panel(float *dx, bool add, const float *dy, int64_t n_rows, const struct weight *w, int64_t out0, int64_t n,
                      const float *panel)
{
    int64_t width = tile_size(w->n_in, ENOUGH / 4), across = (w->n_in + width - 1) / width;
    int64_t height = tile_size(n_rows, (ENOUGH + across - 1) / across), tiles = across * ((n_rows + height - 1) / height);
#pragma omp parallel for schedule(dynamic) if (n_rows * n * w->n_in > 1 << 18)
    for (int64_t t = 0; t < tiles; t++) {
        int64_t i = t / across * height, j = t % across * width;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)MIN(height, n_rows - i), (int)MIN(width, w->n_in - j),
                    (int)n, 1, dy + i * w->n_out + out0, (int)w->n_out, panel + j, (int)w->n_in, add ? 1 : 0,
                    dx + i * w->n_in + j, (int)w->n_in);
    }
}

void matmul_backward_input(float *dx, bool add, const float *dy, int64_t n_rows, const struct weight *w, void *scratch)
{
    if (w->type == DT_F32) {
        add_panel(dx, add, dy, n_rows, w, 0, w->n_out, w->data);
        return;
    }
    float *panel = scratch;
    for (int64_t out0 = 0; out0 < w->n_out; out0 += PANEL_ROWS) {
        int64_t n = MIN(PANEL_ROWS, w->n_out - out0);
#pragma omp parallel for schedule(static)
        for (int64_t j = 0; j < n; j++) weight_row(panel + j * w->n_in, w, out0 + j);
        add_panel(dx, add || out0, dy, n_rows, w, out0, n, panel);
    }
}

void matmul_backward_weight(float *dw, const float *dy, const float *x, int64_t n_rows, int64_t n_out, int64_t n_in)
{
    gemm(dw, true, dy, true, x, false, n_out, n_in, n_rows);
}
