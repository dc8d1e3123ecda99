#include "experiments/validate_compare.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/nearest.h"
#include "sim/quantiles.h"

/* ---- pairs ---- */

static bool agrees(struct pairs *p, const struct measured_request *q, const char *what,
                   uint32_t measured, uint32_t simulated)
{
    return measured == 0 || measured == simulated ||
           err_set(p->e,
                   "validate: request %" PRIu64 " had %u %s tokens, in the trace it has %u; give "
                   "the trace that was measured",
                   q->seq, measured, what, simulated);
}

void pairs_add(void *self, const struct request_row *row)
{
    struct pairs *p = self;
    const struct measured_request *q = measured_find(p->m, row->seq);
    if (!q) {
        p->unmeasured++;
        return;
    }
    p->seen++;
    bool finished = row->status == STATUS_FINISHED;
    if (!agrees(p, q, "prompt", q->prompt_tokens, row->prompt_tokens) ||
        (finished && q->finished && !agrees(p, q, "output", q->output_tokens, row->output_tokens)))
        return;
    if (row->arrived_at < p->warmup_ns)
        return;
    p->pair = mem_reserve(p->pair, &p->cap, p->n + 1, sizeof *p->pair);
    p->pair[p->n++] = (struct pair){q,
                                    row->arrived_at,
                                    row->first_token_at,
                                    row->done_at,
                                    row->prompt_tokens,
                                    row->output_tokens,
                                    finished};
}

static int by_arrival(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    if (x->arrived_at != y->arrived_at)
        return x->arrived_at < y->arrived_at ? -1 : 1;
    return x->measured->seq < y->measured->seq ? -1 : 1;
}

bool pairs_end(struct pairs *p, struct err *e)
{
    if (p->e->set)
        return false;
    if (p->seen < p->m->n)
        return err_set(e,
                       "validate: %zu requests were measured, and only %" PRIu64
                       " of them are in the trace; give the trace that was measured",
                       p->m->n, p->seen);
    qsort(p->pair, p->n, sizeof *p->pair, by_arrival);
    return true;
}

void pairs_release(struct pairs *p)
{
    mem_free(p->pair);
    *p = (struct pairs){.n = 0};
}

/* ---- figures ---- */

static double error_percent(double measured, double simulated)
{
    if (measured == simulated)
        return 0;
    return measured == 0 ? copysign((double)INFINITY, simulated)
                         : 100 * (simulated - measured) / measured;
}

static struct figure figure(const char *metric, const char *point, double measured,
                            double simulated)
{
    struct figure f = {.measured = measured,
                       .simulated = simulated,
                       .error_percent = error_percent(measured, simulated)};
    snprintf(f.metric, sizeof f.metric, "%s%s", metric, point);
    return f;
}

/* What the client of a measured request saw; NaN: it does not say. */
static double measured_ms(const struct pair *p, enum latency l)
{
    const struct measured_request *q = p->measured;
    uint32_t n = q->output_tokens ? q->output_tokens : p->output_tokens;
    if (!q->finished || (l == LATENCY_TPOT && n < 2))
        return (double)NAN;
    if (l == LATENCY_TPOT && isnan(q->ms[l]))
        return (q->ms[LATENCY_E2E] - q->ms[LATENCY_TTFT]) / (n - 1);
    return q->ms[l];
}

static double simulated_ms(const struct pair *p, enum latency l)
{
    if (!p->finished || (l == LATENCY_TPOT && p->output_tokens < 2))
        return (double)NAN;
    ns_t ttft = p->first_token_at - p->arrived_at, e2e = p->done_at - p->arrived_at;
    double ms = (double)(l == LATENCY_TTFT ? ttft : e2e) / (double)NS_PER_MS;
    return l == LATENCY_TPOT ? (double)(e2e - ttft) / (double)NS_PER_MS / (p->output_tokens - 1)
                             : ms;
}

static void add_sample(struct quantiles *q, double ms)
{
    if (!isnan(ms))
        quantiles_add(q, MAX(ms, 0), 1); /* a clock's jitter can make a length negative */
}

static void compare_latency(struct comparison *c, const struct pairs *p, size_t first,
                            enum latency l)
{
    static const char *const names[] = {"ttft_ms_", "tpot_ms_", "e2el_ms_"};
    static const struct {
        const char *name;
        double percent;
    } points[] = {{"p50", 50}, {"p90", 90}, {"p95", 95}, {"p99", 99}};
    struct quantiles m, s;
    quantiles_init(&m, UINT64_MAX);
    quantiles_init(&s, UINT64_MAX);
    for (size_t i = first; i < p->n; i++) {
        add_sample(&m, measured_ms(&p->pair[i], l));
        add_sample(&s, simulated_ms(&p->pair[i], l));
    }
    if (m.n > 0 && s.n > 0) {
        c->cell[c->n_cells++] = figure(names[l], "mean", quantiles_mean(&m), quantiles_mean(&s));
        for (size_t i = 0; i < ARRAY_LEN(points); i++)
            c->cell[c->n_cells++] =
                figure(names[l], points[i].name, quantiles_at(&m, points[i].percent),
                       quantiles_at(&s, points[i].percent));
    }
    quantiles_release(&m);
    quantiles_release(&s);
}

