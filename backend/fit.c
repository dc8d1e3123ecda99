#include "backend/fit.h"

#include <gsl/gsl_blas.h>
#include <gsl/gsl_errno.h>
#include <gsl/gsl_multifit.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ITERATIONS 200

/* A column left out comes back if, at the fit without it, that much of the weighted residual (as a
 * correlation) would be explained by it. */
#define REENTRY 1e-3

/* ---- the active set ---- */

struct fit {
    const struct fit_problem *p;
    double *norm;  /* of a column over its rows as they are fitted, 0: nothing in it */
    bool *active;  /* may be positive */
    bool *entered; /* came back once: it does not a second time */
    double *coefficient;
    size_t *column; /* active ones, in order */
    size_t n_active;
    double *residual, *weight; /* a row each, of the last fit */
};

/* A row is divided by its y, so that residuals are relative. */
static double row_scale(const struct fit_problem *p, size_t i)
{
    return (p->weight ? p->weight[i] : 1) / p->y[i];
}

static double element(const struct fit *f, size_t i, size_t j)
{
    return f->p->x[i * f->p->columns + j] * row_scale(f->p, i) / f->norm[j];
}

static void measure_columns(struct fit *f)
{
    const struct fit_problem *p = f->p;
    for (size_t j = 0; j < p->columns; j++) {
        double sum = 0;
        for (size_t i = 0; i < p->rows; i++) {
            double v = p->x[i * p->columns + j] * row_scale(p, i);
            sum += v * v;
        }
        f->norm[j] = sqrt(sum);
        f->active[j] = sum > 0;
    }
}

static void list_active(struct fit *f)
{
    f->n_active = 0;
    for (size_t j = 0; j < f->p->columns; j++)
        if (f->active[j])
            f->column[f->n_active++] = j;
}

/* Fits the active columns; coefficients are those of columns of length 1. */
static bool fit_active(struct fit *f, struct err *e)
{
    const struct fit_problem *p = f->p;
    gsl_matrix *x = gsl_matrix_alloc(p->rows, f->n_active);
    gsl_matrix *cov = gsl_matrix_alloc(f->n_active, f->n_active);
    gsl_vector *y = gsl_vector_alloc(p->rows), *c = gsl_vector_alloc(f->n_active);
    gsl_multifit_robust_workspace *w =
        gsl_multifit_robust_alloc(gsl_multifit_robust_bisquare, p->rows, f->n_active);
    CHECK(x && cov && y && c && w, "fit: memory", "%zu rows, %zu columns", p->rows, f->n_active);
    gsl_multifit_robust_maxiter(MAX_ITERATIONS, w);
    for (size_t i = 0; i < p->rows; i++) {
        gsl_vector_set(y, i, p->weight ? p->weight[i] : 1);
        for (size_t k = 0; k < f->n_active; k++)
            gsl_matrix_set(x, i, k, element(f, i, f->column[k]));
    }
    int rc = gsl_multifit_robust(x, y, c, cov, w);
    bool settled = rc == GSL_SUCCESS;
    gsl_multifit_robust_stats stats = gsl_multifit_robust_statistics(w);
    for (size_t k = 0; k < f->n_active; k++)
        f->coefficient[f->column[k]] = gsl_vector_get(c, k);
    gsl_vector_view residual = gsl_vector_view_array(f->residual, p->rows);
    gsl_vector_memcpy(&residual.vector, y);
    gsl_blas_dgemv(CblasNoTrans, -1, x, c, 1, &residual.vector);
    for (size_t i = 0; i < p->rows; i++)
        f->weight[i] = settled ? gsl_vector_get(stats.weights, i) : 1;
    gsl_multifit_robust_free(w);
    gsl_vector_free(c);
    gsl_vector_free(y);
    gsl_matrix_free(cov);
    gsl_matrix_free(x);
    /* Numbers without noise leave nothing to weigh rows by, and the last digits never settle. */
    return settled || rc == GSL_EMAXITER ||
           err_set(e, "fit: %s with %zu rows and %zu terms; give more varied steps",
                   gsl_strerror(rc), p->rows, f->n_active);
}

