/* kernels: arithmetic on plain arrays. Pure functions: output first, then inputs, then sizes; shapes in brackets;
 * no global state, no allocation (scratch is handed in), 64-bit sizes, no -ffast-math.
 *
 * One table of function pointers is chosen at start from what the processor has (dispatch.c); the scalar version of
 * each kernel is always compiled and is the oracle of the tests. Functions that are parallel use OpenMP with the
 * caller's thread count (omp_set_num_threads) and split outputs into fixed pieces, so that no byte depends on it. */
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- number formats ---------------------------------------------------------------------------------------------- */

enum dtype {
    DT_F32, DT_F16, DT_BF16,
    DT_Q4_0, DT_Q4_1, DT_Q5_0, DT_Q5_1, DT_Q8_0,
    DT_Q2_K, DT_Q3_K, DT_Q4_K, DT_Q5_K, DT_Q6_K,
    DT_COUNT
};

struct dtype_info {
    const char *name;    /* "Q4_1" */
    int64_t block;       /* elements that are stored together; rows are whole blocks */
    int64_t block_bytes;
};
extern const struct dtype_info dtype_infos[DT_COUNT];

/* Bytes of a row of n elements; -1 when n is negative or not whole blocks. */
int64_t dtype_row_bytes(enum dtype type, int64_t n);

float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);   /* round to nearest even */
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);  /* round to nearest even, NaN stays NaN */

/* What numbers may be rounded to, see round_to(). */
enum rounding { ROUND_NONE, ROUND_BF16, ROUND_F16 };

/* A weight matrix as it lies in the file: n_out rows of n_in elements, y = W x. */
struct weight {
    enum dtype type;
    const void *data;
    int64_t n_out, n_in;
};

/* y, a row of the type, from n elements (whole blocks) of x, rounded to nearest as the format's reference does; y lies
 * at a multiple of 2 (F32: 4). False, and y is of no use, when x has a NaN or an infinity, when a value or a block's
 * scale is too large for the type, or when the type is one that can only be read (quantise.c). */
bool quantise_row(enum dtype type, void *y, const float *x, int64_t n);
/* F32, F16, BF16, Q8_0, Q4_0, Q4_1. */
bool dtype_can_write(enum dtype type);

/* ---- matrix products (matmul.c) ---------------------------------------------------------------------------------- */

/* Bytes of scratch that matmul() needs for at most max_rows rows and max_in columns on n_threads threads. */
size_t matmul_scratch_bytes(int64_t max_rows, int64_t max_in, int n_threads);

/* y [n_rows, n_out] = x [n_rows, n_in] W^T. Quantised weights meet x rounded to 16-bit integers by blocks of 32, whose
 * error is below 2^-15 of the block's largest entry: few rows where the weights lie, each weight row read once; many rows
 * by panels of weights repacked for whole-number products of a tile at once (without AVX2 as matmul_exact()). Other
 * weights meet x in f32, many rows by SGEMM: f32 as it lies, others as matmul_exact(). Parallel. */
void matmul(float *y, const float *x, int64_t n_rows, const struct weight *w, void *scratch, size_t scratch_bytes);

/* Several products of the same x, all of one n_in: equal to matmul() one by one. Few rows meet all weights in one parallel
 * loop, so that threads wait for each other once. */
struct product {
    float *y;
    const struct weight *w;
};
void matmul_several(const struct product *products, int n_products, const float *x, int64_t n_rows, void *scratch,
                    size_t scratch_bytes);

/* The same in f32 whatever the weights are: panels of them are widened and go through SGEMM, f32 as it lies. For who compares rows
 * that differ by less than that rounding. */
void matmul_exact(float *y, const float *x, int64_t n_rows, const struct weight *w, void *scratch, size_t scratch_bytes);
size_t matmul_exact_scratch_bytes(int n_threads);

/* matmul_exact() with every weight rounded first, panel by panel: w stays as it is and is not copied. The same bytes as
 * of matmul_exact() with a matrix that holds the rounded weights as DT_BF16 or DT_F16. */
void matmul_rounded(float *y, const float *x, int64_t n_rows, const struct weight *w, enum rounding to, void *scratch,
                    size_t scratch_bytes);

/* y [n] = row `row` of w as f32. */
void weight_row(float *y, const struct weight *w, int64_t row);

/* ---- products of f32 matrices (gemm.c) --------------------------------------------------------------------------- */

/* c [m, n] = a b (+ c where `add`), a [m, k] and b [k, n] in rows; transposed ones lie as [k, m] and [n, k]; n, k >= 1.
 * Parallel. */
void gemm(float *c, bool add, const float *a, bool a_transposed, const float *b, bool b_transposed, int64_t m,
          int64_t n, int64_t k);
/* The same of matrices whose rows lie ldc, lda, ldb elements apart. */
void gemm_strided(float *c, int64_t ldc, bool add, const float *a, int64_t lda, bool a_transposed, const float *b,
                  int64_t ldb, bool b_transposed, int64_t m, int64_t n, int64_t k);
/* True where b is so small (and the processor such) that for many rows a product with b [k, n] in rows is faster than
 * with b transposed, even when it must be brought into that order first. */
bool gemm_in_place(int64_t n, int64_t k);
/* y [n, m] = x [m, n] transposed */
void gemm_transpose(float *y, const float *x, int64_t m, int64_t n);

/* ---- rows (rows.c): all parallel over rows where that pays ------------------------------------------------------- */

