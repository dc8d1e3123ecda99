/* heap.c: see heap.h. */
#include "traces/heap.h"

static bool before(struct heap_item a, struct heap_item b)
{
    return a.at != b.at ? a.at < b.at : a.id < b.id;
}

void heap_push(struct heap *h, ns_t at, uint32_t id)
{
    struct heap_item item = {.at = at, .id = id};
    size_t i = h->n++;

    h->v = mem_reserve(h->v, &h->cap, h->n, sizeof(*h->v));
    for (; i > 0 && before(item, h->v[(i - 1) / 2]); i = (i - 1) / 2)
        h->v[i] = h->v[(i - 1) / 2];
    h->v[i] = item;
}

struct heap_item heap_pop(struct heap *h)
{
    struct heap_item top, last;
    size_t i = 0;

    CHECK(h->n > 0, "heap: something is taken from it", "%zu items", h->n);
    top = h->v[0];
    last = h->v[--h->n];
    for (size_t child; (child = 2 * i + 1) < h->n; i = child) {
        child += child + 1 < h->n && before(h->v[child + 1], h->v[child]);
        if (!before(h->v[child], last))
            break;
        h->v[i] = h->v[child];
    }
    h->v[i] = last;
    return top;
}

void heap_release(struct heap *h)
{
    mem_free(h->v);
    *h = (struct heap){0};
}
