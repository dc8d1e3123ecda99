/* measured_requests.h: requests that were measured somewhere: when they came, how long they were
 * and how long they took. From a CSV of anybody's, or from a stored run; and as a trace. */
#ifndef EXPERIMENTS_MEASURED_REQUESTS_H
#define EXPERIMENTS_MEASURED_REQUESTS_H

#include <jansson.h>

#include "sim/trace.h"

enum latency { LATENCY_TTFT, LATENCY_TPOT, LATENCY_E2E, N_LATENCIES };

struct measured_request {
    uint64_t seq;                                      /* its record in the trace */
    uint64_t row;                                      /* 0-based, in the order of the file */
    ns_t arrived_at;                                   /* -1: not said */
    uint32_t prompt_tokens, output_tokens, max_tokens; /* 0: not said */
    const char *tenant;                                /* NULL: not said */
    double ms[N_LATENCIES];                            /* NaN: not said, or it did not happen */
    bool finished;
};

struct measured {
    struct measured_request *request; /* by seq, each once */
    size_t n, cap;
    bool has[N_LATENCIES];
    bool is_trace;          /* every request says its arrival and lengths */
    uint64_t cached_tokens; /* of a database: prompt tokens that prefix hits saved */
    json_t *summary;        /* of a database: metric -> number or null; else NULL */
    json_t *config;         /* of a database: the run's configuration; else NULL */
    struct arena strings;
};

/* Some rows of many: those whose column has that value. */
struct measured_where {
    const char *column, *value;
};

#define MEASURED_WHERE_MAX 8u

struct rows; /* traces/rows.h */

/* Finds the columns of conditions: at[i] is that of the i-th. */
bool where_find(const struct rows *r, const struct measured_where *where, size_t n,
                size_t at[MEASURED_WHERE_MAX], struct err *e) NODISCARD;
/* Whether all hold for the current row. */
bool where_holds(const struct rows *r, const struct measured_where *where, size_t n,
                 const size_t at[MEASURED_WHERE_MAX]);

/* The columns of a CSV, for --help. */
#define MEASURED_CSV_COLUMNS                                                                       \
    "arrival_s, prompt_tokens (input_tokens, prompt_len), output_tokens (output_len), "            \
    "max_tokens, "                                                                                 \
    "tenant (client), seq (req: the record in the trace; else the row), and at least one of "      \
    "ttft_ms (first_token_latency_s), tpot_ms, e2e_ms (e2el_ms, request_latency_s). A latency "    \
    "that is negative or empty: not finished. Other columns are ignored"

/* After false, release it too. */
bool measured_read_csv(struct measured *m, const char *path, const struct measured_where *where,
                       size_t n_where, struct err *e) NODISCARD;
/* run_id 0: the only run. */
bool measured_read_db(struct measured *m, const char *path, int64_t run_id,
                      struct err *e) NODISCARD;
void measured_release(struct measured *m);

struct sqlite3;
/* The run that is asked for, or the only one (*run_id 0): its id and its configuration, an object
 * that is the caller's, also after false. */
bool measured_choose_run(struct sqlite3 *db, const char *path, int64_t *run_id, json_t **config,
                         struct err *e) NODISCARD;

struct measured_request *measured_add(struct measured *m); /* zeroed, nothing said, at the end */
/* Sorts by seq. false and the message if a seq is there twice. */
bool measured_order(struct measured *m, const char *path, struct err *e) NODISCARD;
/* NULL: there is none. */
const struct measured_request *measured_find(const struct measured *m, uint64_t seq);

/* The requests as a trace, by arrival; numbers them anew in that order. `m->is_trace` holds. */
struct measured_trace {
    struct measured *m;
    struct names *tenants;
    size_t next;
};
struct trace_source measured_trace(struct measured_trace *t, struct measured *m,
                                   struct names *tenants);

#endif
