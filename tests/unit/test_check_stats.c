/* The statistics of `tandem check`: known answers, and how often they err. */
#include "experiments/check_stats.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "sim/rng.h"

static const struct stats_design paired5 = {true, 5, 5}, unpaired4 = {false, 4, 4};

START_TEST(paired_known_answer)
{
    /* Differences -1, 0, 1, 2, 3: mean 1, variance 2.5. Lower is better: above 0 is a loss. */
    const double base[] = {10, 11, 12, 13, 14}, cand[] = {9, 11, 13, 15, 17};
    struct stats_figure f = {.base = base, .cand = cand};
    stats_compare(&f, 1, &paired5);
    ck_assert_double_eq_tol(f.loss, 1, 1e-12);
    ck_assert_double_eq_tol(f.se, sqrt(2.5 / 5), 1e-12);
    ck_assert_double_eq_tol(f.at_most, 1 + 2.131847 * f.se, 1e-5); /* t(0.95; 4) */
    ck_assert_uint_eq(f.n_worse, 3);
    ck_assert_uint_eq(f.n_better, 1);
    ck_assert(f.low < 0 && f.high > 2);
    f.higher = true;
    stats_compare(&f, 1, &paired5);
    ck_assert_double_eq_tol(f.loss, -1, 1e-12);
    ck_assert_uint_eq(f.n_worse, 1);
}
END_TEST

START_TEST(unpaired_known_answer)
{
    /* Welch, by hand: means 2.5 and 5, variances 5/3 and 20/3, 4.41 degrees of freedom. */
    const double base[] = {1, 2, 3, 4}, cand[] = {2, 4, 6, 8};
    struct stats_figure f = {.base = base, .cand = cand};
    stats_compare(&f, 1, &unpaired4);
    ck_assert_double_eq_tol(f.loss, 2.5, 1e-12);
    ck_assert_double_eq_tol(f.base_mean, 2.5, 1e-12);
    ck_assert_double_eq_tol(f.cand_mean, 5, 1e-12);
    ck_assert_double_eq_tol(f.se, sqrt((5.0 / 3 + 20.0 / 3) / 4), 1e-12);
    ck_assert_double_eq_tol((f.at_most - f.loss) / f.se, 2.076, 1e-3); /* t(0.95; 4.41) */
    ck_assert(f.found80 > f.se && f.found95 > f.found80);
}
END_TEST

START_TEST(what_does_not_vary)
{
    const double base[] = {1, 1, 1, 1, 1}, less[] = {0.9, 0.9, 0.9, 0.9, 0.9};
    struct stats_figure f[2] = {{.base = base, .cand = base, .higher = true, .gate = true},
                                {.base = base, .cand = less, .higher = true}};
    const struct stats_design unpaired5 = {false, 5, 5};
    const struct stats_design *const designs[] = {&paired5, &unpaired5};
    for (size_t i = 0; i < ARRAY_LEN(designs); i++) {
        stats_compare(f, 2, designs[i]);
        ck_assert(f[0].loss == 0 && f[0].low == 0 && f[0].high == 0 && f[0].at_most == 0);
        ck_assert_double_eq_tol(f[1].loss, 0.1, 1e-12);
        ck_assert(f[1].low > 0);
    }
}
END_TEST

START_TEST(last_digits_are_no_difference)
{
    const double base[] = {0.1, 0.2, 0.3, 0.4, 0.5};
    const double cand[] = {0.1, 0.2, 0.1 + 0.2, 0.4, 0.5};
    struct stats_figure f = {.base = base, .cand = cand};
    stats_compare(&f, 1, &paired5);
    ck_assert(cand[2] != base[2] && f.loss == 0 && f.n_worse == 0);
}
END_TEST

START_TEST(values_that_are_not_there)
{
    const double none = (double)NAN;
    const double base[] = {1, 2, none, 4, 5}, cand[] = {2, 3, 4, none, 6};
    const double empty[] = {none, none, none, none, none};
    struct stats_figure f[2] = {{.base = base, .cand = cand}, {.base = base, .cand = empty}};
    stats_compare(f, 2, &paired5);
    ck_assert_double_eq_tol(f[0].loss, 1, 1e-12);
    ck_assert_double_eq_tol(f[0].base_mean, 8.0 / 3, 1e-12);
    ck_assert_uint_eq(f[0].n_worse, 3);
    ck_assert(isnan(f[1].loss) && isnan(f[1].low) && isnan(f[1].at_most));
}
END_TEST

