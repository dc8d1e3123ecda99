/* wait_order.h: a waiting queue in the order of a fixed key, for policies whose order differs from
 * the engine's: a heap of waiting requests by (class, key, seq), and the three callbacks that keep
 * it. A policy that uses them starts its state with a struct wait_order, sets `arena`, and pushes
 * from on_arrival and on_preempt. Admission stops at the first that fails: nobody is passed over.
 *
 * Aging (scheduling.md 3.20): key - rate x waited orders just as key + rate x arrival does, since
 * all wait at the same pace; so an aged key is fixed too, and a push costs O(log n). */
#ifndef SIM_WAIT_ORDER_H
#define SIM_WAIT_ORDER_H

#include "sim/scheduler.h"

#define WAIT_ORDER_ONE (INT64_C(1) << 20) /* keys are fixed point: 2^-20 of a unit */

struct wait_entry {
    int64_t class_of, key;
    uint64_t seq;
    req_id id;
};

struct wait_order {
    struct arena *arena;
    struct wait_entry *v;
    size_t n, cap;
};

/* Smallest class first, then smallest key, then the trace's order. */
void wait_order_push(struct wait_order *w, const struct sched_view *v, req_id id, int64_t class_of,
                     int64_t key);
/* The key of `units` for a request that arrived at `at`, aging by `rate` (fixed point) a second. */
int64_t wait_order_aged(uint64_t units, int64_t rate, ns_t at);

/* Callbacks of struct scheduler_ops. */
req_id wait_order_next_candidate(void *self, const struct sched_view *v, req_id last,
                                 enum try_result res);
void wait_order_on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                         uint32_t cached, bool resumed);
void wait_order_on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                          ns_t at);

#endif
