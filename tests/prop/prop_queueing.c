/* prop_queueing.c: a replica with engine=ideal is a queue that theory knows.
 *
 *   One request at a time, steps as long as their prompt:         M/G/1, first come first served
 *   Steps of one length whatever is in them, c requests at most:  M/M/c
 *   Steps as long as the batch is large, no limit:                M/G/1, processor sharing
 *
 * Each law is measured by independent runs with seeds of their own; the theory must be within the
 * 99.9 % confidence interval of their mean, widened by what a step, which is not infinitely short,
 * adds at most. The interval must be narrow, too: one that holds everything shows nothing. Tails of
 * power-of-two-choices are in prop_routers.c. */
#include <check.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

#define RUNS 40u
#define T_39 3.56   /* Student's t with 39 degrees of freedom, 99.9 % two-sided */
#define NARROW 0.07 /* half width of the interval / theory, at most */

enum sizes { CONSTANT, EXPONENTIAL, TWO_SIZES };

struct law {
    const char *name;
    enum sizes sizes;
    double rho;
    uint32_t servers; /* 0: all share one */
    uint32_t arrivals;
    bool prompts; /* a request is one step as long as its prompt; else one step a token */
};

#define TOKEN_NS 1000.0
#define MEAN 1000.0 /* tokens of a request */
#define SHORT 500.0 /* of TWO_SIZES: nine in ten */

static double draw(const gsl_rng *g, enum sizes sizes)
{
    switch (sizes) {
    case CONSTANT:
        return MEAN;
    case EXPONENTIAL:
        return 1 + floor(gsl_ran_exponential(g, MEAN - 0.5)); /* its mean is MEAN */
    case TWO_SIZES:
        return gsl_rng_uniform(g) < 0.9 ? SHORT : 10 * MEAN - 9 * SHORT;
    }
    return MEAN;
}

/* E[S^2] in tokens. */
static double second_moment(enum sizes sizes)
{
    double large = 10 * MEAN - 9 * SHORT;
    switch (sizes) {
    case CONSTANT:
        return MEAN * MEAN;
    case EXPONENTIAL:
        return 2 * MEAN * MEAN;
    case TWO_SIZES:
        return 0.9 * SHORT * SHORT + 0.1 * large * large;
    }
    return 0;
}

static void fill(struct lab *l, const struct law *law, uint64_t seed)
{
    gsl_rng *g = rng_gsl(seed, law->name);
    lab_init(l);
    l->leap = true;
    l->limits.enable_prefix_caching = false;
    l->limits.num_gpu_blocks = 1u << 24;
    l->limits.max_num_batched_tokens = 1u << 20;
    l->limits.max_num_seqs = law->servers > 0 ? law->servers : 1u << 14;
    bool alike = !law->prompts && law->servers > 0; /* all steps last the same */
    l->step_ns = alike ? TOKEN_NS : 0;
    l->token_ns = alike ? 0 : TOKEN_NS;
    double at = 0, rate = law->rho * MAX(law->servers, 1u) / (MEAN * TOKEN_NS);
    for (uint32_t i = 0; i < law->arrivals; i++) {
        uint32_t size = (uint32_t)draw(g, law->sizes);
        at += gsl_ran_exponential(g, 1 / rate);
        lab_add(l, (ns_t)at, "a", law->prompts ? size : 1, law->prompts ? 1 : size);
    }
    gsl_rng_free(g);
}

/* Means over the requests of a run, in mean services; a slowdown in services of its own. */
struct means {
    double wait, stay, slowdown;
};

/* Of the last three quarters of the requests: it began empty. */
static struct means measure(const struct lab *l)
{
    uint64_t warm = l->n_rec / 4;
    struct means m = {0};
    for (uint64_t i = 0; i < l->n_row; i++) {
        const struct request_row *row = &l->row[i];
        if (row->seq < warm)
            continue;
        double size = MAX(row->prompt_tokens, row->output_tokens);
        double stay = (double)(row->done_at - row->arrived_at) / TOKEN_NS;
        m.wait += (double)(row->admitted_at - row->arrived_at) / TOKEN_NS / MEAN;
        m.stay += stay / MEAN;
        m.slowdown += stay / size;
    }
    double n = (double)(l->n_rec - warm);
    return (struct means){m.wait / n, m.stay / n, m.slowdown / n};
}

