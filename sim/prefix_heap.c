#include "sim/prefix_heap.h"

#include <string.h>

#define INV_HEAP "prefix heap (parents before children, places known)"

void prefix_heap_init(struct prefix_heap *h)
{
    *h = (struct prefix_heap){0};
}

void prefix_heap_release(struct prefix_heap *h)
{
    mem_free(h->v);
    mem_free(h->place);
    prefix_heap_init(h);
}

static bool before(const struct prefix_heap_entry *a, const struct prefix_heap_entry *b)
{
    if (a->priority < b->priority || a->priority > b->priority)
        return a->priority < b->priority;
    return a->number < b->number;
}

static void set(struct prefix_heap *h, size_t i, struct prefix_heap_entry e)
{
    h->v[i] = e;
    h->place[e.id] = i + 1;
}

/* Puts `e` into the hole at i or where the order wants it above or below. */
static void settle(struct prefix_heap *h, size_t i, struct prefix_heap_entry e)
{
    while (i > 0 && before(&e, &h->v[(i - 1) / 2])) {
        set(h, i, h->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(&h->v[child + 1], &h->v[child]))
            child++;
        if (!before(&h->v[child], &e))
            break;
        set(h, i, h->v[child]);
        i = child;
    }
    set(h, i, e);
}

void prefix_heap_put(struct prefix_heap *h, uint32_t id, double priority, uint64_t number)
{
    CHECK(!__builtin_isnan(priority), INV_HEAP, "priority of node %u is NaN", id);
    CHECK(!prefix_heap_has(h, id), INV_HEAP, "node %u is a candidate already", id);
    if (id >= h->place_cap) {
        size_t old = h->place_cap;
        h->place = mem_reserve(h->place, &h->place_cap, (size_t)id + 1, sizeof *h->place);
        memset(h->place + old, 0, (h->place_cap - old) * sizeof *h->place);
    }
    h->v = mem_reserve(h->v, &h->cap, h->n + 1, sizeof *h->v);
    h->n++;
    settle(h, h->n - 1, (struct prefix_heap_entry){priority, number, id});
}

void prefix_heap_remove(struct prefix_heap *h, uint32_t id)
{
    CHECK(prefix_heap_has(h, id), INV_HEAP, "node %u is not a candidate", id);
    size_t hole = h->place[id] - 1;
    h->place[id] = 0;
    h->n--;
    if (hole < h->n)
        settle(h, hole, h->v[h->n]);
}

bool prefix_heap_has(const struct prefix_heap *h, uint32_t id)
{
    return id < h->place_cap && h->place[id] != 0;
}

uint32_t prefix_heap_first(const struct prefix_heap *h)
{
    CHECK(h->n > 0, INV_HEAP, "no candidate among %zu", h->n);
    return h->v[0].id;
}

void prefix_heap_audit(const struct prefix_heap *h)
{
    for (size_t i = 0; i < h->n; i++) {
        const struct prefix_heap_entry *e = &h->v[i];
        CHECK(h->place[e->id] == i + 1, INV_HEAP, "node %u is at %zu, its place says %zu", e->id,
              i + 1, h->place[e->id]);
        CHECK(i == 0 || before(&h->v[(i - 1) / 2], e), INV_HEAP, "entry %zu goes before entry %zu",
              i, (i - 1) / 2);
    }
}
