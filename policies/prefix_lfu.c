/* prefix_lfu.c: the cached prefix that was hit least often goes first, and of several the one that
 * was used longest ago.
 *
 * Rule (eviction.md section 9): priority = (hits, last use). Counts begin anew when a prefix comes
 * back (in-cache LFU). Both fit one double exactly up to 2^21 hits, where counting stops, and 2^32
 * operations of the tree. */
#include "sim/prefix.h"

#define HITS_MAX ((1u << 21) - 1)

static void *lfu_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                      struct err *e)
{
    (void)p;
    (void)env;
    (void)e;
    return arena_alloc(a, 1); /* stateless; NULL would mean failure */
}

static double lfu_priority(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)self;
    (void)node_state;
    return (double)MIN(v->hits, HITS_MAX) * 0x1p32 + (double)v->last_use;
}

const struct prefix_ops prefix_lfu = {
    .name = "lfu",
    .doc = "least frequently used leaf, ties by last use",
    .source = "SGLang, radix eviction policy lfu; libCacheSim LFU",
    .open = lfu_open,
    .priority = lfu_priority,
};