/* Takes the most negative column out. Columns are of one length, so their coefficients compare. */
static bool drop_negative(struct fit *f)
{
    size_t worst = SIZE_MAX;
    for (size_t k = 0; k < f->n_active; k++) {
        size_t j = f->column[k];
        if (f->coefficient[j] < 0 &&
            (worst == SIZE_MAX || f->coefficient[j] < f->coefficient[worst]))
            worst = j;
    }
    if (worst == SIZE_MAX)
        return false;
    f->active[worst] = false;
    f->coefficient[worst] = 0;
    return true;
}

/* Takes the column back in that would gain most by being positive. */
static bool enter_gaining(struct fit *f)
{
    const struct fit_problem *p = f->p;
    size_t best = SIZE_MAX;
    double most = 0, size = 0;
    for (size_t i = 0; i < p->rows; i++)
        size += f->weight[i] * f->residual[i] * f->residual[i];
    for (size_t j = 0; j < p->columns; j++) {
        double gain = 0;
        if (f->active[j] || f->entered[j] || f->norm[j] <= 0)
            continue;
        for (size_t i = 0; i < p->rows; i++)
            gain += f->weight[i] * f->residual[i] * element(f, i, j);
        if (gain > most) {
            most = gain;
            best = j;
        }
    }
    if (best == SIZE_MAX || most <= REENTRY * sqrt(size))
        return false;
    f->active[best] = f->entered[best] = true;
    return true;
}

static bool solve(struct fit *f, struct err *e)
{
    do {
        list_active(f);
        if (f->n_active == 0 || f->n_active >= f->p->rows)
            return err_set(e, "fit: %zu rows for %zu terms; give more steps", f->p->rows,
                           f->n_active);
        if (!fit_active(f, e))
            return false;
    } while (drop_negative(f) || enter_gaining(f));
    for (size_t j = 0; j < f->p->columns; j++)
        f->coefficient[j] = f->norm[j] > 0 ? f->coefficient[j] / f->norm[j] : 0;
    return true;
}

bool fit_nonnegative(const struct fit_problem *p, double *coefficient, struct err *e)
{
    struct fit f = {
        .p = p,
        .norm = mem_alloc(p->columns * sizeof *f.norm),
        .active = mem_alloc(p->columns * sizeof *f.active),
        .entered = mem_alloc(p->columns * sizeof *f.entered),
        .coefficient = coefficient,
        .column = mem_alloc(p->columns * sizeof *f.column),
        .residual = mem_alloc(p->rows * sizeof *f.residual),
        .weight = mem_alloc(p->rows * sizeof *f.weight),
    };
    /* GSL's default is to abort; here its codes become messages. */
    gsl_error_handler_t *handler = gsl_set_error_handler_off();
    memset(coefficient, 0, p->columns * sizeof *coefficient);
    measure_columns(&f);
    bool ok = solve(&f, e);
    gsl_set_error_handler(handler);
    mem_free(f.norm);
    mem_free(f.active);
    mem_free(f.entered);
    mem_free(f.column);
    mem_free(f.residual);
    mem_free(f.weight);
    return ok;
}

/* ---- errors ---- */

static int ascending(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static double *sorted_abs(const double *relative, size_t n)
{
    double *v = mem_alloc(n * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = fabs(relative[i]);
    qsort(v, n, sizeof *v, ascending);
    return v;
}

/* Linear between order statistics, as contract.md section 4 has it. */
static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t low = (size_t)at, high = MIN(low + 1, n - 1);
    return sorted[low] + (at - (double)low) * (sorted[high] - sorted[low]);
}

double fit_median_abs(const double *relative, size_t n)
{
    double *v = sorted_abs(relative, n);
    double median = n > 0 ? quantile(v, n, 0.5) : 0;
    mem_free(v);
    return median;
}

struct fit_error fit_error_of(const double *relative, size_t n)
{
    struct fit_error r = {.n = n, .mean = (double)NAN, .p90 = (double)NAN, .bias = (double)NAN};
    double sum = 0, sum_abs = 0;
    if (n == 0)
        return r;
    for (size_t i = 0; i < n; i++) {
        sum += relative[i];
        sum_abs += fabs(relative[i]);
    }
    double *v = sorted_abs(relative, n);
    r.mean = sum_abs / (double)n;
    r.bias = sum / (double)n;
    r.p90 = quantile(v, n, 0.9);
    mem_free(v);
    return r;
}
