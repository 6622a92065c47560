/* Where keys and values lie: [n_layers][n_kv_heads][slots][head_dim] for K and the same for V, f32, f16 or Q8_0. */
#ifndef MEMORY_KV_H
#define MEMORY_KV_H

#include "model/memory.h"

struct kv_store {
    char *keys, *values;
    int64_t n_layers, n_kv_heads, head_dim, slots;
    enum dtype type;
};

/* Bytes of a store; false when the product does not fit. */
bool kv_bytes(const struct memory_shape *shape, int64_t slots, uint64_t *bytes);
snellen_status kv_init(struct kv_store *kv, const struct memory_shape *shape, int64_t slots, snellen_error *err);
void kv_free(struct kv_store *kv);
/* Rows [row0, row0 + n) of k and v [.., n_kv_heads, head_dim] go to consecutive slots from `slot`. */
void kv_put(struct kv_store *kv, int64_t layer, int64_t slot, const float *k, const float *v, int64_t row0, int64_t n);
/* The span of n keys from `slot`, the first of which has position `first_position`. */
struct attn_span kv_span(const struct kv_store *kv, int64_t layer, int64_t slot, int64_t n, int64_t first_position);
/* Slots [slot, slot + n) of all layers as part of a state. */
void kv_state(struct kv_store *kv, int64_t slot, int64_t n, struct state *s);

#endif
