/* kv_random.c: tokens go by lot: what any policy has to beat. The lots of a sequence depend on its
 * number, the layer, the head and the position, so that it can be run again. */
#include "sim/hash.h"
#include "sim/kvpolicy.h"

struct lots {
    uint64_t seed;
};

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    struct lots *r = arena_alloc(a, sizeof(*r));
    r->seed = hash_mix(env->seed, hash_str("kv.random"));
    plan->evicts = plan->decodes = true;
    if (!env->recent_is_set)
        plan->recent = 1;
    return r;
}

static void score(void *self, const struct kv_view *v, float *score)
{
    const struct lots *r = self;
    uint64_t place = (uint64_t)v->layer << 32 | v->head;
    uint64_t h = hash_mix(hash_mix(r->seed, v->sequence), place);
    for (uint32_t i = 0; i < v->n; i++)
        score[i] = (float)(hash_mix(h, v->pos[i]) >> 40);
}

const struct kvpolicy_ops kv_random = {
    .name = "random",
    .doc = "drop tokens by lot: what others have to beat",
    .source = "eviction.md 2.0",
    .open = open,
    .score = score,
};
