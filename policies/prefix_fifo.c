/* prefix_fifo.c: the cached prefix that came first goes first, however often it was hit.
 *
 * Rule (eviction.md section 9): priority = the time of insertion. A parent is never younger than
 * its children, so leaf-first costs nothing. */
#include "sim/prefix.h"

static void *fifo_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                       struct err *e)
{
    (void)p;
    (void)env;
    (void)e;
    return arena_alloc(a, 1); /* stateless; NULL would mean failure */
}

static double fifo_priority(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)self;
    (void)node_state;
    return (double)v->created_use;
}

const struct prefix_ops prefix_fifo = {
    .name = "fifo",
    .doc = "first in, first out, by leaf",
    .source = "SGLang, radix eviction policy fifo; libCacheSim FIFO",
    .open = fifo_open,
    .priority = fifo_priority,
};
