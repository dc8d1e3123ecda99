/* arrivals.h: when requests or sessions arrive: the processes of `generate:NAME`. All have the mean
 * rate asked for, over a long time. */
#ifndef TRACES_ARRIVALS_H
#define TRACES_ARRIVALS_H

#include "sim/rng.h"

enum process {
    PROCESS_POISSON,
    PROCESS_GAMMA,   /* gaps of a Gamma distribution */
    PROCESS_WEIBULL, /* gaps of a Weibull distribution */
    PROCESS_ONOFF,   /* Poisson, its rate switching between two values */
    PROCESS_DAILY,   /* Gamma gaps, the rate following the hours (and days) of BurstGPT */
};

struct arrivals_config {
    enum process process;
    double rate_per_s;
    double shape;       /* of the gaps; NaN: what cv says */
    double cv;          /* of the gaps */
    double on_s, off_s; /* PROCESS_ONOFF: mean lengths */
    double idle;        /* PROCESS_ONOFF: the rate while off / while on */
    double start_hour;  /* PROCESS_DAILY: of the day at time 0 */
    bool follow_hours, follow_days;
};

struct arrivals {
    struct arrivals_config c;
    gsl_rng *rng; /* owned */
    double at_s;
    double scale;   /* of the gap distribution; PROCESS_ONOFF: the rate while on */
    double until_s; /* PROCESS_ONOFF: end of the state */
    bool on;
    double hour_mean, day_mean; /* PROCESS_DAILY: of the requests counted */
};

void arrivals_init(struct arrivals *a, const struct arrivals_config *c, uint64_t seed,
                   const char *stream);
void arrivals_release(struct arrivals *a);
double arrivals_next(struct arrivals *a); /* s; never decreases */

/* How much more than on an average day arrives on the last arrival's; 1 where days are equal. */
double arrivals_surge(const struct arrivals *a);

/* Shape of a Weibull distribution with that coefficient of variation, 0.06..400. */
double weibull_shape(double cv);

#endif
