/* sched_alise.c: ALISE's speculative scheduling (Zhao et al., arXiv 2410.23537; scheduling.md 3.8):
 * levels as FastServe's, but a request joins the one that holds all the work predicted of it:
 * prefill, and a step for each output token. Who waited for age_s goes up one level, as often as it
 * takes. Whoever outgrows its prediction has it doubled and goes down to where the rest belongs.
 * Paused requests go to the host by estimated waiting time, the longest first, and the next in
 * turn comes back ahead of need; copies are of kv_bits_offload bits, which costs packing time and
 * is lossy below 16 (quality is not measured).
 *
 * Where it departs: times are learned from steps (sim/step_time.h); the predictor is the run's. Of
 * a request of which nothing is known one token is predicted, which then doubles. Work in a queue
 * is as it was when its request joined the level.
 *
 * Must hold: every wait is bounded by levels x age_s and the turns of those in the first (T12). */
#include "sim/levels.h"

struct alise {
    struct levels levels; /* first: its callbacks take the policy */
    struct offload offload;
};

struct job {
    struct level_entry entry; /* first */
    uint32_t predicted;       /* output tokens */
};

static const struct param_desc params[] = {
    LEVELS_PARAMS,
    {"age_s", PARAM_REAL, "3", "without running for so long a request goes up one level", 0, 1e6,
     NULL},
    {"kv_bits_offload", PARAM_INT, "8", "bits, of 16, of an offloaded value; 16: copied whole", 1,
     16, NULL},
    {"codec_gb_s", PARAM_REAL, "500",
     "GB of KV a second that the GPU packs or unpacks around a copy; an assumption, not measured",
     1e-3, 1e6, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct alise *s = arena_alloc(a, sizeof(*s));
    levels_init(&s->levels, a, p, params, "alise", params_num(p, params, "alise", "age_s"));
    s->offload.share = params_num(p, params, "alise", "kv_bits_offload") / 16;
    s->offload.codec_bytes_per_s = params_num(p, params, "alise", "codec_gb_s") * 1e9;
    return s;
}

static struct offload offload(const void *self)
{
    return ((const struct alise *)self)->offload;
}

/* What is still to be done, as predicted. */
static ns_t work_of(const struct alise *s, const struct sched_view *v, req_id id)
{
    const struct req_info *q = view_req(v, id);
    const struct job *j = view_req_state(v, id);
    double work = (double)(j->predicted - q->emitted) * (double)step_time_decode(&s->levels.time);
    if (q->emitted == 0) {
        uint32_t extend = q->prompt_tokens - view_cached_len(v, id);
        work +=
            (double)step_time_prefill(&s->levels.time, extend, v->limits->max_num_batched_tokens);
    }
    return (ns_t)MIN(work, (double)PREDICTED_MAX_NS);
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    struct alise *s = self;
    struct job *j = view_req_state(v, id);
    double most = view_req(v, id)->max_tokens, mean = view_predict(v, id).mean;
    j->predicted = (uint32_t)(MAX(MIN(mean, most), 1) + 0.5);
    ns_t work = work_of(s, v, id);
    levels_join(&s->levels, v, id, levels_for(&s->levels, work), work);
    return ADM_ACCEPT;
}

static void step_begin(void *self, const struct sched_view *v)
{
    struct alise *s = self;
    for (req_id id; (id = levels_due(&s->levels, v)) != REQ_NONE;) {
        const struct level_entry *e = view_req_state(v, id);
        levels_move(&s->levels, v, id, e->level - 1, e->work_ns);
    }
    levels_plan(&s->levels, v);
}

static void on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at)
{
    (void)at;
    struct alise *s = self;
    struct job *j = view_req_state(v, id);
    step_time_tokens(&s->levels.time, prefill_done + out_new + recomputed);
    if (view_req(v, id)->emitted < j->predicted)
        return;
    j->predicted *= 2;
    ns_t work = work_of(s, v, id);
    uint32_t level = levels_for(&s->levels, work);
    if (level > j->entry.level)
        levels_move(&s->levels, v, id, level, work);
}

static void on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                      ns_t at)
{
    (void)why;
    (void)at;
    levels_left(self, v, id);
}

static void step_end(void *self, const struct sched_view *v, ns_t duration_ns)
{
    (void)v;
    step_time_learn(&((struct alise *)self)->levels.time, duration_ns);
}

const struct scheduler_ops sched_alise = {
    .name = "alise",
    .doc = "levels by predicted work, with aging; paused requests swapped out packed, in time",
    .source = "Zhao et al., arXiv 2410.23537; scheduling.md 3.8",
    .params = params,
    .needs = SCHED_PAUSES,
    .predictor = "histogram",
    .req_state_bytes = sizeof(struct job),
    .open = open,
    .on_arrival = on_arrival,
    .step_begin = step_begin,
    .offload = offload,
    .kv_move = levels_kv_move,
    .select_run = levels_select_run,
    .next_candidate = levels_next_candidate,
    .chunk = levels_chunk,
    .reserve = levels_reserve,
    .committed = levels_committed,
    .on_admit = levels_on_admit,
    .on_tokens = on_tokens,
    .on_finish = on_finish,
    .on_preempt = levels_on_preempt,
    .step_end = step_end,
    .victim = levels_victim,
};
