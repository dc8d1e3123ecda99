/* sched_vtc.c: Virtual Token Counter, fair queueing over tenants for unknown output lengths
 * (Sheng et al., OSDI'24, arXiv 2401.00588, Algorithm 2; scheduling.md 3.4).
 *
 * Every tenant has a counter c of the service it was given: prompt tokens when a request is
 * admitted, output tokens as they are emitted, weighted and divided by the tenant's weight. The
 * waiting request to try next is the head of the queue of the tenant with the smallest c; if it
 * does not fit, nobody is admitted. A tenant whose queue becomes non-empty is lifted to the
 * smallest c of those waiting, or, when nobody waits, to the c of the tenant that left the queue
 * last.
 *
 * Where a preempted request re-opens its tenant's queue the same lift applies: the paper has no
 * preemption, and without the lift the tenant would keep credit from the time it was not
 * backlogged. A request that comes back is not charged again, nor are recomputed tokens.
 *
 * Must hold: c never decreases but for refunds of predictions. What a division by a weight leaves
 * over is kept per tenant, so that weights are exact in the long run. */
#include <string.h>

#include "sim/hold.h"
#include "sim/tenant_queue.h"

__extension__ typedef __int128 wide;

struct tenant {
    struct tq_tenant queue; /* its key is the virtual counter c */
    int64_t remainder;      /* of the last division by weight: 0 <= it < weight */
    int64_t weight;         /* fixed point; 0: not looked up yet */
};

struct waiting {
    struct tq_link link;
    int64_t predicted; /* vtc.predict: output tokens charged ahead at admission */
};

enum cost { COST_LINEAR, COST_PROFILE };

struct vtc {
    struct tenant_queue queue; /* first: its callbacks take the policy */
    const struct params *params;
    enum cost cost;
    bool charge_extend, predict;
    uint32_t last_left; /* tenant that emptied its queue last */
    bool any_left;
};

