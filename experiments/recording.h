/* recording.h: a stored run that backend replay plays back: its configuration, its steps and swaps,
 * and what must come out again. */
#ifndef EXPERIMENTS_RECORDING_H
#define EXPERIMENTS_RECORDING_H

#include "experiments/config.h"
#include "sim/backend.h"
#include "sim/sink.h"

struct recorded_request {
    uint64_t seq;
    ns_t admitted_at, first_token_at, done_at; /* -1: did not happen */
};

/* A replica's part; what `rec` points to is owned. */
struct recorded_replica {
    struct recording rec;
    struct recorded_step *step;
    struct recorded_swap *swap;
    size_t step_cap, swap_cap;
};

struct recording_file {
    struct recorded_replica *replica; /* n_replicas of them */
    uint32_t n_replicas;
    char digest[17]; /* of the run */
    char trace_sha256[SHA256_HEX];
    char cost_model[256];
    struct recorded_request *request; /* by seq; may be none */
    size_t n_requests, request_cap;

    /* Filled while it is played back. */
    bool differs;
    ns_t differs_at;
    char difference[256]; /* the earliest one among the requests */
};

/* Makes `c` the configuration of run `run_id` of `db` (0: the only one), to be played back. */
bool recording_config(struct config *c, const char *db, int64_t run_id, struct err *e) NODISCARD;

/* Reads what the keys replay, run and replay_digest of a configuration name, for so many replicas.
 * After false, release it too. */
bool recording_read(struct recording_file *f, const struct config *c, uint32_t n_replicas,
                    struct err *e) NODISCARD;
void recording_release(struct recording_file *f);

/* Holds a request of the replay against the stored one. */
void recording_compare(struct recording_file *f, const struct request_row *row);
/* The replay is over: its digest must be the run's; else the message names what differs first. */
bool recording_check(const struct recording_file *f, uint64_t digest, struct err *e) NODISCARD;

#endif
