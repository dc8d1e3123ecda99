/* sched_rpm.c: requests per minute: a tenant with k accepted arrivals in the last 60 s has its next
 * one refused; the others are served first come, first served (the baseline of Sheng et al.,
 * OSDI'24; scheduling.md 3.4).
 *
 * It refuses whether or not there is room, so it leaves the machine idle where others would work.
 * The limit is per replica: a tenant that a router spreads over n replicas may send n times as
 * much. An arrival accepted exactly a window ago does not count any more. */
#include "sim/hold.h"

struct tenant {
    ns_t *accepted; /* when the last k were: a ring, oldest at `at`; NULL: none yet */
    uint32_t n, at;
};

struct rpm {
    struct arena *arena;
    uint32_t k;
    ns_t window_ns;
};

static const struct param_desc params[] = {
    {"k", PARAM_INT, "30", "arrivals of a tenant accepted in a window", 1, 1e6, NULL},
    {"window_s", PARAM_REAL, "60", "length of the window, seconds", 1e-3, 1e6, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)l;
    (void)e;
    struct rpm *r = arena_alloc(a, sizeof(*r));
    r->arena = a;
    r->k = (uint32_t)params_num(p, params, "rpm", "k");
    r->window_ns = ns_from_s(params_num(p, params, "rpm", "window_s"));
    return r;
}

static enum adm on_arrival(void *self, const struct sched_view *v, req_id id, ns_t *wake_at)
{
    (void)wake_at;
    struct rpm *r = self;
    struct tenant *t = view_tenant_state(v, view_req(v, id)->tenant);
    if (t->accepted == NULL)
        t->accepted = arena_alloc(r->arena, r->k * sizeof(*t->accepted));
    if (t->n == r->k && v->now - t->accepted[t->at] < r->window_ns)
        return ADM_REJECT;
    t->accepted[(t->at + t->n) % r->k] = v->now; /* in a full ring, over the oldest */
    if (t->n == r->k)
        t->at = (t->at + 1) % r->k;
    else
        t->n++;
    return ADM_ACCEPT;
}

const struct scheduler_ops sched_rpm = {
    .name = "rpm",
    .doc = "refuses what a tenant sends beyond k requests a minute, else first come, first served",
    .source = "Sheng et al., OSDI'24, arXiv 2401.00588, section 5; scheduling.md 3.4",
    .params = params,
    .tenant_state_bytes = sizeof(struct tenant),
    .open = open,
    .on_arrival = on_arrival,
    .hold = hold_always,
};
