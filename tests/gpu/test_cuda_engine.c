/* test_cuda_engine.c: whole models on the GPU against the CPU engine in float64, and the GPU engine
 * against itself: chunks, shared prefixes, swaps, graphs. */
#include "tests/gpu/gpu.h"

#include "backend/model/tokenizer.h"

#define MAX_LEN 400u
#define N_BLOCKS 900u
#define MAX_SEQS 9u

/* Head groups of 1, 3, 4 and 8, both head sizes, tied embeddings, Llama 3.1's RoPE. */
static const struct arch archs[] = {
    {3, 256, 4, 4, 64, 512, 1003, 4096, false, 1e-5, 10000, {0, 0, 0, 0}},
    {3, 576, 9, 3, 64, 1536, 777, 4096, true, 1e-5, 100000, {0, 0, 0, 0}},
    {2, 512, 8, 2, 128, 1024, 2000, 4096, false, 1e-5, 500000, {8, 1, 4, 64}},
    {2, 512, 8, 1, 64, 712, 501, 4096, true, 1e-6, 10000, {0, 0, 0, 0}},
};
static const uint32_t block_sizes[] = {1, 3, 7, 16, 31};

struct rig {
    const struct device_ops *ops;
    struct weights w;
    void *device;
    uint32_t block_size, vocab;
};

enum kind { ORACLE, CUDA_BF16, CUDA_F32, CUDA_NO_GRAPHS };

static void rig_open(struct rig *r, enum kind kind, const struct arch *a, uint32_t block_size)
{
    struct err e = {0};
    struct device_config c = {
        .weights = &r->w,
        .max_seqs = MAX_SEQS,
        .max_tokens = 2 * MAX_LEN,
        .block_size = block_size,
        .n_blocks = N_BLOCKS,
        .n_host_blocks = N_BLOCKS,
        .max_context = MAX_LEN,
        .threads = 4,
        .high_precision = kind == ORACLE || kind == CUDA_F32,
    };

    weights_random(&r->w, a, 7);
    r->ops = kind == ORACLE ? &device_cpu : &device_cuda;
    r->block_size = block_size;
    r->vocab = a->vocab;
    r->device = kind == CUDA_NO_GRAPHS ? engine_open(&c, false, &e) : r->ops->open(&c, &e);
    ck_assert_msg(r->device, "%s", e.text);
}

static void rig_close(struct rig *r)
{
    r->ops->close(r->device);
    weights_release(&r->w);
}

/* Part of a sequence to compute in a step. */
struct part {
    const uint32_t *token; /* of the whole sequence */
    uint32_t begin, end;
    const uint32_t *table;
};

/* Computes the parts in one step; logits[n_parts][vocab] of each one's last token. */
static void step(struct rig *r, const struct part *part, uint32_t n_parts, float *logits)
{
    uint32_t token[2 * MAX_LEN], q_start[MAX_SEQS + 1] = {0}, table_start[MAX_SEQS + 1] = {0};
    uint32_t block[MAX_SEQS * MAX_LEN], context[MAX_SEQS], chosen[MAX_SEQS], n_decode = 0;
    bool emits[MAX_SEQS];
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
    ck_assert_msg(r->ops->forward(r->device, &f, &result, &e), "%s", e.text);
    ck_assert_double_gt(result.device_ns, 0);
    for (uint32_t i = 0; i < n_parts; i++) {
        const float *row = logits + (size_t)i * r->vocab;

        ck_assert_uint_lt(chosen[i], r->vocab);
        for (uint32_t j = 0; j < r->vocab; j++)
            ck_assert_msg(row[j] <= row[chosen[i]], "logit %u of part %u is larger or no number", j,
                          i);
    }
}

/* ||got - want|| / ||want||; no number if one of them is none. */
static double difference(const float *got, const float *want, size_t n)
{
    double d = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        d += ((double)got[i] - (double)want[i]) * ((double)got[i] - (double)want[i]);
        norm += (double)want[i] * (double)want[i];
    }
    return sqrt(d / norm);
}

static void check_difference(const char *what, const float *got, const float *want, size_t n,
                             double limit)
{
    double d = difference(got, want, n);

    ck_assert_msg(d < limit, "%s: relative difference %g, less than %g wanted", what, d, limit);
}

/* ---- sequences ---- */

#define SEQS 5u
static const uint32_t prompts[SEQS] = {1, 3, 31, 130, 300};

