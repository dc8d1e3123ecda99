/* budget_pyramid.c: PyramidKV (Cai et al. 2024, arXiv 2406.02069): what is not protected falls
 * linearly from the first layer to the last, from (2 - 1/beta) to 1/beta of the mean. */
#include "sim/kvrule.h"

struct pyramid {
    double beta;
    uint32_t *order; /* [layers * heads] */
    double *want;
};

static const struct param_desc params[] = {
    {"beta", PARAM_REAL, "20", "mean over the last layer's share (eviction.md 3); 1: uniform", 1,
     1e6, NULL},
    {.name = NULL},
};

static void *open(struct arena *a, const struct kv_env *env, struct err *e)
{
    uint32_t n = env->shape.layers * env->shape.kv_heads;
    struct pyramid *p = arena_alloc(a, sizeof(*p));
    (void)e;
    p->beta = params_num(env->params, params, "pyramid", "beta");
    p->order = arena_alloc(a, n * sizeof(*p->order));
    p->want = arena_alloc(a, n * sizeof(*p->want));
    return p;
}

static void allocate(void *self, const struct kv_budget_ask *ask, uint32_t *tokens)
{
    struct pyramid *p = self;
    uint32_t n = ask->layers * ask->heads;
    double spread = ask->mean - ask->least, room = (double)ask->length - ask->least;
    double low = spread / p->beta, high = 2 * spread - low;
    if (high > room) {
        high = room;
        low = 2 * spread - high;
    }
    for (uint32_t i = 0; i < n; i++) {
        double depth = ask->layers > 1 ? (double)(i / ask->heads) / (ask->layers - 1) : 0.5;
        p->want[i] = ask->least + high - (high - low) * depth;
    }
    kv_share_out(p->want, n, (uint64_t)n * ask->mean, ask->least, ask->length, tokens, p->order);
}

const struct kvbudget_ops budget_pyramid = {
    .name = "pyramid",
    .doc = "more for the first layers, less for the last, linearly (PyramidKV)",
    .source = "eviction.md 3",
    .params = params,
    .open = open,
    .allocate = allocate,
};
