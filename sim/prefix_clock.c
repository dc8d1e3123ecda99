#include "sim/prefix_clock.h"

void prefix_clock_use(void *self, const struct prefix_node_view *v, void *node_state)
{
    (void)v;
    *(struct prefix_clock_node *)node_state =
        (struct prefix_clock_node){.base = ((const struct prefix_clock *)self)->now};
}

void prefix_clock_evict(void *self, const struct prefix_node_view *v, void *node_state,
                        uint32_t n_blocks)
{
    (void)v;
    (void)n_blocks;
    struct prefix_clock *c = self;
    c->now = MAX(c->now, ((const struct prefix_clock_node *)node_state)->worth);
}

double prefix_clock_worth(void *node_state, double more)
{
    struct prefix_clock_node *n = node_state;
    return n->worth = n->base + more;
}
