/* test_kernels.c: each GPU kernel against plain loops in double, at odd sizes; outputs are poisoned
 * with NaN before, and so is every KV slot that no token has. */
#include "tests/gpu/gpu.h"

#include "backend/model/random_weights.h"

static const uint32_t odd[] = {1, 3, 7, 16, 31};
static const enum elem elems[] = {ELEM_F32, ELEM_BF16};

START_TEST(drawn_as_on_the_host)
{
    enum elem elem = elems[_i % 2];
    bool norm = _i / 2;
    size_t n = 100003;
    double *want = mem_alloc(n * sizeof(*want));
    void *out = gpu_poisoned(n * elem_size(elem));

    CUDA(draw_weights(0, elem, out, n, 42, 17, 577, norm));
    for (size_t i = 0; i < n; i++)
        want[i] = (double)bf16_to_float(weights_random_bf16(42, 17, i, 577, norm));
    check_device("draw_weights", elem, out, want, n, 0);
    CUDA(cudaFree(out));
    mem_free(want);
}
END_TEST

START_TEST(converted)
{
    struct rng r;
    size_t n = 10007;
    enum elem from = elems[_i % 2], to = elems[_i / 2];
    double *value;
    void *in, *out = gpu_poisoned(n * elem_size(to));

    rng_init(&r, 1, "converted");
    value = random_values(&r, n);
    in = gpu_array(from, value, n);
    CUDA(convert_weights(0, to, out, from, in, n));
    if (to == ELEM_BF16)
        for (size_t i = 0; i < n; i++)
            value[i] = (double)bf16_to_float(bf16_from_float((float)value[i]));
    check_device("convert_weights", to, out, value, n, 0);
    CUDA(cudaFree(in));
    CUDA(cudaFree(out));
    mem_free(value);
}
END_TEST

START_TEST(embedded)
{
    enum elem elem = elems[_i % 2];
    uint32_t rows = odd[_i / 2], hidden = 8 * rows + 576, vocab = 50;
    uint32_t token[31];
    struct rng r;
    double *table, *want = mem_alloc((size_t)rows * hidden * sizeof(*want));
    void *d_table, *d_token, *out = gpu_poisoned((size_t)rows * hidden * sizeof(float));

    rng_init(&r, 1, "embedded");
    table = random_values(&r, (size_t)vocab * hidden);
    d_table = gpu_array(elem, table, (size_t)vocab * hidden);
    for (uint32_t i = 0; i < rows; i++) {
        token[i] = (uint32_t)rng_below(&r, vocab);
        memcpy(want + (size_t)i * hidden, table + (size_t)token[i] * hidden,
               hidden * sizeof(*want));
    }
    d_token = gpu_copy(token, rows * sizeof(*token));
    CUDA(embed(0, elem, out, d_table, d_token, rows, hidden));
    check_device("embed", ELEM_F32, out, want, (size_t)rows * hidden, 0);
    CUDA(cudaFree(out));
    CUDA(cudaFree(d_table));
    CUDA(cudaFree(d_token));
    mem_free(table);
    mem_free(want);
}
END_TEST

START_TEST(normed)
{
    enum elem elem = elems[_i % 2];
    uint32_t rows = odd[_i / 2], hidden = _i / 2 == 4 ? 4096 : 8 * rows;
    uint32_t from[31];
    struct rng r;
    double *x, *weight, *want = mem_alloc((size_t)rows * hidden * sizeof(*want));
    void *d_x, *d_weight, *d_from, *out = gpu_poisoned((size_t)rows * hidden * elem_size(elem));

    rng_init(&r, 1, "normed");
    x = random_values(&r, (size_t)rows * hidden);
    weight = random_values(&r, hidden);
    d_x = gpu_array(ELEM_F32, x, (size_t)rows * hidden);
    d_weight = gpu_array(elem, weight, hidden);
    for (uint32_t i = 0; i < rows; i++) {
        double sum = 0;

        from[i] = rows - 1 - i;
        for (uint32_t j = 0; j < hidden; j++)
            sum += x[from[i] * hidden + j] * x[from[i] * hidden + j];
        for (uint32_t j = 0; j < hidden; j++)
            want[i * hidden + j] = x[from[i] * hidden + j] / sqrt(sum / hidden + 1e-5) * weight[j];
    }
    d_from = gpu_copy(from, rows * sizeof(*from));
    CUDA(rmsnorm(0, elem, out, d_x, d_weight, d_from, rows, hidden, 1e-5f));
    check_device("rmsnorm", elem, out, want, (size_t)rows * hidden, tolerance_of(elem));
    CUDA(cudaFree(out));
    CUDA(cudaFree(d_x));
    CUDA(cudaFree(d_weight));
    CUDA(cudaFree(d_from));
    mem_free(x);
    mem_free(weight);
    mem_free(want);
}
END_TEST

