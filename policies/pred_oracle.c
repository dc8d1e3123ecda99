/* pred_oracle.c: predicts the true output length: the bound that real predictors are measured
 * against, and never a claim about one (scheduling.md 3.8). */
#include "sim/predictor.h"

static void *open(struct arena *a, const struct params *p, uint64_t seed, struct err *e)
{
    (void)p;
    (void)seed;
    (void)e;
    return arena_alloc(a, 1);
}

static struct prediction predict(void *self, const struct req_info *q, void *tenant_state,
                                 uint32_t true_output)
{
    (void)self;
    (void)q;
    (void)tenant_state;
    return (struct prediction){.mean = true_output, .bucket = true_output};
}

const struct predictor_ops pred_oracle = {
    .name = "oracle",
    .doc = "the true output length: a bound, not a predictor",
    .source = "scheduling.md 3.8",
    .needs = PREDICTOR_ORACLE,
    .open = open,
    .predict = predict,
};
