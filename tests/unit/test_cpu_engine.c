/* test_cpu_engine.c: the CPU engine against the formulas (tests/support/naive_model.h), and against
 * itself: chunks, block sizes, shared prefixes, batches, threads and swaps do not change a bit. */
#include "backend/device.h"
#include "tests/support/naive_model.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LEN 80u
#define MAX_BLOCKS 128u

/* ---- helpers ---- */

static const struct arch base = {
    .layers = 2,
    .hidden = 48,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 16,
    .intermediate = 72,
    .vocab = 101,
    .max_model_len = 256,
    .rms_eps = 1e-5,
    .rope_theta = 10000,
};

/* Head groups of 1, 3, 4 and 8; sizes that are no multiples of a vector; tied; Llama 3.1's RoPE. */
static const struct arch archs[] = {
    {.layers = 2,
     .hidden = 48,
     .heads = 4,
     .kv_heads = 4,
     .head_dim = 16,
     .intermediate = 72,
     .vocab = 101,
     .max_model_len = 256,
     .rms_eps = 1e-5,
     .rope_theta = 10000},
    {.layers = 3,
     .hidden = 54,
     .heads = 9,
     .kv_heads = 3,
     .head_dim = 6,
     .intermediate = 37,
     .vocab = 50,
     .max_model_len = 256,
     .rms_eps = 1e-6,
     .rope_theta = 1e5,
     .tied_embeddings = true},
    {.layers = 2,
     .hidden = 35,
     .heads = 8,
     .kv_heads = 2,
     .head_dim = 10,
     .intermediate = 64,
     .vocab = 33,
     .max_model_len = 256,
     .rms_eps = 1e-5,
     .rope_theta = 5e5,
     .rope = {8, 1, 4, 64}},
    {.layers = 1,
     .hidden = 64,
     .heads = 8,
     .kv_heads = 1,
     .head_dim = 32,
     .intermediate = 96,
     .vocab = 77,
     .max_model_len = 256,
     .rms_eps = 1e-5,
     .rope_theta = 10000},
};

struct rig {
    struct weights w;
    void *device;
    uint32_t block_size;
};

static void rig_open(struct rig *r, const struct arch *a, uint32_t block_size, uint32_t threads,
                     bool high_precision)
{
    struct err e = {0};
    struct device_config c = {
        .weights = &r->w,
        .max_seqs = 8,
        .max_tokens = 2 * MAX_LEN,
        .block_size = block_size,
        .n_blocks = MAX_BLOCKS,
        .n_host_blocks = MAX_BLOCKS,
        .max_context = MAX_LEN,
        .threads = threads,
        .high_precision = high_precision,
    };

    weights_random(&r->w, a, 7);
    weights_draw(&r->w);
    r->block_size = block_size;
    r->device = device_cpu.open(&c, &e);
    ck_assert_msg(r->device, "%s", e.text);
}

static void rig_close(struct rig *r)
{
    device_cpu.close(r->device);
    weights_release(&r->w);
}

static void fill_tokens(uint32_t *token, uint32_t n, uint32_t vocab, uint32_t seed)
{
    for (uint32_t i = 0; i < n; i++)
        token[i] = (seed * 7919 + i * i * 31 + i * 17) % vocab;
}

/* Part of a sequence to compute in a step. */
struct part {
    const uint32_t *token; /* of the whole sequence */
    uint32_t begin, end;
    const uint32_t *table;
};

/* Computes the parts in one step; logits[n_parts][vocab] of each one's last token. */
static void step(struct rig *r, const struct part *part, uint32_t n_parts, float *logits,
                 uint32_t *next)
{
    uint32_t token[2 * MAX_LEN], q_start[9] = {0}, table_start[9] = {0}, context[8];
    uint32_t block[8 * MAX_LEN], chosen[8], n_decode = 0;
    bool emits[8];
    struct err e = {0};

    for (uint32_t i = 0; i < n_parts; i++) {
        uint32_t n = part[i].end - part[i].begin;
        uint32_t n_blocks = div_ceil_u32(part[i].end, r->block_size);

        memcpy(token + q_start[i], part[i].token + part[i].begin, n * sizeof(*token));
        memcpy(block + table_start[i], part[i].table, n_blocks * sizeof(*block));
        q_start[i + 1] = q_start[i] + n;
        table_start[i + 1] = table_start[i] + n_blocks;
        context[i] = part[i].begin;
        emits[i] = true;
        n_decode += n == 1 && part[i].begin > 0;
    }
    struct forward f = {n_parts, n_decode, q_start[n_parts], token, q_start, context, table_start,
                        block,   emits};
    struct forward_result result = {.next_token = chosen, .logits = logits};
    ck_assert_msg(device_cpu.forward(r->device, &f, &result, &e), "%s", e.text);
    ck_assert_double_gt(result.device_ns, 0);
    if (next)
        *next = chosen[0];
}

