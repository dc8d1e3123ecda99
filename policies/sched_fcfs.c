/* sched_fcfs.c: first come, first served, as vLLM's V1 scheduler does it (scheduling.md 3.1).
 *
 * Every default of the engine's loop is vLLM's: residents first in order of admission, the most
 * recently admitted preempted when blocks run out, then the head of the waiting queue until the
 * first that does not fit. So there is nothing to add, and this file is what a plug-in needs at
 * the least: a name, a line of doc, a source, and an open. */
#include "sim/hold.h"

static void *open(struct arena *a, const struct params *p, const struct limits *l, struct err *e)
{
    (void)p;
    (void)l;
    (void)e;
    return arena_alloc(a, 1);
}

const struct scheduler_ops sched_fcfs = {
    .name = "fcfs",
    .doc = "first come, first served: vLLM V1's order, head-of-line admission",
    .source = "vLLM v1/core/sched/scheduler.py; scheduling.md 3.1",
    .open = open,
    .hold = hold_always,
};
