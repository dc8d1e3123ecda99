/* prop_dlpm.c: the guarantees of DLPM and DRR (scheduling.md section 7: T4, T6), that no scheduler
 * leaves the machine idle while somebody waits (T8, with RPM as the one that must fail it), and
 * that schedulers become each other at the ends of their parameters (T17). Prints the worst ratio
 * to each bound. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/spy.h"

#define WE 1.0
#define WQ 2.0

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 200;
}

/* ---- T4, T6 ---- */

struct worst {
    double pair, lag, isolation, low;
    uint64_t preemptions, refills, hits;
};

static void track(double *worst, double value, double bound, const char *what, uint64_t seed)
{
    ck_assert_msg(value <= bound + 1e-6, "%s: %.1f over the bound %.1f (seed %llu)", what, value,
                  bound, (unsigned long long)seed);
    *worst = fmax(*worst, value / bound);
}

static double unit(const struct lab *l)
{
    double l_in = 0, l_out = 0;
    for (size_t i = 0; i < l->n_rec; i++) {
        l_in = fmax(l_in, l->rec[i].prompt_tokens);
        l_out = fmax(l_out, l->rec[i].output_tokens);
    }
    return l->limits.kv_admission == KV_ADMISSION_RESERVE
               ? WE * l_in + WQ * (double)limits_kv_tokens(&l->limits)
               : WE * l_in + WQ * l->limits.max_num_seqs * l_out;
}

static void check_deficits(struct lab *l, double quantum, double pair_bound, struct spy *spy,
                           struct worst *w)
{
    *spy =
        (struct spy){.wp = WE, .wq = WQ, .quantum = quantum, .charge_extend = spy->charge_extend};
    ck_assert_msg(spy_run(spy, l), "%s", l->err.text);
    double u = unit(l);
    track(&w->low, -spy->q_min, u, "T6 deficit", l->seed);
    ck_assert_msg(spy->q_max <= quantum, "T6: q = %.1f over the quantum (seed %llu)", spy->q_max,
                  (unsigned long long)l->seed);
    ck_assert_msg(spy->refill_error < 1e-3, "T6: refills or service off by %.6f (seed %llu)",
                  spy->refill_error, (unsigned long long)l->seed);
    ck_assert_msg(spy->charge_error < 1e-3, "T15: charge off by %.6f (seed %llu)",
                  spy->charge_error, (unsigned long long)l->seed);
    track(&w->pair, spy_pair_diff(spy), pair_bound, "T6 both backlogged", l->seed);
    w->preemptions += lab_count(l, DEC_PREEMPT);
    for (uint32_t t = 0; t < SPY_TENANTS; t++)
        w->refills += (uint64_t)llround(spy->refilled[t]);
    for (size_t i = 0; i < l->n_row; i++)
        w->hits += l->row[i].cached_tokens;
}

static void say(const char *name, const struct worst *w)
{
    printf("%s: worst share of its bound: pair %.2f, non-backlogged %.2f, isolation %.2f, debt "
           "%.2f; %llu refills, %llu preemptions, %llu tokens hit\n",
           name, w->pair, w->lag, w->isolation, w->low, (unsigned long long)w->refills,
           (unsigned long long)w->preemptions, (unsigned long long)w->hits);
}

static double random_quantum(uint64_t seed)
{
    static const double quanta[] = {20, 200, 2000, 20000};
    return quanta[seed % 4];
}

static void dlpm_run(uint64_t seed, enum kv_admission admission, const char *rejoin,
                     struct worst *w)
{
    struct lab l;
    lab_init(&l);
    l.scheduler = scheduler_find("dlpm");
    l.limits.kv_admission = admission;
    lab_random(&l, seed);
    struct segment *seg = lab_share_prefixes(&l, seed);
    double quantum = random_quantum(seed), u = unit(&l), n = (double)l.tenants.n;
    params_set_num(&l.params, "dlpm.quantum", PARAM_REAL, quantum);
    params_set_str(&l.params, "dlpm.rejoin", rejoin);
    struct spy spy = {.charge_extend = true};
    check_deficits(&l, quantum, 2 * (u + quantum), &spy, w);
    ck_assert_msg(spy_refill_differences(&spy) == 0, "T6: refilled unequally (seed %llu)",
                  (unsigned long long)seed);
    ck_assert_msg(spy.gated == 0, "a decision ended with nobody's credit left (seed %llu)",
                  (unsigned long long)seed);
    if (strcmp(rejoin, "zero") == 0) { /* what the paper's proofs assume */
        track(&w->lag, spy_lag(&spy), 2 * (u + quantum), "T6 against anyone", seed);
        track(&w->isolation, spy.isolation, 2 * (n - 1) * (u + quantum), "T4 isolation", seed);
    }
    spy_release(&spy);
    lab_release(&l);
    mem_free(seg);
}

