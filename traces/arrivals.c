/* arrivals.c: see arrivals.h. */
#include "traces/arrivals.h"

#include <gsl/gsl_randist.h>
#include <math.h>

#define HOURS 24u
#define HOUR_S 3600.0

/* BurstGPT (HPMLL/BurstGPT, BurstGPT_1.csv, CC-BY-4.0), counted: mean requests in each hour of the
 * day, and requests on each of its 61 days. */
static const double hour_requests[HOURS] = {
    940.3,  892.6,  571.6,  513.0,  368.2,  341.5,  193.8,  153.3,  177.7,  415.9,  878.8,  1286.5,
    1744.3, 1501.1, 1795.9, 1401.1, 1475.5, 1355.8, 1181.2, 1567.6, 1352.8, 1175.0, 1129.0, 1025.8};
static const double day_requests[] = {
    3389,  3172,  2659,  1576,  2099,  3176,  3360,  3297,  5145,  149520, 91322, 3089,  7269,
    5926,  76918, 13307, 22823, 14549, 22757, 36597, 80239, 65591, 23705,  31336, 8715,  3972,
    3906,  14834, 12782, 22575, 3492,  2127,  10712, 39368, 33958, 37010,  14052, 5570,  2017,
    2009,  23069, 47403, 42642, 24684, 31419, 28416, 14634, 7291,  19823,  7594,  10682, 28994,
    16865, 7030,  12112, 12748, 41842, 45035, 40705, 62372, 14457};

static double weibull_cv(double shape)
{
    return sqrt(exp(lgamma(1 + 2 / shape) - 2 * lgamma(1 + 1 / shape)) - 1);
}

/* The cv falls as the shape grows: halved until the shape is known. */
double weibull_shape(double cv)
{
    double low = 0.1, high = 20;

    for (int i = 0; i < 60; i++) {
        double mid = (low + high) / 2;

        if (weibull_cv(mid) > cv)
            low = mid;
        else
            high = mid;
    }
    return (low + high) / 2;
}

static double mean(const double *v, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum / (double)n;
}

void arrivals_init(struct arrivals *a, const struct arrivals_config *c, uint64_t seed,
                   const char *stream)
{
    *a = (struct arrivals){.c = *c, .rng = rng_gsl(seed, stream)};
    if (isnan(c->shape))
        a->c.shape = c->process == PROCESS_WEIBULL ? weibull_shape(c->cv) : 1 / (c->cv * c->cv);
    switch (c->process) {
    case PROCESS_POISSON:
        break;
    case PROCESS_GAMMA:
        a->scale = 1 / (a->c.rate_per_s * a->c.shape);
        break;
    case PROCESS_WEIBULL:
        a->scale = 1 / (a->c.rate_per_s * tgamma(1 + 1 / a->c.shape));
        break;
    case PROCESS_ONOFF:
        a->scale = c->rate_per_s * (c->on_s + c->off_s) / (c->on_s + c->idle * c->off_s);
        a->on = gsl_rng_uniform(a->rng) * (c->on_s + c->off_s) < c->on_s;
        a->until_s = gsl_ran_exponential(a->rng, a->on ? c->on_s : c->off_s);
        break;
    case PROCESS_DAILY:
        a->scale = 1 / a->c.shape; /* in expected arrivals, not in seconds */
        a->hour_mean = mean(hour_requests, ARRAY_LEN(hour_requests));
        a->day_mean = mean(day_requests, ARRAY_LEN(day_requests));
        break;
    }
}

void arrivals_release(struct arrivals *a)
{
    gsl_rng_free(a->rng);
    *a = (struct arrivals){0};
}

/* An exponential gap has no memory: one that a switch cuts short is drawn anew behind it. */
static double next_onoff(struct arrivals *a)
{
    for (;;) {
        double rate = a->on ? a->scale : a->scale * a->c.idle;
        double at = rate > 0 ? a->at_s + gsl_ran_exponential(a->rng, 1 / rate) : HUGE_VAL;

        if (at < a->until_s)
            return at;
        a->at_s = a->until_s;
        a->on = !a->on;
        a->until_s += gsl_ran_exponential(a->rng, a->on ? a->c.on_s : a->c.off_s);
    }
}

static double surge_in_hour(const struct arrivals *a, uint64_t hour)
{
    if (!a->c.follow_days)
        return 1;
    return day_requests[hour / HOURS % ARRAY_LEN(day_requests)] / a->day_mean;
}

static double rate_in_hour(const struct arrivals *a, uint64_t hour)
{
    double rate = a->c.rate_per_s;

    if (a->c.follow_hours)
        rate *= hour_requests[hour % HOURS] / a->hour_mean;
    return rate * surge_in_hour(a, hour);
}

/* The gap is drawn in expected arrivals; time runs until the rate has summed up to it. */
static double next_daily(struct arrivals *a)
{
    double left = gsl_ran_gamma(a->rng, a->c.shape, a->scale), at = a->at_s;

    for (;;) {
        double clock_s = at + a->c.start_hour * HOUR_S;
        uint64_t hour = (uint64_t)(clock_s / HOUR_S);
        double end = ((double)hour + 1) * HOUR_S - a->c.start_hour * HOUR_S;
        double rate = rate_in_hour(a, hour);

        if (left <= (end - at) * rate)
            return at + left / rate;
        left -= (end - at) * rate;
        at = MAX(end, nextafter(at, HUGE_VAL));
    }
}

double arrivals_next(struct arrivals *a)
{
    switch (a->c.process) {
    case PROCESS_POISSON:
        a->at_s += gsl_ran_exponential(a->rng, 1 / a->c.rate_per_s);
        break;
    case PROCESS_GAMMA:
        a->at_s += gsl_ran_gamma(a->rng, a->c.shape, a->scale);
        break;
    case PROCESS_WEIBULL:
        a->at_s += gsl_ran_weibull(a->rng, a->scale, a->c.shape);
        break;
    case PROCESS_ONOFF:
        a->at_s = next_onoff(a);
        break;
    case PROCESS_DAILY:
        a->at_s = next_daily(a);
        break;
    }
    return a->at_s;
}

double arrivals_surge(const struct arrivals *a)
{
    return surge_in_hour(a, (uint64_t)(a->at_s / HOUR_S + a->c.start_hour));
}
