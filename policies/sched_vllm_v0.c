/* sched_vllm_v0.c: the scheduler of vLLM V0 (scheduling.md 3.1): prompts first. If a waiting prompt
 * fits, the step is whole new prompts only and every decode waits for it (the generation stall);
 * else it is decodes only, the resident admitted last preempted when blocks run out, to the front
 * of the queue. Prompts are never cut: one longer than a step is refused. A watermark of memory is
 * kept free by admissions, so that those admitted do not preempt each other at once; not while
 * nothing runs, where V0 would refuse such a prompt. */
#include "sim/hold.h"

struct v0 {
    double watermark;
};

static const struct param_desc params[] = {
    {"watermark", PARAM_REAL, "0.01", "share of KV memory admissions leave free, unless idle", 0,
     0.5, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct v0 *s = arena_alloc(a, sizeof(*s));
    s->watermark = params_num(p, params, "vllm_v0", "watermark");
    return s;
}

static uint64_t reserve(void *self, const struct sched_view *v, req_id id, uint64_t deflt)
{
    const struct v0 *s = self;
    (void)id;
    return deflt + view_watermark(v, s->watermark);
}

const struct scheduler_ops sched_vllm_v0 = {
    .name = "vllm_v0",
    .doc = "vLLM V0: steps of whole new prompts before steps of decodes",
    .source = "vLLM core/scheduler.py (V0), vidur vllm_replica_scheduler; scheduling.md 3.1",
    .params = params,
    .batching = BATCHING_SEPARATE,
    .open = open,
    .reserve = reserve,
    .hold = hold_always,
};
