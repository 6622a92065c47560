/* igemm_body: products of many rows of x with quantised weights in whole numbers, for x86 processors with AVX2; included
 * by one source file for each instruction set, which brings vectors and the size of a tile:
 *
 *     LANES, TILE_ROWS                                a tile of y is at most TILE_ROWS rows by WIDTH = 2 LANES columns
 *     ints, floats                                    vectors of LANES 32-bit integers, floats; loads, broadcasts ..
 *     ints add_products(ints sum, ints a, ints b)     lane i = sum[i] + a[2i] b[2i] + a[2i + 1] b[2i + 1]
 *
 * WIDTH weight rows are repacked into a strip: the lanes of a vector are weight rows, a lane is a pair of weights as
 * 16-bit integers, so that a pair of rounded entries of x, broadcast, meets all rows of the strip at once. A block of
 * 32 weights of each row is (pairs in the order of struct dot_rows: entries 0 2, 4 6, .. 28 30, 1 3, 5 7, .. 29 31)
 *
 *     w[0]    | row 0: w0 w2 | row 1: w0 w2 | .. | row WIDTH - 1: w0 w2 |
 *     w[1]    | row 0: w4 w6 | row 1: w4 w6 | ..
 *     ..
 *     w[15]   | row 0: w29 w31 | ..
 *
 * with |w| <= 255 and |x| <= 32512: sums over a block are whole numbers below 2^28. They meet the scale of the weights
 * and the step of x in f32, once a block; formats of which w = scale * whole number + offset add offset times the sum
 * of x. All of it happens in the same order for each element of y, so what a row gives depends neither on the rows
 * beside it nor on the instruction set. */
#ifndef KERNELS_IGEMM_BODY_H
#define KERNELS_IGEMM_BODY_H

#include "kernels/formats_body.h"
#include "kernels/lanes_8.h"

#define UNROLL _Pragma("GCC unroll 4")

enum { WIDTH = 2 * LANES };
_Static_assert(IGEMM_WIDTH % WIDTH == 0 && IGEMM_ROWS % TILE_ROWS == 0, "panels are whole strips, pieces whole tiles");

struct strip_block {
    int16_t w[16][WIDTH][2];
    float scale[2][WIDTH], offset[2][WIDTH]; /* of entries 0..15 and 16..31; formats with one for 32 use the first */
};
_Static_assert(sizeof(struct strip_block) == WIDTH * IGEMM_LANE_BYTES, "IGEMM_PANEL_BYTES is what a panel takes");

/* ---- what formats are made of ------------------------------------------------------------------------------------------ */

/* Scales for each 16, not for each 32. */
INLINE bool has_halves(enum dtype type) { return type == DT_Q2_K || type == DT_Q3_K || type == DT_Q6_K; }

/* Offsets of their own; the others have -zero() times the scale, which whole numbers with a sign hold. */
INLINE bool has_offset(enum dtype type)
{
    return type == DT_Q4_1 || type == DT_Q5_1 || type == DT_Q2_K || type == DT_Q4_K || type == DT_Q5_K;
}

/* The u that stands for 0. */
INLINE int16_t zero_of(enum dtype type)
{
    switch (type) {
    case DT_Q4_0: return 8;
    case DT_Q5_0: return 16;
    case DT_Q8_0: return 128;
    case DT_Q3_K: return 4;
    case DT_Q6_K: return 32;
    default: return 0;
    }
}

/* ---- packing ----------------------------------------------------------------------------------------------------------- */

/* A block of eight weight rows, which begin at lane `lane` of the strip. */
INLINE void pack_u(struct strip_block *to, int lane, const __m256i u[8], int16_t zero)
{
    __m256i even[8], odd[8];
    for (int i = 0; i < 8; i++) {
        even[i] = _mm256_sub_epi16(even_bytes(u[i]), _mm256_set1_epi16(zero));
        odd[i] = _mm256_sub_epi16(odd_bytes(u[i]), _mm256_set1_epi16(zero));
    }
    transpose_8(even);
    transpose_8(odd);
    for (int i = 0; i < 8; i++) {
        _mm256_storeu_si256((__m256i_u *)to->w[i][lane], even[i]);
        _mm256_storeu_si256((__m256i_u *)to->w[i + 8][lane], odd[i]);
    }
}

INLINE void pack_blocks(enum dtype type, struct strip_block *to, int lane, const char *const rows[8], int64_t n)
{
    for (int64_t b = 0; b < n / 32; b++, to++) {
        __m256i u[8];
        for (int i = 0; i < 8; i++) {
            const char *block = rows[i] + b * block_bytes(type);
            float both[4];
            u[i] = block_u(type, block);
            _mm_storeu_ps(both, block_scale(type, block));
            to->scale[0][lane + i] = both[0];
            if (has_offset(type)) to->offset[0][lane + i] = both[1];
        }
        pack_u(to, lane, u, zero_of(type));
    }
}

