/* core.h: the insides that the engine's own files share (intake.c, engine.c, batch.c, blocks.c,
 * steps.c, view.c, cluster.c). No policy, backend or reader includes it: here is the truth they may
 * not see. */
#ifndef SIM_CORE_H
#define SIM_CORE_H

#include "sim/cluster.h"
#include "sim/kv.h"
#include "sim/link.h"
#include "sim/prefix_tree.h"
#include "sim/step_time.h"

#define SIM_MAX_DEPTH 2u /* batches in flight */

/* ---- a request ---- */

struct request {
    struct req_info info; /* what policies see */
    req_id id;            /* its slot */
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
    uint64_t transfer; /* its link's (or the backend's) number while SWAPPING_OUT or LOADING */

    /* where it is */
    uint32_t replica;    /* UINT32_MAX: not routed */
    ns_t prompt_ns;      /* predicted, if the router predicts; 0 when its prompt is computed */
    uint32_t fetched;    /* tokens of its prompt that are on their way from another replica */
    ns_t fetch_ns;       /* and how long they take */
    req_id prev, next;   /* in the queue it is in */
    uint64_t offered_in; /* decision in which it was last a candidate */
    uint32_t batch_slot; /* its place in the batch being formed */
    uint64_t batch_step; /* the step that place is in */
    uint32_t leapt;      /* steps of the open epoch that are written back (leap.c) */

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
    size_t cap;            /* of both */
    ns_t start_at, duration_ns;
    struct step_cost cost;
    uint32_t preempted;
    uint64_t residents; /* replica.residents when it was formed */
};

struct peak_entry { /* a request as LightLLM's admission sees it, in tokens */
    uint32_t left, used;
};

struct leap_tenant {
    uint32_t id, members;
};

/* An epoch: the residents decode together and nothing else happens (leap.c). */
struct leap {
    bool open;
    uint32_t left, done;     /* steps: that may still be taken, that were */
    uint32_t phase;          /* done % block_size */
    ns_t last_token_at;      /* of every member */
    ns_t last_run_at;        /* when the last batch was formed */
    ns_t gap_max;            /* between tokens, in this epoch */
    struct decode_line line; /* what steps cost now: the line_at-th of it is next */
    uint64_t line_at;
    uint64_t extrapolated; /* steps of the leap under way */
    uint32_t n_counted;    /* members that the metrics' window counts */
    ns_t counted_at;       /* when one of those arrived */
    uint32_t *bucket;      /* [block_size + 1]: members that begin a block in step k % block_size */
    req_id *member;        /* are member[bucket[k]] .. member[bucket[k + 1] - 1] */
    struct leap_tenant *tenant;
    uint32_t n_tenants;
    size_t bucket_cap, member_cap, tenant_cap;
};

struct replica {
    struct sim *sim;
    uint32_t id;
    const struct replica_config *cfg;
    struct limits limits;
    const struct scheduler_ops *ops;
    void *sched, *backend;
    struct kv_rule *kv_rule;
    struct sched_view view;
    struct slots tenant_state;

    struct queue waiting, running;
    uint64_t waiting_tokens, running_tokens; /* prompt + generated of those in the queue */
    uint64_t waiting_units;                  /* KV for those tokens */
    ns_t queued_ns; /* sum of prompt_ns of those sent here; 0 unless the router predicts */
    uint32_t n_deferred;

    struct kv kv;
    struct ptree *tree; /* NULL: no prefix caching */
    uint64_t promised_units;
    uint64_t claimed_units; /* stalled residents wait for them: not for newcomers */
    struct link out, in;    /* to the host and back, unless the backend swaps: */
    struct swap *swap;      /* under way, in order of number */
    size_t n_swaps, swap_cap;
    uint64_t n_transfers, swaps_told; /* begun; of those, the backend said that they are done */
    uint64_t n_evicted, last_evicted; /* blocks, and the last one's hash: not folded yet */
    uint64_t leaving_units;           /* held by requests on their way out, shared ones counted */
    uint64_t host_used;               /* blocks */
    struct offload offload;           /* how copies to the host are made */

