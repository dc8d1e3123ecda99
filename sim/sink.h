/* sink.h: the interface of whatever keeps a run's results: facts only, in the order they happen.
 * Every callback may be NULL. Those that return bool may fail with err; the run then stops. The
 * engine calls `end` exactly once after a successful `begin`; ok = false: the run failed, nothing
 * of it may remain. Rows are valid during the call only; names in them (tenant, class, reason,
 * series) until `end` has returned. */
#ifndef SIM_SINK_H
#define SIM_SINK_H

#include "sim/hash.h"
#include "sim/quantiles.h"

enum req_status { STATUS_FINISHED, STATUS_REFUSED, STATUS_UNFINISHED };

struct request_row { /* times in ns from the run's zero; -1: did not happen */
    uint64_t seq;
    const char *tenant, *session, *slo_class; /* NULL: none */
    uint32_t turn;                            /* UINT32_MAX: none */
    ns_t arrived_at, admitted_at, first_token_at, done_at;
    uint32_t prompt_tokens, output_tokens, max_tokens, cached_tokens, preemptions;
    ns_t itl_max_ns;  /* -1: fewer than two tokens */
    uint32_t replica; /* UINT32_MAX: never routed */
    enum req_status status;
    const char *reason; /* "" or length, capacity, prompt_too_long, policy, router, parent */
    bool met_slo;
};

struct step_row {
    uint32_t replica;
    uint64_t step;
    ns_t at, duration_ns;
    double device_ns, host_ns;
    uint32_t n_decode, n_prefill, decode_tokens, prefill_tokens;
    uint64_t context_tokens, kv_units_used;
    uint32_t preempted;
    uint64_t prefill_history; /* of context_tokens, what prompts read */
    double prefill_pairs;     /* as in struct batch_shape */
};

struct transfer_row {
    uint32_t replica;
    uint64_t n, seq;
    const char *direction; /* "out" to the host, "in" back */
    uint64_t units;
    ns_t submitted_at, done_at;
};

struct tenant_row {
    const char *tenant;
    uint64_t requests;
    double service, share;
    double ttft_ms_mean, ttft_ms_p99, e2el_ms_p50, e2el_ms_p99, slo_attainment; /* NaN: none */
};

struct sink_ops {
    bool (*begin)(void *, struct err *);
    void (*cost_model)(void *,
                       const char *text); /* once, after begin: where step times come from */
    bool (*request)(void *, const struct request_row *, struct err *);
    bool (*step)(void *, const struct step_row *, struct err *);
    bool (*transfer)(void *, const struct transfer_row *, struct err *);
    bool (*tenant)(void *, const struct tenant_row *, struct err *);
    bool (*summary)(void *, const char *metric, double value, struct err *); /* NaN: NULL */
    bool (*timeline)(void *, ns_t at, const char *series, double value, struct err *);
    bool (*histogram)(void *, const char *metric, const struct quantile_bucket *, struct err *);
    /* Every folded decision, in order: what tests and record/replay compare. */
    void (*decision)(void *, enum decision, uint64_t seq, ns_t at, uint64_t number,
                     uint64_t digest_so_far);
    bool (*end)(void *, bool ok, uint64_t digest, struct err *);
};

struct sink {
    const struct sink_ops *ops;
    void *self;
};

#endif
