/* sched_dlpm.c: Deficit Longest Prefix Match (arXiv 2501.14312, Algorithm 1; scheduling.md 3.6):
 * the order of longest prefix match, gated by a deficit per tenant.
 *
 * A tenant whose deficit q is positive may have requests admitted, each charged what the cache did
 * not hold of its prompt, at admission; output tokens are charged as they come out, so that q may
 * go far below zero. When no tenant with waiting requests has q > 0, those with q <= 0 get quanta
 * until one has. What does not fit is passed over; but while somebody with q > 0 waits, the others
 * stay gated, even if they would fit.
 *
 * The paper's loop has no end while memory is full, and refills one quantum at a time: here a
 * request is tried once a decision, the k refills that are due are added at once, and a decision
 * ends when all that may be tried were. Members (l in the paper) are tenants with requests that
 * wait or run; who joins begins with q = 0 (`rejoin=zero`, which the paper's proof of the latency
 * bound needs) or with the debt it left with (`keep_debt`, so that a tenant with one request at a
 * time pays too). Whose last request ends at the instant at which the next one comes never left: a
 * closed loop without thinking keeps its credit. A request that comes back after a preemption is
 * not charged again.
 *
 * Must hold: q <= quantum; two tenants that wait throughout are refilled equally often. */
#include <string.h>

#include "sim/hold.h"
#include "sim/prefix_order.h"
#include "sim/tenant_queue.h"

#define MOST_FAILURES 128u /* tries in vain of one decision: as many as prefix_order sorts */

struct tenant {
    int64_t q;                /* the deficit counter, fixed point */
    uint32_t live, waiting;   /* its requests */
    uint32_t place;           /* among the members, while live > 0 */
    ns_t left_at;             /* when it last ceased to be a member */
    uint32_t failed;          /* of its waiting requests, tried in vain in decision ... */
    uint64_t failed_decision; /* ... this one */
};

struct mark {
    uint64_t tried_in; /* the decision */
};

struct dlpm {
    struct arena *arena;
    int64_t we, wq, quantum; /* fixed point */
    bool keep_debt;
    uint32_t *member;
    size_t n_members, cap;

    uint32_t waiting;          /* requests of all members */
    uint32_t positive;         /* members with q > 0 of whom some wait ... */
    uint32_t positive_waiting; /* ... how many do */
    uint32_t positive_failed;  /* ... and of those, how many were tried in vain in this decision */

    uint64_t decision;
    uint32_t failures; /* of this decision */
    struct prefix_order order;
};

static const struct param_desc params[] = {
    {"we", PARAM_REAL, "1", "service of a prompt token that was not cached (w_e)", 0, 1e6, NULL},
    {"wq", PARAM_REAL, "2", "service of an output token (w_q)", 0, 1e6, NULL},
    {"quantum", PARAM_REAL, "20000", "service of a refill (Q^u): larger = more locality", 1, 1e12,
     NULL},
    {"rejoin", PARAM_STR, "zero", "counter of a tenant that comes back: zero, or the debt it had",
     0, 0, "zero|keep_debt"},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct dlpm *d = arena_alloc(a, sizeof(*d));
    d->arena = a;
    d->we = service_fixed(params_num(p, params, "dlpm", "we"));
    d->wq = service_fixed(params_num(p, params, "dlpm", "wq"));
    d->quantum = service_fixed(params_num(p, params, "dlpm", "quantum"));
    d->keep_debt = strcmp(params_str(p, params, "dlpm", "rejoin"), "keep_debt") == 0;
    return d;
}

static struct tenant *tenant_at(const struct sched_view *v, uint32_t t)
{
    return view_tenant_state(v, t);
}

static struct tenant *tenant_of(const struct sched_view *v, req_id id)
{
    return tenant_at(v, view_req(v, id)->tenant);
}

/* ---- what can still be tried ---- */

static uint32_t failed(const struct dlpm *d, const struct tenant *u)
{
    return u->failed_decision == d->decision ? u->failed : 0;
}

/* Takes a tenant into the counts, or (-1) out of them: before and after a change of it. */
static void count(struct dlpm *d, const struct tenant *u, int sign)
{
    uint32_t times = (uint32_t)sign; /* modulo 2^32, as the counts are */
    d->waiting += times * u->waiting;
    if (u->q <= 0 || u->waiting == 0)
        return;
    d->positive += times;
    d->positive_waiting += times * u->waiting;
    d->positive_failed += times * failed(d, u);
}

static void add_waiting(struct dlpm *d, struct tenant *u, int32_t n)
{
    count(d, u, -1);
    u->waiting += (uint32_t)n;
    count(d, u, 1);
}

/* A deficit changes with every token; the counts only where its sign does. */
static void add_service(struct dlpm *d, struct tenant *u, int64_t service)
{
    bool turns = (u->q > 0) != (u->q + service > 0);
    if (turns)
        count(d, u, -1);
    u->q += service;
    if (turns)
        count(d, u, 1);
}

static void begin_decision(struct dlpm *d)
{
    d->decision++;
    d->failures = d->positive_failed = 0;
}

