/* quant: single rows of a weight matrix as f32, whatever the format. */
#include "kernels/table.h"

void weight_row(float *y, const struct weight *w, int64_t row)
{
    int64_t row_bytes = dtype_row_bytes(w->type, w->n_in);
    kernels()->dot->widen[w->type](y, (const char *)w->data + row * row_bytes, w->n_in);
}
