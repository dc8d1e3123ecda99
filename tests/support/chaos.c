#include "tests/support/chaos.h"

#include "sim/rng.h"

struct chaos {
    const char *tape; /* its bytes come before the stream's numbers */
    struct rng rng;
    uint64_t decision; /* requests offered in it carry its number */
};

struct mark {
    uint64_t offered_in;
    uint32_t deferrals;
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct chaos *c = arena_alloc(a, sizeof(*c));
    const struct param *seed = params_find(p, "chaos.seed");
    rng_init(&c->rng, seed != NULL ? (uint64_t)seed->num : 1, "chaos");
    const struct param *tape = params_find(p, "chaos.tape");
    c->tape = tape != NULL ? tape->str : "";
    return c;
}

static uint64_t below(struct chaos *c, uint64_t n)
{
    return *c->tape != '\0' ? (uint8_t)*c->tape++ % n : rng_below(&c->rng, n);
}

static bool chance(struct chaos *c, double p)
{
    return *c->tape != '\0' ? (uint8_t)*c->tape++ < 256 * p : rng_unit(&c->rng) < p;
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    struct chaos *c = self;
    struct mark *m = view_req_state(v, id);
    if (m->deferrals < 3 && chance(c, 0.1)) {
        m->deferrals++;
        *wake_at = v->now + 1 + (ns_t)below(c, 20 * (uint64_t)NS_PER_MS);
        return ADM_DEFER;
    }
    return chance(c, 0.05) ? ADM_REJECT : ADM_ACCEPT;
}

static void step_begin(void *self, const struct sched_view *v)
{
    (void)v;
    ((struct chaos *)self)->decision++;
}

static req_id any_resident(struct chaos *c, const struct sched_view *v)
{
    req_id pick = REQ_NONE;
    uint32_t seen = 0;
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id))
        if (view_req(v, id)->state == REQ_RUNNING && below(c, ++seen) == 0)
            pick = id;
    return pick;
}

static req_id kv_move(void *self, const struct sched_view *v, enum preempt_mode *mode)
{
    struct chaos *c = self;
    *mode = chance(c, 0.5) ? PREEMPT_SWAP : PREEMPT_RECOMPUTE;
    return chance(c, 0.03) ? any_resident(c, v) : REQ_NONE;
}

static struct offload offload(const void *self)
{
    (void)self;
    return (struct offload){.share = 0.3, .codec_bytes_per_s = 1e8};
}

/* Any subset in any order, not more than fit into a step, but somebody runs: idling is not within
 * the contract. */
static uint32_t select_run(void *self, const struct sched_view *v, req_id *out, uint32_t max)
{
    struct chaos *c = self;
    uint32_t n = 0;
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id))
        if (view_req(v, id)->state == REQ_RUNNING)
            out[n++] = id;
    for (uint32_t i = n; i > 1; i--) {
        uint32_t j = (uint32_t)below(c, i);
        req_id t = out[i - 1];
        out[i - 1] = out[j];
        out[j] = t;
    }
    (void)max;
    n = n > 4 && chance(c, 0.3) ? n - 2 : n;
    return MIN(n, v->limits->max_num_seqs);
}

static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct chaos *c = self;
    (void)last;
    (void)res;
    req_id pick = REQ_NONE;
    uint32_t seen = 0;
    for (req_id id = view_waiting_first(v); id != REQ_NONE && seen < 6;
         id = view_waiting_next(v, id)) {
        struct mark *m = view_req_state(v, id);
        if (m->offered_in != c->decision && below(c, ++seen) == 0)
            pick = id;
    }
    if (pick == REQ_NONE || chance(c, 0.1))
        return REQ_NONE;
    ((struct mark *)view_req_state(v, pick))->offered_in = c->decision;
    return pick;
}

static uint32_t chunk(void *self, const struct sched_view *v, req_id id, uint32_t want,
                      uint32_t budget)
{
    struct chaos *c = self;
    (void)v;
    (void)id;
    uint32_t most = MIN(want, budget);
    return most > 1 && chance(c, 0.5) ? 1 + (uint32_t)below(c, most) : most;
}

static req_id victim(void *self, const struct sched_view *v, uint64_t need, req_id requester,
                     enum preempt_mode *mode)
{
    struct chaos *c = self;
    (void)need;
    (void)requester;
    *mode = chance(c, 0.5) ? PREEMPT_SWAP : PREEMPT_RECOMPUTE;
    return any_resident(c, v);
}

static ns_t on_timer(void *self, const struct sched_view *v)
{
    return v->now + 1 + (ns_t)below(self, 50 * (uint64_t)NS_PER_MS);
}

const struct scheduler_ops sched_chaos = {
    .name = "chaos",
    .doc = "random answers within the contract",
    .needs = SCHED_PAUSES,
    .req_state_bytes = sizeof(struct mark),
    .open = open,
    .on_arrival = on_arrival,
    .step_begin = step_begin,
    .offload = offload,
    .kv_move = kv_move,
    .select_run = select_run,
    .next_candidate = next_candidate,
    .chunk = chunk,
    .victim = victim,
    .on_timer = on_timer,
};
