/* test_quantiles.c: percentiles against the definition (numpy's default: linear interpolation at
 * rank p/100 * (n-1)) on a sorted array of every single value, exact and from the histogram. */
#include "sim/quantiles.h"

#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include "sim/rng.h"

#define MAX_VALUES 20000
#define ALWAYS_EXACT UINT64_MAX

static const double percents[] = {0, 0.01, 1, 5, 10, 25, 33.3, 50, 75, 90, 95, 99, 99.9, 100};

/* Every value by itself, in order. */
struct naive {
    double v[MAX_VALUES];
    size_t n;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double naive_at(const struct naive *s, double percent)
{
    double at = percent / 100 * (double)(s->n - 1);
    size_t i = (size_t)at;
    if (i + 1 >= s->n)
        return s->v[s->n - 1];
    return s->v[i] + (s->v[i + 1] - s->v[i]) * (at - (double)i);
}

/* Latencies over many octaves, whole ns, with counts: what the simulator records. */
static void fill(struct quantiles *q, struct naive *s, uint64_t seed)
{
    struct rng r;
    rng_init(&r, seed, "quantiles");
    s->n = 0;
    for (;;) {
        uint64_t ns = rng_u64(&r) >> (20 + rng_below(&r, 44));
        uint64_t count = 1 + rng_below(&r, 3);
        if (s->n + count > MAX_VALUES)
            break;
        quantiles_add(q, (double)ns / 1e6, count);
        for (uint64_t i = 0; i < count; i++)
            s->v[s->n++] = (double)ns / 1e6;
    }
    qsort(s->v, s->n, sizeof(*s->v), compare);
}

static double naive_mean(const struct naive *s)
{
    long double sum = 0;
    for (size_t i = 0; i < s->n; i++)
        sum += (long double)s->v[i];
    return (double)(sum / (long double)s->n);
}

START_TEST(exact_is_exact)
{
    static struct naive s;
    struct quantiles q;
    quantiles_init(&q, ALWAYS_EXACT);
    fill(&q, &s, (uint64_t)_i);
    ck_assert(quantiles_exact(&q));
    ck_assert_uint_eq(q.n, s.n);
    for (size_t i = 0; i < ARRAY_LEN(percents); i++)
        ck_assert_double_eq(quantiles_at(&q, percents[i]), naive_at(&s, percents[i]));
    ck_assert_double_eq_tol(quantiles_mean(&q) / naive_mean(&s), 1, 1e-15);
    quantiles_release(&q);
}
END_TEST

START_TEST(histogram_is_close)
{
    static struct naive s;
    struct quantiles q;
    quantiles_init(&q, 1000);
    fill(&q, &s, (uint64_t)_i);
    ck_assert(!quantiles_exact(&q));
    ck_assert_ptr_null(q.sample);
    ck_assert_uint_eq(q.n, s.n);
    for (size_t i = 0; i < ARRAY_LEN(percents); i++) {
        double want = naive_at(&s, percents[i]);
        ck_assert_double_le(fabs(quantiles_at(&q, percents[i]) - want), want / 2048);
    }
    ck_assert_double_eq(quantiles_at(&q, 0), s.v[0]);
    ck_assert_double_eq(quantiles_at(&q, 100), s.v[s.n - 1]);
    ck_assert_double_eq_tol(quantiles_mean(&q) / naive_mean(&s), 1, 1e-15);
    quantiles_release(&q);
}
END_TEST

/* Below 2048 ns the histogram tells every ns apart. */
START_TEST(histogram_of_short_times_is_exact)
{
    static struct naive s;
    struct quantiles q;
    struct rng r;
    quantiles_init(&q, 0);
    rng_init(&r, 5, "short");
    for (s.n = 0; s.n < 999; s.n++) {
        s.v[s.n] = (double)rng_below(&r, 2048) / 1e6;
        quantiles_add(&q, s.v[s.n], 1);
    }
    qsort(s.v, s.n, sizeof(*s.v), compare);
    for (size_t i = 0; i < ARRAY_LEN(percents); i++)
        ck_assert_double_eq_tol(quantiles_at(&q, percents[i]), naive_at(&s, percents[i]), 1e-15);
    quantiles_release(&q);
}
END_TEST

START_TEST(switch_is_at_the_limit)
{
    struct quantiles q;
    quantiles_init(&q, 10);
    quantiles_add(&q, 5, 4);
    quantiles_add(&q, 7, 6);
    ck_assert(quantiles_exact(&q));
    quantiles_add(&q, 9, 0); /* nothing */
    ck_assert(quantiles_exact(&q));
    ck_assert_uint_eq(q.n, 10);
    quantiles_add(&q, 6, 1);
    ck_assert(!quantiles_exact(&q));
    ck_assert_double_eq(q.min_ms, 5);
    ck_assert_double_eq(q.max_ms, 7);
    ck_assert_double_eq_tol(quantiles_at(&q, 40), 6, 0.006); /* rank 4: the one 6 */
    quantiles_release(&q);
}
END_TEST

/* Neither the order nor the grouping of equal values may show. */
START_TEST(order_and_grouping_do_not_matter)
{
    const double v[] = {1e9, 0.1, 3, 0.1, 7e-6, 1e9, 0.3, 3, 3, 0.1};
    uint64_t limit = _i == 0 ? ALWAYS_EXACT : 3;
    struct quantiles one, other;
    quantiles_init(&one, limit);
    quantiles_init(&other, limit);
    for (size_t i = 0; i < ARRAY_LEN(v); i++)
        quantiles_add(&one, v[i], 1);
    quantiles_add(&other, 7e-6, 1);
    quantiles_add(&other, 0.1, 3);
    quantiles_add(&other, 0.3, 1);
    quantiles_add(&other, 3, 3);
    quantiles_add(&other, 1e9, 2);
    for (size_t i = 0; i < ARRAY_LEN(percents); i++)
        ck_assert_double_eq(quantiles_at(&one, percents[i]), quantiles_at(&other, percents[i]));
    ck_assert_double_eq(quantiles_mean(&one), quantiles_mean(&other));
    quantiles_release(&one);
    quantiles_release(&other);
}
END_TEST

START_TEST(asking_in_between)
{
    struct quantiles q;
    quantiles_init(&q, ALWAYS_EXACT);
    ck_assert_double_nan(quantiles_mean(&q));
    ck_assert_double_nan(quantiles_at(&q, 50));
    quantiles_add(&q, 3, 1);
    ck_assert_double_eq(quantiles_at(&q, 50), 3);
    quantiles_add(&q, 1, 1);
    ck_assert_double_eq(quantiles_at(&q, 50), 2);
    quantiles_add(&q, 0, 3);
    ck_assert_double_eq(quantiles_at(&q, 50), 0);
    ck_assert_double_eq(quantiles_at(&q, 75), 1);
    quantiles_release(&q);
}
END_TEST

/* The plot's buckets: ascending, disjoint, 16 an octave, and each counts what lies in it. */
START_TEST(coarse_buckets)
{
    static struct naive s;
    struct quantiles q;
    size_t n, k = 0;
    quantiles_init(&q, _i == 0 ? ALWAYS_EXACT : 100);
    fill(&q, &s, 3);
    struct quantile_bucket *b = quantiles_buckets(&q, &n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_uint_gt(b[i].count, 0);
        ck_assert_double_lt(b[i].low_ms, b[i].high_ms);
        ck_assert_double_le((b[i].high_ms - b[i].low_ms),
                            fmax(b[i].low_ms / 16, 1e-6) * (1 + 1e-9));
        if (i > 0)
            ck_assert_double_le(b[i - 1].high_ms, b[i].low_ms);
        uint64_t inside = 0;
        for (; k < s.n && s.v[k] < b[i].high_ms; k++) {
            ck_assert_double_ge(s.v[k], b[i].low_ms);
            inside++;
        }
        ck_assert_uint_eq(b[i].count, inside);
    }
    ck_assert_uint_eq(k, s.n);
    mem_free(b);
    quantiles_release(&q);

    ck_assert_ptr_null(quantiles_buckets(&q, &n));
    ck_assert_uint_eq(n, 0);
}
END_TEST

static const double bad_values[] = {-1e-9, (double)NAN, 9.3e12};

START_TEST(refuses_what_is_no_length_of_time)
{
    struct quantiles q;
    quantiles_init(&q, 10);
    quantiles_add(&q, bad_values[_i], 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("quantiles");
    TCase *t = tcase_create("quantiles");
    tcase_add_loop_test(t, exact_is_exact, 0, 3);
    tcase_add_loop_test(t, histogram_is_close, 0, 3);
    tcase_add_test(t, histogram_of_short_times_is_exact);
    tcase_add_test(t, switch_is_at_the_limit);
    tcase_add_loop_test(t, order_and_grouping_do_not_matter, 0, 2);
    tcase_add_test(t, asking_in_between);
    tcase_add_loop_test(t, coarse_buckets, 0, 2);
    tcase_add_loop_test_raise_signal(t, refuses_what_is_no_length_of_time, SIGABRT, 0,
                                     (int)ARRAY_LEN(bad_values));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
