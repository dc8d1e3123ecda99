/* The search for the highest rate that meets the limits, on made-up curves of attainment. */
#include "experiments/capacity.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

struct curve {
    double knee;      /* met up to this scale */
    double asked[64]; /* scales, in order */
    unsigned n;
    unsigned fail_at; /* this probe fails [0: none] */
};

/* A request a second at scale 1. */
static bool measure(void *self, struct capacity_probe *p, struct err *e)
{
    struct curve *c = self;
    ck_assert_uint_lt(c->n, ARRAY_LEN(c->asked));
    c->asked[c->n++] = p->scale;
    p->rate_rps = p->scale;
    p->attainment = p->scale <= c->knee ? 0.95 : 0.5;
    p->window_s = 1000;
    return c->n != c->fail_at || err_set(e, "probe: no");
}

static struct capacity found(struct curve *c, double scale, double tolerance)
{
    const struct capacity_search s = {0.9, tolerance, measure, c};
    struct capacity out;
    struct err e = {0};
    ck_assert_msg(capacity_find(&s, scale, &out, &e), "%s", e.text);
    ck_assert_uint_eq(out.probes, c->n);
    return out;
}

static const struct {
    double knee, start, tolerance;
} cases[] = {{1, 1, 0.02},     {7.3, 1, 0.02},  {7.3, 1, 0.001},
             {100, 0.5, 0.02}, {0.03, 1, 0.02}, {1.99, 1, 0.5}};

START_TEST(test_finds_the_knee)
{
    struct curve c = {.knee = cases[_i].knee};
    struct capacity x = found(&c, cases[_i].start, cases[_i].tolerance);
    ck_assert_double_le(x.best.scale, c.knee);
    ck_assert_double_gt(x.failed.scale, c.knee);
    ck_assert_double_le(x.failed.scale, x.best.scale * (1 + cases[_i].tolerance));
    ck_assert_double_eq(x.best.rate_rps, x.best.scale);
    ck_assert_double_eq(x.best.attainment, 0.95);
    ck_assert_double_eq(x.failed.attainment, 0.5);
}
END_TEST

/* Double until it fails, then bisect. */
START_TEST(test_order)
{
    static const double expected[] = {1, 2, 4, 8, 6, 5, 4.5, 4.25, 4.125, 4.0625};
    struct curve c = {.knee = 4.05};
    struct capacity x = found(&c, 1, 0.02);
    ck_assert_uint_eq(c.n, ARRAY_LEN(expected));
    for (unsigned i = 0; i < c.n; i++)
        ck_assert_double_eq(c.asked[i], expected[i]);
    ck_assert_double_eq(x.best.scale, 4);
}
END_TEST

START_TEST(test_no_rate_is_low_enough)
{
    struct curve c = {.knee = 0};
    struct capacity x = found(&c, 1, 0.02);
    ck_assert_double_eq(x.best.scale, 0);
    ck_assert_double_eq(x.best.rate_rps, 0);
    ck_assert_double_lt(x.failed.scale, 1e-4);
}
END_TEST

START_TEST(test_no_rate_is_too_high)
{
    struct curve c = {.knee = HUGE_VAL};
    const struct capacity_search s = {0.9, 0.02, measure, &c};
    struct capacity x;
    struct err e = {0};
    ck_assert(!capacity_find(&s, 1, &x, &e));
    ck_assert_str_eq(e.text, "capacity: the limits are met even at 6.554e+04 requests/s; a longer "
                             "trace or tighter limits (slo) would have a capacity");
}
END_TEST

START_TEST(test_a_probe_fails)
{
    struct curve c = {.knee = 4.05, .fail_at = (unsigned)_i};
    const struct capacity_search s = {0.9, 0.02, measure, &c};
    struct capacity x;
    struct err e = {0};
    ck_assert(!capacity_find(&s, 1, &x, &e));
    ck_assert_str_eq(e.text, "probe: no");
    ck_assert_uint_eq(c.n, (unsigned)_i);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("capacity_search");
    TCase *t = tcase_create("all");
    suite_add_tcase(s, t);
    tcase_add_loop_test(t, test_finds_the_knee, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(t, test_order);
    tcase_add_test(t, test_no_rate_is_low_enough);
    tcase_add_test(t, test_no_rate_is_too_high);
    tcase_add_loop_test(t, test_a_probe_fails, 1, 7);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
