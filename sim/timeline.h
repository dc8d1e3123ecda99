/* timeline.h: a few series sampled at regular times, in bounded memory (contract.md section 6).
 *
 * Sample k is the state just before time k * interval. The interval starts at 1 s; whenever a
 * series passes TIMELINE_SAMPLES it is doubled and every second sample dropped, so that what is
 * left are again the multiples of the interval, whatever the length of the run. */
#ifndef SIM_TIMELINE_H
#define SIM_TIMELINE_H

#include "sim/sink.h"

#define TIMELINE_SAMPLES 2000u
#define TIMELINE_SERIES 68u

struct timeline {
    ns_t interval_ns;
    uint32_t n_samples;
    uint32_t n_series;
    struct {
        char *name;
        double *value; /* [TIMELINE_SAMPLES]; 0 before the series was added */
    } series[TIMELINE_SERIES];
};

void timeline_init(struct timeline *t);
void timeline_release(struct timeline *t);
void timeline_add(struct timeline *t, const char *name); /* at most TIMELINE_SERIES */

/* Is a sample due at `now`? `now` never decreases. */
static inline bool timeline_due(const struct timeline *t, ns_t now)
{
    return now / t->interval_ns >= t->n_samples;
}

/* Records the samples due up to and including `now`, all with the same values (one per series, in
 * the order added): nothing has changed since the last call. */
void timeline_sample(struct timeline *t, ns_t now, const double *values);

bool timeline_report(const struct timeline *t, const struct sink *sink, struct err *e) NODISCARD;

#endif