/* ---- how often it errs ---- */

enum { SEEDS = 20, FIGURES = 6, TRIALS = 100 };

/* Figures of a side: all but the first depend on each other; the last is skewed, as tails are. */
static void draw(struct rng *rng, double value[FIGURES][SEEDS], double first)
{
    for (size_t s = 0; s < SEEDS; s++) {
        double common = 0;
        for (size_t k = 0; k < 12; k++)
            common += rng_unit(rng) - 0.5; /* nearly normal, variance 1 */
        for (size_t i = 0; i < FIGURES; i++)
            value[i][s] = 100 + 5 * common + rng_unit(rng);
        value[0][s] = first - 0.01 * rng_unit(rng) * rng_unit(rng); /* attainment near its top */
        value[FIGURES - 1][s] = exp(common);
    }
}

struct tally {
    unsigned regressions, gate_found, covered;
    double found95;
};

/* Two samples, of which the second loses `loss` of the first figure. */
static void trials(struct tally *t, double loss, uint64_t seed)
{
    const struct stats_design d = {false, SEEDS, SEEDS};
    static double base[FIGURES][SEEDS], cand[FIGURES][SEEDS];
    struct stats_figure f[FIGURES] = {{.higher = true, .gate = true}};
    struct rng rng;
    rng_init(&rng, seed, "test");
    *t = (struct tally){0};
    for (unsigned i = 0; i < TRIALS; i++) {
        draw(&rng, base, 1);
        draw(&rng, cand, 1 - loss);
        bool any = false, all = true;
        for (size_t k = 0; k < FIGURES; k++) {
            f[k].base = base[k];
            f[k].cand = cand[k];
        }
        stats_compare(f, FIGURES, &d);
        for (size_t k = 0; k < FIGURES; k++) {
            double truth = k == 0 ? loss : 0;
            any = any || f[k].low > 0;
            all = all && f[k].low <= truth && truth <= f[k].high;
        }
        t->regressions += any;
        t->gate_found += f[0].low > 0;
        t->covered += all;
        t->found95 += f[0].found95 / TRIALS;
    }
}

START_TEST(errs_no_more_often_than_it_says)
{
    struct tally none, some;
    trials(&none, 0, 7);
    /* 1 % of 100 false regressions: more than 5 have a probability of 0.0005. All intervals of
     * both families hold in 98 %: fewer than 92 have a probability of 0.001. */
    ck_assert_uint_le(none.regressions, 5);
    ck_assert_uint_ge(none.covered, 92);
    /* A loss of the size that it claims to find in 95 %: fewer than 87 of 100 have 0.0015. */
    trials(&some, none.found95, 8);
    ck_assert_uint_ge(some.gate_found, 87);
    ck_assert_uint_ge(some.covered, 92);
}
END_TEST

START_TEST(the_same_figures_give_the_same_intervals)
{
    static double base[FIGURES][SEEDS], cand[FIGURES][SEEDS];
    const struct stats_design d = {false, SEEDS, SEEDS};
    struct stats_figure f[2];
    struct rng rng;
    rng_init(&rng, 9, "test");
    draw(&rng, base, 1);
    draw(&rng, cand, 1);
    for (size_t i = 0; i < 2; i++) {
        f[i] = (struct stats_figure){.base = base[1], .cand = cand[1]};
        stats_compare(&f[i], 1, &d);
    }
    ck_assert(f[0].low == f[1].low && f[0].high == f[1].high);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("check_stats");
    TCase *t = tcase_create("all");
    tcase_add_test(t, paired_known_answer);
    tcase_add_test(t, unpaired_known_answer);
    tcase_add_test(t, what_does_not_vary);
    tcase_add_test(t, last_digits_are_no_difference);
    tcase_add_test(t, values_that_are_not_there);
    tcase_add_test(t, errs_no_more_often_than_it_says);
    tcase_add_test(t, the_same_figures_give_the_same_intervals);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
