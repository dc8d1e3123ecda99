/* test_sglang_golden.c: SGLang's reference sequences (scheduling.md 3.3 and G5 of section 12), step
 * by step: what new_token_ratio does, whom it sends away, whom it lets in; and the depth-first
 * order beside the longest match. Blocks of one token, a step takes 1 ms. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "sim/token_ratio.h"
#include "tests/support/lab.h"

#define MOST_STEPS 64u

/* The ratio at the end of each step; one run at a time is watched. */
static struct {
    const struct scheduler_ops *inner;
    double ratio[MOST_STEPS];
    size_t n;
} watched;

static void step_end(void *self, const struct sched_view *v, ns_t duration_ns)
{
    const struct token_ratio *t = self; /* a policy's state begins with it */
    watched.inner->step_end(self, v, duration_ns);
    ck_assert_uint_lt(watched.n, MOST_STEPS);
    watched.ratio[watched.n++] = t->ratio;
}

static void watch(struct lab *l)
{
    struct scheduler_ops ops = *l->scheduler;
    watched.inner = l->scheduler;
    watched.n = 0;
    ops.step_end = step_end;
    l->scheduler = &ops;
    ck_assert_msg(lab_run(l), "%s", l->err.text);
    l->scheduler = watched.inner;
}

static void expect_order(const struct lab *l, const uint64_t *order, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < l->n_decision; i++)
        if (l->decision[i].what == DEC_ADMIT) {
            ck_assert_uint_lt(k, n);
            ck_assert_msg(l->decision[i].seq == order[k], "%s: %llu is admitted as number %zu",
                          l->scheduler->name, (unsigned long long)l->decision[i].seq, k);
            k++;
        }
    ck_assert_uint_eq(k, n);
}

#define INIT 0.7
#define DECAY ((0.7 - 0.7 * 0.14) / 600)

/* ---- G5 ---- */

static const char *const sglang[] = {"lpm", "dfs"};

/* At 8 ms 29 tokens are resident of 29, and everybody wants one more: generated/prompt are 8/2, 5/9
 * and 5/3. The one of 5/9 goes; of the others, which may emit 60 each, 5 + 8 tokens are out. */
START_TEST(g5_retraction)
{
    struct lab l;
    lab_init(&l);
    l.scheduler = scheduler_find(sglang[_i]);
    l.limits.num_gpu_blocks = 29;
    char key[32];
    snprintf(key, sizeof(key), "%s.clip", sglang[_i]);
    params_set_num(&l.params, key, PARAM_INT, 1); /* so that all are let in */
    lab_add(&l, 0, "A", 2, 12)->max_tokens = 60;
    lab_add(&l, 3 * NS_PER_MS - 1, "A", 9, 12)->max_tokens = 60;
    lab_add(&l, 3 * NS_PER_MS - 1, "A", 3, 12)->max_tokens = 60;
    watch(&l);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0), 3 * NS_PER_MS);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 2, 0), 3 * NS_PER_MS);
    ck_assert_int_eq(l.decision[lab_find(&l, DEC_PREEMPT, UINT64_MAX, 0)].at, 8 * NS_PER_MS);
    ck_assert_int_eq(lab_at(&l, DEC_PREEMPT, 1, 0), 8 * NS_PER_MS);

    double after = (5 + 8 + 20 * 2) / (2 * 60 + 1.0);
    ck_assert_double_eq(watched.ratio[0], INIT); /* a prompt: not a decode step */
    for (size_t i = 1; i < 8; i++)
        ck_assert_double_eq_tol(watched.ratio[i], INIT - DECAY * (double)i, 1e-12);
    ck_assert_double_eq_tol(watched.ratio[8], after, 1e-12); /* no decay in that step */
    ck_assert_double_eq_tol(watched.ratio[9], after - DECAY, 1e-12);
    ck_assert_double_eq(watched.ratio[watched.n - 1], INIT); /* idle */
    lab_release(&l);
}
END_TEST

/* ---- admission ---- */

/* 100 tokens. The first may emit 60; one step later its 59 that are left count 0.7 times: 41, and 5
 * are held. So 54 are left, of which a newcomer of 10 needs all it may emit besides, in full, and
 * one more. The clip cuts what a client may ask for. */
static const struct {
    uint32_t max_tokens, clip;
    bool fits;
} newcomers[] = {{43, 4096, true}, {44, 4096, false}, {90, 43, true}, {90, 44, false}};

START_TEST(candidate_counts_in_full)
{
    struct lab l;
    lab_init(&l);
    l.scheduler = scheduler_find("lpm");
    l.limits.num_gpu_blocks = 100;
    params_set_num(&l.params, "lpm.clip", PARAM_INT, newcomers[_i].clip);
    params_set_num(&l.params, "lpm.min_factor", PARAM_REAL, 1); /* no decay */
    lab_add(&l, 0, "A", 4, 20)->max_tokens = 60;
    lab_add(&l, NS_PER_MS - 1, "A", 10, 2)->max_tokens = newcomers[_i].max_tokens;
    bool clipped = newcomers[_i].clip < 59; /* then less of the first is set aside as well */
    l.limits.num_gpu_blocks = clipped ? 5 + newcomers[0].max_tokens * 7 / 10 + 54 : 100;
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    ck_assert_int_eq(lab_at(&l, DEC_ADMIT, 1, 0) == NS_PER_MS, newcomers[_i].fits);
    lab_release(&l);
}
END_TEST

/* ---- the order ---- */

/* 0 and 1 leave two prompts of 30 in the cache. Then wait: 2, which hits 20 of 1's; 3 and 5, which
 * hit 20 of 0's; 6, which hits 25 of them; 4, which hits nothing. Depth first the branch of 0 comes
 * first, since three wait for it, and when one is left of both the queue decides; the longest match
 * takes 2 before 3. */
static const struct {
    const char *scheduler;
    uint64_t order[7];
} orders[] = {{"dfs", {0, 1, 6, 3, 2, 5, 4}}, {"lpm", {0, 1, 6, 2, 3, 5, 4}}};

START_TEST(heavy_branch_first)
{
    static struct segment text[7][3] = {{{1, 0, 20}, {11, 0, 10}},
                                        {{2, 0, 20}, {12, 0, 10}},
                                        {{2, 0, 20}, {13, 0, 10}},
                                        {{1, 0, 20}, {14, 0, 10}},
                                        {{9, 0, 30}},
                                        {{1, 0, 20}, {15, 0, 10}},
                                        {{1, 0, 20}, {11, 0, 5}, {16, 0, 5}}};
    static const uint32_t n_segments[7] = {2, 2, 2, 2, 1, 2, 3};
    struct lab l;
    lab_init(&l);
    l.scheduler = scheduler_find(orders[_i].scheduler);
    l.limits.max_num_seqs = 1;
    for (size_t i = 0; i < ARRAY_LEN(text); i++) {
        struct trace_rec *r = lab_add(&l, i < 2 ? 0 : 3 * NS_PER_MS / 2, "A", 30, 1);
        r->segment = text[i];
        r->n_segments = n_segments[i];
    }
    ck_assert_msg(lab_run(&l), "%s", l.err.text);
    expect_order(&l, orders[_i].order, 7);
    lab_release(&l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("SGLang");
    TCase *t = tcase_create("sequences");
    tcase_add_loop_test(t, g5_retraction, 0, (int)ARRAY_LEN(sglang));
    tcase_add_loop_test(t, candidate_counts_in_full, 0, (int)ARRAY_LEN(newcomers));
    tcase_add_loop_test(t, heavy_branch_first, 0, (int)ARRAY_LEN(orders));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
