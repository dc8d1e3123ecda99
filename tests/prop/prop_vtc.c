/* prop_vtc.c: the guarantees of VTC as properties over random and adversarial workloads
 * (scheduling.md section 7: T1, T1', T1w, T2, T3, T4, T5, T15). Prints the worst ratio to each
 * bound: some workloads must come near it, or the test would hold for any scheduler. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/spy.h"

#define WP 1.0
#define WQ 2.0

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

struct sizes {
    double l_in, l_out, m, n, min_weight;
};

static struct sizes sizes_of(const struct lab *l)
{
    struct sizes z = {
        .m = (double)limits_kv_tokens(&l->limits), .n = l->limits.max_num_seqs, .min_weight = 1};
    for (size_t i = 0; i < l->n_rec; i++) {
        z.l_in = fmax(z.l_in, l->rec[i].prompt_tokens);
        z.l_out = fmax(z.l_out, l->rec[i].output_tokens);
    }
    for (uint32_t t = 0; t < l->tenants.n; t++)
        z.min_weight = fmin(z.min_weight, params_map_num(&l->params, "vtc", "weights",
                                                         names_text(&l->tenants, t), 1.0));
    return z;
}

/* U of the paper, which needs reservation; and the one that holds with paged growth as well. */
static double u_reserved(const struct sizes *z)
{
    return fmax(WP * z->l_in, WQ * z->m);
}

static double u_safe(const struct sizes *z)
{
    return WP * z->l_in + WQ * z->n * z->l_out;
}

struct worst {
    double pair, spread, lag, isolation, share;
    uint64_t preemptions, metric_checked;
};

static void track(double *worst, double value, double bound, const char *what, uint64_t seed)
{
    ck_assert_msg(value <= bound + 1e-6, "%s: %.1f over the bound %.1f (seed %llu)", what, value,
                  bound, (unsigned long long)seed);
    *worst = fmax(*worst, value / bound);
}

static void check_run(struct lab *l, double u, struct worst *w)
{
    struct spy spy = {.wp = WP, .wq = WQ};
    ck_assert_msg(spy_run(&spy, l), "%s", l->err.text);
    double n = (double)l->tenants.n;
    track(&w->pair, spy_pair_diff(&spy), 2 * u, "T1 both backlogged", l->seed);
    track(&w->spread, spy_counter_spread(&spy), u, "T2 counter spread", l->seed);
    track(&w->lag, spy_lag(&spy), 4 * u, "T3 against anyone", l->seed);
    track(&w->isolation, spy.isolation, 2 * (n - 1) * u, "T4 isolation", l->seed);
    if (spy.weight[0] == 1 && spy.weight[1] == 1) /* shares are equal */
        track(&w->share, spy_shortfall(&spy, (uint32_t)l->tenants.n), 4 * u * (n - 1), "T5 share",
              l->seed);
    /* Charged exactly what is due, within the fixed point's grain: never for recomputed tokens,
     * never twice after a preemption (T15). */
    ck_assert_msg(spy.charge_error < 1e-3, "T15: charge off by %.6f (seed %llu)", spy.charge_error,
                  (unsigned long long)l->seed);
    w->preemptions += lab_count(l, DEC_PREEMPT);
    if (spy.weight[0] == 1 && spy.weight[1] == 1) {     /* the run's own metric saw the same */
        double own = lab_metric(l, "service_diff_max"); /* NaN: no two were ever backlogged */
        ck_assert_double_eq_tol(isnan(own) ? 0 : own, spy_pair_diff(&spy), 1e-6);
        w->metric_checked++;
    }
    spy_release(&spy);
}

static void say(const char *name, const struct worst *w)
{
    printf("%s: worst share of its bound: pair %.2f, counter spread %.2f, non-backlogged %.2f, "
           "isolation %.2f, share %.2f; %llu preemptions\n",
           name, w->pair, w->spread, w->lag, w->isolation, w->share,
           (unsigned long long)w->preemptions);
}

