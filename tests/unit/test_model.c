/* test_model.c: sizes of known models, and what an engine adds to a step. */
#include "sim/model.h"

#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>

#include "sim/engine_model.h"

static const struct model_desc llama_3_1_8b = {
    .layers = 32,
    .hidden = 4096,
    .heads = 32,
    .kv_heads = 8,
    .head_dim = 128,
    .intermediate = 14336,
    .vocab = 128256,
    .weight_bytes_per_param = 2,
    .kv_bytes_per_elem = 2,
};

static const struct model_desc qwen3_30b_a3b = {
    .layers = 48,
    .hidden = 2048,
    .heads = 32,
    .kv_heads = 4,
    .head_dim = 128,
    .intermediate = 6144,
    .vocab = 151936,
    .qk_norm = true,
    .experts = 128,
    .experts_per_token = 8,
    .moe_intermediate = 768,
    .weight_bytes_per_param = 2,
    .kv_bytes_per_elem = 2,
};

static const struct model_desc smollm2_135m = {
    .layers = 30,
    .hidden = 576,
    .heads = 9,
    .kv_heads = 3,
    .head_dim = 64,
    .intermediate = 1536,
    .vocab = 49152,
    .tied_embeddings = true,
    .weight_bytes_per_param = 2,
    .kv_bytes_per_elem = 2,
};

/* The counts are those of the published checkpoints. */
static const struct {
    const struct model_desc *model;
    uint64_t params, active;
    uint64_t kv_bytes[3]; /* a token at tp = 1, 2, 16 */
} sizes[] = {
    {&llama_3_1_8b, UINT64_C(8030261248), UINT64_C(8030261248), {131072, 65536, 16384}},
    {&qwen3_30b_a3b, UINT64_C(30532122624), UINT64_C(3353032704), {98304, 49152, 24576}},
    {&smollm2_135m, UINT64_C(134515008), UINT64_C(134515008), {23040, 15360, 7680}},
};

START_TEST(published_sizes)
{
    const struct model_desc *m = sizes[_i].model;
    const uint32_t tp[] = {1, 2, 16};
    ck_assert_uint_eq(model_params(m), sizes[_i].params);
    ck_assert_uint_eq(model_active_params(m), sizes[_i].active);
    for (size_t i = 0; i < ARRAY_LEN(tp); i++)
        ck_assert_uint_eq(model_kv_bytes_per_token(m, tp[i]), sizes[_i].kv_bytes[i]);
}
END_TEST

START_TEST(kv_bytes_follow_the_type)
{
    struct model_desc m = llama_3_1_8b;
    m.kv_bytes_per_elem = 1;
    ck_assert_uint_eq(model_kv_bytes_per_token(&m, 1), 65536);
}
END_TEST

static const struct {
    const char *engine;
    uint32_t n_seqs;
    double device_ns;
    ns_t step_ns;
} steps[] = {
    {"ideal", 9, 0, 1}, /* time has to go on */
    {"ideal", 9, 1234.5, 1235},
    {"ideal", 9, 1234.4, 1234},
    {"vllm-0.8", 0, 10e6, 12000000},
    {"vllm-0.8", 1, 0.6, 2001791},
    {"vllm-0.8", 1000, 10e6, 13790000}, /* each sequence takes the host 1.79 us */
    {"vllm-0.19", 1000, 10e6, 10000000},
    {"vllm-0.19", 1000, 1e6, 2000000},
    {"vllm-0.19", 1000, 2000000.6, 2000001},
};

START_TEST(host_time_of_a_step)
{
    const struct engine_model *m = engine_model_find(steps[_i].engine);
    ck_assert_ptr_nonnull(m);
    ck_assert_int_eq(engine_model_step_ns(m, steps[_i].n_seqs, steps[_i].device_ns),
                     steps[_i].step_ns);
}
END_TEST

START_TEST(engines_are_complete)
{
    uint32_t n = 0;
    for (const struct engine_model *m; (m = engine_model_at(n)) != NULL; n++) {
        ck_assert_ptr_eq(engine_model_find(m->name), m); /* names are unique */
        ck_assert(m->doc[0] != '\0' && m->provenance[0] != '\0');
        ck_assert(m->depth == 1 || m->depth == 2);
    }
    ck_assert_uint_ge(n, 3);
    ck_assert_ptr_null(engine_model_find("no such engine"));
}
END_TEST

START_TEST(durations_are_numbers)
{
    engine_model_step_ns(engine_model_at(0), 1, _i == 0 ? (double)NAN : -1.0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("model");
    TCase *t = tcase_create("model");
    tcase_add_loop_test(t, published_sizes, 0, (int)ARRAY_LEN(sizes));
    tcase_add_test(t, kv_bytes_follow_the_type);
    tcase_add_loop_test(t, host_time_of_a_step, 0, (int)ARRAY_LEN(steps));
    tcase_add_test(t, engines_are_complete);
    tcase_add_loop_test_raise_signal(t, durations_are_numbers, SIGABRT, 0, 2);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
