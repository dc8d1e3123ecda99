/* quantiles.c: exact samples first, a log-linear histogram after.
 *
 * What must hold: every answer depends on the values and their counts alone, not on the order in
 * which they came nor on how equal values were grouped. So the switch to the histogram happens at
 * a count, sorting has no ties that matter, and the sum is exact for lengths in ns and compensated
 * for what is not a whole number of them. */
#include "sim/quantiles.h"

#include <math.h>
#include <string.h>

#define FINE_LOG2 10u  /* buckets an octave kept: relative error below 2^-11 */
#define COARSE_LOG2 4u /* buckets an octave handed out for plots */
#define NS_PER_MS_REAL 1e6

/* The index of the bucket that holds `ns`, with 2^log2 buckets an octave; below 2^(log2 + 1) every
 * ns has its own. */
static size_t bucket_of(uint64_t ns, unsigned log2)
{
    if (ns >> (log2 + 1) == 0)
        return (size_t)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - log2;
    return ((size_t)shift << log2) + (size_t)(ns >> shift);
}

/* The smallest ns in bucket i: the inverse of bucket_of. */
static uint64_t bucket_low(size_t i, unsigned log2)
{
    if (i >> (log2 + 1) == 0)
        return i;
    unsigned shift = (unsigned)(i >> log2) - 1;
    return (uint64_t)(i - ((size_t)shift << log2)) << shift;
}

/* Buckets for everything that an ns_t can hold. */
static size_t bucket_count(unsigned log2)
{
    return bucket_of((uint64_t)NS_NEVER, log2) + 1;
}

static double to_ms(ns_t ns)
{
    return (double)ns / NS_PER_MS_REAL;
}

static uint64_t ns_of(double value_ms)
{
    return (uint64_t)llround(value_ms * NS_PER_MS_REAL);
}

void quantiles_init(struct quantiles *q, uint64_t exact_limit)
{
    *q = (struct quantiles){.exact_limit = exact_limit, .min_ms = HUGE_VAL, .min_ns = NS_NEVER};
}

void quantiles_release(struct quantiles *q)
{
    mem_free(q->sample);
    mem_free(q->bucket);
    quantiles_init(q, q->exact_limit);
}

bool quantiles_exact(const struct quantiles *q)
{
    return q->bucket == NULL;
}

static void become_histogram(struct quantiles *q)
{
    q->n_buckets = bucket_count(FINE_LOG2);
    q->bucket = mem_alloc(q->n_buckets * sizeof(*q->bucket));
    for (size_t i = 0; i < q->n_sample; i++)
        q->bucket[bucket_of(ns_of(q->sample[i].value_ms), FINE_LOG2)] += q->sample[i].count;
    mem_free(q->sample);
    q->sample = NULL;
    q->n_sample = q->sample_cap = 0;
}

/* Neumaier's sum: what rounding loses is kept apart and added at the end. */
static void add_to_sum(struct quantiles *q, double x)
{
    double sum = q->sum_ms + x;
    if (fabs(q->sum_ms) >= fabs(x))
        q->sum_lost_ms += (q->sum_ms - sum) + x;
    else
        q->sum_lost_ms += (x - sum) + q->sum_ms;
    q->sum_ms = sum;
}

static void keep_sample(struct quantiles *q, double value_ms, uint64_t count)
{
    q->sample = mem_reserve(q->sample, &q->sample_cap, q->n_sample + 1, sizeof(*q->sample));
    q->sample[q->n_sample++] = (struct quantile_sample){.value_ms = value_ms, .count = count};
    q->sorted = false;
}

/* Counts values to come; false: the histogram takes them. */
static bool stays_exact(struct quantiles *q, uint64_t count)
{
    q->n += count;
    if (q->bucket == NULL && q->n > q->exact_limit)
        become_histogram(q);
    return q->bucket == NULL;
}

void quantiles_add(struct quantiles *q, double value_ms, uint64_t count)
{
    CHECK(value_ms >= 0 && value_ms * NS_PER_MS_REAL < 0x1p63, "quantiles: a length of time",
          "%g ms", value_ms);
    if (count == 0)
        return;
    add_to_sum(q, value_ms * (double)count);
    q->min_ms = MIN(q->min_ms, value_ms);
    q->max_ms = MAX(q->max_ms, value_ms);
    if (stays_exact(q, count))
        keep_sample(q, value_ms, count);
    else
        q->bucket[bucket_of(ns_of(value_ms), FINE_LOG2)] += count;
}

/* Once for every step that is simulated: no floating point but for a sample that is kept. */
void quantiles_add_ns(struct quantiles *q, ns_t value_ns, uint64_t count)
{
    CHECK(value_ns >= 0, "quantiles: a length of time", "%lld ns", (long long)value_ns);
    if (count == 0)
        return;
    q->sum_ns += (unsigned __int128)value_ns * count;
    q->min_ns = MIN(q->min_ns, value_ns);
    q->max_ns = MAX(q->max_ns, value_ns);
    if (stays_exact(q, count))
        keep_sample(q, to_ms(value_ns), count);
    else
        q->bucket[bucket_of((uint64_t)value_ns, FINE_LOG2)] += count;
}

double quantiles_mean(const struct quantiles *q)
{
    double sum_ms = (double)q->sum_ns / NS_PER_MS_REAL + (q->sum_ms + q->sum_lost_ms);
    return q->n > 0 ? sum_ms / (double)q->n : (double)NAN;
}

