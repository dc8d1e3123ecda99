/* router.h: the interface of cluster-level routers (scheduling.md section 5). One router a run.
 *
 * A router asks for what it reads, one replica at a time, so that looking at two of 10,000 costs
 * two looks. A load may be a snapshot, `router.snapshot_age_ms` old at most; what was dispatched
 * and is not done is counted at the router and always exact. */
#ifndef SIM_ROUTER_H
#define SIM_ROUTER_H

#include "sim/arena.h"
#include "sim/params.h"
#include "sim/request.h"

#define ROUTE_REJECT UINT32_MAX

struct replica_load { /* of one replica, as of taken_at */
    ns_t taken_at;
    uint32_t waiting, running;
    uint64_t waiting_tokens; /* prompt + generated of the waiting: the prefill that is queued */
    uint64_t running_tokens; /* prompt + generated of the resident ones */
    uint64_t waiting_units;  /* KV that those waiting will take to begin */
    uint64_t free_units, evictable_units, capacity_units;
    uint64_t capacity_tokens; /* of a full cache in those units */
    ns_t queued_ns; /* predicted, for the prompts there that are not computed yet (ROUTER_PREDICTS)
                     */
    /* What the router itself has sent there since taken_at: exact, now. */
    uint32_t sent;
    uint64_t sent_tokens, sent_units;
    ns_t sent_ns; /* as queued_ns */
};

struct route_count {    /* of one replica: exact, now */
    uint32_t in_flight; /* dispatched and not done: waiting, running or deferred there */
    uint64_t dispatched;
};

struct route_services {
    const struct replica_load *(*load)(void *self, uint32_t replica);
    /* S3: prompt tokens of the request being routed that a lookup there would hit at this moment
     * (exact, without delay). Within route() only. */
    uint32_t (*cached_len)(void *self, uint32_t replica);

    /* S2: what the replica's cost model predicts of work there, or, where steps are measured, what
     * those so far say. A prompt of `tokens` tokens alone, the first `cached` of which are there; a
     * step in which n_seqs sequences of `context` tokens in all decode. */
    ns_t (*prefill_ns)(void *self, uint32_t replica, uint32_t tokens, uint32_t cached);
    ns_t (*decode_ns)(void *self, uint32_t replica, uint32_t n_seqs, uint64_t context);

    /* S4: bytes of KV of that many tokens of any request, to copy to the replica from another one;
     * UINT64_MAX: nothing can be copied there. */
    uint64_t (*kv_bytes)(void *self, uint32_t replica, uint32_t tokens);
    /* The request being routed begins there `takes_ns` later, and then finds the first `tokens`
     * tokens of its prompt cached, if there is room. Within route() only. */
    void (*fetch)(void *self, uint32_t tokens, ns_t takes_ns);
};

struct route_view {
    ns_t now;
    uint32_t n_replicas;
    const struct route_count *count;
    const struct route_services *ask;
    void *self; /* of the services */
};

enum router_needs { ROUTER_PREDICTS = 1u << 0 /* reads queued_ns of loads */ };

struct router_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    uint32_t needs;
    size_t tenant_state_bytes;
    void *(*open)(struct arena *, const struct params *, uint32_t n_replicas, uint64_t seed,
                  struct err *);
    /* The replica for this request, or ROUTE_REJECT (refused, reason "router"). */
    uint32_t (*route)(void *, const struct route_view *, const struct req_info *,
                      void *tenant_state);
    void (*on_done)(void *, const struct route_view *, const struct req_info *, uint32_t replica,
                    uint32_t out_tokens); /* [nothing] finished or refused after dispatch */
};

static inline const struct replica_load *route_load(const struct route_view *v, uint32_t replica)
{
    return v->ask->load(v->self, replica);
}

static inline uint32_t route_cached_len(const struct route_view *v, uint32_t replica)
{
    return v->ask->cached_len(v->self, replica);
}

/* The order of equals: who was dispatched to least, then the lower id. */
static inline bool route_before(const struct route_view *v, uint32_t a, uint32_t b)
{
    if (v->count[a].dispatched != v->count[b].dispatched)
        return v->count[a].dispatched < v->count[b].dispatched;
    return a < b;
}

/* The replica with the smallest key. */
static inline uint32_t route_least(const struct route_view *v,
                                   uint64_t (*key)(const struct route_view *, uint32_t replica))
{
    uint32_t best = 0;
    uint64_t least = key(v, 0);
    for (uint32_t i = 1; i < v->n_replicas; i++) {
        uint64_t k = key(v, i);
        if (k < least || (k == least && route_before(v, i, best))) {
            best = i;
            least = k;
        }
    }
    return best;
}

static inline uint64_t route_in_flight(const struct route_view *v, uint32_t replica)
{
    return v->count[replica].in_flight;
}

#endif
