/* Keys and values by head: one head's keys lie together, so that attention streams them. */
#include "memory/kv.h"

#include <string.h>

bool kv_bytes(const struct memory_shape *shape, int64_t slots, uint64_t *bytes)
{
    return size_mul((uint64_t)slots, (uint64_t)(shape->n_layers * shape->n_kv_heads), bytes) &&
           size_mul(*bytes, (uint64_t)(2 * dtype_row_bytes(shape->kv_type, shape->head_dim)), bytes);
}

snellen_status kv_init(struct kv_store *kv, const struct memory_shape *shape, int64_t slots, snellen_error *err)
{
    uint64_t bytes;
    FAIL_IF(!kv_bytes(shape, slots, &bytes), SNELLEN_E_MEMORY, "keys and values of %lld tokens are more than any machine holds",
            (long long)slots);
    *kv = (struct kv_store){.n_layers = shape->n_layers, .n_kv_heads = shape->n_kv_heads, .head_dim = shape->head_dim, .slots = slots, .type = shape->kv_type};
    TRY(NEW_ARRAY(&kv->keys, bytes, "keys and values", err));
    kv->values = kv->keys + bytes / 2;
    return SNELLEN_OK;
}

void kv_free(struct kv_store *kv)
{
    mem_free(kv->keys);
}

/* Byte offset of (layer, head, slot). */
static int64_t kv_at(const struct kv_store *kv, int64_t layer, int64_t head, int64_t slot)
{
    return ((layer * kv->n_kv_heads + head) * kv->slots + slot) * dtype_row_bytes(kv->type, kv->head_dim);
}

static void put_row(char *to, enum dtype type, const float *row, int64_t n)
{
    if (type == DT_F16)
        f32_to_f16_row((uint16_t *)to, row, n);
    else if (type == DT_Q8_0) {
        /* What is not finite has no blocks: scales of all ones are NaN, which the decoder finds. */
        if (!quantise_row(type, to, row, n)) memset(to, 0xff, (size_t)dtype_row_bytes(type, n));
    } else
        memcpy(to, row, (size_t)n * sizeof(float));
}

void kv_put(struct kv_store *kv, int64_t layer, int64_t slot, const float *k, const float *v, int64_t row0, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t head = 0; head < kv->n_kv_heads; head++) {
            int64_t at = kv_at(kv, layer, head, slot + i), row = ((row0 + i) * kv->n_kv_heads + head) * kv->head_dim;
            put_row(kv->keys + at, kv->type, k + row, kv->head_dim);
            put_row(kv->values + at, kv->type, v + row, kv->head_dim);
        }
}

struct attn_span kv_span(const struct kv_store *kv, int64_t layer, int64_t slot, int64_t n, int64_t first_position)
{
    int64_t at = kv_at(kv, layer, 0, slot);
    return (struct attn_span){.k = kv->keys + at, .v = kv->values + at, .head_stride = kv->slots * kv->head_dim,
                              .n_keys = n, .first_position = first_position, .rule = SPAN_CAUSAL};
}

void kv_state(struct kv_store *kv, int64_t slot, int64_t n, struct state *s)
{
    uint64_t bytes = (uint64_t)(n * dtype_row_bytes(kv->type, kv->head_dim));
    for (int64_t layer = 0; layer < kv->n_layers; layer++)
        for (int64_t head = 0; head < kv->n_kv_heads; head++) {
            int64_t at = kv_at(kv, layer, head, slot);
            state_bytes(s, kv->keys + at, bytes);
            state_bytes(s, kv->values + at, bytes);
        }
}
