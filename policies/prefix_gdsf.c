/* prefix_gdsf.c: Greedy-Dual-Size-Frequency: small prefixes that are hit often stay, and nothing
 * stays for ever.
 *
 * Rule (eviction.md 9 and 9.1): priority = L + frequency x cost / size with cost 1 and the size in
 * blocks, where L, taken when the prefix was used last, is the priority of what went last: what has
 * not been used since falls behind. */
#include "sim/prefix.h"

struct gdsf {
    double clock; /* L */
};

struct gdsf_node {
    double base; /* L when it was used last */
};

static void *gdsf_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                       struct err *e)
{
    (void)p;
    (void)env;
    (void)e;
    return arena_alloc(a, sizeof(struct gdsf));
}

static void gdsf_use(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)v;
    ((struct gdsf_node *)node_state)->base = ((const struct gdsf *)self)->clock;
}

static double gdsf_priority(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)self;
    return ((const struct gdsf_node *)node_state)->base + (v->hits + 1.0) / v->n_blocks;
}

static void gdsf_evict(void *self, const struct prefix_node_view *v, void *node_state,
                       uint32_t n_blocks)
{
    (void)n_blocks;
    struct gdsf *g = self;
    g->clock = MAX(g->clock, gdsf_priority(self, v, node_state));
}

const struct prefix_ops prefix_gdsf = {
    .name = "gdsf",
    .doc = "Greedy-Dual-Size-Frequency: L + frequency / blocks",
    .source = "Cherkasova 1998 (HPL-98-69R1); libCacheSim GDSF",
    .node_state_bytes = sizeof(struct gdsf_node),
    .open = gdsf_open,
    .on_insert = gdsf_use,
    .on_access = gdsf_use,
    .on_evict = gdsf_evict,
    .priority = gdsf_priority,
};
