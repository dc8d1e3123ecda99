/* prefix_lru.c: the cached prefix that was used longest ago goes first.
 *
 * Rule (eviction.md section 9): every request stamps the whole path it used with one time, when it
 * matches and again when it leaves; the unpinned leaf with the oldest stamp goes, its tail first.
 * SGLang does so with a heap of evictable leaves ordered by last access (RadixAttention); vLLM's
 * automatic prefix caching reaches the same order with a free queue into which a request's blocks
 * are put in reverse, so that on equal time the block with more tokens before it is evicted first.
 */
#include "sim/prefix.h"

static void *lru_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                      struct err *e)
{
    (void)p;
    (void)env;
    (void)e;
    return arena_alloc(a, 1); /* stateless; NULL would mean failure */
}

static double lru_priority(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)self;
    (void)node_state;
    return (double)v->last_use;
}

const struct prefix_ops prefix_lru = {
    .name = "lru",
    .doc = "least recently used leaf first, tail first within it",
    .source = "vLLM automatic prefix caching; SGLang RadixAttention (arXiv 2312.07104)",
    .open = lru_open,
    .priority = lru_priority,
};
