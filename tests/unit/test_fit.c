/* test_fit.c: does the regression find the coefficients that made the numbers, whatever a few
 * outliers say, never below zero, and the same bits each time? And errors as they are defined. */
#include "backend/fit.h"
#include "sim/rng.h"

#include <check.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 400
#define COLUMNS 4 /* 1, a, b, c */

struct made {
    double x[ROWS * COLUMNS], y[ROWS];
};

/* y = truth . (1, a, b, c) with 1 % noise; every `outlier_every`-th row is five times as long. */
static void make(struct made *m, const double truth[COLUMNS], uint32_t outlier_every)
{
    gsl_rng *g = rng_gsl(7, "test_fit");
    for (size_t i = 0; i < ROWS; i++) {
        double *x = m->x + i * COLUMNS;
        x[0] = 1;
        x[1] = (double)gsl_rng_uniform_int(g, 1000);
        x[2] = (double)gsl_rng_uniform_int(g, 100000);
        x[3] = gsl_rng_uniform(g) < 0.5 ? 0 : (double)gsl_rng_uniform_int(g, 50);
        m->y[i] = 0;
        for (size_t j = 0; j < COLUMNS; j++)
            m->y[i] += truth[j] * x[j];
        m->y[i] *= 1 + 0.01 * gsl_ran_gaussian(g, 1);
        if (outlier_every > 0 && i % outlier_every == 0)
            m->y[i] *= 5;
    }
    gsl_rng_free(g);
}

static void fit(const struct made *m, double out[COLUMNS])
{
    const struct fit_problem p = {.rows = ROWS, .columns = COLUMNS, .x = m->x, .y = m->y};
    struct err e = {.set = false};
    ck_assert_msg(fit_nonnegative(&p, out, &e), "%s", e.text);
}

static const struct {
    const char *what;
    double truth[COLUMNS];
    uint32_t outlier_every;
} cases[] = {
    {"all positive", {1000, 3, 0.05, 20}, 0},
    {"a tenth are outliers", {1000, 3, 0.05, 20}, 10},
    {"one column means nothing", {1000, 0, 0.05, 20}, 0},
    {"one column means nothing, outliers", {1000, 3, 0, 20}, 10},
    {"the last column means nothing", {1000, 3, 0.05, 0}, 0},
};

START_TEST(finds_what_made_the_numbers)
{
    struct made m;
    double got[COLUMNS];
    make(&m, cases[_i].truth, cases[_i].outlier_every);
    fit(&m, got);
    for (size_t j = 0; j < COLUMNS; j++) {
        double truth = cases[_i].truth[j];
        /* What is left of a coefficient of nothing is small beside the step: at most 1.5 %. */
        double most = j == 0 ? 1 : j == 1 ? 1000 : j == 2 ? 100000 : 50;
        double slack = truth > 0 ? 0.03 * truth : 0.015 * m.y[1] / most;
        ck_assert_msg(got[j] >= 0 && fabs(got[j] - truth) <= slack, "%s: column %zu: %g for %g",
                      cases[_i].what, j, got[j], truth);
    }
}
END_TEST

/* Time falls with column 1: no coefficient >= 0 says so, and the others must not suffer. */
START_TEST(what_would_be_negative_stays_zero)
{
    const double truth[COLUMNS] = {5000, -2, 0.05, 20};
    struct made m;
    double got[COLUMNS];
    make(&m, truth, 0);
    fit(&m, got);
    ck_assert_double_eq(got[1], 0);
    ck_assert_double_eq_tol(got[0], 4000, 400); /* takes up the column's mean */
    ck_assert_double_eq_tol(got[2], 0.05, 0.004);
}
END_TEST

START_TEST(same_bits_each_time)
{
    struct made m;
    double once[COLUMNS], again[COLUMNS];
    make(&m, cases[1].truth, 10);
    fit(&m, once);
    fit(&m, again);
    ck_assert_int_eq(memcmp(once, again, sizeof once), 0);
}
END_TEST

/* Columns that say the same (tokens and sequences of decode-only steps) and one of zeros: the sum
 * is found, nothing is negative or NaN. */
