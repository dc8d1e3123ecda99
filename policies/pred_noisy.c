/* pred_noisy.c: the true output length off by up to `rel` of itself, uniform: how much a policy
 * loses when its predictions are only so good (scheduling.md 3.8). A request's error follows from
 * the seed and its place in the trace, so that asking again gives the same answer. */
#include "sim/hash.h"
#include "sim/predictor.h"
#include "sim/rng.h"

struct noisy {
    uint64_t seed;
    double rel;
};

static const struct param_desc params[] = {
    {"rel", PARAM_REAL, "0.5", "largest relative error, uniform in both directions", 0, 1, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, uint64_t seed, struct err *e)
{
    (void)e;
    struct noisy *n = arena_alloc(a, sizeof(*n));
    n->seed = seed;
    n->rel = params_num(p, params, "noisy", "rel");
    return n;
}

static struct prediction predict(void *self, const struct req_info *q, void *tenant_state,
                                 uint32_t true_output)
{
    (void)tenant_state;
    const struct noisy *n = self;
    struct rng g;
    rng_init(&g, hash_mix(n->seed, q->seq), "noisy");
    return prediction_of(true_output * (1 + n->rel * (2 * rng_unit(&g) - 1)));
}

const struct predictor_ops pred_noisy = {
    .name = "noisy",
    .doc = "the true output length with a uniform relative error",
    .source = "scheduling.md 3.8, 10",
    .params = params,
    .needs = PREDICTOR_ORACLE,
    .open = open,
    .predict = predict,
};
