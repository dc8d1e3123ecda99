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

static ns_t prefill_ns(void *self, uint32_t replica, uint32_t tokens, uint32_t cached)
{
    const struct fake_cluster *c = self;
    (void)replica;
    return (tokens - cached) * c->token_ns;
}

static ns_t decode_ns(void *self, uint32_t replica, uint32_t n_seqs, uint64_t context)
{
    const struct fake_cluster *c = self;
    (void)replica;
    (void)context;
    return n_seqs * c->step_ns;
}

static uint64_t kv_bytes(void *self, uint32_t replica, uint32_t tokens)
{
    const struct fake_cluster *c = self;
    (void)replica;
    return c->kv_bytes == UINT64_MAX ? UINT64_MAX : tokens * c->kv_bytes;
}

static void fetch(void *self, uint32_t tokens, ns_t takes_ns)
{
    struct fake_cluster *c = self;
    c->fetched = tokens;
    c->fetch_ns = takes_ns;
}

static const struct route_services services = {
    .load = load,
    .cached_len = cached_len,
    .prefill_ns = prefill_ns,
    .decode_ns = decode_ns,
    .kv_bytes = kv_bytes,
    .fetch = fetch,
};

struct route_view fake_view(struct fake_cluster *c, ns_t now, uint32_t n_replicas)
{
    return (struct route_view){now, n_replicas, c->count, &services, c};
}
