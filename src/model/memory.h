/* What a memory is to the decoder: the keeper of keys and values, who says which of them a row may see.
 *
 * The decoder runs a batch of rows through all layers:
 *
 *     begin(memory, batch)                      rows and positions are known, nothing is computed yet
 *     for each layer: store(layer, k, v)        the batch's keys (already turned) and values go in
 *                     spans(layer, list)        what the batch's rows may see, the new keys included
 *     end(memory)                               the batch is part of the past now
 *
 * A memory may have rows of its own, which go through the layers alone or behind a batch's rows: struct memory_passes,
 * struct memory_riders.
 *
 * The decoder knows no memory by name; src/memory implements this header, one file a memory. */
#ifndef MODEL_MEMORY_H
#define MODEL_MEMORY_H

#include "base/base.h"
#include "kernels/kernels.h"
#include "model/state.h"

/* Rows [row0, row0 + rows) of a batch that continue the first `keep` tokens of the session instead of all of them, see
 * snellen_session_branches(). The first row's position is keep + placed: so many rows of the same branch went through in
 * the batches just before this one. */
struct row_group {
    int64_t row0, rows, keep, placed;
    int64_t lane;               /* in a batch of lanes (below), where keep and placed mean nothing */
};

/* Rows that go through the layers together. */
struct batch {
    const int32_t *tokens;      /* [n_rows] */
    const int64_t *positions;   /* [n_rows] absolute positions in the text */
    int64_t n_rows;
    const struct row_group *groups;  /* NULL: all rows continue the session and stay; else they are forgotten at end */
    size_t n_groups;
};

struct memory;
/* The sizes that a memory is made for. */
struct memory_shape {
    int64_t n_layers, n_kv_heads, head_dim;
    const uint8_t *windowed;    /* [n_layers] 1 = the layer has the model's window; NULL = none */
    int64_t model_window;       /* tokens; 0 = none */
    enum dtype kv_type;         /* DT_F32, DT_F16 or DT_Q8_0 */
    int64_t n_context;          /* full: most tokens */
    int64_t max_position;       /* positions the model has at all (learned ones); INT64_MAX = no end */
    int64_t chunk;              /* most rows of a batch */
    int64_t window, sinks;      /* swa, sink; window: xl */
    int64_t block, segments;    /* bswa, xl, fam */
    int64_t fam, fam_blocks;    /* fam: rows, and how many blocks' rows are seen */
    snellen_fam_positions fam_positions;
    int64_t n_heads, d_model;   /* of the rows */
    const float *prompt;        /* [fam, d_model] or [n_layers, fam, d_model] where prompt_each_layer */
    bool prompt_each_layer;
};

/* Spans a memory lists for a batch without groups, those of its own rows included. */
enum { MEMORY_MAX_FAM_BLOCKS = 8, MEMORY_MAX_SPANS = 5 + MEMORY_MAX_FAM_BLOCKS };

/* Rows of a memory's own, n_rows of them, that run up through the layers alone, before a batch begins: for as long as
 * run() gives rows. In each layer the rows' keys and values are kept, then the rows see the spans. */
struct memory_passes {
    const float *(*run)(struct memory *m);               /* [n_rows, d_model] that enter the first layer; NULL = none now */
    const double *(*positions)(const struct memory *m);  /* [n_rows] where they stand */
    void (*enter)(struct memory *m, int64_t layer, const float *x);  /* x [n_rows, d_model] enters the layer; may be NULL */
    void (*keep)(struct memory *m, int64_t layer, const float *k, const float *v);
    size_t (*spans)(const struct memory *m, int64_t layer, struct attn_span *spans);
    void (*done)(struct memory *m, const float *x);      /* x has left the last layer */
};

/* Rows of each layer's own, n_rows of them, that go through that layer behind the rows of a batch, and not on to the next
 * layer (fam, arXiv 2404.09173). In the first batch of a block the rows are projected: their keys and values are what
 * the block sees of them. In the batch that completes a block they attend: their queries see themselves and the block, and
 * the layer's result takes their place. Both at once in a batch that is a whole block. */
