/* router_power_of_two.c: the shortest queue of d replicas drawn without replacement (Mitzenmacher
 * 1996; scheduling.md section 5). Queue lengths are the router's own in-flight counts. A decision
 * costs d^2 at most, whatever the number of replicas. */
#include "sim/rng.h"
#include "sim/router.h"

#define D_MAX 64u

struct power {
    struct rng rng;
    uint32_t d;
};

static const struct param_desc params[] = {
    {"d", PARAM_INT, "2", "replicas drawn for each request", 1, D_MAX, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)e;
    struct power *w = arena_alloc(a, sizeof(*w));
    rng_init(&w->rng, seed, "router.power_of_two");
    w->d = MIN((uint32_t)params_num(p, params, "power_of_two", "d"), n_replicas);
    return w;
}

static bool is_among(const uint32_t *drawn, uint32_t n, uint32_t id)
{
    for (uint32_t i = 0; i < n; i++)
        if (drawn[i] == id)
            return true;
    return false;
}

/* Floyd's sampling: of 0..j take one; where it was taken before, j itself is new. */
static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)q;
    (void)tenant_state;
    struct power *w = self;
    uint32_t drawn[D_MAX], best = UINT32_MAX;
    for (uint32_t i = 0; i < w->d; i++) {
        uint32_t j = v->n_replicas - w->d + i;
        uint32_t id = (uint32_t)rng_below(&w->rng, j + 1u);
        if (is_among(drawn, i, id))
            id = j;
        drawn[i] = id;
        uint64_t n = route_in_flight(v, id);
        if (best == UINT32_MAX || n < route_in_flight(v, best) ||
            (n == route_in_flight(v, best) && route_before(v, id, best)))
            best = id;
    }
    return best;
}

const struct router_ops router_power_of_two = {
    .name = "power_of_two",
    .doc = "the shortest queue of d replicas drawn at random",
    .source = "Mitzenmacher, The power of two choices; scheduling.md section 5",
    .params = params,
    .open = open,
    .route = route,
};
