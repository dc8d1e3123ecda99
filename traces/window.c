/* window.c: which part of a trace is replayed, and how fast (wrap.h). */
#include <inttypes.h>
#include <math.h>

#include "traces/registry.h"
#include "traces/wrap.h"

static double number(const struct trace_env *env, const char *name)
{
    return params_num(env->params, trace_params, "trace", name);
}

/* ---- window: trace.start_s, trace.duration_s, trace.limit ---- */

/* Rows [first, end) were kept. */
struct span {
    uint64_t first, end;
};

struct window {
    struct trace_source in;
    ns_t start_at, end_at;
    uint64_t limit, n_kept;
    /* Rows that were kept, ascending: what tells a follower whether its parent was. Followers next
     * to their parents, as we write them, make it one span. */
    struct span *kept; /* owned */
    size_t n_spans, span_cap;
};

static void note_kept(struct window *w, uint64_t seq)
{
    if (w->n_spans > 0 && w->kept[w->n_spans - 1].end == seq) {
        w->kept[w->n_spans - 1].end++;
        return;
    }
    w->kept = mem_reserve(w->kept, &w->span_cap, w->n_spans + 1, sizeof(*w->kept));
    w->kept[w->n_spans++] = (struct span){.first = seq, .end = seq + 1};
}

static bool was_kept(const struct window *w, uint64_t seq)
{
    size_t low = 0, high = w->n_spans; /* the first span that ends after seq is in [low, high] */

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (w->kept[mid].end > seq)
            high = mid;
        else
            low = mid + 1;
    }
    return low < w->n_spans && w->kept[low].first <= seq;
}

static enum trace_status window_next(void *self, struct trace_rec *rec, struct err *e)
{
    struct window *w = self;
    enum trace_status st;

    if (w->n_kept == w->limit)
        return TRACE_END;
    while ((st = w->in.ops->next(w->in.self, rec, e)) == TRACE_REC) {
        bool timed = rec->after == TRACE_NO_PARENT;

        if (timed && rec->arrival_at >= w->end_at && !w->in.traits.has_after)
            return TRACE_END;
        if (timed ? rec->arrival_at < w->start_at || rec->arrival_at >= w->end_at
                  : !was_kept(w, rec->after))
            continue;
        if (timed)
            rec->arrival_at -= w->start_at;
        if (w->in.traits.has_after)
            note_kept(w, rec->seq);
        w->n_kept++;
        return TRACE_REC;
    }
    return st;
}

static void window_close(void *self)
{
    struct window *w = self;

    w->in.ops->close(w->in.self);
    mem_free(w->kept);
    mem_free(w);
}

static const struct trace_ops window_ops = {
    .name = "window", .next = window_next, .close = window_close};

void window_wrap(struct trace_source *s, const struct trace_env *env)
{
    double start_s = number(env, "start_s"), duration_s = number(env, "duration_s");
    double limit = number(env, "limit");
    struct window *w;

    if (start_s <= 0 && isnan(duration_s) && isnan(limit))
        return;
    w = mem_alloc(sizeof(*w));
    w->in = *s;
    w->start_at = ns_from_s(start_s);
    w->end_at = isnan(duration_s) ? NS_NEVER : ns_add(w->start_at, ns_from_s(duration_s));
    w->limit = isnan(limit) ? UINT64_MAX : (uint64_t)limit;
    s->ops = &window_ops;
    s->self = w;
}

/* ---- pace: trace.rate_scale, trace.max_tokens ---- */

struct pace {
    struct trace_source in;
    double rate_scale;
    uint32_t max_tokens; /* 0: leave it */
};

static enum trace_status pace_next(void *self, struct trace_rec *rec, struct err *e)
{
    struct pace *p = self;
    enum trace_status st = p->in.ops->next(p->in.self, rec, e);
    double at;

    if (st != TRACE_REC)
        return st;
    if (rec->max_tokens == 0)
        rec->max_tokens = p->max_tokens;
    if (p->rate_scale == 1 || rec->after != TRACE_NO_PARENT)
        return TRACE_REC;
    at = (double)rec->arrival_at / p->rate_scale;
    if (at >= 0x1p63) {
        err_set(e,
                "trace.rate_scale: the record of line %" PRIu64 " arrives after the clock's end "
                "(292 years); use a larger one",
                rec->line);
        return TRACE_ERR;
    }
    rec->arrival_at = (ns_t)llround(at);
    return TRACE_REC;
}

static void pace_close(void *self)
{
    struct pace *p = self;

    p->in.ops->close(p->in.self);
    mem_free(p);
}

static const struct trace_ops pace_ops = {.name = "pace", .next = pace_next, .close = pace_close};

void pace_wrap(struct trace_source *s, const struct trace_env *env)
{
    double rate_scale = number(env, "rate_scale"), max_tokens = number(env, "max_tokens");
    struct pace *p;

    if (rate_scale == 1 && isnan(max_tokens))
        return;
    p = mem_alloc(sizeof(*p));
    p->in = *s;
    p->rate_scale = rate_scale;
    p->max_tokens = isnan(max_tokens) ? 0 : (uint32_t)max_tokens;
    s->ops = &pace_ops;
    s->self = p;
}
