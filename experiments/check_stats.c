/* check_stats.c: see check_stats.h. */
#include "experiments/check_stats.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

#include "sim/rng.h"

/* ---- one sample ---- */

struct moments {
    size_t n; /* values that are there */
    double mean, variance;
};

/* Relative to the first value, so that equal ones have no variance at all. */
static struct moments moments(const double *value, size_t n)
{
    struct moments m = {.mean = (double)NAN, .variance = (double)NAN};
    double first = (double)NAN, sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(value[i])) {
            first = isnan(first) ? value[i] : first;
            sum += value[i] - first;
            m.n++;
        }
    if (m.n > 0)
        m.mean = first + sum / (double)m.n;
    for (size_t i = 0; i < n; i++)
        if (!isnan(value[i]))
            squares += (value[i] - m.mean) * (value[i] - m.mean);
    if (m.n > 1)
        m.variance = squares / (double)(m.n - 1);
    return m;
}

/* ---- a figure ---- */

/* A figure and its deviations, which are resampled. */
struct deviations {
    struct stats_figure *f;
    double *loss; /* a row a seed; unpaired: those of the baseline, then those of the candidate */
    double freedom;
};

/* b - a, without what the last digits of equal numbers differ by. */
static double difference(double a, double b)
{
    return fabs(b - a) <= 1e-12 * fmax(fabs(a), fabs(b)) ? 0 : b - a;
}

static void copy_losses(const struct deviations *v, const struct stats_design *d)
{
    const struct stats_figure *f = v->f;
    double sign = f->higher ? -1 : 1;
    if (d->paired) {
        for (size_t i = 0; i < d->n_base; i++)
            v->loss[i] = sign * difference(f->base[i], f->cand[i]);
        return;
    }
    for (size_t i = 0; i < d->n_base; i++)
        v->loss[i] = sign * f->base[i];
    for (size_t i = 0; i < d->n_cand; i++)
        v->loss[d->n_base + i] = sign * f->cand[i];
}

/* Deviations from the mean; as large as those of the population they stand for. */
static void centre(double *value, size_t n, const struct moments *m)
{
    double scale = m->n > 1 ? sqrt((double)m->n / (double)(m->n - 1)) : 1;
    for (size_t i = 0; i < n; i++)
        value[i] = scale * (value[i] - m->mean);
}

static void measure_paired(struct deviations *v, const struct stats_design *d)
{
    struct stats_figure *f = v->f;
    double base = 0, cand = 0;
    struct moments m = moments(v->loss, d->n_base);
    for (size_t i = 0; i < d->n_base; i++) {
        if (isnan(v->loss[i]))
            continue;
        base += f->base[i];
        cand += f->cand[i];
        f->n_worse += v->loss[i] > 0;
        f->n_better += v->loss[i] < 0;
    }
    f->base_mean = base / (double)m.n;
    f->cand_mean = cand / (double)m.n;
    f->loss = m.mean;
    f->se = sqrt(m.variance / (double)m.n);
    v->freedom = (double)m.n - 1;
    centre(v->loss, d->n_base, &m);
}

/* Welch: the sides may vary differently. */
static void measure_unpaired(struct deviations *v, const struct stats_design *d)
{
    struct stats_figure *f = v->f;
    struct moments b = moments(v->loss, d->n_base);
    struct moments c = moments(v->loss + d->n_base, d->n_cand);
    double sign = f->higher ? -1 : 1;
    double vb = b.variance / (double)b.n, vc = c.variance / (double)c.n;
    f->base_mean = sign * b.mean;
    f->cand_mean = sign * c.mean;
    f->loss = difference(b.mean, c.mean);
    f->se = sqrt(vb + vc);
    v->freedom =
        (vb + vc) * (vb + vc) / (vb * vb / ((double)b.n - 1) + vc * vc / ((double)c.n - 1));
    centre(v->loss, d->n_base, &b);
    centre(v->loss + d->n_base, d->n_cand, &c);
}

/* ---- resampling ---- */

/* The loss of a resample in its own standard errors; 0 where nothing varies. */
static double studentised(double loss, double variance)
{
    if (loss == 0)
        return 0;
    return variance > 0 ? loss / sqrt(variance) : (loss > 0 ? HUGE_VAL : -HUGE_VAL);
}

/* Of the n values at these rows. They are deviations, so that their squares may just be added. */
static struct moments moments_at(const double *value, const size_t *row, size_t n)
{
    struct moments m = {.variance = (double)NAN};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        double x = value[row[i]];
        if (isnan(x))
            continue;
        sum += x;
        squares += x * x;
        m.n++;
    }
    m.mean = sum / (double)m.n;
    if (m.n > 1)
        m.variance = fmax(0, squares - sum * m.mean) / (double)(m.n - 1);
    return m;
}

