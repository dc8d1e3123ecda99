/* metrics.c: facts to summary (contract.md section 4). What must hold:
 *
 * - The window is [from, until]. `from` is known when the first request arrives. `until` is the
 *   horizon, or without one the last finish or refusal *so far*: steps beyond it are set aside
 *   (`late`) until the next finish shows that they count.
 * - Sums of time are integers, so that they do not depend on how time was cut into pieces, nor on
 *   which replica's piece came first: a leap (sim/leap.c) hands over many steps at once.
 * - A request belongs to the population by its arrival. Counts of things that happen (tokens,
 *   admissions, preemptions, recomputed tokens, swapped bytes) belong to the window by their own
 *   time; so cache_hit_rate is over the first admissions inside the window, whenever those
 *   requests arrived. Service, Jain's index, extrapolated_share and failed_in_trace are over the
 *   whole run.
 * - NaN is what the sink is given where a population is empty. */
#include "sim/metrics.h"

#include "sim/fairness.h"
#include "sim/timeline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define RANK_NONE UINT32_MAX
/* Percentiles of a tenant need two stores. Only the first so many tenants to arrive fill them:
 * those of the others are NULL (counts, service, attainment and the mean are kept for all). A
 * tenant's store turns into a histogram after TENANT_EXACT samples whatever the run's own limit is;
 * quantiles_exact speaks of the run's distributions. */
#define TENANT_QUANTILES 1024u
#define TENANT_EXACT 16384u

enum distribution { TTFT, TPOT, ITL, E2EL, QUEUE, NORM_LATENCY, N_DISTRIBUTIONS };

static const char *const distribution_name[N_DISTRIBUTIONS] = {
    [TTFT] = "ttft_ms", [TPOT] = "tpot_ms",   [ITL] = "itl_ms",
    [E2EL] = "e2el_ms", [QUEUE] = "queue_ms", [NORM_LATENCY] = "norm_latency_ms",
};

struct tenant {
    uint32_t id;
    const struct slo_class *slo;      /* of its requests without a class; NULL: no limits */
    uint64_t requests, finished, met; /* of the population */
    double ttft_sum_ms;
    struct quantiles ttft, e2el; /* stay empty beyond TENANT_QUANTILES */
};

/* Adjacent steps of the same size: time in which a replica was busy. */
struct busy_span {
    ns_t at, end_at;
    uint32_t n_seqs;
};

/* Sums over what happened inside the window. */
struct totals {
    uint64_t output_tokens, prompt_tokens, cached_tokens;
    uint64_t preemptions, recomputed_tokens, swapped_bytes;
    uint64_t busy_ns;
    unsigned __int128 seq_ns;
};

struct metrics {
    struct metrics_config cfg;
    ns_t from;  /* NS_NEVER: nothing has arrived */
    ns_t until; /* see above */
    ns_t now;
    struct metrics_state state;

    struct totals in_window;
    /* KV units held, integrated: units * t - units_at for t after the last change. */
    uint64_t units;
    __int128 units_at; /* sum of change * its time, none before `from` */
    struct busy_span *late;
    size_t n_late, late_cap;
    uint64_t steps, extrapolated_steps; /* of the run */

    uint64_t requests[STATUS_UNFINISHED + 1]; /* of the population, by enum req_status */
    uint64_t met, met_ttft, met_tpot;
    uint64_t failed_in_trace;
    struct quantiles dist[N_DISTRIBUTIONS];

    uint32_t *rank; /* by tenant id */
    size_t n_rank, rank_cap;
    struct tenant *tenant; /* by rank: in order of first arrival; fairness.n of them */
    size_t tenant_cap;
    struct fairness fairness;
    struct fairness computed; /* the same, of prompts only what no cache held */
    struct timeline timeline;
};

struct metrics *metrics_open(const struct metrics_config *cfg)
{
    struct metrics *m = mem_alloc(sizeof(*m));

