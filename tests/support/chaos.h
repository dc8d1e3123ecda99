/* chaos.h: a scheduler that answers every question at random, within the contract: which residents
 * run, whom to try, how large a chunk, whom to preempt and how, when to defer, refuse or wake. What
 * the engine's invariants must survive. */
#ifndef TESTS_SUPPORT_CHAOS_H
#define TESTS_SUPPORT_CHAOS_H

#include "sim/scheduler.h"

extern const struct scheduler_ops
    sched_chaos; /* of parameters chaos.tape (bytes), then chaos.seed */

#endif
