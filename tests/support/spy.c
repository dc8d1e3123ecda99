#include "tests/support/spy.h"

#include <check.h>
#include <math.h>
#include <string.h>

struct wrapped { /* what the engine holds */
    struct spy *spy;
    void *inner;
};

static struct spy *current; /* during spy_run: how open() finds its spy */

static double total(const struct spy *s)
{
    double sum = 0;
    for (uint32_t t = 0; t < SPY_TENANTS; t++)
        sum += s->w[t];
    return sum;
}

/* The first callback after a decision's admissions settles what it left behind. */
static void settle(struct wrapped *w, const struct sched_view *v)
{
    struct spy *s = w->spy;
    if (!s->open)
        return;
    s->open = false;
    struct spy_decision *d = &s->d[s->n - 1];
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (uint32_t t = 0; t < SPY_TENANTS; t++) {
        d->w_after[t] = s->w[t];
        d->refilled[t] = s->refilled[t];
        d->backlogged[t] = s->waiting[t] > 0;
        if (d->backlogged[t] && s->inner->tenant_counter != NULL) {
            double c = s->inner->tenant_counter(w->inner, v, t);
            low = fmin(low, c);
            high = fmax(high, c);
        }
    }
    d->c_spread = high > low ? high - low : 0;
}

static double counter(const struct wrapped *w, const struct sched_view *v, req_id id)
{
    const struct scheduler_ops *ops = w->spy->inner;
    return ops->tenant_counter == NULL ? 0
                                       : ops->tenant_counter(w->inner, v, view_req(v, id)->tenant);
}

static void expect_charge(const struct wrapped *w, const struct sched_view *v, req_id id,
                          double before, double due)
{
    struct spy *s = w->spy;
    if (s->inner->tenant_counter == NULL)
        return;
    double charged = (counter(w, v, id) - before) * (s->quantum > 0 ? -1 : 1);
    double owed = due / s->weight[view_req(v, id)->tenant];
    s->charge_error = fmax(s->charge_error, fabs(charged - owed));
}

/* ---- deficits ---- */

static double balance(const struct spy *s, uint32_t t, double q)
{
    return q + s->w[t] - s->refilled[t] * s->quantum;
}

/* Only refills and charges move a deficit, but for what joining does to it. */
static void check_balance(const struct wrapped *w, const struct sched_view *v, uint32_t t)
{
    struct spy *s = w->spy;
    if (s->quantum <= 0)
        return;
    double q = s->inner->tenant_counter(w->inner, v, t);
    s->q_min = fmin(s->q_min, q);
    s->q_max = fmax(s->q_max, q);
    s->refill_error = fmax(s->refill_error, fabs(balance(s, t, q) - s->rejoined_owing[t]));
}

static void read_counters(const struct wrapped *w, const struct sched_view *v, double *q)
{
    for (uint32_t t = 0; t < MIN(view_tenants(v), SPY_TENANTS); t++)
        q[t] = w->spy->inner->tenant_counter(w->inner, v, t);
}

/* Whatever next_candidate raised it by were refills. */
static void count_refills(const struct wrapped *w, const struct sched_view *v, const double *before)
{
    struct spy *s = w->spy;
    double q[SPY_TENANTS];
    read_counters(w, v, q);
    for (uint32_t t = 0; t < MIN(view_tenants(v), SPY_TENANTS); t++) {
        if (q[t] == before[t])
            continue;
        double n = (q[t] - before[t]) / s->quantum;
        s->refill_error = fmax(s->refill_error, fabs(n - round(n)));
        s->refilled[t] += n;
        check_balance(w, v, t);
    }
}

/* A decision is over. If slots were not the reason, then somebody who waits has credit that memory
 * keeps him from using, or all were tried. */
static void check_gate(const struct wrapped *w, const struct sched_view *v, enum try_result res)
{
    struct spy *s = w->spy;
    bool waits = false;
    for (uint32_t t = 0; t < MIN(view_tenants(v), SPY_TENANTS); t++) {
        waits = waits || s->waiting[t] > 0;
        if (s->waiting[t] > 0 && s->inner->tenant_counter(w->inner, v, t) > 0)
            return;
    }
    s->gated += waits && res != TRY_NO_SLOT && s->tried < v->n_waiting;
}

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    struct wrapped *w = arena_alloc(a, sizeof(*w));
    w->spy = current;
    w->inner = current->inner->open(a, p, l, e);
    return w->inner == NULL ? NULL : w;
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake)
{
    struct wrapped *w = self;
    struct spy *s = w->spy;
    settle(w, v);
    uint32_t t = view_req(v, id)->tenant;
    ck_assert_uint_lt(t, SPY_TENANTS);
    if (s->live[t] == 0)
        s->lone[t] = (struct spy_lone){true, total(s) - s->w[t]};
    s->live[t]++;
    s->waiting[t]++;
    enum adm answer =
        s->inner->on_arrival == NULL ? ADM_ACCEPT : s->inner->on_arrival(w->inner, v, id, wake);
    ck_assert_int_eq(answer, ADM_ACCEPT);     /* the accounts know no other */
    if (s->quantum > 0 && s->waiting[t] == 1) /* may forgive debt, or drop credit */
        s->rejoined_owing[t] = balance(s, t, counter(w, v, id));
    check_balance(w, v, t);
    return answer;
}

