/* tenant_queue.c: queues of tenants and an indexed heap over them. What must hold: the heap has
 * exactly the tenants with n > 0, each at its `place`. */
#include "sim/tenant_queue.h"

void tq_init(struct tenant_queue *q, struct arena *a, const struct tq_rules *rules,
             const struct params *p, const struct param_desc *desc, const char *owner)
{
    *q = (struct tenant_queue){.arena = a,
                               .rules = rules,
                               .wp = service_fixed(params_num(p, desc, owner, "wp")),
                               .wq = service_fixed(params_num(p, desc, owner, "wq"))};
}

int64_t service_fixed(double units)
{
    return (int64_t)(units * (double)SERVICE_ONE + (units < 0 ? -0.5 : 0.5));
}

/* ---- the heap ---- */

static bool before(struct tq_slot a, struct tq_slot b)
{
    return a.key != b.key ? a.key < b.key : a.tenant < b.tenant;
}

static void put(struct tenant_queue *q, const struct sched_view *v, size_t i, struct tq_slot s)
{
    q->heap[i] = s;
    tq_tenant(v, s.tenant)->place = (uint32_t)i;
}

/* A tenant takes its place in the order, of which i is free; its key may be new. */
static void fix(struct tenant_queue *q, const struct sched_view *v, size_t i, uint32_t tenant)
{
    struct tq_slot s = {tq_tenant(v, tenant)->key, tenant};
    for (; i > 0 && before(s, q->heap[(i - 1) / 2]); i = (i - 1) / 2)
        put(q, v, i, q->heap[(i - 1) / 2]);
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->n_heap)
            break;
        if (child + 1 < q->n_heap && before(q->heap[child + 1], q->heap[child]))
            child++;
        if (!before(q->heap[child], s))
            break;
        put(q, v, i, q->heap[child]);
        i = child;
    }
    put(q, v, i, s);
}

static void add(struct tenant_queue *q, const struct sched_view *v, uint32_t tenant)
{
    q->heap = arena_reserve(q->arena, q->heap, &q->cap, q->n_heap + 1, sizeof(*q->heap));
    fix(q, v, q->n_heap++, tenant);
}

static void drop(struct tenant_queue *q, const struct sched_view *v, uint32_t tenant)
{
    size_t i = tq_tenant(v, tenant)->place;
    uint32_t last = q->heap[--q->n_heap].tenant;
    if (last != tenant)
        fix(q, v, i, last);
}

void tq_reorder(struct tenant_queue *q, const struct sched_view *v, uint32_t tenant)
{
    if (tq_tenant(v, tenant)->n > 0)
        fix(q, v, tq_tenant(v, tenant)->place, tenant);
}

uint32_t tq_first(const struct tenant_queue *q)
{
    return q->n_heap > 0 ? q->heap[0].tenant : TQ_NONE;
}

/* ---- the queues ---- */

static struct tq_link *link_of(const struct sched_view *v, req_id id)
{
    return view_req_state(v, id);
}

/* Puts the request between two neighbours in its tenant's queue; REQ_NONE: an end of it. */
static void insert(struct tenant_queue *q, const struct sched_view *v, req_id id, req_id prev,
                   req_id next)
{
    uint32_t tenant = view_req(v, id)->tenant;
    struct tq_tenant *t = tq_tenant(v, tenant);
    struct tq_link *l = link_of(v, id);
    l->prev = prev;
    l->next = next;
    *(prev == REQ_NONE ? &t->head : &link_of(v, prev)->next) = id;
    *(next == REQ_NONE ? &t->tail : &link_of(v, next)->prev) = id;
    if (t->n++ == 0)
        add(q, v, tenant);
}

static void join(struct tenant_queue *q, const struct sched_view *v, req_id id, bool front)
{
    uint32_t tenant = view_req(v, id)->tenant;
    const struct tq_tenant *t = tq_tenant(v, tenant);
    if (t->n == 0 && q->rules->opens != NULL)
        q->rules->opens(q, v, tenant);
    if (front)
        insert(q, v, id, REQ_NONE, t->n > 0 ? t->head : REQ_NONE);
    else
        insert(q, v, id, t->n > 0 ? t->tail : REQ_NONE, REQ_NONE);
}

void tq_remove(struct tenant_queue *q, const struct sched_view *v, req_id id)
{
    uint32_t tenant = view_req(v, id)->tenant;
    struct tq_tenant *t = tq_tenant(v, tenant);
    const struct tq_link *l = link_of(v, id);
    *(l->prev == REQ_NONE ? &t->head : &link_of(v, l->prev)->next) = l->next;
    *(l->next == REQ_NONE ? &t->tail : &link_of(v, l->next)->prev) = l->prev;
    if (--t->n == 0)
        drop(q, v, tenant);
}

/* ---- callbacks ---- */

enum adm tq_on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    join(self, v, id, false);
    return ADM_ACCEPT;
}

void tq_on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    (void)mode;
    join(self, v, id, true);
}

req_id tq_next_candidate(void *self, const struct sched_view *v, req_id last, enum try_result res)
{
    (void)last;
    bool failed = res != TRY_FIRST && res != TRY_ADMITTED && res != TRY_LOADING;
    uint32_t first = tq_first(self);
    return failed || first == TQ_NONE ? REQ_NONE : tq_tenant(v, first)->head;
}

void tq_on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                 uint32_t cached, bool resumed)
{
    (void)extend;
    (void)cached;
    struct tenant_queue *q = self;
    const struct req_info *r = view_req(v, id);
    tq_remove(q, v, id);
    if (!resumed)
        q->rules->charge(self, v, r->tenant, r->prompt_tokens * q->wp);
}

void tq_on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                  uint32_t out_new, uint32_t recomputed, ns_t at)
{
    (void)prefill_done;
    (void)recomputed;
    (void)at;
    const struct tenant_queue *q = self;
    if (out_new > 0)
        q->rules->charge(self, v, view_req(v, id)->tenant, out_new * q->wq);
}

void tq_on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                  ns_t at)
{
    (void)why;
    (void)at;
    if (req_is_waiting(view_req(v, id))) /* preempted, and then its last token came out */
        tq_remove(self, v, id);
}

double tq_counter(const void *self, const struct sched_view *v, uint32_t tenant)
{
    (void)self;
    return (double)tq_tenant(v, tenant)->key / (double)SERVICE_ONE;
}