START_TEST(columns_that_say_the_same)
{
    double x[60 * 4], y[60], got[4];
    struct err e = {.set = false};
    const struct fit_problem p = {.rows = 60, .columns = 4, .x = x, .y = y};
    for (size_t i = 0; i < 60; i++) {
        x[i * 4] = 1;
        x[i * 4 + 1] = x[i * 4 + 2] = (double)i;
        x[i * 4 + 3] = 0;
        y[i] = (100 + 7 * (double)i) * (i % 2 ? 1.001 : 0.999);
    }
    ck_assert_msg(fit_nonnegative(&p, got, &e), "%s", e.text);
    ck_assert_double_eq_tol(got[0], 100, 1);
    ck_assert_double_eq_tol(got[1] + got[2], 7, 0.05);
    ck_assert(got[1] >= 0 && got[2] >= 0);
    ck_assert_double_eq(got[3], 0);
}
END_TEST

/* Residuals are relative: rows a thousand times as long do not drown the short ones. */
START_TEST(weights_and_scale)
{
    double x[80], y[80], weight[80], got;
    struct err e = {.set = false};
    struct fit_problem p = {.rows = 80, .columns = 1, .x = x, .y = y, .weight = weight};
    for (size_t i = 0; i < 80; i++) {
        x[i] = i < 40 ? 1 : 1000;
        y[i] = x[i] * (i < 40 ? 2.0 : 2.2) * (i % 2 ? 1.001 : 0.999);
        weight[i] = i < 40 ? 1 : 1e-3;
    }
    ck_assert(fit_nonnegative(&p, &got, &e));
    ck_assert_double_eq_tol(got, 2, 0.01);
}
END_TEST

/* Simulated steps have no noise: what made them is found to the last digits. */
START_TEST(numbers_without_noise)
{
    struct made m;
    double got[COLUMNS];
    make(&m, cases[0].truth, 0);
    for (size_t i = 0; i < ROWS; i++) {
        m.y[i] = 0;
        for (size_t j = 0; j < COLUMNS; j++)
            m.y[i] += cases[0].truth[j] * m.x[i * COLUMNS + j];
    }
    fit(&m, got);
    for (size_t j = 0; j < COLUMNS; j++)
        ck_assert_double_eq_tol(got[j] / cases[0].truth[j], 1, 1e-6);
}
END_TEST

START_TEST(too_few_rows_is_an_error)
{
    const double x[] = {1, 1, 1, 2}, y[] = {3, 4};
    const struct fit_problem p = {.rows = 2, .columns = 2, .x = x, .y = y};
    double got[2];
    struct err e = {.set = false};
    ck_assert(!fit_nonnegative(&p, got, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "2 rows"));
}
END_TEST

START_TEST(errors_as_defined)
{
    const double relative[] = {-0.1, 0.3, 0.2, -0.4, 0.0};
    struct fit_error f = fit_error_of(relative, 5);
    ck_assert_uint_eq(f.n, 5);
    ck_assert_double_eq_tol(f.mean, 0.2, 1e-12);
    ck_assert_double_eq_tol(f.bias, 0.0, 1e-12);
    ck_assert_double_eq_tol(f.p90, 0.36, 1e-12); /* linear between 0.3 and 0.4 */
    ck_assert_double_eq_tol(fit_median_abs(relative, 5), 0.2, 1e-12);
    f = fit_error_of(relative, 0);
    ck_assert(f.n == 0 && isnan(f.mean) && isnan(f.p90) && isnan(f.bias));
    ck_assert_double_eq(fit_median_abs(relative, 0), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("fit");
    TCase *t = tcase_create("fit");
    tcase_add_loop_test(t, finds_what_made_the_numbers, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(t, what_would_be_negative_stays_zero);
    tcase_add_test(t, same_bits_each_time);
    tcase_add_test(t, columns_that_say_the_same);
    tcase_add_test(t, weights_and_scale);
    tcase_add_test(t, numbers_without_noise);
    tcase_add_test(t, too_few_rows_is_an_error);
    tcase_add_test(t, errors_as_defined);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
