/* reference.h: a deliberately naive simulator of one replica, to hold the engine against.
 *
 * It is written from architecture.md section 6 and scheduling.md section 2 and shares with the
 * engine what policies see (sim/view.h, sim/scheduler.h), the keys of blocks (sim/content.h) and
 * the tables of engine models, and nothing else: no event queue, no leap, no radix tree, no
 * reference counts, no running totals. Whatever is asked for is counted anew by looking at
 * everything that is there. A request is its position in the trace, for ever.
 *
 * What it does not have: swap (host_blocks is 0), other prefix policies than lru, lossy KV
 * policies, followers, closed loops, routers. */
#ifndef TESTS_REFERENCE_REFERENCE_H
#define TESTS_REFERENCE_REFERENCE_H

#include "sim/content.h"
#include "sim/engine_model.h"
#include "sim/hash.h"
#include "tests/support/lab.h"

struct key { /* what one block of a request holds, given those before it */
    uint64_t stream;
    uint32_t index;
};

struct ref_request {
    struct req_info info; /* the first member: view_req */
    bool live, cut;
    uint32_t output; /* its true length, as far as it may be emitted */
    struct content content;
    struct key *key;      /* of every block it may ever fill */
    uint32_t end;         /* the last cached block that it refers to, 0: none */
    uint32_t n_path;      /* how many those are, from its first */
    uint32_t own;         /* blocks that nobody but itself knows of */
    uint32_t room;        /* tokens that its blocks have been taken for */
    uint32_t promised_to; /* tokens that it was promised blocks for at admission, 0: none */
    uint32_t ever_computed;
    ns_t arrives_at, wake_at; /* -1: it has, or it is not known when; it is not deferred */
    ns_t last_token_at;
};

/* A block that a lookup may find. Block 0 is where all prompts begin, and is no memory. */
struct cached {
    bool used, held; /* held: some request refers to it */
    struct key key;
    uint32_t parent, first_child, next_sibling; /* 0: none */
    uint64_t last_use;
};

struct row { /* one request in one step */
    req_id id;
    uint32_t n, context;
    bool decode, emits;
};

struct step {
    struct row *row;
    uint32_t n;
    ns_t start_at, duration_ns;
};

struct list {
    req_id *v;
    uint32_t n;
};

struct replica {
    const struct lab *lab;
    struct limits limits;
    const struct engine_model *engine;
    const struct scheduler_ops *ops;
    void *sched, *predictor;
    struct sched_view view;
    struct arena arena;
    struct slots requests, req_state, tenant_state, tenant_predictor;
    struct list waiting, running;
    req_id leaving;        /* it is in no list any more, and in memory until its policy knows */
    struct cached *cached; /* [1 + num_gpu_blocks] */
    uint64_t use;
    uint64_t n_evicted, last_evicted; /* not told yet */
    struct step step[2];              /* under way: the first runs, the second is next */
    uint32_t n_steps;
    uint32_t budget; /* tokens left in the step being formed */
    bool preempted;  /* somebody was, since its residents were asked */
    uint32_t since_admit;
    ns_t now, timer_at;
    uint32_t next_in; /* closed loop: the next of the trace to arrive */
    bool decide;      /* at this very time */
};

static inline struct ref_request *req_at(const struct replica *r, req_id id)
{
    return slots_at(&r->requests, id);
}

static inline uint32_t req_len(const struct ref_request *q)
{
    return q->info.prompt_tokens + q->info.generated;
}

void list_push(struct list *l, uint32_t at, req_id id); /* before the one at `at` */
void list_remove(struct list *l, req_id id);
uint32_t list_find(const struct list *l, req_id id); /* l->n: it is not in it */

/* main.c: one line of the stream of decisions */
void tell(const struct replica *r, enum decision what, uint64_t seq, ns_t at, uint64_t number);

/* memory.c: blocks */
void for_all_in_memory(const struct replica *r, void (*f)(const struct replica *, req_id));
uint32_t blocks_of(const struct replica *r, uint32_t tokens);
void count_units(const struct replica *r, uint64_t *free_units, uint64_t *cached_units);
/* The last cached block that a lookup finds now, and how many it finds. */
uint32_t find_hit(const struct replica *r, const struct ref_request *q, uint32_t *n);
void take_hit(struct replica *r, struct ref_request *q); /* refers to it; no use of it yet */
void use_path(struct replica *r, const struct ref_request *q);
void publish(struct replica *r, struct ref_request *q); /* its full blocks can be found */
uint64_t growth(const struct replica *r, const struct ref_request *q, uint32_t tokens); /* units */
bool take_blocks(struct replica *r, struct ref_request *q, uint32_t n); /* for n more tokens */
uint64_t promised_units(const struct replica *r);
void give_back(struct replica *r, struct ref_request *q);
void tell_evicted(struct replica *r);

/* view.c */
const struct sched_view *look(struct replica *r); /* all of it counted now */

/* form.c: one decision */
bool form_step(struct replica *r); /* false: there is nothing to compute */

/* main.c */
void refuse(struct replica *r, req_id id);

#endif
