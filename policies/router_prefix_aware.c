/* router_prefix_aware.c: SGLang's cache-aware router (scheduling.md section 5): the least loaded
 * replica when loads differ too much; else the one that has most of the prompt, if that is enough
 * of it; else the one with the most free cache.
 *
 * Departure: SGLang guesses what a replica caches from what it sent there; here the replica is
 * asked, so that evictions are known at once and a prompt counts from its computation on. */
#include "sim/router.h"

struct prefix_aware {
    double threshold, rel;
    uint32_t abs;
};

static const struct param_desc params[] = {
    {"threshold", PARAM_REAL, "0.5", "cached share of the prompt above which the cache decides", 0,
     1, NULL},
    {"abs", PARAM_INT, "32", "difference in requests above which loads decide", 0, 1e9, NULL},
    {"rel", PARAM_REAL, "1.0001", "and the ratio of most to least above which they do", 1, 1e9,
     NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)n_replicas;
    (void)seed;
    (void)e;
    struct prefix_aware *x = arena_alloc(a, sizeof(*x));
    x->threshold = params_num(p, params, "prefix_aware", "threshold");
    x->rel = params_num(p, params, "prefix_aware", "rel");
    x->abs = (uint32_t)params_num(p, params, "prefix_aware", "abs");
    return x;
}

static uint64_t missing(const struct route_view *v, uint32_t replica)
{
    return UINT32_MAX - route_cached_len(v, replica);
}

static uint64_t cache_used(const struct route_view *v, uint32_t replica)
{
    const struct replica_load *l = route_load(v, replica);
    return l->capacity_units - l->free_units + l->sent_units;
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)tenant_state;
    const struct prefix_aware *x = self;
    uint32_t idle = route_least(v, route_in_flight);
    uint32_t least = v->count[idle].in_flight, most = least;
    for (uint32_t i = 0; i < v->n_replicas; i++)
        most = MAX(most, v->count[i].in_flight);
    if (most - least > x->abs && (double)most > x->rel * (double)least)
        return idle;
    uint32_t match = route_least(v, missing);
    if ((double)route_cached_len(v, match) > x->threshold * (double)q->prompt_tokens)
        return match;
    return route_least(v, cache_used);
}

const struct router_ops router_prefix_aware = {
    .name = "prefix_aware",
    .doc = "the replica that caches most of the prompt, unless loads differ too much (SGLang)",
    .source = "SGLang cache-aware router, scheduling.md section 5",
    .params = params,
    .open = open,
    .route = route,
};
