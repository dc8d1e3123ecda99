/* prefix_clock.h: what goes stays away: the clock of Greedy-Dual's policies (eviction.md 9). A
 * prefix is worth its base, which is the clock when it was used last, plus what its policy says;
 * the clock is the highest worth that ever went. What has not been used since falls behind.
 *
 * A node's worth is that at which it was offered: the same however many of its blocks go at once.
 * What was never offered (a private tail that is dropped) does not move the clock. */
#ifndef SIM_PREFIX_CLOCK_H
#define SIM_PREFIX_CLOCK_H

#include "sim/prefix.h"

struct prefix_clock { /* first member of a policy's state */
    double now;
};

struct prefix_clock_node { /* the state of a node */
    double base, worth;    /* worth 0: not offered since it was used last */
};

/* on_insert and on_access; on_evict. */
void prefix_clock_use(void *self, const struct prefix_node_view *v, void *node_state);
void prefix_clock_evict(void *self, const struct prefix_node_view *v, void *node_state,
                        uint32_t n_blocks);
/* The priority of a node that is worth so much more than its base. */
double prefix_clock_worth(void *node_state, double more);

#endif
