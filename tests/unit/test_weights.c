/* test_weights.c: architectures, random weights, what lies where. */
#include "backend/describe.h"
#include "backend/model/float16.h"
#include "backend/model/random_weights.h"
#include "backend/model/weights.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct arch tiny = {
    .layers = 3,
    .hidden = 20,
    .heads = 6,
    .kv_heads = 2,
    .head_dim = 4,
    .intermediate = 30,
    .vocab = 17,
    .max_model_len = 64,
    .rms_eps = 1e-5,
    .rope_theta = 10000,
};

/* ---- architectures ---- */

START_TEST(presets_of_the_family)
{
    static const struct {
        const char *id;
        double theta, factor;
    } family[] = {
        {"llama-3.1-8b", 500000, 8}, {"llama-3.1-70b", 500000, 8}, {"llama-2-7b", 10000, 0},
        {"llama-2-13b", 10000, 0},   {"smollm2-135m", 100000, 0},  {"tinyllama-1.1b", 10000, 0},
    };
    struct model_desc m;
    struct err e = {0};
    struct arch a;

    for (size_t i = 0; i < ARRAY_LEN(family); i++) {
        ck_assert_msg(describe_model(family[i].id, &m, &e) && arch_from_model(&m, &a, &e), "%s",
                      e.text);
        ck_assert_double_eq(a.rope_theta, family[i].theta);
        ck_assert_double_eq(a.rope.factor, family[i].factor);
        ck_assert_double_eq(a.rms_eps, 1e-5);
        ck_assert_uint_eq(a.heads, m.heads);
        ck_assert_uint_eq(a.max_model_len, m.max_model_len);
    }
}
END_TEST

START_TEST(other_families_are_refused)
{
    static const char *const other[] = {"qwen2.5-7b", "qwen3-32b", "qwen3-30b-a3b"};
    struct model_desc m;
    struct arch a;

    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        struct err e = {0};

        ck_assert(describe_model(other[i], &m, &e));
        ck_assert(!arch_from_model(&m, &a, &e));
        ck_assert_msg(strstr(e.text, "is no plain LLaMA decoder"), "%s", e.text);
    }
}
END_TEST

START_TEST(impossible_sizes_are_refused)
{
    struct arch a[9];
    static const char *const says[] = {
        "layers is 0",       "6 heads are no multiple of 4 kv_heads",
        "head_dim 5 is odd", "vocab is 99999999",
        "rope_theta 0",      "rms_norm_eps is nan",
        "kv_heads is 0",     "hidden is 0",
        "head_dim is 2048",
    };

    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        a[i] = tiny;
    a[0].layers = 0;
    a[1].kv_heads = 4;
    a[2].head_dim = 5;
    a[3].vocab = 99999999;
    a[4].rope_theta = 0;
    a[5].rms_eps = (double)NAN;
    a[6].kv_heads = 0;
    a[7].hidden = 0;
    a[8].head_dim = 2048;
    for (size_t i = 0; i < ARRAY_LEN(a); i++) {
        struct err e = {0};

        ck_assert(!arch_check(&a[i], "here", &e));
        ck_assert_msg(strstr(e.text, says[i]), "%s", e.text);
    }
}
END_TEST

/* Llama 3.1 8B: pairs 0..28 turn often enough to stay, from 36 on all are 8 times slower. */
START_TEST(rope_of_llama_3_1)
{
    struct model_desc m;
    struct err e = {0};
    struct arch a, plain;

    ck_assert(describe_model("llama-3.1-8b", &m, &e) && arch_from_model(&m, &a, &e));
    plain = a;
    plain.rope.factor = 0;
    for (uint32_t i = 0; i < 64; i++) {
        double f = arch_rope_frequency(&plain, i), got = arch_rope_frequency(&a, i);
        double turns = 8192 * f / (2 * M_PI);

        ck_assert_double_eq_tol(f, exp(-log(500000.0) * i / 64), 1e-12);
        if (turns > 4)
            ck_assert_double_eq(got, f);
        else if (turns < 1)
            ck_assert_double_eq(got, f / 8);
        else
            ck_assert(got > f / 8 && got < f);
    }
    ck_assert_double_eq(arch_rope_frequency(&a, 0), 1);
}
END_TEST

/* ---- random ---- */

/* Fixed for ever: stored runs and other engines rely on them. */
START_TEST(bits_are_fixed)
{
    static const struct {
        uint64_t seed, index;
        uint32_t tensor, cols;
        bool norm;
        uint16_t bits;
    } fixed[] = {
        {1, 0, 0, 4096, false, 0x3c87},
        {1, 1, 0, 4096, false, 0x3ad0},
        {1, 12345678901, 287, 14336, false, 0x39a0},
        {7, 5, 3, 576, true, 0x3f76},
    };

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
        ck_assert_uint_eq(weights_random_bf16(fixed[i].seed, fixed[i].tensor, fixed[i].index,
                                              fixed[i].cols, fixed[i].norm),
                          fixed[i].bits);
}
END_TEST

