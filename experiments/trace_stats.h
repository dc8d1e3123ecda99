/* trace_stats.h: what a trace is like: rates, lengths, prefix reuse, tenants (`trace info`).
 *
 * Conventions are those of "Measured statistics" in ../shared/traces/README.md: time counts from
 * the first arrival; the busiest second and 10 seconds are aligned to it; coefficients of variation
 * are population standard deviation / mean; minutes are whole ones (the last, cut one is left out),
 * empty ones included; percentiles interpolate linearly. Records that failed when they were
 * recorded are counted and otherwise left out; those that follow another have no arrival and are
 * left out of rates. What is undefined is NaN. */
#ifndef EXPERIMENTS_TRACE_STATS_H
#define EXPERIMENTS_TRACE_STATS_H

#include "sim/trace.h"

struct length_stats {
    double mean, p50, p90, p99, max;
    uint64_t total;
};

struct trace_stats {
    uint64_t requests, failed, following;
    double duration_s, mean_rps, max_rps_1s, max_rps_10s;
    double cv_interarrival;
    double cv_per_minute;
    uint64_t minutes, minute_min, minute_max; /* requests in a whole minute */
    struct length_stats input, output;        /* tokens */
    double correlation;                       /* Pearson, of input and output lengths */

    bool shares; /* records say what their prompts share; the rest is 0 or NaN otherwise */
    uint32_t block_tokens;
    uint64_t blocks, distinct;
    uint64_t once;                 /* distinct blocks used a single time */
    double seen_rate;              /* blocks seen before / blocks */
    double hit_rate_tokens;        /* leading blocks seen before, in tokens / prompt tokens */
    double hits_0, hits_1, hits_2; /* share of requests with 0, 1, 2 or more leading blocks seen */

    uint64_t tenants;            /* with requests */
    double top_1, top_5, top_10; /* share of requests of the largest */
    double gini;
};

/* Reads all of `src` (which the caller closes). */
bool trace_stats_read(struct trace_source *src, struct trace_stats *out, struct err *e) NODISCARD;

#endif