static double least_ms(const struct quantiles *q)
{
    return MIN(q->min_ms, to_ms(q->min_ns));
}

static double most_ms(const struct quantiles *q)
{
    return MAX(q->max_ms, to_ms(q->max_ns));
}

/* What is not negative is ordered as its bits are. */
static uint64_t bits_of(double value_ms)
{
    uint64_t bits;
    memcpy(&bits, &value_ms, sizeof(bits));
    return bits;
}

/* By value: a pass for each byte in which values differ, the lowest first. */
static void sort_samples(struct quantiles *q)
{
    enum { BYTES = 8, DIGITS = 256 };
    size_t(*count)[DIGITS] = mem_alloc(BYTES * sizeof(*count));
    struct quantile_sample *to = mem_alloc(q->n_sample * sizeof(*to));

    for (size_t i = 0; i < q->n_sample; i++) {
        uint64_t bits = bits_of(q->sample[i].value_ms);
        for (unsigned b = 0; b < BYTES; b++)
            count[b][bits >> 8 * b & 0xff]++;
    }
    for (unsigned b = 0; b < BYTES; b++) {
        if (count[b][bits_of(q->sample[0].value_ms) >> 8 * b & 0xff] == q->n_sample)
            continue;
        size_t before = 0;
        for (unsigned d = 0; d < DIGITS; d++) {
            size_t n = count[b][d];
            count[b][d] = before;
            before += n;
        }
        for (size_t i = 0; i < q->n_sample; i++)
            to[count[b][bits_of(q->sample[i].value_ms) >> 8 * b & 0xff]++] = q->sample[i];
        struct quantile_sample *from = q->sample;
        q->sample = to;
        to = from;
    }
    q->sample_cap = q->n_sample;
    mem_free(to);
    mem_free(count);
    q->sorted = true;
}

/* The order statistics `rank` and `rank + 1` (0-based; the latter only where there is one). */
struct pair {
    double low, high;
};

static struct pair exact_pair(const struct quantiles *q, uint64_t rank)
{
    size_t i = 0;
    uint64_t seen = q->sample[0].count;
    while (seen <= rank)
        seen += q->sample[++i].count;
    double low = q->sample[i].value_ms;
    bool next_is_same = seen > rank + 1 || i + 1 == q->n_sample;
    return (struct pair){low, next_is_same ? low : q->sample[i + 1].value_ms};
}

/* A bucket's middle stands for all in it, except that the smallest and the largest are known. */
static double bucket_value(const struct quantiles *q, size_t i)
{
    double low = (double)bucket_low(i, FINE_LOG2);
    double last = (double)(bucket_low(i + 1, FINE_LOG2) - 1);
    double middle = (low + last) / 2 / NS_PER_MS_REAL;
    return MIN(MAX(middle, least_ms(q)), most_ms(q));
}

static struct pair histogram_pair(const struct quantiles *q, uint64_t rank)
{
    size_t i = 0;
    uint64_t seen = q->bucket[0];
    while (seen <= rank)
        seen += q->bucket[++i];
    struct pair p = {.low = bucket_value(q, i)};
    p.high = p.low;
    if (seen == rank + 1 && rank + 1 < q->n) {
        do
            i++;
        while (q->bucket[i] == 0);
        p.high = bucket_value(q, i);
    }
    if (rank == 0)
        p.low = least_ms(q);
    if (rank + 1 >= q->n - 1)
        p.high = most_ms(q);
    return p;
}

double quantiles_at(struct quantiles *q, double percent)
{
    CHECK(percent >= 0 && percent <= 100, "quantiles: 0 <= percent <= 100", "%g", percent);
    if (q->n == 0)
        return (double)NAN;
    if (quantiles_exact(q) && !q->sorted)
        sort_samples(q);
    double at = percent / 100 * (double)(q->n - 1);
    uint64_t rank = (uint64_t)at;
    if (rank >= q->n - 1)
        return most_ms(q);
    double part = at - (double)rank;
    struct pair p = quantiles_exact(q) ? exact_pair(q, rank) : histogram_pair(q, rank);
    return p.low + (p.high - p.low) * part;
}

struct quantile_bucket *quantiles_buckets(const struct quantiles *q, size_t *n)
{
    size_t n_coarse = bucket_count(COARSE_LOG2);
    uint64_t *count = mem_alloc(n_coarse * sizeof(*count));
    for (size_t i = 0; i < q->n_sample; i++)
        count[bucket_of(ns_of(q->sample[i].value_ms), COARSE_LOG2)] += q->sample[i].count;
    for (size_t i = 0; i < q->n_buckets; i++)
        count[bucket_of(bucket_low(i, FINE_LOG2), COARSE_LOG2)] += q->bucket[i];

    struct quantile_bucket *out = NULL;
    size_t cap = 0;
    *n = 0;
    for (size_t i = 0; i < n_coarse; i++) {
        if (count[i] == 0)
            continue;
        out = mem_reserve(out, &cap, *n + 1, sizeof(*out));
        out[(*n)++] = (struct quantile_bucket){
            .low_ms = (double)bucket_low(i, COARSE_LOG2) / NS_PER_MS_REAL,
            .high_ms = (double)bucket_low(i + 1, COARSE_LOG2) / NS_PER_MS_REAL,
            .count = count[i],
        };
    }
    mem_free(count);
    return out;
}