    m->cfg = *cfg;
    m->from = NS_NEVER;
    m->until = cfg->horizon_ns == NS_NEVER ? 0 : cfg->horizon_ns;
    for (int i = 0; i < N_DISTRIBUTIONS; i++)
        quantiles_init(&m->dist[i], cfg->exact_quantiles);
    fairness_init(&m->fairness, cfg->wp, cfg->wq);
    fairness_init(&m->computed, cfg->wp, cfg->wq);
    timeline_init(&m->timeline);
    timeline_add(&m->timeline, "waiting");
    timeline_add(&m->timeline, "running");
    timeline_add(&m->timeline, "kv_utilisation");
    timeline_add(&m->timeline, "batch_tokens");
    return m;
}

void metrics_close(struct metrics *m)
{
    if (!m)
        return;
    for (int i = 0; i < N_DISTRIBUTIONS; i++)
        quantiles_release(&m->dist[i]);
    for (uint32_t r = 0; r < m->fairness.n; r++) {
        quantiles_release(&m->tenant[r].ttft);
        quantiles_release(&m->tenant[r].e2el);
    }
    mem_free(m->tenant);
    mem_free(m->rank);
    mem_free(m->late);
    fairness_release(&m->fairness);
    fairness_release(&m->computed);
    timeline_release(&m->timeline);
    mem_free(m);
}

static double to_ms(ns_t ns)
{
    return (double)ns / (double)NS_PER_MS;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : (double)NAN;
}

static bool in_window(const struct metrics *m, ns_t at)
{
    return at >= m->from && at <= m->cfg.horizon_ns;
}

/* Length of what [at, end) and [from, until) share. */
static ns_t overlap(ns_t at, ns_t end_at, ns_t from, ns_t until)
{
    ns_t a = MAX(at, from), b = MIN(end_at, until);
    return b > a ? b - a : 0;
}

/* ---- tenants and their SLO classes ---- */

static const struct slo_class *slo_of_tenant(const struct metrics *m, uint32_t id)
{
    const char *name = names_text(m->cfg.tenants, id);

    for (size_t i = 0; i < m->cfg.n_slo; i++)
        for (const char *const *t = m->cfg.slo[i].tenants; t && *t; t++)
            if (strcmp(*t, "*") == 0 || strcmp(*t, name) == 0)
                return &m->cfg.slo[i];
    return NULL;
}

/* The first class named by the request's class column, else the first that lists its tenant. */
static const struct slo_class *slo_of_request(const struct metrics *m, const struct tenant *t,
                                              uint32_t slo_class)
{
    if (slo_class != NAMES_NONE) {
        const char *name = names_text(m->cfg.classes, slo_class);
        for (size_t i = 0; i < m->cfg.n_slo; i++)
            if (strcmp(m->cfg.slo[i].name, name) == 0)
                return &m->cfg.slo[i];
    }
    return t->slo;
}

static void add_tenant(struct metrics *m, uint32_t id)
{
    uint32_t rank = m->fairness.n;

    m->rank = mem_reserve(m->rank, &m->rank_cap, (size_t)id + 1, sizeof(*m->rank));
    while (m->n_rank <= id)
        m->rank[m->n_rank++] = RANK_NONE;
    m->rank[id] = rank;
    m->tenant = mem_reserve(m->tenant, &m->tenant_cap, (size_t)rank + 1, sizeof(*m->tenant));
    m->tenant[rank] = (struct tenant){.id = id, .slo = slo_of_tenant(m, id)};
    quantiles_init(&m->tenant[rank].ttft, MIN(m->cfg.exact_quantiles, TENANT_EXACT));
    quantiles_init(&m->tenant[rank].e2el, MIN(m->cfg.exact_quantiles, TENANT_EXACT));
    if (rank < FAIRNESS_PAIR_TENANTS) {
        char series[256];
        snprintf(series, sizeof(series), "service:%s", names_text(m->cfg.tenants, id));
        timeline_add(&m->timeline, series);
    }
}

static uint32_t rank_of(const struct metrics *m, uint32_t tenant)
{
    CHECK(tenant < m->n_rank && m->rank[tenant] != RANK_NONE,
          "metrics: a tenant arrives before it acts", "tenant %u has had no arrival", tenant);
    return m->rank[tenant];
}

/* ---- facts ---- */

