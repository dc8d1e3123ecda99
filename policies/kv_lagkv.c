/* kv_lagkv.c: LagKV (Liang et al. 2025, arXiv 2504.04704): tokens in partitions of `lag`; those of
 * one are judged by how much their keys and values vary over channels when scaled by the range of
 * the next partition, and a share of each stays. The first tokens, the last whole partition and
 * what follows it are left alone, so that a partition is judged once the next one is whole.
 *
 * The share that stays is set so that a prompt comes to the budget; where the budget is less than
 * what is left alone, one token of each partition stays and the budget is exceeded. */
#include "sim/kvrule.h"

#include <math.h>

#define SINK 4u

struct lagkv {
    uint32_t lag, sink;
};

static const struct param_desc params[] = {
    {"lag", PARAM_INT, "128", "tokens in a partition (eviction.md 2.9)", 2, 1e6, NULL},
    {.name = NULL},
};

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    struct lagkv *g = arena_alloc(a, sizeof(*g));
    g->lag = (uint32_t)params_num(env->params, params, "lagkv", "lag");
    plan->stats = KV_STAT_KEYS | KV_STAT_VALUES;
    plan->evicts = plan->decodes = plan->marks = true;
    plan->slack = g->lag;
    if (!env->sink_is_set)
        plan->sink = SINK;
    g->sink = plan->sink;
    return g;
}

/* Partitions that are judged at `len` tokens. */
static uint32_t judged(const struct lagkv *g, uint32_t len)
{
    uint32_t whole = (len - MIN(len, g->sink)) / g->lag;
    return whole - MIN(whole, 1);
}

/* Tokens that stay of each. */
static uint32_t stays(const struct lagkv *g, uint32_t budget, uint32_t prompt)
{
    uint32_t n = judged(g, prompt), alone = prompt - n * g->lag;
    if (n == 0)
        return g->lag;
    return MAX(1, MIN(g->lag, (budget - MIN(budget, alone)) / n));
}

static uint32_t resident(void *self, uint32_t budget, uint32_t prompt, uint32_t len)
{
    const struct lagkv *g = self;
    return len - judged(g, len - 1) * (g->lag - stays(g, budget, prompt)); /* judged a step later */
}

/* Least and largest of each channel of n rows. */
static void ranges(const float *x, uint32_t n, uint32_t d, float *low, float *high)
{
    for (uint32_t c = 0; c < d; c++) {
        low[c] = high[c] = x[c];
        for (uint32_t i = 1; i < n; i++) {
            low[c] = MIN(low[c], x[(size_t)i * d + c]);
            high[c] = MAX(high[c], x[(size_t)i * d + c]);
        }
    }
}

/* Of a row over its channels, each scaled by its range. */
static float deviation(const float *x, const float *low, const float *high, uint32_t d)
{
    float sum = 0, squares = 0;
    for (uint32_t c = 0; c < d; c++) {
        float scaled = (x[c] - low[c]) / MAX(high[c] - low[c], 1e-6f);
        sum += scaled;
        squares += scaled * scaled;
    }
    float mean = sum / (float)d, variance = squares / (float)d - mean * mean;
    return sqrtf(MAX(variance, 0.0f));
}

/* Adds the softmax, over the n rows, of their deviations by the ranges of `next`. */
static void judge(const float *x, const float *next, uint32_t n, uint32_t d, float *score)
{
    float *low = mem_alloc(d * sizeof(*low)), *high = mem_alloc(d * sizeof(*high));
    float *dev = mem_alloc(n * sizeof(*dev)), most = 0, sum = 0;
    ranges(next, n, d, low, high);
    for (uint32_t i = 0; i < n; i++) {
        dev[i] = deviation(x + (size_t)i * d, low, high, d);
        most = MAX(most, dev[i]);
    }
    for (uint32_t i = 0; i < n; i++)
        sum += dev[i] = expf(dev[i] - most);
    for (uint32_t i = 0; i < n; i++)
        score[i] += dev[i] / sum;
    mem_free(low);
    mem_free(high);
    mem_free(dev);
}

/* Where the tokens of partition p begin in the view, and whether all of them are there. */
static bool whole_partition(const struct lagkv *g, const struct kv_view *v, uint32_t p,
                            uint32_t *first)
{
    uint32_t begin = g->sink + p * g->lag, i = 0;
    while (i < v->n && v->pos[i] < begin)
        i++;
    *first = i;
    return i + g->lag <= v->n && v->pos[i] == begin && v->pos[i + g->lag - 1] == begin + g->lag - 1;
}

static void drop_rest(float *score, uint32_t n, uint32_t keep)
{
    bool *kept = mem_alloc(n * sizeof(*kept));
    uint32_t *order = mem_alloc(n * sizeof(*order));
    (void)kv_choose(score, n, keep, kept, order);
    for (uint32_t i = 0; i < n; i++)
        score[i] = kept[i] ? 0.0f : (float)-INFINITY;
    mem_free(kept);
    mem_free(order);
}

static void score(void *self, const struct kv_view *v, float *score)
{
    const struct lagkv *g = self;
    uint32_t d = v->head_dim, first, next, keep = stays(g, v->keep, v->prompt);
    for (uint32_t i = 0; i < v->n; i++)
        score[i] = 0;
    for (uint32_t p = 0; p < judged(g, v->seen); p++) {
        if (!whole_partition(g, v, p, &first) || !whole_partition(g, v, p + 1, &next))
            continue; /* judged before */
        judge(v->key + (size_t)first * d, v->key + (size_t)next * d, g->lag, d, score + first);
        judge(v->value + (size_t)first * d, v->value + (size_t)next * d, g->lag, d, score + first);
        drop_rest(score + first, g->lag, keep);
    }
}

const struct kvpolicy_ops kv_lagkv = {
    .name = "lagkv",
    .doc = "of each partition, the tokens that vary most in the range of the next (LagKV)",
    .source = "eviction.md 2.9",
    .params = params,
    .open = open,
    .score = score,
    .resident = resident,
};
