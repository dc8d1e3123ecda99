/* metrics.h: from facts to the summary of a run, exactly as contract.md section 4 defines it.
 *
 * Population: requests that arrived in [max(warmup, first arrival), horizon or the last finish or
 * refusal]. Sums are kept, never averages of averages. Nothing here knows a policy. */
#ifndef SIM_METRICS_H
#define SIM_METRICS_H

#include "sim/names.h"
#include "sim/quantiles.h"
#include "sim/sink.h"

#define SLO_NO_LIMIT NS_NEVER

struct slo_class {
    const char *name;
    const char *const *tenants;     /* "*" matches all; NULL ends the list */
    ns_t ttft_ns, tpot_ns, e2el_ns; /* SLO_NO_LIMIT: not checked */
};

struct metrics_config {
    ns_t warmup_ns;
    ns_t horizon_ns; /* NS_NEVER: drain */
    const struct slo_class *slo;
    size_t n_slo;
    double wp, wq; /* weights of service: prompt and output token */
    uint64_t exact_quantiles;
    const struct names *tenants, *classes;
    uint64_t capacity_units; /* of all replicas */
    uint32_t n_replicas;
};

struct metrics;

struct metrics *metrics_open(const struct metrics_config *cfg) NODISCARD;
void metrics_close(struct metrics *m);

/* ---- facts, as they happen ---- */
void metrics_arrival(struct metrics *m, ns_t at, uint32_t tenant);
void metrics_failed_in_trace(struct metrics *m);
/* Waiting requests of a tenant: +1 when one enters a waiting queue, -1 when it leaves it. */
void metrics_waiting(struct metrics *m, uint32_t tenant, int delta);
/* Service: the prompt at first admission; output tokens when emitted. */
void metrics_admit(struct metrics *m, ns_t at, uint32_t tenant, uint32_t prompt_tokens,
                   uint32_t cached_tokens);
void metrics_tokens(struct metrics *m, ns_t at, uint32_t tenant, uint32_t out_tokens);
/* A pair of backlogged tenants' window covers whole decisions: call around each one (the service
 * charged between begin and end belongs to it), and after each step's tokens. */
void metrics_decide_begin(struct metrics *m);
void metrics_decide_end(struct metrics *m);
void metrics_step_end(struct metrics *m);
void metrics_gap(struct metrics *m, ns_t arrived_at, ns_t gap_ns, uint64_t count); /* an ITL */
void metrics_preemption(struct metrics *m, ns_t at);
void metrics_recomputed(struct metrics *m, ns_t at, uint64_t tokens);
void metrics_swapped(struct metrics *m, ns_t at, uint64_t bytes);
/* n_steps steps of a replica, each of n_seqs sequences, ran back to back over [at, at + duration):
 * for batch_size_mean and idle_fraction. */
void metrics_steps(struct metrics *m, ns_t at, ns_t duration_ns, uint32_t n_seqs, uint64_t n_steps,
                   uint64_t n_extrapolated);
/* KV units held by a replica changed: for kv_utilisation_mean. Changes come in any order. */
void metrics_units(struct metrics *m, ns_t at, int64_t change);
/* State of all replicas from `at` on; sampled into the timeline every second. */
struct metrics_state {
    uint32_t waiting, running;
    uint64_t units_used; /* held */
    uint32_t batch_tokens;
};
void metrics_advance(struct metrics *m, ns_t now); /* before state changes at `now` */
void metrics_state(struct metrics *m, const struct metrics_state *s);
/* A request left (finished, refused, or unfinished at the horizon). Fills row->slo_class and
 * row->met_slo. */
void metrics_done(struct metrics *m, struct request_row *row, uint32_t tenant, uint32_t slo_class);

/* What a leap must know (sim/leap.c): when the timeline is sampled next, whether a request that
 * arrived then is of the population, how many tenants have arrived, and whether every change of who
 * waits has been seen by a decision. */
ns_t metrics_next_sample(const struct metrics *m);
bool metrics_counts(const struct metrics *m, ns_t arrived_at);
uint32_t metrics_tenants(const struct metrics *m);
bool metrics_pairs_settled(const struct metrics *m);

/* ---- the answer ---- */
/* Ends the window and hands everything to the sink: summary, tenants, timeline, histograms. */
bool metrics_report(struct metrics *m, const struct sink *sink, struct err *e);

#endif
