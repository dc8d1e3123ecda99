#include "experiments/validate_silicon.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "experiments/profile_defaults.h"
#include "experiments/progress.h"
#include "experiments/run_job.h"
#include "sim/nearest.h"
#include "sim/quantiles.h"

/* ---- one point ---- */

struct outcome {
    double ttft_ms, ttft_median_ms, tpot_ms; /* simulated */
    char *failure;                           /* owned; why there is none; NULL: there is */
};

struct sample {
    struct quantiles ttft_ms, tpot_ms;
};

static void add_request(void *self, const struct request_row *row)
{
    struct sample *s = self;
    if (row->status != STATUS_FINISHED)
        return;
    double ttft = (double)(row->first_token_at - row->arrived_at) / (double)NS_PER_MS;
    double rest = (double)(row->done_at - row->first_token_at) / (double)NS_PER_MS;
    quantiles_add(&s->ttft_ms, ttft, 1);
    if (row->output_tokens > 1)
        quantiles_add(&s->tpot_ms, rest / (row->output_tokens - 1), 1);
}

/* The folder of the point's system in `folder`, if it has one. */
static void profile_of(const struct silicon_point *p, const char *folder, char out[4096])
{
    struct stat st;
    int n = snprintf(out, 4096, "%s/%s", folder, p->system);
    if (n >= 4096 || stat(out, &st) != 0)
        snprintf(out, 4096, "%s", folder);
}

static bool configure(struct config *c, const struct silicon_point *p,
                      const struct silicon_query *q, const char *profiles, struct err *e)
{
    char profile[4096];
    profile_of(p, profiles, profile);
    if (!silicon_configure(p, c, e) || !run_options_set(q->run, c, e) ||
        !config_set(c, "profile", profile, e) || !profile_defaults(c, e))
        return false;
    config_resolve(c);
    return true;
}

static bool simulate(struct sample *s, const struct silicon_point *p, const struct silicon_query *q,
                     const char *profiles, struct err *e)
{
    struct run_job job;
    struct run_options quiet = *q->run;
    quiet.quiet = true; /* there are many runs: no progress of each */
    run_job_init(&job);
    job.on_request = add_request;
    job.on_request_self = s;
    bool ok = configure(&job.config, p, q, profiles, e) && run_job_compose(&job, NULL, e) &&
              run_job_run(&job, q->run->db, &quiet, e);
    run_job_release(&job);
    return ok && (s->tpot_ms.n > 0 || err_set(e, "no request of two tokens or more finished"));
}

static struct outcome outcome_of(const struct silicon_point *p, const struct silicon_query *q,
                                 const char *profiles)
{
    struct outcome o = {.failure = NULL};
    struct sample s;
    struct err e = {.set = false};
    quantiles_init(&s.ttft_ms, UINT64_MAX);
    quantiles_init(&s.tpot_ms, UINT64_MAX);
    if (p->skipped)
        err_set(&e, "%s", p->skipped);
    else if (simulate(&s, p, q, profiles, &e))
        o = (struct outcome){.ttft_ms = quantiles_mean(&s.ttft_ms),
                             .ttft_median_ms = quantiles_at(&s.ttft_ms, 50),
                             .tpot_ms = quantiles_mean(&s.tpot_ms)};
    if (e.set)
        o.failure = mem_strdup(e.text);
    quantiles_release(&s.ttft_ms);
    quantiles_release(&s.tpot_ms);
    return o;
}

/* ---- groups ---- */

enum score { TPOT_MAPE, TPOT_BIAS, TTFT_MAPE, TTFT_BIAS, TTFT_MEDIAN_MAPE, N_SCORES };
static const char *const score_names[N_SCORES] = {
    [TPOT_MAPE] = "tpot_mape",
    [TPOT_BIAS] = "tpot_bias",
    [TTFT_MAPE] = "ttft_mape",
    [TTFT_BIAS] = "ttft_bias",
    [TTFT_MEDIAN_MAPE] = "ttft_median_mape",
};

struct group {
    size_t first, end, simulated; /* its points */
    double score[N_SCORES];       /* percent; NaN: of no point */
};

struct totals {
    double abs, sum;
    uint64_t n;
};

static void add_error(struct totals *t, double measured, double simulated)
{
    double percent = 100 * (simulated / measured - 1);
    if (isnan(percent))
        return;
    t->abs += fabs(percent);
    t->sum += percent;
    t->n++;
}

static double share_of(double sum, uint64_t n)
{
    return n > 0 ? sum / (double)n : (double)NAN;
}

