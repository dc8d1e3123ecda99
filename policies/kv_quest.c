/* kv_quest.c: Quest (Tang et al. 2024, arXiv 2406.10774): everything is kept, and a decode step
 * reads the pages that may hold the largest products with its query, by the bounds of their keys'
 * channels; the last page always. The first two layers read everything.
 *
 * Grouped queries: a page's score is the largest of the group's, one list for a KV head (the paper
 * has models with one query head a KV head only). */
#include "sim/kvpolicy.h"

#define SKIP_LAYERS 2u

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    plan->stats = KV_PAGE_BOUNDS;
    plan->read = KV_READ_PAGES;
    if (!env->skip_is_set)
        plan->skip_layers = SKIP_LAYERS;
    return arena_alloc(a, 1);
}

/* No product of q with a key between the bounds is larger. */
static float bound(const float *q, const float *least, const float *most, uint32_t d)
{
    float sum = 0;
    for (uint32_t i = 0; i < d; i++)
        sum += MAX(q[i] * least[i], q[i] * most[i]);
    return sum;
}

static void rank(void *self, const struct kv_query *q, float *score)
{
    (void)self;
    uint32_t d = q->head_dim;
    for (uint32_t u = 0; u < q->n_units; u++) {
        const float *least = q->least + (size_t)u * d, *most = q->most + (size_t)u * d;
        score[u] = bound(q->q, least, most, d);
        for (uint32_t g = 1; g < q->group; g++) {
            float other = bound(q->q + (size_t)g * d, least, most, d);
            score[u] = MAX(score[u], other);
        }
    }
}

const struct kvpolicy_ops kv_quest = {
    .name = "quest",
    .doc = "keep all, read the pages whose keys may fit the query best (Quest)",
    .source = "eviction.md 4",
    .open = open,
    .rank = rank,
};
