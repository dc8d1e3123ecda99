/* test_roofline.c: the roofline's arithmetic by hand, what it must never do (fall when work grows,
 * bend where the leap needs a line), and its units. */
#include "backend/describe.h"
#include "backend/registry.h"
#include "sim/arena.h"
#include "sim/rng.h"
#include "tests/support/line_check.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- a toy with round rates: 1 ns a GEMM byte, 2 ns another byte, 0.001 ns a FLOP ---- */

static const struct model_desc toy = {.id = "toy",
                                      .layers = 1,
                                      .hidden = 100,
                                      .heads = 2,
                                      .kv_heads = 1,
                                      .head_dim = 50,
                                      .intermediate = 200,
                                      .vocab = 1000,
                                      .weight_bytes_per_param = 2,
                                      .kv_bytes_per_elem = 2};
static const struct gpu_desc toy_gpu = {.id = "toy",
                                        .hbm_bytes_per_s = 1e9,
                                        .hbm_efficiency = 0.5,
                                        .gemm_hbm_efficiency = 1,
                                        .flops_per_s = 1e12,
                                        .flops_efficiency = 1,
                                        .attn_flops_efficiency = 0.5,
                                        .half_tokens = 10,
                                        .kernel_ramp_ns = 1000,
                                        .kernel_launch_ns = 50000,
                                        .graph_node_ns = 100,
                                        .link_bytes_per_s = 1e9,
                                        .link_latency_ns = 7};

static const struct limits limits = {.max_num_seqs = 256, .max_num_batched_tokens = 2048};

struct opened {
    const struct backend_ops *ops;
    struct arena arena;
    struct backend_note note;
    void *self; /* NULL: err says why */
    struct err err;
};

static void open_roofline(struct opened *o, const struct model_desc *m, const struct gpu_desc *g,
                          uint32_t tp)
{
    struct backend_env env = {.model = m, .gpu = g, .tensor_parallel_size = tp, .limits = &limits};

    *o = (struct opened){.ops = backend_find("roofline")};
    arena_init(&o->arena);
    o->self = o->ops->open(&o->arena, &env, &o->note, &o->err);
}

static double step_ns(const struct opened *o, const struct batch_shape *shape)
{
    struct batch b = {.shape = *shape};
    struct step_cost cost = {.wall_ns = -1};
    struct err e = {0};

    ck_assert_msg(o->self != NULL, "%s", o->err.text);
    ck_assert(o->ops->step(o->self, &b, &cost, &e));
    ck_assert_int_eq(cost.wall_ns, 0);
    return cost.device_ns;
}

static double cost_of(const struct model_desc *m, const struct gpu_desc *g, uint32_t tp,
                      const struct batch_shape *shape)
{
    struct opened o;
    double ns;

    open_roofline(&o, m, g, tp);
    ns = step_ns(&o, shape);
    arena_release(&o.arena);
    return ns;
}

static struct batch_shape decode_of(uint32_t n, uint64_t context_sum)
{
    return (struct batch_shape){
        .n_decode = n, .decode_tokens = n, .decode_context_sum = context_sum};
}

static void add_prefill(struct batch_shape *b, uint32_t chunk, uint32_t history)
{
    b->n_prefill++;
    b->prefill_tokens += chunk;
    b->prefill_history_sum += history;
    b->prefill_pairs += (double)chunk * history + (double)chunk * (chunk + 1) / 2;
}

/* ---- by hand ---- */

/* Two sequences, 30 tokens of context together. Layer: qkv 200 x 100: 40,000 ns of weights and 2 *
 * 600 of tokens; o 20,000 + 2 * 400; gate and up 80,000 + 2 * 1,000; down 40,000 + 2 * 600;
 * elementwise 2 * 1,900 values * 4 ns; attention 2 * 800 + 30 * 400. Once: 2 * 1,600 for embedding
 * and norm; lm_head 200,000 + 2 * 2,200; sampler 2 * 16,000. Ramps 9.5 + 8, kernels 10 + 4. */
#define DECODE_NS                                                                                  \
    (41200.0 + 20800 + 82000 + 41200 + 15200 + 1600 + 12000 + 3200 + 204400 + 32000 + 17500 + 1400)

START_TEST(decode_by_hand)
{
    struct batch_shape b = decode_of(2, 30);

    ck_assert_double_eq_tol(cost_of(&toy, &toy_gpu, 1, &b), DECODE_NS, 1e-6);
}
END_TEST

/* Beside a chunk of 20 tokens over 10: 22 tokens. Prefill attention reads 30 keys at 400 ns, more
 * than (410 + 20 * 64) pairs at 0.8; decode attention pays nothing extra: max(1, 2 / 1 / 2). */
