/* engine.h: one replica: waiting queue, scheduler's loop, KV, batches in flight.
 *
 * Data flows one way: the cluster hands a request in, the replica decides, the backend says how
 * long a step takes, tokens and completions go out to metrics and sink.
 *
 * Invariants, always on; the messages of CHECK name them:
 *   I1  free + held + cached units = capacity
 *   I2  a batch keeps within max_num_batched_tokens and max_num_seqs and names no request twice
 *   I3  every live request is in exactly one queue: waiting, resident or deferred
 *   I4  time never goes back
 *   I5  arrived = done + live + refused
 *   I6  arrived <= admitted <= first token <= done
 *   I7  a policy only names what it was offered (a waiting, resident, unpinned thing)
 *   I8  a replica with runnable work and nothing in flight never idles, unless a timer, a transfer
 *       or a deferred request will wake it
 *   I9  every emitted token is reported once; emitted tokens of finished requests = their output
 *   I10 a hit leaves at least one token to compute
 *   I11 nothing is admitted in a step that preempted
 */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "sim/backend.h"
#include "sim/engine_model.h"
#include "sim/evq.h"
#include "sim/kvrule.h"
#include "sim/metrics.h"
#include "sim/prefix.h"
#include "sim/scheduler.h"

#define INV_UNITS "I1 (free + held + cached units = capacity)"
#define INV_BATCH "I2 (a batch keeps its limits)"
#define INV_QUEUE "I3 (every live request is in exactly one queue)"
#define INV_TIME "I4 (time never goes back)"
#define INV_CONSERVE "I5 (arrived = done + live + refused)"
#define INV_ORDER "I6 (arrived <= admitted <= first token <= done)"
#define INV_OFFER "I7 (a policy only names what it was offered)"
#define INV_WORK "I8 (no idling with runnable work)"
#define INV_TOKENS "I9 (every token is reported once)"
#define INV_HIT "I10 (a hit leaves a token to compute)"
#define INV_ADMIT "I11 (no admission in a step that preempted)"

/* A policy as it is plugged in. */
struct replica_config {
    struct limits limits;
    const struct engine_model *engine;
    const struct scheduler_ops *scheduler;
    const struct prefix_ops *prefix; /* one that needs no future */
    double prefix_pair_cost;         /* prefix.h */
    const struct kvpolicy_ops *kv;
    const struct kvbudget_ops *kv_budget; /* NULL: every layer and head gets the same */
    struct kv_shape kv_shape;
    const struct backend_ops *backend;
    struct backend_env backend_env; /* .limits is set by the engine */
};

#endif
