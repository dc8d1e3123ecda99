/* router_tenant_round_robin.c: round robin with a cursor for each tenant (scheduling.md section 5;
 * the VTC baseline of D2LPM, arXiv 2501.14312). */
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
    uint32_t *next = tenant_state;
    uint32_t to = *next;
    *next = (to + 1) % v->n_replicas;
    return to;
}

const struct router_ops router_tenant_round_robin = {
    .name = "tenant_round_robin",
    .doc = "each request of a tenant to the replica after the tenant's last one",
    .source = "arXiv 2501.14312, scheduling.md section 5",
    .tenant_state_bytes = sizeof(uint32_t),
    .open = open,
    .route = route,
};
