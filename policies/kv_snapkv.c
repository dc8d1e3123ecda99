/* kv_snapkv.c: SnapKV (Li et al. 2024, arXiv 2404.14469): the prompt's last rows vote, once: what
 * they attend to stays, neighbours included (their votes are averaged), and so do they. Tokens
 * decoded later all stay. One set for a KV head, by the mean of its query heads. */
#include "sim/kvpolicy.h"

struct snap {
    uint32_t window, kernel;
};

static const struct param_desc params[] = {
    {"window", PARAM_INT, "32", "last rows of the prompt that vote (eviction.md 2.7)", 1, 1e6,
     NULL},
    {"kernel", PARAM_INT, "5", "neighbours over which votes are averaged", 1, 1e6, NULL},
    {.name = NULL},
};

static void *open(struct arena *a, const struct kv_env *env, struct kv_plan *plan, struct err *e)
{
    (void)e;
    struct snap *s = arena_alloc(a, sizeof(*s));
    s->kernel = (uint32_t)params_num(env->params, params, "snapkv", "kernel");
    plan->stats = KV_WINDOW;
    plan->window = s->window = (uint32_t)params_num(env->params, params, "snapkv", "window");
    plan->evicts = true;
    if (!env->recent_is_set)
        plan->recent = plan->window;
    return s;
}

/* The votes of rows for one another do not count. */
static void score(void *self, const struct kv_view *v, float *score)
{
    const struct snap *s = self;
    uint32_t n = v->n, reach = s->kernel / 2;
    while (n > 0 && v->pos[n - 1] + s->window >= v->prompt)
        score[--n] = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t first = i - MIN(i, reach), end = MIN(i + reach + 1, n);
        float sum = 0;
        for (uint32_t k = first; k < end; k++)
            sum += v->window[k];
        score[i] = sum / (float)s->kernel;
    }
}

const struct kvpolicy_ops kv_snapkv = {
    .name = "snapkv",
    .doc = "of the prompt, what its last tokens attend to; all that is decoded (SnapKV)",
    .source = "eviction.md 2.7",
    .params = params,
    .open = open,
    .score = score,
};
