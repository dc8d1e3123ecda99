/* prefix_belady.c: Belady's rule: what is needed again last goes first. No policy hits more blocks
 * where blocks are independent; with depth-dependent costs it is a heuristic.
 *
 * Rule (eviction.md section 9): priority = the next use of a leaf's last block, farthest first, one
 * block at a time. A prefix is used whenever one that continues it is, a moment before: so the
 * deeper block of a path goes first, and leaf-first costs nothing. It has to be told the future,
 * which only `trace cache` can. */
#include <math.h>

#include "sim/prefix.h"

struct belady {
    const struct prefix_future *future;
};

static void *belady_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                         struct err *e)
{
    (void)p;
    (void)e;
    struct belady *b = arena_alloc(a, sizeof(*b));
    b->future = env->future;
    return b;
}

static double belady_priority(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)node_state;
    const struct prefix_future *f = ((const struct belady *)self)->future;
    uint64_t next = f->next_use(f->self, prefix_block_hash(v->tree, v->id, 1));
    return next == UINT64_MAX ? -HUGE_VAL : -(double)next;
}

const struct prefix_ops prefix_belady = {
    .name = "belady",
    .doc = "the block needed again last goes first: the bound; `trace cache` only",
    .source = "Belady 1966, doi 10.1147/sj.52.0078",
    .needs_future = true,
    .per_block = true,
    .open = belady_open,
    .priority = belady_priority,
};
