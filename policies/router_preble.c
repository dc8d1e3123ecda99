/* router_preble.c: Preble's E2 (arXiv 2407.00023; scheduling.md section 5): exploit the cache where
 * it holds more of the prompt than it misses, else explore.
 *
 * To exploit is to go to one of the replicas with the longest match, the cheapest of them; to
 * explore, to the cheapest of all. What a replica costs is the sum over the last `window_s` of the
 * prefill that was sent there and missed its cache, what it takes to decode for those that are
 * there now (median output x median time of a token), what this request would have to prefill
 * there, and the prefill of what would be evicted to make room for it. When the replica to exploit
 * costs `balance` times the cheapest, the request goes to that one after all.
 *
 * Departures: matches are asked for, not guessed from what was sent; evicted prefixes count as hit
 * once more (Preble keeps a histogram of hits); loads are balanced request by request, not by
 * moving prefixes. `balance` is from memory of its code. */
#include <stdlib.h>
#include <string.h>

#include "sim/router.h"

#define RECENT 101u /* requests of which medians are taken */

struct prefill {
    ns_t at, takes_ns;
};

struct side {
    struct prefill *sent; /* a ring, oldest first: those in the window */
    size_t head, n, cap;
    ns_t window_ns; /* their sum */
    ns_t cost_ns;   /* of the request being routed */
    uint32_t cached;
};

struct preble {
    struct arena *arena;
    struct side *side;
    double balance;
    ns_t window_ns;
    uint32_t out[RECENT]; /* output tokens of the last to be done, a ring */
    uint64_t n_done;
};

static const struct param_desc params[] = {
    {"window_s", PARAM_REAL, "180", "how far back prefill counts as load", 0, 1e9, NULL},
    {"balance", PARAM_REAL, "1.4", "ratio of costs above which the cheapest replica is taken", 1,
     1e9, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)seed;
    (void)e;
    struct preble *s = arena_alloc(a, sizeof(*s));
    s->arena = a;
    s->side = arena_alloc(a, n_replicas * sizeof(*s->side));
    s->window_ns = ns_from_s(params_num(p, params, "preble", "window_s"));
    s->balance = params_num(p, params, "preble", "balance");
    return s;
}

/* ---- the load of a replica ---- */

static void forget_old(const struct preble *p, struct side *s, ns_t now)
{
    while (s->n > 0 && s->sent[s->head].at < now - p->window_ns) {
        s->window_ns -= s->sent[s->head].takes_ns;
        s->head = (s->head + 1) % s->cap;
        s->n--;
    }
}

static void remember(struct preble *p, struct side *s, ns_t now, ns_t takes_ns)
{
    if (s->n == s->cap) { /* straightened into a new ring of twice the size */
        size_t cap = MAX(2 * s->cap, 16);
        struct prefill *sent = arena_alloc(p->arena, cap * sizeof(*sent));
        for (size_t i = 0; i < s->n; i++)
            sent[i] = s->sent[(s->head + i) % s->cap];
        s->sent = sent;
        s->head = 0;
        s->cap = cap;
    }
    s->sent[(s->head + s->n++) % s->cap] = (struct prefill){now, takes_ns};
    s->window_ns += takes_ns;
}

static int by_size(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static uint32_t median_out(const struct preble *p)
{
    uint32_t sorted[RECENT];
    size_t n = (size_t)MIN(p->n_done, RECENT);
    if (n == 0)
        return 0;
    memcpy(sorted, p->out, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_size);
    return sorted[n / 2];
}

/* Of what must go to make room for the rest of the prompt, the time to compute it again. */
static ns_t eviction_ns(const struct route_view *v, uint32_t replica, const struct req_info *q,
                        uint32_t cached)
{
    const struct replica_load *l = route_load(v, replica);
    if (l->capacity_tokens == 0)
        return 0;
    double units = (double)l->capacity_units / (double)l->capacity_tokens; /* of a token */
    double need = units * (double)(q->prompt_tokens - cached) - (double)l->free_units;
    need = MIN(need, (double)l->evictable_units);
    return need <= 0 ? 0 : v->ask->prefill_ns(v->self, replica, (uint32_t)(need / units), 0);
}

static ns_t cost_of(struct preble *p, const struct route_view *v, const struct req_info *q,
                    uint32_t replica, uint32_t out)
{
    struct side *s = &p->side[replica];
    const struct replica_load *l = route_load(v, replica);
    forget_old(p, s, v->now);
    ns_t token_ns = v->ask->decode_ns(v->self, replica, l->running, l->running_tokens);
    ns_t decode_ns = ns_cut((double)v->count[replica].in_flight * out * (double)token_ns);
    ns_t prefill_ns = v->ask->prefill_ns(v->self, replica, q->prompt_tokens, s->cached);
    return ns_add(ns_add(s->window_ns, decode_ns),
                  ns_add(prefill_ns, eviction_ns(v, replica, q, s->cached)));
}

/* The cheapest of those that cache at least so much. */
static uint32_t cheapest(const struct preble *p, const struct route_view *v, uint32_t cached)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < v->n_replicas; i++) {
        if (p->side[i].cached < cached)
            continue;
        if (best == UINT32_MAX || p->side[i].cost_ns < p->side[best].cost_ns ||
            (p->side[i].cost_ns == p->side[best].cost_ns && route_before(v, i, best)))
            best = i;
    }
    return best;
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)tenant_state;
    struct preble *p = self;
    uint32_t longest = 0, out = median_out(p);
    for (uint32_t i = 0; i < v->n_replicas; i++) {
        struct side *s = &p->side[i];
        s->cached = route_cached_len(v, i);
        s->cost_ns = cost_of(p, v, q, i, out);
        longest = MAX(longest, s->cached);
    }
    uint32_t to = cheapest(p, v, 0);
    if (longest > q->prompt_tokens - longest) {
        uint32_t holder = cheapest(p, v, longest);
        if ((double)p->side[holder].cost_ns <= p->balance * (double)p->side[to].cost_ns)
            to = holder;
    }
    ns_t takes_ns = v->ask->prefill_ns(v->self, to, q->prompt_tokens, p->side[to].cached);
    remember(p, &p->side[to], v->now, takes_ns);
    return to;
}

static void on_done(void *self, const struct route_view *v, const struct req_info *q,
                    uint32_t replica, uint32_t out_tokens)
{
    (void)v;
    (void)q;
    (void)replica;
    struct preble *p = self;
    if (out_tokens > 0)
        p->out[p->n_done++ % RECENT] = out_tokens;
}

const struct router_ops router_preble = {
    .name = "preble",
    .doc = "the cache where it holds more than it misses, else the least load (Preble's E2)",
    .source = "Srivatsa et al., arXiv 2407.00023; scheduling.md section 5",
    .params = params,
    .open = open,
    .route = route,
    .on_done = on_done,
};
