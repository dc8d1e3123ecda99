/* budget_uniform.c: every layer and head gets the mean. */
#include "sim/kvpolicy.h"

static void *open(struct arena *a, const struct kv_env *env, struct err *e)
{
    (void)env, (void)e;
    return arena_alloc(a, 1);
}

static void allocate(void *self, const struct kv_budget_ask *ask, uint32_t *tokens)
{
    (void)self;
    for (uint32_t i = 0; i < ask->layers * ask->heads; i++)
        tokens[i] = ask->mean;
}

const struct kvbudget_ops budget_uniform = {
    .name = "uniform",
    .doc = "the same for every layer and head",
    .source = "eviction.md 3",
    .open = open,
    .allocate = allocate,
};
