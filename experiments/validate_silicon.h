/* validate_silicon.h: `tandem validate SILICON.csv`: each closed-loop point of a table simulated,
 * and how far its groups are off. */
#ifndef EXPERIMENTS_VALIDATE_SILICON_H
#define EXPERIMENTS_VALIDATE_SILICON_H

#include "experiments/run_options.h"
#include "experiments/silicon.h"
#include "experiments/validate_compare.h"

struct silicon_query {
    const char *path;
    const struct run_options *run;
    const struct measured_where *where;
    size_t n_where;
    struct bound *bound;
    size_t n_bounds;
};

/* Prints to `out` unless the options say --quiet. The exit code: 0, 1 where a bound is missed, 2
 * with `e` set where nothing could be simulated. */
int validate_silicon(const struct silicon_query *q, FILE *out, struct err *e);

#endif