/* Fresh random tokens, and a table of blocks for each sequence, scattered. */
struct sequences {
    uint32_t token[SEQS][MAX_LEN], table[SEQS][MAX_LEN];
};

static void make_sequences(struct sequences *s, const struct rig *r, uint64_t seed)
{
    struct rng g;
    uint32_t per_seq = div_ceil_u32(MAX_LEN, r->block_size);

    rng_init(&g, seed, "sequences");
    for (uint32_t i = 0; i < SEQS; i++)
        for (uint32_t t = 0; t < MAX_LEN; t++) {
            s->token[i][t] = (uint32_t)rng_below(&g, r->vocab);
            /* blocks of one token are too many for all sequences at full length: 180 each do */
            s->table[i][t] = t < MIN(per_seq, N_BLOCKS / SEQS)
                                 ? (t * SEQS + i) * 7 % (N_BLOCKS / SEQS * SEQS)
                                 : UINT32_MAX;
        }
}

static uint32_t prompt_of(const struct rig *r, uint32_t i)
{
    return MIN(prompts[i], r->block_size * (N_BLOCKS / SEQS) - 8);
}

/* Prompts in one step and in chunks, beside decodes: logits of all emitting parts, in order. */
#define STEPS_OUT 17u
static void scenario(struct rig *r, const struct sequences *s, float *out)
{
    struct part p[SEQS];
    uint32_t len[SEQS], n = 0;
    size_t vocab = r->vocab;

    for (uint32_t i = 0; i < SEQS; i++)
        len[i] = prompt_of(r, i);
    for (uint32_t i = 0; i < 4; i++) /* four prompts whole */
        p[i] = (struct part){s->token[i], 0, len[i], s->table[i]};
    step(r, p, 4, out);
    n += 4;
    for (uint32_t i = 0; i < 4; i++) /* decodes alone: a graph */
        p[i] = (struct part){s->token[i], len[i], len[i] + 1, s->table[i]};
    step(r, p, 4, out + n * vocab);
    n += 4;
    for (uint32_t i = 0; i < 3; i++) /* decodes beside the first chunk of the fifth */
        p[i] = (struct part){s->token[i], len[i] + 1, len[i] + 2, s->table[i]};
    p[3] = (struct part){s->token[4], 0, 37, s->table[4]};
    step(r, p, 4, out + n * vocab);
    n += 4;
    p[0] = (struct part){s->token[4], 37, len[4], s->table[4]};
    step(r, p, 1, out + n * vocab);
    n += 1;
    for (uint32_t i = 0; i < 3; i++) /* three decodes: a padded graph */
        p[i] = (struct part){s->token[i + 2],
                             len[i + 2] + (i == 0   ? 2
                                           : i == 1 ? 1
                                                    : 0),
                             0, s->table[i + 2]};
    for (uint32_t i = 0; i < 3; i++)
        p[i].end = p[i].begin + 1;
    step(r, p, 3, out + n * vocab);
    n += 3;
    p[0] = (struct part){s->token[4], len[4] + 1, len[4] + 2, s->table[4]};
    step(r, p, 1, out + n * vocab);
    n += 1;
    ck_assert_uint_eq(n, STEPS_OUT);
}

static float *scenario_of(enum kind kind, const struct arch *a, uint32_t block_size, uint64_t seed)
{
    struct rig r;
    struct sequences *s = mem_alloc(sizeof(*s));
    float *out = mem_alloc((size_t)STEPS_OUT * a->vocab * sizeof(*out));

    rig_open(&r, kind, a, block_size);
    make_sequences(s, &r, seed);
    scenario(&r, s, out);
    rig_close(&r);
    mem_free(s);
    return out;
}

/* bf16 has 8 bits: the roundings of a layer's inputs alone put a short prompt's logits off by up to
 * 1e-2 (backend/cuda/NOTES.md), so the bound of 1e-2 is on all logits of the scenario together, and
 * twice that on each one's. */
