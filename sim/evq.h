/* evq.h: the event queue. One total order, in one function (evq_before):
 *     (at, kind, entity, number)
 * Kinds are ordered: what frees resources, then arrivals, then timers, then decisions. `entity` is
 * a replica, link or 0; `number` is that entity's own count (a step number, a trace position),
 * never a count of insertions. Two events may not have equal keys. */
#ifndef SIM_EVQ_H
#define SIM_EVQ_H

#include "sim/base.h"

enum ev_kind {
    EV_STEP_DONE, /* entity = replica, number = step */
    EV_TRANSFER,  /* entity = link, number = generation of the link's schedule (stale ones ignored)
                   */
    EV_ARRIVAL,   /* entity = 0, number = seq of the request */
    EV_DEFERRED,  /* entity = replica, number = seq: on_arrival said DEFER until now */
    EV_TIMER,     /* entity = replica, number = count of that replica's timers */
    EV_DECIDE,    /* entity = replica, number = count of that replica's decisions */
};

struct event {
    ns_t at;
    uint64_t number;
    uint32_t kind; /* enum ev_kind */
    uint32_t entity;
    uint64_t data; /* the caller's own; not part of the order */
};

struct evq {
    struct event *heap;
    size_t n, cap;
};

void evq_init(struct evq *q);
void evq_release(struct evq *q);
void evq_push(struct evq *q, struct event e);
bool evq_pop(struct evq *q, struct event *out);   /* false when empty */
const struct event *evq_top(const struct evq *q); /* NULL when empty */
bool evq_before(const struct event *a, const struct event *b);

#endif
