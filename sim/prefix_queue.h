/* prefix_queue.h: a queue of the prefix tree's nodes, for policies that keep an order of their own
 * (SIEVE, S3-FIFO). A node's link is the first member of its state; a node is in at most one queue.
 * Nodes come in at the newest end and are looked at from the oldest. */
#ifndef SIM_PREFIX_QUEUE_H
#define SIM_PREFIX_QUEUE_H

#include "sim/prefix.h"

#define PREFIX_QUEUE_END 0u /* no node has this id */

struct prefix_link {
    uint32_t newer, older; /* node ids */
};

struct prefix_queue {
    uint32_t newest, oldest;
    uint32_t n_nodes;
    uint64_t n_blocks; /* kept by the policy, which hears how its nodes grow and shrink */
};

void prefix_queue_push(struct prefix_queue *q, const struct ptree *t, uint32_t id);
void prefix_queue_remove(struct prefix_queue *q, const struct ptree *t, uint32_t id);
/* `upper`, the new half of a split `lower`, comes next to it, to be looked at after it. */
void prefix_queue_split(struct prefix_queue *q, const struct ptree *t, uint32_t upper,
                        uint32_t lower);

static inline uint32_t prefix_queue_newer(const struct ptree *t, uint32_t id)
{
    return ((const struct prefix_link *)prefix_state(t, id))->newer;
}

#endif
