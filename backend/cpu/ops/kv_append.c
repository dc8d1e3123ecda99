/* kv_append.c: the keys and values of a token go to its slot of its block. */
#include "backend/cpu/ops/real.h"

void NAME(kv_append)(REAL *kv, const struct kv_layout *l, uint32_t layer, uint32_t block,
                     uint32_t slot, const REAL *k, const REAL *v)
{
    size_t in_head = (size_t)slot * l->head_dim, bytes = l->head_dim * sizeof(REAL);

    for (uint32_t h = 0; h < l->kv_heads; h++) {
        memcpy(kv + kv_offset(l, block, layer, KV_KEYS, h) + in_head, k + h * l->head_dim, bytes);
        memcpy(kv + kv_offset(l, block, layer, KV_VALUES, h) + in_head, v + h * l->head_dim, bytes);
    }
}
