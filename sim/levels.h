/* levels.h: requests that take turns, for schedulers with queues of levels (FastServe, ALISE).
 * Level 0 goes first; in a level, who joined it first. A step takes residents and waiting requests
 * alike in that order, as far as sequences, tokens and memory go: the plan. Residents that are left
 * out keep their memory, until it is wanted by somebody of a better level or too little is free;
 * then the one that will wait longest is copied to the host, as long as that has room: nobody is
 * dropped for somebody else. Admission stops at the first that lacks memory.
 *
 * A policy that uses them starts its state with a struct levels and the state of a request with a
 * struct level_entry, declares SCHED_PAUSES, says who is in which level, and calls levels_plan from
 * step_begin. Memory is taken as it is needed, whatever kv_admission promises.
 *
 * Must hold: a request that was in no plan for `age_ns` is handed out by levels_due, unless it is
 * in level 0. A step that is not as the one before costs O(1) a request in it and a level; those
 * paused or waiting cost nothing until their turn. */
#ifndef SIM_LEVELS_H
#define SIM_LEVELS_H

#include "sim/scheduler.h"
#include "sim/step_time.h"

#define LEVELS_MAX 32u

struct level_entry {
    req_id prev, next;     /* in its level: those resident and those waiting apart */
    req_id older, younger; /* among those that age */
    uint64_t stamp;        /* a count of joins: order within the level */
    ns_t since;            /* it ages: it did not run since then */
    ns_t work_ns;          /* its turn in this level */
    uint32_t level;
    uint32_t tokens; /* it may compute in this step, if it is in the plan */
    uint32_t slot;   /* in levels.run, if it is there */
    bool resident, ages;
};

struct level_list {
    req_id first, last;
    req_id near; /* in it: where one was put in order last; REQ_NONE: not known */
};

struct levels {
    struct arena *arena;
    uint32_t n;
    ns_t quantum_ns[LEVELS_MAX]; /* doubling */
    ns_t age_ns;
    double spare; /* share of memory to keep free beside what is paused */

    struct level_list waiting[LEVELS_MAX], resident[LEVELS_MAX]; /* in order of stamp */
    ns_t work_ns[LEVELS_MAX];                                    /* of all in a level */
    req_id oldest, youngest; /* in order of `since`: those below level 0 that do not run */
    uint64_t n_joined;
    struct step_time time;

    /* the plan of the step being formed: whom to run, whom to admit */
    req_id *run, *before, *admit; /* before: run of the plan before; REQ_NONE: it has left */
    size_t run_cap, before_cap, admit_cap;
    uint32_t n_run, n_admit, n_offered;
    req_id blocked;         /* the first waiting one that lacks memory; REQ_NONE */
    uint64_t blocked_units; /* that must be there for it, with what goes before it */
    bool steady;            /* it stays as it is until somebody comes, goes or changes places */
    bool stale;             /* somebody was sent away since */
    bool asked;             /* select_run was, in this step */
};

/* The parameters of struct levels, for the tables of its users. */
#define LEVELS_PARAMS                                                                               \
    {"levels", PARAM_INT, "8", "levels", 1, LEVELS_MAX, NULL},                                      \
        {"q1_ms", PARAM_REAL, "10", "quantum of the first level, ms; each next one has twice that", \
         1e-3,    1e6,        NULL},                                                                \
    {                                                                                               \
        "spare", PARAM_REAL, "0.01",                                                                \
            "share of KV memory kept free: by swapping paused requests out, and at admission", 0,   \
            0.5, NULL                                                                               \
    }

void levels_init(struct levels *l, struct arena *a, const struct params *p,
                 const struct param_desc *desc, const char *owner, double age_s);
uint32_t levels_for(const struct levels *l, ns_t turn_ns); /* the first whose quantum holds it */

void levels_join(struct levels *l, const struct sched_view *v, req_id id, uint32_t level,
                 ns_t work_ns);
void levels_move(struct levels *l, const struct sched_view *v, req_id id, uint32_t level,
                 ns_t work_ns);                                        /* to the back of it */
req_id levels_due(const struct levels *l, const struct sched_view *v); /* REQ_NONE: nobody */
void levels_plan(struct levels *l, const struct sched_view *v);
void levels_left(struct levels *l, const struct sched_view *v, req_id id);

/* Callbacks of struct scheduler_ops. */
req_id levels_kv_move(void *self, const struct sched_view *v, enum preempt_mode *mode);
uint32_t levels_select_run(void *self, const struct sched_view *v, req_id *out, uint32_t max);
req_id levels_next_candidate(void *self, const struct sched_view *v, req_id last,
                             enum try_result res);
uint32_t levels_chunk(void *self, const struct sched_view *v, req_id id, uint32_t want,
                      uint32_t budget_left);
uint64_t levels_reserve(void *self, const struct sched_view *v, req_id id, uint64_t deflt);
uint64_t levels_committed(void *self, const struct sched_view *v, uint64_t deflt);
void levels_on_admit(void *self, const struct sched_view *v, req_id id, uint32_t extend,
                     uint32_t cached, bool resumed);
void levels_on_preempt(void *self, const struct sched_view *v, req_id id, enum preempt_mode mode);
req_id levels_victim(void *self, const struct sched_view *v, uint64_t need_units, req_id requester,
                     enum preempt_mode *mode);

#endif
