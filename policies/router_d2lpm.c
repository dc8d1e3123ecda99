/* router_d2lpm.c: the router half of D2LPM (arXiv 2501.14312 Algorithm 2; scheduling.md section 5):
 * a deficit counter for each tenant and worker. Among the workers that cache most of the prompt,
 * the one with the shortest queue where the tenant's counter is positive; else any such worker. The
 * whole prompt is charged when sent and the output when done: what was cached there is the
 * worker's own business. Its local policy is `dlpm`. */
#include <math.h>

#include "sim/router.h"

#define ONE 1048576.0 /* counters have 20 fraction bits */

struct d2lpm {
    struct arena *arena;
    uint32_t n_workers;
    int64_t quantum, we, wq;
    int64_t **q; /* [tenant][worker]; NULL: not seen */
    size_t cap;
};

static const struct param_desc params[] = {
    {"quantum", PARAM_REAL, "20000", "service units refilled at a time", 1, 1e9, NULL},
    {"we", PARAM_REAL, "1", "service of a prompt token", 0, 1e6, NULL},
    {"wq", PARAM_REAL, "2", "service of an output token", 0, 1e6, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static int64_t fixed(const struct params *p, const char *name)
{
    return llround(params_num(p, params, "d2lpm", name) * ONE);
}

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)seed;
    (void)e;
    struct d2lpm *d = arena_alloc(a, sizeof(*d));
    *d = (struct d2lpm){.arena = a,
                        .n_workers = n_replicas,
                        .quantum = fixed(p, "quantum"),
                        .we = fixed(p, "we"),
                        .wq = fixed(p, "wq")};
    return d;
}

static int64_t *counters(struct d2lpm *d, uint32_t tenant)
{
    d->q = arena_reserve(d->arena, d->q, &d->cap, tenant + 1u, sizeof(int64_t *));
    if (d->q[tenant] == NULL)
        d->q[tenant] = arena_alloc(d->arena, d->n_workers * sizeof(int64_t));
    return d->q[tenant];
}

/* As many quanta for every worker as it takes until one counter is positive: none if one is. */
static void refill(const struct d2lpm *d, int64_t *q)
{
    int64_t high = q[0];
    for (uint32_t w = 1; w < d->n_workers; w++)
        high = MAX(high, q[w]);
    if (high > 0)
        return;
    int64_t quanta = -high / d->quantum + 1;
    for (uint32_t w = 0; w < d->n_workers; w++)
        q[w] += quanta * d->quantum;
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)tenant_state;
    struct d2lpm *d = self;
    int64_t *counter = counters(d, q->tenant);
    refill(d, counter);
    uint32_t longest = 0, to = UINT32_MAX;
    bool to_matches = false;
    for (uint32_t w = 0; w < d->n_workers; w++)
        longest = MAX(longest, route_cached_len(v, w));
    for (uint32_t w = 0; w < d->n_workers; w++) {
        if (counter[w] <= 0)
            continue;
        bool matches = route_cached_len(v, w) == longest;
        uint64_t n = route_in_flight(v, w), best = to == UINT32_MAX ? 0 : route_in_flight(v, to);
        if (to == UINT32_MAX || (matches && !to_matches) ||
            (matches == to_matches && (n < best || (n == best && route_before(v, w, to))))) {
            to = w;
            to_matches = matches;
        }
    }
    counter[to] -= d->we * q->prompt_tokens;
    return to;
}

static void on_done(void *self, const struct route_view *v, const struct req_info *q,
                    uint32_t replica, uint32_t out_tokens)
{
    (void)v;
    struct d2lpm *d = self;
    counters(d, q->tenant)[replica] -= d->wq * out_tokens;
}

const struct router_ops router_d2lpm = {
    .name = "d2lpm",
    .doc = "longest prefix match within a deficit counter for each tenant and worker",
    .source = "arXiv 2501.14312 Algorithm 2, scheduling.md section 5",
    .params = params,
    .open = open,
    .route = route,
    .on_done = on_done,
};
