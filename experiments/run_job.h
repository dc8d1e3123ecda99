/* run_job.h: one run from a configuration to its results: composed, simulated, and stored where a
 * database is given. What `run` and `validate` have in common. */
#ifndef EXPERIMENTS_RUN_JOB_H
#define EXPERIMENTS_RUN_JOB_H

#include <sys/utsname.h>

#include "experiments/compose.h"
#include "experiments/run_options.h"
#include "experiments/sink_sqlite.h"
#include "experiments/tee.h"

/* Parts point to each other: it may not be moved once composed. */
struct run_job {
    struct config config;
    struct composed x;
    char config_hash[SHA256_HEX];
    char *config_text;     /* canonical; owned */
    char *models, *gpus;   /* of the replicas, each once, comma-separated; owned */
    char quality_ref[512]; /* empty: quality was not measured */
    struct utsname host;
    const char *experiment, *point; /* that it is a run of [NULL: none] */
    /* Sees each request's row, before the database does. [NULL] */
    void (*on_request)(void *, const struct request_row *);
    void *on_request_self;

    struct tee tee;
    struct sim_result result;
    double wall_s;
    int64_t run_id; /* in the database */
    bool replaced;
};

void run_job_init(struct run_job *j);
void run_job_release(struct run_job *j);

/* The job's configuration is resolved. `given`: see compose_on. */
bool run_job_compose(struct run_job *j, const struct trace_source *given, struct err *e) NODISCARD;

/* Simulates; stores into the database `db` as the options say (NULL: nowhere). */
bool run_job_run(struct run_job *j, const char *db, const struct run_options *o,
                 struct err *e) NODISCARD;

/* The same into an open sink, which is closed. */
bool run_job_store(struct run_job *j, struct sink_sqlite *s, const struct run_options *o,
                   struct err *e) NODISCARD;

const char *run_job_model_id(const struct replica_config *r);
const char *run_job_gpu_id(const struct replica_config *r);

#endif
