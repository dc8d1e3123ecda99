/* test_gguf.c: GGUF files as weights: every type, whole and damaged ones. */
#include "backend/model/gguf.h"
#include "tests/support/model_files.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct arch tiny = {
    .layers = 2,
    .hidden = 8,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 4,
    .intermediate = 6,
    .vocab = 11,
    .max_model_len = 32,
    .rms_eps = 0.0009765625, /* exact in float */
    .rope_theta = 10000,
};

static struct model_folder folder;
static struct weights truth;

static void setup(void)
{
    model_folder_make(&folder);
    weights_random(&truth, &tiny, 3);
    weights_draw(&truth);
}

static void teardown(void)
{
    weights_release(&truth);
    model_folder_remove(&folder);
}

static const char *write_file(const struct gguf_damage *d)
{
    struct bytes b = {0};
    const char *path;

    gguf_make(&b, &truth, d, NULL, 0);
    path = model_file_write(&folder, "m.gguf", b.at, b.n);
    mem_free(b.at);
    return path;
}

/* ---- whole files ---- */

static void check_tensors(const struct weights *w)
{
    for (uint32_t t = 0; t < weights_tensors(&w->arch); t++) {
        struct tensor_shape s = weights_shape(&w->arch, t);
        const uint16_t *want = weights_tensor(&truth, t);
        const void *got = weights_tensor(w, t);

        for (uint32_t i = 0; i < s.rows * s.cols; i++) {
            uint32_t bits = (uint32_t)want[i] << 16;

            if (w->dtype == WEIGHT_BF16)
                ck_assert_uint_eq(((const uint16_t *)got)[i], want[i]);
            else
                ck_assert_mem_eq((const float *)got + i, &bits, sizeof(bits));
        }
    }
}

START_TEST(all_tensors_and_sizes)
{
    enum weight_dtype dtype = _i ? WEIGHT_F32 : WEIGHT_BF16;
    struct err e = {0};
    struct weights w;
    const char *path = write_file(&(struct gguf_damage){0});

    ck_assert_msg(weights_load(&w, path, dtype, &e), "%s", e.text);
    ck_assert_uint_eq(w.arch.layers, tiny.layers);
    ck_assert_uint_eq(w.arch.hidden, tiny.hidden);
    ck_assert_uint_eq(w.arch.heads, tiny.heads);
    ck_assert_uint_eq(w.arch.kv_heads, tiny.kv_heads);
    ck_assert_uint_eq(w.arch.head_dim, tiny.head_dim);
    ck_assert_uint_eq(w.arch.intermediate, tiny.intermediate);
    ck_assert_uint_eq(w.arch.vocab, tiny.vocab);
    ck_assert_uint_eq(w.arch.max_model_len, tiny.max_model_len);
    ck_assert(!w.arch.tied_embeddings && !w.random);
    ck_assert_double_eq(w.arch.rms_eps, tiny.rms_eps);
    ck_assert_double_eq(w.arch.rope_theta, tiny.rope_theta);
    ck_assert_str_eq(w.source, path);
    check_tensors(&w);
    weights_release(&w);
}
END_TEST

/* What `run --model FILE` takes from it: the same architecture, under the file's name. */
START_TEST(described_without_weights)
{
    struct err e = {0};
    struct model_desc m;
    struct arch a;
    const char *path = write_file(&(struct gguf_damage){0});

    ck_assert(weights_is_file(path) && weights_is_file("x.safetensors") &&
              weights_is_file("/tmp") && weights_is_file("model.safetensors.index.json"));
    ck_assert(!weights_is_file("llama-3.1-8b") && !weights_is_file("config.json"));
    ck_assert_msg(weights_describe(path, &m, &e) && arch_from_model(&m, &a, &e), "%s", e.text);
    ck_assert_str_eq(m.id, strrchr(path, '/') + 1);
    ck_assert_uint_eq(a.layers, tiny.layers);
    ck_assert_uint_eq(a.hidden, tiny.hidden);
    ck_assert_uint_eq(a.heads, tiny.heads);
    ck_assert_uint_eq(a.kv_heads, tiny.kv_heads);
    ck_assert_uint_eq(a.head_dim, tiny.head_dim);
    ck_assert_uint_eq(a.vocab, tiny.vocab);
    ck_assert_uint_eq(a.max_model_len, tiny.max_model_len);
    ck_assert_int_eq(a.tied_embeddings, tiny.tied_embeddings);
    ck_assert(!weights_describe("/nowhere/m.gguf", &m, &e));
    ck_assert_ptr_nonnull(strstr(e.text, "/nowhere/m.gguf"));
}
END_TEST

