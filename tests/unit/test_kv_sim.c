/* test_kv_sim.c: lossy KV policies in the simulator: a prompt is whole until it is computed, then
 * what the policy keeps is held and what it reads is paid for; whatever goes on around them. */
#include <check.h>
#include <stdlib.h>

#include "policies/registry.h"
#include "tests/support/lab.h"

static void set(struct lab *l, const char *key, double value)
{
    params_set_num(&l->params, key, PARAM_REAL, value);
}

static void run(struct lab *l)
{
    ck_assert_msg(lab_run(l), "%s: %s", l->kv->name, l->err.text);
}

/* One request of 20 + 10 tokens, blocks of 4, a budget of 8: what the first step, which computes
 * the prompt, the second and the last one hold (units) and read (tokens). */
static const struct {
    const char *kv;
    uint64_t held[3], read[3];
} alone[] = {
    {"full", {5, 6, 8}, {0, 21, 29}},
    {"streaming", {5, 2, 2}, {0, 8, 8}},
    {"h2o", {5, 2, 2}, {0, 8, 8}},
    {"snapkv", {5, 3, 5}, {0, 9, 17}},
    {"oracle_topk", {5, 6, 8}, {0, 8, 8}},
    {"quest", {5, 6, 8}, {0, 14, 16}},   /* a token a page of bounds: 6, then 8 */
    {"duo", {5, 2, 2}, {0, 6, 6}},       /* sink 2, recent 4 */
    {"keydiff", {5, 4, 4}, {0, 13, 13}}, /* 5 tokens come in before as many go */
    {"paged_eviction", {5, 3, 3}, {0, 12, 12}},
};

START_TEST(a_request_alone)
{
    struct lab l;
    lab_init(&l);
    l.limits.block_size = 4;
    l.kv = kvpolicy_find(alone[_i].kv);
    set(&l, "kv.budget", 8);
    set(&l, "kv.page", 4);
    set(&l, "kv.skip_layers", 0);
    set(&l, "keydiff.block", 5);
    set(&l, "duo.full_heads", 0);
    if (l.kv == kvpolicy_find("duo")) {
        set(&l, "kv.sink", 2);
        set(&l, "kv.recent", 4);
    }
    lab_add(&l, 0, "a", 20, 10);
    run(&l);
    size_t steps[] = {0, 1, 9};
    ck_assert_uint_eq(l.n_step, 10);
    for (size_t k = 0; k < 3; k++) {
        const struct step_row *s = &l.step[steps[k]];
        ck_assert_uint_eq(s->kv_units_used, alone[_i].held[k]);
        ck_assert_uint_eq(s->context_tokens, alone[_i].read[k]);
    }
    lab_release(&l);
}
END_TEST

/* Four of 20 + 60 tokens in 120 places: in full they send one another away. */
START_TEST(what_is_dropped_makes_room)
{
    double full_batch = 0;
    static const char *const names[] = {"full", "streaming", "h2o", "tova"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct lab l;
        lab_init(&l);
        l.limits.num_gpu_blocks = 120;
        l.kv = kvpolicy_find(names[i]);
        set(&l, "kv.budget", 16);
        for (int k = 0; k < 4; k++)
            lab_add(&l, 0, "a", 20, 60);
        run(&l);
        ck_assert_uint_eq((uint64_t)lab_metric(&l, "finished"), 4);
        if (i == 0) {
            full_batch = lab_metric(&l, "batch_size_mean");
            ck_assert_double_gt(lab_metric(&l, "preemptions"), 0);
        } else {
            ck_assert_double_le(lab_metric(&l, "preemptions"), 0);
            ck_assert_double_gt(lab_metric(&l, "batch_size_mean"), full_batch);
        }
        lab_release(&l);
    }
}
END_TEST

/* Little memory, recompute or swap, prompts in chunks, reserved or not: everybody ends, all units
 * come back (checked by the engine), and again the same. */
START_TEST(random_workloads)
{
    const struct kvpolicy_ops *kv = kvpolicy_at((size_t)_i);
    uint64_t preempted = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct lab l;
        lab_init(&l);
        lab_random(&l, seed);
        l.kv = kv;
        l.kv_budget = kvbudget_at(seed % 4);
        l.limits.units_per_block = 1 + seed % 3;
        l.limits.preempt = seed % 2 ? PREEMPT_SWAP : PREEMPT_RECOMPUTE;
        l.limits.host_blocks = l.limits.num_gpu_blocks / (1 + seed % 3);
        l.limits.kv_admission = seed % 5 == 0 ? KV_ADMISSION_RESERVE : KV_ADMISSION_PAGED;
        set(&l, "kv.budget", seed % 3 == 0 ? 0.4 : 3 + (double)(seed % 7));
        set(&l, "lagkv.lag", 3);
        set(&l, "keydiff.block", 4);
        run(&l);
        uint64_t digest = l.result.digest;
        preempted += lab_count(&l, DEC_PREEMPT);
        ck_assert_uint_eq(lab_count(&l, DEC_FINISH) + lab_count(&l, DEC_REFUSE), l.n_rec);
        run(&l);
        ck_assert_uint_eq(l.result.digest, digest);
        lab_release(&l);
    }
    if (kv->lossless)
        ck_assert_uint_gt(preempted, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kv in the simulator");
    TCase *t = tcase_create("kv");
    int n = 0, failed;
    while (kvpolicy_at((size_t)n) != NULL)
        n++;
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, a_request_alone, 0, (int)ARRAY_LEN(alone));
    tcase_add_test(t, what_is_dropped_makes_room);
    tcase_add_loop_test(t, random_workloads, 0, n);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
