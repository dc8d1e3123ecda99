/* block_future.h: when every block of a trace is used: what Belady's rule has to be told. Blocks
 * are numbered through the trace in the order in which prompts name them: position 1, 2, 3, ... */
#ifndef EXPERIMENTS_BLOCK_FUTURE_H
#define EXPERIMENTS_BLOCK_FUTURE_H

#include "experiments/prompt_blocks.h"
#include "sim/u64_map.h"

struct block_future {
    struct u64_map index; /* block hash -> 0, 1, 2, ... in order of first use */
    uint32_t *named;      /* owned; by position - 1: the index of the block */
    size_t n, cap;
    uint64_t *use;   /* owned; positions, those of one block after those of another */
    uint64_t *first; /* owned; by index, one more than there are blocks: its first in `use` */
};

/* Reads all of `src`, which the caller closes and opens again. */
bool block_future_read(struct block_future *f, struct trace_source *src, struct err *e) NODISCARD;
void block_future_release(struct block_future *f); /* {0} is an empty one */

/* The first position after `now` that names the block; UINT64_MAX: none. */
uint64_t block_future_next(const struct block_future *f, uint64_t block_hash, uint64_t now);

#endif
