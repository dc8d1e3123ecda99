/* prop_batching.c: the guarantees of schedulers that are about batches and order rather than
 * fairness (scheduling.md section 7): Sarathi's steps (T9), bounded waiting under aging (T12), and
 * the limits in which two schedulers are the same (T17). Each has a negative control. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? strtoull(s, NULL, 10) : 1000;
}

static void random_lab(struct lab *l, const char *scheduler, uint64_t seed)
{
    lab_init(l);
    lab_random(l, seed);
    l->scheduler = scheduler_find(scheduler);
    params_set_num(&l->params, "sarathi.tau", PARAM_INT, (double)(1u + seed % 97));
}

/* ---- T9 ---- */

struct stall_free {
    double fullest;                         /* tokens of a step / its bound */
    uint64_t over;                          /* steps beyond it */
    uint64_t stalled, checked, preemptions; /* requests */
};

/* All steps take 1 ms, so that two tokens of a request further apart than that have a step between
 * them in which it did not decode. */
static void check_steps(const struct lab *l, uint32_t tau, struct stall_free *w)
{
    for (size_t i = 0; i < l->n_step; i++) {
        const struct step_row *s = &l->step[i];
        double bound = fmax(tau, s->n_decode);
        double share = (s->decode_tokens + s->prefill_tokens) / bound;
        w->fullest = fmax(w->fullest, share);
        w->over += share > 1;
    }
    for (size_t i = 0; i < l->n_row; i++) {
        const struct request_row *q = &l->row[i];
        if (q->status != STATUS_FINISHED || q->preemptions > 0)
            continue;
        w->checked++;
        w->stalled += q->itl_max_ns > NS_PER_MS;
    }
    w->preemptions += lab_count(l, DEC_PREEMPT);
}

START_TEST(t9_stall_free)
{
    struct stall_free w = {0};
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        random_lab(&l, "sarathi", seed);
        uint32_t tau = 1u + (uint32_t)(seed % 97);
        ck_assert_msg(lab_run(&l), "seed %llu: %s", (unsigned long long)seed, l.err.text);
        check_steps(&l, tau, &w);
        ck_assert_msg(w.over == 0 && w.stalled == 0, "T9: %llu steps over, %llu stalls (seed %llu)",
                      (unsigned long long)w.over, (unsigned long long)w.stalled,
                      (unsigned long long)seed);
        lab_release(&l);
    }
    printf("T9 sarathi: fullest step %.2f of its bound, no stall in %llu requests; %llu "
           "preemptions\n",
           w.fullest, (unsigned long long)w.checked, (unsigned long long)w.preemptions);
    ck_assert_double_eq(w.fullest, 1);
    ck_assert_uint_gt(w.preemptions, runs());
}
END_TEST

/* Prompts first: decodes stall, and steps are as full as they like. */
START_TEST(t9_prompts_first_stalls)
{
    struct stall_free w = {0};
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct lab l;
        random_lab(&l, "vllm_v0", seed);
        ck_assert_msg(lab_run(&l), "%s", l.err.text);
        check_steps(&l, 1u + (uint32_t)(seed % 97), &w);
        lab_release(&l);
    }
    ck_assert_uint_gt(w.stalled, w.checked / 10);
    ck_assert_uint_gt(w.over, 100);
}
END_TEST

/* ---- T12 ---- */

/* One sequence at a time, so that the time those ahead take is theirs alone: a step for each output
 * token, and one for each further chunk of the prompt. */
static ns_t service_ns(const struct lab *l, const struct trace_rec *r)
{
    uint32_t chunks = div_ceil_u32(r->prompt_tokens, l->limits.max_num_batched_tokens);
    return (ns_t)(chunks - 1 + r->output_tokens) * NS_PER_MS;
}

static uint32_t work(const struct trace_rec *r)
{
    return r->prompt_tokens + r->output_tokens;
}

