/* quantiles.h: a distribution of non-negative values in milliseconds. Exact (every value kept)
 * up to a set number of samples, then a log-linear histogram as HdrHistogram's: 1,024 buckets of
 * equal width in every octave of ns, of which an answer is the middle, so that it is off by less
 * than 2^-11 = 0.049 % of itself. Which of the two answered is said in the output
 * (quantiles_exact). Percentiles interpolate linearly between order statistics (numpy's default):
 * rank = p/100 * (n-1). */
#ifndef SIM_QUANTILES_H
#define SIM_QUANTILES_H

#include "sim/base.h"

struct quantile_sample {
    double value_ms;
    uint64_t count;
};

struct quantiles {
    uint64_t exact_limit; /* samples (counts included) kept exactly */
    uint64_t n;
    unsigned __int128 sum_ns;       /* of what came as ns: exact, whatever the order */
    double sum_ms, sum_lost_ms;     /* of the rest: both together (compensated) */
    double min_ms, max_ms;          /* of the rest; HUGE_VAL, 0: there is none */
    ns_t min_ns, max_ns;            /* of what came as ns; NS_NEVER, 0 */
    struct quantile_sample *sample; /* NULL once the histogram has taken over */
    size_t n_sample, sample_cap;
    bool sorted;
    uint64_t
        *bucket; /* NULL while exact; 1 ns resolution below 2048 ns, then 1024 buckets an octave */
    size_t n_buckets;
};

struct quantile_bucket {
    double low_ms, high_ms;
    uint64_t count;
};

void quantiles_init(struct quantiles *q, uint64_t exact_limit);
void quantiles_release(struct quantiles *q);
void quantiles_add(struct quantiles *q, double value_ms, uint64_t count); /* value >= 0 */
void quantiles_add_ns(struct quantiles *q, ns_t value_ns, uint64_t count);
bool quantiles_exact(const struct quantiles *q);
double quantiles_mean(const struct quantiles *q);         /* NaN when empty */
double quantiles_at(struct quantiles *q, double percent); /* 0..100; NaN when empty; sorts */
/* Coarse buckets for plots and the `histograms` table: 16 an octave of ns, empty ones left out, in
 * ascending order. The array is the caller's (mem_free). */
struct quantile_bucket *quantiles_buckets(const struct quantiles *q, size_t *n) NODISCARD;

#endif