/* Scales and offsets of a super-block, for lane `lane` of its eight blocks. */
INLINE void pack_super_scales(enum dtype type, struct strip_block *to, int lane, const char *super)
{
    __m256 s[2], m[2];
    float scale[16], offset[16];
    super_scales(type, super, s, m);
    for (int h = 0; h < 2; h++) {
        _mm256_storeu_ps(scale + 8 * h, s[h]);
        _mm256_storeu_ps(offset + 8 * h, m[h]);
    }
    for (int g = 0; g < 16; g += has_halves(type) ? 1 : 2) {
        to[g / 2].scale[g % 2][lane] = scale[g];
        if (has_offset(type)) to[g / 2].offset[g % 2][lane] = offset[g];
    }
}

INLINE void pack_supers(enum dtype type, struct strip_block *to, int lane, const char *const rows[8], int64_t n)
{
    for (int64_t b = 0; b < n / SUPER; b++, to += 8) {
        for (int i = 0; i < 8; i++) pack_super_scales(type, to, lane + i, rows[i] + b * block_bytes(type));
        for (int g = 0; g < 8; g++) {
            __m256i u[8];
            for (int i = 0; i < 8; i++) u[i] = super_u(type, rows[i] + b * block_bytes(type), g);
            pack_u(to + g, lane, u, zero_of(type));
        }
    }
}

/* n_w <= WIDTH weight rows of n elements. Lanes behind them repeat the last row; nobody reads what they give. */
INLINE void pack_strip(enum dtype type, struct strip_block *strip, const char *w, int64_t row_bytes, int64_t n_w,
                       int64_t n)
{
    for (int lane = 0; lane < WIDTH; lane += 8) {
        const char *rows[8];
        for (int i = 0; i < 8; i++) rows[i] = w + (lane + i < n_w ? lane + i : n_w - 1) * row_bytes;
        if (kind_of(type) == KIND_BLOCK) pack_blocks(type, strip, lane, rows, n);
        else pack_supers(type, strip, lane, rows, n);
    }
}

/* ---- products ---------------------------------------------------------------------------------------------------------- */

/* Two neighbouring entries of x in every lane. */
INLINE ints broadcast_pair(const int16_t q[2])
{
    int32_t pair;
    memcpy(&pair, q, sizeof(pair));
    return broadcast_int(pair);
}

/* sum[r][c] = products over one scale: pairs first .. first + n of the even entries and as many of the odd ones. */
INLINE void sum_pairs(int R, ints sum[][2], const struct strip_block *block, const int16_t *const q[], int first, int n)
{
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = no_ints();
    UNROLL for (int i = first; i < first + n; i++)
        for (int pair = i; pair < 16; pair += 8) {
            ints w0 = load_ints(block->w[pair]), w1 = load_ints(block->w[pair] + LANES);
            for (int r = 0; r < R; r++) {
                ints x = broadcast_pair(q[r] + 2 * pair);
                sum[r][0] = add_products(sum[r][0], w0, x);
                sum[r][1] = add_products(sum[r][1], w1, x);
                hold(&sum[r][0]);
                hold(&sum[r][1]);
            }
        }
}

/* y [R, WIDTH] = R rows of x from row i on times a strip of n_blocks, blocks k0 .. of the rows; += if k0 > 0. */
INLINE void multiply_tile(enum dtype type, int R, float *y, int64_t y_stride, const struct dot_rows *rows, int64_t i,
                          const struct strip_block *strip, int64_t k0, int64_t n_blocks)
{
    const bool halves = has_halves(type), offsets = has_offset(type);
    floats acc[TILE_ROWS][2];
    const int16_t *q[TILE_ROWS];
    const float *step[TILE_ROWS], *sum_x[TILE_ROWS];
    for (int r = 0; r < R; r++) {
        int64_t at = (i + r) * (rows->n / 32) + k0;
        q[r] = rows->q + 32 * at;
        step[r] = halves ? rows->step + 2 * at : rows->pair + 2 * at;
        sum_x[r] = halves ? rows->sum + 2 * at : rows->pair + 2 * at + 1;
        for (int c = 0; c < 2; c++) acc[r][c] = k0 ? load_floats(y + r * y_stride + c * LANES) : no_floats();
    }
    for (int64_t b = 0; b < n_blocks; b++, strip++) {
        UNROLL for (int h = 0; h <= halves; h++) {
            ints sum[TILE_ROWS][2];
            sum_pairs(R, sum, strip, q, halves ? 4 * h : 0, halves ? 4 : 8);
            for (int c = 0; c < 2; c++) {
                floats scale = load_floats(strip->scale[h] + c * LANES);
                for (int r = 0; r < R; r++)
                    acc[r][c] = fused(product(floats_of(sum[r][c]), scale), broadcast_float(step[r] + h), acc[r][c]);
            }
            for (int c = 0; c < 2 && offsets; c++) {
                floats offset = load_floats(strip->offset[h] + c * LANES);
                for (int r = 0; r < R; r++) acc[r][c] = fused(offset, broadcast_float(sum_x[r] + h), acc[r][c]);
            }
        }
        for (int r = 0; r < R; r++) q[r] += 32, step[r] += 2, sum_x[r] += 2;
    }
    for (int r = 0; r < R; r++)
        for (int c = 0; c < 2; c++) store_floats(y + r * y_stride + c * LANES, acc[r][c]);
}

