/* avx2_gemm: small products of f32 matrices with AVX2 and FMA, on the calling thread. What SGEMM spends on packing
 * both matrices and on a pass over c before it begins is most of the time where a side is short.
 *
 *     for each DEPTH of the sum, for each WIDTH columns of b:    a strip [DEPTH, WIDTH] is copied, 20 KB
 *         for each ROWS rows of a, where they lie:               a tile [ROWS, WIDTH] of c in 12 registers
 *
 *     strip    | b[0][0..15] | b[1][0..15] | .. | b[DEPTH - 1][0..15] |     zeros beyond the last column
 *
 * The sum of an element of c runs over k in order, in pieces of DEPTH, so that it depends on nothing beside it. */
#include "base/base.h"
#include "kernels/lanes_8.h"
#include "kernels/table.h"

enum { LANES = 8, VECTORS = 2, ROWS = 6, WIDTH = VECTORS * LANES, DEPTH = 320, HEIGHT = 240 };
/* A transposed `a` has its rows' next elements far apart: from this depth on they are brought together first. */
enum { GATHER_DEPTH = 64 };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 8")

/* A matrix by its strides: element (i, j) is at[i * row + j * column]. */
struct view {
    const float *at;
    int64_t row, column;
};

static struct view view_of(const struct operand *x)
{
    return x->transposed ? (struct view){x->at, 1, x->stride} : (struct view){x->at, x->stride, 1};
}

static struct view from(const struct view *x, int64_t i, int64_t j)
{
    return (struct view){x->at + i * x->row + j * x->column, x->row, x->column};
}

/* ---- a strip of b ------------------------------------------------------------------------------------------------ */

/* n <= WIDTH columns that lie beside each other */
static void copy_strip(float *strip, const struct view *b, int64_t n, int64_t depth)
{
    __m256i first = first_lanes(n), second = first_lanes(n - LANES);
    for (int64_t k = 0; k < depth; k++, strip += WIDTH) {
        const float *x = b->at + k * b->row;
        _mm256_store_ps(strip, _mm256_maskload_ps(x, first));
        _mm256_store_ps(strip + LANES, _mm256_maskload_ps(x + LANES, second));
    }
}

/* n <= WIDTH columns of which each lies in one piece */
static void turn_strip(float *strip, const struct view *b, int64_t n, int64_t depth)
{
    for (int64_t j = 0; j < WIDTH; j += LANES) {
        const float *x = b->at + j * b->column;
        int64_t k = 0;
        for (; k + LANES <= depth; k += LANES) {
            __m256i v[LANES];
            UNROLL for (int i = 0; i < LANES; i++)
                v[i] = j + i < n ? _mm256_loadu_si256((const __m256i_u *)(x + i * b->column + k))
                                 : _mm256_setzero_si256();
            transpose_8(v);
            UNROLL for (int i = 0; i < LANES; i++)
                _mm256_store_si256((__m256i *)(strip + (k + i) * WIDTH + j), v[i]);
        }
        for (; k < depth; k++)
            for (int i = 0; i < LANES; i++) strip[k * WIDTH + j + i] = j + i < n ? x[i * b->column + k] : 0;
    }
}

/* ---- tiles of c -------------------------------------------------------------------------------------------------- */

/* Where a tile goes: `left` columns of its last vector exist. */
struct target {
    float *c;
    int64_t stride, left;
    float scale;
    bool add;
};

INLINE void store(const struct target *to, float *c, __m256 sum, bool whole)
{
    __m256 scale = _mm256_set1_ps(to->scale);
    __m256i lanes = first_lanes(whole ? LANES : to->left);
    __m256 y = to->add ? _mm256_fmadd_ps(sum, scale, whole ? _mm256_loadu_ps(c) : _mm256_maskload_ps(c, lanes))
                       : _mm256_mul_ps(sum, scale);
    if (whole) _mm256_storeu_ps(c, y);
    else _mm256_maskstore_ps(c, lanes, y);
}

