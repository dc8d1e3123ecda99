/* cluster.h: the whole simulation: trace -> router -> replicas -> metrics -> sink, one event loop,
 * one thread. What a run decides depends on this configuration, the trace and the seed only. */
#ifndef SIM_CLUSTER_H
#define SIM_CLUSTER_H

#include "sim/engine.h"
#include "sim/predictor.h"
#include "sim/router.h"
#include "sim/trace.h"

enum sim_clock { CLOCK_VIRTUAL, CLOCK_PACED };

struct sim_config {
    const struct replica_config *replica; /* n_replicas of them */
    uint32_t n_replicas;
    const struct router_ops *router;
    const struct predictor_ops *predictor; /* NULL: none */
    const struct params *params;           /* of every policy */
    struct trace_source trace;             /* the caller closes it */
    struct names *tenants, *classes;
    struct sink sink;              /* ops NULL: none */
    struct metrics_config metrics; /* tenants, capacity and replicas are set by sim_run */
    enum sim_clock clock;
    uint32_t concurrency; /* closed loop; 0: open loop */
    uint64_t seed;
    bool isolate_tenants; /* equal prompts of two tenants share no block */
    ns_t snapshot_age_ns; /* how old a load that the router sees may be; 0: as it is now */
    bool leap;            /* take steps that change nothing at once; the results are the same */
    bool store_steps;     /* hand steps and transfers to the sink */
    /* Called now and then with the simulated time and the requests done. [NULL] */
    void (*progress)(void *, ns_t now, uint64_t done);
    void *progress_self;
};

struct sim_result {
    uint64_t digest;
    uint64_t requests, finished, refused, unfinished, failed_in_trace;
    uint64_t steps, leapt; /* all, and those of them that were taken by leaps */
    uint64_t packed_bytes; /* of copies to the host and back that lose something */
    ns_t end_at;
    struct backend_note note;
};

/* Runs to the end of the trace (or the horizon). false: the trace, a policy's open, the backend or
 * the sink failed; err says which, and the sink was told that the run failed. */
bool sim_run(const struct sim_config *cfg, struct sim_result *res, struct err *e) NODISCARD;

#endif
