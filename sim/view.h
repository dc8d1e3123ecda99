/* view.h: the read-only window through which policies see a replica. Valid during one callback. */
#ifndef SIM_VIEW_H
#define SIM_VIEW_H

#include "sim/arena.h"
#include "sim/limits.h"
#include "sim/names.h"
#include "sim/predictor.h"
#include "sim/request.h"

struct replica;

struct sched_view {
    ns_t now;
    const struct limits *limits;
    const struct names *tenants;
    uint32_t replica;
    uint32_t n_running, n_waiting; /* n_running: resident ones, loading included */
    uint64_t free_units, evictable_units;
    uint64_t leaving_units;  /* held by requests whose copy to the host is under way */
    const struct replica *r; /* opaque */
    const struct slots *requests, *req_state, *tenant_state; /* for the three lookups below */
};

static inline const struct req_info *view_req(const struct sched_view *v, req_id id)
{
    return slots_at(v->requests, id); /* of the engine's own record the first member */
}

/* The policy's own state beside the request or tenant, zeroed when the slot was taken. */
static inline void *view_req_state(const struct sched_view *v, req_id id)
{
    return slots_at(v->req_state, id);
}

static inline void *view_tenant_state(const struct sched_view *v, uint32_t tenant)
{
    return slots_at(v->tenant_state, tenant);
}

uint32_t view_tenants(const struct sched_view *v); /* tenants seen so far: ids 0..n-1 */

/* The engine's waiting queue, in its own order (arrivals at the back, preempted at the front), and
 * the resident requests in order of admission. REQ_NONE ends a walk. */
req_id view_waiting_first(const struct sched_view *v);
req_id view_waiting_next(const struct sched_view *v, req_id id);
req_id view_running_first(const struct sched_view *v);
req_id view_running_next(const struct sched_view *v, req_id id);
req_id view_running_last(const struct sched_view *v);
req_id view_running_prev(const struct sched_view *v, req_id id);

/* Page units that `tokens` tokens of the request take. */
uint64_t view_units(const struct sched_view *v, req_id id, uint32_t tokens);
/* Page units that are `share` of all, what vLLM V0's watermark keeps free beside an admission; 0
 * while nothing is resident: a request alone may have everything. */
uint64_t view_watermark(const struct sched_view *v, double share);
/* Has the host room for a copy of what the resident holds? Without, it is dropped if preempted. */
bool view_host_fits(const struct sched_view *v, req_id id);
uint32_t view_cached_len(const struct sched_view *v,
                         req_id id); /* S3: tokens a lookup would hit now */
/* Where in the replica's tree of cached prefixes that hit ends: in the edge to `node`; 0, the root:
 * it hits nothing. Nodes keep their numbers during one decision. */
struct view_hit {
    uint32_t node, tokens;
};
struct view_hit view_hit(const struct sched_view *v, req_id id);
uint32_t view_hit_parent(const struct sched_view *v, uint32_t node); /* of the root: the root */
/* Which prompts begin alike: a key of the blocks that cover the first `tokens` tokens of the
 * prompt, the same for two requests iff those blocks are; 0: it is shorter, or nobody can share it.
 */
uint64_t view_prefix_key(const struct sched_view *v, req_id id, uint32_t tokens);
/* S1: the run's predictor's answer; a mean of 0 when the run has none. */
struct prediction view_predict(const struct sched_view *v, req_id id);
/* The true output length: only for a policy that declares SCHED_ORACLE (CHECKed). */
uint32_t view_true_output(const struct sched_view *v, req_id id);

#endif