/* The largest wait as a share of (k - k_min) / aging + what came before that and can be ahead. */
static double worst_wait(const struct lab *l, double aging)
{
    uint32_t least = UINT32_MAX;
    double worst = 0;
    for (size_t i = 0; i < l->n_rec; i++)
        least = MIN(least, work(&l->rec[i]));
    for (size_t i = 0; i < l->n_row; i++) {
        const struct request_row *row = &l->row[i];
        const struct trace_rec *r = &l->rec[row->seq];
        if (row->status != STATUS_FINISHED)
            continue;
        ns_t ages = (ns_t)(1e9 * (work(r) - least) / aging) + 1;
        ns_t bound = ages;
        for (size_t k = 0; k < l->n_rec && l->rec[k].arrival_at <= r->arrival_at + ages; k++)
            bound += k == row->seq ? 0 : service_ns(l, &l->rec[k]);
        worst = fmax(worst, (double)(row->admitted_at - row->arrived_at) / (double)bound);
    }
    return worst;
}

/* A long request, and short ones without end at the rate at which they are served. */
static double flood(const char *scheduler, double aging, ns_t *waited)
{
    struct lab l;
    char key[32];
    lab_init(&l);
    l.scheduler = scheduler_find(scheduler);
    l.predictor = predictor_find("oracle");
    l.limits.max_num_seqs = 1;
    snprintf(key, sizeof(key), "%s.aging", scheduler);
    params_set_num(&l.params, key, PARAM_REAL, aging);
    lab_add(&l, 0, "short", 5, 5);
    lab_add(&l, 0, "long", 50, 150);
    for (uint32_t i = 0; i < 4000; i++)
        lab_add(&l, (ns_t)i * 4 * NS_PER_MS, "short", 5, 5);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    const struct request_row *row = lab_row(&l, 1);
    *waited = row->admitted_at - row->arrived_at;
    double share = worst_wait(&l, aging > 0 ? aging : 100);
    lab_release(&l);
    return share;
}

static const char *const shortest_first[] = {"sjf", "ssjf"};

START_TEST(t12_starves_without_aging)
{
    ns_t waited;
    double share = flood(shortest_first[_i], 0, &waited);
    ck_assert_double_gt(share, 1);
    ck_assert_int_gt(waited, 4000 * 4 * NS_PER_MS); /* until the last of them was served */
}
END_TEST

START_TEST(t12_waits_are_bounded_with_aging)
{
    ns_t waited;
    double share = flood(shortest_first[_i], 100, &waited);
    ck_assert_double_le(share, 1);
    ck_assert_int_gt(waited, NS_PER_S); /* it did let the short ones go first */
    double worst = share;
    for (uint64_t seed = 1; seed <= runs(); seed++) {
        struct lab l;
        char key[32];
        lab_init(&l);
        lab_random(&l, seed);
        l.scheduler = scheduler_find(shortest_first[_i]);
        l.predictor = predictor_find("oracle");
        l.limits.max_num_seqs = 1;
        double aging = 10.0 * (double)(1u << seed % 10);
        snprintf(key, sizeof(key), "%s.aging", l.scheduler->name);
        params_set_num(&l.params, key, PARAM_REAL, aging);
        ck_assert_msg(lab_run(&l), "%s", l.err.text);
        double w = worst_wait(&l, aging);
        ck_assert_msg(w <= 1, "T12: waited %.2f of the bound (seed %llu)", w,
                      (unsigned long long)seed);
        worst = fmax(worst, w);
        lab_release(&l);
    }
    printf("T12 %s: worst wait %.2f of its bound\n", shortest_first[_i], worst);
    ck_assert_double_gt(worst, 0.5);
}
END_TEST

