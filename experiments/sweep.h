/* sweep.h: every point of an experiment into one database, by several processes.
 *
 * What must hold: this process alone writes the database, a run at a time, so that whatever is
 * killed at any moment costs the runs under way and nothing else; a point is run again only if its
 * run is not there, or is of another program or other inputs. Runs under way are files in the
 * folder DB.parts, which is locked (by a file in it), emptied at the start and gone at the end. */
#ifndef EXPERIMENTS_SWEEP_H
#define EXPERIMENTS_SWEEP_H

#include "experiments/experiment.h"

struct sweep_options {
    const char *db;
    const char *have;       /* another database, whose runs are not run either; NULL: none */
    unsigned jobs;          /* processes */
    uint32_t shard, shards; /* points i with i % shards == shard */
    bool fresh;             /* finished points, too */
    bool quiet;             /* no progress */
    /* A point failed, or is tried again: one line. At most SWEEP_MAX_REPORTS times. */
    void (*report)(void *self, const char *line);
    void *report_self;
};

enum { SWEEP_MAX_REPORTS = 20 };

/* What is to be done. */
struct sweep_plan {
    uint64_t *point; /* to run, in order */
    uint64_t n;
    uint64_t kept; /* of the shard, finished before, in either database */
};

struct sweep_outcome {
    uint64_t run, kept, failed; /* points of the shard: run and stored now, kept, failed */
};

/* Which points a sweep would run. Release it in either case. */
bool sweep_plan(struct sweep_plan *p, const struct experiment *x, const struct sweep_options *o,
                struct err *e) NODISCARD;
void sweep_plan_release(struct sweep_plan *p);

/* false: it stopped, what is stored stays. Failed points are no error here: look at the outcome. */
bool sweep_run(const struct experiment *x, const struct sweep_options *o, struct sweep_outcome *out,
               struct err *e) NODISCARD;

#endif