START_TEST(without_head_is_tied)
{
    struct err e = {0};
    struct weights w;
    const char *path = write_file(&(struct gguf_damage){.leave_out = "output.weight"});

    ck_assert_msg(weights_load(&w, path, WEIGHT_BF16, &e), "%s", e.text);
    ck_assert(w.arch.tied_embeddings && w.lm_head == w.embedding);
    weights_release(&w);
}
END_TEST

START_TEST(head_size_defaults)
{
    struct err e = {0};
    struct arch a = tiny;
    struct weights w;

    weights_release(&truth);
    a.heads = 2; /* hidden / heads is head_dim */
    weights_random(&truth, &a, 3);
    weights_draw(&truth);
    ck_assert_msg(
        weights_load(&w,
                     write_file(&(struct gguf_damage){.leave_out = "llama.attention.key_length"}),
                     WEIGHT_BF16, &e),
        "%s", e.text);
    ck_assert_uint_eq(w.arch.head_dim, 4);
    weights_release(&w);
    ck_assert_msg(
        weights_load(
            &w, write_file(&(struct gguf_damage){.leave_out = "llama.attention.head_count_kv"}),
            WEIGHT_BF16, &e),
        "%s", e.text);
    ck_assert_uint_eq(w.arch.kv_heads, 2);
    weights_release(&w);
}
END_TEST

/* ---- types ---- */

/* One block of each type, written by hand from ggml's definition of it. */
static void check_block(enum tensor_type type, const uint8_t *block, uint32_t n, const float *want)
{
    struct tensor t = {.type = type, .rows = 1, .cols = n, .data = block};
    float got[256];

    tensor_row(&t, 0, got);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_msg(got[i] == want[i], "type %d, %u: %g, not %g", (int)type, i, (double)got[i],
                      (double)want[i]);
}

START_TEST(plain_types)
{
    static const uint8_t f32[] = {0, 0, 0xc0, 0xbf}, bf16[] = {0xc0, 0xbf};
    static const struct {
        uint8_t half[2];
        float value;
    } halves[] = {
        {{0x00, 0x3c}, 1},        {{0x00, 0xbe}, -1.5f},
        {{0x01, 0x00}, 0x1p-24f}, {{0xff, 0x03}, 1023 * 0x1p-24f},
        {{0xff, 0x7b}, 65504},    {{0x00, 0x80}, -0.0f},
        {{0x00, 0x7c}, INFINITY}, {{0x01, 0x84}, -1025 * 0x1p-24f},
    };
    float nan;

    check_block(TENSOR_F32, f32, 1, &(float){-1.5f});
    check_block(TENSOR_BF16, bf16, 1, &(float){-1.5f});
    for (size_t i = 0; i < ARRAY_LEN(halves); i++)
        check_block(TENSOR_F16, halves[i].half, 1, &halves[i].value);
    tensor_row(
        &(struct tensor){
            .type = TENSOR_F16, .rows = 1, .cols = 1, .data = (const uint8_t[]){0x01, 0x7e}},
        0, &nan);
    ck_assert(isnan(nan));
}
END_TEST

