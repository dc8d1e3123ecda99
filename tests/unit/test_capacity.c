/* test_capacity.c: KV blocks that fit, against pools that real vLLM servers reported. */
#include "backend/describe.h"
#include "sim/backend.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MIB 1048576.0
#define GIB (1024 * MIB)

static struct model_desc model_named(const char *id)
{
    struct model_desc m;
    struct err e = {0};

    ck_assert_msg(describe_model(id, &m, &e), "%s", e.text);
    return m;
}

static struct gpu_desc gpu_named(const char *id)
{
    struct gpu_desc g;
    struct err e = {0};

    ck_assert_msg(describe_gpu(id, &g, &e), "%s", e.text);
    return g;
}

static struct limits limits_of(uint32_t max_num_seqs, uint32_t max_num_batched_tokens)
{
    return (struct limits){.max_num_seqs = max_num_seqs,
                           .max_num_batched_tokens = max_num_batched_tokens,
                           .block_size = 16};
}

static double blocks(const struct model_desc *m, const struct gpu_desc *g, uint32_t tp, double util,
                     const struct limits *l)
{
    struct err e = {0};
    uint64_t n = backend_kv_blocks(m, g, tp, util, l, &e);

    ck_assert_msg(n > 0 && !e.set, "%s", e.text);
    return (double)n;
}

/* ../shared/profiles/bsc-h100-vllm/calib_runs.csv, kv_cache_tokens by max_num_seqs: Llama-3.1-8B,
 * max_num_batched_tokens 2048, an H100 with 65,247 MiB (assumed, and `reserved_bytes` of the
 * h100-sxm preset with it: the level says little, the fall with max_num_seqs does). */
static const struct {
    uint32_t max_num_seqs, tokens;
} bsc[] = {
    {50, 334944},  {100, 334944}, {200, 334816},  {400, 333248},
    {600, 330448}, {800, 327648}, {1000, 324832},
};

START_TEST(bsc_h100)
{
    struct model_desc m = model_named("llama-3.1-8b");
    struct gpu_desc g = gpu_named("h100-sxm");
    struct limits l = limits_of(bsc[_i].max_num_seqs, 2048);
    struct limits small = limits_of(100, 2048);
    double tokens, fall, measured_fall = 334944.0 - bsc[_i].tokens;

    g.memory_bytes = 65247 * MIB;
    tokens = 16 * blocks(&m, &g, 1, 0.9, &l);
    fall = 16 * blocks(&m, &g, 1, 0.9, &small) - tokens;
    ck_assert_double_eq_tol(tokens / bsc[_i].tokens, 1, 0.002);
    ck_assert_double_eq_tol(fall, measured_fall, 0.05 * measured_fall + 128);
}
END_TEST

/* vllm-project/vllm pull 2031: 7,351 blocks, Llama-2-7B, A100 80 GB, 0.9, 4096 tokens a batch.
 * (`reserved_bytes` of the preset comes from it.) */
START_TEST(a100_llama_2)
{
    struct model_desc m = model_named("llama-2-7b");
    struct gpu_desc g = gpu_named("a100-80g");
    struct limits l = limits_of(256, 4096);

    ck_assert_double_eq_tol(blocks(&m, &g, 1, 0.9, &l) / 7351, 1, 0.01);
}
END_TEST

/* vllm-project/vllm issue 13061: 8.69 GiB of KV on each of two RTX 4090 at 0.98. Nothing but 0.25
 * GiB of `reserved_bytes` was taken from it. */
START_TEST(two_rtx4090_qwen_14b)
{
    struct model_desc m = {.id = "DeepSeek-R1-Distill-Qwen-14B",
                           .layers = 48,
                           .hidden = 5120,
                           .heads = 40,
                           .kv_heads = 8,
                           .head_dim = 128,
                           .intermediate = 13824,
                           .vocab = 152064,
                           .weight_bytes_per_param = 2,
                           .kv_bytes_per_elem = 2};
    struct gpu_desc g = gpu_named("rtx4090");
    struct limits l = limits_of(256, 2048);
    double bytes = blocks(&m, &g, 2, 0.98, &l) * 16 * (double)model_kv_bytes_per_token(&m, 2);

    ck_assert_double_eq_tol(bytes / (8.69 * GIB), 1, 0.05);
}
END_TEST

/* By hand: 1 layer, hidden 64, 2 heads of 32, intermediate 128, vocab 1000, all of 2 bytes.
 * Parameters: 2 * 1000 * 64 + (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 64 = 169,152, 338,304 bytes.
 * Activations: layers 2.1 * 2 * (3 * 128 + 4 * 64) * 100 = 268,800; sampler 14.3 * 1000 * 10 =
 * 143,000. A block: 16 * 2 * 64 * 2 = 4,096 bytes. */
static const struct model_desc tiny = {.id = "tiny",
                                       .layers = 1,
                                       .hidden = 64,
                                       .heads = 2,
                                       .kv_heads = 2,
                                       .head_dim = 32,
                                       .intermediate = 128,
                                       .vocab = 1000,
                                       .weight_bytes_per_param = 2,
                                       .kv_bytes_per_elem = 2};

START_TEST(by_hand)
{
    struct gpu_desc g = {.id = "toy", .memory_bytes = 2e6, .reserved_bytes = 1000};
    struct limits l = limits_of(10, 100);
    double floor_of_quotient = floor((1e6 - 338304 - 268800 - 1000) / 4096);

    ck_assert_double_eq(floor_of_quotient, 95);
    ck_assert_double_eq(blocks(&tiny, &g, 1, 0.5, &l), floor_of_quotient);
    l.max_num_seqs = 30; /* the sampler's peak, 429,000, is now the larger */
    ck_assert_double_eq(blocks(&tiny, &g, 1, 0.5, &l),
                        floor((1e6 - 338304 - 429000 - 1000) / 4096));
}
END_TEST

START_TEST(more_memory_more_blocks)
{
    struct model_desc m = model_named("llama-3.1-70b");
    struct gpu_desc g = gpu_named("h200");
    struct limits l = limits_of(256, 2048);
    double last = blocks(&m, &g, 2, 0.9, &l);

    ck_assert_double_gt(blocks(&m, &g, 2, 0.95, &l), last);
    ck_assert_double_gt(blocks(&m, &g, 4, 0.9, &l), 2 * last); /* less weight, half the KV */
    g.memory_bytes -= GIB;
    ck_assert_double_lt(blocks(&m, &g, 2, 0.9, &l), last);
}
END_TEST

START_TEST(weights_do_not_fit)
{
    struct model_desc m = model_named("llama-3.1-70b");
    struct gpu_desc g = gpu_named("h100-sxm");
    struct limits l = limits_of(256, 2048);
    struct err e = {0};

    ck_assert_uint_eq(backend_kv_blocks(&m, &g, 1, 0.9, &l, &e), 0);
    ck_assert_msg(strncmp(e.text, "llama-3.1-70b on 1 x h100-sxm: weights", 38) == 0, "%s", e.text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("capacity");
    TCase *t = tcase_create("capacity");
    SRunner *r;
    int failed;

    tcase_add_loop_test(t, bsc_h100, 0, (int)ARRAY_LEN(bsc));
    tcase_add_test(t, a100_llama_2);
    tcase_add_test(t, two_rtx4090_qwen_14b);
    tcase_add_test(t, by_hand);
    tcase_add_test(t, more_memory_more_blocks);
    tcase_add_test(t, weights_do_not_fit);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
