/* report_runs.h: the runs that a report is about. */
#ifndef EXPERIMENTS_REPORT_RUNS_H
#define EXPERIMENTS_REPORT_RUNS_H

#include "sim/arena.h"

struct sqlite3;

enum { ALL_RUNS = 0 }; /* as a run id */

struct report_run { /* columns of `runs`; strings are never NULL, "-" stands for NULL */
    int64_t id, seed, rep;
    const char *config_hash, *label; /* label: as in the views of schema.sql */
    const char *trace;               /* without its folder */
    const char *brief; /* what of the label tells it from the others, and the trace where they
                        * differ; short */
    const char *name;  /* that, after "7: " if there are several runs */
    const char *digest, *model, *gpu, *backend, *profile, *clock, *kv_policy;
    const char *slo_source, *cost_model, *git_revision, *started_at;
    const char *quality_ref; /* NULL: quality not measured */
    int replicas;
    bool dirty;
    double wall_s;
};

struct report_runs {
    struct report_run *run; /* by id */
    size_t n, cap;
    struct arena strings;
};

/* The runs of an experiment (NULL: of all), or one run. There is at least one, or e says what there
 * is instead. Release in either case. */
bool report_runs_load(struct report_runs *r, struct sqlite3 *db, const char *experiment,
                      int64_t run_id, struct err *e) NODISCARD;
void report_runs_release(struct report_runs *r);

/* Keeps the first run of each configuration: its other seeds and repetitions go. */
void report_runs_keep_first(struct report_runs *r);

/* As a table `shown` (run_id, config, label) of this connection, after report_runs_keep_first: all
 * runs of each configuration, which `config` numbers from 0, in the experiment (NULL: in any). Made
 * anew at each call. */
bool report_runs_show(const struct report_runs *r, struct sqlite3 *db, const char *experiment,
                      struct err *e) NODISCARD;

#endif