/* Blocks of a table, scattered, from `first` on. */
static void scatter(uint32_t *table, uint32_t first)
{
    for (uint32_t i = 0; i < MAX_LEN && first + i < MAX_BLOCKS; i++)
        table[i] = (first + i) * 37 % MAX_BLOCKS;
}

static void whole(struct rig *r, const uint32_t *token, uint32_t n, float *logits)
{
    uint32_t table[MAX_LEN];

    scatter(table, 0);
    step(r, &(struct part){token, 0, n, table}, 1, logits, NULL);
}

static double distance(const float *a, const double *b, uint32_t n)
{
    double diff = 0, norm = 0;

    for (uint32_t i = 0; i < n; i++) {
        ck_assert(!isnan(a[i]));
        diff += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return sqrt(diff / norm);
}

static void check_same_bits(const float *a, const float *b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        ck_assert(!isnan(a[i]));
    ck_assert_mem_eq(a, b, n * sizeof(*a));
}

/* ---- against the formulas ---- */

START_TEST(equals_formulas)
{
    const struct arch *a = &archs[_i];
    static const uint32_t lengths[] = {1, 3, 7, 16, 31, 67};
    uint32_t token[MAX_LEN], n_max = 67;
    float *logits = malloc(a->vocab * sizeof(*logits));
    double *truth = malloc((size_t)n_max * a->vocab * sizeof(*truth));
    struct rig f32, f64;

    rig_open(&f32, a, 16, 2, false);
    rig_open(&f64, a, 7, 1, true);
    fill_tokens(token, n_max, a->vocab, (uint32_t)_i);
    naive_logits(&f32.w, token, n_max, truth);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        const double *want = truth + (size_t)(lengths[i] - 1) * a->vocab;

        whole(&f64, token, lengths[i], logits);
        ck_assert_double_le(distance(logits, want, a->vocab), 1e-7); /* of the rounding to float */
        whole(&f32, token, lengths[i], logits);
        ck_assert_double_le(distance(logits, want, a->vocab), 1e-5);
    }
    rig_close(&f32);
    rig_close(&f64);
    free(logits);
    free(truth);
}
END_TEST

START_TEST(next_token_is_the_largest_logit)
{
    uint32_t token[9], table[MAX_LEN], next = UINT32_MAX;
    float logits[101], largest = -INFINITY;
    struct rig r;

    rig_open(&r, &base, 4, 1, false);
    fill_tokens(token, 9, base.vocab, 5);
    scatter(table, 0);
    step(&r, &(struct part){token, 0, 9, table}, 1, logits, &next);
    for (uint32_t i = 0; i < base.vocab; i++)
        largest = fmaxf(largest, logits[i]);
    ck_assert_uint_lt(next, base.vocab);
    ck_assert(logits[next] == largest);
    rig_close(&r);
}
END_TEST

/* ---- against itself ---- */

START_TEST(float32_is_near_float64)
{
    uint32_t token[61];
    float a[101], b[101];
    double wide[101];
    struct rig f32, f64;

    rig_open(&f32, &base, 16, 2, false);
    rig_open(&f64, &base, 16, 2, true);
    fill_tokens(token, 61, base.vocab, 3);
    whole(&f32, token, 61, a);
    whole(&f64, token, 61, b);
    for (uint32_t i = 0; i < base.vocab; i++)
        wide[i] = (double)b[i];
    ck_assert_double_le(distance(a, wide, base.vocab), 1e-4);
    ck_assert_double_gt(distance(a, wide, base.vocab), 0); /* they are two computations */
    rig_close(&f32);
    rig_close(&f64);
}
END_TEST