/* The order itself, where all arrive at once and run one by one. */
START_TEST(shortest_goes_first)
{
    struct lab l;
    lab_init(&l);
    l.scheduler = scheduler_find(shortest_first[_i]);
    l.predictor = predictor_find("oracle");
    l.limits.max_num_seqs = 1;
    for (uint32_t i = 0; i < 50; i++)
        lab_add(&l, 0, "a", 1 + i * 7 % 50, 1 + i * 13 % 50);
    ck_assert(lab_run(&l));
    /* The first is in before the others have arrived (same time, one event after the other). */
    for (size_t i = 0, n = 0, last = 0; (i = lab_find(&l, DEC_ADMIT, UINT64_MAX, n)) != SIZE_MAX;
         n++) {
        uint32_t w = work(&l.rec[l.decision[i].seq]);
        if (n > 1)
            ck_assert_uint_ge(w, last);
        last = w;
    }
    lab_release(&l);
}
END_TEST

/* ---- T17 ---- */

struct twin {
    const char *scheduler, *key; /* key NULL: no parameter */
    double value;
    enum prefill_mode mode;
};

static const struct {
    struct twin a, b;
} same[] = {
    {{"sarathi", "sarathi.tau", 1e6, PREFILL_MIXED}, {"fcfs", NULL, 0, PREFILL_MIXED}},
    {{"vllm_v0", NULL, 0, PREFILL_MIXED}, {"fcfs", NULL, 0, PREFILL_SEPARATE}},
    {{"priority", NULL, 0, PREFILL_MIXED}, {"fcfs", NULL, 0, PREFILL_MIXED}},
};

static uint64_t digest_of(const struct twin *t, uint64_t seed)
{
    struct lab l;
    lab_init(&l);
    lab_random(&l, seed);
    l.limits.max_num_batched_tokens = 1u << 20; /* where it binds, decodes first is another order */
    l.limits.prefill_mode = t->mode;
    l.scheduler = scheduler_find(t->scheduler);
    params_set_num(&l.params, "sarathi.watermark", PARAM_REAL, 0);
    params_set_num(&l.params, "vllm_v0.watermark", PARAM_REAL, 0);
    if (t->key != NULL)
        params_set_num(&l.params, t->key, PARAM_INT, t->value);
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    uint64_t digest = l.result.digest;
    lab_release(&l);
    return digest;
}

START_TEST(t17_limits)
{
    for (uint64_t seed = 1; seed <= runs(); seed++)
        ck_assert_msg(digest_of(&same[_i].a, seed) == digest_of(&same[_i].b, seed),
                      "T17: %s is not %s (seed %llu)", same[_i].a.scheduler, same[_i].b.scheduler,
                      (unsigned long long)seed);
}
END_TEST

/* Away from the limit they differ, or the test above compared nothing. */
START_TEST(t17_elsewhere_they_differ)
{
    static const struct twin small = {"sarathi", "sarathi.tau", 8, PREFILL_MIXED};
    static const struct twin v0 = {"vllm_v0", NULL, 0, PREFILL_MIXED};
    static const struct twin fcfs = {"fcfs", NULL, 0, PREFILL_MIXED};
    uint64_t differ[2] = {0};
    for (uint64_t seed = 1; seed <= 100; seed++) {
        differ[0] += digest_of(&small, seed) != digest_of(&fcfs, seed);
        differ[1] += digest_of(&v0, seed) != digest_of(&fcfs, seed);
    }
    ck_assert_uint_gt(differ[0], 90);
    ck_assert_uint_gt(differ[1], 90);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("batching");
    TCase *t = tcase_create("properties");
    tcase_set_timeout(t, 600);
    tcase_add_test(t, t9_stall_free);
    tcase_add_test(t, t9_prompts_first_stalls);
    tcase_add_loop_test(t, t12_starves_without_aging, 0, ARRAY_LEN(shortest_first));
    tcase_add_loop_test(t, t12_waits_are_bounded_with_aging, 0, ARRAY_LEN(shortest_first));
    tcase_add_loop_test(t, shortest_goes_first, 0, ARRAY_LEN(shortest_first));
    tcase_add_loop_test(t, t17_limits, 0, ARRAY_LEN(same));
    tcase_add_test(t, t17_elsewhere_they_differ);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
