/* spy.h: a scheduler around another one that keeps accounts of its own, for properties: who was
 * given how much, who was backlogged when, what the policy charged. It changes no answer. */
#ifndef TESTS_SUPPORT_SPY_H
#define TESTS_SUPPORT_SPY_H

#include "tests/support/lab.h"

#define SPY_TENANTS 8u

/* The state at one decision of the (only) replica. */
struct spy_decision {
    double refilled[SPY_TENANTS]; /* a deficit's refills so far, after its admissions */
    double w_before[SPY_TENANTS]; /* service so far, before its admissions */
    double w_after[SPY_TENANTS];  /* after them */
    bool backlogged[SPY_TENANTS]; /* a request waiting after them */
    double c_spread;              /* largest - smallest counter of backlogged tenants */
};

struct spy {
    const struct scheduler_ops *inner;
    double wp, wq;
    double quantum;     /* > 0: the counter is a deficit, charges lower it, refills raise it */
    bool charge_extend; /* service of a prompt: only what the cache did not hold */
    double weight[SPY_TENANTS]; /* 1 unless set: what the policy should divide by */

    struct spy_decision *d;
    size_t n, cap;
    bool open; /* d[n-1] has not seen its admissions yet */
    double w[SPY_TENANTS];
    uint32_t waiting[SPY_TENANTS], live[SPY_TENANTS];
    uint64_t out_tokens, admitted_new;
    double charge_error; /* largest |charged - due| of one callback */

    /* of a deficit */
    double refilled[SPY_TENANTS]; /* refills so far */
    double
        rejoined_owing[SPY_TENANTS]; /* counter + service - refills x quantum, fixed by joining */
    double q_min, q_max;
    double refill_error; /* largest distance of refills from whole ones, and of the balance */
    uint64_t gated;      /* decisions that ended although nobody waiting had credit left */
    uint32_t tried;      /* candidates of this decision */
    double isolation;    /* T4: most service others got while a lone arrival waited */
    struct spy_lone {
        bool waits;
        double others_at_arrival;
    } lone[SPY_TENANTS];
};

/* Runs the lab with its scheduler wrapped; the spy's second part is filled afresh. */
bool spy_run(struct spy *spy, struct lab *l);
void spy_release(struct spy *spy);

/* Largest |change of W_i - W_j| (divided by weights) over pairs and windows in which both are
 * backlogged at every decision; and the largest W_g - W_f over windows in which f is backlogged. */
double spy_pair_diff(const struct spy *spy);
double spy_lag(const struct spy *spy);
/* Over windows in which f is backlogged, the largest shortfall of n times its service from that of
 * all: f, one of n, was due an equal share at least. */
double spy_shortfall(const struct spy *spy, uint32_t n);
/* Decisions and pairs that wait before and after them, of which one was refilled more often. */
uint64_t spy_refill_differences(const struct spy *spy);
double spy_counter_spread(const struct spy *spy);

#endif
