/* budget_adakv.c: AdaKV (Feng et al. 2024, arXiv 2407.11550): the heads of a layer share its tokens
 * by how many of the layer's best scores are theirs; a share `alpha` is the same for all. */
#include "sim/kvrule.h"

struct adakv {
    double alpha;
    uint32_t *order; /* [heads] */
    double *want;
};

static const struct param_desc params[] = {
    {"alpha", PARAM_REAL, "0.2", "share of the budget that is the same for all (eviction.md 3)", 0,
     1, NULL},
    {.name = NULL},
};

static void *open(struct arena *a, const struct kv_env *env, struct err *e)
{
    struct adakv *k = arena_alloc(a, sizeof(*k));
    (void)e;
    k->alpha = params_num(env->params, params, "adakv", "alpha");
    k->order = arena_alloc(a, env->shape.kv_heads * sizeof(*k->order));
    k->want = arena_alloc(a, env->shape.kv_heads * sizeof(*k->want));
    return k;
}

/* Of the layer's best scores, as many as there are tokens to share out, how many are each head's.
 */
static void count_best(const struct kv_budget_ask *ask, const float *const *score, double *count)
{
    uint32_t n = ask->heads * ask->length, protected = 0, best = 0;
    float *flat = mem_alloc(n * sizeof(*flat));
    bool *kept = mem_alloc(n * sizeof(*kept));
    uint32_t *order = mem_alloc(n * sizeof(*order));
    for (uint32_t h = 0; h < ask->heads; h++)
        for (uint32_t i = 0; i < ask->length; i++) {
            float x = score[h][i];
            protected += x > 1e30f;
            flat[h * ask->length + i] = x > 1e30f ? -1e30f : x; /* it stays anyway */
        }
    best = ask->heads * (ask->mean - ask->least);
    (void)kv_choose(flat, n, MIN(best, n - protected), kept, order);
    for (uint32_t h = 0; h < ask->heads; h++) {
        count[h] = 0;
        for (uint32_t i = 0; i < ask->length; i++)
            count[h] += kept[h * ask->length + i];
    }
    mem_free(flat);
    mem_free(kept);
    mem_free(order);
}

static void allocate(void *self, const struct kv_budget_ask *ask, uint32_t *tokens)
{
    struct adakv *k = self;
    double same = k->alpha * (ask->mean - ask->least);
    for (uint32_t l = 0; l < ask->layers && ask->score != NULL; l++) {
        count_best(ask, ask->score + (size_t)l * ask->heads, k->want);
        for (uint32_t h = 0; h < ask->heads; h++)
            k->want[h] = ask->least + same + (1 - k->alpha) * k->want[h];
        kv_share_out(k->want, ask->heads, (uint64_t)ask->heads * ask->mean, ask->least, ask->length,
                     tokens + (size_t)l * ask->heads, k->order);
    }
}

const struct kvbudget_ops budget_adakv = {
    .name = "adakv",
    .doc = "within a layer, by whose scores are best (AdaKV); the simulator takes the mean",
    .source = "eviction.md 3",
    .params = params,
    .uses_scores = true,
    .open = open,
    .allocate = allocate,
};
