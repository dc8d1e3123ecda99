/* sched_priority.c: vLLM's priority scheduling (scheduling.md 3.1): waiting requests by (priority,
 * arrival), a lower number first; when blocks run out the resident with the largest (priority,
 * arrival) is preempted, which may be the one that asked. If it was in the step already, the engine
 * takes its tokens back into the budget. A preempted request waits at its own place in the order,
 * not at the front. Starves low priorities for as long as higher ones keep coming. */
#include "sim/hold.h"
#include "sim/wait_order.h"

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)p;
    (void)l;
    (void)e;
    struct wait_order *w = arena_alloc(a, sizeof(*w));
    w->arena = a;
    return w;
}

static void push(struct wait_order *w, const struct sched_view *v, req_id id)
{
    const struct req_info *q = view_req(v, id);
    wait_order_push(w, v, id, q->priority, q->arrived_at);
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    push(self, v, id);
    return ADM_ACCEPT;
}

static void on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    (void)mode;
    push(self, v, id);
}

static bool goes_before(const struct req_info *a, const struct req_info *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    return a->arrived_at != b->arrived_at ? a->arrived_at > b->arrived_at : a->seq > b->seq;
}

static req_id victim(void *self, const struct sched_view *v, uint64_t need_units, req_id requester,
                     enum preempt_mode *mode)
{
    (void)self;
    (void)need_units;
    (void)requester;
    (void)mode;
    req_id worst = REQ_NONE;
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id)) {
        if (view_req(v, id)->state != REQ_RUNNING)
            continue; /* its KV is still on the way in */
        if (worst == REQ_NONE || goes_before(view_req(v, id), view_req(v, worst)))
            worst = id;
    }
    return worst;
}

const struct scheduler_ops sched_priority = {
    .name = "priority",
    .doc = "vLLM's priority order: lower number first, the least urgent resident preempted",
    .source = "vLLM v1/core/sched/scheduler.py; scheduling.md 3.1",
    .open = open,
    .on_arrival = on_arrival,
    .next_candidate = wait_order_next_candidate,
    .on_admit = wait_order_on_admit,
    .on_finish = wait_order_on_finish,
    .on_preempt = on_preempt,
    .victim = victim,
    .hold = hold_always,
};
