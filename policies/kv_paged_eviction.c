/* kv_paged_eviction.c: PagedEviction (Chitty-Venkata et al. 2025, arXiv 2509.04377): the prompt is
 * cut to the budget by |v| / |k| of its tokens; while it decodes, the page with the lowest mean
 * goes as a whole each time one more is full. The first page stays: values of sinks are tiny. */
#include "sim/kvpolicy.h"

#include <math.h>

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    plan->stats = KV_STAT_KEYS | KV_STAT_VALUES;
    plan->evicts = plan->decodes = plan->pages = true;
    plan->slack = env->shape.block_size;
    if (!env->sink_is_set)
        plan->sink = 1; /* a page with a protected token stays */
    return arena_alloc(a, 1);
}

static float norm(const float *x, uint32_t d)
{
    float sum = 0;
    for (uint32_t i = 0; i < d; i++)
        sum += x[i] * x[i];
    return sqrtf(sum);
}

static void score(void *self, const struct kv_view *v, float *score)
{
    (void)self;
    uint32_t d = v->head_dim;
    for (uint32_t i = 0; i < v->n; i++) {
        float k = norm(v->key + (size_t)i * d, d);
        score[i] = norm(v->value + (size_t)i * d, d) / MAX(k, 1e-20f);
    }
}

const struct kvpolicy_ops kv_paged_eviction = {
    .name = "paged_eviction",
    .doc = "drop whole pages, of small values and large keys (PagedEviction)",
    .source = "eviction.md 2.9",
    .open = open,
    .score = score,
};
