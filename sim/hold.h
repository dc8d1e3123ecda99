/* hold.h: answers to scheduler_ops.hold that policies share. A policy may use one of them if
 *   - it has no step_begin and no step_end that steps without arrivals and completions would miss,
 *     or makes up for them in `leapt`,
 *   - what its on_tokens does is the same for n tokens at once as for one n times,
 *   - and what its other answers depend on is as the function says. */
#ifndef SIM_HOLD_H
#define SIM_HOLD_H

#include "sim/scheduler.h"

/* All answers depend on who waits and who is resident alone. */
uint32_t hold_always(void *self, const struct sched_view *v);
/* Whom to admit may depend on anything, and asking may change it. */
uint32_t hold_while_none_wait(void *self, const struct sched_view *v);
/* Whom to admit may depend on anything, but asking in vain changes nothing. */
uint32_t hold_until_admission(void *self, const struct sched_view *v);

#endif
