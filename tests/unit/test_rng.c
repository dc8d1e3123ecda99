/* test_rng.c: the named streams: known answers, spread, independence, and GSL on top of them. */
#include "sim/rng.h"

#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

/* The state 1, 2, 3, 4 is the vector that implementations of xoshiro256** publish. */
START_TEST(known_answers_of_the_generator)
{
    struct rng r = {.s = {1, 2, 3, 4}};
    const uint64_t want[] = {11520,
                             0,
                             1509978240,
                             UINT64_C(1215971899390074240),
                             UINT64_C(1216172134540287360),
                             UINT64_C(607988272756665600)};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        ck_assert_uint_eq(rng_u64(&r), want[i]);
}
END_TEST

/* Computed with an independent implementation of splitmix64, FNV-1a and xoshiro256** (Python). */
START_TEST(known_answers_of_a_stream)
{
    struct rng r;
    rng_init(&r, 42, "arrivals");
    const uint64_t want[] = {UINT64_C(0x2e466cd1037d97fd), UINT64_C(0x56b0d787ef363d94),
                             UINT64_C(0x066738753c9ea3e8), UINT64_C(0x42fb50d9ff0970a1),
                             UINT64_C(0x0b1b7f5f26c966ab), UINT64_C(0xec6b6bc39ff5ba86)};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        ck_assert_uint_eq(rng_u64(&r), want[i]);
}
END_TEST

#define DRAWS 160000

/* Chi-square over n equal cells; expected n - 1 with deviation sqrt(2 (n - 1)). */
static double chi_square(const uint32_t *count, size_t n)
{
    double expected = (double)DRAWS / (double)n, sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = count[i] - expected;
        sum += d * d / expected;
    }
    return sum;
}

START_TEST(unit_is_uniform)
{
    struct rng r;
    uint32_t count[64] = {0};
    double sum = 0;
    rng_init(&r, 1, "unit");
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_unit(&r);
        ck_assert(u >= 0 && u < 1);
        count[(size_t)(u * 64)]++;
        sum += u;
    }
    ck_assert_double_lt(fabs(chi_square(count, 64) - 63), 5 * sqrt(2 * 63.0));
    ck_assert_double_lt(fabs(sum / DRAWS - 0.5), 5 * sqrt(1.0 / 12 / DRAWS));
}
END_TEST

static const uint64_t below[] = {2, 3, 7, 10, 64, 100};

START_TEST(below_is_uniform)
{
    struct rng r;
    uint32_t count[100] = {0};
    uint64_t n = below[_i];
    rng_init(&r, 2, "below");
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = rng_below(&r, n);
        ck_assert_uint_lt(x, n);
        count[x]++;
    }
    double freedom = (double)(n - 1);
    ck_assert_double_lt(fabs(chi_square(count, n) - freedom), 5 * sqrt(2 * freedom));
}
END_TEST

/* With n = 3/4 of 2^64 a plain remainder would give the lower third twice as often. */
START_TEST(below_has_no_bias)
{
    struct rng r;
    const uint64_t n = UINT64_C(3) << 62;
    uint32_t low = 0;
    rng_init(&r, 3, "below");
    for (int i = 0; i < DRAWS; i++)
        low += rng_below(&r, n) < n / 3;
    ck_assert_double_lt(fabs((double)low / DRAWS - 1.0 / 3), 5 * sqrt(2.0 / 9 / DRAWS));
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq(rng_below(&r, 1), 0);
}
END_TEST

START_TEST(below_nothing)
{
    struct rng r;
    rng_init(&r, 3, "below");
    rng_below(&r, 0);
}
END_TEST

/* Correlation of two streams of unit draws: deviation 1 / sqrt(DRAWS). */
static double correlation(uint64_t seed_a, const char *a, uint64_t seed_b, const char *b)
{
    struct rng x, y;
    double sum = 0;
    rng_init(&x, seed_a, a);
    rng_init(&y, seed_b, b);
    for (int i = 0; i < DRAWS; i++)
        sum += (rng_unit(&x) - 0.5) * (rng_unit(&y) - 0.5);
    return sum / DRAWS * 12;
}

START_TEST(streams_are_independent)
{
    double limit = 5 / sqrt(DRAWS);
    ck_assert_double_lt(fabs(correlation(1, "arrivals", 1, "lengths")), limit);
    ck_assert_double_lt(fabs(correlation(1, "arrivals", 2, "arrivals")), limit);
    ck_assert_double_lt(fabs(correlation(1, "a", 1, "b")), limit);
    ck_assert_double_gt(correlation(1, "arrivals", 1, "arrivals"), 0.9); /* the test can fail */
}
END_TEST

START_TEST(gsl_draws_the_same_stream)
{
    struct rng direct;
    rng_init(&direct, 42, "arrivals");
    gsl_rng *g = rng_gsl(42, "arrivals");
    ck_assert_uint_eq(gsl_rng_max(g), UINT64_MAX);
    ck_assert_uint_eq(gsl_rng_min(g), 0);
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_eq(gsl_rng_get(g), rng_u64(&direct));
        ck_assert_double_eq(gsl_rng_uniform(g), rng_unit(&direct));
    }
    gsl_rng_free(g);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rng");
    TCase *t = tcase_create("rng");
    tcase_add_test(t, known_answers_of_the_generator);
    tcase_add_test(t, known_answers_of_a_stream);
    tcase_add_test(t, unit_is_uniform);
    tcase_add_loop_test(t, below_is_uniform, 0, (int)ARRAY_LEN(below));
    tcase_add_test(t, below_has_no_bias);
    tcase_add_test_raise_signal(t, below_nothing, SIGABRT);
    tcase_add_test(t, streams_are_independent);
    tcase_add_test(t, gsl_draws_the_same_stream);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
