#include "tests/support/fake_cluster.h"

static const struct replica_load *load(void *self, uint32_t replica)
{
    struct fake_cluster *c = self;
    return &c->load[replica];
}

static uint32_t cached_len(void *self, uint32_t replica)
{
    const struct fake_cluster *c = self;
    return c->cached[replica];
}

static const struct route_services services = {.load = load, .cached_len = cached_len};

struct route_view fake_view(struct fake_cluster *c, ns_t now, uint32_t n_replicas)
{
    return (struct route_view){now, n_replicas, c->count, &services, c};
}
