/* sched_lcf.c: Least Counter First: the tenant that was given the least service since the beginning
 * goes first (the baseline of Sheng et al., OSDI'24, arXiv 2401.00588; scheduling.md 3.4): VTC
 * without the lift.
 *
 * So a tenant that comes back after a while is repaid for all the time it was away, at the expense
 * of those who stayed: there is no bound among tenants that come and go. A request that comes back
 * after a preemption is not charged again. */
#include "sim/scheduler.h"
#include "sim/tenant_queue.h"

struct lcf {
    struct tenant_queue queue; /* a tenant's key is its counter */
    int64_t wp, wq;            /* fixed point */
};

static const struct param_desc params[] = {
    {"wp", PARAM_REAL, "1", "service of a prompt token", 0, 1e6, NULL},
    {"wq", PARAM_REAL, "2", "service of an output token", 0, 1e6, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct lcf *c = arena_alloc(a, sizeof(*c));
    tq_init(&c->queue, a);
    c->wp = service_fixed(params_num(p, params, "lcf", "wp"));
    c->wq = service_fixed(params_num(p, params, "lcf", "wq"));
    return c;
}

static void charge(struct lcf *c, const struct sched_view *v, uint32_t tenant, int64_t cost)
{
    tq_tenant(v, tenant)->key += cost;
    tq_reorder(&c->queue, v, tenant);
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    tq_push_back(&((struct lcf *)self)->queue, v, id);
    return ADM_ACCEPT;
}

static void on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    (void)mode;
    tq_push_front(&((struct lcf *)self)->queue, v, id);
}

static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    const struct lcf *c = self;
    (void)last;
    bool failed = res != TRY_FIRST && res != TRY_ADMITTED && res != TRY_LOADING;
    uint32_t least = tq_first(&c->queue);
    return failed || least == TQ_NONE ? REQ_NONE : tq_tenant(v, least)->head;
}

static void on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                     uint32_t cached, bool resumed)
{
    (void)extend;
    (void)cached;
    struct lcf *c = self;
    const struct req_info *q = view_req(v, id);
    tq_remove(&c->queue, v, id);
    if (!resumed)
        charge(c, v, q->tenant, q->prompt_tokens * c->wp);
}

static void on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at)
{
    (void)prefill_done;
    (void)recomputed;
    (void)at;
    struct lcf *c = self;
    if (out_new > 0)
        charge(c, v, view_req(v, id)->tenant, out_new * c->wq);
}

static void on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                      ns_t at)
{
    (void)why;
    (void)at;
    if (req_is_waiting(view_req(v, id))) /* preempted, and then its last token came out */
        tq_remove(&((struct lcf *)self)->queue, v, id);
}

static double tenant_counter(const void *self, const struct sched_view *v, uint32_t t)
{
    (void)self;
    return (double)tq_tenant(v, t)->key / (double)SERVICE_ONE;
}

const struct scheduler_ops sched_lcf = {
    .name = "lcf",
    .doc = "least service since the beginning first: vtc without the lift",
    .source = "Sheng et al., OSDI'24, arXiv 2401.00588, section 5; scheduling.md 3.4",
    .params = params,
    .req_state_bytes = sizeof(struct tq_link),
    .tenant_state_bytes = sizeof(struct tq_tenant),
    .open = open,
    .on_arrival = on_arrival,
    .next_candidate = next_candidate,
    .on_admit = on_admit,
    .on_tokens = on_tokens,
    .on_finish = on_finish,
    .on_preempt = on_preempt,
    .tenant_counter = tenant_counter,
};
