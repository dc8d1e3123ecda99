/* sched_lcf.c: Least Counter First: the tenant that was given the least service since the beginning
 * goes first (the baseline of Sheng et al., OSDI'24, arXiv 2401.00588; scheduling.md 3.4): VTC
 * without the lift.
 *
 * So a tenant that comes back after a while is repaid for all the time it was away, at the expense
 * of those who stayed: there is no bound among tenants that come and go. A request that comes back
 * after a preemption is not charged again. */
#include "sim/hold.h"
#include "sim/tenant_queue.h"

static const struct param_desc params[] = {
    {"wp", PARAM_REAL, "1", "service of a prompt token", 0, 1e6, NULL},
    {"wq", PARAM_REAL, "2", "service of an output token", 0, 1e6, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

/* A tenant's key is its counter. */
static void charge(void *self, const struct sched_view *v, uint32_t tenant, int64_t service)
{
    tq_tenant(v, tenant)->key += service;
    tq_reorder(self, v, tenant);
}

static const struct tq_rules rules = {.charge = charge};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct tenant_queue *q = arena_alloc(a, sizeof(*q));
    tq_init(q, a, &rules, p, params, "lcf");
    return q;
}

const struct scheduler_ops sched_lcf = {
    .name = "lcf",
    .doc = "least service since the beginning first: vtc without the lift",
    .source = "Sheng et al., OSDI'24, arXiv 2401.00588, section 5; scheduling.md 3.4",
    .params = params,
    .req_state_bytes = sizeof(struct tq_link),
    .tenant_state_bytes = sizeof(struct tq_tenant),
    .open = open,
    .on_arrival = tq_on_arrival,
    .next_candidate = tq_next_candidate,
    .on_admit = tq_on_admit,
    .on_tokens = tq_on_tokens,
    .on_finish = tq_on_finish,
    .on_preempt = tq_on_preempt,
    .tenant_counter = tq_counter,
    .hold = hold_until_admission,
};
