#include "sim/step_time.h"

#define FADE 0.99 /* of a step with every later one */

void step_time_tokens(struct step_time *t, uint32_t n)
{
    t->tokens += n;
}

/* The line through what was seen; level while all steps were of one size. */
static void fit(struct step_time *t)
{
    double mean_x = t->x / t->n, mean_y = t->y / t->n;
    double spread = t->xx / t->n - mean_x * mean_x;
    double slope = 0;
    if (spread > 1e-6 * mean_x * mean_x)
        slope = (t->xy / t->n - mean_x * mean_y) / spread;
    t->token_ns = MIN(MAX(slope, 0), mean_y / mean_x);
    t->step_ns = mean_y - t->token_ns * mean_x;
}

void step_time_learn(struct step_time *t, ns_t duration_ns)
{
    double x = (double)t->tokens, y = (double)duration_ns;
    t->tokens = 0;
    if (x <= 0)
        return; /* all that was computed had ended */
    t->n = t->n * FADE + 1;
    t->x = t->x * FADE + x;
    t->y = t->y * FADE + y;
    t->xx = t->xx * FADE + x * x;
    t->xy = t->xy * FADE + x * y;
    fit(t);
}

ns_t step_time_prefill(const struct step_time *t, uint32_t tokens, uint32_t budget)
{
    double ns = t->step_ns * div_ceil_u32(tokens, budget) + t->token_ns * tokens;
    return (ns_t)MIN(ns, (double)PREDICTED_MAX_NS);
}

ns_t step_time_decode(const struct step_time *t)
{
    return t->n > 0 ? (ns_t)MIN(t->y / t->n, (double)PREDICTED_MAX_NS) : 0;
}
