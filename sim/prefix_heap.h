/* prefix_heap.h: the eviction candidates of the prefix tree: a binary min-heap over
 * (priority, number), where the place of every id is known, so that any of them can be taken out.
 * Numbers are distinct, so the order is total and does not depend on the history of the heap. */
#ifndef SIM_PREFIX_HEAP_H
#define SIM_PREFIX_HEAP_H

#include "sim/base.h"

struct prefix_heap_entry {
    double priority; /* never NaN */
    uint64_t number;
    uint32_t id;
};

struct prefix_heap {
    struct prefix_heap_entry *v;
    size_t n, cap;
    size_t *place; /* by id: index in v + 1, 0 = not in the heap */
    size_t place_cap;
};

void prefix_heap_init(struct prefix_heap *h);
void prefix_heap_release(struct prefix_heap *h);
void prefix_heap_put(struct prefix_heap *h, uint32_t id, double priority, uint64_t number);
void prefix_heap_remove(struct prefix_heap *h, uint32_t id); /* must be in the heap */
bool prefix_heap_has(const struct prefix_heap *h, uint32_t id);
uint32_t prefix_heap_first(const struct prefix_heap *h); /* the lowest; n must not be 0 */
void prefix_heap_audit(const struct prefix_heap *h);     /* CHECKs order and places */

#endif