struct totals {
    double requests, output, prompt; /* of finished requests */
    double first_ms, last_ms;        /* arrival, finish */
};

static void add_totals(struct totals *t, double arrived_ms, double e2e_ms, const struct pair *p)
{
    t->first_ms = MIN(t->first_ms, arrived_ms);
    if (isnan(e2e_ms))
        return;
    t->last_ms = MAX(t->last_ms, arrived_ms + e2e_ms);
    t->requests++;
    t->output += p->output_tokens;
    t->prompt += p->prompt_tokens;
}

/* From the first arrival to the last finish, of both. */
static void compare_rates(struct comparison *c, const struct pairs *p, size_t first)
{
    struct totals m = {.first_ms = (double)INFINITY}, s = {.first_ms = (double)INFINITY};
    for (size_t i = first; i < p->n; i++) {
        const struct pair *q = &p->pair[i];
        double at_ms = (double)q->arrived_at / (double)NS_PER_MS;
        ns_t measured_at = q->measured->arrived_at;
        double measured_at_ms = measured_at < 0 ? at_ms : (double)measured_at / (double)NS_PER_MS;
        add_totals(&m, measured_at_ms, measured_ms(q, LATENCY_E2E), q);
        add_totals(&s, at_ms, simulated_ms(q, LATENCY_E2E), q);
    }
    double m_s = (m.last_ms - m.first_ms) / 1e3, s_s = (s.last_ms - s.first_ms) / 1e3;
    if (!(m_s > 0 && s_s > 0) || m.requests == 0 || s.requests == 0)
        return;
    c->rate[0] = figure("request_throughput_rps", "", m.requests / m_s, s.requests / s_s);
    c->rate[1] = figure("output_throughput_tps", "", m.output / m_s, s.output / s_s);
    c->rate[2] = figure("total_throughput_tps", "", (m.prompt + m.output) / m_s,
                        (s.prompt + s.output) / s_s);
    c->n_rates = 3;
}

void comparison_make(struct comparison *c, const struct pairs *p, bool skip_first)
{
    size_t first = skip_first ? MIN(p->n, 1) : 0;
    double sum = 0;
    *c = (struct comparison){.requests = p->n - first};
    for (size_t i = first; i < p->n; i++) {
        c->measured_finished += p->pair[i].measured->finished;
        c->simulated_finished += p->pair[i].finished;
    }
    for (enum latency l = 0; l < N_LATENCIES; l++)
        compare_latency(c, p, first, l);
    compare_rates(c, p, first);
    for (size_t i = 0; i < c->n_cells; i++) {
        double error = fabs(c->cell[i].error_percent);
        sum += error;
        if (!c->worst || error > fabs(c->worst->error_percent))
            c->worst = &c->cell[i];
    }
    c->mean_abs_percent = c->n_cells ? sum / (double)c->n_cells : (double)NAN;
}

struct figure *summary_figures(json_t *measured, const json_t *simulated, size_t *n)
{
    struct figure *out = mem_alloc((json_object_size(measured) + 1) * sizeof *out);
    const char *metric;
    json_t *value;
    *n = 0;
    json_object_foreach(measured, metric, value)
    {
        const json_t *other = json_object_get(simulated, metric);
        if (json_is_number(value) && json_is_number(other))
            out[(*n)++] = figure(metric, "", json_number_value(value), json_number_value(other));
    }
    return out;
}

/* ---- bounds ---- */

static const struct figure *find(const struct figure *f, size_t n, const char *metric)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(f[i].metric, metric) == 0)
            return &f[i];
    return NULL;
}

static bool no_figure(const char *metric, const struct comparison *c, struct err *e)
{
    const char *names[FIGURE_CELLS_MAX + ARRAY_LEN(c->rate) + 2] = {"all", "mean_abs"};
    size_t n = 2;
    for (size_t i = 0; i < c->n_cells; i++)
        names[n++] = c->cell[i].metric;
    for (size_t i = 0; i < c->n_rates; i++)
        names[n++] = c->rate[i].metric;
    return err_set(e, "--bound %s: that was not measured; the nearest that was is %s", metric,
                   nearest_word(metric, names, n));
}

bool bounds_judge(struct bound *b, size_t n, const struct comparison *c,
                  const struct figure *summary, size_t n_summary, struct err *e)
{
    for (size_t i = 0; i < n; i++, b++) {
        const struct figure *f = find(c->cell, c->n_cells, b->metric);
        if (!f)
            f = find(c->rate, c->n_rates, b->metric);
        if (!f)
            f = find(summary, n_summary, b->metric);
        if (f)
            b->error_percent = f->error_percent;
        else if (strcmp(b->metric, "mean_abs") == 0 && c->n_cells)
            b->error_percent = c->mean_abs_percent;
        else if (strcmp(b->metric, "all") == 0 && c->n_cells)
            b->error_percent = c->worst->error_percent;
        else
            return no_figure(b->metric, c, e);
        b->met = fabs(b->error_percent) <= b->percent;
    }
    return true;
}
