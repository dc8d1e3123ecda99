/* sched_sjf.c: shortest job first by the true total of prompt and output tokens: the bound that
 * predicted orders are measured against (scheduling.md 3.8), an oracle that says so. Nobody is
 * preempted for somebody shorter; what lost its place for want of memory goes back in first.
 * Without aging a long request waits as long as shorter ones keep coming; with it (3.20) for at
 * most (largest - smallest work) / aging and the time those before it take. */
#include "sim/hold.h"
#include "sim/wait_order.h"

struct sjf {
    struct wait_order order; /* first: its callbacks take the policy */
    int64_t aging;           /* fixed point, a second */
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
    struct sjf *s = arena_alloc(a, sizeof(*s));
    s->order.arena = a;
    s->aging = (int64_t)(params_num(p, params, "sjf", "aging") * (double)WAIT_ORDER_ONE + 0.5);
    return s;
}

static void push(struct sjf *s, const struct sched_view *v, req_id id, int64_t class_of)
{
    const struct req_info *q = view_req(v, id);
    uint64_t work = (uint64_t)q->prompt_tokens + view_true_output(v, id);
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

const struct scheduler_ops sched_sjf = {
    .name = "sjf",
    .doc = "shortest job first by true length: an oracle; optional aging",
    .source = "scheduling.md 3.8, 3.20",
    .params = params,
    .needs = SCHED_ORACLE,
    .predictor = "oracle",
    .open = open,
    .on_arrival = on_arrival,
    .next_candidate = wait_order_next_candidate,
    .on_admit = wait_order_on_admit,
    .on_finish = wait_order_on_finish,
    .on_preempt = on_preempt,
    .hold = hold_always,
};