static void expect_theory(const char *law, const char *what, const double v[RUNS], double theory,
                          double step)
{
    double mean = 0, squares = 0;
    for (uint32_t i = 0; i < RUNS; i++)
        mean += v[i] / RUNS;
    for (uint32_t i = 0; i < RUNS; i++)
        squares += (v[i] - mean) * (v[i] - mean);
    double half = T_39 * sqrt(squares / (RUNS - 1) / RUNS);
    printf("%s: %s %.4f +- %.4f, theory %.4f\n", law, what, mean, half, theory);
    ck_assert_msg(half <= NARROW * theory, "%s: %s +- %g shows nothing", law, what, half);
    ck_assert_msg(fabs(mean - theory) <= half + step, "%s: %s is %g, theory %g +- %g", law, what,
                  mean, theory, half + step);
}

/* Erlang's C: the probability that all c servers are busy when somebody arrives. */
static double erlang_c(uint32_t c, double offered)
{
    double term = 1, sum = 0;
    for (uint32_t k = 0; k < c; k++) {
        sum += term;
        term *= offered / (k + 1);
    }
    double all_busy = term / (1 - offered / c);
    return all_busy / (sum + all_busy);
}

static const struct law laws[] = {
    {"M/M/1", EXPONENTIAL, 0.5, 1, 16000, true},   {"M/D/1", CONSTANT, 0.5, 1, 8000, true},
    {"M/D/1 busy", CONSTANT, 0.8, 1, 16000, true}, {"M/G/1", TWO_SIZES, 0.4, 1, 24000, true},
    {"M/M/3", EXPONENTIAL, 0.6, 3, 9000, false},   {"M/M/1 PS", EXPONENTIAL, 0.5, 0, 2500, false},
    {"M/G/1 PS", TWO_SIZES, 0.5, 0, 4000, false},  {"M/D/1 PS", CONSTANT, 0.5, 0, 2500, false},
};

START_TEST(a_replica_is_a_queue)
{
    const struct law *law = &laws[_i];
    double wait[RUNS], stay[RUNS], slowdown[RUNS];
    for (uint32_t i = 0; i < RUNS; i++) {
        struct lab l;
        fill(&l, law, i);
        ck_assert_msg(lab_run(&l), "%s", l.err.text);
        ck_assert_uint_eq(l.result.finished, law->arrivals);
        struct means m = measure(&l);
        wait[i] = m.wait;
        stay[i] = m.stay;
        slowdown[i] = m.slowdown;
        lab_release(&l);
    }
    double rho = law->rho;
    if (law->servers == 0) {
        /* Insensitive: a request takes its own service / (1 - rho), whatever the others are. It may
         * wait for the step under way when it comes, and has its last token when a step ends, not
         * within it: a token of everybody there each. */
        double step = 2 * rho / (1 - rho);
        expect_theory(law->name, "stay", stay, 1 / (1 - rho), step / MEAN);
        if (law->sizes != EXPONENTIAL) /* that has requests of one token */
            expect_theory(law->name, "slowdown", slowdown, 1 / (1 - rho), step / SHORT);
    } else if (law->servers == 1) { /* Pollaczek and Khinchine */
        double theory = rho / (1 - rho) * second_moment(law->sizes) / (2 * MEAN * MEAN);
        expect_theory(law->name, "wait", wait, theory, 0);
    } else {
        double c = law->servers, theory = erlang_c(law->servers, c * rho) / (c * (1 - rho));
        expect_theory(law->name, "wait", wait, theory, 1 / MEAN);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("queueing");
    TCase *t = tcase_create("theory");
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, a_replica_is_a_queue, 0, ARRAY_LEN(laws));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