struct memory_riders {
    bool (*project)(const struct memory *m), (*attend)(const struct memory *m);   /* in the batch that was begun */
    float *(*rows)(struct memory *m, int64_t layer);     /* [n_rows, d_model] to be read and replaced */
    float *(*queries)(struct memory *m, int64_t layer);  /* [n_rows, n_heads * head_dim] not turned; the same */
    /* [n_rows] where the rows stand, as keys; where those stand that this batch makes, as queries. */
    const double *(*key_positions)(const struct memory *m);
    const double *(*query_positions)(const struct memory *m);
    void (*keep)(struct memory *m, int64_t layer, const float *k, const float *v);
    /* What attending rows see: at most two spans. */
    size_t (*spans)(const struct memory *m, int64_t layer, struct attn_span *spans);
    bool (*carry_on)(const struct memory *m);            /* the result is added to the rows; false: it replaces them */
    void (*carried)(struct memory *m);                   /* the rows, just written to an empty memory, carry a context */
};

struct memory_ops {
    const char *name;
    snellen_memory_kind kind;
    bool branches;              /* understands batch.groups */
    bool shifts_positions;      /* needs positions that can shift (rotary, ALiBi), not learned ones */
    /* Bytes of keys and values; false when the product does not fit. */
    bool (*bytes)(const struct memory_shape *shape, uint64_t *bytes);
    snellen_status (*create)(const struct memory_shape *shape, struct memory **out, snellen_error *err);
    void (*free)(struct memory *m);
    /* Most tokens that can be read; INT64_MAX = no end. */
    int64_t (*capacity)(const struct memory *m);
    void (*begin)(struct memory *m, const struct batch *batch);
    /* k, v [batch rows, n_kv_heads, head_dim] f32 */
    void (*store)(struct memory *m, int64_t layer, const float *k, const float *v);
    /* Writes the list of spans, at most MEMORY_MAX_SPANS, or 2 a group; returns how many. */
    size_t (*spans)(const struct memory *m, int64_t layer, struct attn_span *spans);
    /* Positions that spans with q_positions want the batch's queries turned to; NULL = none in this batch. */
    const int64_t *(*query_positions)(const struct memory *m);
    void (*end)(struct memory *m);
    /* Most rows that the next batch may have, at least 1; NULL = no limit of its own. */
    int64_t (*room)(const struct memory *m);
    int64_t (*n_rows)(const struct memory *m);  /* of its own; NULL: none */
    /* Where a block is complete: rows [n_rows, d_model] in place of what was made of it, or is to be; of a layer, or of
     * the whole memory (rmt). NULL: no rows. */
    void (*replace)(struct memory *m, int64_t layer, const float *rows);
    const struct memory_passes *passes;         /* or NULL */
    const struct memory_riders *riders;         /* or NULL */
    /* Forget all but the first n tokens; false when some of what those rows may see is gone. */
    bool (*truncate)(struct memory *m, int64_t n);
    /* What was read, kept for or restored from a file; length is restored before. The shape is the same. */
    void (*state)(struct memory *m, struct state *s);
};

/* Every implementation begins with this. */
struct memory {
    const struct memory_ops *ops;
    int64_t length;             /* tokens read */
};

/* n_lanes memories of a kind behind one, for batches in which each group continues the timeline of its lane; a lane
 * has one group in a batch at most, of at most shape->chunk rows; `rows` is the most of a whole batch. The decoder's
 * calls and free are there; the others are the lanes' own (src/memory/lanes.c). */
snellen_status memory_lanes_create(const struct memory_ops *ops, const struct memory_shape *shape, int64_t n_lanes,
                                   int64_t rows, struct memory **out, snellen_error *err);
struct memory *memory_lane(const struct memory *lanes, int64_t lane);

/* The implementation of a kind (src/memory/registry.c); NULL for a kind that does not exist. */
const struct memory_ops *memory_find(snellen_memory_kind kind);
/* Implementation i, NULL past the last. */
const struct memory_ops *memory_list(size_t i);

#endif
