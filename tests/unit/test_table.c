/* test_table.c: backend table on a profile made up here, whose operators are plain formulas: the
 * step formula by hand, and what is wrong with a profile said by file, line and name. */
#include "backend/profile.h"
#include "backend/registry.h"
#include "sim/rng.h"
#include "tests/support/line_check.h"

#include <check.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the toy: two layers, and times that are sums of products of their keys ---- */

static const struct model_desc dense_model = {.id = "toy",
                                              .layers = 2,
                                              .hidden = 100,
                                              .heads = 4,
                                              .kv_heads = 2,
                                              .head_dim = 25,
                                              .intermediate = 200,
                                              .vocab = 1000,
                                              .weight_bytes_per_param = 2,
                                              .kv_bytes_per_elem = 2};
static const struct gpu_desc gpu = {.id = "toy", .link_bytes_per_s = 1e9, .link_latency_ns = 7000};
static const struct limits limits = {.max_num_seqs = 128, .max_num_batched_tokens = 2048};

static const char *const dense_ops[] = {"embedding",    "final_layernorm", "layernorm",
                                        "qkv_proj",     "rotary_emb",      "o_proj",
                                        "gate_up_proj", "act_fn",          "down_proj"};

/* us; the i-th of dense_ops takes 1 + i + tokens / 100. */
static double once_us(double rows)
{
    return 1 + 2 + 2 * rows / 100;
}

static double layer_us(double rows)
{
    return 2 * 3 + 4 + 5 + 6 + 7 + 8 + 9 + 8 * rows / 100;
}

static double sequence_us(double n)
{
    return 20 + n / 10 + 30;
}

static double decode_us(double n, double context)
{
    return 1 + n * context / 100;
}

static double prefill_us(double chunk, double history)
{
    return 2 + chunk * (history + 100) / 1000;
}

static double mixed_us(double chunk, double n, double history, double context)
{
    return prefill_us(chunk, history) + 5 + 3 * n * context / 100;
}

static double experts_us(double tokens, double experts)
{
    return 10 + tokens / 4 + 6 * experts;
}

/* ---- its files ---- */

static char folder[64];

static FILE *create(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    return f;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = create(name);

    fputs(text, f);
    fclose(f);
}

static const char meta[] = "profiler_version: 1.0.0\n"
                           "vllm_version: 0.19.0\n"
                           "hardware: RTX4090\n"
                           "model: meta-llama/Llama-3.1-8B\n"
                           "variant: bf16\n"
                           "skew_profile:\n"
                           "  enabled: false\n";

static void write_dense(const char *name)
{
    FILE *f = create(name);

    fputs("layer,tokens,time_us\n", f);
    for (unsigned i = 0; i < ARRAY_LEN(dense_ops); i++)
        fprintf(f, "%s,1024,%g\n%s,1,%g\n", dense_ops[i], 1 + i + 10.24, dense_ops[i],
                1 + i + 0.01);
    fclose(f);
}

static void write_attention(const char *name)
{
    static const double chunks[] = {16, 1024}, ns[] = {1, 4}, keys[] = {0, 1024};
    FILE *f = create(name);

    fputs("prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n", f);
    for (unsigned i = 0; i < 16; i++) {
        double c = chunks[i & 1], h = keys[i >> 1 & 1], n = ns[i >> 2 & 1], x = keys[i >> 3 & 1];

        fprintf(f, "%g,%g,%g,%g,%.17g\n", c, h, n, x, mixed_us(c, n, h, x));
        if ((i & 3) == 0)
            fprintf(f, "0,0,%g,%g,%.17g\n", n, x, decode_us(n, x));
        if (i < 4)
            fprintf(f, "%g,%g,0,0,%.17g\n", c, h, prefill_us(c, h));
    }
    fclose(f);
}

static void write_moe(const char *name)
{
    FILE *f = create(name);

    fputs("tokens,activated_experts,time_us\n", f);
    for (unsigned i = 0; i < 4; i++)
        fprintf(f, "%u,%u,%.17g\n", i & 1 ? 1 : 512, i & 2 ? 1 : 8,
                experts_us(i & 1 ? 1 : 512, i & 2 ? 1 : 8));
    fclose(f);
}

/* Of 4 sequences, the longest with 800 tokens: 1.5 times as long where the mean is half of it, 1.1
 * times at three quarters; beside a chunk 1.2 and 1.1 times. */
static const char skew[] = "n,pc,kp,kv_big,kv_mean,t_mean_us,t_skew_us,alpha\n"
                           "4,0,0,800,400,10,15,\n"
                           "4,0,0,800,600,10,11,0.5\n"
                           "4,16,0,800,400,10,12,\n"
                           "4,16,0,800,600,10,11,\n";