    struct flight flight[SIM_MAX_DEPTH]; /* a ring: oldest first */
    uint32_t flight_head, n_flight;
    uint64_t n_steps, n_decisions, n_timers;
    struct step_time step_time; /* of a backend that measures */
    uint32_t n_preempted;       /* since the last batch was launched */
    uint64_t residents;         /* grows whenever `running` changes */
    bool refusals_hold; /* those waiting were refused for reasons that decoding does not mend */
    struct leap leap;
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
    ns_t wall_zero; /* CLOCK_MONOTONIC when the clock was 0 */
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
    ns_t next_timed_at; /* open loop: when the next timed record arrives; NS_NEVER: none is left */
    struct segment *segment; /* of the record being read, as its tenant has them */
    size_t segment_cap;
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
/* Its prompt is computed, or never will be. */
static inline void prompt_over(struct replica *r, struct request *q)
{
    r->queued_ns -= q->prompt_ns;
    q->prompt_ns = 0;
}

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
void replica_view_init(struct replica *r);
const struct sched_view *replica_view(struct replica *r); /* refreshed */

void queue_push_back(struct sim *s, struct queue *q, req_id id);
void queue_push_front(struct sim *s, struct queue *q, req_id id);
void queue_remove(struct sim *s, struct queue *q, req_id id);
void waiting_enter(struct replica *r, req_id id, bool front);
void waiting_leave(struct replica *r, req_id id);

/* batch.c: forms one batch and sends it off; false: there is nothing to compute */
bool form_batch(struct replica *r);

/* blocks.c: blocks of requests, the prefix tree, preemption, swap */
/* What it holds at `tokens`, and the most it holds on the way there: a lossy KV policy lets some
 * go once the prompt is there. */
uint64_t blocks_resident_units(const struct replica *r, const struct request *q, uint32_t tokens);
uint64_t blocks_peak_units(const struct replica *r, const struct request *q, uint32_t tokens);
/* What it has to take to get to `tokens`, from those it has computed. */
uint64_t blocks_growth(const struct replica *r, const struct request *q, uint32_t tokens);
uint64_t blocks_available_units(const struct replica *r); /* free + evictable */
/* What a lookup would hit: changes nothing. */
struct ptree_hit blocks_find(const struct replica *r, const struct request *q);
uint32_t blocks_cached_len(const struct replica *r, const struct request *q); /* in tokens */
uint32_t blocks_pin_hit(struct replica *r, struct request *q); /* tokens hit; the path is pinned */
void blocks_unpin_hit(struct replica *r, struct request *q);   /* takes blocks_pin_hit back */
bool blocks_alloc(struct replica *r, struct request *q, uint32_t n_tokens); /* beyond computed */
void blocks_hit(struct replica *r, struct request *q);     /* the pinned hit is used: admitted */
void blocks_publish(struct replica *r, struct request *q); /* full blocks can be hit from now on */
void blocks_release(struct replica *r, struct request *q); /* for good: it leaves the replica */
void blocks_preempt(struct replica *r, req_id id, enum preempt_mode mode);
/* Has the host room for its copy? */
bool blocks_host_fits(const struct replica *r, const struct request *q);
void blocks_load(struct replica *r, req_id id); /* its host copy starts to come back */
void blocks_forget_host(struct replica *r, struct request *q);
/* Evictions join the digest where the batch changes, as one decision however many steps they took.
 */
void blocks_fold_evictions(struct replica *r);
void blocks_transfer_event(struct replica *r, bool out, uint64_t number);
void blocks_cut(struct replica *r); /* the run ends: swaps that are cut off are reported */

/* swaps.c: swaps that the backend carries out */
void swap_begin(struct replica *r, const struct swap *w);
bool swap_take(struct replica *r, uint64_t number, struct swap *out); /* done or cancelled */
/* Hears from the backend which are done. With `wait`, one is when this returns. */
void swaps_ask(struct replica *r, bool wait);

/* The first `tokens` tokens of the prompt have come from elsewhere: they are cached from now on, if
 * there is room. */
void blocks_import(struct replica *r, struct request *q, uint32_t tokens);

/* price.c: what work would take here */
ns_t price_prefill(struct replica *r, uint32_t tokens, uint32_t cached); /* a prompt alone */
ns_t price_decode(struct replica *r, uint32_t n, uint64_t context); /* a step of n that decode */

/* steps.c: batches in flight and what comes out of them */
struct flight *flight_next(struct replica *r);                 /* room for one more, emptied */
void flight_launch(struct replica *r);                         /* the one just filled */
void flight_expect(struct replica *r, const struct flight *f); /* its end becomes an event */
void replica_step_done(struct replica *r);
void replica_cut(struct replica *r); /* the run ends: a step that is cut off counts so far */
void replica_refuse(struct replica *r, req_id id, const char *reason);

/* leap.c: many steps at once */
bool leap_take(struct replica *r); /* a step is done: takes it and more; false: step it */
void leap_land(struct replica *r); /* writes back what is pending; before anybody looks */
bool leap_refusal_holds(const struct replica *r, const struct request *q, enum try_result res);
void leap_release(struct replica *r);

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
ns_t sim_wall(const struct sim *s); /* the wall clock, from the run's zero */
void sim_arrived(struct sim *s, req_id id, ns_t at);
void sim_done(struct sim *s, req_id id, enum req_status status, const char *reason, ns_t at);

#endif