static void step_begin(void *self, const struct sched_view *v)
{
    struct wrapped *w = self;
    struct spy *s = w->spy;
    settle(w, v);
    s->d = mem_reserve(s->d, &s->cap, s->n + 1, sizeof(*s->d));
    s->d[s->n] = (struct spy_decision){0};
    memcpy(s->d[s->n].w_before, s->w, sizeof(s->w));
    s->n++;
    s->open = true;
    if (s->inner->step_begin != NULL)
        s->inner->step_begin(w->inner, v);
}

static req_id next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res)
{
    struct wrapped *w = self;
    struct spy *s = w->spy;
    double before[SPY_TENANTS];
    if (s->quantum > 0)
        read_counters(w, v, before);
    if (res == TRY_FIRST || res == TRY_ADMITTED || res == TRY_LOADING)
        s->tried = res == TRY_FIRST ? 0 : s->tried;
    else
        s->tried++;
    if (s->inner->next_candidate != NULL) {
        req_id id = s->inner->next_candidate(w->inner, v, last, res);
        if (s->quantum > 0)
            count_refills(w, v, before);
        if (s->quantum > 0 && id == REQ_NONE)
            check_gate(w, v, res);
        return id;
    }
    bool go_on = res == TRY_FIRST || res == TRY_ADMITTED || res == TRY_LOADING;
    return go_on ? view_waiting_first(v) : REQ_NONE;
}

static void on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                     uint32_t cached, bool resumed)
{
    struct wrapped *w = self;
    struct spy *s = w->spy;
    const struct req_info *q = view_req(v, id);
    double due = resumed ? 0 : s->wp * (s->charge_extend ? extend : q->prompt_tokens);
    struct spy_lone *lone = &s->lone[q->tenant];
    if (lone->waits) { /* the first of its tenant to go in, whichever the policy prefers */
        s->isolation = fmax(s->isolation, total(s) - s->w[q->tenant] - lone->others_at_arrival);
        lone->waits = false;
    }
    s->waiting[q->tenant]--;
    s->admitted_new += !resumed;
    s->w[q->tenant] += due;
    double before = counter(w, v, id);
    if (s->inner->on_admit != NULL)
        s->inner->on_admit(w->inner, v, id, extend, cached, resumed);
    expect_charge(w, v, id, before, due);
    check_balance(w, v, q->tenant);
}

static void on_tokens(void *self, const struct sched_view *v, req_id id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at)
{
    struct wrapped *w = self;
    struct spy *s = w->spy;
    settle(w, v);
    s->w[view_req(v, id)->tenant] += s->wq * out_new;
    s->out_tokens += out_new;
    double before = counter(w, v, id);
    if (s->inner->on_tokens != NULL)
        s->inner->on_tokens(w->inner, v, id, prefill_done, out_new, recomputed, at);
    expect_charge(w, v, id, before, s->wq * out_new);
    check_balance(w, v, view_req(v, id)->tenant);
}

static void on_finish(void *self, const struct sched_view *v, req_id id, enum finish_reason why,
                      ns_t at)
{
    struct wrapped *w = self;
    const struct req_info *q = view_req(v, id);
    w->spy->live[q->tenant]--;
    if (q->state != REQ_RUNNING && q->state != REQ_LOADING)
        w->spy->waiting[q->tenant]--;
    if (w->spy->inner->on_finish != NULL)
        w->spy->inner->on_finish(w->inner, v, id, why, at);
}

static void on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode)
{
    struct wrapped *w = self;
    w->spy->waiting[view_req(v, id)->tenant]++;
    if (w->spy->inner->on_preempt != NULL)
        w->spy->inner->on_preempt(w->inner, v, id, mode);
}

