/* token_ratio.c: what must hold: `left` is the sum over residents of their requests' `left`. */
#include "sim/token_ratio.h"

void token_ratio_init(struct token_ratio *t, const struct params *p, const struct param_desc *desc,
                      const char *owner)
{
    double init = params_num(p, desc, owner, "ratio_init");
    init = MIN(1, init * params_num(p, desc, owner, "conservativeness"));
    double least = init * params_num(p, desc, owner, "min_factor");
    *t = (struct token_ratio){
        .ratio = init,
        .init = init,
        .least = least,
        .decay = (init - least) / params_num(p, desc, owner, "decay_steps"),
        .retract_steps = (uint32_t)params_num(p, desc, owner, "retract_steps"),
        .clip = (uint32_t)params_num(p, desc, owner, "clip"),
    };
}

static uint32_t may_emit(const struct token_ratio *t, const struct req_info *q)
{
    return MIN(q->max_tokens - MIN(q->generated, q->max_tokens), t->clip);
}

static void set_left(struct token_ratio *t, const struct sched_view *v, req_id id, uint32_t left)
{
    struct token_ratio_request *r = view_req_state(v, id);
    t->left += left;
    t->left -= r->left;
    r->left = left;
}

/* ---- admission ---- */

void token_ratio_step_begin(void *self, const struct sched_view *v)
{
    (void)v;
    ((struct token_ratio *)self)->fresh = 0;
}

static bool applies(const struct sched_view *v)
{
    return v->limits->kv_admission == KV_ADMISSION_PAGED;
}

/* Its prompt and all it may emit, and a block for what is left over of the last one. */
uint64_t token_ratio_reserve(void *self, const struct sched_view *v, req_id id, uint64_t deflt)
{
    const struct token_ratio *t = self;
    const struct req_info *q = view_req(v, id);
    if (!applies(v))
        return deflt;
    uint64_t tokens = (uint64_t)q->prompt_tokens + q->generated + may_emit(t, q);
    tokens = MIN(tokens + v->limits->block_size, limits_kv_tokens(v->limits));
    return view_units(v, id, (uint32_t)tokens) - view_units(v, id, q->computed);
}

uint64_t token_ratio_committed(void *self, const struct sched_view *v, uint64_t deflt)
{
    const struct token_ratio *t = self;
    const struct limits *l = v->limits;
    if (!applies(v))
        return deflt;
    uint64_t tokens = t->fresh + (uint64_t)(t->ratio * (double)(t->left - t->fresh));
    return div_ceil_u64(tokens, l->block_size) * l->units_per_block;
}

void token_ratio_on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                          uint32_t cached, bool resumed)
{
    (void)extend;
    (void)cached;
    (void)resumed;
    struct token_ratio *t = self;
    uint32_t left = may_emit(t, view_req(v, id));
    set_left(t, v, id, left);
    t->fresh += left;
}

/* ---- what the steps show ---- */

void token_ratio_on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                           uint32_t out_new, uint32_t recomputed, ns_t at)
{
    (void)at;
    struct token_ratio *t = self;
    const struct req_info *q = view_req(v, id);
    if (!req_is_waiting(q)) /* else it was preempted since the step was formed */
        set_left(t, v, id, may_emit(t, q));
    t->decoded = t->decoded || (out_new > 0 && prefill_done == 0 && recomputed == 0);
}

void token_ratio_on_finish(void *self, const struct sched_view *v, req_id id,
                           enum finish_reason why, ns_t at)
{
    (void)why;
    (void)at;
    set_left(self, v, id, 0);
}

/* The view's residents are the survivors. */
void token_ratio_on_preempt(void *self, const struct sched_view *v, req_id id,
                            enum preempt_mode mode)
{
    (void)mode;
    struct token_ratio *t = self;
    uint64_t emitted = 0, most = 0;
    set_left(t, v, id, 0);
    for (req_id r = view_running_first(v); r != REQ_NONE; r = view_running_next(v, r)) {
        emitted += view_req(v, r)->generated + t->retract_steps;
        most += view_req(v, r)->max_tokens;
    }
    t->ratio = MIN(1, (double)emitted / (double)(most + 1));
    t->retracted = true;
}

static bool emitted_less(const struct req_info *a, const struct req_info *b)
{
    if (a->generated != b->generated)
        return a->generated < b->generated;
    return a->prompt_tokens > b->prompt_tokens;
}

/* Who has emitted least, of those the one with the longest prompt, of those the last admitted. */
req_id token_ratio_victim(void *self, const struct sched_view *v, uint64_t need_units,
                          req_id requester, enum preempt_mode *mode)
{
    (void)self;
    (void)need_units;
    (void)requester;
    (void)mode;
    req_id least = REQ_NONE;
    for (req_id id = view_running_last(v); id != REQ_NONE; id = view_running_prev(v, id)) {
        const struct req_info *q = view_req(v, id);
        if (q->state == REQ_RUNNING && (least == REQ_NONE || emitted_less(q, view_req(v, least))))
            least = id;
    }
    return least;
}

static double decayed(const struct token_ratio *t)
{
    return MAX(t->ratio - t->decay, MIN(t->ratio, t->least));
}

/* As often as in so many steps, so that the rounding is the same; until it falls no more. */
void token_ratio_leapt(void *self, const struct sched_view *v, uint32_t n_steps)
{
    (void)v;
    struct token_ratio *t = self;
    for (; n_steps > 0 && decayed(t) < t->ratio; n_steps--)
        t->ratio = decayed(t);
    t->decoded = false;
}

void token_ratio_step_end(void *self, const struct sched_view *v, ns_t duration_ns)
{
    (void)duration_ns;
    struct token_ratio *t = self;
    if (v->n_running == 0 && v->n_waiting == 0)
        t->ratio = t->init;
    else if (t->decoded && !t->retracted)
        t->ratio = decayed(t);
    t->decoded = t->retracted = false;
}
