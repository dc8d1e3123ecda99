/* router_mooncake.c: Mooncake's choice of a prefill instance and its early rejection (FAST'25,
 * Algorithm 1; arXiv 2407.00079 section 7; scheduling.md 3.15 and 5), on replicas that do both
 * phases.
 *
 * For every replica the time to the first token is predicted: what is queued there, the prompt
 * beyond what is cached there, and, where another replica caches more than
 * `balancing_threshold` times as much, the copy of the rest from that one, which makes hot prefixes
 * spread. The smallest wins. It is refused if that exceeds `ttft_s`, or if the step in which it
 * would decode exceeds `tbt_ms`: with `reject=current` the requests there now decode in it, with
 * `reject=predicted` those that will at its first token, when everybody decodes for as long as
 * those that are done did in the mean.
 *
 * Departures: one replica does both phases, so that the one chosen for the prompt must decode too,
 * and a chunk of a prompt that shares the step is not counted. A copy has the link for itself. */
#include <string.h>

#include "sim/router.h"

struct sent { /* and not done */
    uint64_t seq;
    ns_t first_at; /* its first token, as predicted */
    uint32_t prompt_tokens;
};

struct side { /* what is known of a replica */
    uint32_t cached;
    struct sent *sent;
    size_t n, cap;
};

enum reject { REJECT_NONE, REJECT_CURRENT, REJECT_PREDICTED };

struct mooncake {
    struct arena *arena;
    struct side *side;
    double threshold, ns_per_byte;
    ns_t latency_ns, ttft_ns, tbt_ns;
    enum reject reject;
    uint64_t n_done, out_tokens; /* of those that are done */
    ns_t decode_ns;              /* from their predicted first tokens on, in all */
};

static const struct param_desc params[] = {
    {"balancing_threshold", PARAM_REAL, "2",
     "times that another replica must cache more for a copy from there to be worth it", 1, 1e9,
     NULL},
    {"link_gb_per_s", PARAM_REAL, "100", "bandwidth between replicas, 1e9 bytes a second", 1e-3,
     1e6, NULL},
    {"link_latency_us", PARAM_REAL, "10", "until the first byte of a copy is there", 0, 1e9, NULL},
    {"reject", PARAM_STR, "predicted", "refuse what would miss its limits, by the load now or then",
     0, 0, "none|current|predicted"},
    {"ttft_s", PARAM_REAL, "30", "limit of the time to the first token", 0, 1e9, NULL},
    {"tbt_ms", PARAM_REAL, "100", "limit of the time between tokens", 0, 1e9, NULL},
    {NULL, PARAM_INT, NULL, NULL, 0, 0, NULL},
};

static enum reject reject_of(const char *name)
{
    if (strcmp(name, "none") == 0)
        return REJECT_NONE;
    return strcmp(name, "current") == 0 ? REJECT_CURRENT : REJECT_PREDICTED;
}

static void *open(struct arena *a, const struct params *p, uint32_t n_replicas, uint64_t seed,
                  struct err *e)
{
    (void)seed;
    (void)e;
    struct mooncake *m = arena_alloc(a, sizeof(*m));
    m->arena = a;
    m->side = arena_alloc(a, n_replicas * sizeof(*m->side));
    m->threshold = params_num(p, params, "mooncake", "balancing_threshold");
    m->ns_per_byte = 1 / params_num(p, params, "mooncake", "link_gb_per_s");
    m->latency_ns = ns_from_s(params_num(p, params, "mooncake", "link_latency_us") / 1e6);
    m->ttft_ns = ns_from_s(params_num(p, params, "mooncake", "ttft_s"));
    m->tbt_ns = ns_from_s(params_num(p, params, "mooncake", "tbt_ms") / 1e3);
    m->reject = reject_of(params_str(p, params, "mooncake", "reject"));
    return m;
}

/* ---- where the prompt goes ---- */

struct plan {
    uint32_t to, cached; /* tokens there when it begins */
    ns_t copy_ns, ttft_ns;
};