/* n rows by n_vectors vectors. Its lines of c are asked for before the sums, which take longer than memory does. */
INLINE void tile(const int n, const int n_vectors, const struct target *to, const struct view *a, const float *strip,
                 int64_t depth)
{
    __m256 sum[ROWS][VECTORS];
    for (int r = 0; r < n; r++) {
        __builtin_prefetch(to->c + r * to->stride, 1);
        __builtin_prefetch(to->c + r * to->stride + WIDTH - 1, 1);
        UNROLL for (int v = 0; v < n_vectors; v++) sum[r][v] = _mm256_setzero_ps();
    }
    for (int64_t k = 0; k < depth; k++) {
        __m256 b[VECTORS];
        UNROLL for (int v = 0; v < n_vectors; v++) b[v] = _mm256_load_ps(strip + k * WIDTH + v * LANES);
        UNROLL for (int r = 0; r < n; r++) {
            __m256 x = _mm256_broadcast_ss(a->at + r * a->row + k * a->column);
            UNROLL for (int v = 0; v < n_vectors; v++) sum[r][v] = _mm256_fmadd_ps(x, b[v], sum[r][v]);
        }
    }
    UNROLL for (int r = 0; r < n; r++)
        UNROLL for (int v = 0; v < n_vectors; v++)
            store(to, to->c + r * to->stride + v * LANES, sum[r][v], v < n_vectors - 1 || to->left == LANES);
}

/* Rows in tiles that begin `next` elements apart in a. */
INLINE void tiles(const int n_vectors, struct target to, struct view a, int64_t next, const float *strip, int64_t rows,
                  int64_t depth)
{
    for (; rows >= ROWS; rows -= ROWS, a.at += next, to.c += ROWS * to.stride)
        tile(ROWS, n_vectors, &to, &a, strip, depth);
    switch (rows) {
    case 1: tile(1, n_vectors, &to, &a, strip, depth); break;
    case 2: tile(2, n_vectors, &to, &a, strip, depth); break;
    case 3: tile(3, n_vectors, &to, &a, strip, depth); break;
    case 4: tile(4, n_vectors, &to, &a, strip, depth); break;
    case 5: tile(5, n_vectors, &to, &a, strip, depth); break;
    }
}

static void one_vector(struct target to, struct view a, int64_t next, const float *strip, int64_t rows, int64_t depth)
{
    tiles(1, to, a, next, strip, rows, depth);
}

static void two_vectors(struct target to, struct view a, int64_t next, const float *strip, int64_t rows, int64_t depth)
{
    tiles(2, to, a, next, strip, rows, depth);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

/* Tiles of a transposed a: [tile][k][ROWS]. Eight elements are stored where six count; the next go over the rest. */
static struct view gather(float *to, const struct view *a, int64_t rows, int64_t depth)
{
    struct view gathered = {to, 1, ROWS};
    for (int64_t r = 0; r < rows; r += ROWS) {
        __m256i lanes = first_lanes(rows - r);
        for (int64_t k = 0; k < depth; k++, to += ROWS)
            _mm256_storeu_ps(to, _mm256_maskload_ps(a->at + r + k * a->column, lanes));
    }
    return gathered;
}

static void piece(struct target to, const struct view *a, const struct view *b, int64_t rows, int64_t n, int64_t depth,
                  float *strip, float *gathered)
{
    struct view x = *a;
    int64_t next = ROWS * a->row;
    if (a->row == 1 && depth > GATHER_DEPTH) {
        x = gather(gathered, a, rows, depth);
        next = ROWS * depth;
    }
    for (int64_t j = 0; j < n; j += WIDTH, to.c += WIDTH) {
        struct view columns = from(b, 0, j);
        (b->column == 1 ? copy_strip : turn_strip)(strip, &columns, MIN(WIDTH, n - j), depth);
        to.left = MIN(n - j, WIDTH) > LANES ? MIN(n - j, WIDTH) - LANES : n - j;
        (MIN(n - j, WIDTH) > LANES ? two_vectors : one_vector)(to, x, next, strip, rows, depth);
    }
}

void gemm_avx2(float *c, int64_t ldc, float scale, bool add, const struct operand *a, const struct operand *b,
                  int64_t m, int64_t n, int64_t k)
{
    _Alignas(64) float strip[DEPTH * WIDTH];
    _Alignas(64) float gathered[(HEIGHT + ROWS) * DEPTH + LANES];
    struct view va = view_of(a), vb = view_of(b);
    for (int64_t i = 0; i < m; i += HEIGHT)
        for (int64_t d = 0; d < k; d += DEPTH) {
            struct view some = from(&va, i, d), rows = from(&vb, d, 0);
            struct target to = {.c = c + i * ldc, .stride = ldc, .scale = scale, .add = add || d};
            piece(to, &some, &rows, MIN(HEIGHT, m - i), n, MIN(DEPTH, k - d), strip, gathered);
        }
}