START_TEST(gated_linear)
{
    enum elem elem = elems[_i % 2];
    uint32_t rows = odd[_i / 2], n = _i / 2 == 4 ? 14336 : 8 * rows;
    struct rng r;
    double *in, *want = mem_alloc((size_t)rows * n * sizeof(*want));
    void *d_in, *out = gpu_poisoned((size_t)rows * n * elem_size(elem));

    rng_init(&r, 1, "gated");
    in = random_values(&r, (size_t)rows * 2 * n);
    for (size_t i = 0; i < (size_t)rows * 2 * n; i++)
        in[i] *= 8;
    d_in = gpu_array(elem, in, (size_t)rows * 2 * n);
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < n; j++) {
            double gate = in[i * 2 * n + j];

            want[i * n + j] = gate / (1 + exp(-gate)) * in[i * 2 * n + n + j];
        }
    CUDA(swiglu(0, elem, out, d_in, rows, n));
    check_device("swiglu", elem, out, want, (size_t)rows * n, tolerance_of(elem));
    CUDA(cudaFree(out));
    CUDA(cudaFree(d_in));
    mem_free(in);
    mem_free(want);
}
END_TEST

START_TEST(first_largest)
{
    uint32_t rows = odd[_i], vocab = _i == 4 ? 128256 : 100 * rows + 1;
    struct rng r;
    double *logits;
    uint32_t got[31];
    void *d_logits, *out = gpu_poisoned(sizeof(got));

    rng_init(&r, 1, "largest");
    logits = random_values(&r, (size_t)rows * vocab);
    for (uint32_t i = 0; i < rows; i++) /* two that are equal; in row 0 also all others are */
        logits[i * (size_t)vocab + vocab / 2] = logits[i * (size_t)vocab + vocab - 1] = 2;
    for (uint32_t j = 0; j < vocab; j++)
        logits[j] = -3;
    d_logits = gpu_array(ELEM_F32, logits, (size_t)rows * vocab);
    CUDA(argmax(0, out, d_logits, rows, vocab));
    CUDA(cudaMemcpy(got, out, rows * sizeof(*got), cudaMemcpyDeviceToHost));
    ck_assert_uint_eq(got[0], 0);
    for (uint32_t i = 1; i < rows; i++)
        ck_assert_uint_eq(got[i], vocab / 2);
    CUDA(cudaFree(out));
    CUDA(cudaFree(d_logits));
    mem_free(logits);
}
END_TEST

/* ---- RoPE and the append to paged KV ---- */

static size_t kv_at(struct attn_shape s, uint32_t slot, uint32_t which, uint32_t head)
{
    size_t row = ((size_t)slot / s.block_size * 2 + which) * s.kv_heads + head;

    return (row * s.block_size + slot % s.block_size) * s.head_dim;
}

static void turned(double *out, const double *in, uint32_t dim, uint32_t position,
                   const double *frequency)
{
    for (uint32_t i = 0; i < dim / 2; i++) {
        double c = cos(position * frequency[i]), s = sin(position * frequency[i]);

        out[i] = in[i] * c - in[i + dim / 2] * s;
        out[i + dim / 2] = in[i + dim / 2] * c + in[i] * s;
    }
}

