/* scheduler.h: the interface of scheduling policies. The engine runs the loop of scheduling.md
 * section 2 and checks every answer; a policy is a small set of optional callbacks. A callback
 * that is NULL has the default in [brackets].
 *
 * Who calls what when, at one decision of one replica:
 *     on_arrival for what arrived since; step_begin; kv_move and on_preempt until it returns
 *     REQ_NONE; select_run and chunk for residents, victim and on_preempt when blocks run out;
 *     then, unless a victim was preempted, next_candidate / chunk / reserve / committed / on_admit
 *     until it returns REQ_NONE; select_run once more if the step is still empty; and when the step
 *     is over: on_tokens per request that computed, on_finish, step_end.
 * Policies read through the view, keep their own state beside requests and tenants, and charge
 * only in on_admit and on_tokens; `resumed` and `recomputed` let them refuse to charge twice.
 * Every ordering must end in a tie-break by seq or id. */
#ifndef SIM_SCHEDULER_H
#define SIM_SCHEDULER_H

#include "sim/params.h"
#include "sim/view.h"

enum adm { ADM_ACCEPT, ADM_REJECT, ADM_DEFER };

enum try_result {
    TRY_FIRST, /* no candidate was tried yet in this decision */
    TRY_ADMITTED,
    TRY_LOADING, /* accepted: its KV is being loaded back, it runs later */
    TRY_NO_MEM,
    TRY_NO_SLOT,   /* max_num_seqs */
    TRY_NO_BUDGET, /* no tokens left in this step, or chunk() said 0 */
    TRY_BUSY,      /* its copy to the host is still under way */
};

enum sched_needs {
    SCHED_ORACLE = 1u << 0, /* may call view_true_output */
    SCHED_PAUSES = 1u << 1, /* keeps residents out of steps: max_num_seqs limits those in a step,
                               not all that are resident; needs select_run */
};

/* How copies to the host are made. The GPU packs what goes out and unpacks what comes back, and
 * nothing else uses the link meanwhile. */
struct offload {
    double share;             /* bytes of a copy / of the KV, 0..1; below 1 the copy is lossy */
    double codec_bytes_per_s; /* of KV packed or unpacked; not used where share is 1 */
};

enum finish_reason { FINISH_DONE, FINISH_LENGTH, FINISH_REFUSED };

/* What a step is made of (limits.h). */
enum sched_batching {
    BATCHING_CONFIGURED, /* as prefill_mode says */
    BATCHING_SEPARATE,   /* PREFILL_SEPARATE whatever it says */
};

#define HOLD_FOREVER UINT32_MAX

struct scheduler_ops {
    const char *name, *doc, *source;
    const struct param_desc *params;
    uint32_t needs;
    enum sched_batching batching;
    const char *predictor; /* id of the one a run has unless told otherwise; NULL: it asks none */
    size_t req_state_bytes, tenant_state_bytes;

    void *(*open)(struct arena *, const struct params *, const struct limits *, struct err *);

    /* The request is in the engine's waiting queue already. REJECT refuses it (reason "policy");
     * DEFER takes it out until *wake_at and asks again. [ACCEPT] */
    enum adm (*on_arrival)(void *, const struct sched_view *, req_id, ns_t *wake_at);

    void (*step_begin)(void *, const struct sched_view *); /* [nothing] */

    /* How its swaps are made; asked once, after open. [whole] */
    struct offload (*offload)(const void *);
    /* A resident (REQ_RUNNING) to send away before the step is formed, ahead of any shortage; asked
     * until REQ_NONE. *mode comes in as PREEMPT_SWAP, which without room on the host is
     * PREEMPT_RECOMPUTE. The way back is next_candidate, which may name what is not to run yet.
     * [nobody] */
    req_id (*kv_move)(void *, const struct sched_view *, enum preempt_mode *mode);

    /* Residents that compute in this step, in order, into out[0..max); returns how many. Asked
     * again when nobody it named could run and nobody was admitted: then somebody must, if one can.
     * [all, in order of admission] */
    uint32_t (*select_run)(void *, const struct sched_view *, req_id *out, uint32_t max);

    /* The next waiting request to try; `last` and `res` say how the one before went. REQ_NONE
     * stops admission for this step. Naming one twice in a step is a fault.
     * [the head of the waiting queue; stop at the first failure] */
    req_id (*next_candidate)(void *, const struct sched_view *, req_id last, enum try_result res);

    /* Tokens for this request in this step, at most min(want, budget_left); 0 skips it.
     * [min(want, budget_left)] */
    uint32_t (*chunk)(void *, const struct sched_view *, req_id, uint32_t want,
                      uint32_t budget_left);

    /* Page units that must be free or evictable (beyond those committed) to admit. `deflt` is the
     * engine's own answer under kv_admission and scheduler_reserve_full_isl. [deflt] */
    uint64_t (*reserve)(void *, const struct sched_view *, req_id, uint64_t deflt);
    /* Page units promised to residents beyond what they hold. `deflt` as above. [deflt] */
    uint64_t (*committed)(void *, const struct sched_view *, uint64_t deflt);

    /* extend = tokens to compute, cached = prefix hit; resumed after a preemption. [nothing] */
    void (*on_admit)(void *, const struct sched_view *, req_id, uint32_t extend, uint32_t cached,
                     bool resumed);
    /* After a step: prefill tokens computed for the first time, output tokens emitted, tokens
     * computed again after a preemption, when the tokens were out. [nothing] */
    void (*on_tokens)(void *, const struct sched_view *, req_id, uint32_t prefill_done,
                      uint32_t out_new, uint32_t recomputed, ns_t at);
    void (*on_finish)(void *, const struct sched_view *, req_id, enum finish_reason, ns_t at);
    /* The request is back in the engine's waiting queue, at the front. [nothing] */
    void (*on_preempt)(void *, const struct sched_view *, req_id, enum preempt_mode);
    void (*step_end)(void *, const struct sched_view *, ns_t duration_ns); /* [nothing] */

    /* Whom to preempt so that `requester` gets need_units; may be the requester; REQ_NONE gives
     * up (the requester is skipped in this step). *mode comes in as the configured one.
     * [the resident admitted or resumed last] */
    req_id (*victim)(void *, const struct sched_view *, uint64_t need_units, req_id requester,
                     enum preempt_mode *mode);

    /* Called at the time asked for last; returns when next, NS_NEVER = not again. The first call
     * is at time 0. [none] */
    ns_t (*on_timer)(void *, const struct sched_view *);

    /* Steps for which, without an arrival, completion, shortage or timer, all answers above stay
     * the same: what the leap may skip (architecture.md section 9). [1] */
    uint32_t (*hold)(void *, const struct sched_view *);
    /* So many steps went by, in which residents decoded and nothing else happened, without
     * step_begin and step_end; their tokens have just been told, all of a request's at once.
     * [nothing] */
    void (*leapt)(void *, const struct sched_view *, uint32_t n_steps);

    /* The policy's own counter of a tenant (VTC's c, DLPM's q), in service units: for tests and
     * reports. [NULL: it has none] */
    double (*tenant_counter)(const void *, const struct sched_view *, uint32_t tenant);
};

#endif
