/* clients.c: see clients.h. */
#include "traces/clients.h"

#include "sim/hash.h"
#include "traces/dist.h"
#include "traces/record.h"

#define SALT_CLIENTS UINT64_C(0x636c69656e747300)

void clients_init(struct clients *k, const struct clients_config *c, const double *share,
                  size_t n_tenants, uint64_t seed)
{
    struct rng rng;

    *k = (struct clients){.c = *c};
    k->tenant = mem_alloc(c->n_loops * sizeof(*k->tenant));
    k->sent = mem_alloc(n_tenants * sizeof(*k->sent));
    rng_init(&rng, seed, "generate.loops");
    for (size_t i = 0; i < c->n_loops; i++) {
        size_t j = (size_t)rng_below(&rng, i + 1);

        k->tenant[i] = k->tenant[j];
        k->tenant[j] =
            (uint32_t)zipf_pick(share, n_tenants, ((double)i + 0.5) / (double)c->n_loops);
    }
}

void clients_release(struct clients *k)
{
    mem_free(k->tenant);
    mem_free(k->sent);
}

uint32_t clients_tenant(const struct clients *k, uint64_t seq)
{
    return k->tenant[seq % k->c.n_loops];
}

void clients_place(struct clients *k, uint64_t seq, struct trace_rec *rec)
{
    uint32_t tenant = clients_tenant(k, seq);
    uint64_t prefix = k->sent[tenant]++ / k->c.alike;

    if (k->c.n_prefixes > 0)
        prefix %= k->c.n_prefixes;
    record_prefix(rec, k->segment, hash_mix(hash_mix(SALT_CLIENTS, tenant), prefix),
                  k->c.prefix_tokens, content_private_stream(seq));
    if (seq >= k->c.n_loops) {
        rec->after = seq - k->c.n_loops;
        rec->arrival_at = 0;
    }
}
