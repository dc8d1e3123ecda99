/* prop_leap.c: a leap changes nothing (architecture.md section 9): with it and without it a run
 * takes the same decisions at the same times and tells the same facts to the last bit, whatever the
 * scheduler, the router, the engine and the memory. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

/* A fifth of what a property gets: each is run for every scheduler there is. */
static uint64_t runs(void)
{
    const char *s = getenv("TANDEM_PROP_RUNS");
    return s != NULL ? MAX(strtoull(s, NULL, 10) / 5, 24) : 200;
}

static int n_schedulers(void)
{
    int n = 0;
    while (scheduler_at((size_t)n) != NULL)
        n++;
    return n;
}

static size_t n_routers(void)
{
    size_t n = 0;
    while (router_at(n) != NULL)
        n++;
    return n;
}

/* Prompts that share beginnings, and some that continue what another one's output began. */
static void share(struct lab *l, struct segment *seg, uint64_t seed)
{
    for (size_t i = 0; i < l->n_rec; i++) {
        if ((i + seed) % 3 == 0)
            continue;
        seg[i] = (struct segment){1 + (i * 7 + seed) % 5, 0, l->rec[i].prompt_tokens};
        l->rec[i].segment = &seg[i];
        l->rec[i].n_segments = 1;
        l->rec[i].continues = i % 2 == 0;
    }
}

static void follow(struct lab *l, uint64_t seed)
{
    size_t timed = l->n_rec;
    l->has_after = true;
    for (size_t i = 0; i < timed / 2; i++) {
        struct trace_rec *r = lab_add(l, 0, "t0", 5 + (uint32_t)(i % 20), 1 + (uint32_t)(i % 9));
        r->after = (i * 7 + seed) % timed;
        r->delay_ns = (ns_t)(i % 5) * NS_PER_MS;
        r->max_tokens = r->output_tokens;
    }
}

/* Every part of a run that a leap must respect, in turn; primes so that they meet. */
static void set(struct lab *l, uint64_t seed)
{
    static const char *const engines[] = {"ideal", "vllm-0.8", "vllm-0.19"};
    l->engine = engines[seed % 3];
    l->step_ns = seed % 2 ? 1e6 : 3e7; /* the timeline's second is short, or long */
    l->token_ns = 1000.3;
    l->context_ns = 37.7;
    l->n_replicas = seed % 5 < 2 ? 3 : 1;
    l->router = router_at(seed % n_routers());
    l->limits.units_per_block = 1 + seed % 4;
    l->limits.enable_prefix_caching = seed % 4 != 0;
    l->limits.kv_admission = seed % 7 == 0 ? KV_ADMISSION_RESERVE : KV_ADMISSION_PAGED;
    if (seed % 11 == 0)
        l->limits.kv_admission = KV_ADMISSION_LIGHTLLM;
    l->limits.prefill_mode = seed % 6 == 0 ? PREFILL_SEPARATE : PREFILL_MIXED;
    l->limits.admit_interval = seed % 13 < 2 ? 7 : 1;
    if (seed % 4 == 1) {
        l->limits.preempt = PREEMPT_SWAP;
        l->limits.host_blocks = l->limits.num_gpu_blocks / 3;
    }
    l->warmup_ns = seed % 10 == 0 ? 200 * NS_PER_MS : 0;
    if (seed % 9 == 0)
        l->horizon_ns = 400 * NS_PER_MS;
    l->concurrency = seed % 17 == 0 ? 3 : 0;
    l->predictor = predictor_find(seed % 2 ? "histogram" : "oracle");
}

/* What one run told, to be held against the other's. */
struct told {
    struct lab_decision *decision;
    struct lab_summary *summary;
    struct request_row *row;
    size_t n_decision, n_summary, n_row;
    uint64_t digest, told;
};

static void *copy(const void *from, size_t n, size_t elem)
{
    void *to = mem_alloc(n * elem + 1);
    memcpy(to, from, n * elem);
    return to;
}