START_TEST(blocks_of_32)
{
    uint8_t q8[34] = {0x00, 0x38}, q40[18] = {0x00, 0x38}, q41[20] = {0x00, 0x38, 0x00, 0xc0};
    float want8[32], want40[32], want41[32];

    for (int i = 0; i < 32; i++) {
        q8[2 + i] = (uint8_t)(i * 8 - 128);
        want8[i] = 0.5f * (float)(i * 8 - 128);
    }
    for (int i = 0; i < 16; i++) { /* low halves 0..15, high halves 15..0 */
        q40[2 + i] = q41[4 + i] = (uint8_t)(i | (15 - i) << 4);
        want40[i] = 0.5f * (float)(i - 8);
        want40[16 + i] = 0.5f * (float)(7 - i);
        want41[i] = 0.5f * (float)i - 2;
        want41[16 + i] = 0.5f * (float)(15 - i) - 2;
    }
    check_block(TENSOR_Q8_0, q8, 32, want8);
    check_block(TENSOR_Q4_0, q40, 32, want40);
    check_block(TENSOR_Q4_1, q41, 32, want41);
}
END_TEST

/* Packs values of 0..63 as ggml's quantize_row_q6_K does: 128 at a time, four of them, 32 apart,
 * share a byte of high bits, two share a byte of low bits. */
START_TEST(blocks_of_256)
{
    uint8_t block[210] = {0}, q[256];
    float want[256];

    block[209] = 0x38; /* d = 0.5 */
    for (int i = 0; i < 16; i++)
        block[192 + i] = (uint8_t)(i - 8);
    for (int i = 0; i < 256; i++) {
        q[i] = (uint8_t)(i * 37 % 64);
        want[i] = 0.5f * (float)(i / 16 - 8) * (float)(q[i] - 32);
    }
    for (int j = 0; j < 2; j++) {
        for (int l = 0; l < 32; l++) {
            const uint8_t *v = q + 128 * j + l;

            block[64 * j + l] = (uint8_t)((v[0] & 15) | (v[64] & 15) << 4);
            block[64 * j + l + 32] = (uint8_t)((v[32] & 15) | (v[96] & 15) << 4);
            block[128 + 32 * j + l] =
                (uint8_t)(v[0] >> 4 | v[32] >> 4 << 2 | v[64] >> 4 << 4 | v[96] >> 4 << 6);
        }
    }
    check_block(TENSOR_Q6_K, block, 256, want);
}
END_TEST

START_TEST(sizes_of_tensors)
{
    uint64_t bytes;

    ck_assert(tensor_bytes(TENSOR_Q6_K, 3, 512, &bytes) && bytes == 3 * 2 * 210);
    ck_assert(tensor_bytes(TENSOR_F16, 5, 7, &bytes) && bytes == 70);
    ck_assert(!tensor_bytes(TENSOR_Q8_0, 1, 33, &bytes));
    ck_assert(!tensor_bytes(TENSOR_F32, UINT64_MAX / 4, 2, &bytes));
    ck_assert(!tensor_bytes(TENSOR_F32, 1, UINT64_MAX, &bytes));
}
END_TEST

/* ---- values ---- */

