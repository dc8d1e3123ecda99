/* budget_table.c: in proportion to a table of layers and heads that was made before: HeadKV, CoKV,
 * EvolKV and what an engine recorded are such tables (eviction.md 3). */
#include "sim/kvheads.h"
#include "sim/kvrule.h"

struct table {
    double *value, *want; /* [layers * heads] */
    uint32_t *order;
    uint32_t n;
};

static void *open(struct arena *a, const struct kv_env *env, struct err *e)
{
    const char *path = kv_heads_path(env->params);
    struct table *t = arena_alloc(a, sizeof(*t));
    t->n = env->shape.layers * env->shape.kv_heads;
    t->value = arena_alloc(a, t->n * sizeof(*t->value));
    t->want = arena_alloc(a, t->n * sizeof(*t->want));
    t->order = arena_alloc(a, t->n * sizeof(*t->order));
    if (path == NULL) {
        err_set(e, "kv.budget_policy: table needs the table; give kv.heads");
        return NULL;
    }
    return kv_heads_read(path, env->shape.layers, env->shape.kv_heads, t->value, e) ? t : NULL;
}

/* The last rows of the table: layers that are skipped are the first ones. */
static void allocate(void *self, const struct kv_budget_ask *ask, uint32_t *tokens)
{
    struct table *t = self;
    uint32_t n = ask->layers * ask->heads;
    const double *value = t->value + (t->n - n);
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        sum += value[i];
    for (uint32_t i = 0; i < n; i++)
        t->want[i] = sum > 0 ? ask->mean * (double)n * value[i] / sum : ask->mean;
    kv_share_out(t->want, n, (uint64_t)n * ask->mean, ask->least, ask->length, tokens, t->order);
}

const struct kvbudget_ops budget_table = {
    .name = "table",
    .doc = "in proportion to the file of kv.heads",
    .source = "eviction.md 3",
    .open = open,
    .allocate = allocate,
};
