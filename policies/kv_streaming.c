/* kv_streaming.c: StreamingLLM (Xiao et al. 2023, arXiv 2309.17453): the first tokens, on which
 * attention rests whatever they say, and the last ones; nothing in between.
 *
 * Departure: keys keep the position they were computed at (the paper turns them by their place in
 * the cache, which lets a sequence outgrow the model's context; here it cannot). */
#include "sim/kvpolicy.h"

#define SINK 4u

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    plan->evicts = plan->decodes = true;
    if (!env->sink_is_set)
        plan->sink = SINK;
    return arena_alloc(a, 1);
}

static void score(void *self, const struct kv_view *v, float *score)
{
    (void)self;
    for (uint32_t i = 0; i < v->n; i++)
        score[i] = (float)v->pos[i];
}

const struct kvpolicy_ops kv_streaming = {
    .name = "streaming",
    .doc = "the first 4 tokens and the last ones (StreamingLLM)",
    .source = "eviction.md 2.1",
    .open = open,
    .score = score,
};