START_TEST(mixed_by_hand)
{
    struct batch_shape b = decode_of(2, 30);
    double layer = 53200 + 28800 + 102000 + 53200 + 167200 + 17600 + 12000 + 12000;
    double once = 35200 + 206600 + 48000;
    struct gpu_desc slow_host = toy_gpu, narrow = toy_gpu;

    add_prefill(&b, 20, 10);
    ck_assert_double_eq_tol(cost_of(&toy, &toy_gpu, 1, &b), layer + once + 17500 + 1400, 1e-6);

    slow_host.kernel_launch_ns = 60000; /* 14 launches now last longer than the device's work */
    ck_assert_double_eq_tol(cost_of(&toy, &slow_host, 1, &b), 14 * 60000.0, 1e-6);

    narrow.attn_flops_efficiency = 0.005; /* 80 ns a pair: prefill's FLOPs outlast its bytes */
    ck_assert_double_eq_tol(cost_of(&toy, &narrow, 1, &b) - cost_of(&toy, &toy_gpu, 1, &b),
                            (410 + 20 * 64) * 80.0 - 12000, 1e-6);
}
END_TEST

/* Decode attention beside a prefill: longer by half the query heads that share a KV head. */
START_TEST(mixed_decode_costs_more)
{
    struct model_desc grouped = toy;
    struct batch_shape b = decode_of(2, 30), longer = decode_of(2, 40);

    grouped.heads = 10;
    grouped.head_dim = 10; /* 80 ns a token of context */
    ck_assert_double_eq_tol(cost_of(&grouped, &toy_gpu, 1, &longer) -
                                cost_of(&grouped, &toy_gpu, 1, &b),
                            10 * 80.0, 1e-6);
    add_prefill(&b, 20, 10);
    add_prefill(&longer, 20, 10);
    ck_assert_double_eq_tol(cost_of(&grouped, &toy_gpu, 1, &longer) -
                                cost_of(&grouped, &toy_gpu, 1, &b),
                            10 * 80 * 5.0, 1e-6);
}
END_TEST

/* Without a memory term: 2 * 0.001 ns a weight, for 10 tokens more than there are; 0.8 ns a token
 * of context; ramps and kernels. */
START_TEST(compute_bound_gemm)
{
    struct batch_shape few = decode_of(1, 1), many = decode_of(101, 101);
    struct gpu_desc g = toy_gpu;
    double weights = 200 * 100 + 100 * 100 + 400 * 100 + 100 * 200 + 1000 * 100;

    g.hbm_bytes_per_s = 1e30;
    ck_assert_double_eq_tol(cost_of(&toy, &g, 1, &few), 11 * 2 * weights * 0.001 + 0.8 + 18900,
                            1e-6);
    ck_assert_double_eq_tol(cost_of(&toy, &g, 1, &many) - cost_of(&toy, &g, 1, &few),
                            100 * (2 * weights * 0.001 + 0.8), 1e-6);
}
END_TEST

/* Twice the bytes a weight cost one more reading of what a step touches, and nothing else. */
static double weights_read(const struct model_desc *m, uint32_t tokens)
{
    struct batch_shape b = decode_of(tokens, tokens);
    struct model_desc twice = *m;

    twice.weight_bytes_per_param = 2 * m->weight_bytes_per_param;
    return (cost_of(&twice, &toy_gpu, 1, &b) - cost_of(m, &toy_gpu, 1, &b)) /
           m->weight_bytes_per_param;
}

START_TEST(weights_read_by_experts)
{
    struct model_desc moe = toy;
    double other = 200 * 100 + 100 * 100 + 1000 * 100, expert = 3 * 100 * 80;

    ck_assert_double_eq_tol(weights_read(&toy, 1), other + 3 * 100 * 200, 1e-6);
    moe.experts = 4;
    moe.experts_per_token = 1;
    moe.moe_intermediate = 80;
    other += 4 * 100; /* router */
    ck_assert_double_eq_tol(weights_read(&moe, 1), other + expert, 1e-6);
    ck_assert_double_eq_tol(weights_read(&moe, 2), other + 1.75 * expert, 1e-6);
    ck_assert_double_eq_tol(weights_read(&moe, 3), other + 2.3125 * expert, 1e-6);
    ck_assert_double_eq_tol(weights_read(&moe, 256), other + 4 * expert, 1e-3);
}
END_TEST

/* ---- tensor parallel ---- */

/* Two GPUs do what one does for a model of half the width, but for the sampler (the whole
 * vocabulary, 16,000 ns a sequence more here) and the links. */