static void vtc_lab(struct lab *l, enum kv_admission admission)
{
    lab_init(l);
    l->scheduler = scheduler_find("vtc");
    l->limits.kv_admission = admission;
}

START_TEST(t1_reserve)
{
    struct worst w = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        vtc_lab(&l, KV_ADMISSION_RESERVE);
        lab_random(&l, seed);
        struct sizes z = sizes_of(&l);
        check_run(&l, u_reserved(&z), &w);
        lab_release(&l);
    }
    say("T1 reserve", &w);
    ck_assert_double_ge(w.pair, 0.5);
    ck_assert_uint_eq(w.metric_checked, runs());
}
END_TEST

START_TEST(t1_any_memory)
{
    struct worst w = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        vtc_lab(&l, KV_ADMISSION_PAGED);
        lab_random(&l, seed);
        if (seed % 3 == 0) {
            l.limits.preempt = PREEMPT_SWAP;
            l.limits.host_blocks = l.limits.num_gpu_blocks / 2;
        }
        struct sizes z = sizes_of(&l);
        check_run(&l, u_safe(&z), &w);
        lab_release(&l);
    }
    say("T1' paged", &w);
    ck_assert_uint_gt(w.preemptions, 1000);
}
END_TEST

START_TEST(t1_weighted)
{
    static const double weights[] = {0.25, 0.5, 1, 2, 3.7};
    struct worst w = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        vtc_lab(&l, KV_ADMISSION_RESERVE);
        lab_random(&l, seed);
        for (uint32_t t = 0; t < l.tenants.n; t++) {
            char key[64];
            snprintf(key, sizeof(key), "vtc.weights.%s", names_text(&l.tenants, t));
            params_set_num(&l.params, key, PARAM_REAL, weights[(seed + t * 3) % 5]);
        }
        struct sizes z = sizes_of(&l);
        check_run(&l, u_reserved(&z) / z.min_weight, &w);
        lab_release(&l);
    }
    say("T1w weighted", &w);
}
END_TEST

/* An idle tenant comes back: without the lift it would be repaid for the time it was away. One is
 * always there, the other sends a few, leaves, and returns with a flood. */
static void on_off(struct lab *l, uint32_t away_s)
{
    for (uint32_t i = 0; i < 5; i++)
        lab_add(l, 0, "on_off", 20, 20);
    for (uint32_t i = 0; i < 8000; i++)
        lab_add(l, 0, "steady", 20, 20);
    for (uint32_t i = 0; i < 400; i++)
        lab_add(l, (ns_t)away_s * NS_PER_S, "on_off", 20, 20);
}

START_TEST(t1_on_off)
{
    for (uint32_t away = 1; away <= 4; away++) {
        struct lab l;
        vtc_lab(&l, KV_ADMISSION_RESERVE);
        on_off(&l, away);
        l.limits.max_num_seqs = 32;
        struct sizes z = sizes_of(&l);
        struct worst w = {0};
        check_run(&l, u_reserved(&z), &w);
        /* Both are served alike from the moment it is back: far inside the bound. */
        ck_assert_double_lt(w.pair, 0.2);
        lab_release(&l);
    }
}
END_TEST

/* A tenant that is ahead of the others must not be let off whenever its queue runs empty for a
 * moment: the lift goes up only. "ahead" always has three requests, each sent when the one before
 * it is done, so that its queue is empty each time; "behind" has a long queue. */
START_TEST(t1_lift_only_up)
{
    struct lab l;
    vtc_lab(&l, KV_ADMISSION_RESERVE);
    l.has_after = true;
    l.limits.num_gpu_blocks = 400;
    for (uint32_t i = 0; i < 900; i++) {
        struct trace_rec *r = lab_add(&l, 0, "ahead", 1, 41 + 4 * (i % 3));
        if (i >= 3)
            r->after = i - 3;
    }
    for (uint32_t i = 0; i < 900; i++)
        lab_add(&l, 0, "behind", 1, 47);
    struct sizes z = sizes_of(&l);
    struct worst w = {0};
    check_run(&l, u_reserved(&z), &w);
    lab_release(&l);
}
END_TEST

