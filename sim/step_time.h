/* step_time.h: what steps take, learned from the steps so far, for policies that plan by time: a
 * straight line, fixed part + part a token, fitted by least squares in which a step counts 1 % less
 * with every later one. Knows no cost model, so that it serves a measured engine just as well. */
#ifndef SIM_STEP_TIME_H
#define SIM_STEP_TIME_H

#include "sim/base.h"

/* No prediction is longer than this, some 2.4 hours: a million of them can be added up. */
#define PREDICTED_MAX_NS (NS_NEVER >> 20)

struct step_time {            /* zeroed: nothing is known, and every answer is 0 */
    double n, x, y, xx, xy;   /* faded sums over steps: tokens x, duration y */
    double step_ns, token_ns; /* the line */
    uint64_t tokens;          /* of the step that is ending */
};

void step_time_tokens(struct step_time *t, uint32_t n); /* from on_tokens: all that was computed */
void step_time_learn(struct step_time *t, ns_t duration_ns); /* from step_end */
/* A prompt of that many tokens alone, in steps of at most `budget` tokens. */
ns_t step_time_prefill(const struct step_time *t, uint32_t tokens, uint32_t budget);
/* A step as they are now: what a request waits for its next token. */
ns_t step_time_decode(const struct step_time *t);

#endif
