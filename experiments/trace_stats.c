#include "experiments/trace_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/prompt_blocks.h"
#include "sim/quantiles.h"

#define EXACT_LENGTHS UINT64_C(20000000) /* records; percentiles of more are within 0.1 % */

/* ---- mean and variance in one pass (Welford; Chan, Golub, LeVeque for many equal values) ---- */

struct moments {
    double n, mean, m2; /* m2: sum of squared distances from the mean */
};

static void moments_add(struct moments *m, double x, double count)
{
    double n = m->n + count, d = x - m->mean;
    m->mean += d * count / n;
    m->m2 += d * d * m->n * count / n;
    m->n = n;
}

static double moments_cv(const struct moments *m)
{
    return m->n > 0 && m->mean > 0 ? sqrt(m->m2 / m->n) / m->mean : (double)NAN;
}

/* ---- arrivals ---- */

/* Requests per window of a fixed length, aligned to the first arrival. */
struct windows {
    ns_t length_ns;
    int64_t current; /* its index */
    uint64_t count;  /* in it so far */
    uint64_t most;
    uint64_t closed, closed_min, closed_max; /* windows that are over */
    struct moments closed_counts;
};

static void windows_close(struct windows *w, uint64_t count, uint64_t times)
{
    if (times == 0)
        return;
    w->closed_min = w->closed == 0 ? count : MIN(w->closed_min, count);
    w->closed_max = MAX(w->closed_max, count);
    w->closed += times;
    moments_add(&w->closed_counts, (double)count, (double)times);
}

static void windows_add(struct windows *w, ns_t since_first)
{
    int64_t index = since_first / w->length_ns;
    if (index > w->current) {
        windows_close(w, w->count, 1);
        windows_close(w, 0, (uint64_t)(index - w->current - 1));
        w->current = index;
        w->count = 0;
    }
    w->count++;
    w->most = MAX(w->most, w->count);
}

struct arrivals {
    uint64_t n;
    ns_t first_at, last_at;
    struct moments gaps;
    struct windows second, ten_seconds, minute;
};

static void arrivals_add(struct arrivals *a, ns_t at)
{
    if (a->n++ == 0)
        a->first_at = at;
    else
        moments_add(&a->gaps, (double)(at - a->last_at), 1);
    a->last_at = at;
    windows_add(&a->second, at - a->first_at);
    windows_add(&a->ten_seconds, at - a->first_at);
    windows_add(&a->minute, at - a->first_at);
}

static void arrivals_report(const struct arrivals *a, struct trace_stats *out)
{
    out->duration_s = (double)(a->last_at - a->first_at) / (double)NS_PER_S;
    out->mean_rps = out->duration_s > 0 ? (double)a->n / out->duration_s : (double)NAN;
    out->max_rps_1s = (double)a->second.most;
    out->max_rps_10s = (double)a->ten_seconds.most / 10;
    out->cv_interarrival = moments_cv(&a->gaps);
    out->cv_per_minute = moments_cv(&a->minute.closed_counts);
    out->minutes = a->minute.closed;
    out->minute_min = a->minute.closed_min;
    out->minute_max = a->minute.closed_max;
}

/* ---- lengths ---- */

struct lengths {
    struct quantiles q; /* of tokens: the unit is the caller's */
    struct moments moments;
    uint64_t total;
};

static void lengths_add(struct lengths *l, uint32_t tokens)
{
    quantiles_add(&l->q, tokens, 1);
    moments_add(&l->moments, tokens, 1);
    l->total += tokens;
}

static struct length_stats lengths_report(struct lengths *l)
{
    return (struct length_stats){.mean = quantiles_mean(&l->q),
                                 .p50 = quantiles_at(&l->q, 50),
                                 .p90 = quantiles_at(&l->q, 90),
                                 .p99 = quantiles_at(&l->q, 99),
                                 .max = quantiles_at(&l->q, 100),
                                 .total = l->total};
}

/* ---- blocks ---- */

struct seen_block {
    uint64_t hash;
    uint64_t times; /* 0: an empty cell */
};

/* Open addressing, at most half full. */
struct seen {
    struct seen_block *cell;
    size_t len, n; /* cells (a power of two), blocks */
};

static struct seen_block *seen_cell(const struct seen *s, uint64_t hash)
{
    size_t i = hash & (s->len - 1);
    while (s->cell[i].times > 0 && s->cell[i].hash != hash)
        i = (i + 1) & (s->len - 1);
    return &s->cell[i];
}

static void seen_grow(struct seen *s)
{
    struct seen old = *s;
    s->len = MAX(old.len * 2, 1024);
    s->cell = mem_alloc(s->len * sizeof(*s->cell));
    for (size_t i = 0; i < old.len; i++)
        if (old.cell[i].times > 0)
            *seen_cell(s, old.cell[i].hash) = old.cell[i];
    mem_free(old.cell);
}

/* Returns how often the block was seen before. */
static uint64_t seen_add(struct seen *s, uint64_t hash)
{
    if (s->n >= s->len / 2)
        seen_grow(s);
    struct seen_block *b = seen_cell(s, hash);
    b->hash = hash;
    s->n += b->times == 0;
    return b->times++;
}

struct reuse {
    struct prompt_blocks blocks;
    struct seen seen;
    bool shares;
    uint64_t n_blocks, n_seen, once, hit_tokens;
    uint64_t requests[3]; /* with 0, 1, 2 or more leading blocks seen before */
};

