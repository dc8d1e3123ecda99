/* tenant_queue.h: what fair schedulers share: the waiting requests of each tenant, first in first
 * out, and the tenants that have any, smallest key first.
 *
 * A policy that uses it begins its state of a tenant with `struct tq_tenant` and its state of a
 * request with `struct tq_link`; both start out zeroed. What a key means is the policy's business:
 * after a change of the key of a tenant it calls tq_reorder. */
#ifndef SIM_TENANT_QUEUE_H
#define SIM_TENANT_QUEUE_H

#include "sim/view.h"

#define TQ_NONE UINT32_MAX

/* Service in fixed point: counters that decide an order are whole numbers of 2^-20 units. */
#define SERVICE_ONE (INT64_C(1) << 20)

struct tq_tenant {
    int64_t key;       /* order among the tenants; ties: the smaller id */
    req_id head, tail; /* while n > 0 */
    uint32_t n;        /* its waiting requests */
    uint32_t place;    /* in the heap, while n > 0 */
};

struct tq_link {
    req_id prev, next;
};

struct tenant_queue {
    struct arena *arena;
    uint32_t *heap; /* the tenants with waiting requests */
    size_t n_heap, cap;
};

void tq_init(struct tenant_queue *q, struct arena *a);

/* Set the key before a tenant's first request joins. */
void tq_push_back(struct tenant_queue *q, const struct sched_view *v, req_id id);
void tq_push_front(struct tenant_queue *q, const struct sched_view *v, req_id id);
void tq_remove(struct tenant_queue *q, const struct sched_view *v, req_id id);
void tq_reorder(struct tenant_queue *q, const struct sched_view *v, uint32_t tenant);

/* The tenant with the smallest key of those with waiting requests; TQ_NONE: nobody waits. */
uint32_t tq_first(const struct tenant_queue *q);

static inline struct tq_tenant *tq_tenant(const struct sched_view *v, uint32_t tenant)
{
    return view_tenant_state(v, tenant);
}

int64_t service_fixed(double units); /* to the nearest 2^-20 */

#endif