START_TEST(values_of_all_types)
{
    static const struct {
        uint32_t type, bytes;
        uint64_t bits;
        int64_t want;
    } ints[] = {
        {0, 1, 200, 200},
        {1, 1, 0x80, -128},
        {2, 2, 65535, 65535},
        {3, 2, 0xffff, -1},
        {4, 4, UINT32_MAX, UINT32_MAX},
        {5, 4, 0xfffffffe, -2},
        {10, 8, INT64_MAX, INT64_MAX},
        {11, 8, UINT64_MAX, -1},
    };
    static const int32_t numbers[] = {5, -6};
    static const char *const texts[] = {"one", ""};
    struct bytes b = {0}, extra = {0};
    struct gguf_array array;
    struct err e = {0};
    uint64_t x;
    int64_t i64;
    double real;
    bool flag;
    struct text text;
    struct gguf *g;
    char key[] = "int0";

    for (size_t i = 0; i < ARRAY_LEN(ints); i++, key[3]++) {
        gguf_put_key(&extra, key, ints[i].type);
        put_le(&extra, ints[i].bits, ints[i].bytes);
    }
    gguf_put_key(&extra, "double", 12);
    put_le(&extra, UINT64_C(0x3ff8000000000000), 8);
    gguf_put_key(&extra, "flag", 7);
    put_le(&extra, 1, 1);
    gguf_put_i32s(&extra, "numbers", numbers, 2);
    gguf_put_strings(&extra, "texts", texts, 2);
    gguf_make(&b, &truth, &(struct gguf_damage){0}, &extra, ARRAY_LEN(ints) + 4);
    g = gguf_open(model_file_write(&folder, "m.gguf", b.at, b.n), &e);
    ck_assert_msg(g, "%s", e.text);
    key[3] = '0';
    for (size_t i = 0; i < ARRAY_LEN(ints); i++, key[3]++) {
        ck_assert_int_eq(gguf_uint(g, key, &x), ints[i].want >= 0);
        ck_assert(ints[i].want < 0 || x == (uint64_t)ints[i].want);
    }
    ck_assert(gguf_real(g, "double", &real) && real == 1.5);
    ck_assert(gguf_real(g, "llama.rope.freq_base", &real) && real == 10000);
    ck_assert(gguf_bool(g, "flag", &flag) && flag);
    ck_assert(gguf_text(g, "general.architecture", &text) && text.len == 5);
    ck_assert(gguf_ints(g, "numbers", &array) && gguf_next_int(&array, &i64) && i64 == 5);
    ck_assert(gguf_next_int(&array, &i64) && i64 == -6 && !gguf_next_int(&array, &i64));
    ck_assert(gguf_texts(g, "texts", &array) && gguf_next_text(&array, &text) && text.len == 3);
    ck_assert(gguf_next_text(&array, &text) && text.len == 0 && !gguf_next_text(&array, &text));
    ck_assert(!gguf_uint(g, "double", &x) && !gguf_real(g, "flag", &real));
    ck_assert(!gguf_bool(g, "double", &flag) && !gguf_text(g, "flag", &text));
    ck_assert(!gguf_texts(g, "numbers", &array) && !gguf_ints(g, "texts", &array));
    ck_assert(!gguf_uint(g, "no such key", &x) && !gguf_text_is(g, "flag", "1"));
    gguf_close(g);
    mem_free(b.at);
    mem_free(extra.at);
}
END_TEST

/* ---- damaged files ---- */

static const struct {
    struct gguf_damage damage;
    const char *says;
} damaged[] = {
    {{.version = 1}, "is GGUF version 1; 2 and 3 can be read"},
    {{.architecture = "gemma2"}, "its architecture is gemma2; the real engines run \"llama\" only"},
    {{.rope_scaling = "yarn"}, "RoPE is scaled by yarn"},
    {{.leave_out = "llama.embedding_length"}, "llama.embedding_length is missing"},
    {{.leave_out = "llama.attention.layer_norm_rms_epsilon"}, "layer_norm_rms_epsilon is missing"},
    {{.leave_out = "token_embd.weight"}, "vocab is 0"},
    {{.leave_out = "blk.1.ffn_up.weight"}, "tensor blk.1.ffn_up.weight is missing"},
    {{.leave_out = "llama.attention.key_length"}, "RoPE turns 4 of 2 elements"},
    {{.leave_out = "llama.attention.head_count_kv"},
     "attn_k.weight is 8 x 8, the model's sizes say"},
    {{.add = "blk.0.attn_q.bias"}, "holds tensor blk.0.attn_q.bias, which a LLaMA decoder has not"},
    {{.add = "rope_freqs.weight"}, "rope_freqs.weight is no table"},
    {{.type = 12}, "is quantised as Q4_K; F32, F16, BF16, Q8_0, Q4_0, Q4_1 and Q6_K can"},
    {{.type = 99}, "is quantised as type 99"},
    {{.type = 8}, "has an impossible size or place"}, /* 8 is no multiple of 32 */
    {{.dims = 5}, "tensor 1 has 5 dimensions"},
    {{.alignment = 48}, "general.alignment is 48"},
    {{.offset_by = 4}, "has an impossible size or place"},
    {{.offset_by = 1 << 20}, "the file ends inside tensor"},
    {{.offset_by = UINT64_C(1) << 63}, "the file ends inside tensor"},
};