bool spy_run(struct spy *spy, struct lab *l)
{
    ck_assert_uint_eq(l->n_replicas, 1);
    const struct scheduler_ops *inner = l->scheduler;
    /* The wrapper forwards what the schedulers under test have; one that has more needs more here.
     */
    ck_assert(inner->select_run == NULL && inner->chunk == NULL && inner->reserve == NULL &&
              inner->committed == NULL && inner->victim == NULL && inner->on_timer == NULL &&
              inner->step_end == NULL);
    struct scheduler_ops ops = {
        .name = inner->name,
        .doc = inner->doc,
        .params = inner->params,
        .needs = inner->needs,
        .req_state_bytes = inner->req_state_bytes,
        .tenant_state_bytes = inner->tenant_state_bytes,
        .open = open,
        .on_arrival = on_arrival,
        .step_begin = step_begin,
        .next_candidate = next_candidate,
        .on_admit = on_admit,
        .on_tokens = on_tokens,
        .on_finish = on_finish,
        .on_preempt = on_preempt,
    };
    struct spy_decision *d = spy->d;
    size_t cap = spy->cap;
    *spy = (struct spy){.inner = inner,
                        .wp = spy->wp,
                        .wq = spy->wq,
                        .quantum = spy->quantum,
                        .charge_extend = spy->charge_extend,
                        .d = d,
                        .cap = cap};
    for (uint32_t t = 0; t < SPY_TENANTS; t++)
        spy->weight[t] = t < l->tenants.n ? params_map_num(&l->params, "vtc", "weights",
                                                           names_text(&l->tenants, t), 1.0)
                                          : 1.0;
    current = spy;
    l->scheduler = &ops;
    bool ok = lab_run(l);
    l->scheduler = inner;
    current = NULL;
    return ok;
}

void spy_release(struct spy *spy)
{
    mem_free(spy->d);
    *spy = (struct spy){0};
}

/* Walks the windows in which `in(d)` holds at every decision, showing each value of
 * D = W_i / weight_i - W_j / weight_j in them; returns the largest later - earlier difference, of
 * either sign when both is set. */
static double worst_change(const struct spy *s, uint32_t i, uint32_t j, bool both_backlogged,
                           bool either_sign)
{
    double worst = 0, low = HUGE_VAL, high = -HUGE_VAL;
    bool inside = false;
    for (size_t k = 0; k < s->n; k++) {
        const struct spy_decision *d = &s->d[k];
        bool in = d->backlogged[j] && (!both_backlogged || d->backlogged[i]);
        double before = d->w_before[i] / s->weight[i] - d->w_before[j] / s->weight[j];
        double after = d->w_after[i] / s->weight[i] - d->w_after[j] / s->weight[j];
        if (inside || in) { /* the step before ended here: its tokens belong to the window */
            if (!inside)
                low = HUGE_VAL, high = -HUGE_VAL;
            low = fmin(low, before);
            high = fmax(high, before);
            worst = fmax(worst, before - low);
            if (either_sign)
                worst = fmax(worst, high - before);
        }
        if (in) {
            low = fmin(low, after);
            high = fmax(high, after);
            worst = fmax(worst, after - low);
            if (either_sign)
                worst = fmax(worst, high - after);
        }
        inside = in;
    }
    return worst;
}

double spy_pair_diff(const struct spy *s)
{
    double worst = 0;
    for (uint32_t i = 0; i < SPY_TENANTS; i++)
        for (uint32_t j = i + 1; j < SPY_TENANTS; j++)
            worst = fmax(worst, worst_change(s, i, j, true, true));
    return worst;
}

double spy_lag(const struct spy *s)
{
    double worst = 0;
    for (uint32_t g = 0; g < SPY_TENANTS; g++)
        for (uint32_t f = 0; f < SPY_TENANTS; f++)
            if (f != g)
                worst = fmax(worst, worst_change(s, g, f, false, false));
    return worst;
}

double spy_shortfall(const struct spy *s, uint32_t n)
{
    double worst = 0;
    for (uint32_t f = 0; f < n; f++) {
        double low = 0;
        bool inside = false;
        for (size_t k = 0; k < s->n; k++) {
            const struct spy_decision *d = &s->d[k];
            double before = -(double)n * d->w_before[f], after = -(double)n * d->w_after[f];
            for (uint32_t g = 0; g < SPY_TENANTS; g++) {
                before += d->w_before[g];
                after += d->w_after[g];
            }
            if (inside) /* the step before ended here */
                worst = fmax(worst, before - low);
            if (d->backlogged[f]) {
                low = fmin(inside ? low : before, fmin(before, after));
                worst = fmax(worst, after - low);
            }
            inside = d->backlogged[f];
        }
    }
    return worst;
}

uint64_t spy_refill_differences(const struct spy *s)
{
    uint64_t n = 0;
    for (size_t k = 1; k < s->n; k++)
        for (uint32_t i = 0; i < SPY_TENANTS; i++)
            for (uint32_t j = i + 1; j < SPY_TENANTS; j++) {
                const struct spy_decision *a = &s->d[k - 1], *b = &s->d[k];
                bool joint =
                    a->backlogged[i] && a->backlogged[j] && b->backlogged[i] && b->backlogged[j];
                double di = b->refilled[i] - a->refilled[i], dj = b->refilled[j] - a->refilled[j];
                n += joint && fabs(di - dj) > 1e-6;
            }
    return n;
}

double spy_counter_spread(const struct spy *s)
{
    double worst = 0;
    for (size_t k = 0; k < s->n; k++)
        worst = fmax(worst, s->d[k].c_spread);
    return worst;
}
