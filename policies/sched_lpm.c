/* sched_lpm.c: Longest Prefix Match, SGLang's cache-aware order (arXiv 2312.07104; scheduling.md
 * 3.3): see sim/prefix_order.h. Admission stops at the first request that does not fit.
 *
 * Requests whose prefix is not cached wait as long as others with a longer match come: there is no
 * bound (DLPM is the answer to that). Memory is reserved as the engine is configured, not by
 * SGLang's new_token_ratio. */
#include "sim/prefix_order.h"
#include "sim/scheduler.h"

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)p;
    (void)l;
    (void)e;
    return arena_alloc(a, sizeof(struct prefix_order));
}

static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct prefix_order *order = self;
    (void)last;
    if (res == TRY_FIRST)
        prefix_order_begin(order, v);
    else if (res != TRY_ADMITTED && res != TRY_LOADING)
        return REQ_NONE;
    return prefix_order_next(order, v);
}

const struct scheduler_ops sched_lpm = {
    .name = "lpm",
    .doc = "longest cached prefix first, as SGLang; starves whoever shares nothing",
    .source = "SGLang schedule_policy.py; arXiv 2312.07104; scheduling.md 3.3",
    .open = open,
    .next_candidate = next_candidate,
};
