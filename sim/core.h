/* core.h: the insides that the engine's own files share (intake.c, engine.c, batch.c, blocks.c,
 * steps.c, view.c, cluster.c). No policy, backend or reader includes it: here is the truth they may
 * not see. */
#ifndef SIM_CORE_H
#define SIM_CORE_H

#include "sim/cluster.h"
#include "sim/kv.h"
#include "sim/link.h"
#include "sim/prefix_tree.h"

#define SIM_MAX_DEPTH 2u /* batches in flight */

/* ---- a request ---- */

struct request {
    struct req_info info; /* what policies see */
    bool live;            /* the slot is in use */

    /* the truth */
    uint32_t output_tokens;      /* true length, cut to what may be emitted */
    bool cut;                    /* the record's was longer */
    bool counted;                /* arrived after the warm-up */
    struct prediction predicted; /* when it arrived */
    uint32_t turn;
    char session[TRACE_SESSION_MAX + 1];

    /* KV: blocks on a pinned path of the tree, and units of its own */
    struct content content;
    uint32_t path_node, path_blocks;
    uint64_t own_units;
    uint64_t promised_units;  /* kv_admission=reserve: not allocated yet */
    uint32_t recompute_until; /* tokens below this were computed before */
    uint32_t host_tokens;     /* KV on the host, or on the way there or back */
    uint64_t transfer;        /* number of its transfer while SWAPPING_OUT or LOADING */

    /* where it is */
    uint32_t replica;    /* UINT32_MAX: not routed */
    req_id prev, next;   /* in the queue it is in */
    uint64_t offered_in; /* decision in which it was last a candidate */
    uint32_t batch_slot; /* its place in the batch being formed */
    uint64_t batch_step; /* the step that place is in */

    /* followers (trace.h): records that arrive after this one is done */
    uint64_t after;
    ns_t delay_ns;
    req_id first_child, last_child, next_sibling;

    ns_t admitted_at, first_token_at, last_token_at, itl_max_ns; /* -1: not yet */
};

/* ---- a replica ---- */

struct queue {
    req_id first, last;
    uint32_t n;
};

struct flight { /* a batch that was formed and is not processed yet */
    struct batch batch;
    struct batch_seq *seq; /* batch.seq */
    uint64_t *req_seq;     /* whose slot it was: it may have left since */
    size_t seq_cap, req_seq_cap;
    ns_t start_at, duration_ns;
    struct step_cost cost;
    uint32_t preempted;
};

struct peak_entry { /* a request as LightLLM's admission sees it, in tokens */
    uint32_t left, used;
};

struct replica {
    struct sim *sim;
    uint32_t id;
    const struct replica_config *cfg;
    struct limits limits;
    const struct scheduler_ops *ops;
    void *sched, *kv_policy, *backend;
    struct sched_view view;
    struct slots tenant_state;

    struct queue waiting, running;
    uint64_t waiting_tokens, running_tokens; /* prompt + generated of those in the queue */
    uint64_t waiting_units;                  /* KV for those tokens */
    uint32_t n_deferred;

    struct kv kv;
    struct ptree *tree; /* NULL: no prefix caching */
    uint64_t promised_units;
    uint64_t claimed_units;           /* stalled residents wait for them: not for newcomers */
    struct link out, in;              /* to the host and back */
    uint64_t n_evicted, last_evicted; /* blocks, and the last one's hash: not folded yet */
    uint64_t leaving_units;           /* held by requests on their way out, shared ones counted */
    uint64_t host_used;               /* blocks */

    struct flight flight[SIM_MAX_DEPTH]; /* a ring: oldest first */
    uint32_t flight_head, n_flight;
    uint64_t n_steps, n_decisions, n_timers;
    uint32_t n_preempted; /* since the last batch was launched */
    bool decide_pending, timer_pending;
    uint32_t steps_since_admit;
    uint64_t units_reported; /* held units as last told to sim->state */

    req_id *scratch; /* residents to run; requests that finish */
    size_t scratch_cap;
    struct peak_entry *peak; /* kv_admission=lightllm */
    size_t peak_cap;
    struct key_run *runs; /* block keys being looked up */
    size_t n_runs, runs_cap;
};

/* ---- the run ---- */

struct seqmap_entry {
    uint64_t seq;
    req_id id;
};

struct sim {
    const struct sim_config *cfg;
    struct arena arena; /* policies and readers: the run */
    struct evq evq;
    ns_t now;
    struct digest digest;
    struct metrics *metrics;
    struct metrics_state state;
    struct sim_result *res;
    struct err *err; /* the first failure of backend, sink or trace stops the loop */

