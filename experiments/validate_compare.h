/* validate_compare.h: measured against simulated: the same figures of both, and how far they are
 * apart. */
#ifndef EXPERIMENTS_VALIDATE_COMPARE_H
#define EXPERIMENTS_VALIDATE_COMPARE_H

#include "experiments/measured_requests.h"
#include "sim/sink.h"

/* A request that was measured and simulated. */
struct pair {
    const struct measured_request *measured;
    ns_t arrived_at, first_token_at, done_at; /* simulated */
    uint32_t prompt_tokens, output_tokens;
    bool finished;
};

struct pairs {
    const struct measured *m;
    ns_t warmup_ns; /* what arrives before it is in neither */
    struct pair *pair;
    size_t n, cap;
    uint64_t unmeasured; /* simulated, with no row in the measurement */
    uint64_t seen;       /* measured requests that were simulated */
    struct err *e;       /* set where both are about different requests */
};

/* As run_job.on_request. */
void pairs_add(void *self, const struct request_row *row);
/* Ends the collection: orders it by arrival. false: they are not the same requests. */
bool pairs_end(struct pairs *p, struct err *e) NODISCARD;
void pairs_release(struct pairs *p);

struct figure {
    char metric[32]; /* as in the contract, section 4 */
    double measured, simulated;
    double error_percent; /* of the measured value; infinite where only that is 0 */
};

#define FIGURE_CELLS_MAX (N_LATENCIES * 5u)

struct comparison {
    struct figure cell[FIGURE_CELLS_MAX]; /* latencies; at mean, p50, p90, p95, p99 each */
    size_t n_cells;
    struct figure rate[3]; /* throughputs */
    size_t n_rates;
    double mean_abs_percent;    /* over the cells */
    const struct figure *worst; /* of the cells */
    uint64_t requests, measured_finished, simulated_finished;
};

/* skip_first: without the request that arrived first. Not to be moved. */
void comparison_make(struct comparison *c, const struct pairs *p, bool skip_first);

/* Of a database: its summary against the simulated one; json metric -> number. The array is the
 * caller's (mem_free). What neither has is left out. */
struct figure *summary_figures(json_t *measured, const json_t *simulated, size_t *n) NODISCARD;

/* ---- bounds ---- */

struct bound {
    char *metric; /* owned; a figure's, or `all` (every cell), or `mean_abs` */
    double percent;
    double error_percent; /* the largest that it is about */
    bool met;
};

/* Judges the bounds: true if their metrics exist. */
bool bounds_judge(struct bound *b, size_t n, const struct comparison *c,
                  const struct figure *summary, size_t n_summary, struct err *e) NODISCARD;

#endif
