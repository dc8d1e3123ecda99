#include "sim/wait_order.h"

__extension__ typedef __int128 wide;

static bool before(const struct wait_entry *a, const struct wait_entry *b)
{
    if (a->class_of != b->class_of)
        return a->class_of < b->class_of;
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void sift_up(struct wait_order *w, size_t i, struct wait_entry x)
{
    for (; i > 0 && before(&x, &w->v[(i - 1) / 2]); i = (i - 1) / 2)
        w->v[i] = w->v[(i - 1) / 2];
    w->v[i] = x;
}

static void sift_down(struct wait_order *w, size_t i, struct wait_entry x)
{
    for (size_t child; (child = 2 * i + 1) < w->n; i = child) {
        if (child + 1 < w->n && before(&w->v[child + 1], &w->v[child]))
            child++;
        if (!before(&w->v[child], &x))
            break;
        w->v[i] = w->v[child];
    }
    sift_up(w, i, x); /* what fills a hole from the end may belong above it */
}

void wait_order_push(struct wait_order *w, const struct sched_view *v, req_id id, int64_t class_of,
                     int64_t key)
{
    w->v = arena_reserve(w->arena, w->v, &w->cap, w->n + 1, sizeof(*w->v));
    sift_up(w, w->n++, (struct wait_entry){class_of, key, view_req(v, id)->seq, id});
}

int64_t wait_order_aged(uint64_t units, int64_t rate, ns_t at)
{
    return (int64_t)(units * (uint64_t)WAIT_ORDER_ONE) + (int64_t)((wide)rate * at / NS_PER_S);
}

/* Nearly always the first: the one that was admitted. */
static void take_out(struct wait_order *w, req_id id)
{
    size_t i = 0;
    while (w->v[i].id != id)
        i++;
    struct wait_entry last = w->v[--w->n];
    if (i < w->n)
        sift_down(w, i, last);
}

req_id wait_order_next_candidate(void *self, const struct sched_view *v, req_id last,
                                 enum try_result res)
{
    const struct wait_order *w = self;
    (void)v;
    (void)last;
    bool failed = res != TRY_FIRST && res != TRY_ADMITTED && res != TRY_LOADING;
    return failed || w->n == 0 ? REQ_NONE : w->v[0].id;
}

void wait_order_on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                         uint32_t cached, bool resumed)
{
    (void)v;
    (void)extend;
    (void)cached;
    (void)resumed;
    take_out(self, id);
}

void wait_order_on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                          ns_t at)
{
    (void)why;
    (void)at;
    enum req_state state = view_req(v, id)->state;
    if (state != REQ_RUNNING && state != REQ_LOADING) /* preempted, and then its last token came */
        take_out(self, id);
}
