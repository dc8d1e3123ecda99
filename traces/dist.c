/* dist.c: see dist.h. */
#include "traces/dist.h"

#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "sim/nearest.h"
#include "traces/rows.h"

#define ZIPF_MAX 1e6
#define VALUE_MAX 1e9

static const struct {
    const char *name, *form;
    int n_numbers;
} kinds[] = {
    [DIST_FIXED] = {"fixed", "fixed:N", 1},
    [DIST_UNIFORM] = {"uniform", "uniform:LO:HI", 2},
    [DIST_EXPONENTIAL] = {"exponential", "exponential:MEAN", 1},
    [DIST_LOGNORMAL] = {"lognormal", "lognormal:MEAN:SIGMA", 2},
    [DIST_ZIPF] = {"zipf", "zipf:S:MAX", 2},
    [DIST_EMPIRICAL] = {"empirical", "empirical:FILE:COLUMN", 0},
};

/* ---- tables ---- */

void zipf_fill(double *share, size_t n, double s)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        share[i] = sum += pow((double)i + 1.0, -s);
    for (size_t i = 0; i < n; i++)
        share[i] /= sum;
}

size_t zipf_pick(const double *share, size_t n, double u)
{
    size_t low = 0, high = n - 1;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (u < share[mid])
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

double quantile_at(const double *p, const double *value, size_t n, double u)
{
    size_t i = 1;

    while (i < n - 1 && u >= p[i])
        i++;
    return value[i - 1] + (value[i] - value[i - 1]) * (u - p[i - 1]) / (p[i] - p[i - 1]);
}

/* ---- parsing ---- */

static bool read_values(struct dist *d, const char *path, const char *column, struct err *e)
{
    size_t cap = 0;
    struct rows rows;
    enum trace_status st;

    if (!rows_open(&rows, path, &column, 1, 1, e))
        return false;
    while ((st = rows_next(&rows, e)) == TRACE_REC) {
        d->table = mem_reserve(d->table, &cap, d->n + 1, sizeof(*d->table));
        if (!field_real(&rows.text, column, rows_cell(&rows, 0), 0, VALUE_MAX, &d->table[d->n], e))
            break;
        d->n++;
    }
    if (st == TRACE_END && d->n == 0)
        text_report(&rows.text, e, "no row; there is nothing to draw from");
    rows_close(&rows);
    return st == TRACE_END && d->n > 0;
}

static const char *fault(const struct dist *d)
{
    if (d->a < 0 || d->b < 0 || d->a > VALUE_MAX || d->b > VALUE_MAX)
        return "0 to 1e9 is allowed";
    switch (d->kind) {
    case DIST_UNIFORM:
        return d->a <= d->b ? NULL : "LO may not be above HI";
    case DIST_EXPONENTIAL:
        return d->a > 0 ? NULL : "MEAN must be above 0";
    case DIST_LOGNORMAL:
        return d->a > 0 && d->b <= 10 ? NULL : "MEAN must be above 0, SIGMA at most 10";
    case DIST_ZIPF:
        return d->a <= 100 && d->b >= 1 && d->b <= ZIPF_MAX && d->b == floor(d->b)
                   ? NULL
                   : "S must be at most 100, MAX a whole number from 1 to 1000000";
    case DIST_FIXED:
    case DIST_EMPIRICAL:
        break;
    }
    return NULL;
}

/* The numbers after the name, separated by colons. */
static bool read_numbers(struct dist *d, const char *where, const char *text, char *rest,
                         struct err *e)
{
    double *const out[] = {&d->a, &d->b};
    const char *form = kinds[d->kind].form, *wrong;
    int n = 0;

    for (char *word; (word = strsep(&rest, ":")) != NULL; n++)
        if (n >= MIN(kinds[d->kind].n_numbers, (int)ARRAY_LEN(out)) || !parse_real(word, out[n]))
            return err_set(e, "%s: %.200s: \"%.40s\" does not belong there; write %s", where, text,
                           word, form);
    if (n < kinds[d->kind].n_numbers)
        return err_set(e, "%s: %.200s: a number is missing; write %s", where, text, form);
    wrong = fault(d);
    return !wrong || err_set(e, "%s: %.200s: %s; write %s", where, text, wrong, form);
}

/* What drawing needs, from what was written. */
static void prepare(struct dist *d)
{
    if (d->kind == DIST_LOGNORMAL)
        d->a = log(d->a) - d->b * d->b / 2;
    if (d->kind == DIST_ZIPF) {
        d->n = (size_t)d->b;
        d->table = mem_alloc(d->n * sizeof(*d->table));
        zipf_fill(d->table, d->n, d->a);
    }
}

static bool find_kind(enum dist_kind *kind, const char *where, const char *word, struct err *e)
{
    const char *names[ARRAY_LEN(kinds)];

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        names[i] = kinds[i].name;
        *kind = (enum dist_kind)i;
        if (strcmp(word, names[i]) == 0)
            return true;
    }
    return err_set(e, "%s: unknown distribution \"%.40s\"; did you mean %s?", where, word,
                   nearest_word(word, names, ARRAY_LEN(names)));
}

bool dist_parse(struct dist *d, const char *where, const char *text, const char *column,
                struct err *e)
{
    char *copy = mem_strdup(text), *rest = copy;
    bool ok;

    *d = (struct dist){0};
    ok = find_kind(&d->kind, where, strsep(&rest, ":"), e);
    if (ok && d->kind == DIST_EMPIRICAL) {
        const char *path = strsep(&rest, ":");

        ok = path && *path ? read_values(d, path, rest ? rest : column, e)
                           : err_set(e, "%s: %.200s: there is no file; write %s", where, text,
                                     kinds[d->kind].form);
    } else if (ok) {
        ok = read_numbers(d, where, text, rest, e);
    }
    if (ok)
        prepare(d);
    else
        dist_release(d);
    mem_free(copy);
    return ok;
}

void dist_release(struct dist *d)
{
    mem_free(d->table);
    *d = (struct dist){0};
}

/* ---- drawing ---- */

double dist_draw(const struct dist *d, gsl_rng *rng)
{
    switch (d->kind) {
    case DIST_FIXED:
        return d->a;
    case DIST_UNIFORM:
        return d->a + (d->b - d->a) * gsl_rng_uniform(rng);
    case DIST_EXPONENTIAL:
        return gsl_ran_exponential(rng, d->a);
    case DIST_LOGNORMAL:
        return gsl_ran_lognormal(rng, d->a, d->b);
    case DIST_ZIPF:
        return (double)zipf_pick(d->table, d->n, gsl_rng_uniform(rng)) + 1;
    case DIST_EMPIRICAL:
        return d->table[(size_t)(gsl_rng_uniform(rng) * (double)d->n)];
    }
    return 0;
}

uint32_t dist_count(const struct dist *d, gsl_rng *rng, uint32_t min, uint32_t max)
{
    double x = d->kind == DIST_UNIFORM
                   ? floor(ceil(d->a) + (floor(d->b) - ceil(d->a) + 1) * gsl_rng_uniform(rng))
                   : floor(dist_draw(d, rng) + 0.5);

    return x <= min ? min : x >= max ? max : (uint32_t)x;
}
