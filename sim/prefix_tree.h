/* prefix_tree.h: a radix tree over block keys; holds the blocks that requests share or might.
 *
 * A node is an edge of n_blocks blocks (compressed runs). A request pins a *path*: every node from
 * the root to its own last one has one reference more. Blocks of nodes with references are held,
 * all others are cached; callers move units in sim/kv.h by the block counts returned here.
 *
 * Must hold:
 *   P1  a node with references has an ancestor chain with references;
 *   P2  candidates offered for eviction are exactly the nodes with no reference and no child;
 *   P3  no two children of a node start with the same block;
 *   P4  pinned + cached blocks = blocks in the tree.
 * A node's blocks were all last used together: pinning part of a node splits it. */
#ifndef SIM_PREFIX_TREE_H
#define SIM_PREFIX_TREE_H

#include "sim/content.h"
#include "sim/prefix.h"

#define PTREE_ROOT 0u

struct ptree;

struct ptree *ptree_open(const struct prefix_ops *ops, void *policy) NODISCARD;
void ptree_close(struct ptree *t);

/* How many leading blocks of `run` (up to max_blocks) are in the tree. Changes nothing. */
uint32_t ptree_match(const struct ptree *t, const struct key_run *run, size_t n_runs,
                     uint32_t max_blocks);

/* As ptree_match, and the node in whose edge the match ends (PTREE_ROOT: nothing matched). */
struct ptree_hit {
    uint32_t node, n_blocks;
};
struct ptree_hit ptree_find(const struct ptree *t, const struct key_run *run, size_t n_runs,
                            uint32_t max_blocks);
uint32_t ptree_parent(const struct ptree *t, uint32_t node); /* of a node that is not the root */

struct ptree_pin {
    uint32_t node;      /* the last node of the pinned path (PTREE_ROOT: nothing matched) */
    uint32_t n_blocks;  /* matched: length of the path */
    uint32_t n_revived; /* of those, cached until now: the caller must kv_pin their units */
};

/* Pins the longest match of at most max_blocks blocks; counts as an access (`touch`) for the
 * policy unless touch is false (an attempt that may be undone by ptree_unpin with touch false). */
struct ptree_pin ptree_pin(struct ptree *t, const struct key_run *run, size_t n_runs,
                           uint32_t max_blocks, bool touch);

/* The access that an untouched ptree_pin left out, once the attempt has succeeded. */
void ptree_touch(struct ptree *t, uint32_t node);

/* Appends the blocks of `run` below a path that the caller has pinned up to `node`. Blocks that are
 * there already are pinned instead of added. Returns the new end of the caller's path. Of the
 * n blocks, `added` are new (they become the tree's, held), `revived` were cached (now held),
 * and the rest were held by others; the caller had allocated its own blocks for all n, and those
 * that were not added are duplicates of its own to account for. */
uint32_t ptree_extend(struct ptree *t, uint32_t node, const struct key_run *run, size_t n_runs,
                      uint32_t *added, uint32_t *revived);

/* Drops the caller's references from `node` to the root. Returns the number of blocks that are
 * cached from now on. With `touch` they count as used now (release order of architecture.md 6.3);
 * without, their place in the order is what it was before the matching ptree_pin. */
uint32_t ptree_unpin(struct ptree *t, uint32_t node, bool touch);

/* As ptree_unpin with touch, but blocks on the path that nobody else refers to and that have no
 * other descendants are removed instead of cached, from `node` upwards, at most n_blocks of them
 * (a request's private tail). `removed` says how many were; returns the number cached. */
uint32_t ptree_unpin_drop(struct ptree *t, uint32_t node, uint32_t n_blocks, uint32_t *removed);

/* Whose tail is to go next, as the policy says; PTREE_ROOT: nothing is evictable. Ask once for an
 * eviction: a policy's order may change with it. */
uint32_t ptree_victim(const struct ptree *t);

/* The keys of the path from the root to `node`, appended to `out` (grown with mem_reserve). */
void ptree_path(const struct ptree *t, uint32_t node, struct key_run **out, size_t *n, size_t *cap);

/* Removes up to `want` blocks of the victim's tail. Returns how many went (0: there is no victim)
 * and the hash of the last one gone in *last. */
uint32_t ptree_evict(struct ptree *t, uint32_t victim, uint32_t want, uint64_t *last);

uint64_t ptree_cached_blocks(const struct ptree *t); /* unpinned */
uint64_t ptree_pinned_blocks(const struct ptree *t);
uint32_t ptree_nodes(const struct ptree *t);

/* CHECKs P1 to P4 by walking the whole tree. For tests. */
void ptree_audit(const struct ptree *t);

#endif
