/* test_executor.c: runs of little memory on the CPU engine: requests that were preempted (by
 * recompute and by swap), that began with blocks of others and that computed their prompts in
 * pieces get the logits that they get alone; and what cannot be run is refused in one line. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "policies/registry.h"
#include "tests/support/pressed.h"

#define VOCAB 89u
#define BLOCK 4u

static const struct model_desc small = {
    .id = "small",
    .layers = 3,
    .hidden = 24,
    .heads = 6,
    .kv_heads = 2,
    .head_dim = 4,
    .intermediate = 40,
    .vocab = VOCAB,
    .max_model_len = PRESSED_LONGEST,
    .rms_norm_eps = 1e-5,
    .rope_theta = 1e4,
};

static void report(const char *what, const struct pressed *p)
{
    printf(
        "%s: %zu preemptions, %llu swaps in, %llu blocks hit, %llu logits compared, worst %.2g\n",
        what, p->preemptions, (unsigned long long)p->swaps_in, (unsigned long long)p->hits,
        (unsigned long long)p->compared, p->worst);
    ck_assert_uint_ge(p->preemptions, 5);
    ck_assert_uint_ge(p->hits, 20);
    ck_assert_uint_ge(p->compared, PRESSED_REQUESTS * 14);
}

START_TEST(recompute_changes_nothing)
{
    for (int high = 0; high < 2; high++) {
        struct pressed p = pressed_run(&device_cpu, &small, high, PREEMPT_RECOMPUTE);
        report(high ? "recompute, float64" : "recompute, float32", &p);
        ck_assert(p.worst < (high ? 1e-6 : 1e-4)); /* logits are handed over as floats */
    }
}
END_TEST

START_TEST(swap_changes_nothing)
{
    for (int high = 0; high < 2; high++) {
        struct pressed p = pressed_run(&device_cpu, &small, high, PREEMPT_SWAP);
        report(high ? "swap, float64" : "swap, float32", &p);
        ck_assert_uint_ge(p.swaps_in, 5);
        ck_assert(p.worst < (high ? 1e-6 : 1e-4));
    }
}
END_TEST

/* The comparison sees it when a request is given other tokens: the negative control. */
START_TEST(a_difference_is_seen)
{
    struct content a, b;
    float x[VOCAB], y[VOCAB];
    pressed_truth_open(&small);
    content_build(&a, 1, 9, BLOCK, NULL, 0, false);
    content_build(&b, 2, 9, BLOCK, NULL, 0, false);
    pressed_truth(&a, 9, x);
    pressed_truth(&b, 9, y);
    double off = 0;
    for (uint32_t i = 0; i < VOCAB; i++)
        off = fmax(off, fabs((double)x[i] - (double)y[i]));
    ck_assert(off > 1e-2);
    content_release(&a);
    content_release(&b);
    pressed_truth_close();
}
END_TEST

/* ---- what cannot be run ---- */

static void refused(struct lab *l, const char *message)
{
    lab_add(l, 0, "a", 5, 5);
    ck_assert(!lab_run(l));
    ck_assert_msg(strstr(l->err.text, message) != NULL, "%s", l->err.text);
    lab_release(l);
}

static void ready(struct lab *l)
{
    lab_init(l);
    l->engine = "tandem";
    l->limits.max_model_len = PRESSED_LONGEST;
    l->backend = &watched_backend;
    l->backend_env = (struct backend_env){.model = &small, .tensor_parallel_size = 1};
    watch = (struct watch){.config.device = &device_cpu};
}

START_TEST(refusals)
{
    struct lab l;
    struct model_desc experts = small;
    ready(&l);
    l.engine = "vllm-0.19";
    refused(&l, "use engine=tandem");
    ready(&l);
    l.backend_env.tensor_parallel_size = 2;
    refused(&l, "tensor_parallel_size");
    ready(&l);
    l.limits.num_gpu_blocks = UINT64_C(1) << 33;
    refused(&l, "too many; lower num_gpu_blocks");
    ready(&l);
    experts.experts = 8;
    l.backend_env.model = &experts;
    refused(&l, "small: ");
    ready(&l);
    l.backend_env.weights = "/nowhere/model.gguf";
    refused(&l, "/nowhere/model.gguf");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("executor");
    TCase *t = tcase_create("cpu");
    tcase_add_test(t, recompute_changes_nothing);
    tcase_add_test(t, swap_changes_nothing);
    tcase_add_test(t, a_difference_is_seen);
    tcase_add_test(t, refusals);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