static void make_folder(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test_table_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    write_file("meta.yaml", meta);
    make_folder("tp1");
    make_folder("tp2");
    for (char tp = '1'; tp <= '2'; tp++) {
        char name[64];

        snprintf(name, sizeof(name), "tp%c/dense.csv", tp);
        write_dense(name);
        snprintf(name, sizeof(name), "tp%c/attention.csv", tp);
        write_attention(name);
        snprintf(name, sizeof(name), "tp%c/per_sequence.csv", tp);
        write_file(name, "layer,sequences,time_us\nlm_head,1,20.1\nlm_head,256,45.6\n"
                         "sampler,1,30\nsampler,256,30\n");
    }
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void teardown(void)
{
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- opening and asking ---- */

struct opened {
    struct arena arena;
    struct backend_note note;
    void *self; /* NULL: err says why */
    struct err err;
};

static const struct backend_ops *table(void)
{
    return backend_find("table");
}

static void open_table(struct opened *o, const struct model_desc *m, uint32_t tp)
{
    struct backend_env env = {
        .model = m, .gpu = &gpu, .tensor_parallel_size = tp, .limits = &limits, .profile = folder};

    *o = (struct opened){.self = NULL};
    arena_init(&o->arena);
    o->self = table()->open(&o->arena, &env, &o->note, &o->err);
}

static void close_table(struct opened *o)
{
    arena_release(&o->arena);
}

#define SEQS_MAX 300u

struct seqs {
    uint32_t n;
    struct batch_seq seq[SEQS_MAX];
};

static void add(struct seqs *s, uint32_t n, uint32_t tokens, uint32_t context, bool prefill)
{
    for (; n > 0; n--)
        s->seq[s->n++] =
            (struct batch_seq){.n_tokens = tokens, .context = context, .prefill = prefill};
}

/* A decode of `context` reads that many, its own token included. */
static struct batch batch_of(const struct seqs *s)
{
    struct batch b = {.n = s->n, .seq = s->seq};
    struct batch_shape *shape = &b.shape;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct batch_seq *q = &s->seq[i];

        if (q->prefill) {
            shape->n_prefill++;
            shape->prefill_tokens += q->n_tokens;
            shape->prefill_history_sum += q->context;
        } else {
            shape->n_decode++;
            shape->decode_tokens += q->n_tokens;
            shape->decode_context_sum += q->context;
            shape->decode_context_max = MAX(shape->decode_context_max, q->context);
        }
    }
    return b;
}

static struct step_cost cost_of(const struct opened *o, const struct batch *b)
{
    struct step_cost cost;
    struct err e = {.set = false};

    ck_assert_msg(o->self != NULL, "%s", o->err.text);
    ck_assert(table()->step(o->self, b, &cost, &e));
    return cost;
}

static void expect(const struct opened *o, const struct seqs *s, double us, bool extrapolated)
{
    struct batch b = batch_of(s);
    struct step_cost cost = cost_of(o, &b);

    ck_assert_double_eq_tol(cost.device_ns, us * 1000, 1e-6 * us * 1000);
    ck_assert_int_eq(cost.extrapolated, extrapolated);
}

/* Without attention: rows of the matrix products and sequences. */
static double rest_us(double rows, double sequences)
{
    return once_us(rows) + 2 * layer_us(rows) + sequence_us(sequences);
}

/* ---- the step formula ---- */

START_TEST(test_decode)
{
    struct opened o;
    struct seqs s = {.n = 0};

    open_table(&o, &dense_model, 1);
    add(&s, 1, 1, 500, false);
    expect(&o, &s, rest_us(1, 1) + 2 * decode_us(1, 500), false);
    add(&s, 2, 1, 200, false); /* three rows run in the graph of four */
    expect(&o, &s, rest_us(4, 3) + 2 * decode_us(3, 300), false);
    add(&s, 97, 1, 300, false); /* 100 rows in that of 104; more decodes than were measured */
    expect(&o, &s, rest_us(104, 100) + 2 * decode_us(100, 300), true);
    close_table(&o);
}
END_TEST

/* Sizes of the graphs for 128 sequences: up to 256 tokens; tiles of 16 without one. */
static const struct {
    uint32_t tokens, rows;
} rows[] = {{1, 1},     {2, 2},     {3, 4},     {5, 8},     {9, 16},    {17, 24},
            {129, 136}, {249, 256}, {256, 256}, {257, 272}, {272, 272}, {1000, 1008}};

START_TEST(test_rows)
{
    struct opened o;
    struct seqs s = {.n = 0};
    double tokens = rows[_i].tokens;

    open_table(&o, &dense_model, 1);
    add(&s, 1, rows[_i].tokens, 0, true);
    expect(&o, &s, rest_us(rows[_i].rows, 1) + 2 * prefill_us(fmax(tokens, 16), 0), tokens < 16);
    close_table(&o);
}
END_TEST

START_TEST(test_mixed)
{
    struct opened o;
    struct seqs s = {.n = 0};

    open_table(&o, &dense_model, 1);
    add(&s, 2, 1, 100, false);
    add(&s, 1, 1, 400, false);
    add(&s, 1, 93, 512, true);
    expect(&o, &s, rest_us(96, 4) + 2 * mixed_us(93, 3, 512, 200), false);
    close_table(&o);
}
END_TEST

/* Several prompts: each for itself, the call started once; at most one as long as all. */
START_TEST(test_prompts)
{
    struct opened o;
    struct seqs s = {.n = 0};
    double each = prefill_us(100, 1000) + prefill_us(300, 0) - prefill_us(16, 0);
    double merged = prefill_us(400, 1000);

    open_table(&o, &dense_model, 1);
    add(&s, 1, 100, 1000, true);
    add(&s, 1, 300, 0, true);
    expect(&o, &s, rest_us(400, 2) + 2 * each, false);
    add(&s, 4, 1, 200, false);
    expect(&o, &s, rest_us(416, 6) + 2 * (mixed_us(400, 4, 1000, 200) - merged + each), false);
    close_table(&o);
}
END_TEST

static void write_skew(void)
{
    write_file("meta.yaml", "profiler_version: 1\nvllm_version: 1\nhardware: a\nmodel: b\n"
                            "variant: bf16\nskew_profile: {enabled: true}\n");
    write_file("tp1/skew.csv", skew);
}

START_TEST(test_skew)
{
    struct opened o;
    struct seqs even = {.n = 0}, half = {.n = 0}, most = {.n = 0}, mixed;

    write_skew();
    open_table(&o, &dense_model, 1);
    add(&even, 4, 1, 500, false);
    expect(&o, &even, rest_us(4, 4) + 2 * decode_us(4, 500), false);
    add(&half, 1, 1, 800, false); /* mean 400 */
    add(&half, 2, 1, 300, false);
    add(&half, 1, 1, 200, false);
    expect(&o, &half, rest_us(4, 4) + 2 * decode_us(4, 400) * 1.5, false);
    add(&most, 2, 1, 800, false); /* mean 500, between the two that were measured */
    add(&most, 2, 1, 200, false);
    expect(&o, &most, rest_us(4, 4) + 2 * decode_us(4, 500) * 1.3, false);
    mixed = half;
    add(&mixed, 1, 12, 0, true); /* below the smallest chunk: as that */
    expect(&o, &mixed, rest_us(16, 5) + 2 * mixed_us(16, 4, 0, 400) * 1.2, true);
    close_table(&o);
}
END_TEST

START_TEST(test_tensor_parallel)
{
    struct opened o;
    struct seqs s = {.n = 0};
    /* 2 layers: 5 all-reduces of 16 rows x 100 x 2 bytes over 1 GB/s: 3.2 us, and 7 us each. */
    double reduce = 5 * (7 + 3.2);

    open_table(&o, &dense_model, 2);
    add(&s, 10, 1, 500, false);
    expect(&o, &s, rest_us(16, 10) + 2 * decode_us(10, 500) + reduce, true);
    close_table(&o);
}
END_TEST

/* 4 experts, 2 a token: T tokens reach 4 (1 - 2^-T). They take the place of the MLP, and GPUs share
 * what only tp1 measured. */
START_TEST(test_experts)
{
    struct model_desc m = dense_model;
    struct opened o;
    struct seqs s = {.n = 0};
    double mlp = 7 + 8 + 9 + 3 * 0.08;

    m.experts = 4;
    m.experts_per_token = 2;
    m.moe_intermediate = 50;
    write_moe("tp1/moe.csv");
    add(&s, 4, 1, 500, false);
    add(&s, 4, 1, 500, false);
    for (uint32_t tp = 1; tp <= 2; tp++) {
        double hit = 4 * (1 - 1.0 / 256), reduce = tp == 1 ? 0 : 5 * (7 + 1.6);

        open_table(&o, &m, tp);
        expect(&o, &s,
               rest_us(8, 8) + 2 * (decode_us(8, 500) - mlp + experts_us(8.0 / tp, hit / tp)) +
                   reduce,
               true); /* 8 decodes are more than the 4 measured */
        close_table(&o);
    }
}
END_TEST

/* With and without skew. Up to 64 tokens each length is a breakpoint, to 128 every second, ...; at
 * breakpoints a step is the look-up itself (test_skew). */
START_TEST(test_decode_lines)
{
    struct opened o;
    struct rng r;

    ck_assert(table()->caps & BACKEND_AFFINE_DECODE);
    rng_init(&r, 1, "lines");
    if (_i == 1)
        write_skew();
    open_table(&o, &dense_model, 1);
    for (uint32_t i = 0; i < 200; i++)
        (void)line_walk(table(), o.self, line_shape(&r, 6, 1500), 600);
    struct batch_shape s = {
        .n_decode = 2, .decode_tokens = 2, .decode_context_sum = 2, .decode_context_max = 1};
    ck_assert_uint_eq(line_walk(table(), o.self, s, 64), 64);
    ck_assert_uint_eq(line_walk(table(), o.self, s, 128), 64 + 32);
    ck_assert_uint_eq(line_walk(table(), o.self, s, 256), 64 + 32 + 32);
    close_table(&o);
}
END_TEST

/* Whatever comes, a step takes a length of time; and it says when that is not from its tables. */
START_TEST(test_any_shape)
{
    static const uint32_t sizes[] = {1, 2, 17, 999, 65536, 1u << 30, (1u << 31) - 1};
    struct opened o;

    open_table(&o, &dense_model, 1);
    for (unsigned i = 0; i < 7 * 7 * 7 * 7; i++) {
        struct batch_seq prompt = {
            .n_tokens = sizes[i % 7], .context = sizes[i / 7 % 7], .prefill = true};
        uint32_t n = i % 5 == 0 ? 0 : sizes[i / 49 % 7], context = sizes[i / 343];
        struct batch b = {.n = 1,
                          .seq = &prompt,
                          .shape = {.n_prefill = 1,
                                    .prefill_tokens = prompt.n_tokens,
                                    .prefill_history_sum = prompt.context,
                                    .n_decode = n,
                                    .decode_tokens = n,
                                    .decode_context_sum = (uint64_t)n * context,
                                    .decode_context_max = n > 0 ? context : 0}};
        struct step_cost cost = cost_of(&o, &b);
        bool inside = prompt.n_tokens >= 16 && prompt.n_tokens <= 999 && prompt.context <= 999 &&
                      (n == 0 || (n <= 2 && context <= 999));

        ck_assert(cost.device_ns > 0 && cost.device_ns <= 0x1p61);
        ck_assert_int_eq(cost.extrapolated, !inside);
    }
    close_table(&o);
}
END_TEST

/* ---- what is wrong with a profile ---- */

static const struct {
    const char *file, *text; /* text NULL: the file is missing */
    const char *message;
} broken[] = {
    {"meta.yaml", NULL, ": holds no meta.yaml and no system.yaml; give the folder of a profile"},
    {"meta.yaml", "", "/meta.yaml:1: holds no mapping"},
    {"meta.yaml", "a: b\nc: [1\n", "/meta.yaml:3: "},
    {"meta.yaml", "hardware: a\n", "/meta.yaml:1: model: is missing; add it"},
    {"meta.yaml", "hardware: a\nmodel: [b]\n", "/meta.yaml:2: model: is not a single value"},
    {"meta.yaml",
     "profiler_version: 1\nvllm_version: 1\nhardware: a\nmodel: b\nvariant: bf16\n"
     "skew_profile:\n  enabled: perhaps\n",
     "/meta.yaml:7: skew_profile.enabled: \"perhaps\" is neither true nor false"},
    {"meta.yaml",
     "profiler_version: 1\nvllm_version: 1\nhardware: a\nmodel: b\nvariant: bf16\n"
     "skew_profile: {enabled: true}\n",
     "/tp1/skew.csv: cannot be opened: No such file or directory"},
    {"tp1/dense.csv", NULL, "/tp1/dense.csv: cannot be opened: No such file or directory"},
    {"tp1/dense.csv", "", "/tp1/dense.csv:1: the file is empty"},
    {"tp1/dense.csv", "layer,token,time_us\n", "/tp1/dense.csv:1: column tokens is missing"},
    {"tp1/dense.csv", "layer,tokens,time_us\nqkv_proj,1\n",
     "/tp1/dense.csv:2: 2 cells where the header has 3"},
    {"tp1/dense.csv", "layer,tokens,time_us\n\nqkv_proj,one,1\n",
     "/tp1/dense.csv:3: column tokens: \"one\" is not a number"},
    {"tp1/dense.csv", "layer,tokens,time_us\nqkv_proj,1,nan\n",
     "/tp1/dense.csv:2: column time_us: \"nan\" is not a number"},
    {"tp1/dense.csv", "layer,tokens,time_us\nqkv_proj,1,-1\n",
     "/tp1/dense.csv:2: column time_us: -1 is out of range"},
    {"tp1/dense.csv", "layer,tokens,time_us\nmystery,1,1\n",
     "/tp1/dense.csv:2: layer \"mystery\" is none that the step formula knows"},
    {"tp1/dense.csv", "layer,tokens,time_us\nqkv_proj,1,1\nqkv_proj,2,1\nqkv_proj,1,1\n",
     "/tp1/dense.csv:4: the same point twice"},
    {"tp1/dense.csv", "layer,tokens,time_us\nqkv_proj,1,1\n",
     ": has no embedding, which every step of toy needs"},
    {"tp1/per_sequence.csv", "layer,sequences,time_us\nqkv_proj,1,1\n",
     "/tp1/per_sequence.csv:2: layer \"qkv_proj\""},
    {"tp1/attention.csv", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n",
     "/tp1/attention.csv: no row with decodes alone"},
    {"tp1/attention.csv", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,1,16,1\n",
     "/tp1/attention.csv: no row with a chunk alone"},
    {"tp1/attention.csv", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,0,0,1\n",
     "/tp1/attention.csv:2: neither a chunk nor decodes"},
    {"tp1/attention.csv",
     "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n0,0,1,16,1\n1,0,0,0,1\n0,0,1,16,1\n",
     "/tp1/attention.csv:4: the same point twice"},
};

START_TEST(test_broken)
{
    struct opened o;

    if (broken[_i].text) {
        write_file(broken[_i].file, broken[_i].text);
    } else {
        char path[256];

        snprintf(path, sizeof(path), "%s/%s", folder, broken[_i].file);
        ck_assert_int_eq(remove(path), 0);
    }
    open_table(&o, &dense_model, 1);
    ck_assert_ptr_null(o.self);
    ck_assert_msg(strstr(o.err.text, broken[_i].message) != NULL, "\"%s\" in: %s",
                  broken[_i].message, o.err.text);
    close_table(&o);
}
END_TEST

static void refused(const struct model_desc *m, uint32_t tp, const char *message)
{
    struct opened o;

    open_table(&o, m, tp);
    ck_assert_ptr_null(o.self);
    ck_assert_msg(strstr(o.err.text, message) != NULL, "\"%s\" in: %s", message, o.err.text);
    close_table(&o);
}

START_TEST(test_refused)
{
    struct model_desc m = dense_model;

    refused(&m, 4, "holds no tp4; there is tp1, tp2: set tensor_parallel_size");
    m.qk_norm = true;
    refused(&m, 1, "has no qk_norm, which every step of toy needs");
    m.qk_norm = false;
    m.experts = m.experts_per_token = 1;
    refused(&m, 1, "has no times of experts (moe.csv), which toy needs");
}
END_TEST

START_TEST(test_no_profile)
{
    struct backend_env env = {
        .model = &dense_model, .gpu = &gpu, .tensor_parallel_size = 1, .limits = &limits};
    struct opened o = {.self = NULL};

    arena_init(&o.arena);
    ck_assert_ptr_null(table()->open(&o.arena, &env, &o.note, &o.err));
    ck_assert_str_eq(o.err.text, "backend table: there is no profile; give --profile PATH");
    close_table(&o);
}
END_TEST

START_TEST(test_names)
{
    struct profile_names names;
    struct err e = {.set = false};

    ck_assert_msg(profile_names(folder, &names, &e), "%s", e.text);
    ck_assert_str_eq(names.model, "meta-llama/Llama-3.1-8B");
    ck_assert_str_eq(names.gpu, "RTX4090");
    ck_assert_str_eq(names.dtype, "bfloat16");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("table");
    TCase *tc = tcase_create("table");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_decode);
    tcase_add_loop_test(tc, test_rows, 0, ARRAY_LEN(rows));
    tcase_add_test(tc, test_mixed);
    tcase_add_test(tc, test_prompts);
    tcase_add_test(tc, test_skew);
    tcase_add_test(tc, test_tensor_parallel);
    tcase_add_test(tc, test_experts);
    tcase_add_loop_test(tc, test_decode_lines, 0, 2);
    tcase_add_test(tc, test_any_shape);
    tcase_add_loop_test(tc, test_broken, 0, ARRAY_LEN(broken));
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_no_profile);
    tcase_add_test(tc, test_names);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
