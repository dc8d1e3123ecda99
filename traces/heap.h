/* heap.h: what comes next of many: a heap of (time, id), the earliest first, ties by id. */
#ifndef TRACES_HEAP_H
#define TRACES_HEAP_H

#include "sim/base.h"

struct heap_item {
    ns_t at;
    uint32_t id;
};

struct heap {
    struct heap_item *v; /* owned */
    size_t n, cap;
};

void heap_push(struct heap *h, ns_t at, uint32_t id);
struct heap_item heap_pop(struct heap *h); /* n > 0 */
void heap_release(struct heap *h);

#endif
