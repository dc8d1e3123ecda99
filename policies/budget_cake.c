/* budget_cake.c: CAKE (Qin et al. 2025, arXiv 2503.12491): layers whose attention is spread out
 * (entropy) and moves (variance over the prompt's last rows) get more: in proportion to
 * entropy^(1/tau1) * variance^(1/tau2).
 *
 * Departure: layers are weighed when the prompt is there, not in a cascade while it is computed, so
 * that nothing is shrunk twice; what stays is the same, what is held on the way is more. */
#include "sim/kvrule.h"

#include <math.h>

struct cake {
    double tau1, tau2;
    uint32_t *order; /* [layers * heads] */
    double *want;
};

static const struct param_desc params[] = {
    {"tau1", PARAM_REAL, "1.6", "of the entropy (eviction.md 3: Llama-3.1-8B)", 0.01, 100, NULL},
    {"tau2", PARAM_REAL, "0.4", "of the variance", 0.01, 100, NULL},
    {.name = NULL},
};

static void *open(struct arena *a, const struct kv_env *env, struct err *e)
{
    uint32_t n = env->shape.layers * env->shape.kv_heads;
    struct cake *c = arena_alloc(a, sizeof(*c));
    (void)e;
    c->tau1 = params_num(env->params, params, "cake", "tau1");
    c->tau2 = params_num(env->params, params, "cake", "tau2");
    c->order = arena_alloc(a, n * sizeof(*c->order));
    c->want = arena_alloc(a, n * sizeof(*c->want));
    return c;
}

/* In logarithms: the powers are out of range. */
static double weight(const struct cake *c, const struct kv_budget_ask *ask, uint32_t layer)
{
    return log(MAX(ask->entropy[layer], 1e-30)) / c->tau1 +
           log(MAX(ask->variance[layer], 1e-30)) / c->tau2;
}

static void allocate(void *self, const struct kv_budget_ask *ask, uint32_t *tokens)
{
    struct cake *c = self;
    uint32_t n = ask->layers * ask->heads;
    double most = -HUGE_VAL, sum = 0;
    if (ask->entropy == NULL)
        return;
    for (uint32_t l = 0; l < ask->layers; l++)
        most = MAX(most, weight(c, ask, l));
    for (uint32_t l = 0; l < ask->layers; l++)
        sum += exp(weight(c, ask, l) - most);
    for (uint32_t i = 0; i < n; i++) {
        double share = exp(weight(c, ask, i / ask->heads) - most) / sum;
        c->want[i] = ask->least + share * ask->layers * (ask->mean - ask->least);
    }
    kv_share_out(c->want, n, (uint64_t)n * ask->mean, ask->least, ask->length, tokens, c->order);
}

const struct kvbudget_ops budget_cake = {
    .name = "cake",
    .doc = "by the spread and change of a layer's attention (CAKE); the simulator takes the mean",
    .source = "eviction.md 3",
    .params = params,
    .stats = KV_WINDOW,
    .open = open,
    .allocate = allocate,
};