START_TEST(t6_reserve)
{
    struct worst w = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++)
        dlpm_run(seed, KV_ADMISSION_RESERVE, "zero", &w);
    say("T6 reserve", &w);
    ck_assert_double_ge(w.pair, 0.3);
    ck_assert_uint_gt(w.hits, 1000);
    ck_assert_uint_gt(w.refills, 1000);
}
END_TEST

START_TEST(t6_any_memory)
{
    struct worst w = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++)
        dlpm_run(seed, KV_ADMISSION_PAGED, "zero", &w);
    say("T6 paged", &w);
    ck_assert_uint_gt(w.preemptions, 500);
}
END_TEST

START_TEST(t6_keep_debt)
{
    struct worst w = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++)
        dlpm_run(seed, KV_ADMISSION_RESERVE, "keep_debt", &w);
    say("T6 keep_debt", &w);
}
END_TEST

/* Turns in place of the order by prefix: refills may differ by one, and so the bound by a quantum.
 */
START_TEST(drr_bound)
{
    struct worst w = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        lab_init(&l);
        l.scheduler = scheduler_find("drr");
        l.limits.kv_admission = KV_ADMISSION_RESERVE;
        lab_random(&l, seed);
        double quantum = random_quantum(seed);
        params_set_num(&l.params, "drr.quantum", PARAM_REAL, quantum);
        struct spy spy = {0};
        check_deficits(&l, quantum, 2 * unit(&l) + 3 * quantum, &spy, &w);
        spy_release(&spy);
        lab_release(&l);
    }
    say("DRR", &w);
    ck_assert_double_ge(w.pair, 0.3);
}
END_TEST

/* ---- T8: nobody waits while the machine is idle ---- */

/* Idle times in which some request was there and not done. One that the policy refused counts as
 * never done; one that could never run here was never there. */
static uint64_t idle_with_demand(const struct lab *l)
{
    uint64_t n = 0;
    for (size_t k = 0; k + 1 < l->n_step; k++) {
        ns_t from = l->step[k].at + l->step[k].duration_ns, to = l->step[k + 1].at;
        for (size_t i = 0; i < l->n_row && from < to; i++) {
            const struct request_row *r = &l->row[i];
            bool refused = r->status == STATUS_REFUSED && strcmp(l->reason[i], "policy") == 0;
            bool never = r->status == STATUS_REFUSED && !refused && r->admitted_at < 0;
            if (!never && r->arrived_at < to && (r->done_at > from || refused)) {
                n++;
                break;
            }
        }
    }
    return n;
}

START_TEST(t8_never_idle)
{
    const struct scheduler_ops *ops = scheduler_at((size_t)_i);
    uint64_t idle = 0;
    for (uint64_t seed = 1; seed <= MIN(runs(), 100); seed++) {
        struct lab l;
        lab_init(&l);
        l.scheduler = ops;
        lab_random(&l, seed);
        l.limits.kv_admission = seed % 2 ? KV_ADMISSION_RESERVE : KV_ADMISSION_PAGED;
        params_set_num(&l.params, "rpm.k", PARAM_INT, 10);
        params_set_num(&l.params, "dlpm.quantum", PARAM_REAL, random_quantum(seed / 2));
        ck_assert_msg(lab_run(&l), "%s", l.err.text);
        idle += idle_with_demand(&l);
        lab_release(&l);
    }
    if (strcmp(ops->name, "rpm") == 0) /* the negative control: it refuses although there is room */
        ck_assert_uint_gt(idle, 0);
    else
        ck_assert_msg(idle == 0, "%s: idle %llu times while somebody waits", ops->name,
                      (unsigned long long)idle);
}
END_TEST

/* ---- T17: ends of parameters ---- */

enum workload { RANDOM, ONE_TENANT, ALL_AT_ONCE, SHARED_PREFIXES };