/* NaN: too few values were drawn to say anything. */
static double resampled(const struct deviations *v, const struct stats_design *d, const size_t *row)
{
    struct moments b = moments_at(v->loss, row, d->n_base);
    if (d->paired)
        return b.n < 2 ? (double)NAN : studentised(b.mean, b.variance / (double)b.n);
    struct moments c = moments_at(v->loss, row + d->n_base, d->n_cand);
    if (b.n < 2 || c.n < 2)
        return (double)NAN;
    return studentised(c.mean - b.mean, b.variance / (double)b.n + c.variance / (double)c.n);
}

/* The largest loss and the largest gain of a family, a resample an element. */
struct extremes {
    double *loss, *gain;
};

/* What says nothing is as bad as can be, either way. */
static void note(struct extremes *x, size_t i, double t)
{
    x->loss[i] = fmax(x->loss[i], isnan(t) ? HUGE_VAL : t);
    x->gain[i] = fmax(x->gain[i], isnan(t) ? HUGE_VAL : -t);
}

/* x[0]: the gate's; x[1]: the others'. */
static void resample(const struct deviations *v, size_t n, const struct stats_design *d,
                     struct extremes x[2])
{
    size_t rows = d->n_base + (d->paired ? 0 : d->n_cand);
    size_t *row = mem_alloc(rows * sizeof *row);
    struct rng rng;
    rng_init(&rng, 1, "check");
    for (size_t i = 0; i < STATS_RESAMPLES; i++) {
        for (size_t k = 0; k < rows; k++)
            row[k] = rng_below(&rng, rows);
        for (size_t k = 0; k < n; k++)
            if (v[k].f->se > 0) /* what does not vary is judged as it stands */
                note(&x[!v[k].f->gate], i, resampled(&v[k], d, row));
    }
    mem_free(row);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The value that a share alpha of them exceeds. */
static double critical(double *value, double alpha)
{
    qsort(value, STATS_RESAMPLES, sizeof *value, by_value);
    size_t above = (size_t)(alpha * STATS_RESAMPLES);
    return value[STATS_RESAMPLES - 1 - above];
}

/* ---- intervals ---- */

static void bound(struct stats_figure *f, double freedom, double loss_t, double gain_t)
{
    if (f->se == 0) {
        f->low = f->high = f->at_most = f->loss;
        f->found80 = f->found95 = 0;
        return;
    }
    f->low = f->loss - loss_t * f->se;
    f->high = f->loss + gain_t * f->se;
    bool told = f->se > 0 && freedom > 0;
    f->at_most = told ? f->loss + gsl_cdf_tdist_Pinv(0.95, freedom) * f->se : (double)NAN;
    f->found80 = told ? (loss_t + gsl_cdf_tdist_Pinv(0.80, freedom)) * f->se : (double)NAN;
    f->found95 = told ? (loss_t + gsl_cdf_tdist_Pinv(0.95, freedom)) * f->se : (double)NAN;
}

static void init_extremes(struct extremes *x)
{
    x->loss = mem_alloc(STATS_RESAMPLES * sizeof *x->loss);
    x->gain = mem_alloc(STATS_RESAMPLES * sizeof *x->gain);
    for (size_t i = 0; i < STATS_RESAMPLES; i++)
        x->loss[i] = x->gain[i] = -HUGE_VAL;
}

void stats_compare(struct stats_figure *f, size_t n, const struct stats_design *d)
{
    static const double alpha[2] = {STATS_ALPHA_GATE, STATS_ALPHA_OTHERS};
    size_t rows = d->n_base + (d->paired ? 0 : d->n_cand);
    struct deviations *v = mem_alloc(n * sizeof *v);
    double *loss = mem_alloc(n * rows * sizeof *loss);
    struct extremes x[2];
    double loss_t[2], gain_t[2];
    for (size_t i = 0; i < n; i++) {
        f[i].n_worse = f[i].n_better = 0;
        v[i] = (struct deviations){.f = &f[i], .loss = loss + i * rows};
        copy_losses(&v[i], d);
        (d->paired ? measure_paired : measure_unpaired)(&v[i], d);
    }
    for (size_t k = 0; k < 2; k++)
        init_extremes(&x[k]);
    resample(v, n, d, x);
    for (size_t k = 0; k < 2; k++) {
        loss_t[k] = critical(x[k].loss, alpha[k]);
        gain_t[k] = critical(x[k].gain, alpha[k]);
        mem_free(x[k].loss);
        mem_free(x[k].gain);
    }
    for (size_t i = 0; i < n; i++)
        bound(&f[i], v[i].freedom, loss_t[!f[i].gate], gain_t[!f[i].gate]);
    mem_free(loss);
    mem_free(v);
}
