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
 * Must hold: c never decreases but for refunds of predictions; the heap holds exactly the tenants
 * with waiting requests, keyed (c, tenant). Counters are integers in units of 2^-20 token, and
 * what a division leaves over is kept per tenant, so that weights are exact in the long run. */
#include <string.h>

#include "sim/scheduler.h"

#define ONE (INT64_C(1) << 20) /* fixed point: 2^-20 of a service unit */

__extension__ typedef __int128 wide;

struct tenant {
    int64_t c;         /* the virtual counter */
    int64_t remainder; /* of the last division by weight, same sign as nothing: 0 <= it < weight */
    int64_t weight;    /* fixed point; 0: not looked up yet */
    req_id head, tail; /* its waiting requests */
    uint32_t n;
    uint32_t heap_at; /* place in the heap while n > 0 */
};

struct waiting {
    req_id next;
    int64_t predicted; /* vtc.predict: output tokens charged ahead at admission */
};

enum cost { COST_LINEAR, COST_PROFILE };

struct vtc {
    struct arena *arena;
    const struct params *params;
    int64_t wp, wq; /* fixed point */
    enum cost cost;
    bool charge_extend, predict;
    uint32_t *heap;
    size_t n_heap, heap_cap;
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

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct vtc *v = arena_alloc(a, sizeof(*v));
    v->arena = a;
    v->params = p;
    v->wp = (int64_t)(params_num(p, params, "vtc", "wp") * (double)ONE + 0.5);
    v->wq = (int64_t)(params_num(p, params, "vtc", "wq") * (double)ONE + 0.5);
    v->cost =
        strcmp(params_str(p, params, "vtc", "cost"), "profile") == 0 ? COST_PROFILE : COST_LINEAR;
    v->charge_extend = strcmp(params_str(p, params, "vtc", "charge"), "extend") == 0;
    v->predict = params_bool(p, params, "vtc", "predict");
    return v;
}

/* ---- the heap of tenants with waiting requests ---- */

static struct tenant *tenant_at(const struct sched_view *s, uint32_t t)
{
    return view_tenant_state(s, t);
}

static bool before(const struct sched_view *s, uint32_t a, uint32_t b)
{
    const struct tenant *x = tenant_at(s, a), *y = tenant_at(s, b);
    return x->c != y->c ? x->c < y->c : a < b;
}

static void heap_set(struct vtc *v, const struct sched_view *s, size_t i, uint32_t t)
{
    v->heap[i] = t;
    tenant_at(s, t)->heap_at = (uint32_t)i;
}

/* Restores the order around place i, whose tenant's counter has changed. */
static void heap_fix(struct vtc *v, const struct sched_view *s, size_t i)
{
    uint32_t t = v->heap[i];
    for (; i > 0 && before(s, t, v->heap[(i - 1) / 2]); i = (i - 1) / 2)
        heap_set(v, s, i, v->heap[(i - 1) / 2]);
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= v->n_heap)
            break;
        if (child + 1 < v->n_heap && before(s, v->heap[child + 1], v->heap[child]))
            child++;
        if (!before(s, v->heap[child], t))
            break;
        heap_set(v, s, i, v->heap[child]);
        i = child;
    }
    heap_set(v, s, i, t);
}

static void heap_add(struct vtc *v, const struct sched_view *s, uint32_t t)
{
    v->heap = arena_reserve(v->arena, v->heap, &v->heap_cap, v->n_heap + 1, sizeof(*v->heap));
    v->heap[v->n_heap] = t;
    heap_fix(v, s, v->n_heap++);
}

static void heap_remove(struct vtc *v, const struct sched_view *s, uint32_t t)
{
    size_t i = tenant_at(s, t)->heap_at;
    uint32_t last = v->heap[--v->n_heap];
    if (last == t)
        return;
    heap_set(v, s, i, last);
    heap_fix(v, s, i);
}

/* ---- queues of tenants ---- */

/* Just before tenant t joins those waiting. */
static void lift(struct vtc *v, const struct sched_view *s, uint32_t t)
{
    int64_t floor;
    if (v->n_heap > 0)
        floor = tenant_at(s, v->heap[0])->c;
    else if (v->any_left)
        floor = tenant_at(s, v->last_left)->c;
    else
        return;
    struct tenant *u = tenant_at(s, t);
    u->c = MAX(u->c, floor);
}