static const struct param_desc params[] = {
    {"wp", PARAM_REAL, "1", "service of a prompt token (w_p of the paper)", 0, 1e6, NULL},
    {"wq", PARAM_REAL, "2", "service of an output token (w_q of the paper)", 0, 1e6, NULL},
    {"weights", PARAM_MAP, "", "object tenant -> weight, 1 where absent: shares are proportional",
     0, 0, NULL},
    {"cost", PARAM_STR, "linear", "cost of a request: linear, or profile (h(x,y) of the artifact)",
     0, 0, "linear|profile"},
    {"charge", PARAM_STR, "prompt", "charge the whole prompt, or only what the cache did not hold",
     0, 0, "prompt|extend"},
    {"predict", PARAM_BOOL, "false", "charge the predicted output at admission, settle at the end",
     0, 0, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

/* ---- queues of tenants ---- */

static struct tenant *tenant_at(const struct sched_view *s, uint32_t t)
{
    return view_tenant_state(s, t);
}

/* Just before tenant t joins those waiting. */
static void lift(void *self, const struct sched_view *s, uint32_t t)
{
    const struct vtc *v = self;
    uint32_t least = tq_first(&v->queue);
    int64_t floor;
    if (least != TQ_NONE)
        floor = tq_tenant(s, least)->key;
    else if (v->any_left)
        floor = tq_tenant(s, v->last_left)->key;
    else
        return;
    struct tq_tenant *u = tq_tenant(s, t);
    u->key = MAX(u->key, floor);
}

static void part(struct vtc *v, const struct sched_view *s, req_id id)
{
    uint32_t t = view_req(s, id)->tenant;
    tq_remove(&v->queue, s, id);
    if (tq_tenant(s, t)->n == 0) {
        v->last_left = t;
        v->any_left = true;
    }
}

/* ---- charging ---- */

/* h(x, y) of the artifact in service units: prompt x, output y. */
static double profiled(double x, double y)
{
    return 0.21001891 * x + 0.10075395 * y + 0.0039868 * x * y + 0.00324733 * y * y + 1.14601454;
}

static void charge(void *self, const struct sched_view *s, uint32_t t, int64_t service)
{
    struct vtc *v = self;
    struct tenant *u = tenant_at(s, t);
    if (u->weight == 0)
        u->weight = service_fixed(
            params_map_num(v->params, "vtc", "weights", names_text(s->tenants, t), 1.0));
    if (u->weight == SERVICE_ONE) {
        u->queue.key += service;
    } else {
        wide scaled = (wide)service * SERVICE_ONE + u->remainder;
        wide whole = scaled / u->weight;
        if (whole * u->weight > scaled) /* a refund: rounded down, so that the remainder is >= 0 */
            whole--;
        u->remainder = (int64_t)(scaled - whole * u->weight);
        u->queue.key += (int64_t)whole;
    }
    tq_reorder(&v->queue, s, t);
}

/* Cost of output tokens (from, to] of a request. */
static int64_t output_cost(const struct vtc *v, const struct req_info *q, int64_t from, int64_t to)
{
    if (v->cost == COST_LINEAR)
        return (to - from) * v->queue.wq;
    double x = q->prompt_tokens;
    return service_fixed(profiled(x, (double)to) - profiled(x, (double)from));
}

/* ---- callbacks ---- */

static const struct tq_rules rules = {.opens = lift, .charge = charge};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct vtc *v = arena_alloc(a, sizeof(*v));
    tq_init(&v->queue, a, &rules, p, params, "vtc");
    v->params = p;
    v->cost =
        strcmp(params_str(p, params, "vtc", "cost"), "profile") == 0 ? COST_PROFILE : COST_LINEAR;
    v->charge_extend = strcmp(params_str(p, params, "vtc", "charge"), "extend") == 0;
    v->predict = params_bool(p, params, "vtc", "predict");
    return v;
}

static void on_admit(void *self, const struct sched_view *s, req_id id, uint32_t extend,
                     uint32_t cached, bool resumed)
{
    (void)cached;
    struct vtc *v = self;
    part(v, s, id);
    if (resumed)
        return;
    const struct req_info *q = view_req(s, id);
    uint32_t prompt = v->charge_extend ? extend : q->prompt_tokens;
    charge(v, s, q->tenant,
           v->cost == COST_LINEAR ? prompt * v->queue.wp
                                  : service_fixed(profiled((double)prompt, 0.0)));
    if (v->predict) {
        struct waiting *w = view_req_state(s, id);
        w->predicted = (int64_t)view_predict(s, id).mean;
        charge(v, s, q->tenant, output_cost(v, q, 0, w->predicted));
    }
}

static void on_tokens(void *self, const struct sched_view *s, req_id id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at)
{
    (void)prefill_done;
    (void)recomputed;
    (void)at;
    struct vtc *v = self;
    const struct req_info *q = view_req(s, id);
    const struct waiting *w = view_req_state(s, id);
    int64_t to = q->emitted, from = MAX(to - (int64_t)out_new, w->predicted);
    if (to > from) /* what was predicted is charged already */
        charge(v, s, q->tenant, output_cost(v, q, from, to));
}

static void on_finish(void *self, const struct sched_view *s, req_id id, enum finish_reason why,
                      ns_t at)
{
    (void)why;
    (void)at;
    struct vtc *v = self;
    const struct req_info *q = view_req(s, id);
    const struct waiting *w = view_req_state(s, id);
    if (w->predicted > q->emitted)
        charge(v, s, q->tenant, -output_cost(v, q, q->emitted, w->predicted));
    if (req_is_waiting(q)) /* preempted, and then its last token came out */
        part(v, s, id);
}

/* A profiled cost is rounded whenever it is charged: every token is its own charge. */
static uint32_t hold(void *self, const struct sched_view *s)
{
    const struct vtc *v = self;
    return v->cost == COST_LINEAR ? hold_until_admission(self, s) : 1;
}

const struct scheduler_ops sched_vtc = {
    .name = "vtc",
    .doc = "virtual token counter: fair among tenants whatever their output lengths",
    .source = "Sheng et al., OSDI'24, arXiv 2401.00588, Algorithm 2; scheduling.md 3.4",
    .params = params,
    .req_state_bytes = sizeof(struct waiting),
    .tenant_state_bytes = sizeof(struct tenant),
    .open = open,
    .on_arrival = tq_on_arrival,
    .next_candidate = tq_next_candidate,
    .on_admit = on_admit,
    .on_tokens = on_tokens,
    .on_finish = on_finish,
    .on_preempt = tq_on_preempt,
    .tenant_counter = tq_counter,
    .hold = hold,
};
