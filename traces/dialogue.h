/* dialogue.h: sessions that are made up: turns of people, or calls of an agent, each with the
 * history of the session in its prompt. Sessions begin at times given; their turns follow one
 * another, or arrive at times of their own. */
#ifndef TRACES_DIALOGUE_H
#define TRACES_DIALOGUE_H

#include "sim/trace.h"
#include "traces/agent.h"
#include "traces/dist.h"
#include "traces/heap.h"

struct dialogue_config {
    bool follow;                        /* turns follow the turn before */
    uint32_t max_context;               /* tokens of a prompt */
    uint32_t prefix_tokens;             /* that sessions of one group share; 0: none */
    const struct agent *agent;          /* NULL: the distributions below */
    struct dist turns, think;           /* owned */
    const struct dist *prompt, *output; /* what a turn adds, what it gets */
};

/* What the caller says of a session when it begins. */
struct dialogue_start {
    ns_t at;
    uint32_t tenant;
    uint64_t group; /* of its prefix */
};

struct talk; /* a session that goes on */

struct dialogue {
    struct dialogue_config c;
    uint64_t seed, n_begun;
    gsl_rng *rng;      /* owned: takes the state of the session that draws */
    struct talk *talk; /* owned */
    uint32_t *idle;    /* owned: which of them have ended */
    size_t n_talks, talk_cap, n_idle, idle_cap;
    struct heap heap; /* of talks by the arrival of their next turn; if follow, at most one */
    char session[32]; /* of the record given last */
    struct segment segment[2];
};

void dialogue_init(struct dialogue *d, uint64_t seed); /* d->c is set */
void dialogue_release(struct dialogue *d);

void dialogue_begin(struct dialogue *d, const struct dialogue_start *start);

/* Whether the next record of the sessions begun comes before a session that begins at `at`. */
bool dialogue_goes_on(const struct dialogue *d, ns_t at);

/* Fills the next record but for seq and line; `seq` is the one it will get. false: that session
 * was over; ask again. */
bool dialogue_next(struct dialogue *d, uint64_t seq, struct trace_rec *rec) NODISCARD;

#endif