START_TEST(spread_as_promised)
{
    static const uint32_t cols[] = {1, 6, 64, 576, 4096, 14336};

    for (size_t c = 0; c < ARRAY_LEN(cols); c++) {
        double sum = 0, squares = 0, deviation;
        uint32_t n = 100000;

        for (uint32_t i = 0; i < n; i++) {
            double x = (double)bf16_to_float(weights_random_bf16(3, 9, i, cols[c], false));

            sum += x;
            squares += x * x;
        }
        deviation = sqrt(squares / n) * sqrt(cols[c]);
        ck_assert_msg(deviation > 0.70 && deviation < 1.42, "%u: %g", cols[c], deviation);
        ck_assert_double_le(fabs(sum / n) * sqrt(cols[c]), 0.02);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        float x = bf16_to_float(weights_random_bf16(3, 9, i, 64, true));

        ck_assert(x >= 0.875f && x < 1.125f);
    }
}
END_TEST

/* Seeds, tensors and places in them have nothing in common. */
START_TEST(draws_are_independent)
{
    uint32_t same[3] = {0}, n = 25600;

    for (uint32_t i = 0; i < n; i++) {
        uint16_t x = weights_random_bf16(1, 1, i, 64, false);

        same[0] += x == weights_random_bf16(2, 1, i, 64, false);
        same[1] += x == weights_random_bf16(1, 2, i, 64, false);
        same[2] += x == weights_random_bf16(1, 1, i + 1, 64, false);
    }
    for (int i = 0; i < 3; i++) /* 100 expected, standard deviation 10 */
        ck_assert_msg(same[i] > 50 && same[i] < 150, "%d: %u", i, same[i]);
}
END_TEST

/* ---- what lies where ---- */

START_TEST(drawn_tensors)
{
    for (int tied = 0; tied < 2; tied++) {
        struct arch a = tiny;
        struct weights w;
        uint64_t params = 0;

        a.tied_embeddings = tied;
        weights_random(&w, &a, 42);
        ck_assert_str_eq(w.source, "random, seed 42");
        ck_assert_ptr_null(w.embedding);
        ck_assert_ptr_null(weights_tensor(&w, 0));
        weights_draw(&w);
        ck_assert_uint_eq(weights_tensors(&a), 3 * 9 + (tied ? 2 : 3));
        for (uint32_t t = 0; t < weights_tensors(&a); t++) {
            struct tensor_shape s = weights_shape(&a, t);
            const uint16_t *data = weights_tensor(&w, t);

            ck_assert_uint_eq((uintptr_t)data % 64, 0);
            for (uint32_t i = 0; i < s.rows * s.cols; i++)
                ck_assert_uint_eq(data[i], weights_random_bf16(42, t, i, s.cols, s.norm));
            params += (uint64_t)s.rows * s.cols;
        }
        ck_assert_uint_eq(params, 3 * (2 * 20 + 2 * 24 * 20 + 2 * 8 * 20 + 3 * 30 * 20) + 20 +
                                      (tied ? 1 : 2) * 17 * 20);
        ck_assert(w.layer[2][LAYER_DOWN] ==
                  weights_tensor(&w, weights_layer_tensor(2, LAYER_DOWN)));
        ck_assert(w.embedding == weights_tensor(&w, weights_last_tensor(&a, LAST_EMBEDDING)));
        ck_assert(w.final_norm == weights_tensor(&w, weights_last_tensor(&a, LAST_NORM)));
        ck_assert((w.lm_head == w.embedding) == tied);
        weights_release(&w);
        weights_release(&w); /* twice is fine */
    }
}
END_TEST

START_TEST(shapes)
{
    static const uint32_t want[][2] = {{1, 20}, {24, 20}, {8, 20},  {8, 20}, {20, 24},
                                       {1, 20}, {30, 20}, {30, 20}, {20, 30}};

    for (uint32_t t = 0; t < LAYER_TENSORS; t++) {
        struct tensor_shape s = weights_shape(&tiny, weights_layer_tensor(1, (enum layer_tensor)t));

        ck_assert_uint_eq(s.rows, want[t][0]);
        ck_assert_uint_eq(s.cols, want[t][1]);
        ck_assert_int_eq(s.norm, want[t][0] == 1);
    }
}
END_TEST

/* ---- 16-bit floats ---- */

START_TEST(bf16_rounds_to_even)
{
    static const struct {
        uint32_t from;
        uint16_t to;
    } cases[] = {
        {0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82}, {0x3f808001, 0x3f81},
        {0x3f807fff, 0x3f80}, {0x7f7fffff, 0x7f80}, {0x7f800000, 0x7f80}, {0xff800000, 0xff80},
        {0x7f800001, 0x7fc0}, {0x80000000, 0x8000}, {0x00000001, 0x0000},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        ck_assert_uint_eq(bf16_from_float(float_from_bits(cases[i].from)), cases[i].to);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("weights");
    TCase *t = tcase_create("weights");
    SRunner *r;
    int failed;

    tcase_add_test(t, presets_of_the_family);
    tcase_add_test(t, other_families_are_refused);
    tcase_add_test(t, impossible_sizes_are_refused);
    tcase_add_test(t, rope_of_llama_3_1);
    tcase_add_test(t, bits_are_fixed);
    tcase_add_test(t, spread_as_promised);
    tcase_add_test(t, draws_are_independent);
    tcase_add_test(t, drawn_tensors);
    tcase_add_test(t, shapes);
    tcase_add_test(t, bf16_rounds_to_even);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
