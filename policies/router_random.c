/* router_random.c: each request to a replica drawn uniformly (scheduling.md section 5). */
#include "sim/rng.h"
#include "sim/router.h"

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)p;
    (void)n_replicas;
    (void)e;
    struct rng *g = arena_alloc(a, sizeof(*g));
    rng_init(g, seed, "router.random");
    return g;
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)q;
    (void)tenant_state;
    return (uint32_t)rng_below(self, v->n_replicas);
}

const struct router_ops router_random = {
    .name = "random",
    .doc = "each request to a replica drawn uniformly",
    .source = "scheduling.md section 5",
    .open = open,
    .route = route,
};
