/* sched_drr.c: deficit round robin over tenants (scheduling.md 3.5; after MDRR of the VTC
 * artifact): the reference for DLPM, with turns in place of the order by prefix.
 *
 * Tenants with waiting requests take turns. A turn begins with one quantum added to the tenant's
 * deficit; while that is positive its requests are admitted, oldest first, each charged its prompt;
 * output tokens are charged as they come out, so that a deficit may go far below zero, and a tenant
 * in debt passes until its quanta have paid it. If a request does not fit, nobody is admitted.
 *
 * Must hold: only the tenant whose turn it is has a positive deficit, never more than the quantum;
 * of two tenants that wait throughout, none is given more than one quantum more than the other.
 * Credit does not outlast the queue, debt does. The key of a tenant is the number of its turn. */
#include <math.h>

#include "sim/hold.h"
#include "sim/tenant_queue.h"

struct tenant {
    struct tq_tenant queue;
    int64_t deficit; /* fixed point */
};

struct drr {
    struct tenant_queue queue; /* first: its callbacks take the policy */
    int64_t quantum;           /* fixed point */
    int64_t turns;             /* given out so far */
};

static const struct param_desc params[] = {
    {"wp", PARAM_REAL, "1", "service of a prompt token", 0, 1e6, NULL},
    {"wq", PARAM_REAL, "2", "service of an output token", 0, 1e6, NULL},
    {"quantum", PARAM_REAL, "", "service added a turn; if absent KV capacity / 20", 1, 1e9, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static struct tenant *tenant_at(const struct sched_view *v, uint32_t t)
{
    return view_tenant_state(v, t);
}

static void end_turn(struct drr *d, const struct sched_view *v, uint32_t t)
{
    tq_tenant(v, t)->key = ++d->turns;
    tq_reorder(&d->queue, v, t);
}

static void charge(void *self, const struct sched_view *v, uint32_t t, int64_t service)
{
    struct drr *d = self;
    struct tenant *u = tenant_at(v, t);
    bool had_turn = u->deficit > 0;
    u->deficit -= service;
    if (had_turn && u->deficit <= 0)
        end_turn(d, v, t);
}

static void opens(void *self, const struct sched_view *v, uint32_t t)
{
    struct drr *d = self;
    struct tenant *u = tenant_at(v, t);
    u->deficit = MIN(u->deficit, 0);
    u->queue.key = ++d->turns;
}

static const struct tq_rules rules = {.opens = opens, .charge = charge};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)e;
    struct drr *d = arena_alloc(a, sizeof(*d));
    double quantum = params_num(p, params, "drr", "quantum");
    if (isnan(quantum))
        quantum = fmax(1, (double)limits_kv_tokens(l) / 20);
    tq_init(&d->queue, a, &rules, p, params, "drr");
    d->quantum = service_fixed(quantum);
    return d;
}

/* All are in debt: the rounds at once in which nobody comes out of it. */
static void skip_rounds(struct drr *d, const struct sched_view *v)
{
    int64_t rounds = INT64_MAX;
    for (size_t i = 0; i < d->queue.n_heap; i++)
        rounds = MIN(rounds, -tenant_at(v, d->queue.heap[i].tenant)->deficit / d->quantum);
    for (size_t i = 0; i < d->queue.n_heap; i++)
        tenant_at(v, d->queue.heap[i].tenant)->deficit += rounds * d->quantum;
}

static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct drr *d = self;
    (void)last;
    bool failed = res != TRY_FIRST && res != TRY_ADMITTED && res != TRY_LOADING;
    if (failed || d->queue.n_heap == 0)
        return REQ_NONE;
    for (size_t passed = 0;; passed++) {
        uint32_t t = tq_first(&d->queue);
        struct tenant *u = tenant_at(v, t);
        if (u->deficit <= 0) { /* its turn begins */
            if (passed == d->queue.n_heap)
                skip_rounds(d, v);
            u->deficit += d->quantum;
        }
        if (u->deficit > 0)
            return u->queue.head;
        end_turn(d, v, t);
    }
}

static double tenant_counter(const void *self, const struct sched_view *v, uint32_t t)
{
    (void)self;
    return (double)tenant_at(v, t)->deficit / (double)SERVICE_ONE;
}

const struct scheduler_ops sched_drr = {
    .name = "drr",
    .doc = "deficit round robin over tenants: a quantum of service a turn, debt carried",
    .source = "MDRR of the VTC artifact (S-LoRA's slora/server/router); scheduling.md 3.5",
    .params = params,
    .req_state_bytes = sizeof(struct tq_link),
    .tenant_state_bytes = sizeof(struct tenant),
    .open = open,
    .on_arrival = tq_on_arrival,
    .next_candidate = next_candidate,
    .on_admit = tq_on_admit,
    .on_tokens = tq_on_tokens,
    .on_finish = tq_on_finish,
    .on_preempt = tq_on_preempt,
    .tenant_counter = tenant_counter,
    .hold = hold_while_none_wait,
};
