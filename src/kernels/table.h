/* table: the kernels that exist once for each instruction set, as structs of function pointers. Internal to kernels.
 *
 * Every pointer is set unless it says otherwise: an instruction set without a version of its own names a simpler one.
 * The scalar table is always there and is what the tests hold the others against. */
#ifndef KERNELS_TABLE_H
#define KERNELS_TABLE_H

#include "kernels/kernels.h"
#include "kernels/rows_table.h"

/* Rows of x as the dot kernels read them. Float types read `x`; quantised types read the rest, which round_row() has
 * filled: each entry as a 16-bit integer times the step of its block of 32. */
#define ROUND_BLOCK 32
#define ROUND_MAX 32512 /* step = largest entry / 32512; = 127 * 256: also two signed bytes could hold it */
struct dot_rows {
    const float *x; /* [n_rows, n] */
    int16_t *q;     /* [n_rows, n] rounded entries; x86: each block of 32 with its 16 even entries first */
    float *step;    /* [n_rows, n / 16] what one unit of q is worth, each block's twice */
    float *sum;     /* [n_rows, n / 16] sums of 16 rounded entries */
    float *pair;    /* [n_rows, n / 32, 2] (step, sum of 32 rounded entries) of each block */
    int64_t n_rows, n;
};

/* Matrix products and number formats (scalar_dot.c, avx2_dot.c, avx512_dot.c). */
struct dot_kernels {
    /* y [n] = a row of n elements of the type as f32; n is whole blocks. Every instruction set gives the same bits. */
    void (*widen[DT_COUNT])(float *y, const void *row, int64_t n);
    /* Rounds row i of rows->x into the rest of *rows; n is a multiple of 32. A block with an infinity or NaN gets the
     * step NaN; one whose entries are all below 2^-100 becomes zero. */
    void (*round_row)(const struct dot_rows *rows, int64_t i);
    /* y[i * y_stride + j] = dot(x row i, weight row j) for all n_rows rows and the n_w weight rows that begin at w,
     * row_bytes apart. What a row gives does not depend on the rows beside it. */
    void (*dot[DT_COUNT])(float *y, int64_t y_stride, const struct dot_rows *rows, const void *w, int64_t row_bytes,
                          int64_t n_w);
    void (*f32_to_f16)(uint16_t *y, const float *x, int64_t n);
};

/* Matrix products of many rows in whole numbers, for quantised types (avx2_igemm.c, avx512_igemm.c). A panel of weights
 * is at most IGEMM_WIDTH rows by IGEMM_IN of the inner dimension, repacked. */
enum {
    IGEMM_WIDTH = 96, IGEMM_IN = 1024,
    IGEMM_ROWS = 12,                    /* numbers of rows of x of which all tiles are whole are multiples of this */
    IGEMM_LANE_BYTES = 32 * 2 + 4 * 4,  /* a block of one weight row: 16-bit integers, scales and offsets */
    IGEMM_PANEL_BYTES = IGEMM_IN / ROUND_BLOCK * IGEMM_WIDTH * IGEMM_LANE_BYTES,
};
struct igemm_kernels {
    /* As dot[] of dot_kernels, for n_w <= IGEMM_WIDTH; `panel`, IGEMM_PANEL_BYTES at a multiple of 64, is scratch.
     * A value does not depend on the rows and columns beside it, nor on the instruction set. NULL for float types. */
    void (*product[DT_COUNT])(float *y, int64_t y_stride, const struct dot_rows *rows, const void *w, int64_t row_bytes,
                           int64_t n_w, void *panel);
};

/* A matrix in rows that lie `stride` elements apart; `transposed`: its transpose is meant. */
struct operand {
    const float *at;
    int64_t stride;
    bool transposed;
};

/* c [m, n] = scale a b (+ c where `add`), rows of c ldc apart, on the calling thread; m, n, k >= 1. */
typedef void gemm_kernel(float *c, int64_t ldc, float scale, bool add, const struct operand *a, const struct operand *b,
                         int64_t m, int64_t n, int64_t k);
gemm_kernel gemm_avx2;
/* The same by the kernel in use where that is faster, else by SGEMM (gemm.c). */
gemm_kernel gemm_serial;

extern const struct igemm_kernels igemm_kernels_avx2, igemm_kernels_avx512;
extern const struct dot_kernels dot_kernels_scalar, dot_kernels_avx2, dot_kernels_avx512;

struct kernel_table {
    const char *isa;
    const struct dot_kernels *dot;
    const struct row_kernels *row;
    const struct igemm_kernels *igemm; /* NULL (scalar): SGEMM is faster than whole numbers one by one */
    gemm_kernel *gemm;                 /* NULL: always SGEMM */
};

/* The table in use. */
const struct kernel_table *kernels(void);

#endif
