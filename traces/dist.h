/* dist.h: distributions of lengths (tokens), counts and times (s), by a text such as
 * "lognormal:600:1", and drawing from them. */
#ifndef TRACES_DIST_H
#define TRACES_DIST_H

#include "sim/rng.h"

enum dist_kind {
    DIST_FIXED,       /* fixed:N */
    DIST_UNIFORM,     /* uniform:LO:HI, HI included when rounded to whole numbers */
    DIST_EXPONENTIAL, /* exponential:MEAN */
    DIST_LOGNORMAL,   /* lognormal:MEAN:SIGMA, the mean of the numbers, sigma of their logarithm */
    DIST_ZIPF,        /* zipf:S:MAX, 1..MAX with weights 1 / k^S */
    DIST_EMPIRICAL,   /* empirical:FILE or empirical:FILE:COLUMN, with replacement */
};

struct dist {
    enum dist_kind kind;
    double a, b;   /* as in the text; of DIST_LOGNORMAL mu and sigma */
    double *table; /* owned: DIST_ZIPF cumulative shares, DIST_EMPIRICAL the values */
    size_t n;
};

/* `where` begins the message; `column` is the one of an empirical distribution that names none. */
bool dist_parse(struct dist *d, const char *where, const char *text, const char *column,
                struct err *e) NODISCARD;
void dist_release(struct dist *d);
double dist_draw(const struct dist *d, gsl_rng *rng);

/* Drawn, rounded to whole and brought into min..max. */
uint32_t dist_count(const struct dist *d, gsl_rng *rng, uint32_t min, uint32_t max);

/* share[i] = probability of 0..i, in proportion to 1 / (i + 1)^s. */
void zipf_fill(double *share, size_t n, double s);
/* The i that u in [0, 1) falls on. */
size_t zipf_pick(const double *share, size_t n, double u);

/* Inverse CDF: the value at probability u of n >= 2 quantiles value[] at p[], 0..1, linear between
 * them. */
double quantile_at(const double *p, const double *value, size_t n, double u);

#endif
