/* compose.h: the composition root of a run: from a resolved configuration to a sim_config with
 * every plug-in found, every capacity known and the trace open. */
#ifndef EXPERIMENTS_COMPOSE_H
#define EXPERIMENTS_COMPOSE_H

#include "experiments/config.h"
#include "experiments/recording.h"
#include "sim/cluster.h"
#include "traces/registry.h"

/* Parts point to each other: it may not be moved. */
struct composed {
    struct sim_config sim; /* sink, progress and store_steps are the caller's to set */
    bool slo_default;      /* no `slo` in the configuration */
    bool blocks_computed;  /* num_gpu_blocks was not given for some replica */
    char synthetic[TRACE_SYNTHETIC_MAX]; /* what of the trace is made up; "" = nothing */
    char trace_sha256[SHA256_HEX];
    char inputs_sha256[SHA256_HEX]; /* of the trace, the profile, and every model's and GPU's
                                       description */

    struct replica_config *replica;  /* sim.replica */
    struct recording_file recording; /* backend replay: what it plays back; else zeroed */
    struct names tenants, classes;
    struct trace_env trace_env; /* the open trace points to it */
    struct arena arena;         /* descriptions, replicas, SLO classes */
    bool trace_is_open;
};

/* Borrows `c` until compose_release. On failure too, release it. */
bool compose(struct composed *out, const struct config *c, struct err *e) NODISCARD;

/* The same; unless `given` is NULL, it is the trace, and the file that the configuration calls the
 * trace is where its records come from. Its tenants are ids in out->tenants. */
bool compose_on(struct composed *out, const struct config *c, const struct trace_source *given,
                struct err *e) NODISCARD;
void compose_release(struct composed *x);

#endif