/* The same for the n_w first columns; a tile at the edge is made in a copy. */
INLINE void multiply_edge(enum dtype type, int R, float *y, int64_t y_stride, int64_t n_w, const struct dot_rows *rows,
                          int64_t i, const struct strip_block *strip, int64_t k0, int64_t n_blocks)
{
    float tile[TILE_ROWS][WIDTH];
    if (n_w >= WIDTH) {
        multiply_tile(type, R, y, y_stride, rows, i, strip, k0, n_blocks);
        return;
    }
    memset(tile, 0, sizeof(tile));
    for (int r = 0; r < R && k0; r++) memcpy(tile[r], y + r * y_stride, (size_t)n_w * sizeof(float));
    multiply_tile(type, R, tile[0], WIDTH, rows, i, strip, k0, n_blocks);
    for (int r = 0; r < R; r++) memcpy(y + r * y_stride, tile[r], (size_t)n_w * sizeof(float));
}

INLINE void igemm_any(enum dtype type, float *y, int64_t y_stride, const struct dot_rows *rows, const char *w,
                     int64_t row_bytes, int64_t n_w, void *panel)
{
    struct strip_block *strips = panel;
    int64_t n_strips = (n_w + WIDTH - 1) / WIDTH;
    for (int64_t k = 0; k < rows->n; k += IGEMM_IN) {
        int64_t n = rows->n - k < IGEMM_IN ? rows->n - k : IGEMM_IN, n_blocks = n / 32;
        const char *from = w + k / dtype_infos[type].block * block_bytes(type);
        for (int64_t s = 0; s < n_strips; s++)
            pack_strip(type, strips + s * n_blocks, from + s * WIDTH * row_bytes, row_bytes, n_w - s * WIDTH, n);
        for (int64_t i = 0; i < rows->n_rows; i += TILE_ROWS)
            for (int64_t s = 0; s < n_strips; s++) {
                float *to = y + i * y_stride + s * WIDTH;
                const struct strip_block *strip = strips + s * n_blocks;
                int64_t left = n_w - s * WIDTH;
                switch (rows->n_rows - i) {
                case 1: multiply_edge(type, 1, to, y_stride, left, rows, i, strip, k / 32, n_blocks); break;
                case 2: multiply_edge(type, 2, to, y_stride, left, rows, i, strip, k / 32, n_blocks); break;
                case 3: multiply_edge(type, 3, to, y_stride, left, rows, i, strip, k / 32, n_blocks); break;
#if TILE_ROWS > 4
                case 4: multiply_edge(type, 4, to, y_stride, left, rows, i, strip, k / 32, n_blocks); break;
                case 5: multiply_edge(type, 5, to, y_stride, left, rows, i, strip, k / 32, n_blocks); break;
#endif
                default: multiply_edge(type, TILE_ROWS, to, y_stride, left, rows, i, strip, k / 32, n_blocks);
                }
            }
    }
}

#define IGEMM_OF(type)                                                                                                 \
    static void igemm_##type(float *y, int64_t y_stride, const struct dot_rows *rows, const void *w, int64_t row_bytes,\
                            int64_t n_w, void *panel)                                                                  \
    {                                                                                                                  \
        igemm_any(DT_##type, y, y_stride, rows, w, row_bytes, n_w, panel);                                             \
    }
IGEMM_OF(Q4_0)
IGEMM_OF(Q4_1)
IGEMM_OF(Q5_0)
IGEMM_OF(Q5_1)
IGEMM_OF(Q8_0)
IGEMM_OF(Q2_K)
IGEMM_OF(Q3_K)
IGEMM_OF(Q4_K)
IGEMM_OF(Q5_K)
IGEMM_OF(Q6_K)

#define IGEMM_KERNELS                                                                                                  \
    {                                                                                                                  \
        .product = {                                                                                                   \
            [DT_Q4_0] = igemm_Q4_0, [DT_Q4_1] = igemm_Q4_1, [DT_Q5_0] = igemm_Q5_0, [DT_Q5_1] = igemm_Q5_1,            \
            [DT_Q8_0] = igemm_Q8_0, [DT_Q2_K] = igemm_Q2_K, [DT_Q3_K] = igemm_Q3_K, [DT_Q4_K] = igemm_Q4_K,            \
            [DT_Q5_K] = igemm_Q5_K, [DT_Q6_K] = igemm_Q6_K,                                                            \
        },                                                                                                             \
    }

#endif
