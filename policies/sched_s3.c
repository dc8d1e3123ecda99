/* sched_s3.c: S3 (Jin et al., arXiv 2306.06000; scheduling.md 3.9): memory is reserved for the
 * prompt and the predicted length class of the output instead of the longest one. Waiting requests
 * go in by decreasing size of reservation, first fit. One that outgrows its class is sent away at
 * once, to the host or to be computed again, and comes back with a class `grow` times as large.
 *
 * First fit passes over what is large for as long as smaller ones keep coming; so only those are
 * tried that came within `window` arrivals of the oldest that waits: nobody is passed over by more.
 *
 * Where it departs: the classes are the predictor's, which double; where nothing is known yet
 * `unknown` tokens are reserved. A hit in the prefix cache does not make a reservation smaller.
 *
 * Must hold: the reservations of all residents fit into memory together, so that nobody is ever
 * preempted but by a misprediction (T13); kv_admission has no say. */
#include <stdlib.h>

#include "sim/scheduler.h"

struct guess {
    req_id prev, next; /* in order of arrival, while it waits */
    uint64_t arrival;  /* a count */
    uint32_t output;   /* tokens reserved for */
    uint64_t units;    /* reserved, with the prompt's */
    bool outgrown;
};

struct fit { /* one that may be tried */
    uint64_t units, arrival;
    req_id id;
};

struct s3 {
    uint32_t grow, window, unknown;
    uint64_t all_units; /* of memory */
    struct arena *arena;
    req_id first, last; /* of those waiting */
    uint64_t n_arrivals;
    struct fit *fit; /* largest first, then oldest */
    uint32_t n_fit, n_tried;
    bool fit_stale;
    req_id *outgrown; /* residents to be sent away */
    size_t n_outgrown, outgrown_cap;
    uint64_t committed; /* units residents may still take, as of this decision */
    bool committed_stale;
};

static const struct param_desc params[] = {
    {"grow", PARAM_INT, "2", "by what a reservation for outputs grows when it was too small", 2, 64,
     NULL},
    {"window", PARAM_INT, "64", "arrivals from the oldest waiting request that may overtake it", 1,
     4096, NULL},
    {"unknown", PARAM_INT, "256", "output tokens reserved for where nothing is predicted", 1, 1e9,
     NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)e;
    struct s3 *s = arena_alloc(a, sizeof(*s));
    s->arena = a;
    s->all_units = l->num_gpu_blocks * l->units_per_block;
    s->first = s->last = REQ_NONE;
    s->grow = (uint32_t)params_num(p, params, "s3", "grow");
    s->window = (uint32_t)params_num(p, params, "s3", "window");
    s->unknown = (uint32_t)params_num(p, params, "s3", "unknown");
    s->fit = arena_alloc(a, s->window * sizeof(*s->fit));
    return s;
}

static struct guess *guess(const struct sched_view *v, req_id id)
{
    return view_req_state(v, id);
}

/* ---- those waiting, in order of arrival ---- */

/* Who comes back arrived before nearly all that wait: a short walk. */
static void enter(struct s3 *s, const struct sched_view *v, req_id id, req_id prev)
{
    struct guess *g = guess(v, id);
    g->prev = prev;
    g->next = prev == REQ_NONE ? s->first : guess(v, prev)->next;
    *(g->prev == REQ_NONE ? &s->first : &guess(v, g->prev)->next) = id;
    *(g->next == REQ_NONE ? &s->last : &guess(v, g->next)->prev) = id;
    s->fit_stale = true;
}

static void leave(struct s3 *s, const struct sched_view *v, req_id id)
{
    const struct guess *g = guess(v, id);
    *(g->prev == REQ_NONE ? &s->first : &guess(v, g->prev)->next) = g->next;
    *(g->next == REQ_NONE ? &s->last : &guess(v, g->next)->prev) = g->prev;
    s->fit_stale = true;
}

static int by_size(const void *a, const void *b)
{
    const struct fit *x = a, *y = b;
    if (x->units != y->units)
        return x->units > y->units ? -1 : 1;
    return (x->arrival > y->arrival) - (x->arrival < y->arrival);
}

static void list_fits(struct s3 *s, const struct sched_view *v)
{
    s->n_fit = 0;
    s->fit_stale = false;
    for (req_id id = s->first; id != REQ_NONE; id = guess(v, id)->next) {
        const struct guess *g = guess(v, id);
        if (g->arrival - guess(v, s->first)->arrival >= s->window)
            break;
        s->fit[s->n_fit++] = (struct fit){g->units, g->arrival, id};
    }
    qsort(s->fit, s->n_fit, sizeof(*s->fit), by_size);
}

/* ---- reservations ---- */

/* For that many output tokens, but never more than all of memory. */
static void reserve_for(const struct s3 *s, const struct sched_view *v, req_id id, uint64_t output)
{
    const struct req_info *q = view_req(v, id);
    struct guess *g = guess(v, id);
    g->output = (uint32_t)MIN(output, q->max_tokens);
    g->units = MIN(view_units(v, id, q->prompt_tokens + g->output), s->all_units);
}

static void grow(const struct s3 *s, const struct sched_view *v, req_id id)
{
    reserve_for(s, v, id, (uint64_t)guess(v, id)->output * s->grow);
}

static uint64_t committed_units(struct s3 *s, const struct sched_view *v)
{
    if (!s->committed_stale)
        return s->committed;
    s->committed = 0;
    s->committed_stale = false;
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id)) {
        uint64_t held = view_req(v, id)->held_units, units = guess(v, id)->units;
        s->committed += units - MIN(units, held);
    }
    return s->committed;
}

