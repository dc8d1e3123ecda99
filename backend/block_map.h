/* block_map.h: which block holds what: a hash table from the key of a prefix (its last block and
 * all before it) to the number of the block that holds its last tokens. */
#ifndef BACKEND_BLOCK_MAP_H
#define BACKEND_BLOCK_MAP_H

#include "sim/base.h"

#define BLOCK_NONE UINT32_MAX

struct block_map_entry {
    uint64_t key;
    uint32_t block; /* BLOCK_NONE: the place is free */
};

struct block_map {
    struct block_map_entry *entry;
    size_t len, n; /* len: a power of two, more than twice the most entries there may be */
};

void block_map_init(struct block_map *m, uint32_t max_entries);
void block_map_release(struct block_map *m);
uint32_t block_map_get(const struct block_map *m, uint64_t key);       /* BLOCK_NONE: not there */
void block_map_put(struct block_map *m, uint64_t key, uint32_t block); /* not there yet */
uint32_t block_map_take(struct block_map *m, uint64_t key);            /* there; removes it */

#endif