    struct slots requests, req_state;
    struct slots tenant_router, tenant_predictor;
    void *router, *predictor;
    struct replica *replica;
    struct replica_load *load; /* what a router sees; taken_at -1: never looked at */
    struct route_count *count;
    req_id routed; /* the request that is being routed */

    /* arrivals read and not yet due; followers are found by their parent's seq */
    req_id *ahead;
    size_t ahead_cap, ahead_head, ahead_n;
    struct seqmap_entry *seqmap;
    size_t seqmap_len, seqmap_used;
    bool trace_ended;
    req_id orphan_first, orphan_last; /* followers of refused requests, to be refused */
    bool refusing;
    uint64_t live; /* arrived, not done */
    struct {       /* predictions at arrival, of those that finished and are counted */
        uint64_t n, known, class_hit;
        double error; /* sum of |predicted - true| / true */
    } accuracy;
    uint32_t n_timers; /* EV_TIMER events in the queue */
};

static inline struct request *sim_req(const struct sim *s, req_id id)
{
    return slots_at(&s->requests, id);
}

static inline uint32_t request_len(const struct request *q)
{
    return q->info.prompt_tokens + q->info.generated;
}

/* What the run's predictor says of a request now; all 0 when the run has none. */
struct prediction sim_predict(const struct sim *s, const struct request *q);
void sim_decision(struct sim *s, enum decision what, uint64_t seq, ns_t at, uint64_t number);

/* engine.c: a replica from outside */
bool replica_open(struct replica *r, struct sim *s, uint32_t id, const struct replica_config *cfg,
                  struct err *e) NODISCARD;
void replica_close(struct replica *r);
void replica_arrive(struct replica *r, req_id id);
void replica_deferred(struct replica *r, req_id id);
void replica_wake(struct replica *r);        /* something came: decide, unless blocked on output */
void replica_decide_soon(struct replica *r); /* a decision at this very time */
void replica_decide(struct replica *r);
void replica_timer(struct replica *r);
const struct sched_view *replica_view(struct replica *r); /* refreshed */

void queue_push_back(struct sim *s, struct queue *q, req_id id);
void queue_push_front(struct sim *s, struct queue *q, req_id id);
void queue_remove(struct sim *s, struct queue *q, req_id id);
void waiting_enter(struct replica *r, req_id id, bool front);
void waiting_leave(struct replica *r, req_id id);

/* batch.c: forms one batch and sends it off; false: there is nothing to compute */
bool form_batch(struct replica *r);

/* blocks.c: blocks of requests, the prefix tree, preemption, swap */
uint64_t blocks_resident_units(const struct replica *r, const struct request *q, uint32_t tokens);
uint64_t blocks_available_units(const struct replica *r);                     /* free + evictable */
uint32_t blocks_cached_len(const struct replica *r, const struct request *q); /* changes nothing */
uint32_t blocks_pin_hit(struct replica *r, struct request *q); /* tokens hit; the path is pinned */
void blocks_unpin_hit(struct replica *r, struct request *q);   /* takes blocks_pin_hit back */
bool blocks_alloc(struct replica *r, struct request *q, uint32_t n_tokens); /* beyond computed */
void blocks_publish(struct replica *r, struct request *q); /* full blocks can be hit from now on */
void blocks_release(struct replica *r, struct request *q); /* for good: it leaves the replica */
void blocks_preempt(struct replica *r, req_id id, enum preempt_mode mode);
void blocks_load(struct replica *r, req_id id); /* its host copy starts to come back */
void blocks_forget_host(struct replica *r, struct request *q);
/* Evictions join the digest where the batch changes, as one decision however many steps they took.
 */
void blocks_fold_evictions(struct replica *r);
void blocks_transfers_done(struct replica *r, struct link *l, uint64_t generation);

/* steps.c: batches in flight and what comes out of them */
struct flight *flight_next(struct replica *r); /* room for one more, emptied */
void flight_launch(struct replica *r);         /* the one just filled */
void replica_step_done(struct replica *r);
void replica_cut(struct replica *r); /* the run ends: a step that is cut off counts so far */
void replica_refuse(struct replica *r, req_id id, const char *reason);

/* intake.c: records on their way in */
/* Followers are read this many records ahead of the clock, so that they are known before the record
 * they follow is done. */
#define INTAKE_AHEAD 16384u
bool intake_next(struct sim *s, ns_t now); /* the next timed record gets its arrival event */
void intake_free(struct sim *s, req_id id);
/* What follows a request that is done arrives after its delay; what follows a refused one is
 * refused. */
void intake_followers(struct sim *s, const struct request *parent, bool refused, ns_t at);

/* cluster.c */
void sim_arrived(struct sim *s, req_id id, ns_t at);
void sim_done(struct sim *s, req_id id, enum req_status status, const char *reason, ns_t at);

#endif
