/* router_least_tokens.c: the replica with the fewest tokens queued and resident (scheduling.md
 * section 5): prompts waiting plus lengths running, plus what was sent since the snapshot. */
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

static uint64_t tokens(const struct route_view *v, uint32_t replica)
{
    const struct replica_load *l = route_load(v, replica);
    return l->waiting_tokens + l->running_tokens + l->sent_tokens;
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)self;
    (void)q;
    (void)tenant_state;
    return route_least(v, tokens);
}

const struct router_ops router_least_tokens = {
    .name = "least_tokens",
    .doc = "the replica with the fewest prompt tokens waiting plus tokens of running requests",
    .source = "scheduling.md section 5",
    .open = open,
    .route = route,
};
