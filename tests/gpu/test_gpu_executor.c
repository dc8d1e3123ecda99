/* test_gpu_executor.c: runs of little memory on the GPU: requests that were preempted by recompute
 * and by swap, that began with blocks of others and that computed their prompts in pieces get the
 * logits that they get alone in float64 on the CPU: in float32 to a millionth, in bf16 as near as
 * bf16 comes (the bar of the engine's other tests, over all rows of a run; a row may be off more).
 */
#include "tests/gpu/gpu.h"

#include "tests/support/pressed.h"

static const struct model_desc model = {
    .id = "small",
    .layers = 3,
    .hidden = 256,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 64,
    .intermediate = 512,
    .vocab = 1000,
    .max_model_len = 4096,
    .rms_norm_eps = 1e-5,
    .rope_theta = 1e4,
};

static const struct {
    const char *name;
    bool high_precision;
    enum preempt_mode preempt;
    double bound;
} runs[] = {
    {"bf16, recompute", false, PREEMPT_RECOMPUTE, 1e-2},
    {"bf16, swap", false, PREEMPT_SWAP, 1e-2},
    {"float32, recompute", true, PREEMPT_RECOMPUTE, 1e-4},
    {"float32, swap", true, PREEMPT_SWAP, 1e-4},
};

START_TEST(nothing_changes)
{
    struct pressed p = pressed_run(&device_cuda, &model, runs[_i].high_precision, runs[_i].preempt);
    printf("%s: %zu preemptions, %llu swaps in, %llu blocks hit, %llu logits, off by %.2g, worst "
           "row %.2g\n",
           runs[_i].name, p.preemptions, (unsigned long long)p.swaps_in, (unsigned long long)p.hits,
           (unsigned long long)p.compared, p.error, p.worst);
    ck_assert_uint_ge(p.preemptions, 5);
    ck_assert_uint_ge(p.hits, 20);
    ck_assert(p.swaps_in >= 5 || runs[_i].preempt == PREEMPT_RECOMPUTE);
    ck_assert_uint_ge(p.compared, PRESSED_REQUESTS * 14);
    ck_assert(p.error < runs[_i].bound);
    ck_assert(p.worst < 3 * runs[_i].bound);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("gpu executor");
    TCase *t = tcase_create("pressed");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, nothing_changes, 0, (int)ARRAY_LEN(runs));
    suite_add_tcase(s, t);
    return gpu_tests(s);
}
