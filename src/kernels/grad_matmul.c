/* grad_matmul: gradients of a matrix product, as matrix products. */
#include "base/base.h"
#include "kernels/grad.h"

enum { PANEL_ROWS = 256 };   /* rows of a quantised weight that are widened at once */

size_t matmul_backward_scratch_bytes(int64_t max_in)
{
    return (size_t)PANEL_ROWS * (size_t)max_in * sizeof(float);
}

void matmul_backward_input(float *dx, bool add, const float *dy, int64_t n_rows, const struct weight *w, void *scratch)
{
    int64_t n_out = w->n_out, n_in = w->n_in;
    if (w->type == DT_F32) {
        gemm(dx, add, dy, false, w->data, false, n_rows, n_in, n_out);
        return;
    }
    float *panel = scratch;
    for (int64_t out0 = 0; out0 < n_out; out0 += PANEL_ROWS) {
        int64_t n = MIN(PANEL_ROWS, n_out - out0);
#pragma omp parallel for schedule(static)
        for (int64_t j = 0; j < n; j++) weight_row(panel + j * n_in, w, out0 + j);
        gemm_strided(dx, n_in, add || out0, dy + out0, n_out, false, panel, n_in, false, n_rows, n_in, n);
    }
}

void matmul_backward_weight(float *dw, const float *dy, const float *x, int64_t n_rows, int64_t n_out, int64_t n_in)
{
    gemm(dw, true, dy, true, x, false, n_out, n_in, n_rows);
}