void metrics_arrival(struct metrics *m, ns_t at, uint32_t tenant)
{
    if (m->from == NS_NEVER)
        m->from = MAX(at, m->cfg.warmup_ns);
    if (tenant >= m->n_rank || m->rank[tenant] == RANK_NONE)
        add_tenant(m, tenant);
    fairness_arrival(&m->fairness, m->rank[tenant], at);
    fairness_arrival(&m->computed, m->rank[tenant], at);
}

void metrics_failed_in_trace(struct metrics *m)
{
    m->failed_in_trace++;
}

void metrics_waiting(struct metrics *m, uint32_t tenant, int delta)
{
    fairness_waiting(&m->fairness, rank_of(m, tenant), delta);
    fairness_waiting(&m->computed, rank_of(m, tenant), delta);
}

void metrics_admit(struct metrics *m, ns_t at, uint32_t tenant, uint32_t prompt_tokens,
                   uint32_t cached_tokens)
{
    fairness_charge(&m->fairness, rank_of(m, tenant), prompt_tokens, 0);
    fairness_charge(&m->computed, rank_of(m, tenant), prompt_tokens - cached_tokens, 0);
    if (in_window(m, at)) {
        m->in_window.prompt_tokens += prompt_tokens;
        m->in_window.cached_tokens += cached_tokens;
    }
}

void metrics_tokens(struct metrics *m, ns_t at, uint32_t tenant, uint32_t out_tokens)
{
    fairness_charge(&m->fairness, rank_of(m, tenant), 0, out_tokens);
    fairness_charge(&m->computed, rank_of(m, tenant), 0, out_tokens);
    if (in_window(m, at))
        m->in_window.output_tokens += out_tokens;
}

void metrics_decide_begin(struct metrics *m)
{
    fairness_decide_begin(&m->fairness);
    fairness_decide_begin(&m->computed);
}

void metrics_decide_end(struct metrics *m)
{
    fairness_decide_end(&m->fairness);
    fairness_decide_end(&m->computed);
}

void metrics_step_end(struct metrics *m)
{
    fairness_step_end(&m->fairness);
    fairness_step_end(&m->computed);
}

void metrics_gap(struct metrics *m, ns_t arrived_at, ns_t gap_ns, uint64_t count)
{
    if (count > 0 && in_window(m, arrived_at))
        quantiles_add_ns(&m->dist[ITL], gap_ns, count);
}

void metrics_preemption(struct metrics *m, ns_t at)
{
    m->in_window.preemptions += in_window(m, at);
}

void metrics_recomputed(struct metrics *m, ns_t at, uint64_t tokens)
{
    m->in_window.recomputed_tokens += in_window(m, at) ? tokens : 0;
}

void metrics_swapped(struct metrics *m, ns_t at, uint64_t bytes)
{
    m->in_window.swapped_bytes += in_window(m, at) ? bytes : 0;
}

/* ---- integrals over time ---- */

static void count_busy(struct metrics *m, const struct busy_span *s)
{
    ns_t ns = overlap(s->at, s->end_at, m->from, m->until);

    m->in_window.busy_ns += (uint64_t)ns;
    m->in_window.seq_ns += (unsigned __int128)(uint64_t)ns * s->n_seqs;
}

void metrics_steps(struct metrics *m, ns_t at, ns_t duration_ns, uint32_t n_seqs, uint64_t n_steps,
                   uint64_t n_extrapolated)
{
    struct busy_span s = {.at = at, .end_at = ns_add(at, duration_ns), .n_seqs = n_seqs};

    m->steps += n_steps;
    m->extrapolated_steps += n_extrapolated;
    if (s.end_at <= m->until) {
        count_busy(m, &s);
        return;
    }
    struct busy_span *last = m->n_late > 0 ? &m->late[m->n_late - 1] : NULL;
    if (last && last->end_at == at && last->n_seqs == n_seqs) {
        last->end_at = s.end_at;
        return;
    }
    m->late = mem_reserve(m->late, &m->late_cap, m->n_late + 1, sizeof(*m->late));
    m->late[m->n_late++] = s;
}

