/* evq.c: a binary heap ordered by evq_before. Keys are unique, so what comes out depends on what
 * is in it and never on the order in which it was put there. */
#include "sim/evq.h"

#include <inttypes.h>

void evq_init(struct evq *q)
{
    *q = (struct evq){0};
}

void evq_release(struct evq *q)
{
    mem_free(q->heap);
    evq_init(q);
}

bool evq_before(const struct event *a, const struct event *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    if (a->kind != b->kind)
        return a->kind < b->kind;
    if (a->entity != b->entity)
        return a->entity < b->entity;
    return a->number < b->number;
}

void evq_push(struct evq *q, struct event e)
{
    q->heap = mem_reserve(q->heap, &q->cap, q->n + 1, sizeof(*q->heap));
    size_t hole = q->n++;
    while (hole > 0) {
        size_t parent = (hole - 1) / 2;
        if (!evq_before(&e, &q->heap[parent]))
            break;
        q->heap[hole] = q->heap[parent];
        hole = parent;
    }
    q->heap[hole] = e;
}

/* Puts `e` into the heap whose root is vacant. */
static void fill_root(struct evq *q, struct event e)
{
    size_t hole = 0;
    for (;;) {
        size_t child = 2 * hole + 1;
        if (child >= q->n)
            break;
        if (child + 1 < q->n && evq_before(&q->heap[child + 1], &q->heap[child]))
            child++;
        if (!evq_before(&q->heap[child], &e))
            break;
        q->heap[hole] = q->heap[child];
        hole = child;
    }
    q->heap[hole] = e;
}

bool evq_pop(struct evq *q, struct event *out)
{
    if (q->n == 0)
        return false;
    *out = q->heap[0];
    q->n--;
    if (q->n > 0) {
        fill_root(q, q->heap[q->n]);
        /* Equal keys would come out one after the other: this is where a pair would show. */
        CHECK(evq_before(out, &q->heap[0]), "evq: no two events have equal keys",
              "at %" PRId64 " kind %u entity %u number %" PRIu64, out->at, out->kind, out->entity,
              out->number);
    }
    return true;
}

const struct event *evq_top(const struct evq *q)
{
    return q->n > 0 ? &q->heap[0] : NULL;
}
