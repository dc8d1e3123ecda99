/* prefix_edge.h: a sequence of blocks as runs of keys: what an edge of the prefix tree is made of,
 * and how it is held against the blocks of a caller. Must hold: n_blocks = sum of run[].n, and no
 * run is empty. */
#ifndef SIM_PREFIX_EDGE_H
#define SIM_PREFIX_EDGE_H

#include "sim/content.h"

struct edge {
    struct key_run *run; /* owned */
    size_t n_runs, cap;
    uint32_t n_blocks;
};

/* The blocks of a caller's runs, from the front. */
struct edge_cursor {
    const struct key_run *run; /* the current one */
    size_t left;               /* runs, this one included; 0: at the end */
    uint32_t skip;             /* blocks of it that are behind */
};

void edge_cursor_skip(struct edge_cursor *c, uint32_t blocks);

/* How many leading blocks of an edge the cursor's next blocks equal, up to `limit`. */
uint32_t edge_match(const struct edge *e, struct edge_cursor c, uint32_t limit);

/* Appends at most `limit` of the cursor's blocks, joining runs that go on. Returns how many. */
uint32_t edge_append(struct edge *e, struct edge_cursor c, uint32_t limit);

/* Take the first or last `blocks` away; of the front not all. */
void edge_drop_front(struct edge *e, uint32_t blocks);
void edge_drop_back(struct edge *e, uint32_t blocks);

/* Hash of the block that is `from_end` blocks (>= 1) before the end. */
uint64_t edge_hash(const struct edge *e, uint32_t from_end);

static inline struct edge_cursor edge_start(const struct edge *e)
{
    return (struct edge_cursor){.run = e->run, .left = e->n_runs};
}

#endif
