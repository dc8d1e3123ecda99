/* request.h: what policies may see of a request (req_info), and what the engine keeps besides.
 *
 * The true output length is in `struct request` only. Policies include the interface headers,
 * which do not include this file's second half: see sim/view.h. */
#ifndef SIM_REQUEST_H
#define SIM_REQUEST_H

#include "sim/base.h"

typedef uint32_t req_id; /* a slot of a live request, reused after it leaves */
#define REQ_NONE UINT32_MAX

enum req_state {
    REQ_WAITING,      /* in the waiting queue: new, or preempted by RECOMPUTE */
    REQ_SWAPPING_OUT, /* in the waiting queue; its copy to the host is not finished */
    REQ_SWAPPED,      /* in the waiting queue; its KV is on the host */
    REQ_LOADING,      /* has its blocks; its KV is on the way back */
    REQ_RUNNING,      /* resident */
    REQ_DEFERRED,     /* on_arrival said: later */
};

/* Lengths in tokens. `generated` counts tokens whose step has been scheduled; under a synchronous
 * engine that is the same as emitted ones whenever a policy is asked. */
struct req_info {
    uint64_t seq; /* position in the trace: what ties use */
    ns_t arrived_at;
    ns_t last_run_at; /* start of the last step it was in; -1: never */
    uint32_t tenant, slo_class;
    int32_t priority; /* lower first */
    uint32_t prompt_tokens;
    uint32_t max_tokens; /* what it may emit at most: min(asked for, max_model_len - prompt) */
    uint32_t computed;   /* tokens whose KV is resident or being computed */
    uint32_t generated;
    uint32_t emitted;       /* output tokens the engine has processed */
    uint32_t cached_tokens; /* prefix hit at first admission */
    uint32_t preemptions;
    uint32_t predicted_tokens; /* a column of the trace; 0: none */
    uint64_t session_hash;     /* 0: none */
    uint64_t held_units;       /* KV page units it holds, shared ones included */
    enum req_state state;
    bool admitted_before;
};

/* In the engine's waiting queue? A request may end there: preempted while its last token was on
 * its way out. */
static inline bool req_is_waiting(const struct req_info *q)
{
    return q->state == REQ_WAITING || q->state == REQ_SWAPPING_OUT || q->state == REQ_SWAPPED;
}

#endif