/* A request left at `at`: without a horizon the window reaches that far. */
static void extend_window(struct metrics *m, ns_t at)
{
    size_t kept = 0;

    if (m->cfg.horizon_ns != NS_NEVER || at <= m->until)
        return;
    m->until = at;
    for (size_t i = 0; i < m->n_late; i++) {
        if (m->late[i].end_at <= at)
            count_busy(m, &m->late[i]);
        else
            m->late[kept++] = m->late[i];
    }
    m->n_late = kept;
}

static void sample_timeline(struct metrics *m, ns_t now)
{
    double capacity = (double)m->cfg.capacity_units;
    double value[TIMELINE_SERIES] = {
        (double)m->state.waiting,
        (double)m->state.running,
        capacity > 0 ? (double)m->state.units_used / capacity : 0,
        (double)m->state.batch_tokens,
    };

    for (uint32_t r = 0; r < m->fairness.n && r < FAIRNESS_PAIR_TENANTS; r++)
        value[4 + r] = fairness_service(&m->fairness, r);
    timeline_sample(&m->timeline, now, value);
}

void metrics_advance(struct metrics *m, ns_t now)
{
    CHECK(now >= m->now, "metrics: time never goes back", "%lld after %lld", (long long)now,
          (long long)m->now);
    if (timeline_due(&m->timeline, now))
        sample_timeline(m, now);
    m->now = now;
}

void metrics_units(struct metrics *m, ns_t at, int64_t change)
{
    m->units += (uint64_t)change;
    m->units_at += (__int128)change * MAX(at, m->from);
}

void metrics_state(struct metrics *m, const struct metrics_state *s)
{
    m->state = *s;
}

ns_t metrics_next_sample(const struct metrics *m)
{
    ns_t at;
    bool beyond = __builtin_mul_overflow(m->timeline.n_samples, m->timeline.interval_ns, &at);
    return beyond ? NS_NEVER : at; /* it would be due after the end of the clock */
}

bool metrics_counts(const struct metrics *m, ns_t arrived_at)
{
    return in_window(m, arrived_at);
}

uint32_t metrics_tenants(const struct metrics *m)
{
    return m->fairness.n;
}

bool metrics_pairs_settled(const struct metrics *m)
{
    return m->fairness.backlogged == m->fairness.waiting_mask;
}

/* ---- requests ---- */

/* Which limits a request meets. Refused and unfinished ones meet none. */
struct verdict {
    bool all, ttft, tpot;
};

static struct verdict judge(const struct request_row *r, const struct slo_class *c)
{
    bool finished = r->status == STATUS_FINISHED;
    struct verdict v = {.all = finished, .ttft = finished, .tpot = finished};

    if (!finished || !c)
        return v;
    v.ttft = r->first_token_at - r->arrived_at <= c->ttft_ns;
    if (r->output_tokens >= 2) /* span / gaps <= limit, without a product that could overflow */
        v.tpot = (ns_t)div_ceil_u64((uint64_t)(r->done_at - r->first_token_at),
                                    r->output_tokens - 1) <= c->tpot_ns;
    v.all = v.ttft && v.tpot && r->done_at - r->arrived_at <= c->e2el_ns;
    return v;
}

/* Times in disorder would be a negative length, which quantiles_add refuses. */
static void count_latencies(struct metrics *m, struct tenant *t, const struct request_row *r)
{
    double ttft = to_ms(r->first_token_at - r->arrived_at);
    double e2el = to_ms(r->done_at - r->arrived_at);

    quantiles_add_ns(&m->dist[TTFT], r->first_token_at - r->arrived_at, 1);
    quantiles_add_ns(&m->dist[E2EL], r->done_at - r->arrived_at, 1);
    quantiles_add_ns(&m->dist[QUEUE], r->admitted_at - r->arrived_at, 1);
    quantiles_add(&m->dist[NORM_LATENCY], e2el / r->output_tokens, 1);
    if (r->output_tokens >= 2)
        quantiles_add(&m->dist[TPOT],
                      to_ms(r->done_at - r->first_token_at) / (r->output_tokens - 1), 1);
    t->finished++;
    t->ttft_sum_ms += ttft;
    if (t - m->tenant < (ptrdiff_t)TENANT_QUANTILES) {
        quantiles_add_ns(&t->ttft, r->first_token_at - r->arrived_at, 1);
        quantiles_add_ns(&t->e2el, r->done_at - r->arrived_at, 1);
    }
}

