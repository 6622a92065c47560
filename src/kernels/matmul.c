/* matmul: y = x W^T for weights of any format. What is here: the three ways to do it and how the work is cut; the
 * arithmetic is in the dot and igemm kernels and in BLAS.
 *
 * Invariant: the pieces into which the work is cut depend on the shape of the product only. Threads take whole pieces,
 * and no sum is ever split between threads, so every number of threads gives the same bytes. */
#include "kernels/table.h"

#include <omp.h>
#include <stdatomic.h>

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(x, low, high) MAX(low, MIN(x, high))

/* Up to this many rows of x the weights are multiplied where they lie. Microseconds for 1536 x 768 on one core of
 * Zen 4, here / as many rows. AVX-512: Q4_1 12 rows 399 / 374, 16 rows 661 / 419; Q6_K 451 / 581, 601 / 637; F16 702 / 747,
 * 32 rows 1560 / 1117; F32 862 / 760, 1477 / 1123. AVX2: Q4_1 12 rows 378 / 443, 16 rows 503 / 538. */
#define FEW_ROWS 16

/* Many rows in f32: a panel of weights as f32, at most MAX_PANEL columns of y by PANEL_IN of the inner dimension; it
 * stays in the cache. One core with AVX-512, the layers of SmolLM2 for 512 rows: 91 GFLOP/s, whole matrices of f32 in
 * the cache 93; with 1024 of the inner dimension 81, with panels of 384 columns 81. */
#define MAX_PANEL 192
#define PANEL_IN 2048
#define PANEL_BYTES ((size_t)MAX_PANEL * PANEL_IN * sizeof(float))
/* Narrow matrices are cut finer so that all cores have work: panels down to MIN_PANEL columns, then tiles of x down to
 * MIN_TILE rows, which both cost some speed. */
#define ENOUGH_PANELS 8
#define MIN_PANEL 96
#define ENOUGH_PIECES 16
#define MIN_TILE 128

/* Many rounded rows: a smaller tile would repack its panel for too few of them. */
#define MIN_ROUNDED_TILE 120

/* Few rows: bytes of weights that a thread takes at a time. */
#define CHUNK_BYTES 16384
#define MAX_STRETCHES 128   /* threads beyond as many have no part in it */

#define ALIGNMENT 64

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static int64_t pieces_of(int64_t n, int64_t size) { return (n + size - 1) / size; }

/* ---- rounded rows of x ------------------------------------------------------------------------------------------------- */

