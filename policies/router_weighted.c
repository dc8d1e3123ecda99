/* router_weighted.c: llm-d's weighted scorers (scheduling.md section 5): prefix hit, short queue
 * and free KV, each scaled between the worst and the best replica, summed with weights 2, 1, 1.
 * Where all replicas are equal a scorer says nothing. Scores are integers of 20 fraction bits. */
#include <math.h>

#include "sim/router.h"

#define ONE 1048576u /* 2^20 */

enum scorer { PREFIX, QUEUE, KV, N_SCORERS };

struct weighted {
    uint64_t weight[N_SCORERS];
    uint64_t *raw[N_SCORERS]; /* a replica each; more is worse */
};

static const struct param_desc params[] = {
    {"prefix", PARAM_REAL, "2", "weight of the cached share of the prompt", 0, 1e6, NULL},
    {"queue", PARAM_REAL, "1", "weight of a short waiting queue", 0, 1e6, NULL},
    {"kv", PARAM_REAL, "1", "weight of a low share of KV in use", 0, 1e6, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)seed;
    (void)e;
    struct weighted *w = arena_alloc(a, sizeof(*w));
    for (size_t s = 0; s < N_SCORERS; s++) {
        w->weight[s] = (uint64_t)llround(params_num(p, params, "weighted", params[s].name) * ONE);
        w->raw[s] = arena_alloc(a, n_replicas * sizeof(*w->raw[s]));
    }
    return w;
}

static void read_replica(struct weighted *w, const struct route_view *v, const struct req_info *q,
                         uint32_t i)
{
    const struct replica_load *l = route_load(v, i);
    uint64_t used = l->capacity_units - l->free_units - l->evictable_units;
    w->raw[PREFIX][i] = q->prompt_tokens - route_cached_len(v, i);
    w->raw[QUEUE][i] = l->waiting + l->sent;
    w->raw[KV][i] = (uint64_t)((double)used / (double)l->capacity_units * ONE);
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)tenant_state;
    struct weighted *w = self;
    uint64_t best[N_SCORERS], worst[N_SCORERS];
    for (uint32_t i = 0; i < v->n_replicas; i++) {
        read_replica(w, v, q, i);
        for (size_t s = 0; s < N_SCORERS; s++) {
            best[s] = i == 0 ? w->raw[s][i] : MIN(best[s], w->raw[s][i]);
            worst[s] = i == 0 ? w->raw[s][i] : MAX(worst[s], w->raw[s][i]);
        }
    }
    uint32_t to = 0;
    uint64_t high = 0;
    for (uint32_t i = 0; i < v->n_replicas; i++) {
        uint64_t score = 0;
        for (size_t s = 0; s < N_SCORERS; s++)
            if (worst[s] > best[s])
                score +=
                    (worst[s] - w->raw[s][i]) * ONE / (worst[s] - best[s]) * w->weight[s] / ONE;
        if (i == 0 || score > high || (score == high && route_before(v, i, to))) {
            to = i;
            high = score;
        }
    }
    return to;
}

const struct router_ops router_weighted = {
    .name = "weighted",
    .doc = "the best weighted sum of prefix hit, short queue and free KV (llm-d)",
    .source = "llm-d inference scheduler, scheduling.md section 5",
    .params = params,
    .open = open,
    .route = route,
};