START_TEST(two_gpus_split_the_model)
{
    struct model_desc wide = toy;
    struct batch_shape b = decode_of(3, 40);
    struct gpu_desc g = toy_gpu;
    double halved;

    wide.heads *= 2;
    wide.kv_heads *= 2;
    wide.intermediate *= 2;
    wide.vocab *= 2;
    g.link_bytes_per_s = 1e30;
    g.link_latency_ns = 0;
    halved = cost_of(&toy, &g, 1, &b);
    ck_assert_double_eq_tol(cost_of(&wide, &g, 2, &b), halved + 3 * 16000, 1e-6);
    ck_assert_double_gt(cost_of(&wide, &g, 1, &b), halved + 3 * 16000);
}
END_TEST

/* 2L + 1 = 3 all-reduces of 100 values of 2 bytes a token, each byte once over the link (2 * (2 -
 * 1) / 2), and 1,000 logits a sequence, half of them from the other GPU. 1 ns a byte. */
START_TEST(links)
{
    struct batch_shape b = decode_of(3, 40);
    struct gpu_desc g = toy_gpu;
    double with = cost_of(&toy, &g, 2, &b);

    g.link_bytes_per_s = 1e30;
    ck_assert_double_eq_tol(with - cost_of(&toy, &g, 2, &b), 3 * 3 * 200 + 3 * 1000, 1e-6);
    g.link_latency_ns += 1;
    ck_assert_double_eq_tol(cost_of(&toy, &g, 2, &b) + 3 * 3 * 200 + 3 * 1000 - with, 3 + 1, 1e-6);
    ck_assert_double_eq(cost_of(&toy, &g, 1, &b), cost_of(&toy, &toy_gpu, 1, &b));
}
END_TEST

START_TEST(heads_that_cannot_be_split)
{
    struct opened o;

    open_roofline(&o, &toy, &toy_gpu, 3);
    ck_assert_ptr_null(o.self);
    ck_assert_str_eq(o.err.text, "roofline: 2 attention heads of toy cannot be split over 3 GPUs; "
                                 "set tensor_parallel_size to a divisor of 2");
    arena_release(&o.arena);
}
END_TEST

/* ---- what must hold for every preset ---- */

/* Calls f with each pair of a model and a GPU, opened. */
static void each_pair(void (*f)(const struct opened *))
{
    for (size_t i = 0; preset_model_at(i); i++) {
        for (size_t j = 0; preset_gpu_at(j); j++) {
            struct model_desc m;
            struct gpu_desc g;
            struct opened o;
            struct err e = {0};

            ck_assert(describe_model(preset_model_at(i)->id, &m, &e));
            ck_assert(describe_gpu(preset_gpu_at(j)->id, &g, &e));
            open_roofline(&o, &m, &g, 1);
            f(&o);
            arena_release(&o.arena);
        }
    }
}

static struct batch_shape random_shape(struct rng *rng)
{
    uint32_t n = (uint32_t)rng_below(rng, 256), prompts = (uint32_t)rng_below(rng, 3);
    struct batch_shape b = decode_of(n, (uint64_t)n * (1 + rng_below(rng, 8192)));

    for (uint32_t i = 0; i < prompts || (n == 0 && i == 0); i++)
        add_prefill(&b, (uint32_t)(1 + rng_below(rng, 1024)), (uint32_t)rng_below(rng, 8192));
    return b;
}

static void never_falls(const struct opened *o)
{
    struct rng rng;

    rng_init(&rng, 1, "test_roofline");
    for (int i = 0; i < 50; i++) {
        struct batch_shape b = random_shape(&rng);
        struct batch_shape grown[7] = {b, b, b, b, b, b, b};
        double ns = step_ns(o, &b);

        grown[0].decode_context_sum += 1;
        grown[1].n_decode += 1;
        grown[2].decode_tokens += 1;
        grown[3].prefill_tokens += 1;
        grown[4].prefill_history_sum += 1;
        grown[5].prefill_pairs += 1;
        add_prefill(&grown[6], 1, 0);
        ck_assert(isfinite(ns) && ns > 0);
        for (size_t k = 0; k < ARRAY_LEN(grown); k++)
            ck_assert_msg(step_ns(o, &grown[k]) >= ns, "%s: aggregate %zu, step %d",
                          o->note.cost_model, k, i);
    }
}

START_TEST(monotone)
{
    each_pair(never_falls);
}
END_TEST

/* Prompts and decodes of any size up to 2^31 tokens. */
static void takes_a_time(const struct opened *o)
{
    static const uint32_t sizes[] = {1, 999, 65536, 1u << 30, (1u << 31) - 1};

    for (unsigned i = 0; i < 5 * 5 * 5 * 5; i++) {
        uint32_t n = sizes[i % 5];
        struct batch_shape b = decode_of(n, (uint64_t)n * sizes[i / 5 % 5]);

        double alone = step_ns(o, &b);
        add_prefill(&b, sizes[i / 25 % 5], sizes[i / 125]);
        double both = step_ns(o, &b);
        ck_assert_msg(0 < alone && alone <= both && both <= STEP_MAX_NS, "%s: shape %u: %g, %g ns",
                      o->note.cost_model, i, alone, both);
    }
}

