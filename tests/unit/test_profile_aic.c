/* test_profile_aic.c: the reader of aiconfigurator's tables on a folder made up here: a step by
 * hand, and what is wrong said by file, line and column. */
#include "backend/registry.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct model_desc model = {.id = "toy",
                                        .layers = 2,
                                        .hidden = 128,
                                        .heads = 2,
                                        .kv_heads = 1,
                                        .head_dim = 64,
                                        .intermediate = 128,
                                        .vocab = 256,
                                        .weight_bytes_per_param = 2,
                                        .kv_bytes_per_elem = 2};
static const struct gpu_desc gpu = {.id = "toy", .link_bytes_per_s = 1e9};
static const struct limits limits = {.max_num_seqs = 64, .max_num_batched_tokens = 2048};
static const char gemm[] = "gemm__vllm_1__gemm_perf.csv";
static const char context[] = "attention__vllm_1__context_attention_perf.csv";
static const char generation[] = "attention__vllm_1__generation_attention_perf.csv";
static const char reduce[] = "comm__vllm_1__custom_allreduce_perf.csv";
static const char gather[] = "comm__nccl_1__nccl_perf.csv";
static char folder[64];

static FILE *create(const char *name, const char *header)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs(header, f);
    return f;
}

/* us: (m + n / 64 + k / 64) of a product, linear in all; n = 256 is measured, 192 (qkv) is not. */
static void write_gemm(void)
{
    static const unsigned size[] = {128, 256}, m[] = {1, 32};
    FILE *f = create(gemm, "gemm_dtype,m,n,k,latency\n");

    for (unsigned i = 0; i < 8; i++) {
        unsigned n = size[i & 1], k = size[i >> 1 & 1], t = m[i >> 2];

        fprintf(f, "bfloat16,%u,%u,%u,%.9g\nfp8,%u,%u,%u,9\n", t, n, k,
                (t + n / 64.0 + k / 64.0) / 1000, t, n, k);
    }
    fclose(f);
}

static void write_attention(const char *name, const char *last, const char *rows)
{
    FILE *f = create(name, "num_heads,num_key_value_heads,head_dim,window_size,attn_dtype,"
                           "kv_cache_dtype,batch_size,");

    fprintf(f, "%s,latency\n%s", last, rows);
    fclose(f);
}

static void set_up(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test_aic_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    fclose(create("system.yaml", "data_dir: data/h200_sxm\ngpu:\n  mem_bw: 1.0e+12\n"
                                 "  mem_bw_empirical_scaling_factor: 0.5\n")); /* 0.002 ns a byte */
    write_gemm();
    write_attention(context, "isl",
                    "2,1,64,0,bfloat16,bfloat16,1,1,0.010\n2,1,64,0,bfloat16,bfloat16,1,101,0.110\n"
                    "2,1,64,0,bfloat16,bfloat16,2,101,7\n2,1,64,128,bfloat16,bfloat16,1,1,7\n"
                    "2,1,64,0,bfloat16,fp8,1,1,7\n");
    write_attention(generation, "step",
                    "2,1,64,0,bfloat16,bfloat16,1,9,0.005\n2,1,64,0,bfloat16,bfloat16,1,109,0.105\n"
                    "4,1,64,0,bfloat16,bfloat16,1,9,7\n");
}

