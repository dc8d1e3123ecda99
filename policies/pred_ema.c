/* pred_ema.c: a moving average of each tenant's output lengths, as the VTC artifact predicts them
 * (scheduling.md 3.4): (4 old + new) / 5, starting from the first. Nothing is known of a tenant
 * before one of its requests has finished. */
#include "sim/predictor.h"

struct average {
    double value; /* 0: none yet; outputs have one token at least */
};

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
    (void)true_output;
    const struct average *t = tenant_state;
    return prediction_of(t->value);
}

static void learn(void *self, const struct req_info *q, void *tenant_state, uint32_t output)
{
    (void)self;
    (void)q;
    struct average *t = tenant_state;
    t->value = t->value > 0 ? (4 * t->value + output) / 5 : output;
}

const struct predictor_ops pred_ema = {
    .name = "ema",
    .doc = "moving average of the tenant's output lengths",
    .source = "VTC artifact, slora/server/router; scheduling.md 3.4",
    .tenant_state_bytes = sizeof(struct average),
    .open = open,
    .predict = predict,
    .learn = learn,
};
