/* attention.c: of one token over the blocks of its sequence. The scores of all positions, their
 * softmax, then the weighted values, each in order of position: blocks are only where these lie. */
#include "backend/cpu/ops/real.h"

/* How many of the positions 0..position lie in block `b` of the sequence. */
static uint32_t in_block(const struct kv_layout *l, uint32_t b, uint32_t position)
{
    return MIN(l->block_size, position + 1 - b * l->block_size);
}

INLINE void score(REAL *scores, const REAL *q, const REAL *keys, uint32_t n, uint32_t d)
{
    uint32_t i = 0;

    for (; i + 4 <= n; i += 4)
        dot4(scores + i, 1, keys + (size_t)i * d, d, q, d);
    for (; i < n; i++)
        scores[i] = dot(keys + (size_t)i * d, q, d);
}

WIDE void NAME(attention)(REAL *out, const REAL *q, uint32_t group, const REAL *kv,
                          const struct kv_layout *l, uint32_t layer, uint32_t kv_head,
                          const uint32_t *table, uint32_t position, REAL *scores)
{
    uint32_t d = l->head_dim, n = position + 1, blocks = div_ceil_u32(n, l->block_size);
    REAL scale = (REAL)(1 / sqrt((double)d));

    for (uint32_t b = 0; b < blocks; b++) {
        const REAL *keys = kv + kv_offset(l, table[b], layer, KV_KEYS, kv_head);

        for (uint32_t g = 0; g < group; g++)
            score(scores + (size_t)g * n + b * l->block_size, q + g * d, keys,
                  in_block(l, b, position), d);
    }
    for (uint32_t g = 0; g < group; g++)
        softmax(scores + (size_t)g * n, n, scale);
    memset(out, 0, group * d * sizeof(REAL));
    for (uint32_t b = 0; b < blocks; b++) {
        const REAL *values = kv + kv_offset(l, table[b], layer, KV_VALUES, kv_head);

        for (uint32_t g = 0; g < group; g++)
            weigh(out + g * d, scores + (size_t)g * n + b * l->block_size, values,
                  in_block(l, b, position), d);
    }
}
