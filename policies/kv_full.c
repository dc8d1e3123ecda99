/* kv_full.c: the whole KV cache: every token of every layer and head is kept and read. The only
 * policy without loss, and the reference all others are measured against (eviction.md 2.0). */
#include "sim/kvpolicy.h"

struct full {
    uint64_t units_per_block;
    uint32_t block_size;
};

static void *open(struct arena *a, const struct params *p, const struct kv_shape *shape,
                  struct err *e)
{
    (void)p;
    (void)e;
    struct full *f = arena_alloc(a, sizeof(*f));
    f->units_per_block = (uint64_t)shape->layers * shape->kv_heads;
    f->block_size = shape->block_size;
    return f;
}

static uint64_t resident_units(void *self, uint32_t prompt, uint32_t len)
{
    (void)prompt;
    const struct full *f = self;
    return div_ceil_u32(len, f->block_size) * f->units_per_block;
}

static double read_tokens(void *self, uint32_t prompt, uint32_t len)
{
    (void)self;
    (void)prompt;
    return len;
}

const struct kvpolicy_ops kv_full = {
    .name = "full",
    .doc = "keep and read everything",
    .source = "eviction.md 2.0",
    .lossless = true,
    .open = open,
    .resident_units = resident_units,
    .read_tokens = read_tokens,
};
