/* prefix.h: the interface of prefix-cache policies: which unpinned block of the prefix tree goes
 * next when room is needed (eviction.md section 9).
 *
 * The tree (sim/prefix_tree.h) owns nodes, pins and the queue of candidates. Only unpinned leaves
 * are ever offered, so that a hit stays a contiguous prefix; the engine takes blocks from the tail
 * of the node with the lowest priority, ties by node number. `priority` is asked when a node
 * becomes a candidate, and again whenever it is offered anew; it must not depend on anything else.
 *
 * Per-node state (`node_state_bytes`, zeroed) lives and dies with the node. When a node is split,
 * both halves start from a copy of the state. No callback may be NULL unless said so. */
#ifndef SIM_PREFIX_H
#define SIM_PREFIX_H

#include "sim/arena.h"
#include "sim/params.h"

struct prefix_node_view {
    uint32_t id;                    /* recycled; ties are broken by `number` */
    uint64_t number;                /* in order of creation; a split's upper half is new */
    uint32_t n_blocks;              /* in this node */
    uint32_t depth_blocks;          /* from the root to this node's end */
    uint64_t created_use, last_use; /* counts of tree operations: 1, 2, 3, ... */
    uint32_t hits;                  /* times a request matched through it */
};

struct prefix_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    size_t node_state_bytes;
    void *(*open)(struct arena *, const struct params *,
                  struct err *); /* NULL and err on failure */
    void (*on_insert)(void *self, const struct prefix_node_view *, void *node_state); /* [NULL] */
    void (*on_access)(void *self, const struct prefix_node_view *,
                      void *node_state); /* [NULL] a hit */
    double (*priority)(void *self, const struct prefix_node_view *, void *node_state);
    void (*on_evict)(void *self, const struct prefix_node_view *, void *node_state,
                     uint32_t n_blocks); /* [NULL] n_blocks of its tail are about to go, evicted or
                                          * dropped (ptree_unpin_drop) */
};

#endif