START_TEST(chunks_change_nothing)
{
    static const uint32_t cuts[][6] = {
        {0, 61}, {0, 1, 61}, {0, 16, 32, 48, 61}, {0, 3, 10, 41, 60, 61}, {0, 60, 61}};
    uint32_t token[61], table[MAX_LEN];
    float want[101], got[101];
    struct rig r;

    rig_open(&r, &base, 8, 2, _i == 1);
    fill_tokens(token, 61, base.vocab, 1);
    whole(&r, token, 61, want);
    for (size_t c = 0; c < ARRAY_LEN(cuts); c++) {
        scatter(table, 20 * ((uint32_t)c + 1));
        for (uint32_t i = 0; cuts[c][i] < 61; i++)
            step(&r, &(struct part){token, cuts[c][i], cuts[c][i + 1], table}, 1, got, NULL);
        check_same_bits(got, want, base.vocab);
    }
    rig_close(&r);
}
END_TEST

START_TEST(block_sizes_change_nothing)
{
    static const uint32_t sizes[] = {1, 3, 7, 16, 31};
    uint32_t token[61];
    float want[101], got[101];
    struct rig contiguous;

    rig_open(&contiguous, &base, MAX_LEN, 1, false);
    fill_tokens(token, 61, base.vocab, 2);
    whole(&contiguous, token, 61, want);
    rig_close(&contiguous);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct rig r;

        rig_open(&r, &base, sizes[i], 1, false);
        whole(&r, token, 61, got);
        check_same_bits(got, want, base.vocab);
        rig_close(&r);
    }
}
END_TEST

START_TEST(shared_prefix_changes_nothing)
{
    uint32_t one[50], two[50], table_one[MAX_LEN], table_two[MAX_LEN];
    float want[2 * 101], got[2 * 101];
    struct rig r;

    rig_open(&r, &base, 4, 2, false);
    fill_tokens(one, 50, base.vocab, 1);
    fill_tokens(two, 50, base.vocab, 2);
    memcpy(two, one, 24 * sizeof(*one)); /* six blocks */
    whole(&r, one, 50, want);
    whole(&r, two, 50, want + base.vocab);

    scatter(table_one, 40);
    scatter(table_two, 80);
    memcpy(table_two, table_one, 6 * sizeof(*table_one));
    step(&r, &(struct part){one, 0, 24, table_one}, 1, got, NULL);
    struct part both[] = {{one, 24, 50, table_one}, {two, 24, 50, table_two}};
    step(&r, both, 2, got, NULL);
    check_same_bits(got, want, 2 * base.vocab);
    rig_close(&r);
}
END_TEST

/* Decodes and prompts together are what each is alone. */
START_TEST(batches_change_nothing)
{
    static const uint32_t begin[] = {29, 11, 0, 9, 0}, end[] = {30, 12, 17, 30, 1};
    uint32_t token[5][30], table[5][MAX_LEN];
    float want[5 * 101], got[5 * 101];
    struct part part[5];
    struct rig r;

    rig_open(&r, &base, 5, 2, false);
    for (uint32_t i = 0; i < 5; i++) {
        fill_tokens(token[i], 30, base.vocab, 10 + i);
        whole(&r, token[i], end[i], want + i * base.vocab);
    }
    for (uint32_t i = 0; i < 5; i++) {
        scatter(table[i], 20 * i);
        part[i] = (struct part){token[i], begin[i], end[i], table[i]};
        if (begin[i] > 0)
            step(&r, &(struct part){token[i], 0, begin[i], table[i]}, 1, got, NULL);
    }
    step(&r, part, 5, got, NULL);
    check_same_bits(got, want, 5 * base.vocab);
    rig_close(&r);
}
END_TEST

START_TEST(threads_change_nothing)
{
    uint32_t token[61];
    float one[101], four[101];
    struct rig a, b;

    rig_open(&a, &base, 16, 1, false);
    rig_open(&b, &base, 16, 4, false);
    for (uint32_t seed = 0; seed < 20; seed++) {
        fill_tokens(token, 61, base.vocab, seed);
        whole(&a, token, 61, one);
        whole(&b, token, 61, four);
        check_same_bits(one, four, base.vocab);
    }
    rig_close(&a);
    rig_close(&b);
}
END_TEST

START_TEST(who_does_not_emit_has_no_token)
{
    static const uint32_t q_start[] = {0, 3, 5, 6}, context[] = {0, 0, 0};
    static const uint32_t table_start[] = {0, 1, 2, 3}, block[] = {4, 9, 2};
    static const bool emits[] = {false, true, false};
    static const uint32_t token[] = {1, 2, 3, 4, 5, 6};
    uint32_t next[3] = {0};
    float logits[101];
    struct forward f = {3, 0, 6, token, q_start, context, table_start, block, emits};
    struct forward_result result = {.next_token = next, .logits = logits};
    float want[101];
    struct err e = {0};
    struct rig r;

    rig_open(&r, &base, 16, 1, false);
    ck_assert(device_cpu.forward(r.device, &f, &result, &e));
    whole(&r, token + 3, 2, want);
    check_same_bits(logits, want, base.vocab);
    ck_assert_uint_eq(next[0], UINT32_MAX);
    ck_assert_uint_lt(next[1], base.vocab);
    ck_assert_uint_eq(next[2], UINT32_MAX);
    rig_close(&r);
}
END_TEST

