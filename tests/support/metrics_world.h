/* metrics_world.h: what the suites of metrics.h share: a sink that remembers, and requests told in
 * milliseconds. */
#ifndef TESTS_SUPPORT_METRICS_WORLD_H
#define TESTS_SUPPORT_METRICS_WORLD_H

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "sim/metrics.h"

#define MS NS_PER_MS
#define S NS_PER_S
#define NEVER (-1) /* in a row: did not happen */
#define NULL_VALUE ((double)NAN)

static const char *const everyone[] = {"*", NULL};

/* ---- a sink that remembers ---- */

struct named_value {
    char name[64];
    ns_t at;
    double value;
};

struct list {
    struct named_value *v;
    size_t n, cap;
};

struct fake {
    struct list summary, timeline;
    struct list histogram; /* at = count */
    struct tenant_row tenant[8];
    size_t n_tenants; /* may exceed what is remembered */
    double last_p99;  /* of the last tenant */
    uint64_t calls;
    uint64_t fail_at; /* 0: never */
};

static inline void append(struct list *l, const char *name, ns_t at, double value)
{
    l->v = mem_reserve(l->v, &l->cap, l->n + 1, sizeof(*l->v));
    struct named_value *x = &l->v[l->n++];
    snprintf(x->name, sizeof(x->name), "%s", name);
    x->at = at;
    x->value = value;
}

static inline bool accept_call(struct fake *f, struct err *e)
{
    return ++f->calls == f->fail_at ? err_set(e, "fake: disk full; free some") : true;
}

static inline bool fake_summary(void *self, const char *metric, double value, struct err *e)
{
    struct fake *f = self;
    append(&f->summary, metric, 0, value);
    return accept_call(f, e);
}

static inline bool fake_timeline(void *self, ns_t at, const char *series, double value,
                                 struct err *e)
{
    struct fake *f = self;
    append(&f->timeline, series, at, value);
    return accept_call(f, e);
}

static inline bool fake_histogram(void *self, const char *metric, const struct quantile_bucket *b,
                                  struct err *e)
{
    struct fake *f = self;
    append(&f->histogram, metric, (ns_t)b->count, b->low_ms);
    return accept_call(f, e);
}

static inline bool fake_tenant(void *self, const struct tenant_row *row, struct err *e)
{
    struct fake *f = self;
    if (f->n_tenants < ARRAY_LEN(f->tenant))
        f->tenant[f->n_tenants] = *row;
    f->n_tenants++;
    f->last_p99 = row->ttft_ms_p99;
    return accept_call(f, e);
}

static const struct sink_ops fake_ops = {
    .summary = fake_summary,
    .timeline = fake_timeline,
    .histogram = fake_histogram,
    .tenant = fake_tenant,
};

static inline double summary(const struct fake *f, const char *name)
{
    const struct named_value *found = NULL;
    for (size_t i = 0; i < f->summary.n; i++) {
        if (strcmp(f->summary.v[i].name, name) != 0)
            continue;
        ck_assert_msg(!found, "%s is reported twice", name);
        found = &f->summary.v[i];
    }
    ck_assert_msg(found != NULL, "%s is not reported", name);
    return found->value;
}

static inline bool has_summary(const struct fake *f, const char *name)
{
    for (size_t i = 0; i < f->summary.n; i++)
        if (strcmp(f->summary.v[i].name, name) == 0)
            return true;
    return false;
}

static inline bool same(double got, double want)
{
    return isnan(want) ? isnan(got) : fabs(got - want) <= 1e-9 * fmax(1, fabs(want));
}

struct expected {
    const char *metric;
    double value;
};

static inline void expect(const struct fake *f, const char *what, const struct expected *x,
                          size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double got = summary(f, x[i].metric);
        ck_assert_msg(same(got, x[i].value), "%s: %s is %.12g, not %.12g", what, x[i].metric, got,
                      x[i].value);
    }
}

#define EXPECT(f, what, ...)                                                                       \
    expect(f, what, (const struct expected[]){__VA_ARGS__},                                        \
           sizeof((const struct expected[]){__VA_ARGS__}) / sizeof(struct expected))

/* ---- fixture ---- */

struct world {
    struct names tenants, classes;
    struct metrics_config cfg;
    struct metrics *m;
    struct fake fake;
};

static inline void world_init(struct world *w)
{
    *w = (struct world){0};
    names_init(&w->tenants);
    names_init(&w->classes);
    w->cfg = (struct metrics_config){
        .horizon_ns = NS_NEVER,
        .wp = 1,
        .wq = 2,
        .exact_quantiles = 100000,
        .tenants = &w->tenants,
        .classes = &w->classes,
        .capacity_units = 100,
        .n_replicas = 1,
    };
}

static inline struct metrics *world_open(struct world *w)
{
    w->m = metrics_open(&w->cfg);
    return w->m;
}

static inline uint32_t tenant(struct world *w, const char *name)
{
    return names_id(&w->tenants, name);
}

static inline struct fake *world_report(struct world *w)
{
    struct err e = {0};
    struct sink sink = {.ops = &fake_ops, .self = &w->fake};
    ck_assert_msg(metrics_report(w->m, &sink, &e), "%s", e.text);
    return &w->fake;
}

static inline void world_release(struct world *w)
{
    metrics_close(w->m);
    names_release(&w->tenants);
    names_release(&w->classes);
    mem_free(w->fake.summary.v);
    mem_free(w->fake.timeline.v);
    mem_free(w->fake.histogram.v);
}

/* A request in milliseconds. */
struct life {
    int arrived, admitted, first, done;
    uint32_t tokens;
    enum req_status status;
};

/* Tells of its arrival and of its end. */
static inline struct request_row live(struct world *w, const struct life *l, const char *who,
                                      uint32_t slo_class)
{
    uint32_t id = tenant(w, who);
    struct request_row row = {
        .arrived_at = l->arrived * MS,
        .admitted_at = l->admitted < 0 ? -1 : l->admitted * MS,
        .first_token_at = l->first < 0 ? -1 : l->first * MS,
        .done_at = l->done < 0 ? -1 : l->done * MS,
        .output_tokens = l->tokens,
        .status = l->status,
    };
    metrics_arrival(w->m, row.arrived_at, id);
    metrics_done(w->m, &row, id, slo_class);
    return row;
}

#endif
