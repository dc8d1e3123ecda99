/* prefix_gdsf.c: Greedy-Dual-Size-Frequency: small prefixes that are hit often stay, and nothing
 * stays for ever.
 *
 * Rule (eviction.md 9 and 9.1): priority = L + frequency x cost / size with cost 1 and the size in
 * blocks, where L, taken when the prefix was used last, is the priority of what went last: what has
 * not been used since falls behind. */
#include "sim/prefix_clock.h"

static void *gdsf_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                       struct err *e)
{
    (void)p;
    (void)env;
    (void)e;
    return arena_alloc(a, sizeof(struct prefix_clock));
}

static double gdsf_priority(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)self;
    return prefix_clock_worth(node_state, (v->hits + 1.0) / v->n_blocks);
}

const struct prefix_ops prefix_gdsf = {
    .name = "gdsf",
    .doc = "Greedy-Dual-Size-Frequency: L + frequency / blocks",
    .source = "Cherkasova 1998 (HPL-98-69R1); libCacheSim GDSF",
    .node_state_bytes = sizeof(struct prefix_clock_node),
    .open = gdsf_open,
    .on_insert = prefix_clock_use,
    .on_access = prefix_clock_use,
    .on_evict = prefix_clock_evict,
    .priority = gdsf_priority,
};
