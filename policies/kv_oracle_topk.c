/* kv_oracle_topk.c: everything is kept, and a decode step reads the tokens that get the most
 * attention from it, which it has to compute in full to know: the bound of all that choose. */
#include "sim/kvpolicy.h"

#include <string.h>

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)env, (void)e;
    plan->stats = KV_EXACT;
    plan->read = KV_READ_TOKENS;
    return arena_alloc(a, 1);
}

static void rank(void *self, const struct kv_query *q, float *score)
{
    (void)self;
    memcpy(score, q->p, q->n_units * sizeof(*score));
}

const struct kvpolicy_ops kv_oracle_topk = {
    .name = "oracle_topk",
    .doc = "keep all, read the tokens with the most attention: the bound of what choosing can do",
    .source = "eviction.md 2.0",
    .open = open,
    .rank = rank,
};
