/* prefix.h: the interface of prefix-cache policies: which unpinned block of the prefix tree goes
 * next when room is needed (eviction.md section 9).
 *
 * The tree (sim/prefix_tree.h) owns nodes and pins. A *candidate* is an unpinned node without
 * children, so that a hit stays a contiguous prefix; blocks go from the tail of the one that the
 * policy picks, in one of two ways:
 *
 *   - by `priority`: the tree keeps candidates in a heap and takes the lowest, ties by node number.
 *     Asked when a node becomes a candidate; it must not depend on anything that changes before the
 *     node is offered anew, except that of `per_block` policies, which is that of its last block;
 *   - by `victim`: the policy keeps an order of its own and names one, which then goes, whole or in
 *     part; asking may change that order.
 *
 * Per-node state (`node_state_bytes`, zeroed) lives and dies with the node. When a node is split,
 * both halves start from a copy of the state. Exactly one of priority and victim is there; any
 * other callback may be NULL. */
#ifndef SIM_PREFIX_H
#define SIM_PREFIX_H

#include "sim/arena.h"
#include "sim/params.h"

struct ptree;

/* What will be asked for: only where the whole trace is known beforehand (`trace cache`). */
struct prefix_future {
    void *self;
    /* When the block with this hash is used next, later = larger; UINT64_MAX: never again. */
    uint64_t (*next_use)(void *self, uint64_t block_hash);
};

struct prefix_env {
    uint64_t capacity_blocks; /* UINT64_MAX: no limit */
    uint32_t block_tokens;
    /* What it takes to compute n tokens behind p cached ones is proportional to
     * n + pair_cost (n p + n^2 / 2): the work of a (token, earlier token) pair in attention over
     * the work of a token in all else. */
    double pair_cost;
    const struct prefix_future *future; /* NULL: unknown */
};

struct prefix_node_view {
    const struct ptree *tree;       /* for the questions below */
    uint32_t id;                    /* recycled, never 0; ties are broken by `number` */
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
    bool needs_future; /* runs where prefix_env.future is known, and nowhere else */
    bool per_block;    /* priority is asked again for every block that goes */
    void *(*open)(struct arena *, const struct params *, const struct prefix_env *,
                  struct err *); /* NULL and err on failure */
    void (*close)(void *self);   /* what open took beside the arena */
    void (*on_insert)(void *self, const struct prefix_node_view *, void *node_state);
    void (*on_grow)(void *self, const struct prefix_node_view *, void *node_state,
                    uint32_t n_blocks); /* so many were appended to it */
    void (*on_split)(void *self, const struct prefix_node_view *upper, uint32_t lower);
    void (*on_access)(void *self, const struct prefix_node_view *, void *node_state); /* a hit */
    void (*on_evict)(void *self, const struct prefix_node_view *, void *node_state,
                     uint32_t n_blocks); /* n_blocks of its tail are about to go, evicted or
                                          * dropped (ptree_unpin_drop); all: it goes, too */
    double (*priority)(void *self, const struct prefix_node_view *, void *node_state);
    uint32_t (*victim)(void *self, const struct ptree *); /* there is a candidate */
};

/* What a policy may ask of the tree. */
struct prefix_node_view prefix_node(const struct ptree *, uint32_t id);
void *prefix_state(const struct ptree *, uint32_t id);
bool prefix_evictable(const struct ptree *, uint32_t id);
uint32_t prefix_candidates(const struct ptree *);
uint32_t prefix_candidate(const struct ptree *, uint32_t i); /* in no order that means anything */
uint64_t prefix_now(const struct ptree *);                   /* what last_use counts */
/* Of the block that is from_end blocks (>= 1) before the node's end. */
uint64_t prefix_block_hash(const struct ptree *, uint32_t id, uint32_t from_end);

#endif
