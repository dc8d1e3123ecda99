/* kv_h2o.c: H2O (Zhang et al. 2023, arXiv 2306.14048): half of the budget for the last tokens, half
 * for those with the most attention since they came, summed over the query heads of a KV head. A
 * token brings into the heavy half what it gathered while it was recent. */
#include "sim/kvpolicy.h"

#include <string.h>

#define RECENT_SHARE 0.5

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    plan->stats = KV_COLSUM;
    plan->evicts = plan->decodes = true;
    if (!env->recent_is_set)
        plan->recent_share = RECENT_SHARE;
    return arena_alloc(a, 1);
}

static void score(void *self, const struct kv_view *v, float *score)
{
    (void)self;
    memcpy(score, v->colsum, v->n * sizeof(*score));
}

const struct kvpolicy_ops kv_h2o = {
    .name = "h2o",
    .doc = "half the last tokens, half those that got the most attention so far (H2O)",
    .source = "eviction.md 2.2",
    .open = open,
    .score = score,
};
