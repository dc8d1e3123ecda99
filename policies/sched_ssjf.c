/* sched_ssjf.c: speculative shortest job first: by the prompt and the output length predicted when
 * the request arrives (scheduling.md 3.8). Nobody is preempted for somebody shorter, nor when the
 * prediction turns out too short; what lost its place for want of memory goes back in first.
 * Without aging a request of long prediction waits as long as shorter ones keep coming; with it
 * (3.20) for at most (largest - smallest predicted work) / aging and the time those before it
 * take. Where nothing is known yet the prediction is 0 and the prompt alone decides. */
#include "sim/hold.h"
#include "sim/wait_order.h"

struct ssjf {
    struct wait_order order; /* first: its callbacks take the policy */
    int64_t aging;           /* fixed point, a second */
};

struct queued {
    uint64_t predicted; /* output tokens */
};

enum { STARTED, FRESH };

static const struct param_desc params[] = {
    {"aging", PARAM_REAL, "0", "tokens of work forgiven per second of waiting; 0: no aging", 0, 1e6,
     NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct ssjf *s = arena_alloc(a, sizeof(*s));
    s->order.arena = a;
    s->aging = (int64_t)(params_num(p, params, "ssjf", "aging") * (double)WAIT_ORDER_ONE + 0.5);
    return s;
}

static void push(struct ssjf *s, const struct sched_view *v, req_id id, int64_t class_of)
{
    const struct req_info *q = view_req(v, id);
    struct queued *w = view_req_state(v, id);
    if (class_of == FRESH) /* once: its place must not move while it waits */
        w->predicted = (uint64_t)(view_predict(v, id).mean + 0.5);
    uint64_t work = q->prompt_tokens + w->predicted;
    wait_order_push(&s->order, v, id, class_of, wait_order_aged(work, s->aging, q->arrived_at));
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    push(self, v, id, FRESH);
    return ADM_ACCEPT;
}

static void on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    (void)mode;
    push(self, v, id, STARTED);
}

const struct scheduler_ops sched_ssjf = {
    .name = "ssjf",
    .doc = "shortest predicted job first, never preempting for order; optional aging",
    .source = "SSJF; scheduling.md 3.8, 3.20",
    .params = params,
    .predictor = "histogram",
    .req_state_bytes = sizeof(struct queued),
    .open = open,
    .on_arrival = on_arrival,
    .next_candidate = wait_order_next_candidate,
    .on_admit = wait_order_on_admit,
    .on_finish = wait_order_on_finish,
    .on_preempt = on_preempt,
    .hold = hold_always,
};