static void join(struct vtc *v, const struct sched_view *s, req_id id, bool front)
{
    uint32_t t = view_req(s, id)->tenant;
    struct tenant *u = tenant_at(s, t);
    struct waiting *w = view_req_state(s, id);
    if (u->n == 0) {
        lift(v, s, t);
        u->head = u->tail = id;
        w->next = REQ_NONE;
    } else if (front) {
        w->next = u->head;
        u->head = id;
    } else {
        ((struct waiting *)view_req_state(s, u->tail))->next = id;
        u->tail = id;
        w->next = REQ_NONE;
    }
    if (u->n++ == 0)
        heap_add(v, s, t);
}

static void part(struct vtc *v, const struct sched_view *s, req_id id)
{
    uint32_t t = view_req(s, id)->tenant;
    struct tenant *u = tenant_at(s, t);
    struct waiting *w = view_req_state(s, id);
    if (u->head == id) { /* the usual case: the head was admitted */
        u->head = w->next;
    } else {
        req_id p = u->head;
        while (((struct waiting *)view_req_state(s, p))->next != id)
            p = ((struct waiting *)view_req_state(s, p))->next;
        ((struct waiting *)view_req_state(s, p))->next = w->next;
        if (u->tail == id)
            u->tail = p;
    }
    if (--u->n == 0) {
        heap_remove(v, s, t);
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

static int64_t fixed(double units)
{
    return (int64_t)(units * (double)ONE + (units < 0 ? -0.5 : 0.5));
}

static void charge(struct vtc *v, const struct sched_view *s, uint32_t t, int64_t cost)
{
    struct tenant *u = tenant_at(s, t);
    if (u->weight == 0)
        u->weight =
            fixed(params_map_num(v->params, "vtc", "weights", names_text(s->tenants, t), 1.0));
    wide scaled = (wide)cost * ONE + u->remainder;
    wide whole = scaled / u->weight;
    if (whole * u->weight > scaled) /* a refund: round down, so that the remainder stays >= 0 */
        whole--;
    u->remainder = (int64_t)(scaled - whole * u->weight);
    u->c += (int64_t)whole;
    if (u->n > 0)
        heap_fix(v, s, u->heap_at);
}

/* Cost of output tokens (from, to] of a request. */
static int64_t output_cost(const struct vtc *v, const struct req_info *q, int64_t from, int64_t to)
{
    if (v->cost == COST_LINEAR)
        return (to - from) * v->wq;
    double x = q->prompt_tokens;
    return fixed(profiled(x, (double)to) - profiled(x, (double)from));
}

/* ---- callbacks ---- */

static enum adm on_arrival(void *self, const struct sched_view *s, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    join(self, s, id, false);
    return ADM_ACCEPT;
}

static void on_preempt(void *self, const struct sched_view *s, req_id id, enum preempt_mode mode)
{
    (void)mode;
    join(self, s, id, true);
}

static req_id next_candidate(void *self, const struct sched_view *s, req_id last,
                             enum try_result res)
{
    struct vtc *v = self;
    (void)last;
    bool failed = res != TRY_FIRST && res != TRY_ADMITTED && res != TRY_LOADING;
    if (failed || v->n_heap == 0) /* never past the tenant with the smallest counter */
        return REQ_NONE;
    return tenant_at(s, v->heap[0])->head;
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
           v->cost == COST_LINEAR ? prompt * v->wp : fixed(profiled((double)prompt, 0.0)));
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
    bool waits = q->state == REQ_WAITING || q->state == REQ_SWAPPING_OUT || q->state == REQ_SWAPPED;
    if (waits) /* preempted, and then its last token came out */
        part(v, s, id);
}

static double tenant_counter(const void *self, const struct sched_view *s, uint32_t t)
{
    (void)self;
    return (double)tenant_at(s, t)->c / (double)ONE;
}

const struct scheduler_ops sched_vtc = {
    .name = "vtc",
    .doc = "virtual token counter: fair among tenants whatever their output lengths",
    .source = "Sheng et al., OSDI'24, arXiv 2401.00588, Algorithm 2; scheduling.md 3.4",
    .params = params,
    .req_state_bytes = sizeof(struct waiting),
    .tenant_state_bytes = sizeof(struct tenant),
    .open = open,
    .on_arrival = on_arrival,
    .next_candidate = next_candidate,
    .on_admit = on_admit,
    .on_tokens = on_tokens,
    .on_finish = on_finish,
    .on_preempt = on_preempt,
    .tenant_counter = tenant_counter,
};
