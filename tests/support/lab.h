/* lab.h: a simulation in memory for tests: requests from an array, step times from a straight
 * line, everything the run tells kept. No file, no clock, no database. */
#ifndef TESTS_SUPPORT_LAB_H
#define TESTS_SUPPORT_LAB_H

#include "sim/cluster.h"
#include "sim/rng.h"

struct lab_decision {
    enum decision what;
    uint64_t seq, number, digest;
    ns_t at;
};

struct lab_summary {
    char metric[64];
    double value;
};

/* A run: fill the first part (lab_init gives small sane values), then lab_run; the second part is
 * what came out. lab_release frees both. */
struct lab {
    struct limits limits;
    const char *engine; /* id of an engine model */
    const struct scheduler_ops *scheduler;
    const struct predictor_ops *predictor;
    const struct router_ops *router;
    const struct prefix_ops *prefix;
    const struct kvpolicy_ops *kv;        /* parameters are in `params` */
    const struct kvbudget_ops *kv_budget; /* NULL: uniform */
    const struct backend_ops *backend;    /* NULL: the straight line below */
    struct backend_env backend_env;       /* of it; params are the lab's */
    enum sim_clock clock;
    uint32_t n_replicas, concurrency;
    uint64_t seed;
    /* A step lasts step_ns + token_ns x its tokens + context_ns x what its decodes read. */
    double step_ns, token_ns, context_ns;
    uint64_t fail_at_step; /* the backend fails at this step; UINT64_MAX: never */
    ns_t warmup_ns, horizon_ns, snapshot_age_ns;
    bool has_after, isolate_tenants;
    bool leap; /* steps may be leapt over; they are not recorded then */
    struct params params;
    struct names tenants, classes;
    const struct slo_class *slo;
    size_t n_slo;
    struct trace_rec *rec; /* owned; segments are the caller's */
    size_t n_rec, rec_cap;

    struct sim_result result;
    struct err err;
    uint64_t told; /* a hash of the rows of tenants, timeline and histograms */
    struct lab_decision *decision;
    size_t n_decision, decision_cap;
    struct request_row *row; /* strings not kept */
    char (*reason)[24];
    size_t n_row, row_cap, reason_cap;
    struct step_row *step;
    size_t n_step, step_cap;
    struct transfer_row *transfer;
    size_t n_transfer, transfer_cap;
    struct lab_summary *summary;
    size_t n_summary, summary_cap;
};

void lab_init(struct lab *l);
void lab_release(struct lab *l);
void lab_reset(struct lab *l); /* forgets what came out; the input stays */

/* Adds a request whose client asked for just what it will get; tenant by name. Returns its record
 * for further fields. */
struct trace_rec *lab_add(struct lab *l, ns_t at, const char *tenant, uint32_t prompt,
                          uint32_t output);
bool lab_run(struct lab *l);                              /* false: l->err says why */
double lab_metric(const struct lab *l, const char *name); /* fails the test when it is absent */

/* The row of a request that is done or was cut off; fails the test when there is none. */
const struct request_row *lab_row(const struct lab *l, uint64_t seq);

/* Index of the n-th decision of this kind (0-based) for seq, or SIZE_MAX; seq UINT64_MAX: any. */
size_t lab_find(const struct lab *l, enum decision what, uint64_t seq, size_t n);
size_t lab_count(const struct lab *l, enum decision what);
/* When that decision was taken; fails the test when it was not. */
ns_t lab_at(const struct lab *l, enum decision what, uint64_t seq, size_t n);

/* A random workload: 2 to 5 tenants, some steady, some in bursts, some on and off, some greedy;
 * tiny memory, N in {4, 8, 32}. Every size follows from the seed. */
void lab_random(struct lab *l, uint64_t seed);

/* Every prompt begins with a piece of one of a few common texts. The caller frees what it returns
 * with mem_free, after the lab. */
struct segment *lab_share_prefixes(struct lab *l, uint64_t seed);

#endif
