/* fit.h: regression for cost models: robust, with coefficients that are never negative, on relative
 * residuals; and the error of a fit. Deterministic: the same numbers in give the same bits out. */
#ifndef BACKEND_FIT_H
#define BACKEND_FIT_H

#include "sim/base.h"

/* y[i] is about the sum over j of coefficient[j] * x[i * columns + j]. */
struct fit_problem {
    size_t rows, columns;
    const double *x;      /* >= 0 */
    const double *y;      /* > 0 */
    const double *weight; /* of a row's relative residual, > 0; NULL: all 1 */
};

/* Least bisquare of (predicted - y) / y (gsl_multifit_robust) over coefficients >= 0 (active set).
 * A column that is all zero gets 0. */
bool fit_nonnegative(const struct fit_problem *p, double *coefficient, struct err *e) NODISCARD;

/* Of predicted / measured - 1. */
struct fit_error {
    uint64_t n;
    double mean, p90; /* of the absolute value; NaN where n is 0 */
    double bias;      /* mean with its sign */
};

struct fit_error fit_error_of(const double *relative, size_t n);

/* Median of the absolute values; 0 for n = 0. */
double fit_median_abs(const double *relative, size_t n);

#endif
