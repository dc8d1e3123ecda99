/* capacity.h: the highest rate of requests that meets the limits (scheduling.md section 6: double
 * until it fails, then bisect; the same seeds and lengths at every rate). */
#ifndef EXPERIMENTS_CAPACITY_H
#define EXPERIMENTS_CAPACITY_H

#include "sim/base.h"

struct capacity_probe {
    double scale;      /* trace.rate_scale */
    double rate_rps;   /* at which requests arrived */
    double window_s;   /* over which it was measured */
    double attainment; /* share of requests within their limits */
};

struct capacity_search {
    double attainment; /* that is to be met */
    double tolerance;  /* ends where the lowest scale that failed is within this of the best */
    /* Simulates at p->scale and fills the rest. */
    bool (*measure)(void *self, struct capacity_probe *p, struct err *e);
    void *self;
};

struct capacity {
    struct capacity_probe best;   /* the highest that met; .scale 0: none did */
    struct capacity_probe failed; /* the lowest above it that did not */
    unsigned probes;
};

/* Starts at `scale`. Fails where the limits are met at every rate. */
bool capacity_find(const struct capacity_search *s, double scale, struct capacity *out,
                   struct err *e) NODISCARD;

#endif
