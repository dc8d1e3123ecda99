/* kv_full.c: the whole KV cache: every token of every layer and head is kept and read. The only
 * policy without loss, and the reference all others are measured against (eviction.md 2.0). */
#include "sim/kvpolicy.h"

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)env, (void)plan, (void)e;
    return arena_alloc(a, 1);
}

const struct kvpolicy_ops kv_full = {
    .name = "full",
    .doc = "keep and read everything",
    .source = "eviction.md 2.0",
    .lossless = true,
    .open = open,
};
