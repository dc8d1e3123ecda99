/* router_least_kv.c: the replica with the least KV in use or asked for (scheduling.md section 5):
 * held blocks plus those that the waiting will take, plus what was sent since the snapshot.
 * Evictable cache is not in use. */
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

static uint64_t kv(const struct route_view *v, uint32_t replica)
{
    const struct replica_load *l = route_load(v, replica);
    uint64_t held = l->capacity_units - l->free_units - l->evictable_units;
    return held + l->waiting_units + l->sent_units;
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)self;
    (void)q;
    (void)tenant_state;
    return route_least(v, kv);
}

const struct router_ops router_least_kv = {
    .name = "least_kv",
    .doc = "the replica with the least KV held and asked for by waiting requests",
    .source = "scheduling.md section 5",
    .open = open,
    .route = route,
};