START_TEST(damage_is_named)
{
    struct err e = {0};
    struct weights w;

    ck_assert(!weights_load(&w, write_file(&damaged[_i].damage), WEIGHT_BF16, &e));
    ck_assert_msg(strstr(e.text, damaged[_i].says) && strstr(e.text, "m.gguf: "), "%s", e.text);
    ck_assert_ptr_null(w.owned);
}
END_TEST

START_TEST(no_file_and_other_files)
{
    struct err e = {0};
    struct weights w;

    ck_assert(!weights_load(&w, model_file_path(&folder, "none.gguf"), WEIGHT_BF16, &e));
    ck_assert_msg(strstr(e.text, "none.gguf: No such file or directory; "), "%s", e.text);
    e.set = false;
    ck_assert(!weights_load(&w, model_file_write(&folder, "x", "", 0), WEIGHT_BF16, &e));
    ck_assert_msg(strstr(e.text, "x: is empty or no file; "), "%s", e.text);
    e.set = false;
    ck_assert(
        !weights_load(&w, model_file_write(&folder, "x", "PK..and more", 12), WEIGHT_BF16, &e));
    ck_assert_msg(strstr(e.text, "x: is no GGUF file; "), "%s", e.text);
}
END_TEST

/* A whole file in memory, and its path. */
static int memory_file(struct bytes *b, char *path, size_t size)
{
    int fd = memfd_create("gguf", 0);

    gguf_make(b, &truth, &(struct gguf_damage){0}, NULL, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, b->at, b->n), (ssize_t)b->n);
    snprintf(path, size, "/proc/self/fd/%d", fd);
    return fd;
}

/* A file cut anywhere is refused. */
START_TEST(every_cut_is_an_error)
{
    struct bytes b = {0};
    char path[64];
    int fd = memory_file(&b, path, sizeof(path));

    for (size_t n = b.n; n-- > 0;) {
        struct err e = {0};
        struct weights w;

        ck_assert_int_eq(ftruncate(fd, (off_t)n), 0);
        ck_assert_msg(!weights_load(&w, path, WEIGHT_BF16, &e), "cut at %zu of %zu", n, b.n);
        ck_assert(e.set);
    }
    close(fd);
    mem_free(b.at);
}
END_TEST

/* A changed byte may go unnoticed, as in the data, but never ends in a crash. */
START_TEST(every_changed_byte_is_survived)
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    struct bytes b = {0};
    char path[64];
    int fd = memory_file(&b, path, sizeof(path));
    size_t header = b.n - gguf_data_bytes(&truth);

    for (size_t at = 0; at < header; at++) {
        for (size_t i = 0; i < ARRAY_LEN(values); i++) {
            struct err e = {0};
            struct weights w;

            ck_assert_int_eq(pwrite(fd, &values[i], 1, (off_t)at), 1);
            ck_assert(weights_load(&w, path, WEIGHT_BF16, &e) != e.set);
            weights_release(&w);
        }
        ck_assert_int_eq(pwrite(fd, b.at + at, 1, (off_t)at), 1);
    }
    close(fd);
    mem_free(b.at);
}
END_TEST

/* ---- Llama 3's RoPE ---- */

