/* tenant_queue.h: what fair schedulers share: the waiting requests of each tenant, first in first
 * out, the tenants that have any, smallest key first, and the callbacks that keep both and charge
 * for service.
 *
 * A policy that uses it begins its own state with a `struct tenant_queue`, that of a tenant with
 * `struct tq_tenant` and that of a request with `struct tq_link`; the last two start out zeroed.
 * What a key means is the policy's business: after a change of the key of a tenant it calls
 * tq_reorder. */
#ifndef SIM_TENANT_QUEUE_H
#define SIM_TENANT_QUEUE_H

#include "sim/scheduler.h"

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

/* What differs between policies. */
struct tq_rules {
    /* The tenant's first request is about to join: the time to set its key. [nothing] */
    void (*opens)(void *, const struct sched_view *, uint32_t tenant);
    /* The tenant is given service, in fixed point. */
    void (*charge)(void *, const struct sched_view *, uint32_t tenant, int64_t service);
};

struct tq_slot { /* of a heap; the key beside the tenant spares a look at its state */
    int64_t key;
    uint32_t tenant;
};

struct tenant_queue {
    struct arena *arena;
    const struct tq_rules *rules;
    int64_t wp, wq;       /* service of a prompt token and of an output token, fixed point */
    struct tq_slot *heap; /* the tenants with waiting requests */
    size_t n_heap, cap;
};

/* wp and wq are read from the parameters of `owner`. */
void tq_init(struct tenant_queue *q, struct arena *a, const struct tq_rules *rules,
             const struct params *p, const struct param_desc *desc, const char *owner);

void tq_remove(struct tenant_queue *q, const struct sched_view *v, req_id id);
void tq_reorder(struct tenant_queue *q, const struct sched_view *v, uint32_t tenant);

/* The tenant with the smallest key of those with waiting requests; TQ_NONE: nobody waits. */
uint32_t tq_first(const struct tenant_queue *q);

static inline struct tq_tenant *tq_tenant(const struct sched_view *v, uint32_t tenant)
{
    return view_tenant_state(v, tenant);
}

int64_t service_fixed(double units); /* to the nearest 2^-20 */

/* Callbacks of struct scheduler_ops. New requests join at the back of their tenant's queue,
 * preempted ones at the front; the candidate is the oldest of the first tenant, and once one has
 * failed nobody is: nobody is passed over. A request is charged its prompt when it is admitted for
 * the first time, and its output as that comes out. */
enum adm tq_on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at);
void tq_on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode);
req_id tq_next_candidate(void *self, const struct sched_view *v, req_id last, enum try_result res);
void tq_on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                 uint32_t cached, bool resumed);
void tq_on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                  uint32_t out_new, uint32_t recomputed, ns_t at);
void tq_on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                  ns_t at);
double tq_counter(const void *self, const struct sched_view *v, uint32_t tenant); /* its key */

#endif