static void tear_down(void)
{
    static const char *const names[] = {"system.yaml", gemm, context, generation, reduce, gather};
    char path[256];

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void *open_for(struct arena *a, const struct model_desc *m, uint32_t tp,
                      struct backend_note *note, struct err *e)
{
    const struct backend_env env = {
        .model = m, .gpu = &gpu, .tensor_parallel_size = tp, .limits = &limits, .profile = folder};

    return backend_find("table")->open(a, &env, note, e);
}

static void *open_table(struct arena *a, struct err *e)
{
    struct backend_note note;

    return open_for(a, &model, 1, &note, e);
}

/* One decode of 60 tokens: m = 1, bytes at 0.002 ns. */
START_TEST(a_step_by_hand)
{
    const struct batch_seq seq = {.n_tokens = 1, .context = 59, .emits = true};
    const struct batch batch = {
        .n = 1,
        .seq = &seq,
        .shape = {
            .n_decode = 1, .decode_tokens = 1, .decode_context_sum = 60, .decode_context_max = 60}};
    struct step_cost cost;
    struct arena a;
    struct err e = {.set = false};

    arena_init(&a);
    void *t = open_table(&a, &e);
    ck_assert_msg(t != NULL, "%s", e.text);
    ck_assert(backend_find("table")->step(t, &batch, &cost, &e));
    /* qkv 256, o 128, gate_up 256, down 128, each with k = 128; us */
    double products = 4 * 1 + (4 + 2) + (2 + 2) + (4 + 2) + (2 + 2);
    double bytes = 2 * (4 * 256) + (2 * 3 * 64 * 2 + 2 * 64 * 4) + 3 * 256;
    double layer = products * 1000 + 5 * 2000 + bytes * 0.002 + 55000;
    double once = 2 * 2000 + (2 + 4) * 256 * 0.002;
    double sequences = 7000 + 6 * 2000 + 256 * 42 * 0.002;
    ck_assert_double_eq_tol(cost.device_ns, 2 * layer + once + sequences, 1e-3);
    ck_assert(!cost.extrapolated);
    arena_release(&a);
}
END_TEST

static struct step_cost one_decode(void *table)
{
    const struct batch batch = {
        .n = 1,
        .shape = {
            .n_decode = 1, .decode_tokens = 1, .decode_context_sum = 60, .decode_context_max = 60}};
    struct step_cost cost;
    struct err e = {.set = false};

    ck_assert(backend_find("table")->step(table, &batch, &cost, &e));
    return cost;
}

/* lm_head of 512 rows, where products up to n = 256 were measured. */
START_TEST(a_shape_beyond_the_grid_is_counted)
{
    struct model_desc big = model;
    struct backend_note note;
    struct arena a;
    struct err e = {.set = false};

    big.vocab = 512;
    arena_init(&a);
    void *t = open_for(&a, &big, 1, &note, &e);
    ck_assert_msg(t != NULL, "%s", e.text);
    ck_assert(one_decode(t).extrapolated);
    ck_assert_ptr_nonnull(strstr(note.cost_model, "lm_head extrapolated"));
    arena_release(&a);
}
END_TEST

/* One decode on two GPUs, of which each has what the toy has. */
static void *open_shared(struct arena *a, struct err *e)
{
    struct model_desc wide = model;
    struct backend_note note;

    wide.heads = 4;
    wide.kv_heads = 2;
    return open_for(a, &wide, 2, &note, e);
}

static double shared_ns(const char *reduce_ms, const char *gather_ms)
{
    struct err e = {.set = false};
    struct arena a;
    FILE *f = create(reduce, "backend,num_gpus,message_size,latency\n");

    fprintf(f, "vllm_graph,2,128,%s\nvllm_graph,2,256,9\nvllm_eager,2,128,7\n", reduce_ms);
    fclose(f);
    f = create(gather, "op_name,nccl_dtype,num_gpus,message_size,latency\n");
    fprintf(f, "all_gather,half,2,256,%s\nall_gather,half,2,512,9\n", gather_ms);
    fputs("all_gather,int8,2,256,7\nall_gather,half,4,256,7\nall_reduce,half,2,256,7\n", f);
    fclose(f);
    arena_init(&a);
    void *t = open_shared(&a, &e);
    ck_assert_msg(t != NULL, "%s", e.text);
    double ns = one_decode(t).device_ns;
    arena_release(&a);
    return ns;
}

/* One token of 128 activations and 256 logits: message_size counts them, not their bytes. Two
 * layers have five all-reduces; logits are gathered once. */
START_TEST(collectives_by_elements)
{
    double free_ns = shared_ns("0", "0");

    ck_assert_double_eq_tol(shared_ns("0.003", "0") - free_ns, 5 * 3000, 1e-3);
    ck_assert_double_eq_tol(shared_ns("0", "0.002") - free_ns, 2000, 1e-3);
}
END_TEST

START_TEST(collectives_must_be_there)
{
    struct err e = {.set = false}, later = {.set = false};
    struct arena a;

    arena_init(&a);
    ck_assert_ptr_null(open_shared(&a, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "holds no comm__ENGINE__custom_allreduce_perf.csv"));
    FILE *f = create(reduce, "backend,num_gpus,message_size,latency\n");
    fputs("vllm_graph,2,128,1\n", f);
    fclose(f);
    ck_assert_ptr_null(open_shared(&a, &later));
    ck_assert_ptr_nonnull(strstr(later.text, "holds no comm__ENGINE__nccl_perf.csv"));
    arena_release(&a);
}
END_TEST

static const struct {
    const char *file, *text, *says;
} wrong[] = {
    {gemm, "gemm_dtype,m,n,latency\n", "gemm_perf.csv:1: column k is missing"},
    {gemm, "gemm_dtype,m,n,k,latency\nbfloat16,1,x,2,3\n",
     "gemm_perf.csv:2: column n: \"x\" is not a number"},
    {gemm, "gemm_dtype,m,n,k,latency\nfp8,1,1,2,3\n", "no row for matrix products of toy"},
    {gemm, NULL, "holds no gemm__ENGINE__gemm_perf.csv"},
    {context, NULL, "holds no attention__ENGINE__context_attention_perf.csv"},
    {generation, "kv_cache_dtype\n", "generation_attention_perf.csv:1: column"},
    {"system.yaml", "data_dir: data/h200_sxm\n", "gpu.mem_bw"},
};

START_TEST(what_is_wrong_is_said)
{
    char path[256];
    struct arena a;
    struct err e = {.set = false};

    snprintf(path, sizeof(path), "%s/%s", folder, wrong[_i].file);
    if (wrong[_i].text)
        fclose(create(wrong[_i].file, wrong[_i].text));
    else
        ck_assert_int_eq(unlink(path), 0);
    arena_init(&a);
    ck_assert_ptr_null(open_table(&a, &e));
    ck_assert_msg(strstr(e.text, wrong[_i].says) != NULL, "%s", e.text);
    arena_release(&a);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("profile_aic");
    TCase *t = tcase_create("folder");

    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, a_step_by_hand);
    tcase_add_test(t, a_shape_beyond_the_grid_is_counted);
    tcase_add_test(t, collectives_by_elements);
    tcase_add_test(t, collectives_must_be_there);
    tcase_add_loop_test(t, what_is_wrong_is_said, 0, (int)ARRAY_LEN(wrong));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
