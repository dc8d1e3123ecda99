/* fake_cluster.h: what a router sees, made up: loads, counts and caches from arrays. */
#ifndef TESTS_SUPPORT_FAKE_CLUSTER_H
#define TESTS_SUPPORT_FAKE_CLUSTER_H

#include "sim/router.h"

#define FAKE_REPLICAS 8u

struct fake_cluster {
    struct replica_load load[FAKE_REPLICAS];
    struct route_count count[FAKE_REPLICAS];
    uint32_t cached[FAKE_REPLICAS];
    ns_t token_ns, step_ns; /* of a prompt token; of a decode step */
    uint64_t kv_bytes;      /* of a token; UINT64_MAX: nothing can be copied */
    uint32_t fetched;       /* asked for last: tokens, and how long they take */
    ns_t fetch_ns;
};

struct route_view fake_view(struct fake_cluster *c, ns_t now, uint32_t n_replicas);

#endif
