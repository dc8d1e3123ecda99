/* cache_replay.h: the cache-only mode: what a prefix policy would hit, without engine or time.
 *
 * Rules (those of ../shared/traces/README.md, "Prefix reuse"): one cache in the trace's own blocks;
 * a request is inserted whole when it arrives; its blocks are touched in prompt order; generated
 * tokens are not cached; nothing runs beside it. A hit is counted block by block, a partial last
 * block too. A request that is larger than the cache leaves its leading blocks there.
 *
 * flat: blocks are independent objects that the policy evicts one by one, without the rule that
 * leaves go first, so that a block can be hit though one before it is gone. */
#ifndef EXPERIMENTS_CACHE_REPLAY_H
#define EXPERIMENTS_CACHE_REPLAY_H

#include "experiments/block_future.h"
#include "sim/prefix.h"

#define CACHE_UNLIMITED UINT64_MAX

struct cache_setup {
    uint64_t capacity; /* blocks */
    bool flat;
    uint32_t block_tokens;
    double pair_cost;                  /* prefix.h */
    const struct block_future *future; /* NULL: no policy that needs one is opened */
};

struct cache_counts {
    uint64_t blocks, hit_blocks;
    uint64_t tokens, hit_tokens; /* of prompts */
};

struct cache_sim;

/* NULL and err on failure. */
struct cache_sim *cache_sim_open(const struct prefix_ops *ops, const struct params *params,
                                 const struct cache_setup *setup, struct err *e) NODISCARD;
void cache_sim_close(struct cache_sim *c);
struct cache_counts cache_sim_counts(const struct cache_sim *c);

/* Replays all of `src` (which the caller closes) through every cache at once. An error if the
 * trace says nothing about shared prefixes; `path` is for that message. */
bool cache_replay(struct trace_source *src, const char *path, struct cache_sim **cache, size_t n,
                  struct err *e) NODISCARD;

#endif