/* A tenant whose prompts are nearly as large as memory waits at the head while small ones of others
 * would fit: the one with the smallest counter must not be passed over. */
START_TEST(t4_big_prompt)
{
    struct lab l;
    vtc_lab(&l, KV_ADMISSION_RESERVE);
    l.limits.max_num_seqs = 32;
    l.limits.num_gpu_blocks = 200;
    for (uint32_t i = 0; i < 4000; i++)
        lab_add(&l, (ns_t)i * NS_PER_MS, "small", 5, 10);
    lab_add(&l, 100 * NS_PER_MS, "big", 180, 5);
    struct trace_rec big = l.rec[l.n_rec - 1];
    for (size_t j = l.n_rec - 1; j > 0 && l.rec[j - 1].arrival_at > big.arrival_at; j--) {
        l.rec[j] = l.rec[j - 1];
        l.rec[j - 1] = big;
    }
    for (size_t i = 0; i < l.n_rec; i++)
        l.rec[i].seq = i;
    struct sizes z = sizes_of(&l);
    struct worst w = {0};
    check_run(&l, u_reserved(&z), &w);
    lab_release(&l);
}
END_TEST

/* Many short prompts of one tenant in one step: charged late, all of them would be let in before
 * the first charge counts. */
START_TEST(t1_many_short_prompts)
{
    struct lab l;
    vtc_lab(&l, KV_ADMISSION_RESERVE);
    l.limits.max_num_seqs = 256;
    l.limits.max_num_batched_tokens = 8192;
    l.limits.num_gpu_blocks = 200;
    for (uint32_t i = 0; i < 3000; i++)
        lab_add(&l, 0, i % 2 ? "one" : "two", 30, i % 2 ? 1 : 2);
    struct sizes z = sizes_of(&l);
    struct worst w = {0};
    check_run(&l, u_reserved(&z), &w);
    /* Charged at admission, the two alternate within a step: the counters stay within a request. */
    ck_assert_double_lt(w.spread * u_reserved(&z), 2 * (30 * WP + 2 * WQ));
    lab_release(&l);
}
END_TEST

/* With paged growth the paper's bound does not hold: twenty short prompts grow long, then a prompt
 * of most of memory arrives (scheduling.md 3.4, staggered adversary). This is why T1' has its own
 * bound; were 2U enough here, the larger one would be a test that cannot fail. */
START_TEST(t1_paper_bound_needs_reservation)
{
    uint64_t over = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct lab l;
        vtc_lab(&l, KV_ADMISSION_PAGED);
        lab_random(&l, seed);
        l.limits.num_gpu_blocks = MAX(l.limits.num_gpu_blocks / 3, 60 / l.limits.block_size);
        l.limits.max_num_seqs = 32;
        struct sizes z = sizes_of(&l);
        struct spy spy = {.wp = WP, .wq = WQ};
        ck_assert(spy_run(&spy, &l));
        over += spy_pair_diff(&spy) > 2 * u_reserved(&z);
        ck_assert_double_le(spy_pair_diff(&spy), 2 * u_safe(&z));
        spy_release(&spy);
        lab_release(&l);
    }
    printf("paged growth exceeds the paper's 2U in %llu of 300 workloads\n",
           (unsigned long long)over);
    ck_assert_uint_gt(over, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("vtc");
    TCase *t = tcase_create("properties");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, t1_reserve);
    tcase_add_test(t, t1_any_memory);
    tcase_add_test(t, t1_weighted);
    tcase_add_test(t, t1_on_off);
    tcase_add_test(t, t1_lift_only_up);
    tcase_add_test(t, t4_big_prompt);
    tcase_add_test(t, t1_many_short_prompts);
    tcase_add_test(t, t1_paper_bound_needs_reservation);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
