/* spread.c: trace.spread_ticks (wrap.h). Mooncake's arrivals step by 3 s, with some ten records at
 * each; replayed as they are, they come in bursts that the service never saw. */
#include "traces/held.h"
#include "traces/registry.h"
#include "traces/wrap.h"

/* held[0..n) are the records of one tick; if `peeked`, held[n] is the first of the next one. */
struct spread {
    struct trace_source in;
    struct held *held; /* owned; used again tick after tick */
    size_t n_made, cap;
    size_t n, given;
    uint64_t n_timed, timed_given;
    ns_t tick_at, gap_ns; /* of the tick held; time to the next one */
    bool peeked, ended;
};

static bool is_timed(const struct trace_rec *rec)
{
    return rec->after == TRACE_NO_PARENT;
}

static void hold(struct spread *s, size_t i, const struct trace_rec *rec)
{
    if (i == s->n_made) {
        s->held = mem_reserve(s->held, &s->cap, i + 1, sizeof(*s->held));
        s->held[s->n_made++] = (struct held){0};
    }
    held_set(&s->held[i], rec);
}

/* Reads the next tick and one record beyond it. */
static enum trace_status read_tick(struct spread *s, struct err *e)
{
    struct trace_rec rec;
    enum trace_status st;

    if (s->peeked) {
        struct held first = s->held[s->n];

        s->held[s->n] = s->held[0];
        s->held[0] = first;
        s->tick_at = first.rec.arrival_at;
    }
    s->n = s->n_timed = s->peeked;
    s->given = s->timed_given = 0;
    s->peeked = false;
    while ((st = s->in.ops->next(s->in.self, &rec, e)) == TRACE_REC) {
        hold(s, s->n, &rec);
        if (is_timed(&rec)) {
            if (s->n_timed > 0 && rec.arrival_at != s->tick_at) {
                s->peeked = true;
                s->gap_ns = rec.arrival_at - s->tick_at;
                return TRACE_REC;
            }
            s->tick_at = rec.arrival_at;
            s->n_timed++;
        }
        s->n++;
    }
    s->ended = true;
    return st == TRACE_END && s->n > 0 ? TRACE_REC : st;
}

/* part / n of a length, without overflow. */
static ns_t share(ns_t length, uint64_t part, uint64_t n)
{
    uint64_t len = (uint64_t)length;

    return (ns_t)(len / n * part + len % n * part / n);
}

static enum trace_status next(void *self, struct trace_rec *rec, struct err *e)
{
    struct spread *s = self;
    const struct held *h;

    if (s->given == s->n) {
        enum trace_status st = s->ended ? TRACE_END : read_tick(s, e);

        if (st != TRACE_REC)
            return st;
    }
    h = &s->held[s->given++];
    *rec = held_get(h);
    if (is_timed(rec))
        rec->arrival_at = ns_add(s->tick_at, share(s->gap_ns, s->timed_given++, s->n_timed));
    return TRACE_REC;
}

static void close_spread(void *self)
{
    struct spread *s = self;

    s->in.ops->close(s->in.self);
    for (size_t i = 0; i < s->n_made; i++)
        held_release(&s->held[i]);
    mem_free(s->held);
    mem_free(s);
}

static const struct trace_ops ops = {.name = "spread", .next = next, .close = close_spread};

void spread_wrap(struct trace_source *s, const struct trace_env *env)
{
    struct spread *w;

    if (!params_bool(env->params, trace_params, "trace", "spread_ticks"))
        return;
    w = mem_alloc(sizeof(*w));
    w->in = *s;
    s->ops = &ops;
    s->self = w;
}
