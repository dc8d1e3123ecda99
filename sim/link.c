/* link.c: processor sharing on a link.
 *
 * `served` is what a transfer that has been moving since `link.now` has moved so far; all that move
 * get the same. One that starts later is done when `served` reaches what it was at its start plus
 * the transfer's bytes: its target. The smallest target completes first.
 *
 * What must hold: asking never changes an answer. The state is only ever carried forward to a
 * submission, a cancellation or a completion (in whole ns, rounded up), never to the time of a
 * question, so that rounding is the same however often anybody asks. */
#include "sim/link.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* A walk over the future of a link, in ns since link.now. */
struct walk {
    double at, served;
    double target; /* smallest of those moving */
    size_t moving;
};

void link_init(struct link *l, double bytes_per_s, ns_t latency_ns)
{
    CHECK(bytes_per_s > 0 && latency_ns >= 0, "link: bandwidth > 0, latency >= 0",
          "%g bytes/s, %" PRId64 " ns", bytes_per_s, latency_ns);
    *l = (struct link){.bytes_per_ns = bytes_per_s / (double)NS_PER_S, .latency_ns = latency_ns};
}

void link_release(struct link *l)
{
    mem_free(l->t);
    l->t = NULL;
    l->n = l->cap = 0;
}

static bool is_done(const struct link *l, const struct link_transfer *t)
{
    return t->starts_at <= l->now && t->bytes_left <= 0;
}

static double start_of(const struct link *l, const struct link_transfer *t)
{
    return t->starts_at > l->now ? (double)(t->starts_at - l->now) : 0;
}

/* When the first of those moving completes, if nothing else starts. */
static double finish_of(const struct link *l, const struct walk *w)
{
    return w->at + (w->target - w->served) * (double)w->moving / l->bytes_per_ns;
}

static void walk_to(const struct link *l, struct walk *w, double at)
{
    if (w->moving > 0)
        w->served += (at - w->at) * l->bytes_per_ns / (double)w->moving;
    w->at = at;
}

/* Adds a transfer at its start. Returns its target. */
static double enter(const struct link *l, struct walk *w, const struct link_transfer *t)
{
    walk_to(l, w, start_of(l, t));
    double target = w->served + t->bytes_left;
    w->target = w->moving > 0 ? MIN(w->target, target) : target;
    w->moving++;
    return target;
}

/* The first completion among those not done yet. Starts are in order of submission, so those that
 * move are a prefix of those not done. */
static ns_t first_completion(const struct link *l)
{
    struct walk w = {0};
    for (size_t i = 0; i < l->n; i++) {
        const struct link_transfer *t = &l->t[i];
        if (is_done(l, t))
            continue;
        if (w.moving > 0 && finish_of(l, &w) <= start_of(l, t))
            break;
        enter(l, &w, t);
    }
    if (w.moving == 0)
        return NS_NEVER;
    double after = ceil(finish_of(l, &w));
    return after < 0x1p62 ? ns_add(l->now, (ns_t)after) : NS_NEVER;
}

/* Carries the state to `to`, at most the first completion. It walks exactly as first_completion
 * does: what starts before a completion rounded up to `to` starts before the completion. */
static void carry_to(struct link *l, ns_t to)
{
    struct walk w = {0};
    double end = (double)(to - l->now);
    for (size_t i = 0; i < l->n && l->t[i].starts_at < to; i++) {
        if (!is_done(l, &l->t[i]))
            l->t[i].bytes_left = enter(l, &w, &l->t[i]); /* the target: undone below */
    }
    /* A completion is one by that comparison, whatever rounding leaves of its bytes. */
    bool completes = w.moving > 0 && finish_of(l, &w) <= end;
    walk_to(l, &w, end);
    if (completes)
        w.served = MAX(w.served, w.target);
    for (size_t i = 0; i < l->n && l->t[i].starts_at < to; i++) {
        if (!is_done(l, &l->t[i]))
            l->t[i].bytes_left = MAX(l->t[i].bytes_left - w.served, 0);
    }
    l->now = to;
}

/* Lets everything complete that completes by `now`. */
static void complete_until(struct link *l, ns_t now)
{
    for (ns_t at = first_completion(l); at <= now && at < NS_NEVER; at = first_completion(l))
        carry_to(l, at);
}

static void settle(struct link *l, ns_t now)
{
    CHECK(now >= l->now, "I4 (time never goes back)", "link at %" PRId64 ", asked for %" PRId64,
          l->now, now);
    complete_until(l, now);
    carry_to(l, now);
}

static void remove_at(struct link *l, size_t i, struct link_transfer *out)
{
    *out = l->t[i];
    l->n--;
    memmove(&l->t[i], &l->t[i + 1], (l->n - i) * sizeof(*l->t));
    l->generation++;
}

uint64_t link_submit(struct link *l, ns_t now, uint64_t bytes, uint64_t tag)
{
    settle(l, now);
    l->t = mem_reserve(l->t, &l->cap, l->n + 1, sizeof(*l->t));
    l->t[l->n++] = (struct link_transfer){
        .tag = tag,
        .number = l->n_submitted,
        .submitted_at = now,
        .starts_at = ns_add(now, l->latency_ns),
        .bytes_left = (double)bytes,
    };
    l->generation++;
    return l->n_submitted++;
}

ns_t link_next_at(const struct link *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (is_done(l, &l->t[i]))
            return l->now;
    }
    return first_completion(l);
}

bool link_take_done(struct link *l, ns_t now, struct link_transfer *out)
{
    complete_until(l, now);
    for (size_t i = 0; i < l->n; i++) {
        if (is_done(l, &l->t[i])) {
            remove_at(l, i, out);
            return true;
        }
    }
    return false;
}

void link_cancel(struct link *l, ns_t now, uint64_t number)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->t[i].number == number) {
            struct link_transfer cancelled;
            settle(l, now);
            remove_at(l, i, &cancelled);
            return;
        }
    }
}
