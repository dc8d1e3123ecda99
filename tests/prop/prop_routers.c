/* prop_routers.c: queue lengths against theory (scheduling.md T19, the supermarket model): many
 * replicas that serve one request at a time, Poisson arrivals, exponential service. The share of
 * replicas with k requests or more tends to rho^(2^k - 1) with two choices and is rho^k with a
 * random one. */
#include <check.h>
#include <gsl/gsl_randist.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

#define REPLICAS 500u
#define ARRIVALS 200000u
#define RHO 0.7
#define K_MAX 6u
#define WARM_NS (100 * NS_PER_MS) /* of about 570 mean services of 1 ms */

/* A step is one prompt, so a service is as long as its prompt: 1000 tokens in the mean. */
static void fill(struct lab *l)
{
    gsl_rng *g = rng_gsl(7, "supermarket");
    lab_init(l);
    l->limits.max_num_seqs = 1;
    l->limits.max_num_batched_tokens = l->limits.max_model_len;
    l->limits.num_gpu_blocks = 1u << 20;
    l->limits.enable_prefix_caching = false;
    l->n_replicas = REPLICAS;
    l->step_ns = 0;
    l->token_ns = 1000;
    double at = 0;
    for (uint32_t i = 0; i < ARRIVALS; i++) {
        at += gsl_ran_exponential(g, 1e6 / (RHO * REPLICAS));
        lab_add(l, (ns_t)at, "a", 1 + (uint32_t)gsl_ran_exponential(g, 1000), 1);
    }
    gsl_rng_free(g);
}

/* tail[k] = share of time and replicas with k requests or more, after the warm-up, up to the last
 * arrival. */
static void measure(const struct lab *l, double tail[K_MAX + 1])
{
    uint32_t *queue = mem_alloc(REPLICAS * sizeof(*queue));
    uint32_t *replica = mem_alloc(l->n_rec * sizeof(*replica));
    uint32_t at_least[K_MAX + 1] = {REPLICAS};
    ns_t last = WARM_NS, end = l->rec[l->n_rec - 1].arrival_at;
    for (uint32_t k = 0; k <= K_MAX; k++)
        tail[k] = 0;
    for (size_t i = 0; i < l->n_decision && l->decision[i].at <= end; i++) {
        const struct lab_decision *d = &l->decision[i];
        if (d->what != DEC_ROUTE && d->what != DEC_FINISH)
            continue;
        for (uint32_t k = 0; d->at > last && k <= K_MAX; k++)
            tail[k] += (double)at_least[k] * (double)(d->at - last);
        last = MAX(last, d->at);
        if (d->what == DEC_ROUTE) {
            replica[d->seq] = (uint32_t)d->number;
            uint32_t n = ++queue[d->number];
            if (n <= K_MAX)
                at_least[n]++;
        } else {
            uint32_t n = queue[replica[d->seq]]--;
            if (n <= K_MAX)
                at_least[n]--;
        }
    }
    for (uint32_t k = 0; k <= K_MAX; k++)
        tail[k] /= (double)REPLICAS * (double)(last - WARM_NS);
    mem_free(queue);
    mem_free(replica);
}

static const struct {
    const char *router;
    double d;
    double within; /* of the theory: noise of one run, and 1/REPLICAS for the limit */
} laws[] = {{"random", 1, 0.012}, {"power_of_two", 2, 0.004}};

START_TEST(t19_supermarket)
{
    struct lab l;
    double tail[K_MAX + 1];
    fill(&l);
    l.router = router_find(laws[_i].router);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_uint_eq(l.result.finished, ARRIVALS);
    measure(&l, tail);
    for (uint32_t k = 1; k <= K_MAX; k++) {
        double power = laws[_i].d > 1 ? pow(2, k) - 1 : k;
        double theory = pow(RHO, power);
        printf("%s: P(>= %u) %.4f, theory %.4f\n", laws[_i].router, k, tail[k], theory);
        ck_assert_double_eq_tol(tail[k], theory, laws[_i].within);
    }
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("routers");
    TCase *t = tcase_create("routers");
    tcase_add_loop_test(t, t19_supermarket, 0, ARRAY_LEN(laws));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