void metrics_done(struct metrics *m, struct request_row *row, uint32_t tenant, uint32_t slo_class)
{
    struct tenant *t = &m->tenant[rank_of(m, tenant)];
    const struct slo_class *c = slo_of_request(m, t, slo_class);
    struct verdict v = judge(row, c);

    if (!row->slo_class && c)
        row->slo_class = c->name;
    row->met_slo = v.all;
    if (row->status != STATUS_UNFINISHED)
        extend_window(m, row->done_at >= 0 ? row->done_at : MAX(m->now, row->arrived_at));
    if (!in_window(m, row->arrived_at))
        return;
    m->requests[row->status]++;
    m->met += v.all;
    m->met_ttft += v.ttft;
    m->met_tpot += v.tpot;
    t->requests++;
    t->met += v.all;
    if (row->status == STATUS_FINISHED)
        count_latencies(m, t, row);
}

/* ---- the answer ---- */

struct report {
    const struct sink *sink;
    struct err *e;
    bool ok; /* false: the sink failed; nothing more is handed over */
};

static void put(struct report *r, const char *metric, double value)
{
    if (r->ok && r->sink->ops && r->sink->ops->summary)
        r->ok = r->sink->ops->summary(r->sink->self, metric, value, r->e);
}

static void report_distribution(struct report *r, const char *name, struct quantiles *q)
{
    static const struct {
        const char *suffix;
        double percent;
    } point[] = {{"p50", 50}, {"p90", 90}, {"p95", 95}, {"p99", 99}};
    char metric[64];

    snprintf(metric, sizeof(metric), "%s_mean", name);
    put(r, metric, quantiles_mean(q));
    for (size_t i = 0; i < ARRAY_LEN(point); i++) {
        snprintf(metric, sizeof(metric), "%s_%s", name, point[i].suffix);
        put(r, metric, quantiles_at(q, point[i].percent));
    }
    snprintf(metric, sizeof(metric), "%s_max", name);
    put(r, metric, quantiles_at(q, 100));
}

static void report_histogram(struct report *r, const char *name, const struct quantiles *q)
{
    size_t n;

    if (!r->ok || !r->sink->ops || !r->sink->ops->histogram)
        return;
    struct quantile_bucket *b = quantiles_buckets(q, &n);
    for (size_t i = 0; i < n && r->ok; i++)
        r->ok = r->sink->ops->histogram(r->sink->self, name, &b[i], r->e);
    mem_free(b);
}

static void report_latencies(struct metrics *m, struct report *r)
{
    bool exact = true;

    for (int i = 0; i < N_DISTRIBUTIONS; i++) {
        exact = exact && quantiles_exact(&m->dist[i]);
        report_distribution(r, distribution_name[i], &m->dist[i]);
        report_histogram(r, distribution_name[i], &m->dist[i]);
    }
    put(r, "quantiles_exact", exact);
}

/* Rates of requests are over the population, rates of tokens over what happened in the window. */
static void report_requests(const struct metrics *m, struct report *r, double duration_s)
{
    const struct totals *w = &m->in_window;
    double finished = (double)m->requests[STATUS_FINISHED];
    double n =
        finished + (double)m->requests[STATUS_REFUSED] + (double)m->requests[STATUS_UNFINISHED];
    double output = (double)w->output_tokens, prompt = (double)w->prompt_tokens;
    double request_s = n > 0 ? duration_s : 0;

    put(r, "duration_s", duration_s);
    put(r, "requests", n);
    put(r, "finished", finished);
    put(r, "refused", (double)m->requests[STATUS_REFUSED]);
    put(r, "unfinished", (double)m->requests[STATUS_UNFINISHED]);
    put(r, "failed_in_trace", (double)m->failed_in_trace);
    put(r, "request_throughput_rps", ratio(finished, request_s));
    put(r, "output_throughput_tps", ratio(output, duration_s));
    put(r, "total_throughput_tps", ratio(prompt + output, duration_s));
    put(r, "slo_attainment", ratio((double)m->met, n));
    put(r, "slo_attainment_ttft", ratio((double)m->met_ttft, n));
    put(r, "slo_attainment_tpot", ratio((double)m->met_tpot, n));
    put(r, "goodput_rps", ratio((double)m->met, request_s));
}