/* Bytes of the rounded form of n_rows rows of n elements, see struct dot_rows; whole cache lines. */
static size_t rounded_bytes(int64_t n_rows, int64_t n)
{
    size_t blocks = (size_t)n_rows * (size_t)pieces_of(n, ROUND_BLOCK);
    size_t bytes = blocks * (ROUND_BLOCK * sizeof(int16_t) + 6 * sizeof(float));
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Rounds all rows of x into scratch. */
static struct dot_rows round_rows(const float *x, int64_t n_rows, int64_t n, void *scratch)
{
    int64_t blocks = n_rows * (n / ROUND_BLOCK);
    struct dot_rows rows = { .x = x, .q = scratch, .n_rows = n_rows, .n = n };
    rows.step = (float *)(rows.q + ROUND_BLOCK * blocks);
    rows.sum = rows.step + 2 * blocks;
    rows.pair = rows.sum + 2 * blocks;
#pragma omp parallel for schedule(static) if (n_rows > FEW_ROWS)
    for (int64_t i = 0; i < n_rows; i++) kernels()->dot->round_row(&rows, i);
    return rows;
}

/* n_rows of them from row i on. */
static struct dot_rows some_rows(const struct dot_rows *rows, int64_t i, int64_t n_rows)
{
    int64_t block = i * (rows->n / ROUND_BLOCK);
    return (struct dot_rows){
        .x = rows->x + i * rows->n, .q = rows->q + ROUND_BLOCK * block, .step = rows->step + 2 * block,
        .sum = rows->sum + 2 * block, .pair = rows->pair + 2 * block, .n_rows = n_rows, .n = rows->n,
    };
}

/* ---- few rows -------------------------------------------------------------------------------------------------------- */

/* Rows of a weight matrix that are taken at a time: with 16 floats in y no cache lines are shared. */
static int64_t rows_at_a_time(const struct weight *w)
{
    return MAX(round_up(CHUNK_BYTES / dtype_row_bytes(w->type, w->n_in), 16), 16);
}

/* What is left of a thread's stretch of the pieces, next | end << 32 in one word: its thread takes the first, threads that
 * have nothing left take the last. */
struct stretch { _Alignas(ALIGNMENT) _Atomic uint64_t left; };

static uint64_t stretch_of(int64_t next, int64_t end) { return (uint64_t)next | (uint64_t)end << 32; }

/* A piece of the stretch, -1 if none is left. */
static int64_t take(struct stretch *s, bool first)
{
    uint64_t left = atomic_load_explicit(&s->left, memory_order_relaxed);
    for (;;) {
        int64_t next = (int64_t)(left & UINT32_MAX), end = (int64_t)(left >> 32);
        if (next >= end) return -1;
        uint64_t rest = first ? stretch_of(next + 1, end) : stretch_of(next, end - 1);
        if (atomic_compare_exchange_weak_explicit(&s->left, &left, rest, memory_order_relaxed, memory_order_relaxed))
            return first ? next : end - 1;
    }
}

/* Of one's own stretch while there is any, then of the next thread's that has some. */
static int64_t take_any(struct stretch *stretches, int n_threads, int thread)
{
    int64_t piece = take(&stretches[thread], true);
    for (int i = 1; i < n_threads && piece < 0; i++) piece = take(&stretches[(thread + i) % n_threads], false);
    return piece;
}

/* The pieces of all products one after the other. */
struct few {
    const struct product *products;
    const struct dot_rows *rows;
};

static void few_piece(const struct few *few, int64_t piece)
{
    const struct product *p = few->products;
    int64_t n;
    for (; piece >= (n = pieces_of(p->w->n_out, rows_at_a_time(p->w))); p++) piece -= n;
    int64_t chunk = rows_at_a_time(p->w), j = piece * chunk, row_bytes = dtype_row_bytes(p->w->type, p->w->n_in);
    kernels()->dot->dot[p->w->type](p->y + j, p->w->n_out, few->rows, (const char *)p->w->data + j * row_bytes, row_bytes,
                                    MIN(chunk, p->w->n_out - j));
}

/* Each thread takes one stretch of the pieces: the processor's prefetching goes on from piece to piece (1.3 times the speed
 * of pieces handed out in turns, decoding SmolLM2 on two cores of Zen 3). Who is done first helps the others. */
static void few_rows(const struct product *products, int n_products, const float *x, int64_t n_rows, void *scratch)
{
    struct dot_rows rows = { .x = x, .n_rows = n_rows, .n = products[0].w->n_in };
    struct stretch stretches[MAX_STRETCHES];
    int64_t n_pieces = 0;
    bool rounded = false;
    for (int i = 0; i < n_products; i++) {
        n_pieces += pieces_of(products[i].w->n_out, rows_at_a_time(products[i].w));
        rounded |= dtype_infos[products[i].w->type].block > 1;
    }
    if (rounded) rows = round_rows(x, n_rows, rows.n, scratch);
    const struct few few = { products, &rows };
    int n_threads = (int)MIN(MIN(omp_get_max_threads(), MAX_STRETCHES), n_pieces);
    for (int t = 0; t < n_threads; t++)
        atomic_init(&stretches[t].left, stretch_of(n_pieces * t / n_threads, n_pieces * (t + 1) / n_threads));
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
    for (int64_t piece; (piece = take_any(stretches, n_threads, omp_get_thread_num())) >= 0;) few_piece(&few, piece);
}

/* ---- many rows, quantised weights ------------------------------------------------------------------------------------ */

/* True when many rows of x are rounded too, and meet the weights in whole numbers. */
static bool in_whole_numbers(enum dtype type) { return kernels()->igemm && kernels()->igemm->product[type]; }

/* Each piece is a panel of weights, which it repacks, times a tile of rows of x. */
static void many_rounded_rows(float *y, const float *x, int64_t n_rows, const struct weight *w, char *scratch,
                              size_t bytes)
{
    size_t rounded = rounded_bytes(n_rows, w->n_in);
    struct dot_rows rows = round_rows(x, n_rows, w->n_in, scratch);
    int n_panels = (int)MIN((size_t)omp_get_max_threads(), (bytes - rounded) / IGEMM_PANEL_BYTES);
    int64_t row_bytes = dtype_row_bytes(w->type, w->n_in);
    int64_t width = CLAMP(round_up(pieces_of(w->n_out, ENOUGH_PANELS), 32), 32, IGEMM_WIDTH);
    int64_t across = pieces_of(w->n_out, width), tiles = pieces_of(ENOUGH_PIECES, across);
    int64_t tile = MAX(round_up(pieces_of(n_rows, tiles), IGEMM_ROWS), MIN_ROUNDED_TILE);
    int64_t pieces = across * pieces_of(n_rows, tile);
#pragma omp parallel for schedule(dynamic) num_threads(n_panels)
    for (int64_t p = 0; p < pieces; p++) {
        int64_t out0 = p % across * width, row0 = p / across * tile;
        struct dot_rows some = some_rows(&rows, row0, MIN(tile, n_rows - row0));
        kernels()->igemm->product[w->type](y + row0 * w->n_out + out0, w->n_out, &some,
                                       (const char *)w->data + out0 * row_bytes, row_bytes, MIN(width, w->n_out - out0),
                                       scratch + rounded + (size_t)omp_get_thread_num() * IGEMM_PANEL_BYTES);
    }
}

/* ---- many rows in f32 -------------------------------------------------------------------------------------------------- */

/* y [n_rows, n] (+)= x [n_rows, n_in] times n weight rows from out0 on, rounded; `y` points to column out0. */
static void multiply_panel(float *y, const float *x, int64_t n_rows, const struct weight *w, enum rounding to,
                           int64_t out0, int64_t n, float *panel)
{
    const struct dot_kernels *dot = kernels()->dot;
    int64_t row_bytes = dtype_row_bytes(w->type, w->n_in);
    for (int64_t k = 0; k < w->n_in; k += PANEL_IN) {
        int64_t n_k = MIN(PANEL_IN, w->n_in - k);
        const char *from = (const char *)w->data + out0 * row_bytes + dtype_row_bytes(w->type, k);
        for (int64_t j = 0; j < n; j++) dot->widen[w->type](panel + j * n_k, from + j * row_bytes, n_k);
        if (to != ROUND_NONE) kernels()->row->round_to(panel, to, n * n_k);
        struct operand rows = {x + k, w->n_in, false}, weights = {panel, n_k, true};
        gemm_serial(y, w->n_out, 1, k, &rows, &weights, n_rows, n, n_k);
    }
}

/* Each piece is a panel of weights times a tile of rows of x. BLAS runs on one thread inside a parallel region. Tiles are
 * of equal height: 144 rows, a block and its memory, cut into 128 and 16 would widen each panel a second time for 16. */
static void many_rows(float *y, const float *x, int64_t n_rows, const struct weight *w, enum rounding to, float *panels,
                      int n_panels)
{
    int64_t width = CLAMP(round_up(pieces_of(w->n_out, ENOUGH_PANELS), 16), MIN_PANEL, MAX_PANEL);
    int64_t across = pieces_of(w->n_out, width);
    int64_t tiles = CLAMP(n_rows / MIN_TILE, 1, pieces_of(ENOUGH_PIECES, across));
    int64_t tile = round_up(pieces_of(n_rows, tiles), 16);
    int64_t pieces = across * pieces_of(n_rows, tile);
#pragma omp parallel for schedule(dynamic) num_threads(n_panels)
    for (int64_t p = 0; p < pieces; p++) {
        int64_t out0 = p % across * width, row0 = p / across * tile;
        float *panel = panels + (size_t)omp_get_thread_num() * (PANEL_BYTES / sizeof(float));
        multiply_panel(y + row0 * w->n_out + out0, x + row0 * w->n_in, MIN(tile, n_rows - row0), w, to, out0,
                       MIN(width, w->n_out - out0), panel);
    }
}

/* panel: room for a panel of weights */
static void many_rows_f32(float *y, const float *x, int64_t n_rows, const struct weight *w, float *panel)
{
    bool fits = w->n_out * w->n_in <= MAX_PANEL * PANEL_IN;
    if (n_rows < MIN_TILE || !fits || !gemm_in_place(w->n_out, w->n_in)) {
        gemm(y, false, x, false, w->data, true, n_rows, w->n_out, w->n_in);
        return;
    }
    gemm_transpose(panel, w->data, w->n_out, w->n_in);
    gemm(y, false, x, false, panel, false, n_rows, w->n_out, w->n_in);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------- */

size_t matmul_scratch_bytes(int64_t max_rows, int64_t max_in, int n_threads)
{
    size_t rounded = ALIGNMENT + rounded_bytes(max_rows, max_in);
    if (max_rows <= FEW_ROWS) return rounded;
    return MAX(rounded + (size_t)n_threads * IGEMM_PANEL_BYTES, matmul_exact_scratch_bytes(n_threads));
}

size_t matmul_exact_scratch_bytes(int n_threads) { return ALIGNMENT + (size_t)n_threads * PANEL_BYTES; }

void matmul(float *y, const float *x, int64_t n_rows, const struct weight *w, void *scratch, size_t scratch_bytes)
{
    if (n_rows <= 0) return;
    size_t skip = (size_t)(-(uintptr_t)scratch % ALIGNMENT);
    char *aligned = (char *)scratch + skip;
    const struct product one = { y, w };
    if (n_rows <= FEW_ROWS) few_rows(&one, 1, x, n_rows, aligned);
    else if (in_whole_numbers(w->type)) many_rounded_rows(y, x, n_rows, w, aligned, scratch_bytes - skip);
    else matmul_exact(y, x, n_rows, w, scratch, scratch_bytes);
}

void matmul_several(const struct product *products, int n_products, const float *x, int64_t n_rows, void *scratch,
                    size_t scratch_bytes)
{
    if (n_rows <= 0 || n_products <= 0) return;
    size_t skip = (size_t)(-(uintptr_t)scratch % ALIGNMENT);
    if (n_rows <= FEW_ROWS) few_rows(products, n_products, x, n_rows, (char *)scratch + skip);
    else
        for (int i = 0; i < n_products; i++) matmul(products[i].y, x, n_rows, products[i].w, scratch, scratch_bytes);
}

void matmul_exact(float *y, const float *x, int64_t n_rows, const struct weight *w, void *scratch, size_t scratch_bytes)
{
    matmul_rounded(y, x, n_rows, w, ROUND_NONE, scratch, scratch_bytes);
}

void matmul_rounded(float *y, const float *x, int64_t n_rows, const struct weight *w, enum rounding to, void *scratch,
                    size_t scratch_bytes)
{
    if (n_rows <= 0) return;
    size_t skip = (size_t)(-(uintptr_t)scratch % ALIGNMENT);
    int n_panels = (int)MIN((size_t)omp_get_max_threads(), (scratch_bytes - skip) / PANEL_BYTES);
    float *panels = (void *)((char *)scratch + skip);
    if (w->type == DT_F32 && to == ROUND_NONE) many_rows_f32(y, x, n_rows, w, panels);
    else many_rows(y, x, n_rows, w, to, panels, n_panels);
}
