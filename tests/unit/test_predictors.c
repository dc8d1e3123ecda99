/* test_predictors.c: what each predictor makes of lengths it was told, and the accuracy that a run
 * reports. That none of them looks at a truth it did not ask for is a conformance test. */
#include <check.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

/* A predictor by itself, with two tenants. */
struct world {
    const struct predictor_ops *ops;
    struct params params;
    struct arena arena;
    struct slots tenant;
    void *self;
};

static void world_open(struct world *w, const char *id)
{
    struct err e = {0};
    w->ops = predictor_find(id);
    arena_init(&w->arena);
    slots_init(&w->tenant, w->ops->tenant_state_bytes);
    slots_ensure(&w->tenant, 2);
    w->self = w->ops->open(&w->arena, &w->params, 1, &e);
    ck_assert_ptr_ne(w->self, NULL);
}

static void world_release(struct world *w)
{
    slots_release(&w->tenant);
    arena_release(&w->arena);
    params_release(&w->params);
}

static void tell(struct world *w, uint32_t tenant, uint32_t prompt, uint32_t output)
{
    struct req_info q = {.tenant = tenant, .prompt_tokens = prompt};
    w->ops->learn(w->self, &q, slots_at(&w->tenant, tenant), output);
}

static struct prediction ask(struct world *w, uint32_t tenant, uint32_t prompt, uint32_t truth)
{
    struct req_info q = {.tenant = tenant, .prompt_tokens = prompt};
    return w->ops->predict(w->self, &q, slots_at(&w->tenant, tenant), truth);
}

