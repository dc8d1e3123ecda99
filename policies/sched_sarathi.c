/* sched_sarathi.c: Sarathi-Serve's stall-free batching (OSDI'24; scheduling.md 3.2): a step has at
 * most tau tokens. Decodes come first, one token each, all of them whatever tau is; then the rest
 * of prompts that are under way; then new prompts, in order, until the first that does not fit.
 *
 * Must hold: the tokens of a step are at most max(tau, decodes), and a resident decode is in every
 * step (T9). The engine's order is that of arrival: the last resident is the victim and goes back
 * to the front of the queue. That memory for the whole prompt must be there to admit is the
 * engine's scheduler_reserve_full_isl, on by default; the watermark is kept free beside it. */
#include "sim/hold.h"

struct sarathi {
    uint32_t tau;
    double watermark;
};

static const struct param_desc params[] = {
    {"tau", PARAM_INT, "512", "tokens of a step, decodes charged first (chunk size of the paper)",
     1, 1e9, NULL},
    {"watermark", PARAM_REAL, "0.01", "share of KV memory an admission leaves free, unless alone",
     0, 0.5, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct sarathi *s = arena_alloc(a, sizeof(*s));
    s->tau = (uint32_t)params_num(p, params, "sarathi", "tau");
    s->watermark = params_num(p, params, "sarathi", "watermark");
    return s;
}

/* A resident whose prompt, and what it had before a preemption, is computed. */
static bool decodes(const struct req_info *q)
{
    return q->state == REQ_RUNNING && q->computed >= q->prompt_tokens &&
           q->computed + 1 >= q->prompt_tokens + q->generated;
}

static uint32_t select_some(const struct sched_view *v, bool decoding, req_id *out, uint32_t n)
{
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id))
        if (decodes(view_req(v, id)) == decoding)
            out[n++] = id;
    return n;
}

static uint32_t select_run(void *self, const struct sched_view *v, req_id *out, uint32_t max)
{
    (void)self;
    (void)max; /* all residents: just as many */
    return select_some(v, false, out, select_some(v, true, out, 0));
}

static uint32_t chunk(void *self, const struct sched_view *v, req_id id, uint32_t want,
                      uint32_t budget_left)
{
    const struct sarathi *s = self;
    uint32_t limit = MIN(want, budget_left);
    if (decodes(view_req(v, id)))
        return limit;
    uint32_t used = v->limits->max_num_batched_tokens - budget_left;
    return used < s->tau ? MIN(limit, s->tau - used) : 0;
}

static uint64_t reserve(void *self, const struct sched_view *v, req_id id, uint64_t deflt)
{
    const struct sarathi *s = self;
    (void)id;
    return deflt + view_watermark(v, s->watermark);
}

const struct scheduler_ops sched_sarathi = {
    .name = "sarathi",
    .doc = "stall-free batches: decodes first, prompts in chunks up to tau tokens a step",
    .source = "Agrawal et al., OSDI'24; vidur sarathi_replica_scheduler; scheduling.md 3.2",
    .params = params,
    .open = open,
    .select_run = select_run,
    .chunk = chunk,
    .reserve = reserve,
    .hold = hold_always,
};
