/* router_jsq.c: join the shortest queue, also called least outstanding requests (scheduling.md
 * section 5). Waiting and running ones count; both are what was dispatched and is not done, which
 * the router knows without asking, so that stale loads do not make a burst herd. */
#include "sim/router.h"

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)p;
    (void)n_replicas;
    (void)seed;
    (void)e;
    return arena_alloc(a, 1);
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)self;
    (void)q;
    (void)tenant_state;
    return route_least(v, route_in_flight);
}

const struct router_ops router_jsq = {
    .name = "jsq",
    .doc = "the replica with the fewest requests waiting and running",
    .source = "scheduling.md section 5",
    .open = open,
    .route = route,
};
