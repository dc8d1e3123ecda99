/* sched_fastserve.c: FastServe's skip-join multi-level feedback queue (Wu et al., arXiv 2305.05920,
 * NSDI'26; scheduling.md 3.7): shortest remaining time first with only the prompt known. A request
 * joins the first level whose quantum holds its prefill; when it has computed for its level's
 * quantum it goes down one, and on until a step fits; who has not run for alpha_s goes up to the
 * first. In memory the paused requests are sent to the host before it runs out, the one that will
 * wait longest first (ENST); where the host has no room nobody is sent away for somebody else.
 *
 * Where it departs: what a prefill takes is learned from steps (sim/step_time.h), so the first
 * requests join the first level; the last level is first come, first served; a request is not
 * demoted before its first token, whatever its prefill took beside others.
 *
 * Must hold: nobody waits longer than alpha_s and the turns of those in the first level (T12). */
#include "sim/levels.h"

struct fastserve {
    struct levels levels; /* first: its callbacks take the policy */
    req_id *ran;          /* in the step that is ending, max_num_seqs at most; REQ_NONE: it has
                             finished */
    uint32_t n_ran;
};

struct turn {
    struct level_entry entry; /* first */
    ns_t attained_ns;         /* computed in this level */
    uint32_t slot;            /* in ran */
};

static const struct param_desc params[] = {
    LEVELS_PARAMS,
    {"alpha_s", PARAM_REAL, "3", "without running for so long a request goes up to the first level",
     0, 1e6, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)e;
    struct fastserve *f = arena_alloc(a, sizeof(*f));
    f->ran = arena_alloc(a, l->max_num_seqs * sizeof(*f->ran));
    levels_init(&f->levels, a, p, params, "fastserve",
                params_num(p, params, "fastserve", "alpha_s"));
    return f;
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    struct fastserve *f = self;
    uint32_t extend = view_req(v, id)->prompt_tokens - view_cached_len(v, id);
    ns_t prefill = step_time_prefill(&f->levels.time, extend, v->limits->max_num_batched_tokens);
    uint32_t level = levels_for(&f->levels, prefill);
    levels_join(&f->levels, v, id, level, f->levels.quantum_ns[level]);
    return ADM_ACCEPT;
}

static void go_to(struct fastserve *f, const struct sched_view *v, req_id id, uint32_t level)
{
    struct turn *t = view_req_state(v, id);
    t->attained_ns = 0;
    levels_move(&f->levels, v, id, level, f->levels.quantum_ns[level]);
}

static void step_begin(void *self, const struct sched_view *v)
{
    struct fastserve *f = self;
    for (req_id id; (id = levels_due(&f->levels, v)) != REQ_NONE;)
        go_to(f, v, id, 0);
    levels_plan(&f->levels, v);
}

static void on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at)
{
    (void)at;
    struct fastserve *f = self;
    struct turn *t = view_req_state(v, id);
    step_time_tokens(&f->levels.time, prefill_done + out_new + recomputed);
    t->slot = f->n_ran;
    f->ran[f->n_ran++] = id;
}

static void on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                      ns_t at)
{
    (void)why;
    (void)at;
    struct fastserve *f = self;
    const struct turn *t = view_req_state(v, id);
    levels_left(&f->levels, v, id);
    if (t->slot < f->n_ran && f->ran[t->slot] == id)
        f->ran[t->slot] = REQ_NONE;
}

static void charge(struct fastserve *f, const struct sched_view *v, req_id id, ns_t duration_ns)
{
    struct levels *l = &f->levels;
    struct turn *t = view_req_state(v, id);
    uint32_t next = t->entry.level + 1;
    t->attained_ns += duration_ns;
    if (next == l->n || t->attained_ns < l->quantum_ns[next - 1] || view_req(v, id)->emitted == 0)
        return;
    go_to(f, v, id, MAX(next, levels_for(l, step_time_decode(&l->time))));
}

static void step_end(void *self, const struct sched_view *v, ns_t duration_ns)
{
    struct fastserve *f = self;
    step_time_learn(&f->levels.time, duration_ns);
    for (uint32_t i = 0; i < f->n_ran; i++)
        if (f->ran[i] != REQ_NONE)
            charge(f, v, f->ran[i], duration_ns);
    f->n_ran = 0;
}

const struct scheduler_ops sched_fastserve = {
    .name = "fastserve",
    .doc = "skip-join multi-level feedback queue: short work first, preempting, lengths unknown",
    .source = "Wu et al., arXiv 2305.05920, NSDI'26; vllm-ltr mlfq_scheduler; scheduling.md 3.7",
    .params = params,
    .needs = SCHED_PAUSES,
    .req_state_bytes = sizeof(struct turn),
    .open = open,
    .on_arrival = on_arrival,
    .step_begin = step_begin,
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
