/* prefix_pgdsf.c: RAGCache's prefix-aware GDSF: what is used often and would take long to compute
 * again stays.
 *
 * Rule (eviction.md 9 and 9.1): priority = clock + frequency x average cost, where the average cost
 * of a token of n tokens behind a prefix of p is C(p, n) / n, here in units of a token's work
 * without attention: 1 + pair_cost x (p + n / 2). The clock, taken when the prefix was used last,
 * is the highest priority that has gone. RAGCache averages over the requests that computed a
 * document; a node of the tree is computed once, after which it is another node. */
#include "sim/prefix_clock.h"

struct pgdsf {
    struct prefix_clock clock;
    double pair_cost;
    uint32_t block_tokens;
};

static void *pgdsf_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                        struct err *e)
{
    (void)p;
    (void)e;
    struct pgdsf *g = arena_alloc(a, sizeof(*g));
    *g = (struct pgdsf){.pair_cost = env->pair_cost, .block_tokens = env->block_tokens};
    return g;
}

static double pgdsf_priority(void *self, const struct prefix_node_view *v, void *node_state)
{
    const struct pgdsf *g = self;
    double n = (double)v->n_blocks * g->block_tokens;
    double p = (double)v->depth_blocks * g->block_tokens - n;
    double average = 1 + g->pair_cost * (p + n / 2);
    return prefix_clock_worth(node_state, (v->hits + 1.0) * average);
}

const struct prefix_ops prefix_pgdsf = {
    .name = "pgdsf",
    .doc = "prefix-aware GDSF: clock + frequency x work to compute a token again",
    .source = "RAGCache (arXiv 2404.12457)",
    .node_state_bytes = sizeof(struct prefix_clock_node),
    .open = pgdsf_open,
    .on_insert = prefix_clock_use,
    .on_access = prefix_clock_use,
    .on_evict = prefix_clock_evict,
    .priority = pgdsf_priority,
};
