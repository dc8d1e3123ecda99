/* u64_map.h: from a 64-bit key, a hash already or not, to a 64-bit value. Open addressing; nothing
 * is promised of any order, and none can be seen. */
#ifndef SIM_U64_MAP_H
#define SIM_U64_MAP_H

#include "sim/base.h"

struct u64_map_slot {
    uint64_t key, value;
    bool used;
};

struct u64_map {
    struct u64_map_slot *slot; /* owned */
    size_t len, n;             /* slots (a power of two), entries */
};

void u64_map_release(struct u64_map *m); /* {0} is an empty one */
/* The value's place, or NULL: valid until the next put or remove. */
uint64_t *u64_map_get(const struct u64_map *m, uint64_t key);
/* The same, added with value 0 where there is none. */
uint64_t *u64_map_put(struct u64_map *m, uint64_t key);
bool u64_map_remove(struct u64_map *m, uint64_t key); /* was it there? */

#endif