START_TEST(against_float64)
{
    const struct arch *a = &archs[_i % 4];
    uint32_t block_size = block_sizes[_i / 4];
    float *want = scenario_of(ORACLE, a, block_size, (uint64_t)_i);
    float *bf16 = scenario_of(CUDA_BF16, a, block_size, (uint64_t)_i);
    float *f32 = scenario_of(CUDA_F32, a, block_size, (uint64_t)_i);
    size_t all = (size_t)STEPS_OUT * a->vocab;

    printf("head_dim %u, group %u, block_size %u: bf16 off by %.1e, float32 by %.1e\n", a->head_dim,
           a->heads / a->kv_heads, block_size, difference(bf16, want, all),
           difference(f32, want, all));
    check_difference("bf16", bf16, want, all, 1e-2);
    for (uint32_t i = 0; i < STEPS_OUT; i++) {
        size_t at = (size_t)i * a->vocab;

        check_difference("bf16, one", bf16 + at, want + at, a->vocab, 2e-2);
        check_difference("float32", f32 + at, want + at, a->vocab, 1e-4);
    }
    mem_free(want);
    mem_free(bf16);
    mem_free(f32);
}
END_TEST

/* A step of 4 decodes is a graph of 4, so nothing differs; one of 3 is padded to 4, so that cuBLAS
 * may sum in another order. */
START_TEST(graphs_or_none)
{
    const struct arch *a = &archs[_i];
    float *graphs = scenario_of(CUDA_BF16, a, 16, 3), *none = scenario_of(CUDA_NO_GRAPHS, a, 16, 3);

    ck_assert_mem_eq(graphs, none, 8 * a->vocab * sizeof(*graphs));
    check_difference("graphs", graphs, none, (size_t)STEPS_OUT * a->vocab, 1e-2);
    mem_free(graphs);
    mem_free(none);
}
END_TEST

/* The last prompt in chunks of 1, 2, 3... tokens, or whole; then one decode. */
static void chunked(struct rig *r, const struct sequences *s, bool in_chunks, float *out)
{
    uint32_t len = prompt_of(r, 4), begin = 0, chunk = in_chunks ? 1 : len;

    for (; begin < len; chunk++) {
        uint32_t end = MIN(begin + chunk, len);

        step(r, &(struct part){s->token[4], begin, end, s->table[4]}, 1, out);
        begin = end;
    }
    step(r, &(struct part){s->token[4], len, len + 1, s->table[4]}, 1, out + r->vocab);
}

START_TEST(chunks_or_none)
{
    enum kind kind = _i % 2 ? CUDA_F32 : CUDA_BF16;
    const struct arch *a = &archs[_i / 2];
    struct rig r;
    struct sequences *s = mem_alloc(sizeof(*s));
    float *out = mem_alloc(4 * (size_t)a->vocab * sizeof(*out));

    rig_open(&r, kind, a, 7);
    make_sequences(s, &r, 11);
    chunked(&r, s, true, out);
    chunked(&r, s, false, out + 2 * a->vocab);
    check_difference("chunks", out, out + 2 * a->vocab, 2 * a->vocab,
                     kind == CUDA_F32 ? 1e-5 : 1e-2);
    rig_close(&r);
    mem_free(s);
    mem_free(out);
}
END_TEST

/* Two sequences with a prefix of 48 tokens in common: the second names the first one's blocks, in
 * the same step or a later one; and alone, with blocks of its own. */
START_TEST(shared_prefix_or_none)
{
    enum kind kind = _i % 2 ? CUDA_F32 : CUDA_BF16;
    const struct arch *a = &archs[_i / 2];
    struct rig r;
    struct sequences *s = mem_alloc(sizeof(*s));
    float *out = mem_alloc(6 * (size_t)a->vocab * sizeof(*out));
    uint32_t shared[MAX_LEN];

    rig_open(&r, kind, a, 16);
    make_sequences(s, &r, 12);
    memcpy(s->token[1], s->token[0], 48 * sizeof(**s->token));
    memcpy(shared, s->table[1], sizeof(shared));
    memcpy(shared, s->table[0], 3 * sizeof(*shared));
    step(&r, (struct part[]){{s->token[0], 0, 60, s->table[0]}, {s->token[1], 48, 90, shared}}, 2,
         out);
    step(&r, (struct part[]){{s->token[0], 60, 61, s->table[0]}, {s->token[1], 90, 91, shared}}, 2,
         out + 2 * a->vocab);
    step(&r, &(struct part){s->token[1], 0, 90, s->table[2]}, 1, out + 4 * a->vocab);
    step(&r, &(struct part){s->token[1], 90, 91, s->table[2]}, 1, out + 5 * a->vocab);
    check_difference("shared prefix", out + a->vocab, out + 4 * a->vocab, a->vocab,
                     kind == CUDA_F32 ? 1e-5 : 1e-2);
    check_difference("decode after it", out + 3 * a->vocab, out + 5 * a->vocab, a->vocab,
                     kind == CUDA_F32 ? 1e-5 : 1e-2);
    rig_close(&r);
    mem_free(s);
    mem_free(out);
}
END_TEST