/* `best`: tokens that some replica caches. */
static struct plan plan_for(const struct mooncake *m, const struct route_view *v,
                            const struct req_info *q, uint32_t replica, uint32_t best)
{
    const struct replica_load *l = route_load(v, replica);
    uint32_t own = m->side[replica].cached;
    struct plan p = {.to = replica, .cached = own};
    uint64_t bytes = UINT64_MAX;
    if ((double)best > m->threshold * (double)own)
        bytes = v->ask->kv_bytes(v->self, replica, best - own);
    if (bytes < UINT64_MAX) {
        p.cached = best;
        p.copy_ns = ns_add(m->latency_ns, ns_cut((double)bytes * m->ns_per_byte));
    }
    ns_t prefill_ns = v->ask->prefill_ns(v->self, replica, q->prompt_tokens, p.cached);
    p.ttft_ns = ns_add(ns_add(p.copy_ns, l->queued_ns + l->sent_ns), prefill_ns);
    return p;
}

static struct plan best_plan(const struct mooncake *m, const struct route_view *v,
                             const struct req_info *q)
{
    uint32_t best = 0;
    for (uint32_t i = 0; i < v->n_replicas; i++) {
        m->side[i].cached = route_cached_len(v, i);
        best = MAX(best, m->side[i].cached);
    }
    struct plan p = plan_for(m, v, q, 0, best);
    for (uint32_t i = 1; i < v->n_replicas; i++) {
        struct plan x = plan_for(m, v, q, i, best);
        if (x.ttft_ns < p.ttft_ns || (x.ttft_ns == p.ttft_ns && route_before(v, i, p.to)))
            p = x;
    }
    return p;
}

/* ---- whether it may ---- */

/* A step of the replica with this request in it, at its first token. */
static ns_t tbt_ns(const struct mooncake *m, const struct route_view *v, const struct req_info *q,
                   const struct plan *p)
{
    const struct replica_load *l = route_load(v, p->to);
    if (m->reject == REJECT_CURRENT)
        return v->ask->decode_ns(v->self, p->to, l->running + 1,
                                 l->running_tokens + q->prompt_tokens);
    ns_t at = ns_add(v->now, p->ttft_ns);
    ns_t lasts_ns = m->n_done > 0 ? m->decode_ns / (ns_t)m->n_done : NS_NEVER;
    uint64_t out = m->n_done > 0 ? m->out_tokens / m->n_done : 0;
    uint32_t n = 1;
    uint64_t context = q->prompt_tokens;
    for (size_t i = 0; i < m->side[p->to].n; i++) {
        const struct sent *s = &m->side[p->to].sent[i];
        if (s->first_at > at || ns_add(s->first_at, lasts_ns) <= at)
            continue;
        n++;
        context += s->prompt_tokens + out / 2; /* half way in the mean */
    }
    return v->ask->decode_ns(v->self, p->to, n, context);
}

static uint32_t route(void *self, const struct route_view *v, const struct req_info *q,
                      void *tenant_state)
{
    (void)tenant_state;
    struct mooncake *m = self;
    struct plan p = best_plan(m, v, q);
    if (m->reject != REJECT_NONE && (p.ttft_ns > m->ttft_ns || tbt_ns(m, v, q, &p) > m->tbt_ns))
        return ROUTE_REJECT;
    if (p.copy_ns > 0)
        v->ask->fetch(v->self, p.cached, p.copy_ns);
    struct side *s = &m->side[p.to];
    s->sent = arena_reserve(m->arena, s->sent, &s->cap, s->n + 1, sizeof(*s->sent));
    s->sent[s->n++] = (struct sent){q->seq, ns_add(v->now, p.ttft_ns), q->prompt_tokens};
    return p.to;
}

static void on_done(void *self, const struct route_view *v, const struct req_info *q,
                    uint32_t replica, uint32_t out_tokens)
{
    struct mooncake *m = self;
    struct side *s = &m->side[replica];
    size_t i = 0;
    while (s->sent[i].seq != q->seq)
        i++;
    if (out_tokens > 0) { /* else it was refused there */
        m->n_done++;
        m->out_tokens += out_tokens;
        m->decode_ns += MAX(v->now - s->sent[i].first_at, 0);
    }
    s->sent[i] = s->sent[--s->n];
}

const struct router_ops router_mooncake = {
    .name = "mooncake",
    .doc = "least predicted time to the first token, copying hot prefixes; refuses early",
    .source = "Mooncake, FAST'25, Algorithm 1; arXiv 2407.00079; scheduling.md 3.15, 5",
    .params = params,
    .needs = ROUTER_PREDICTS,
    .open = open,
    .route = route,
    .on_done = on_done,
};
