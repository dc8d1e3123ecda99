/* workers.h: processes forked from this one that work on numbered items and say how each went.
 *
 * What must hold: an item that was handed out is reported back exactly once, also when its worker
 * dies (killed, out of memory, a CHECK); no worker outlives this process or the call. A worker has
 * the next item before its last one is looked at here, so that it does not wait. */
#ifndef EXPERIMENTS_WORKERS_H
#define EXPERIMENTS_WORKERS_H

#include "sim/base.h"

enum work_result {
    WORK_DONE,
    WORK_FAILED, /* work said so */
    WORK_DIED,   /* the process is gone */
};

struct workers_job {
    void *self;
    /* Here: another item, or false if there is none now. Asked again after every item. */
    bool (*next)(void *self, uint64_t *item);
    /* In a worker, on its own copy of the memory: what it changes there is not seen here. */
    bool (*work)(void *self, uint64_t item, struct err *e);
    /* Here: how it went, why in words where it did not. false (with e set) ends everything. */
    bool (*done)(void *self, uint64_t item, enum work_result result, const char *why,
                 struct err *e);
    /* Here, at least once a second. */
    void (*tick)(void *self);
};

/* Up to n at a time. Returns when there is nothing left, or with the error that ended it. */
bool workers_run(const struct workers_job *job, unsigned n, struct err *e) NODISCARD;

/* How many CPUs this process may use. */
unsigned workers_cpus(void);

#endif
