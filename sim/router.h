/* router.h: the interface of cluster-level routers (scheduling.md section 5). One router a run.
 * Load snapshots may be `router.snapshot_age_ms` old; in-flight counts (dispatched and not done)
 * are the router's own and always exact. */
#ifndef SIM_ROUTER_H
#define SIM_ROUTER_H

#include "sim/arena.h"
#include "sim/params.h"
#include "sim/request.h"

#define ROUTE_REJECT UINT32_MAX

struct replica_load { /* of one replica, as of taken_at */
    ns_t taken_at;
    uint32_t waiting, running;
    uint64_t free_units, evictable_units, capacity_units;
    uint32_t in_flight; /* exact, now */
};

struct route_view {
    ns_t now;
    uint32_t n_replicas;
    const struct replica_load *load;
};

struct router_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    bool reads_load; /* else the load but for in_flight and capacity_units stays zero */
    size_t tenant_state_bytes;
    void *(*open)(struct arena *, const struct params *, uint32_t n_replicas, uint64_t seed,
                  struct err *);
    /* The replica for this request, or ROUTE_REJECT (refused, reason "router"). */
    uint32_t (*route)(void *, const struct route_view *, const struct req_info *,
                      void *tenant_state);
    void (*on_done)(void *, const struct route_view *, const struct req_info *, uint32_t replica,
                    uint32_t out_tokens); /* [nothing] finished or refused after dispatch */
};

#endif