/* y[i] = x[i] / rms(x[i]) * w; x, y [n_rows, n]; in place allowed. */
void rms_norm(float *y, const float *x, const float *w, float eps, int64_t n_rows, int64_t n);
/* y[i] = (x[i] - mean) / sqrt(var + eps) * w + b; b may be NULL. */
void layer_norm(float *y, const float *x, const float *w, const float *b, float eps, int64_t n_rows, int64_t n);
/* x[i] += b, for every row i. */
void add_bias(float *x, const float *b, int64_t n_rows, int64_t n);
/* y += x; y *= s */
void add_to(float *y, const float *x, int64_t n);
void scale_by(float *y, float s, int64_t n);

enum activation { ACT_SILU, ACT_GELU_TANH, ACT_GELU_ERF, ACT_RELU };
/* y = act(y) */
void activate(float *y, enum activation act, int64_t n);
/* gate = act(gate) * up */
void activate_gated(float *gate, const float *up, enum activation act, int64_t n);

/* Angles of rotary positions: turns [n_rows, rope_dim/2] pairs (cos, sin) from positions and inverse frequencies,
 * computed in double so that position ten million is as exact as position ten. `scale` multiplies both (yarn). */
void rope_angles(float *cos_sin, const int64_t *positions, int64_t n_rows, const double *inv_freq, int64_t half,
                 float scale);
/* The same at places between the tokens. */
void rope_angles_between(float *cos_sin, const double *positions, int64_t n_rows, const double *inv_freq, int64_t half,
                         float scale);
/* Turns the first 2*half elements of each head of y [n_rows, n_heads, head_dim] by cos_sin [n_rows, half, 2].
 * Pairs are (i, i + half), or (2i, 2i + 1) when interleaved. */
void rope_apply(float *y, const float *cos_sin, int64_t n_rows, int64_t n_heads, int64_t head_dim, int64_t half,
                bool interleaved);

/* x = cap * tanh(x / cap) */
void soft_cap(float *x, float cap, int64_t n);
/* -log softmax(logits)[target] in double accumulation. */
float cross_entropy(const float *logits, int64_t n, int64_t target);

/* Rounds every element to the nearest value of the format (ties to even) and keeps it as f32. f16 overflow -> inf. */
void round_to(float *x, enum rounding to, int64_t n);
/* f32 <-> f16 arrays. */
void f32_to_f16_row(uint16_t *y, const float *x, int64_t n);
void f16_to_f32_row(float *y, const uint16_t *x, int64_t n);

/* ---- attention over spans (attention.c) -------------------------------------------------------------------------- */

/* A stretch of keys and values with consecutive positions, and which of them a row may see. The kernel knows nothing of
 * blocks, rings or memories. Row i (position p) sees key j (position q = first_position + j):
 *   SPAN_ALL     always
 *   SPAN_CAUSAL  q <= p
 *   SPAN_BAND    p - band < q <= p
 * With `rows` > 0 only rows [row0, row0 + rows) of the call see the span at all.
 * K and V lie as [n_kv_heads][keys][head_dim]: key j of head h at element h * head_stride + j * head_dim. */
enum span_rule { SPAN_ALL, SPAN_CAUSAL, SPAN_BAND };
struct attn_span {
    const void *k, *v;           /* f32, f16 or Q8_0, see attn_shape.kv_type */
    int64_t head_stride;         /* elements from one head's keys to the next head's; Q8_0: whole blocks */
    int64_t n_keys;
    int64_t first_position;
    enum span_rule rule;
    int64_t band;
    const float *q;              /* rows' queries for this span, [n_rows, n_heads, head_dim]; NULL = the call's own */
    const int64_t *q_positions;  /* [n_rows] positions for ALiBi distances to this span; NULL = the call's own */
    int64_t row0, rows;          /* rows = 0: all rows of the call */
};

struct attn_shape {
    int64_t n_heads, n_kv_heads, head_dim;
    float scale;                 /* multiplies q.k */
    float soft_cap;              /* > 0: scores = cap * tanh(scores / cap) */
    const float *alibi;          /* [n_heads] slopes m: score -= m * |p - q|; NULL = none */
    const float *slope_factors;  /* [n_rows] a row's slopes are multiplied by this as well; NULL = not */
    enum dtype kv_type;          /* DT_F32, DT_F16, or DT_Q8_0 where head_dim is a multiple of 32 */
};

/* Bytes of scratch for attention() on n_threads threads. */
size_t attention_scratch_bytes(const struct attn_shape *shape, int n_threads);
/* out [n_rows, n_heads, head_dim] = softmax over all visible keys of all spans (q k^T scale + ..) v, by blocks with a
 * running maximum: never n_rows x n_keys in memory. All query heads of a group share one pass over K and V. A row that
 * sees nothing gives zeros. Parallel over (kv head, row block). */
void attention(float *out, const float *q, const int64_t *positions, int64_t n_rows, const struct attn_span *spans,
               size_t n_spans, const struct attn_shape *shape, void *scratch, size_t scratch_bytes);

/* ---- which instruction set --------------------------------------------------------------------------------------- */

/* "scalar", "avx2", "avx512": the best that processor and build have, or what SNELLEN_ISA names if it is available. */
const char *kernels_isa(void);
/* For tests: chooses by name; false when this processor does not have it. Not while kernels run. */
bool kernels_choose(const char *isa);

#endif
