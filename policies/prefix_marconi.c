/* prefix_marconi.c: Marconi's score: how lately a prefix was used, and how much work a byte of it
 * saves.
 *
 * Rule (eviction.md 9 and 9.1), for models of attention only: the candidate with the lowest
 * recency + alpha x efficiency goes, both scaled to 0..1 over the candidates; recency = 1 / (time
 * since its last use), efficiency = (C(0, its end) - C(0, its start)) / its tokens, which grows
 * with the depth. The time is that of the tree's operations. Marconi tunes alpha while it serves,
 * by replaying what it has seen over a grid from 0 (plain LRU) to 2; here alpha is given, and a
 * sweep over it is that grid. Choosing looks at every candidate. */
#include <math.h>

#include "sim/prefix.h"

struct marconi {
    double alpha, pair_cost;
    uint32_t block_tokens;
};

struct range {
    double low, high;
};

static const struct param_desc marconi_params[] = {
    {"alpha", PARAM_REAL, "1", "weight of the work saved beside recency; 0: LRU", 0, 1e6, NULL},
    {0},
};

static void *marconi_open(struct arena *a, const struct params *p, const struct prefix_env *env,
                          struct err *e)
{
    (void)e;
    struct marconi *m = arena_alloc(a, sizeof(*m));
    *m = (struct marconi){.alpha = params_num(p, marconi_params, "marconi", "alpha"),
                          .pair_cost = env->pair_cost,
                          .block_tokens = env->block_tokens};
    return m;
}

static double recency(const struct prefix_node_view *v, uint64_t now)
{
    return 1 / (double)(now - v->last_use + 1);
}

static double efficiency(const struct marconi *m, const struct prefix_node_view *v)
{
    double end = (double)v->depth_blocks * m->block_tokens;
    double start = (double)(v->depth_blocks - v->n_blocks) * m->block_tokens;
    return 1 + m->pair_cost * (start + end) / 2;
}

static void widen(struct range *r, double x)
{
    r->low = MIN(r->low, x);
    r->high = MAX(r->high, x);
}

static double scaled(const struct range *r, double x)
{
    return r->high > r->low ? (x - r->low) / (r->high - r->low) : 0;
}

static uint32_t marconi_victim(void *self, const struct ptree *t)
{
    const struct marconi *m = self;
    uint64_t now = prefix_now(t);
    uint32_t n = prefix_candidates(t);
    struct range late = {HUGE_VAL, -HUGE_VAL}, saves = late;
    for (uint32_t i = 0; i < n; i++) {
        struct prefix_node_view v = prefix_node(t, prefix_candidate(t, i));
        widen(&late, recency(&v, now));
        widen(&saves, efficiency(m, &v));
    }
    struct prefix_node_view lowest = prefix_node(t, prefix_candidate(t, 0));
    double low = HUGE_VAL;
    for (uint32_t i = 0; i < n; i++) {
        struct prefix_node_view v = prefix_node(t, prefix_candidate(t, i));
        double score =
            scaled(&late, recency(&v, now)) + m->alpha * scaled(&saves, efficiency(m, &v));
        bool tie = !(score < low) && !(score > low);
        if (score < low || (tie && v.number < lowest.number)) {
            low = score;
            lowest = v;
        }
    }
    return lowest.id;
}

const struct prefix_ops prefix_marconi = {
    .name = "marconi",
    .doc = "recency + alpha x work saved a byte",
    .source = "Marconi (arXiv 2411.19379)",
    .params = marconi_params,
    .open = marconi_open,
    .victim = marconi_victim,
};