static struct group judge_group(const struct silicon *s, const struct outcome *o, size_t first)
{
    struct group g = {.first = first, .end = first};
    struct totals tpot = {.n = 0}, ttft = {.n = 0}, median = {.n = 0};
    for (; g.end < s->n && strcmp(s->point[g.end].group, s->point[first].group) == 0; g.end++) {
        const struct silicon_point *p = &s->point[g.end];
        if (o[g.end].failure)
            continue;
        g.simulated++;
        add_error(&tpot, p->tpot_ms, o[g.end].tpot_ms);
        add_error(&ttft, p->ttft_ms, o[g.end].ttft_ms);
        add_error(&median, p->ttft_ms, o[g.end].ttft_median_ms);
    }
    g.score[TPOT_MAPE] = share_of(tpot.abs, tpot.n);
    g.score[TPOT_BIAS] = share_of(tpot.sum, tpot.n);
    g.score[TTFT_MAPE] = share_of(ttft.abs, ttft.n);
    g.score[TTFT_BIAS] = share_of(ttft.sum, ttft.n);
    g.score[TTFT_MEDIAN_MAPE] = share_of(median.abs, median.n);
    return g;
}

struct verdict {
    const struct silicon_query *q;
    struct silicon points;
    struct outcome *outcome; /* one a point */
    struct group *group;
    size_t n_groups, simulated;
};

static bool passed(const struct silicon_query *q)
{
    for (size_t i = 0; i < q->n_bounds; i++)
        if (!q->bound[i].met)
            return false;
    return true;
}

/* A bound holds for every group. */
static bool judge_bounds(const struct verdict *v, struct err *e)
{
    for (size_t i = 0; i < v->q->n_bounds; i++) {
        struct bound *b = &v->q->bound[i];
        size_t k = 0;
        while (k < N_SCORES && strcmp(score_names[k], b->metric) != 0)
            k++;
        if (k == N_SCORES)
            return err_set(e, "--bound %s: closed-loop points have none; the nearest is %s",
                           b->metric, nearest_word(b->metric, score_names, N_SCORES));
        b->error_percent = (double)NAN;
        for (size_t g = 0; g < v->n_groups; g++)
            if (!(fabs(v->group[g].score[k]) <= fabs(b->error_percent)) &&
                !isnan(v->group[g].score[k]))
                b->error_percent = v->group[g].score[k];
        if (isnan(b->error_percent))
            return err_set(e, "--bound %s: no point that was simulated says it", b->metric);
        b->met = fabs(b->error_percent) <= b->percent;
    }
    return true;
}

/* ---- for people ---- */

static void print_score(double percent, bool sign, FILE *out)
{
    if (isnan(percent))
        fprintf(out, " %9s", "-");
    else
        fprintf(out, sign ? " %+9.1f" : " %9.1f", percent);
}

static void print_group(const struct verdict *v, const struct group *g, FILE *out)
{
    if (g->simulated == 0)
        return;
    fprintf(out, "%-66s %4zu/%-4zu", v->points.point[g->first].group, g->simulated,
            g->end - g->first);
    for (size_t k = 0; k < N_SCORES; k++)
        print_score(g->score[k], k == TPOT_BIAS || k == TTFT_BIAS, out);
    fputc('\n', out);
}

/* Points of the group that failed for the same reason, said once. */
static void print_failures(const struct verdict *v, const struct group *g, FILE *out)
{
    for (size_t i = g->first; i < g->end; i++) {
        size_t same = 0, before = 0;
        for (size_t k = g->first; v->outcome[i].failure && k < g->end; k++)
            if (v->outcome[k].failure &&
                strcmp(v->outcome[k].failure, v->outcome[i].failure) == 0) {
                same++;
                before += k < i;
            }
        if (same > 0 && before == 0)
            fprintf(out, "  %zu of %s: %s\n", same, v->points.point[i].group,
                    v->outcome[i].failure);
    }
}

static void print_verdict(const struct verdict *v, FILE *out)
{
    fprintf(out, "%s: %zu points, of which %zu simulated; error of the simulation in %%\n",
            v->q->path, v->points.n, v->simulated);
    fprintf(out, "%-66s %9s %19s %19s %9s\n%66s %9s %9s %9s %9s %9s %9s\n", "group", "points",
            "TPOT", "TTFT, mean", "median", "", "", "|error|", "bias", "|error|", "bias",
            "|error|");
    for (size_t g = 0; g < v->n_groups; g++)
        print_group(v, &v->group[g], out);
    if (v->simulated < v->points.n)
        fputs("\nnot simulated\n", out);
    for (size_t g = 0; g < v->n_groups; g++)
        print_failures(v, &v->group[g], out);
    fputc('\n', out);
    for (size_t i = 0; i < v->q->n_bounds; i++) {
        const struct bound *b = &v->q->bound[i];
        fprintf(out, "  bound    %s within %g %% in every group: %s (%+.2f %%)\n", b->metric,
                b->percent, b->met ? "met" : "MISSED", b->error_percent);
    }
    fputs("  nothing is fitted to any point; how they were measured:\n", out);
    for (size_t i = 0; silicon_harness_doc(i); i++)
        fprintf(out, "  %s\n", silicon_harness_doc(i));
}

/* ---- JSON ---- */

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *group_json(const struct verdict *v, const struct group *g)
{
    json_t *o = json_pack("{s:s, s:I, s:I}", "group", v->points.point[g->first].group, "points",
                          (json_int_t)(g->end - g->first), "simulated", (json_int_t)g->simulated);
    for (size_t k = 0; k < N_SCORES; k++)
        json_object_set_new(o, score_names[k], number(g->score[k]));
    return o;
}

