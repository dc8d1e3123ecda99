/* fairness.h: service per tenant, and what is said of it: the largest service difference of
 * backlogged pairs, the final spread, Jain's index (contract.md section 4; scheduling.md 6).
 *
 * Tenants are named by rank: 0, 1, 2... in the order in which they first arrive. Tokens are counted
 * as integers and weighted when they are looked at, so that no answer depends on how they were
 * grouped. */
#ifndef SIM_FAIRNESS_H
#define SIM_FAIRNESS_H

#include "sim/base.h"

#define FAIRNESS_PAIR_TENANTS 64u  /* pairs are watched among the first so many: bits of a word */
#define FAIRNESS_JAIN_TENANTS 512u /* beyond: Jain's index is over the whole run */

struct fairness_pairs;

struct fairness_tokens {
    uint64_t prompt, output;
};

struct fairness {
    double wp, wq; /* service = wp * prompt + wq * output */
    uint32_t n;    /* tenants that have arrived */
    struct fairness_tokens *tokens;
    uint64_t *waiting; /* requests in a waiting queue, of all replicas */
    size_t tokens_cap, waiting_cap;

    /* Windows of pairs. A tenant is backlogged from a decision that left one of its requests
     * waiting to the next decision that does not. */
    uint64_t waiting_mask; /* bit = rank: waiting > 0 now */
    uint64_t backlogged;   /* as the last decision left it */
    uint64_t changed;      /* service charged since the open pairs were last looked at */
    bool deciding;
    struct fairness_tokens charge[FAIRNESS_PAIR_TENANTS]; /* by the decision under way */
    struct fairness_pairs *pairs;                         /* NULL until the second tenant arrives */
    double diff_max; /* NaN: no pair has been backlogged together */

    /* Jain's window. */
    ns_t last_first_at; /* the first arrival of the last tenant to arrive; -1: none yet; held while
                         * n <= FAIRNESS_JAIN_TENANTS */
    ns_t *last_at;      /* latest arrival of each tenant */
    size_t last_at_cap;
    double *at_start; /* [FAIRNESS_JAIN_TENANTS]: service of all at last_first_at */
    double *at_last;  /* [FAIRNESS_JAIN_TENANTS]^2: row i = service of all at last_at[i] */
};

void fairness_init(struct fairness *f, double wp, double wq);
void fairness_release(struct fairness *f);

/* Facts. `rank` == f->n announces a new tenant, which only fairness_arrival may do. */
void fairness_arrival(struct fairness *f, uint32_t rank, ns_t at);
void fairness_waiting(struct fairness *f, uint32_t rank, int delta);
void fairness_charge(struct fairness *f, uint32_t rank, uint64_t prompt, uint64_t output);
void fairness_decide_begin(struct fairness *f);
void fairness_decide_end(struct fairness *f);
void fairness_step_end(struct fairness *f);

/* Service of a tenant so far. */
double fairness_service(const struct fairness *f, uint32_t rank);
/* Largest |W_i - W_j| of a window in which both were backlogged throughout; NaN: there was none. */
double fairness_diff_max(const struct fairness *f);
/* max - min of the totals; NaN without tenants. */
double fairness_diff_all(const struct fairness *f);
/* Jain's index of the service between the first arrival of the last tenant to arrive and the
 * earliest last arrival; over the whole run (*whole_run = true) where that window is empty or the
 * tenants are too many. 1 when nobody got anything, NaN without tenants. */
double fairness_jain(const struct fairness *f, bool *whole_run);

#endif