START_TEST(turned_and_appended)
{
    enum { ROWS = 7, BLOCKS = 9, POSITIONS = 100001 };
    enum elem elem = elems[_i % 2];
    struct attn_shape s = {
        .heads = 6, .kv_heads = 2, .head_dim = _i / 10 ? 128 : 64, .block_size = odd[_i / 2 % 5]};
    uint32_t position[ROWS] = {0, 1, 2, 100000, 31, 4096, 5}, slot[ROWS];
    uint32_t heads = s.heads + 2 * s.kv_heads;
    size_t n = (size_t)ROWS * heads * s.head_dim, n_q = (size_t)ROWS * s.heads * s.head_dim;
    size_t n_kv = (size_t)BLOCKS * 2 * s.kv_heads * s.block_size * s.head_dim;
    struct rng r;
    double frequency[64], *qkv, *kv = mem_alloc(n_kv * sizeof(*kv)),
                                *q = mem_alloc(n_q * sizeof(*q));
    void *d_qkv, *d_kv, *d_q, *d_frequency, *table, *d_position, *d_slot;

    rng_init(&r, 1, "turned");
    for (uint32_t i = 0; i < s.head_dim / 2; i++)
        frequency[i] = pow(500000, -2.0 * i / s.head_dim);
    for (uint32_t i = 0; i < ROWS; i++)
        slot[i] = (i + 1) * s.block_size + i % s.block_size;
    slot[ROWS - 1] = PLAN_NONE;
    qkv = random_values(&r, n);
    d_qkv = gpu_array(ELEM_F32, qkv, n);
    d_q = gpu_array(elem, q, n_q);
    d_kv = gpu_array(elem, kv, n_kv);
    d_frequency = gpu_copy(frequency, sizeof(frequency));
    table = gpu_poisoned((size_t)POSITIONS * s.head_dim / 2 * sizeof(float2));
    d_position = gpu_copy(position, sizeof(position));
    d_slot = gpu_copy(slot, sizeof(slot));
    CUDA(rope_table(0, table, d_frequency, POSITIONS, s.head_dim / 2));
    CUDA(rope_append(0, elem, d_q, d_kv, d_qkv, table, d_position, d_slot, ROWS, s));

    for (uint32_t i = 0; i < ROWS - 1; i++)
        for (uint32_t h = 0; h < heads; h++) {
            double *at = qkv + ((size_t)i * heads + h) * s.head_dim, out[128];
            uint32_t kv_head = (h - s.heads) % s.kv_heads, which = (h - s.heads) / s.kv_heads;

            turned(out, at, s.head_dim, position[i], frequency);
            if (h < s.heads)
                memcpy(q + ((size_t)i * s.heads + h) * s.head_dim, out, sizeof(*q) * s.head_dim);
            else
                memcpy(kv + kv_at(s, slot[i], which, kv_head), which == 0 ? out : at,
                       s.head_dim * sizeof(*at));
        }
    /* the padding row's q and other slots stay as they were */
    check_device("q", elem, d_q, q, n_q, tolerance_of(elem));
    check_device("kv", elem, d_kv, kv, n_kv, tolerance_of(elem));
    CUDA(cudaFree(d_q));
    CUDA(cudaFree(d_qkv));
    CUDA(cudaFree(d_kv));
    CUDA(cudaFree(d_frequency));
    CUDA(cudaFree(table));
    CUDA(cudaFree(d_position));
    CUDA(cudaFree(d_slot));
    mem_free(q);
    mem_free(qkv);
    mem_free(kv);
}
END_TEST

/* ---- attention ---- */

/* Decodes first; context and queries of each sequence. */
static const struct {
    uint32_t context, n;
} batch[] = {{1, 1}, {15, 1}, {63, 1}, {64, 1}, {200, 1},  {1000, 1}, {0, 1},
             {0, 3}, {0, 7},  {0, 16}, {5, 31}, {100, 37}, {0, 130},  {777, 50}};
#define SEQS ARRAY_LEN(batch)
#define DECODES 6

struct attn_case {
    struct attn_shape shape;
    enum elem elem;
    uint32_t rows, n_blocks, q_stride;
    uint32_t q_start[SEQS + 1], table_start[SEQS + 1], context[SEQS];
    uint32_t *token, *block;
    double *q, *kv, *want;
    void *d_q, *d_kv, *out;
    struct plan_limits limits;
    struct plan host, device;
    void *buffer, *d_buffer;
    struct pass pass;
};