/* ---- swap ---- */

static void copy_and_wait(struct rig *r, enum copy_direction direction, const uint32_t *block,
                          const uint32_t *host, uint32_t n)
{
    struct err e = {0};
    uint64_t ticket, done = 0;

    ck_assert_msg(r->ops->copy(r->device, direction, block, host, n, &ticket, &e), "%s", e.text);
    while (done < ticket)
        ck_assert_msg(r->ops->copies_done(r->device, done, true, &done, &e), "%s", e.text);
    ck_assert_uint_eq(done, ticket);
}

/* A sequence goes to the host, another takes its blocks, it comes back elsewhere: the decode that
 * follows has the same bits as if nothing had been. */
START_TEST(swapped_out_and_back)
{
    const struct arch *a = &archs[_i];
    struct rig r;
    struct sequences *s = mem_alloc(sizeof(*s));
    float *out = mem_alloc(3 * (size_t)a->vocab * sizeof(*out));
    uint32_t host[MAX_LEN], len, n;

    rig_open(&r, CUDA_BF16, a, block_sizes[_i]);
    make_sequences(s, &r, 13);
    len = prompt_of(&r, 3);
    n = div_ceil_u32(len, r.block_size);
    for (uint32_t i = 0; i < n; i++)
        host[i] = (i * 5 + 3) % N_BLOCKS;
    step(&r, &(struct part){s->token[3], 0, len, s->table[3]}, 1, out);
    copy_and_wait(&r, COPY_TO_HOST, s->table[3], host, n);
    step(&r, &(struct part){s->token[3], len, len + 1, s->table[3]}, 1, out + a->vocab);
    step(&r, &(struct part){s->token[4], 0, len, s->table[3]}, 1, out); /* overwrites */
    copy_and_wait(&r, COPY_TO_DEVICE, s->table[2], host, n);
    step(&r, &(struct part){s->token[3], len, len + 1, s->table[2]}, 1, out + 2 * a->vocab);
    ck_assert_mem_eq(out + a->vocab, out + 2 * a->vocab, a->vocab * sizeof(*out));
    rig_close(&r);
    mem_free(s);
    mem_free(out);
}
END_TEST

/* More copies at once than there are events, and polling without waiting. */
START_TEST(many_copies)
{
    struct rig r;
    struct err e = {0};
    uint64_t ticket = 0, done = 0;

    rig_open(&r, CUDA_BF16, &archs[2], 16);
    for (uint32_t i = 0; i < 3 * ENGINE_COPIES; i++) {
        uint32_t block = i, host = i;

        ck_assert(r.ops->copy(r.device, COPY_TO_HOST, &block, &host, 1, &ticket, &e));
        ck_assert_uint_eq(ticket, i + 1);
    }
    ck_assert(r.ops->copies_done(r.device, ticket - 1, true, &done, &e));
    ck_assert_uint_eq(done, ticket);
    ck_assert(r.ops->copies_done(r.device, 0, false, &done, &e));
    ck_assert_uint_eq(done, ticket);
    rig_close(&r);
}
END_TEST

/* ---- a real model ---- */

/* The greedy continuation of a prompt by `n` tokens. */
static void continue_greedily(const struct device_ops *ops, const struct weights *w,
                              const uint32_t *prompt, uint32_t n_prompt, uint32_t *out, uint32_t n)
{
    struct device_config c = {.weights = w,
                              .max_seqs = 1,
                              .max_tokens = 64,
                              .block_size = 16,
                              .n_blocks = 8,
                              .max_context = 128,
                              .high_precision = ops == &device_cuda}; /* float32 on both */
    const uint32_t table_start[] = {0, 8}, block[] = {3, 1, 4, 0, 5, 2, 6, 7};
    struct err e = {0};
    void *device = ops->open(&c, &e);

    ck_assert_msg(device, "%s", e.text);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t q_start[] = {0, i == 0 ? n_prompt : 1}, context = i == 0 ? 0 : n_prompt + i - 1;
        bool emits = true;
        struct forward f = {1,       i > 0,    q_start[1],  i == 0 ? prompt : &out[i - 1],
                            q_start, &context, table_start, block,
                            &emits};
        struct forward_result r = {.next_token = &out[i]};

        ck_assert_msg(ops->forward(device, &f, &r, &e), "%s", e.text);
    }
    ops->close(device);
}

