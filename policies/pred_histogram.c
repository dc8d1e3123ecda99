/* pred_histogram.c: the output lengths seen so far, counted in classes that double (1, 2, 4, ...):
 * the prediction is the class in which the quantile lies, and the mean length of those in it. A
 * tenant's own histogram counts once it has `min_count` lengths; until then that of all tenants
 * together does. Nothing is known before anything has finished. */
#include "sim/predictor.h"

#define CLASSES 33u /* upper edges 2^0 .. 2^32 */

struct lengths {
    uint64_t n, count[CLASSES], sum[CLASSES]; /* requests, requests of a class and their tokens */
};

struct histogram {
    struct lengths all;
    double quantile;
    uint64_t min_count;
};

static const struct param_desc params[] = {
    {"quantile", PARAM_REAL, "0.5", "quantile of the lengths that is predicted", 0, 1, NULL},
    {"min_count", PARAM_INT, "10", "finished requests from which a tenant's own lengths count", 1,
     1e9, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, uint64_t seed, struct err *e)
{
    (void)seed;
    (void)e;
    struct histogram *h = arena_alloc(a, sizeof(*h));
    h->quantile = params_num(p, params, "histogram", "quantile");
    h->min_count = (uint64_t)params_num(p, params, "histogram", "min_count");
    return h;
}

static struct prediction predict(void *self, const struct req_info *q, void *tenant_state,
                                 uint32_t true_output)
{
    (void)q;
    (void)true_output;
    const struct histogram *h = self;
    const struct lengths *t = tenant_state, *l = t->n >= h->min_count ? t : &h->all;
    if (l->n == 0)
        return (struct prediction){0};
    uint64_t rank = (uint64_t)(h->quantile * (double)(l->n - 1)), below = 0;
    uint32_t k = 0;
    while (below + l->count[k] <= rank)
        below += l->count[k++];
    return prediction_of((double)l->sum[k] / (double)l->count[k]);
}

static void count(struct lengths *l, uint32_t output)
{
    uint32_t k = 0;
    while ((UINT64_C(1) << k) < output)
        k++;
    l->n++;
    l->count[k]++;
    l->sum[k] += output;
}

static void learn(void *self, const struct req_info *q, void *tenant_state, uint32_t output)
{
    struct histogram *h = self;
    (void)q;
    count(&h->all, output);
    count(tenant_state, output);
}

const struct predictor_ops pred_histogram = {
    .name = "histogram",
    .doc = "a quantile of the tenant's output lengths so far, of all tenants' until it has enough",
    .source = "scheduling.md 3.8, 3.9",
    .params = params,
    .tenant_state_bytes = sizeof(struct lengths),
    .open = open,
    .predict = predict,
    .learn = learn,
};