/* Tables of blocks in random order, and K and V in the slots that have tokens; NaN elsewhere. */
static void fill_kv(struct attn_case *c, struct rng *r)
{
    struct attn_shape s = c->shape;
    size_t n = (size_t)c->n_blocks * 2 * s.kv_heads * s.block_size * s.head_dim;

    for (uint32_t i = 0; i < c->n_blocks; i++)
        c->block[i] = i;
    for (uint32_t i = c->n_blocks; i > 1; i--) {
        uint32_t j = (uint32_t)rng_below(r, i), t = c->block[j];

        c->block[j] = c->block[i - 1];
        c->block[i - 1] = t;
    }
    c->kv = mem_alloc(n * sizeof(*c->kv));
    for (size_t i = 0; i < n; i++)
        c->kv[i] = (double)NAN;
    for (uint32_t q = 0; q < SEQS; q++)
        for (uint32_t t = 0; t < batch[q].context + batch[q].n; t++) {
            uint32_t slot =
                c->block[c->table_start[q] + t / s.block_size] * s.block_size + t % s.block_size;

            for (uint32_t h = 0; h < 2 * s.kv_heads; h++)
                for (uint32_t i = 0; i < s.head_dim; i++)
                    c->kv[kv_at(s, slot, h / s.kv_heads, h % s.kv_heads) + i] =
                        (h < s.kv_heads ? 3 : 1) * (2 * rng_unit(r) - 1);
        }
    c->d_kv = gpu_array(c->elem, c->kv, n);
}

static void attn_case_make(struct attn_case *c, enum elem elem, struct attn_shape s,
                           uint32_t target_pieces)
{
    struct rng r;
    bool emits[SEQS] = {false};

    rng_init(&r, s.heads * 1000 + s.block_size, "attention");
    *c = (struct attn_case){.shape = s, .elem = elem};
    c->q_stride = (s.heads + 2 * s.kv_heads) * s.head_dim;
    for (uint32_t i = 0; i < SEQS; i++) {
        c->context[i] = batch[i].context;
        c->q_start[i + 1] = c->q_start[i] + batch[i].n;
        c->table_start[i + 1] =
            c->table_start[i] + div_ceil_u32(batch[i].context + batch[i].n, s.block_size);
    }
    c->rows = c->q_start[SEQS];
    c->n_blocks = c->table_start[SEQS];
    c->token = mem_alloc(c->rows * sizeof(*c->token));
    c->block = mem_alloc(c->n_blocks * sizeof(*c->block));
    fill_kv(c, &r);
    c->q = random_values(&r, (size_t)c->rows * c->q_stride);
    c->d_q = gpu_array(elem, c->q, (size_t)c->rows * c->q_stride);
    c->out = gpu_poisoned((size_t)c->rows * s.heads * s.head_dim * elem_size(elem));
    c->want = mem_alloc((size_t)c->rows * s.heads * s.head_dim * sizeof(*c->want));
    c->limits = (struct plan_limits){.max_seqs = SEQS,
                                     .max_rows = c->rows,
                                     .block_size = s.block_size,
                                     .kv_heads = s.kv_heads,
                                     .group = s.heads / s.kv_heads,
                                     .target_pieces = target_pieces,
                                     .max_table = c->n_blocks};
    size_t bytes = plan_views(&c->host, &c->limits, NULL);
    c->buffer = mem_alloc(bytes);
    c->d_buffer = gpu_poisoned(bytes);
    (void)plan_views(&c->host, &c->limits, c->buffer);
    (void)plan_views(&c->device, &c->limits, c->d_buffer);
    struct forward f = {SEQS,       DECODES,        c->rows,  c->token, c->q_start,
                        c->context, c->table_start, c->block, emits};
    bytes = plan_fill(&c->host, &c->limits, &f, 0, &c->pass);
    CUDA(cudaMemcpy(c->d_buffer, c->buffer, bytes, cudaMemcpyHostToDevice));
}

static void attn_case_free(struct attn_case *c)
{
    CUDA(cudaFree(c->d_q));
    CUDA(cudaFree(c->d_kv));
    CUDA(cudaFree(c->out));
    CUDA(cudaFree(c->d_buffer));
    mem_free(c->token);
    mem_free(c->block);
    mem_free(c->q);
    mem_free(c->kv);
    mem_free(c->want);
    mem_free(c->buffer);
}

