/* timeline.c: sampling with doubling. What must hold: n_samples * interval_ns is the time of the
 * next sample, and n_samples <= TIMELINE_SAMPLES between calls. */
#include "sim/timeline.h"

void timeline_init(struct timeline *t)
{
    *t = (struct timeline){.interval_ns = NS_PER_S};
}

void timeline_release(struct timeline *t)
{
    for (uint32_t i = 0; i < t->n_series; i++) {
        mem_free(t->series[i].name);
        mem_free(t->series[i].value);
    }
    timeline_init(t);
}

void timeline_add(struct timeline *t, const char *name)
{
    CHECK(t->n_series < TIMELINE_SERIES, "timeline: room for the series", "%u of %u", t->n_series,
          TIMELINE_SERIES);
    t->series[t->n_series].name = mem_strdup(name);
    t->series[t->n_series].value = mem_alloc(TIMELINE_SAMPLES * sizeof(double));
    t->n_series++;
}

static void double_interval(struct timeline *t)
{
    uint32_t kept = (t->n_samples + 1) / 2;

    for (uint32_t i = 0; i < t->n_series; i++)
        for (uint32_t k = 1; k < kept; k++)
            t->series[i].value[k] = t->series[i].value[2 * k];
    t->n_samples = kept;
    t->interval_ns *= 2;
}

void timeline_sample(struct timeline *t, ns_t now, const double *values)
{
    /* Doubling first leaves the same samples as filling up and thinning out again and again, and
     * an idle century costs a few doublings. */
    while (now / t->interval_ns >= TIMELINE_SAMPLES)
        double_interval(t);
    for (; timeline_due(t, now); t->n_samples++)
        for (uint32_t i = 0; i < t->n_series; i++)
            t->series[i].value[t->n_samples] = values[i];
}

bool timeline_report(const struct timeline *t, const struct sink *sink, struct err *e)
{
    if (!sink->ops || !sink->ops->timeline)
        return true;
    for (uint32_t i = 0; i < t->n_series; i++)
        for (uint32_t k = 0; k < t->n_samples; k++)
            if (!sink->ops->timeline(sink->self, (ns_t)k * t->interval_ns, t->series[i].name,
                                     t->series[i].value[k], e))
                return false;
    return true;
}
