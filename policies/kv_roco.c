/* kv_roco.c: RoCo (Ren and Zhu 2024, arXiv 2402.06262): tokens are judged by the mean attention
 * since they came, which does not favour old ones as a sum does, and those whose attention varies
 * most are not judged: as many as there are tokens too many stay for that. */
#include "sim/kvrule.h"

#include <math.h>

#define SINK 4u
#define RECENT 10u
#define STAYS 4.0f /* above any mean */

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    plan->stats = KV_COLSUM | KV_COLSUM2;
    plan->evicts = plan->decodes = true;
    if (!env->sink_is_set)
        plan->sink = SINK;
    if (!env->recent_is_set)
        plan->recent = RECENT;
    return arena_alloc(a, 1);
}

/* Rows that saw a token: its own and those after it. */
static float rows(const struct kv_view *v, uint32_t i)
{
    return (float)(v->seen - v->pos[i]);
}

static float mean(const struct kv_view *v, uint32_t i)
{
    return v->colsum[i] / ((float)v->group * rows(v, i));
}

static float deviation(const struct kv_view *v, uint32_t i)
{
    float m = mean(v, i), variance = v->colsum2[i] / rows(v, i) - m * m;
    return v->seen - v->pos[i] < 2 ? (float)INFINITY : sqrtf(MAX(variance, 0.0f));
}

/* Of 2 * keep tokens and more, half are judged at least, so that enough can go. */
static void score(void *self, const struct kv_view *v, float *score)
{
    (void)self;
    uint32_t surplus = v->n - MIN(v->n, v->keep), unjudged = MIN(surplus, v->n / 2);
    bool *varies = mem_alloc(v->n * sizeof(*varies) + 1);
    uint32_t *order = mem_alloc(v->n * sizeof(*order) + 1);
    for (uint32_t i = 0; i < v->n; i++)
        score[i] = deviation(v, i);
    (void)kv_choose(score, v->n, unjudged, varies, order);
    for (uint32_t i = 0; i < v->n; i++)
        score[i] = mean(v, i) + (varies[i] ? STAYS : 0.0f);
    mem_free(varies);
    mem_free(order);
}

const struct kvpolicy_ops kv_roco = {
    .name = "roco",
    .doc = "drop the least mean attention, of tokens whose attention varies little (RoCo)",
    .source = "eviction.md 2.5",
    .open = open,
    .score = score,
};