static uint64_t digest_of(const char *scheduler, uint64_t seed, enum workload kind, double weight)
{
    struct lab l;
    struct segment *seg = NULL;
    lab_init(&l);
    l.scheduler = scheduler_find(scheduler);
    lab_random(&l, seed);
    l.limits.kv_admission = seed % 2 ? KV_ADMISSION_RESERVE : KV_ADMISSION_PAGED;
    if (kind == SHARED_PREFIXES) { /* slots are short, not memory: LPM stops, DLPM passes over */
        seg = lab_share_prefixes(&l, seed);
        l.limits.num_gpu_blocks *= 40;
        l.limits.max_num_seqs = 4;
    }
    /* DLPM holds a newcomer back until the others have used their quantum up, however large: so
     * either one tenant, or all from the beginning. */
    bool alone = kind == ONE_TENANT || (kind == SHARED_PREFIXES && seed % 2);
    bool at_once = kind == ALL_AT_ONCE || (kind == SHARED_PREFIXES && !alone);
    for (size_t i = 0; i < l.n_rec; i++) {
        l.rec[i].tenant = alone ? 0 : l.rec[i].tenant;
        l.rec[i].arrival_at = at_once ? 0 : l.rec[i].arrival_at;
    }
    if (kind == ALL_AT_ONCE)
        l.limits.kv_admission = KV_ADMISSION_RESERVE;
    for (uint32_t t = 0; t < l.tenants.n && weight > 0; t++) {
        char key[64];
        snprintf(key, sizeof(key), "vtc.weights.%s", names_text(&l.tenants, t));
        params_set_num(&l.params, key, PARAM_REAL, weight);
    }
    params_set_num(&l.params, "dlpm.quantum", PARAM_REAL, 1e9);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    uint64_t digest = l.result.digest;
    lab_release(&l);
    mem_free(seg);
    return digest;
}

static const struct limit {
    const char *a, *b;
    enum workload kind;
    double weight; /* of every tenant, for a */
} same[] = {
    {"vtc", "fcfs", ONE_TENANT, 0},      {"lcf", "fcfs", ONE_TENANT, 0},
    {"drr", "fcfs", ONE_TENANT, 0},      {"vtc", "vtc", RANDOM, 2},
    {"lcf", "vtc", ALL_AT_ONCE, 0}, /* nobody leaves and comes back: there is no lift */
    {"dlpm", "lpm", SHARED_PREFIXES, 0},
};

/* And where they must differ, or the pairs above would prove nothing. */
static const struct limit differ[] = {
    {"vtc", "fcfs", RANDOM, 0}, {"lcf", "vtc", RANDOM, 0},           {"drr", "vtc", RANDOM, 0},
    {"dlpm", "vtc", RANDOM, 0}, {"lpm", "fcfs", SHARED_PREFIXES, 0},
};

START_TEST(t17_same)
{
    const struct limit *p = &same[_i];
    for (uint64_t seed = 1; seed <= 30; seed++)
        ck_assert_msg(
            digest_of(p->a, seed, p->kind, p->weight) == digest_of(p->b, seed, p->kind, 0),
            "%s and %s decide differently (seed %llu)", p->a, p->b, (unsigned long long)seed);
}
END_TEST

START_TEST(t17_differ)
{
    const struct limit *p = &differ[_i];
    uint64_t n = 0;
    for (uint64_t seed = 1; seed <= 20; seed++)
        n += digest_of(p->a, seed, p->kind, 0) != digest_of(p->b, seed, p->kind, 0);
    ck_assert_uint_gt(n, 5);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dlpm");
    int n = 0;
    while (scheduler_at((size_t)n) != NULL)
        n++;
    TCase *t = tcase_create("deficits");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, t6_reserve);
    tcase_add_test(t, t6_any_memory);
    tcase_add_test(t, t6_keep_debt);
    tcase_add_test(t, drr_bound);
    suite_add_tcase(s, t);
    t = tcase_create("others");
    tcase_set_timeout(t, 600);
    tcase_add_loop_test(t, t8_never_idle, 0, n);
    tcase_add_loop_test(t, t17_same, 0, (int)ARRAY_LEN(same));
    tcase_add_loop_test(t, t17_differ, 0, (int)ARRAY_LEN(differ));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
