/* prefix_order.h: the waiting requests in the order of SGLang's longest prefix match (scheduling.md
 * 3.3), for the duration of one decision.
 *
 * The longest cached prefix goes first, ties in the order of the queue. Of those that hit at most
 * 32 tokens and begin alike for at least 32, only the first keeps its place, the others go last:
 * in the next step they will hit what the first computes. With more than 128 waiting the order is
 * that of the queue, so that the work of a step is bounded; whoever claims locality should know. */
#ifndef SIM_PREFIX_ORDER_H
#define SIM_PREFIX_ORDER_H

#include "sim/view.h"

#define PREFIX_ORDER_MOST 128u
#define PREFIX_ORDER_ALIKE 32u /* tokens */

struct prefix_rank {
    req_id id;
    uint32_t place; /* in the queue */
    int64_t match;  /* cached tokens; -1: goes last. What prefix_dfs.h sorts by */
};

struct prefix_order {
    bool sorted; /* else the order of the queue */
    uint32_t n, at;
    req_id next; /* where the queue is walked */
    struct prefix_rank rank[PREFIX_ORDER_MOST];
};

/* The order of the queue. */
void prefix_order_plain(struct prefix_order *o, const struct sched_view *v);

/* Looks at the queue as it is now. */
void prefix_order_begin(struct prefix_order *o, const struct sched_view *v);

/* The next one in order, which may have been admitted since by the caller's own doing; REQ_NONE at
 * the end. What it returned may leave the queue before the next call; nobody else may. */
req_id prefix_order_next(struct prefix_order *o, const struct sched_view *v);

/* From the front again: for the same decision. */
void prefix_order_rewind(struct prefix_order *o, const struct sched_view *v);

#endif
