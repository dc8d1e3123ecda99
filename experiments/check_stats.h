/* check_stats.h: is the candidate worse? Losses of many figures at once, with intervals that hold
 * for all of them together.
 *
 * A seed is the unit of chance: figures of one seed depend on each other (attainment and latency,
 * and points on a common workload), figures of different seeds do not. So seeds are resampled, all
 * their figures together, and the largest studentised loss among the figures of a family gives the
 * critical value (Westfall and Young 1993, the single-step bootstrap): twenty figures that say the
 * same cost hardly more than one, and the family as a whole errs as often as it was allowed to.
 *
 * Two families share the allowance of 1 % false regressions: the gate, which is what a check is
 * for, gets STATS_ALPHA_GATE of it, and all other figures together STATS_ALPHA_OTHERS.
 *
 * Paired (the same seeds): the differences of each seed are resampled. Unpaired: the deviations
 * from either side's mean, pooled, so that what is drawn knows no loss. The seed of the bootstrap
 * is fixed: the same figures give the same verdict. */
#ifndef EXPERIMENTS_CHECK_STATS_H
#define EXPERIMENTS_CHECK_STATS_H

#include "sim/base.h"

#define STATS_ALPHA_GATE 0.0075
#define STATS_ALPHA_OTHERS 0.0025

enum { STATS_RESAMPLES = 20000 };

/* One metric at one point. Values that are NaN are left out. */
struct stats_figure {
    const double *base, *cand; /* a value a seed */
    bool higher;               /* is better */
    bool gate;                 /* its family */
    /* Results; what cannot be told of so few values is NaN, or infinite. */
    double base_mean, cand_mean; /* where paired, of seeds that both sides have */
    double loss;                 /* of the mean, above 0: worse */
    double se;                   /* its standard error */
    double low, high;         /* of the loss, each missed with the family's probability at most */
    double at_most;           /* 95 % bound of this loss alone */
    double found80, found95;  /* the loss that would be found with that probability */
    size_t n_worse, n_better; /* paired: seeds */
};

struct stats_design {
    bool paired;           /* then n_base == n_cand, and seeds correspond */
    size_t n_base, n_cand; /* seeds */
};

void stats_compare(struct stats_figure *f, size_t n, const struct stats_design *d);

#endif