static void reuse_add(struct reuse *r, const struct trace_rec *rec)
{
    const struct content *c = &r->blocks.content;
    prompt_blocks_set(&r->blocks, rec);
    uint32_t at = 0, leading = 0;
    for (uint32_t i = 0; i < c->n_runs; i++) {
        for (uint32_t k = 0; k < c->run[i].n; k++, at++) {
            uint64_t before = seen_add(&r->seen, content_block_hash(&c->run[i], k));
            r->n_seen += before > 0;
            leading += before > 0 && leading == at;
            r->once += before == 0;
            r->once -= before == 1;
        }
    }
    r->shares |= rec->n_segments > 0;
    r->n_blocks += c->n_blocks;
    r->hit_tokens += prompt_blocks_tokens(&r->blocks, leading);
    r->requests[MIN(leading, 2)]++;
}

static void reuse_report(const struct reuse *r, struct trace_stats *out)
{
    double n = r->shares ? (double)out->requests : (double)NAN;
    out->shares = r->shares;
    out->hits_0 = (double)r->requests[0] / n;
    out->hits_1 = (double)r->requests[1] / n;
    out->hits_2 = (double)r->requests[2] / n;
    out->seen_rate = out->hit_rate_tokens = (double)NAN;
    if (!r->shares)
        return;
    out->block_tokens = r->blocks.block_tokens;
    out->blocks = r->n_blocks;
    out->distinct = r->seen.n;
    out->once = r->once;
    out->seen_rate = (double)r->n_seen / (double)r->n_blocks;
    out->hit_rate_tokens = (double)r->hit_tokens / (double)out->input.total;
}

/* ---- tenants ---- */

struct tenants {
    uint64_t *requests; /* by id */
    size_t n, cap;
};

static void tenants_add(struct tenants *t, uint32_t id)
{
    if (id == NAMES_NONE)
        return;
    if (id >= t->n) {
        t->requests = mem_reserve(t->requests, &t->cap, (size_t)id + 1, sizeof(*t->requests));
        memset(t->requests + t->n, 0, ((size_t)id + 1 - t->n) * sizeof(*t->requests));
        t->n = (size_t)id + 1;
    }
    t->requests[id]++;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* Share of the first n of the sorted counts. */
static double top(const struct tenants *t, size_t n, double total)
{
    double sum = 0;
    for (size_t i = 0; i < MIN(n, t->n); i++)
        sum += (double)t->requests[i];
    return sum / total;
}

static void tenants_report(struct tenants *t, struct trace_stats *out)
{
    if (t->n > 0)
        qsort(t->requests, t->n, sizeof(*t->requests), descending);
    while (t->n > 0 && t->requests[t->n - 1] == 0)
        t->n--;
    double n = (double)t->n, total = 0, ranked = 0;
    for (size_t i = 0; i < t->n; i++) {
        total += (double)t->requests[i];
        ranked += (n - 1 - 2 * (double)i) * (double)t->requests[i];
    }
    out->tenants = t->n;
    out->top_1 = top(t, 1, total);
    out->top_5 = top(t, 5, total);
    out->top_10 = top(t, 10, total);
    out->gini = ranked / (n * total);
}

/* ---- all of it ---- */

struct reading {
    struct arrivals arrivals;
    struct lengths input, output;
    double co_moment; /* sum of products of distances from the means */
    struct reuse reuse;
    struct tenants tenants;
};

static void add(struct reading *r, const struct trace_rec *rec, struct trace_stats *out)
{
    if (rec->failed) {
        out->failed++;
        return;
    }
    out->requests++;
    if (rec->after == TRACE_NO_PARENT)
        arrivals_add(&r->arrivals, rec->arrival_at);
    else
        out->following++;
    double from_mean = rec->prompt_tokens - r->input.moments.mean;
    lengths_add(&r->input, rec->prompt_tokens);
    lengths_add(&r->output, rec->output_tokens);
    r->co_moment += from_mean * (rec->output_tokens - r->output.moments.mean);
    reuse_add(&r->reuse, rec);
    tenants_add(&r->tenants, rec->tenant);
}

bool trace_stats_read(struct trace_source *src, struct trace_stats *out, struct err *e)
{
    struct reading r = {.arrivals = {.second.length_ns = NS_PER_S,
                                     .ten_seconds.length_ns = 10 * NS_PER_S,
                                     .minute.length_ns = 60 * NS_PER_S}};
    struct trace_rec rec;
    enum trace_status st;
    *out = (struct trace_stats){0};
    quantiles_init(&r.input.q, EXACT_LENGTHS);
    quantiles_init(&r.output.q, EXACT_LENGTHS);
    prompt_blocks_init(&r.reuse.blocks, &src->traits);
    while ((st = src->ops->next(src->self, &rec, e)) == TRACE_REC)
        add(&r, &rec, out);
    arrivals_report(&r.arrivals, out);
    out->input = lengths_report(&r.input);
    out->output = lengths_report(&r.output);
    out->correlation = r.co_moment / sqrt(r.input.moments.m2 * r.output.moments.m2);
    reuse_report(&r.reuse, out);
    tenants_report(&r.tenants, out);
    quantiles_release(&r.input.q);
    quantiles_release(&r.output.q);
    prompt_blocks_release(&r.reuse.blocks);
    mem_free(r.reuse.seen.cell);
    mem_free(r.tenants.requests);
    return st == TRACE_END;
}