static void note_failure(struct dlpm *d, struct tenant *u)
{
    count(d, u, -1);
    u->failed = failed(d, u) + 1;
    u->failed_decision = d->decision;
    count(d, u, 1);
    d->failures++;
}

/* ---- members ---- */

static void enter(struct dlpm *d, const struct sched_view *v, uint32_t t)
{
    struct tenant *u = tenant_at(v, t);
    if (u->live++ > 0)
        return;
    if (u->left_at < v->now) /* who never was a member has q = 0 */
        u->q = d->keep_debt ? MIN(u->q, 0) : 0;
    d->member = arena_reserve(d->arena, d->member, &d->cap, d->n_members + 1, sizeof(*d->member));
    u->place = (uint32_t)d->n_members;
    d->member[d->n_members++] = t;
}

static void leave(struct dlpm *d, const struct sched_view *v, uint32_t t, ns_t at)
{
    struct tenant *u = tenant_at(v, t);
    if (--u->live > 0)
        return;
    u->left_at = at;
    uint32_t last = d->member[--d->n_members];
    d->member[u->place] = last;
    tenant_at(v, last)->place = u->place;
}

/* ---- the gate ---- */

/* Quanta after which q > 0, for a q that is not. */
static int64_t quanta_due(const struct dlpm *d, const struct tenant *u)
{
    return -u->q / d->quantum + 1;
}

/* Nobody who waits has q > 0: as many refills as it takes until one has. In each, every member with
 * q <= 0 gets a quantum; one that only runs stops getting any when it is above zero. */
static void refill(struct dlpm *d, const struct sched_view *v)
{
    int64_t k = INT64_MAX;
    for (size_t i = 0; i < d->n_members; i++) {
        const struct tenant *u = tenant_at(v, d->member[i]);
        if (u->waiting > 0)
            k = MIN(k, quanta_due(d, u));
    }
    for (size_t i = 0; i < d->n_members; i++) {
        struct tenant *u = tenant_at(v, d->member[i]);
        if (u->q <= 0)
            add_service(d, u, MIN(k, quanta_due(d, u)) * d->quantum);
    }
}

/* The next one in order that was not tried yet; the order begins anew at its end. */
static req_id next_untried(struct dlpm *d, const struct sched_view *v)
{
    for (;;) {
        req_id id = prefix_order_next(&d->order, v);
        if (id == REQ_NONE)
            prefix_order_rewind(&d->order, v);
        else if (((const struct mark *)view_req_state(v, id))->tried_in != d->decision)
            return id;
    }
}

static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct dlpm *d = self;
    if (res == TRY_FIRST) {
        begin_decision(d);
        prefix_order_begin(&d->order, v);
    } else if (res != TRY_ADMITTED && res != TRY_LOADING) {
        note_failure(d, tenant_of(v, last));
    }
    if (res == TRY_NO_SLOT || d->failures >= MOST_FAILURES)
        return REQ_NONE;
    if (d->positive == 0 && d->waiting > d->failures)
        refill(d, v);
    if (d->positive_waiting == d->positive_failed) /* blocked by memory: the others stay gated */
        return REQ_NONE;
    req_id id;
    do
        id = next_untried(d, v);
    while (tenant_of(v, id)->q <= 0);
    ((struct mark *)view_req_state(v, id))->tried_in = d->decision;
    return id;
}

/* ---- the rest ---- */

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    enter(self, v, view_req(v, id)->tenant);
    add_waiting(self, tenant_of(v, id), 1);
    return ADM_ACCEPT;
}

static void on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    (void)mode;
    add_waiting(self, tenant_of(v, id), 1);
}

static void on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                     uint32_t cached, bool resumed)
{
    (void)cached;
    struct dlpm *d = self;
    struct tenant *u = tenant_of(v, id);
    add_waiting(d, u, -1);
    if (!resumed)
        add_service(d, u, -(extend * d->we));
}

static void on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at)
{
    (void)prefill_done;
    (void)recomputed;
    (void)at;
    struct dlpm *d = self;
    add_service(d, tenant_of(v, id), -(out_new * d->wq));
}

static void on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                      ns_t at)
{
    (void)why;
    const struct req_info *q = view_req(v, id);
    if (req_is_waiting(q)) /* preempted, and then its last token came out */
        add_waiting(self, tenant_of(v, id), -1);
    leave(self, v, q->tenant, at);
}

static double tenant_counter(const void *self, const struct sched_view *v, uint32_t t)
{
    (void)self;
    return (double)tenant_at(v, t)->q / (double)SERVICE_ONE;
}

const struct scheduler_ops sched_dlpm = {
    .name = "dlpm",
    .doc = "longest cached prefix first among tenants whose deficit is positive: fair and local",
    .source = "Cao et al., arXiv 2501.14312, Algorithm 1 and appendix A; scheduling.md 3.6",
    .params = params,
    .req_state_bytes = sizeof(struct mark),
    .tenant_state_bytes = sizeof(struct tenant),
    .open = open,
    .on_arrival = on_arrival,
    .next_candidate = next_candidate,
    .on_admit = on_admit,
    .on_tokens = on_tokens,
    .on_finish = on_finish,
    .on_preempt = on_preempt,
    .tenant_counter = tenant_counter,
    .hold = hold_while_none_wait,
};