/* KV units held, integrated over the window; nothing changes after its end. */
static double unit_ns(const struct metrics *m)
{
    return m->until > m->from ? (double)((__int128)m->units * m->until - m->units_at) : 0;
}

static void report_engine(const struct metrics *m, struct report *r, double duration_ns)
{
    const struct totals *w = &m->in_window;
    double busy_ns = (double)w->busy_ns;

    put(r, "preemptions", (double)w->preemptions);
    put(r, "recomputed_tokens", (double)w->recomputed_tokens);
    put(r, "swapped_bytes", (double)w->swapped_bytes);
    put(r, "cache_hit_rate", ratio((double)w->cached_tokens, (double)w->prompt_tokens));
    put(r, "kv_utilisation_mean", ratio(unit_ns(m), (double)m->cfg.capacity_units * duration_ns));
    put(r, "batch_size_mean", ratio((double)w->seq_ns, busy_ns));
    put(r, "idle_fraction", 1 - ratio(busy_ns, m->cfg.n_replicas * duration_ns));
    put(r, "extrapolated_share", ratio((double)m->extrapolated_steps, (double)m->steps));
}

static void report_fairness(const struct metrics *m, struct report *r)
{
    bool whole_run;
    double jain = fairness_jain(&m->fairness, &whole_run);

    put(r, "service_diff_max", fairness_diff_max(&m->fairness));
    if (m->fairness.n > FAIRNESS_PAIR_TENANTS)
        put(r, "service_diff_tenants", FAIRNESS_PAIR_TENANTS);
    put(r, "service_diff_all", fairness_diff_all(&m->fairness));
    put(r, "jain_index", jain);
    put(r, "extend_diff_max", fairness_diff_max(&m->computed));
    put(r, "extend_jain_index", fairness_jain(&m->computed, &whole_run));
    put(r, "jain_window_all", whole_run);
}

static void report_tenants(struct metrics *m, struct report *r)
{
    double service = 0;

    for (uint32_t i = 0; i < m->fairness.n; i++)
        service += fairness_service(&m->fairness, i);
    for (uint32_t i = 0; i < m->fairness.n && r->ok; i++) {
        struct tenant *t = &m->tenant[i];
        struct tenant_row row = {
            .tenant = names_text(m->cfg.tenants, t->id),
            .requests = t->requests,
            .service = fairness_service(&m->fairness, i),
            .share = ratio(fairness_service(&m->fairness, i), service),
            .ttft_ms_mean = ratio(t->ttft_sum_ms, (double)t->finished),
            .ttft_ms_p99 = quantiles_at(&t->ttft, 99),
            .e2el_ms_p50 = quantiles_at(&t->e2el, 50),
            .e2el_ms_p99 = quantiles_at(&t->e2el, 99),
            .slo_attainment = ratio((double)t->met, (double)t->requests),
        };
        r->ok = r->sink->ops->tenant(r->sink->self, &row, r->e);
    }
}

bool metrics_report(struct metrics *m, const struct sink *sink, struct err *e)
{
    struct report r = {.sink = sink, .e = e, .ok = true};

    /* The window may reach beyond the last event: a horizon, or an output delay. What is late
     * counts as far as the window goes. */
    metrics_advance(m, MAX(m->now, m->until));
    for (size_t i = 0; i < m->n_late; i++)
        count_busy(m, &m->late[i]);
    m->n_late = 0;

    double duration_ns = m->until > m->from ? (double)(m->until - m->from) : 0;
    report_requests(m, &r, duration_ns / (double)NS_PER_S);
    report_latencies(m, &r);
    report_engine(m, &r, duration_ns);
    report_fairness(m, &r);
    if (sink->ops && sink->ops->tenant)
        report_tenants(m, &r);
    return r.ok && timeline_report(&m->timeline, sink, e);
}
