/* router_round_robin.c: each request to the next replica in turn (scheduling.md section 5). */
#include "sim/router.h"

struct round_robin {
    uint32_t next;
};

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)p;
    (void)n_replicas;
    (void)seed;
    (void)e;
    return arena_alloc(a, sizeof(struct round_robin));
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)q;
    (void)tenant_state;
    struct round_robin *rr = self;
    uint32_t to = rr->next;
    rr->next = (to + 1) % v->n_replicas;
    return to;
}

const struct router_ops router_round_robin = {
    .name = "round_robin",
    .doc = "each request to the next replica in turn, whatever the load",
    .source = "scheduling.md section 5",
    .open = open,
    .route = route,
};
