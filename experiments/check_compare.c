/* check_compare.c: see check_compare.h. */
#include "experiments/check_compare.h"

#include <math.h>
#include <string.h>

/* Fewer seeds than this a side say nothing about how much seeds differ. */
enum { MIN_UNPAIRED = 4 };

const char *check_verdict_name(enum check_verdict v)
{
    static const char *const name[] = {
        [CHECK_PASS] = "pass",
        [CHECK_IMPROVEMENT] = "improvement",
        [CHECK_INCONCLUSIVE] = "inconclusive",
        [CHECK_REGRESSION] = "regression",
    };
    return name[v];
}

/* ---- may they be compared? ---- */

struct names {
    const char *baseline, *candidate; /* files */
    struct err *e;
};

static bool is_measured(const struct check_figures *f)
{
    for (size_t i = 0; i < f->n_points; i++)
        if (f->point[i].measured)
            return true;
    return false;
}

static bool check_points(const struct check_figures *base, const struct check_figures *cand,
                         const struct names *n)
{
    for (size_t i = 0; i < base->n_points; i++)
        if (!check_figures_find(cand, base->point[i].config_hash))
            return err_set(n->e,
                           "%s: no longer applies: %s has no run of point \"%s\" with config_hash "
                           "%.12s; if the configuration or trace was changed on purpose, write "
                           "the baseline again with --update",
                           n->baseline, n->candidate, base->point[i].label,
                           base->point[i].config_hash);
    return true;
}

static bool compare_seeds(struct check *c, const struct names *n)
{
    const struct check_figures *base = c->base, *cand = c->cand;
    size_t shared = 0, at;
    for (size_t i = 0; i < cand->n_seeds; i++)
        shared += check_figures_seed(base, cand->seed[i], &at);
    c->design = (struct stats_design){.n_base = base->n_seeds, .n_cand = cand->n_seeds};
    c->design.paired = shared == base->n_seeds && shared == cand->n_seeds;
    if (shared > 0 && !c->design.paired)
        return err_set(n->e,
                       "%s: %zu of its %zu seeds are among the %zu of the baseline %s; give it "
                       "the same seeds, or none of them",
                       n->candidate, shared, cand->n_seeds, base->n_seeds, n->baseline);
    if (!c->design.paired && MIN(base->n_seeds, cand->n_seeds) < MIN_UNPAIRED)
        return err_set(n->e,
                       "%s: %zu seeds against %zu others of the baseline %s; give either at least "
                       "%d, or the candidate the seeds of the baseline",
                       n->candidate, cand->n_seeds, base->n_seeds, n->baseline, MIN_UNPAIRED);
    c->exact = c->design.paired && !is_measured(cand);
    return true;
}

/* ---- verdicts ---- */

static size_t count_values(const double *value, size_t n)
{
    size_t there = 0;
    for (size_t i = 0; i < n; i++)
        there += isnan(value[i]) ? 0 : 1;
    return there;
}

/* Values that the candidate lacks and the baseline has. Of other seeds that is certain only where
 * the baseline lacks none: some metrics have no value where nothing queues. */
static size_t count_missing(const struct check *c, const struct stats_figure *f)
{
    size_t b = count_values(f->base, c->design.n_base), n = count_values(f->cand, c->design.n_cand);
    if (c->design.paired)
        return b > n ? b - n : 0;
    return b == c->design.n_base ? c->design.n_cand - n : 0;
}

static bool is_regression(const struct check *c, const struct check_row *r, double tolerance)
{
    const struct stats_figure *f = &r->figure;
    if (c->exact && f->loss > tolerance && (f->gate || f->n_better == 0))
        return true;
    return f->low > tolerance;
}

static bool is_improvement(const struct check *c, const struct check_row *r)
{
    const struct stats_figure *f = &r->figure;
    if (c->exact && f->loss < 0 && (f->gate || f->n_worse == 0))
        return true;
    return f->high < 0;
}

/* A limit of the metric in its own unit. */
static double absolute(const struct check_row *r, double limit)
{
    return r->metric->relative ? limit * fabs(r->figure.base_mean) : limit;
}

static enum check_verdict judge(const struct check *c, const struct check_row *r)
{
    const struct stats_figure *f = &r->figure;
    double tolerance = absolute(r, r->metric->tolerance), matters = absolute(r, r->metric->matters);
    if (is_regression(c, r, tolerance))
        return CHECK_REGRESSION;
    if (r->missing > 0)
        return CHECK_INCONCLUSIVE;
    if (is_improvement(c, r))
        return CHECK_IMPROVEMENT;
    /* What is not known is not ruled out, either. */
    bool ruled_out = f->at_most <= fmax(matters, tolerance);
    bool asked = !isnan(matters) || (c->exact && f->loss > tolerance);
    return asked && !ruled_out && f->loss != 0 ? CHECK_INCONCLUSIVE : CHECK_PASS;
}

static void add_rows(struct check *c)
{
    const struct check_figures *base = c->base, *cand = c->cand;
    c->row = mem_alloc(base->n_points * base->n_metrics * sizeof *c->row);
    for (size_t p = 0; p < base->n_points; p++) {
        const struct check_point *point = &base->point[p];
        const struct check_point *other = check_figures_find(cand, point->config_hash);
        for (size_t m = 0; m < base->n_metrics; m++) {
            struct check_row r = {.point = point, .metric = &base->metric[m]};
            r.figure.base = check_figures_of(base, point, m);
            r.figure.cand = check_figures_of(cand, other, m);
            r.figure.higher = r.metric->higher;
            r.figure.gate = strcmp(r.metric->name, "slo_attainment") == 0;
            r.missing = count_missing(c, &r.figure);
            if (count_values(r.figure.base, base->n_seeds) +
                    count_values(r.figure.cand, cand->n_seeds) >
                0)
                c->row[c->n++] = r;
        }
    }
}

static void compare(struct check *c)
{
    struct stats_figure *figure = mem_alloc(c->n * sizeof *figure);
    for (size_t i = 0; i < c->n; i++)
        figure[i] = c->row[i].figure;
    stats_compare(figure, c->n, &c->design);
    for (size_t i = 0; i < c->n; i++) {
        struct check_row *r = &c->row[i];
        r->figure = figure[i];
        r->figure.found80 += absolute(r, r->metric->tolerance);
        r->figure.found95 += absolute(r, r->metric->tolerance);
        r->verdict = judge(c, r);
        c->count[r->verdict]++;
        c->verdict = MAX(c->verdict, r->verdict);
    }
    mem_free(figure);
}

bool check_compare(struct check *c, const struct check_figures *base,
                   const struct check_figures *cand, const char *baseline, const char *candidate,
                   struct err *e)
{
    const struct names names = {baseline, candidate, e};
    *c = (struct check){.base = base, .cand = cand};
    if (!check_points(base, cand, &names) || !compare_seeds(c, &names))
        return false;
    add_rows(c);
    compare(c);
    return true;
}

void check_release(struct check *c)
{
    mem_free(c->row);
}