/* One query head of a token against `length` tokens, in double. */
static void attend(const struct attn_case *c, uint32_t seq, uint32_t length, uint32_t kv_head,
                   const double *q, double *out)
{
    struct attn_shape s = c->shape;
    double weight[2048], max = -HUGE_VAL, sum = 0;

    for (uint32_t t = 0; t < length; t++) {
        uint32_t slot =
            c->block[c->table_start[seq] + t / s.block_size] * s.block_size + t % s.block_size;
        const double *k = c->kv + kv_at(s, slot, 0, kv_head);

        weight[t] = 0;
        for (uint32_t i = 0; i < s.head_dim; i++)
            weight[t] += q[i] * k[i] / sqrt(s.head_dim);
        max = fmax(max, weight[t]);
    }
    memset(out, 0, s.head_dim * sizeof(*out));
    for (uint32_t t = 0; t < length; t++) {
        uint32_t slot =
            c->block[c->table_start[seq] + t / s.block_size] * s.block_size + t % s.block_size;
        const double *v = c->kv + kv_at(s, slot, 1, kv_head);
        double w = exp(weight[t] - max);

        sum += w;
        for (uint32_t i = 0; i < s.head_dim; i++)
            out[i] += w * v[i];
    }
    for (uint32_t i = 0; i < s.head_dim; i++)
        out[i] /= sum;
}

static void check_attention(struct attn_case *c)
{
    struct attn_shape s = c->shape;

    for (uint32_t i = 0; i < SEQS; i++)
        for (uint32_t j = 0; j < batch[i].n; j++)
            for (uint32_t h = 0; h < s.heads; h++) {
                size_t row = c->q_start[i] + j;

                attend(c, i, batch[i].context + j + 1, h / (s.heads / s.kv_heads),
                       c->q + row * c->q_stride + h * s.head_dim,
                       c->want + (row * s.heads + h) * s.head_dim);
            }
    check_device("attention", c->elem, c->out, c->want, (size_t)c->rows * s.heads * s.head_dim,
                 tolerance_of(c->elem));
}

static const uint32_t groups[] = {1, 3, 4, 8, 16};

static struct attn_args args_of(const struct attn_case *c)
{
    return (struct attn_args){.q = c->d_q,
                              .out = c->out,
                              .kv = c->d_kv,
                              .q_stride = c->q_stride,
                              .shape = c->shape,
                              .plan = c->device};
}

START_TEST(attention_float32)
{
    uint32_t group = groups[_i % 5];
    struct attn_shape s = {group * 2, 2, _i % 3 == 0 ? 96 : 64, odd[_i / 5]};
    struct attn_case c;

    attn_case_make(&c, ELEM_F32, s, 4);
    struct attn_args a = args_of(&c);
    CUDA(attn_rows(0, &a, c.rows));
    check_attention(&c);
    attn_case_free(&c);
}
END_TEST

START_TEST(attention_bf16)
{
    uint32_t group = groups[_i % 5];
    struct attn_shape s = {group * 2, 2, _i / 25 ? 128 : 64, odd[_i / 5 % 5]};
    struct attn_case c;

    attn_case_make(&c, ELEM_BF16, s, (uint32_t)_i % 7 * 3 + 1);
    struct attn_args a = args_of(&c);
    size_t partials = (size_t)c.pass.pieces * s.heads;
    float *partial = gpu_poisoned(partials * s.head_dim * sizeof(float));
    float2 *weight = gpu_poisoned(partials * sizeof(float2));
    CUDA(attn_prefill(0, &a, c.pass.tiles));
    CUDA(attn_decode(0, &a, c.pass.pieces, partial, weight));
    CUDA(attn_combine(0, &a, c.pass.decodes, partial, weight));
    check_attention(&c);
    CUDA(cudaFree(partial));
    CUDA(cudaFree(weight));
    attn_case_free(&c);
}
END_TEST

START_TEST(what_no_kernel_can_do)
{
    struct attn_args a = {.shape = {.heads = 2, .kv_heads = 2, .head_dim = 80, .block_size = 16}};
    struct attn_args many = {.shape = {34, 2, 64, 16}};

    ck_assert_int_eq(attn_rows(0, &a, 1), cudaErrorInvalidValue);
    ck_assert_int_eq(attn_prefill(0, &a, 1), cudaErrorInvalidValue);
    ck_assert_int_eq(attn_decode(0, &a, 1, NULL, NULL), cudaErrorInvalidValue);
    ck_assert_int_eq(attn_decode(0, &many, 1, NULL, NULL), cudaErrorInvalidValue);
    ck_assert_int_eq(rmsnorm(0, ELEM_F32, NULL, NULL, NULL, NULL, 1, 6, 0), cudaErrorInvalidValue);
}
END_TEST