static void expect_equal(const struct told *a, const struct lab *l, const char *who)
{
    size_t n = MIN(a->n_decision, l->n_decision);
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(a->decision[i].digest == l->decision[i].digest,
                      "%s: decision %zu: stepping %d of %llu at %lld, leaping %d of %llu at %lld",
                      who, i, (int)a->decision[i].what, (unsigned long long)a->decision[i].seq,
                      (long long)a->decision[i].at, (int)l->decision[i].what,
                      (unsigned long long)l->decision[i].seq, (long long)l->decision[i].at);
    ck_assert_msg(a->n_decision == l->n_decision && a->digest == l->result.digest,
                  "%s: %zu decisions stepping, %zu leaping", who, a->n_decision, l->n_decision);
    ck_assert_uint_eq(a->n_summary, l->n_summary);
    for (size_t i = 0; i < a->n_summary; i++)
        ck_assert_msg(memcmp(&a->summary[i].value, &l->summary[i].value, sizeof(double)) == 0,
                      "%s: %s is %.17g stepping, %.17g leaping", who, a->summary[i].metric,
                      a->summary[i].value, l->summary[i].value);
    ck_assert_uint_eq(a->n_row, l->n_row);
    for (size_t i = 0; i < a->n_row; i++)
        ck_assert_msg(a->row[i].seq == l->row[i].seq && a->row[i].done_at == l->row[i].done_at &&
                          a->row[i].itl_max_ns == l->row[i].itl_max_ns &&
                          a->row[i].output_tokens == l->row[i].output_tokens &&
                          a->row[i].met_slo == l->row[i].met_slo,
                      "%s: request %llu", who, (unsigned long long)a->row[i].seq);
    ck_assert_msg(a->told == l->told, "%s: tenants, timeline or histograms differ", who);
}

START_TEST(changes_nothing)
{
    const struct scheduler_ops *ops = scheduler_at((size_t)_i);
    uint64_t steps = 0, leapt = 0;
    uint64_t n = ops->hold != NULL ? runs() : 24; /* without `hold` none is leapt over */
    for (uint64_t seed = 1; seed <= n; seed++) {
        struct lab l;
        lab_init(&l);
        lab_random(&l, seed);
        struct segment *seg = mem_alloc(l.n_rec * sizeof(*seg));
        l.scheduler = ops;
        set(&l, seed);
        if (seed % 8 < 3)
            share(&l, seg, seed);
        if (seed % 8 == 5)
            follow(&l, seed);
        char who[96];
        snprintf(who, sizeof(who), "%s, %s, workload %llu", ops->name, l.router->name,
                 (unsigned long long)seed);
        ck_assert_msg(lab_run(&l), "%s: %s", who, l.err.text);
        struct told a = {.decision = copy(l.decision, l.n_decision, sizeof(*l.decision)),
                         .summary = copy(l.summary, l.n_summary, sizeof(*l.summary)),
                         .row = copy(l.row, l.n_row, sizeof(*l.row)),
                         .n_decision = l.n_decision,
                         .n_summary = l.n_summary,
                         .n_row = l.n_row,
                         .digest = l.result.digest,
                         .told = l.told};
        ck_assert_uint_eq(l.result.leapt, 0);
        l.leap = true;
        ck_assert_msg(lab_run(&l), "%s: %s", who, l.err.text);
        expect_equal(&a, &l, who);
        steps += l.result.steps;
        leapt += l.result.leapt;
        mem_free(a.decision);
        mem_free(a.summary);
        mem_free(a.row);
        mem_free(seg);
        lab_release(&l);
    }
    printf("%s: %.1f %% of %llu steps leapt\n", ops->name, 100.0 * (double)leapt / (double)steps,
           (unsigned long long)steps);
    ck_assert_msg(ops->hold == NULL || leapt > 0, "%s never leaps", ops->name);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("leap");
    TCase *c = tcase_create("leap");
    tcase_add_loop_test(c, changes_nothing, 0, n_schedulers());
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
