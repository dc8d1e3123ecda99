/* fake_cluster.h: what a router sees, made up: loads, counts and caches from arrays. */
#ifndef TESTS_SUPPORT_FAKE_CLUSTER_H
#define TESTS_SUPPORT_FAKE_CLUSTER_H

#include "sim/router.h"

#define FAKE_REPLICAS 8u

struct fake_cluster {
    struct replica_load load[FAKE_REPLICAS];
    struct route_count count[FAKE_REPLICAS];
    uint32_t cached[FAKE_REPLICAS];
};

struct route_view fake_view(struct fake_cluster *c, ns_t now, uint32_t n_replicas);

#endif
