/* kv_tova.c: TOVA (Oren et al. 2024, arXiv 2401.06104): the token that the newest query attends to
 * least goes, by the mean over all heads of a layer: its heads keep the same tokens. Nothing is
 * protected but the newest token itself. */
#include "sim/kvpolicy.h"

#include <string.h>

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    plan->stats = KV_LASTROW;
    plan->scope = KV_PER_LAYER;
    plan->evicts = plan->decodes = true;
    if (!env->recent_is_set)
        plan->recent = 1;
    return arena_alloc(a, 1);
}

static void score(void *self, const struct kv_view *v, float *score)
{
    (void)self;
    memcpy(score, v->lastrow, v->n * sizeof(*score));
}

const struct kvpolicy_ops kv_tova = {
    .name = "tova",
    .doc = "drop what the newest token attends to least, per layer (TOVA)",
    .source = "eviction.md 2.4",
    .open = open,
    .score = score,
};
