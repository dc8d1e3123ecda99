/* prefix_dfs.h: the waiting requests in SGLang's depth-first order over the tree of cached prefixes
 * (scheduling.md 3.3), for the duration of one decision: of the branches at a node the one that
 * most waiting requests hit goes first, and those that end at the node itself go after all its
 * branches, the longest match first. Ties in the order of the queue.
 *
 * As with the longest match (prefix_order.h) the order is the queue's above 128 waiting. SGLang has
 * no such bound here; without one a step's work would grow with the queue. */
#ifndef SIM_PREFIX_DFS_H
#define SIM_PREFIX_DFS_H

#include "sim/prefix_order.h"

struct dfs_node {
    uint32_t node, parent;  /* ids of the tree */
    uint32_t depth;         /* edges from the root */
    uint32_t weight;        /* requests that hit it or what is below it */
    uint32_t place;         /* in the queue, of the first of them */
    uint32_t next;          /* where in the order the next of its branches begins */
    struct dfs_node *above; /* NULL: it is the root */
};

struct prefix_dfs {
    struct arena *arena;
    struct prefix_order order;
    struct dfs_node *v;       /* the nodes on the paths of all who wait */
    struct dfs_node **branch; /* the same, those of a node together in their order */
    size_t cap, branch_cap;
};

/* Looks at the queue as it is now; then walk with prefix_order_next(&d->order, v). */
void prefix_dfs_begin(struct prefix_dfs *d, const struct sched_view *v);

#endif