static json_t *point_json(const struct silicon_point *p, const struct outcome *o)
{
    if (o->failure)
        return json_pack("{s:s, s:I, s:s}", "group", p->group, "line", (json_int_t)p->line,
                         "not_simulated", o->failure);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "group",
                     p->group, "line", (json_int_t)p->line, "isl", (json_int_t)p->isl, "osl",
                     (json_int_t)p->osl, "concurrency", (json_int_t)p->concurrency,
                     "tensor_parallel_size", (json_int_t)p->tp, "requests",
                     (json_int_t)silicon_requests(p), "measured_tpot_ms", number(p->tpot_ms),
                     "simulated_tpot_ms", number(o->tpot_ms), "measured_ttft_ms",
                     number(p->ttft_ms), "simulated_ttft_ms", number(o->ttft_ms),
                     "simulated_ttft_ms_p50", number(o->ttft_median_ms));
}

static json_t *bound_json(const struct bound *b)
{
    return json_pack("{s:s, s:f, s:o, s:b}", "metric", b->metric, "percent", b->percent,
                     "error_percent", number(b->error_percent), "met", b->met);
}

static bool print_json(const struct verdict *v, FILE *out, struct err *e)
{
    json_t *groups = json_array(), *points = json_array(), *bounds = json_array();
    for (size_t g = 0; g < v->n_groups; g++)
        json_array_append_new(groups, group_json(v, &v->group[g]));
    for (size_t i = 0; i < v->points.n; i++)
        json_array_append_new(points, point_json(&v->points.point[i], &v->outcome[i]));
    for (size_t i = 0; i < v->q->n_bounds; i++)
        json_array_append_new(bounds, bound_json(&v->q->bound[i]));
    json_t *all = json_pack("{s:s, s:o, s:o, s:o, s:b}", "measured", v->q->path, "groups", groups,
                            "points", points, "bounds", bounds, "passed", passed(v->q));
    if (!all)
        return err_set(e, "validate: not printed: a name is not valid UTF-8; leave --json out");
    json_dumpf(all, out, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    fputc('\n', out);
    json_decref(all);
    return true;
}

/* ---- the work ---- */

/* What the options say for all points: where the profiles are, and nothing that is the points'. */
static bool check_options(const struct silicon_query *q, char profiles[4096], struct err *e)
{
    static const char *const own[] = {"trace", "concurrency", "model", "gpu"};
    struct config c;
    const char *slash = strrchr(q->path, '/');
    config_init(&c);
    bool ok = run_options_set(q->run, &c, e);
    for (size_t i = 0; ok && i < ARRAY_LEN(own); i++)
        ok = !config_is_set(&c, own[i]) ||
             err_set(e, "validate: %s: every point has its own; leave it out", own[i]);
    const char *given = ok ? json_string_value(json_object_get(c.flat, "profile")) : NULL;
    if (given)
        snprintf(profiles, 4096, "%.4095s", given);
    else
        snprintf(profiles, 4096, "%.*s", slash ? (int)MIN(slash - q->path, 4095) : 1,
                 slash ? q->path : ".");
    config_release(&c);
    return ok;
}

static bool simulate_all(struct verdict *v, const char *profiles, struct err *e)
{
    const char *failure = NULL;
    struct progress progress;
    progress_begin(&progress);
    v->outcome = mem_alloc(v->points.n * sizeof *v->outcome);
    v->group = mem_alloc(v->points.n * sizeof *v->group);
    for (size_t i = 0; i < v->points.n; i++) {
        v->outcome[i] = outcome_of(&v->points.point[i], v->q, profiles);
        v->simulated += !v->outcome[i].failure;
        if (v->outcome[i].failure && (!failure || !v->points.point[i].skipped))
            failure = v->outcome[i].failure;
        if (!v->q->run->quiet)
            progress_show_work(&progress, "points", i + 1, 0, v->points.n);
    }
    progress_end(&progress);
    for (size_t i = 0; i < v->points.n; i = v->group[v->n_groups++].end)
        v->group[v->n_groups] = judge_group(&v->points, v->outcome, i);
    return v->simulated > 0 ||
           err_set(e, "%s: none of %zu points could be simulated, the last for: %s", v->q->path,
                   v->points.n, failure);
}

static void release(struct verdict *v)
{
    for (size_t i = 0; v->outcome && i < v->points.n; i++)
        mem_free(v->outcome[i].failure);
    mem_free(v->outcome);
    mem_free(v->group);
    silicon_release(&v->points);
}

int validate_silicon(const struct silicon_query *q, FILE *out, struct err *e)
{
    struct verdict v = {.q = q};
    char profiles[4096];
    bool ok = check_options(q, profiles, e) &&
              silicon_read(&v.points, q->path, q->where, q->n_where, e) &&
              simulate_all(&v, profiles, e) && judge_bounds(&v, e);
    if (ok && q->run->json)
        ok = print_json(&v, out, e);
    else if (ok && !q->run->quiet)
        print_verdict(&v, out);
    release(&v);
    if (!ok)
        return 2;
    return passed(q) ? 0 : 1;
}