/* The table that llama.cpp writes for a stretching by `factor`, with one entry spoilt. */
static void divisors(struct bytes *out, const struct arch *a, uint32_t spoilt)
{
    struct arch plain = *a;

    plain.rope.factor = 0;
    for (uint32_t i = 0; i < a->head_dim / 2; i++) {
        float x = (float)(arch_rope_frequency(&plain, i) / arch_rope_frequency(a, i));
        uint32_t bits;

        if (i == spoilt)
            x *= 1.01f;
        memcpy(&bits, &x, sizeof(bits));
        put_le(out, bits, 4);
    }
}

START_TEST(table_of_divisors)
{
    struct arch a = {.layers = 1,
                     .hidden = 16,
                     .heads = 1,
                     .kv_heads = 1,
                     .head_dim = 32,
                     .intermediate = 6,
                     .vocab = 11,
                     .max_model_len = 32,
                     .rms_eps = 0.0009765625,
                     .rope_theta = 500000,
                     .rope = {32, 1, 4, 8192}};
    /* The added tensor has `hidden` = head_dim / 2 elements, at the beginning of the data. */
    struct bytes table = {0}, b = {0};
    struct err e = {0};
    struct weights w;

    weights_release(&truth);
    weights_random(&truth, &a, 3);
    weights_draw(&truth);
    divisors(&table, &a, _i == 1 ? 9 : UINT32_MAX);
    gguf_make(&b, &truth, &(struct gguf_damage){.add = "rope_freqs.weight"}, NULL, 0);
    memcpy(b.at + b.n - gguf_data_bytes(&truth), table.at, table.n);
    if (_i == 0) {
        ck_assert_msg(
            weights_load(&w, model_file_write(&folder, "m.gguf", b.at, b.n), WEIGHT_BF16, &e), "%s",
            e.text);
        ck_assert_double_eq_tol(w.arch.rope.factor, 32, 1e-4);
        ck_assert_uint_eq(w.arch.rope.original_max_position, 8192);
        weights_release(&w);
    } else {
        ck_assert(
            !weights_load(&w, model_file_write(&folder, "m.gguf", b.at, b.n), WEIGHT_BF16, &e));
        ck_assert_msg(strstr(e.text, "is not Llama 3's stretching"), "%s", e.text);
    }
    mem_free(table.at);
    mem_free(b.at);
}
END_TEST

/* ---- the real one ---- */

START_TEST(smollm2)
{
    const char *path = smollm2_path();
    struct err e = {0};
    struct weights w;

    if (!path)
        return;
    ck_assert_msg(weights_load(&w, path, WEIGHT_F32, &e), "%s", e.text);
    ck_assert_uint_eq(w.arch.layers, 30);
    ck_assert_uint_eq(w.arch.heads, 9);
    ck_assert_uint_eq(w.arch.kv_heads, 3);
    ck_assert_uint_eq(w.arch.vocab, 49152);
    ck_assert(w.arch.tied_embeddings);
    ck_assert_double_eq(w.arch.rope_theta, 100000);
    weights_release(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("gguf");
    TCase *t = tcase_create("gguf");
    SRunner *r;
    int failed;

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, all_tensors_and_sizes, 0, 2);
    tcase_add_test(t, described_without_weights);
    tcase_add_test(t, without_head_is_tied);
    tcase_add_test(t, head_size_defaults);
    tcase_add_test(t, plain_types);
    tcase_add_test(t, blocks_of_32);
    tcase_add_test(t, blocks_of_256);
    tcase_add_test(t, sizes_of_tensors);
    tcase_add_test(t, values_of_all_types);
    tcase_add_loop_test(t, damage_is_named, 0, (int)ARRAY_LEN(damaged));
    tcase_add_test(t, no_file_and_other_files);
    tcase_add_test(t, every_cut_is_an_error);
    tcase_add_test(t, every_changed_byte_is_survived);
    tcase_add_loop_test(t, table_of_divisors, 0, 2);
    tcase_add_test(t, smollm2);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