/* ---- blocks to the host and back ---- */

START_TEST(blocks_copied)
{
    enum { LAYERS = 3, BLOCKS = 11, HOST = 300, WORDS = 28 }; /* 4 bytes each: 112 a layer */
    struct block_pairs pairs = {.n = 7}, back = {.n = 7};
    uint32_t *kv = mem_alloc(LAYERS * BLOCKS * WORDS * sizeof(*kv)), *host, *got;
    void *d_kv;

    for (uint32_t i = 0; i < LAYERS * BLOCKS * WORDS; i++)
        kv[i] = i * 2654435761u;
    d_kv = gpu_copy(kv, LAYERS * BLOCKS * WORDS * sizeof(*kv));
    CUDA(cudaMallocHost((void **)&host, HOST * LAYERS * WORDS * sizeof(*host)));
    memset(host, 0, HOST * LAYERS * WORDS * sizeof(*host));
    for (uint32_t i = 0; i < pairs.n; i++) {
        pairs.device[i] = 10 - i;
        pairs.host[i] = back.host[i] = i * 40 + 1;
        back.device[i] = i; /* elsewhere than it came from */
    }
    CUDA(copy_blocks(0, COPY_TO_HOST, d_kv, host, &pairs, LAYERS, BLOCKS, WORDS * sizeof(*kv)));
    CUDA(cudaDeviceSynchronize());
    for (uint32_t i = 0; i < pairs.n; i++)
        for (uint32_t l = 0; l < LAYERS; l++)
            ck_assert_mem_eq(host + (pairs.host[i] * LAYERS + l) * WORDS,
                             kv + (l * BLOCKS + pairs.device[i]) * WORDS, WORDS * sizeof(*kv));
    for (uint32_t i = 0; i < LAYERS * WORDS; i++)
        ck_assert_uint_eq(host[i], 0); /* host block 0 is nobody's */
    CUDA(copy_blocks(0, COPY_TO_DEVICE, d_kv, host, &back, LAYERS, BLOCKS, WORDS * sizeof(*kv)));
    CUDA(cudaDeviceSynchronize());
    got = mem_alloc(LAYERS * BLOCKS * WORDS * sizeof(*got));
    CUDA(cudaMemcpy(got, d_kv, LAYERS * BLOCKS * WORDS * sizeof(*got), cudaMemcpyDeviceToHost));
    for (uint32_t i = 0; i < BLOCKS; i++)
        for (uint32_t l = 0; l < LAYERS; l++)
            ck_assert_mem_eq(got + (l * BLOCKS + i) * WORDS,
                             kv + (l * BLOCKS + (i < 7 ? 10 - i : i)) * WORDS, WORDS * sizeof(*kv));
    CUDA(cudaFreeHost(host));
    CUDA(cudaFree(d_kv));
    mem_free(kv);
    mem_free(got);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kernels");
    TCase *few = tcase_create("few"); /* what compute-sanitizer has time for: scripts/gpu */
    TCase *rest = tcase_create("rest");

    tcase_set_timeout(few, 600);
    tcase_set_timeout(rest, 600);
    tcase_add_loop_test(few, drawn_as_on_the_host, 0, 4);
    tcase_add_loop_test(few, converted, 0, 4);
    tcase_add_loop_test(few, embedded, 0, 10);
    tcase_add_loop_test(few, normed, 0, 10);
    tcase_add_loop_test(few, gated_linear, 0, 10);
    tcase_add_loop_test(few, first_largest, 0, 5);
    tcase_add_loop_test(few, turned_and_appended, 0, 4);
    tcase_add_loop_test(few, attention_float32, 5, 7);
    tcase_add_loop_test(few, attention_bf16, 6, 8);
    tcase_add_loop_test(few, attention_bf16, 37, 39);
    tcase_add_test(few, blocks_copied);
    tcase_add_loop_test(rest, turned_and_appended, 4, 20);
    tcase_add_loop_test(rest, attention_float32, 0, 25);
    tcase_add_loop_test(rest, attention_bf16, 0, 50);
    tcase_add_test(rest, what_no_kernel_can_do);
    suite_add_tcase(s, few);
    suite_add_tcase(s, rest);
    return gpu_tests(s);
}