START_TEST(classes_double)
{
    static const struct {
        double tokens;
        uint32_t edge;
    } cases[] = {{0.5, 1}, {1, 1}, {1.5, 2}, {2, 2}, {3, 4}, {64, 64}, {65, 128}, {4e9, 1u << 31}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_uint_eq(prediction_class(cases[i].tokens), cases[i].edge);
    ck_assert_uint_eq(prediction_of(70).bucket, 128);
    ck_assert_uint_eq(prediction_of(0).bucket, 0);
}
END_TEST

START_TEST(ema_follows_its_rule)
{
    struct world w = {0};
    world_open(&w, "ema");
    ck_assert_double_eq(ask(&w, 0, 10, 99).mean, 0);
    tell(&w, 0, 10, 100); /* the first value is the first length */
    ck_assert_double_eq(ask(&w, 0, 10, 99).mean, 100);
    tell(&w, 0, 10, 50);
    ck_assert_double_eq(ask(&w, 0, 10, 99).mean, 90); /* (4 * 100 + 50) / 5 */
    tell(&w, 0, 10, 10);
    ck_assert_double_eq(ask(&w, 0, 10, 99).mean, 74);
    ck_assert_double_eq(ask(&w, 1, 10, 99).mean, 0); /* another tenant's is its own */
    world_release(&w);
}
END_TEST

START_TEST(histogram_learns_a_distribution)
{
    struct world w = {0};
    world_open(&w, "histogram");
    ck_assert_double_eq(ask(&w, 0, 1, 9).mean, 0);
    for (uint32_t i = 0; i < 9; i++)
        tell(&w, 0, 1, 20);
    tell(&w, 1, 1, 900);
    ck_assert_double_eq(ask(&w, 1, 1, 9).mean, 20); /* too few of its own: what all have */
    for (uint32_t i = 0; i < 9; i++)
        tell(&w, 1, 1, 902);
    ck_assert_double_eq_tol(ask(&w, 1, 1, 9).mean, 901.8, 1e-9);
    ck_assert_uint_eq(ask(&w, 1, 1, 9).bucket, 1024);
    world_release(&w);
}
END_TEST

/* Exponential lengths of mean 100: the quantile's class is known. */
START_TEST(histogram_finds_the_quantile)
{
    static const double quantiles[] = {0.1, 0.5, 0.9, 0.99};
    for (size_t k = 0; k < ARRAY_LEN(quantiles); k++) {
        struct world w = {0};
        params_set_num(&w.params, "histogram.quantile", PARAM_REAL, quantiles[k]);
        world_open(&w, "histogram");
        gsl_rng *g = rng_gsl(3, "exponential");
        for (uint32_t i = 0; i < 20000; i++)
            tell(&w, i % 2, 1, 1 + (uint32_t)gsl_ran_exponential(g, 100));
        gsl_rng_free(g);
        uint32_t edge = prediction_class(-100 * log(1 - quantiles[k]));
        ck_assert_uint_eq(ask(&w, 0, 1, 9).bucket, edge);
        ck_assert_double_le(ask(&w, 0, 1, 9).mean, edge);
        ck_assert_double_gt(ask(&w, 0, 1, 9).mean, edge / 2);
        world_release(&w);
    }
}
END_TEST

/* output = 3 * sqrt(prompt), a straight line in logarithms. */
START_TEST(regression_finds_the_line)
{
    struct world w = {0};
    world_open(&w, "regression");
    ck_assert_double_eq(ask(&w, 0, 100, 9).mean, 0);
    for (uint32_t i = 0; i < 1024; i++) {
        uint32_t root = 1 + i * 37 % 90;
        tell(&w, i % 2, root * root, 3 * root);
    }
    for (uint32_t root = 1; root <= 90; root += 7)
        ck_assert_double_eq_tol(ask(&w, 0, root * root, 9).mean, 3 * root, 1e-6);
    ck_assert_double_le(ask(&w, 0, 100000000, 9).mean, 270); /* not beyond what it has seen */
    double before = ask(&w, 0, 400, 9).mean;
    for (uint32_t i = 1; i < 1024; i++)
        tell(&w, 0, 400, 1000);
    ck_assert_double_eq(ask(&w, 0, 400, 9).mean, before); /* 2047: the line stays */
    tell(&w, 0, 400, 1000);
    ck_assert_double_gt(ask(&w, 0, 400, 9).mean, before + 10);
    world_release(&w);
}
END_TEST

START_TEST(regression_of_equal_prompts)
{
    struct world w = {0};
    world_open(&w, "regression");
    tell(&w, 0, 50, 10);
    ck_assert_double_eq_tol(ask(&w, 0, 7, 9).mean, 10, 1e-9);
    tell(&w, 0, 50, 40);
    ck_assert_double_eq_tol(ask(&w, 0, 7, 9).mean, 20, 1e-9); /* the geometric mean */
    world_release(&w);
}
END_TEST

START_TEST(noise_is_uniform)
{
    struct world w = {0};
    world_open(&w, "noisy");
    double sum = 0, off = 0, low = HUGE_VAL, high = 0;
    for (uint64_t seq = 0; seq < 20000; seq++) {
        struct req_info q = {.seq = seq};
        double x = w.ops->predict(w.self, &q, NULL, 1000).mean;
        ck_assert_double_eq(w.ops->predict(w.self, &q, NULL, 1000).mean, x);
        sum += x / 20000;
        off += fabs(x - 1000) / 1000 / 20000;
        low = fmin(low, x);
        high = fmax(high, x);
    }
    ck_assert_double_eq_tol(sum, 1000, 10);
    ck_assert_double_eq_tol(off, 0.25, 0.005); /* half of rel */
    ck_assert(low >= 500 && low < 505 && high <= 1500 && high > 1495);
    world_release(&w);
}
END_TEST

/* ---- what a run reports ---- */

static void accuracy(const char *id, double *mape, double *hit, double *coverage)
{
    struct lab l;
    lab_init(&l);
    l.predictor = predictor_find(id);
    for (uint32_t i = 0; i < 8; i++) {
        struct trace_rec *r = lab_add(&l, (ns_t)i * NS_PER_S, i % 2 ? "a" : "b", 10, 20);
        r->predicted_tokens = i < 2 ? 0 : 15; /* a quarter off, in the class below */
    }
    ck_assert(lab_run(&l));
    *mape = lab_metric(&l, "predictor_mape");
    *hit = lab_metric(&l, "predictor_bucket_accuracy");
    *coverage = lab_metric(&l, "predictor_coverage");
    lab_release(&l);
}

START_TEST(a_run_says_how_good_they_were)
{
    double mape, hit, coverage;
    accuracy("oracle", &mape, &hit, &coverage);
    ck_assert(mape == 0 && hit == 1 && coverage == 1);
    accuracy("column", &mape, &hit, &coverage);
    ck_assert(mape == 0.25 && hit == 0 && coverage == 0.75);
    accuracy("ema", &mape, &hit, &coverage); /* each tenant's first comes unknown */
    ck_assert(mape == 0 && hit == 1 && coverage == 0.75);
    accuracy("histogram", &mape, &hit, &coverage);
    ck_assert(mape == 0 && hit == 1 && coverage == 0.875);
    struct lab l;
    lab_init(&l);
    lab_add(&l, 0, "a", 10, 20);
    ck_assert(lab_run(&l));
    for (size_t i = 0; i < l.n_summary; i++) /* no predictor: nothing to say */
        ck_assert_ptr_eq(strstr(l.summary[i].metric, "predictor"), NULL);
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("predictors");
    TCase *t = tcase_create("lengths");
    tcase_add_test(t, classes_double);
    tcase_add_test(t, ema_follows_its_rule);
    tcase_add_test(t, histogram_learns_a_distribution);
    tcase_add_test(t, histogram_finds_the_quantile);
    tcase_add_test(t, regression_finds_the_line);
    tcase_add_test(t, regression_of_equal_prompts);
    tcase_add_test(t, noise_is_uniform);
    tcase_add_test(t, a_run_says_how_good_they_were);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