/* ---- callbacks ---- */

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    struct s3 *s = self;
    uint32_t bucket = view_predict(v, id).bucket;
    guess(v, id)->arrival = s->n_arrivals++;
    reserve_for(s, v, id, bucket > 0 ? bucket : s->unknown);
    enter(s, v, id, s->last);
    return ADM_ACCEPT;
}

static void step_begin(void *self, const struct sched_view *v)
{
    struct s3 *s = self;
    (void)v;
    s->n_tried = 0;
    s->committed_stale = true;
}

static req_id kv_move(void *self, const struct sched_view *v, enum preempt_mode *mode)
{
    struct s3 *s = self;
    (void)v;
    (void)mode; /* to the host, if there is room */
    return s->n_outgrown > 0 ? s->outgrown[--s->n_outgrown] : REQ_NONE;
}

static void on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    struct s3 *s = self;
    struct guess *g = guess(v, id);
    (void)mode;
    if (g->outgrown)
        grow(s, v, id);
    g->outgrown = false;
    req_id prev = REQ_NONE;
    for (req_id i = s->first; i != REQ_NONE && guess(v, i)->arrival < g->arrival;
         i = guess(v, i)->next)
        prev = i;
    enter(s, v, id, prev);
}

/* What is passed over here would not fit; the engine's test comes to the same. */
static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct s3 *s = self;
    (void)last;
    if (res == TRY_NO_SLOT || res == TRY_NO_BUDGET || v->n_running >= v->limits->max_num_seqs)
        return REQ_NONE;
    if (res == TRY_FIRST && s->fit_stale)
        list_fits(s, v);
    uint64_t room = v->free_units + v->evictable_units, promised = committed_units(s, v);
    while (s->n_tried < s->n_fit) {
        const struct fit *f = &s->fit[s->n_tried++];
        bool leaving = view_req(v, f->id)->state == REQ_SWAPPING_OUT;
        if (!leaving && f->units + promised <= room)
            return f->id;
    }
    return REQ_NONE;
}

static uint64_t reserve(void *self, const struct sched_view *v, req_id id, uint64_t deflt)
{
    uint64_t units = guess(v, id)->units, hit = view_req(v, id)->held_units;
    (void)self;
    (void)deflt;
    return units - MIN(units, hit);
}

static uint64_t committed(void *self, const struct sched_view *v, uint64_t deflt)
{
    (void)deflt;
    return committed_units(self, v);
}

static void on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                     uint32_t cached, bool resumed)
{
    struct s3 *s = self;
    (void)extend;
    (void)cached;
    (void)resumed;
    leave(s, v, id);
    s->committed_stale = true;
}

/* Nothing larger can be reserved for it. */
static bool is_largest(const struct s3 *s, const struct guess *g, const struct req_info *q)
{
    return g->output == q->max_tokens || g->units == s->all_units;
}

/* It has used up its class and goes on: it did not end with the token that is out. */
static void on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at)
{
    struct s3 *s = self;
    struct guess *g = guess(v, id);
    const struct req_info *q = view_req(v, id);
    (void)prefill_done;
    (void)out_new;
    (void)recomputed;
    (void)at;
    if (q->emitted < g->output || is_largest(s, g, q))
        return;
    if (req_is_waiting(q)) { /* sent away while this token was under way */
        grow(s, v, id);
        s->fit_stale = true;
        return;
    }
    if (g->outgrown)
        return;
    g->outgrown = true;
    s->outgrown = arena_reserve(s->arena, s->outgrown, &s->outgrown_cap, s->n_outgrown + 1,
                                sizeof(*s->outgrown));
    s->outgrown[s->n_outgrown++] = id;
}

static void on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                      ns_t at)
{
    struct s3 *s = self;
    (void)why;
    (void)at;
    s->committed_stale = true;
    if (req_is_waiting(view_req(v, id))) /* preempted, and then its last token came out */
        leave(s, v, id);
    if (!guess(v, id)->outgrown)
        return;
    size_t n = 0;
    for (size_t i = 0; i < s->n_outgrown; i++)
        if (s->outgrown[i] != id)
            s->outgrown[n++] = s->outgrown[i];
    s->n_outgrown = n;
}

/* Until somebody outgrows its class. Room for those waiting may come with any step. */
static uint32_t hold(void *self, const struct sched_view *v)
{
    const struct s3 *s = self;
    uint32_t steps = HOLD_FOREVER;
    if (s->n_outgrown > 0 || (v->n_waiting > 0 && v->n_running < v->limits->max_num_seqs))
        return 1;
    for (req_id id = view_running_first(v); id != REQ_NONE; id = view_running_next(v, id)) {
        const struct req_info *q = view_req(v, id);
        const struct guess *g = guess(v, id);
        if (!is_largest(s, g, q))
            steps = MIN(steps, g->output - MIN(g->output, q->emitted + 1));
    }
    return MAX(steps, 1);
}

const struct scheduler_ops sched_s3 = {
    .name = "s3",
    .doc = "reserves memory for the predicted length class; largest first, preempts what outgrows",
    .source = "Jin et al., arXiv 2306.06000; scheduling.md 3.9",
    .params = params,
    .predictor = "histogram",
    .req_state_bytes = sizeof(struct guess),
    .open = open,
    .on_arrival = on_arrival,
    .step_begin = step_begin,
    .kv_move = kv_move,
    .next_candidate = next_candidate,
    .reserve = reserve,
    .committed = committed,
    .on_admit = on_admit,
    .on_tokens = on_tokens,
    .on_finish = on_finish,
    .on_preempt = on_preempt,
    .hold = hold,
};