START_TEST(any_shape)
{
    each_pair(takes_a_time);
}
END_TEST

/* The leap adds a + b * i for the i-th step of a decode-only batch. */
static void affine_in_context(const struct opened *o)
{
    for (uint32_t n = 1; n <= 256; n *= 4) {
        struct batch_shape low = decode_of(n, n), mid = decode_of(n, 1000 * n);
        struct batch_shape high = decode_of(n, 100000 * n);
        double slope = (step_ns(o, &high) - step_ns(o, &low)) / (99999.0 * n);
        double line = step_ns(o, &low) + slope * 999.0 * n;

        ck_assert_double_gt(slope, 0);
        ck_assert_double_eq_tol(step_ns(o, &mid) / line, 1, 1e-12);
        mid.decode_context_max = 5000; /* plays no part */
        ck_assert_double_eq_tol(step_ns(o, &mid) / line, 1, 1e-12);
    }
}

/* One line holds for ever. */
static void one_line(const struct opened *o)
{
    struct rng r;
    rng_init(&r, 1, "lines");
    for (uint32_t i = 0; i < 10; i++)
        ck_assert_uint_eq(line_walk(o->ops, o->self, line_shape(&r, 256, 4096), 100), 1);
}

START_TEST(affine)
{
    each_pair(one_line);
    ck_assert(backend_find("roofline")->caps & BACKEND_AFFINE_DECODE);
    ck_assert(!(backend_find("roofline")->caps & BACKEND_MEASURED));
    each_pair(affine_in_context);
}
END_TEST

/* ---- units and provenance ---- */

/* One token of Llama-3.1-8B reads 15 GB of weights: 3.1 ms at the H200's 4.8 TB/s is the floor;
 * 5 ms is real. 2048 tokens are 31 TFLOP: 31 ms at its 989 TFLOP/s. */
START_TEST(units)
{
    struct model_desc m;
    struct gpu_desc g;
    struct err e = {0};
    struct batch_shape decode = decode_of(1, 1024), prefill = {0};

    add_prefill(&prefill, 2048, 0);
    ck_assert(describe_model("llama-3.1-8b", &m, &e) && describe_gpu("h200", &g, &e));
    ck_assert_double_gt(cost_of(&m, &g, 1, &decode), 3.1e6);
    ck_assert_double_lt(cost_of(&m, &g, 1, &decode), 6e6);
    ck_assert_double_gt(cost_of(&m, &g, 1, &prefill), 31e6);
    ck_assert_double_lt(cost_of(&m, &g, 1, &prefill), 55e6);
}
END_TEST

START_TEST(note_says_where_from)
{
    struct model_desc m;
    struct gpu_desc g;
    struct opened o;
    struct err e = {0};

    ck_assert(describe_model("qwen3-32b", &m, &e) && describe_gpu("h200", &g, &e));
    open_roofline(&o, &m, &g, 1);
    ck_assert_msg(strncmp(o.note.cost_model, "roofline h200 qwen3-32b: ", 25) == 0, "%s",
                  o.note.cost_model);
    ck_assert_ptr_nonnull(strstr(o.note.cost_model, "against aiconfigurator h200 tables: mean "));
    ck_assert(o.note.error > 0 && o.note.error < 0.1);
    arena_release(&o.arena);

    open_roofline(&o, &toy, &toy_gpu, 1);
    ck_assert_ptr_nonnull(strstr(o.note.cost_model, "never compared with measurements"));
    ck_assert(isnan(o.note.error));
    arena_release(&o.arena);
}
END_TEST

START_TEST(registry)
{
    ck_assert_ptr_null(backend_find("rooflin"));
    for (size_t i = 0; backend_at(i); i++)
        ck_assert_ptr_eq(backend_find(backend_at(i)->name), backend_at(i));
    ck_assert_str_eq(backend_at(0)->name, "roofline");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("roofline");
    TCase *t = tcase_create("roofline");
    SRunner *r;
    int failed;

    tcase_add_test(t, decode_by_hand);
    tcase_add_test(t, mixed_by_hand);
    tcase_add_test(t, mixed_decode_costs_more);
    tcase_add_test(t, compute_bound_gemm);
    tcase_add_test(t, weights_read_by_experts);
    tcase_add_test(t, two_gpus_split_the_model);
    tcase_add_test(t, links);
    tcase_add_test(t, heads_that_cannot_be_split);
    tcase_add_test(t, monotone);
    tcase_add_test(t, any_shape);
    tcase_add_test(t, affine);
    tcase_add_test(t, units);
    tcase_add_test(t, note_says_where_from);
    tcase_add_test(t, registry);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
