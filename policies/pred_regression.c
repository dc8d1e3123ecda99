/* pred_regression.c: least squares of the output's length on the prompt's, both as logarithms, over
 * all requests that have finished. The line is fitted anew when their number is a power of two, so
 * that predictions stay put in between. It is not followed beyond the lengths it has seen.
 * Sums of deviations from the running mean (Welford) keep it accurate however long the run is. */
#include <math.h>

#include "sim/predictor.h"

struct regression {
    uint64_t n;
    double mean_x, mean_y, sxx, sxy;
    double least, most;      /* lengths seen */
    double intercept, slope; /* the line in use, with the lengths seen when it was fitted */
    double low, high;        /* 0: no line yet */
};

static void *open(struct arena *a, const struct params *p, uint64_t seed, struct err *e)
{
    (void)p;
    (void)seed;
    (void)e;
    return arena_alloc(a, sizeof(struct regression));
}

static struct prediction predict(void *self, const struct req_info *q, void *tenant_state,
                                 uint32_t true_output)
{
    (void)tenant_state;
    (void)true_output;
    const struct regression *r = self;
    double length = exp(r->intercept + r->slope * log(MAX(q->prompt_tokens, 1)));
    return prediction_of(fmin(fmax(length, r->low), r->high));
}

static void learn(void *self, const struct req_info *q, void *tenant_state, uint32_t output)
{
    (void)tenant_state;
    struct regression *r = self;
    double x = log(MAX(q->prompt_tokens, 1)), y = log(output), dx = x - r->mean_x;
    r->n++;
    r->mean_x += dx / (double)r->n;
    r->mean_y += (y - r->mean_y) / (double)r->n;
    r->sxx += dx * (x - r->mean_x);
    r->sxy += dx * (y - r->mean_y);
    r->least = r->n == 1 ? output : fmin(r->least, output);
    r->most = fmax(r->most, output);
    if ((r->n & (r->n - 1)) != 0)
        return;
    r->slope = r->sxx > 0 ? r->sxy / r->sxx : 0; /* prompts of one length: the mean */
    r->intercept = r->mean_y - r->slope * r->mean_x;
    r->low = r->least;
    r->high = r->most;
}

const struct predictor_ops pred_regression = {
    .name = "regression",
    .doc = "online least squares of log output on log prompt length, over all tenants",
    .source = "scheduling.md 3.8",
    .open = open,
    .predict = predict,
    .learn = learn,
};
