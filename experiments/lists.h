/* lists.h: the two keys whose value may be a list of objects: `slo` and `replicas`. */
#ifndef EXPERIMENTS_LISTS_H
#define EXPERIMENTS_LISTS_H

#include "experiments/config.h"
#include "sim/arena.h"
#include "sim/metrics.h"

/* Of a resolved configuration; everything lives in the arena. */

/* The SLO classes, in order; at least one (the key's default). */
bool list_slo(const struct config *c, struct arena *a, struct slo_class **out, size_t *n,
              struct err *e) NODISCARD;

struct replica_spec {
    uint32_t count;
    const char *model, *gpu;
    uint64_t num_gpu_blocks; /* 0: computed */
};

/* The kinds of replicas, in order; what one leaves out is as the key of that name says. */
bool list_replicas(const struct config *c, struct arena *a, struct replica_spec **out, size_t *n,
                   struct err *e) NODISCARD;

#endif
