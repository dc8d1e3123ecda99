/* kv_keydiff.c: KeyDiff (Park et al. 2025, arXiv 2504.15364): keys that differ most from the mean
 * direction of all resident keys stay; attention is not looked at. The anchor is computed anew at
 * each choice, block by block. */
#include "sim/kvpolicy.h"

#include <math.h>

static const struct param_desc params[] = {
    {"block", PARAM_INT, "128", "tokens that come in before as many go (eviction.md 2.9)", 1, 1e6,
     NULL},
    {.name = NULL},
};

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    plan->stats = KV_STAT_KEYS;
    plan->evicts = plan->chunks = plan->decodes = true;
    plan->slack = (uint32_t)params_num(env->params, params, "keydiff", "block");
    return arena_alloc(a, 1);
}

static float product(const float *a, const float *b, uint32_t d)
{
    float sum = 0;
    for (uint32_t i = 0; i < d; i++)
        sum += a[i] * b[i];
    return sum;
}

/* 0 for a key without direction. */
static float inverse_norm(const float *k, uint32_t d)
{
    float square = product(k, k, d);
    return square > 0 ? 1 / sqrtf(square) : 0;
}

static void score(void *self, const struct kv_view *v, float *score)
{
    (void)self;
    uint32_t d = v->head_dim;
    float *anchor = mem_alloc(d * sizeof(*anchor));
    for (uint32_t i = 0; i < v->n; i++) {
        const float *k = v->key + (size_t)i * d;
        float scale = inverse_norm(k, d);
        for (uint32_t c = 0; c < d; c++)
            anchor[c] += k[c] * scale;
    }
    float anchor_scale = inverse_norm(anchor, d);
    for (uint32_t i = 0; i < v->n; i++) {
        const float *k = v->key + (size_t)i * d;
        score[i] = -product(k, anchor, d) * inverse_norm(k, d) * anchor_scale;
    }
    mem_free(anchor);
}

const struct kvpolicy_ops kv_keydiff = {
    .name = "keydiff",
    .doc = "keep the keys that differ most from the mean key (KeyDiff)",
    .source = "eviction.md 2.9",
    .params = params,
    .open = open,
    .score = score,
};