START_TEST(same_tokens_as_the_cpu)
{
    static const char prompt[] = "The capital of France is";
    const char *path = getenv("TANDEM_MODEL");
    struct weights w = {0};
    struct tokenizer *t;
    struct tokens in = {0};
    struct err e = {0};
    uint32_t cpu[32], cuda[32];

    if (!path) {
        printf("SKIP: TANDEM_MODEL names no model file (scripts/get-model prints one)\n");
        return;
    }
    ck_assert_msg(weights_load(&w, path, WEIGHT_F32, &e), "%s", e.text);
    t = tokenizer_open(path, &e);
    ck_assert_msg(t, "%s", e.text);
    tokenizer_encode(t, prompt, strlen(prompt), &in);
    continue_greedily(&device_cpu, &w, in.id, (uint32_t)in.n, cpu, ARRAY_LEN(cpu));
    continue_greedily(&device_cuda, &w, in.id, (uint32_t)in.n, cuda, ARRAY_LEN(cuda));
    for (size_t i = 0; i < ARRAY_LEN(cpu); i++)
        ck_assert_msg(cpu[i] == cuda[i], "token %zu is %u on the CPU, %u with CUDA", i, cpu[i],
                      cuda[i]);
    mem_free(in.id);
    tokenizer_close(t);
    weights_release(&w);
}
END_TEST

/* ---- what cannot be opened ---- */

START_TEST(refused)
{
    static const struct {
        struct arch arch;
        uint32_t n_blocks;
        const char *says;
    } cases[] = {
        {{2, 256, 4, 4, 80, 512, 100, 4096, false, 1e-5, 1e4, {0, 0, 0, 0}}, 10, "head_dim 80"},
        {{2, 256, 34, 2, 64, 512, 100, 4096, false, 1e-5, 1e4, {0, 0, 0, 0}}, 10, "34 heads"},
        {{2, 252, 4, 4, 64, 512, 100, 4096, false, 1e-5, 1e4, {0, 0, 0, 0}}, 10, "hidden 252"},
        {{64, 256, 4, 4, 64, 512, 100, 4096, false, 1e-5, 1e4, {0, 0, 0, 0}},
         30000000,
         "out of device memory"},
        {{2, 256, 4, 4, 64, 512, 100, 4096, false, 1e-5, 1e4, {0, 0, 0, 0}},
         UINT32_MAX,
         "too many"},
    };
    struct weights w;
    struct err e = {0};
    struct device_config c = {.weights = &w,
                              .max_seqs = 4,
                              .max_tokens = 64,
                              .block_size = 16,
                              .n_blocks = cases[_i].n_blocks,
                              .max_context = 64};

    weights_random(&w, &cases[_i].arch, 1);
    ck_assert_ptr_null(device_cuda.open(&c, &e));
    ck_assert_msg(strstr(e.text, cases[_i].says), "%s", e.text);
    ck_assert_ptr_null(strchr(e.text, '\n'));
    weights_release(&w);
}
END_TEST

START_TEST(described)
{
    struct rig r;
    char text[256];

    rig_open(&r, CUDA_BF16, &archs[0], 16);
    r.ops->describe(r.device, text, sizeof(text));
    printf("%s\n", text);
    ck_assert_ptr_nonnull(strstr(text, "driver"));
    rig_close(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cuda engine");
    TCase *t = tcase_create("all");

    tcase_set_timeout(t, 300);
    tcase_add_test(t, described);
    tcase_add_loop_test(t, against_float64, 0, 20);
    tcase_add_loop_test(t, graphs_or_none, 0, 4);
    tcase_add_loop_test(t, chunks_or_none, 0, 8);
    tcase_add_loop_test(t, shared_prefix_or_none, 0, 8);
    tcase_add_loop_test(t, swapped_out_and_back, 0, 4);
    tcase_add_test(t, many_copies);
    tcase_add_test(t, same_tokens_as_the_cpu);
    tcase_add_loop_test(t, refused, 0, 5);
    suite_add_tcase(s, t);
    return gpu_tests(s);
}