/* ---- swap ---- */

START_TEST(swap_out_and_back_changes_nothing)
{
    uint32_t token[61], table[MAX_LEN], elsewhere[MAX_LEN], host[MAX_LEN], n = 15;
    uint64_t out = 0, back = 0, done = 0;
    float want[101], got[101];
    struct err e = {0};
    struct rig r;

    rig_open(&r, &base, 4, 1, _i == 1);
    fill_tokens(token, 61, base.vocab, 9);
    whole(&r, token, 61, want);
    scatter(table, 0);
    scatter(elsewhere, 64);
    for (uint32_t i = 0; i < n; i++)
        host[i] = (i * 5 + 3) % MAX_BLOCKS;
    step(&r, &(struct part){token, 0, 60, table}, 1, got, NULL);
    ck_assert(device_cpu.copy(r.device, COPY_TO_HOST, table, host, n, &out, &e));
    ck_assert(device_cpu.copies_done(r.device, 0, true, &done, &e) && done >= out);
    fill_tokens(token, 60, base.vocab, 8); /* others take the blocks */
    step(&r, &(struct part){token, 0, 60, table}, 1, got, NULL);
    ck_assert(device_cpu.copy(r.device, COPY_TO_DEVICE, elsewhere, host, n, &back, &e));
    ck_assert_uint_eq(back, out + 1);
    elsewhere[15] = table[15];
    fill_tokens(token, 61, base.vocab, 9);
    step(&r, &(struct part){token, 60, 61, elsewhere}, 1, got, NULL);
    check_same_bits(got, want, base.vocab);
    rig_close(&r);
}
END_TEST

START_TEST(describes_itself)
{
    char text[64];
    struct rig r;

    rig_open(&r, &base, 4, 3, true);
    device_cpu.describe(r.device, text, sizeof(text));
    ck_assert_str_eq(text, "CPU, float64, 3 threads");
    rig_close(&r);
}
END_TEST

/* A device draws random weights itself where they have no data. */
START_TEST(random_weights_need_no_data)
{
    struct weights w;
    struct device_config c = {&w, 1, 16, 16, 1, 0, 16, 1, false};
    static const uint32_t q_start[] = {0, 5}, context[] = {0}, table_start[] = {0, 1},
                          block[] = {0};
    static const uint32_t token[] = {1, 2, 3, 4, 5};
    static const bool emits[] = {true};
    float want[101], got[101];
    uint32_t next;
    struct forward f = {1, 0, 5, token, q_start, context, table_start, block, emits};
    struct forward_result result = {.next_token = &next, .logits = got};
    struct err e = {0};
    struct rig r;
    void *device;

    rig_open(&r, &base, 16, 1, false);
    whole(&r, token, 5, want);
    weights_random(&w, &base, 7);
    device = device_cpu.open(&c, &e);
    ck_assert_ptr_nonnull(device);
    ck_assert(device_cpu.forward(device, &f, &result, &e));
    check_same_bits(got, want, base.vocab);
    device_cpu.close(device);
    weights_release(&w);
    rig_close(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cpu engine");
    TCase *t = tcase_create("cpu engine");
    SRunner *r;
    int failed;

    tcase_add_loop_test(t, equals_formulas, 0, (int)ARRAY_LEN(archs));
    tcase_add_test(t, next_token_is_the_largest_logit);
    tcase_add_test(t, float32_is_near_float64);
    tcase_add_loop_test(t, chunks_change_nothing, 0, 2);
    tcase_add_test(t, block_sizes_change_nothing);
    tcase_add_test(t, shared_prefix_changes_nothing);
    tcase_add_test(t, batches_change_nothing);
    tcase_add_test(t, threads_change_nothing);
    tcase_add_test(t, who_does_not_emit_has_no_token);
    tcase_add_loop_test(t, swap_out_and_back_changes_nothing, 0, 2);
    tcase_add_test(t, describes_itself);
    tcase_add_test(t, random_weights_need_no_data);
    suite_add_tcase(s, t);
    r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
