/* kv_duo.c: DuoAttention (Xiao et al. 2024, arXiv 2410.10819): some KV heads, those that look far
 * back, keep everything; the others keep the first tokens and the last ones. Which do is found
 * beforehand (`tandem quality heads`) and read from kv.heads, whose largest values keep everything;
 * without it they are drawn, and that is a test of mechanics, not of the policy. */
#include "sim/hash.h"
#include "sim/kvheads.h"
#include "sim/kvrule.h"

#include <math.h>

#define SINK 64u
#define RECENT 256u

struct duo {
    bool *full; /* [layers * heads] */
    uint32_t heads, streaming;
};

static const struct param_desc params[] = {
    {"full_heads", PARAM_REAL, "0.5", "share of the KV heads that keep everything (eviction.md 5)",
     0, 1, NULL},
    {.name = NULL},
};

static void draw(float *value, uint32_t n, uint64_t seed)
{
    uint64_t h = hash_mix(seed, hash_str("kv.duo"));
    for (uint32_t i = 0; i < n; i++)
        value[i] = (float)(hash_mix(h, i) >> 40);
}

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    const char *path = kv_heads_path(env->params);
    uint32_t layers = env->shape.layers, n = layers * env->shape.kv_heads;
    struct duo *d = arena_alloc(a, sizeof(*d));
    double *given = arena_alloc(a, n * sizeof(*given));
    float *value = arena_alloc(a, n * sizeof(*value));
    uint32_t *order = arena_alloc(a, n * sizeof(*order));
    if (path != NULL && !kv_heads_read(path, layers, env->shape.kv_heads, given, e))
        return NULL;
    for (uint32_t i = 0; i < n; i++)
        value[i] = (float)given[i];
    if (path == NULL)
        draw(value, n, env->seed);
    d->full = arena_alloc(a, n * sizeof(*d->full));
    d->heads = env->shape.kv_heads;
    double share = params_num(env->params, params, "duo", "full_heads");
    (void)kv_choose(value, n, (uint32_t)lround(share * n), d->full, order);
    plan->evicts = plan->decodes = true;
    if (!env->sink_is_set)
        plan->sink = SINK;
    if (!env->recent_is_set)
        plan->recent = RECENT;
    d->streaming = MAX(1, plan->sink + plan->recent);
    return d;
}

static uint32_t budget(void *self, uint32_t mean, uint32_t layer, uint32_t head)
{
    const struct duo *d = self;
    (void)mean;
    return d->full[layer * d->heads + head] ? UINT32_MAX : d->streaming;
}

static void score(void *self, const struct kv_view *v, float *score)
{
    (void)self;
    for (uint32_t i = 0; i < v->n; i++)
        score[i] = (float)v->pos[i];
}

const struct kvpolicy_ops kv_duo = {
    .name = "duo",
    .doc = "some heads keep all, the others the first and last tokens (DuoAttention)",
    .source = "eviction.md 5",
    .params = params,
    .open = open,
    .budget = budget,
    .score = score,
};
