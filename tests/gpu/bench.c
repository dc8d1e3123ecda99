/* bench.c: how fast the CUDA engine is, beside what the same GPU gives in the same run: copy
 * bandwidth (bytes read plus written) and the rate of a large bf16 product. Medians of runs timed
 * by events; inputs random; copies of them are read in turn, so that none is still in the L2.
 *
 * Usage: bench [attention|kv|step]... (all) */
#include "tests/gpu/bench.h"

#define RUNS 21
#define FLUSH_BYTES (UINT64_C(256) << 20) /* several times any L2 */

static const struct arch llama_8b = {.layers = 32,
                                     .hidden = 4096,
                                     .heads = 32,
                                     .kv_heads = 8,
                                     .head_dim = 128,
                                     .intermediate = 14336,
                                     .vocab = 128256,
                                     .max_model_len = 131072,
                                     .rms_eps = 1e-5,
                                     .rope_theta = 500000,
                                     .rope = {8, 1, 4, 8192}};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *ns)
{
    qsort(ns, RUNS, sizeof(*ns), by_value);
    return ns[RUNS / 2];
}

double time_of(work run, void *self)
{
    cudaEvent_t event[2 * RUNS];
    double ns[RUNS];

    for (uint32_t i = 0; i < COPIES; i++)
        run(self, i);
    for (uint32_t i = 0; i < RUNS; i++) {
        CUDA(cudaEventCreate(&event[2 * i]));
        CUDA(cudaEventCreate(&event[2 * i + 1]));
        CUDA(cudaEventRecord(event[2 * i], 0));
        run(self, i);
        CUDA(cudaEventRecord(event[2 * i + 1], 0));
    }
    for (uint32_t i = 0; i < RUNS; i++) {
        float ms;

        CUDA(cudaEventSynchronize(event[2 * i + 1]));
        CUDA(cudaEventElapsedTime(&ms, event[2 * i], event[2 * i + 1]));
        CUDA(cudaEventDestroy(event[2 * i]));
        CUDA(cudaEventDestroy(event[2 * i + 1]));
        ns[i] = (double)ms * 1e6;
    }
    return median(ns);
}

uint32_t copies_of(uint64_t bytes)
{
    return bytes * COPIES < FLUSH_BYTES ? COPIES : (uint32_t)MAX(2, FLUSH_BYTES / bytes);
}

void *random_bf16(uint64_t n, uint32_t tensor)
{
    void *p = gpu_poisoned(n * sizeof(uint16_t));

    CUDA(draw_weights(0, ELEM_BF16, p, n, 1, tensor, 1, false));
    return p;
}

/* ---- ceilings ---- */

struct copying {
    void *from, *to;
    size_t bytes;
};

static void run_copy(void *self, uint32_t i)
{
    struct copying *c = self;

    (void)i;
    CUDA(cudaMemcpyAsync(c->to, c->from, c->bytes, cudaMemcpyDeviceToDevice, 0));
}

struct multiplying {
    struct blas *blas;
    void *x, *w[COPIES], *y;
    uint32_t copies, rows, out, in;
    enum elem y_elem;
    bool add;
};

static void run_product(void *self, uint32_t i)
{
    struct multiplying *m = self;
    struct err e = {0};

    if (!(blas_product(m->blas, m->y, m->y_elem, m->add, m->x, m->w[i % m->copies], m->rows, m->out,
                       m->in, &e)))
        GPU_FAIL("%s", e.text);
}

static double time_product(struct blas *b, uint32_t rows, uint32_t out, uint32_t in,
                           enum elem y_elem, bool add)
{
    struct multiplying m = {
        .blas = b, .rows = rows, .out = out, .in = in, .add = add, .y_elem = y_elem};
    double ns;

    m.x = random_bf16((uint64_t)rows * in, 1);
    m.copies = copies_of(UINT64_C(2) * out * in);
    for (uint32_t i = 0; i < m.copies; i++)
        m.w[i] = random_bf16((uint64_t)out * in, 2 + i);
    m.y = gpu_poisoned((uint64_t)rows * out * sizeof(float));
    ns = time_of(run_product, &m);
    CUDA(cudaFree(m.x));
    for (uint32_t i = 0; i < m.copies; i++)
        CUDA(cudaFree(m.w[i]));
    CUDA(cudaFree(m.y));
    return ns;
}

static struct ceilings measure_ceilings(struct blas *b)
{
    struct ceilings c;
    struct copying copy = {.bytes = UINT64_C(4) << 30};

    copy.from = random_bf16(copy.bytes / 2, 0);
    copy.to = gpu_poisoned(copy.bytes);
    c.bytes_per_ns = 2 * (double)copy.bytes / time_of(run_copy, &copy);
    CUDA(cudaFree(copy.from));
    CUDA(cudaFree(copy.to));
    c.flops_per_ns = 2 * 8192.0 * 8192 * 8192 / time_product(b, 8192, 8192, 8192, ELEM_BF16, false);
    printf("copy %.2f TB/s (read + written), 8192^3 bf16 product %.0f TFLOP/s\n",
           c.bytes_per_ns / 1e3, c.flops_per_ns / 1e3);
    return c;
}

/* ---- attention alone: 32 query heads on 8 KV heads of 128, blocks of 16 ---- */

struct attending {
    struct attn_args args[COPIES]; /* caches in turn */
    uint32_t copies;
    struct plan_limits limits;
    struct pass pass;
    void *buffer;
    float *partial;
    float2 *weight;
};

static void run_decode(void *self, uint32_t i)
{
    struct attending *a = self;

    CUDA(attn_decode(0, &a->args[i % a->copies], a->pass.pieces, a->partial, a->weight));
    CUDA(attn_combine(0, &a->args[i % a->copies], a->pass.decodes, a->partial, a->weight));
}

static void run_prefill(void *self, uint32_t i)
{
    struct attending *a = self;

    CUDA(attn_prefill(0, &a->args[i % a->copies], a->pass.tiles));
}

/* n sequences of `queries` tokens after `context`, their blocks in a scattered order. */
static void attending_make(struct attending *a, uint32_t n, uint32_t context, uint32_t queries)
{
    const struct attn_shape s = {32, 8, 128, 16};
    uint32_t per_seq = div_ceil_u32(context + queries, 16), blocks = n * per_seq;
    uint32_t *token = mem_alloc(n * queries * sizeof(*token));
    uint32_t *block = mem_alloc(blocks * sizeof(*block)), *start = mem_alloc((n + 1) * 3 * 4);
    uint32_t *q_start = start, *table_start = start + n + 1, *contexts = start + 2 * (n + 1);
    bool *emits = mem_alloc(n);
    void *q = random_bf16((uint64_t)n * queries * 6144, 4);
    struct cudaDeviceProp gpu;
    struct plan host, device;
    size_t bytes;
    void *host_buffer;

    CUDA(cudaGetDeviceProperties(&gpu, 0));
    for (uint32_t i = 0; i < blocks; i++)
        block[i] = (uint32_t)((uint64_t)i * 7919 % blocks); /* a prime that divides none of ours */
    for (uint32_t i = 0; i <= n; i++) {
        q_start[i] = i * queries;
        table_start[i] = i * per_seq;
        if (i < n)
            contexts[i] = context;
    }
    a->limits = (struct plan_limits){.max_seqs = n,
                                     .max_rows = n * queries,
                                     .block_size = 16,
                                     .kv_heads = 8,
                                     .group = 4,
                                     .target_pieces = engine_target_pieces(&gpu, 8),
                                     .max_table = blocks};
    bytes = plan_views(&host, &a->limits, NULL);
    host_buffer = mem_alloc(bytes);
    (void)plan_views(&host, &a->limits, host_buffer);
    a->buffer = gpu_poisoned(bytes);
    (void)plan_views(&device, &a->limits, a->buffer);
    struct forward f = {n,        queries == 1 ? n : 0, n * queries, token, q_start,
                        contexts, table_start,          block,       emits};
    (void)plan_fill(&host, &a->limits, &f, 0, &a->pass);
    CUDA(cudaMemcpy(a->buffer, host_buffer, bytes, cudaMemcpyHostToDevice));
    a->copies = copies_of((uint64_t)blocks * 2 * 8 * 16 * 128 * 2);
    for (uint32_t i = 0; i < a->copies; i++)
        a->args[i] =
            (struct attn_args){.q = q,
                               .out = gpu_poisoned((uint64_t)n * queries * 4096 * 2),
                               .kv = random_bf16((uint64_t)blocks * 2 * 8 * 16 * 128, 5 + i),
                               .q_stride = 6144,
                               .shape = s,
                               .plan = device};
    a->partial = gpu_poisoned((size_t)plan_max_pieces(&a->limits, n) * 32 * 128 * 4);
    a->weight = gpu_poisoned((size_t)plan_max_pieces(&a->limits, n) * 32 * sizeof(float2));
    mem_free(token);
    mem_free(block);
    mem_free(start);
    mem_free(emits);
    mem_free(host_buffer);
}

static void attending_free(struct attending *a)
{
    CUDA(cudaFree((void *)(uintptr_t)a->args[0].q));
    for (uint32_t i = 0; i < a->copies; i++) {
        CUDA(cudaFree(a->args[i].out));
        CUDA(cudaFree((void *)(uintptr_t)a->args[i].kv));
    }
    CUDA(cudaFree(a->buffer));
    CUDA(cudaFree(a->partial));
    CUDA(cudaFree(a->weight));
}

static void bench_decode(const struct ceilings *c, uint32_t n, uint32_t context)
{
    struct attending a;
    double bytes = (double)n * (context + 1) * 2 * 8 * 128 * 2, ns;

    attending_make(&a, n, context, 1);
    ns = time_of(run_decode, &a);
    printf("decode attention, %u x %u: %.1f us, %.2f TB/s, %.1f %% of copy (%u pieces)\n", n,
           context + 1, ns / 1e3, bytes / ns / 1e3, 100 * bytes / ns / c->bytes_per_ns,
           a.pass.pieces);
    attending_free(&a);
}

static void bench_prefill(uint32_t n, uint32_t context, uint32_t queries)
{
    struct attending a;
    double pairs = (double)queries * context + 0.5 * queries * queries, ns; /* half the square */

    attending_make(&a, n, context, queries);
    ns = time_of(run_prefill, &a);
    printf("prefill attention, %u x %u after %u: %.1f us, %.0f TFLOP/s\n", n, queries, context,
           ns / 1e3, 4 * pairs * n * 128 * 32 / ns / 1e3);
    attending_free(&a);
}

static void bench_attention(const struct ceilings *c)
{
    bench_decode(c, 64, 8191);
    bench_decode(c, 64, 1023);
    bench_decode(c, 1, 8191);
    bench_decode(c, 256, 2047);
    bench_decode(c, 32, 16383);
    bench_decode(c, 16, 32767);
    bench_decode(c, 8, 65535);
    bench_prefill(1, 0, 8192);
    bench_prefill(1, 0, 2048);
    bench_prefill(4, 0, 512);
    bench_prefill(1, 8192, 2048);
}

/* ---- whole steps of the Llama-3.1-8B shape ---- */

static void time_steps(struct engine *g, const struct forward *f, const char *what, double *ns)
{
    uint32_t *next = mem_alloc(f->n_seqs * sizeof(*next));
    struct forward_result r = {.next_token = next};
    struct err e = {0};
    double device[RUNS];

    for (int i = -2; i < RUNS; i++) {
        if (!(engine_forward(g, f, &r, &e)))
            GPU_FAIL("%s", e.text);
        if (i >= 0)
            device[i] = r.device_ns;
    }
    *ns = median(device);
    printf("%s: %.3f ms", what, *ns / 1e6);
    mem_free(next);
}

/* n sequences of `queries` tokens after `context`; random tokens. */
static double bench_step(struct engine *g, uint32_t n, uint32_t context, uint32_t queries,
                         const char *what)
{
    uint32_t per_seq = div_ceil_u32(context + queries, g->limits.block_size);
    uint32_t *token = mem_alloc(n * queries * sizeof(*token));
    uint32_t *block = mem_alloc(n * per_seq * sizeof(*block));
    uint32_t *start = mem_alloc((n + 1) * 3 * sizeof(*start));
    bool *emits = mem_alloc(n);
    struct forward f = {n,     context ? n : 0,     n * queries,   token,
                        start, start + 2 * (n + 1), start + n + 1, block,
                        emits};
    struct rng r;
    double ns;

    rng_init(&r, 1, "step");
    for (uint32_t i = 0; i < n * queries; i++)
        token[i] = (uint32_t)rng_below(&r, g->arch.vocab);
    for (uint32_t i = 0; i < n * per_seq; i++)
        block[i] = i;
    for (uint32_t i = 0; i <= n; i++) {
        start[i] = i * queries;
        start[n + 1 + i] = i * per_seq;
        if (i < n) {
            start[2 * (n + 1) + i] = context;
            emits[i] = true;
        }
    }
    time_steps(g, &f, what, &ns);
    mem_free(token);
    mem_free(block);
    mem_free(start);
    mem_free(emits);
    return ns;
}

static void bench_products(struct blas *b, const struct ceilings *c, uint32_t rows)
{
    static const struct {
        const char *name;
        uint32_t out, in;
        enum elem y_elem;
        bool add;
    } parts[] = {{"qkv", 6144, 4096, ELEM_F32, false},
                 {"o", 4096, 4096, ELEM_F32, true},
                 {"gate_up", 28672, 4096, ELEM_BF16, false},
                 {"down", 4096, 14336, ELEM_F32, true},
                 {"head", 128256, 4096, ELEM_F32, false}};

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        double ns = time_product(b, rows, parts[i].out, parts[i].in, parts[i].y_elem, parts[i].add);
        double bytes = 2.0 * parts[i].out * parts[i].in, flops = rows * bytes;

        printf("  %4u rows x %s: %.1f us, %.1f %% of copy, %.1f %% of product\n", rows,
               parts[i].name, ns / 1e3, 100 * bytes / ns / c->bytes_per_ns,
               100 * flops / ns / c->flops_per_ns);
    }
}

static void bench_steps(const struct ceilings *c)
{
    struct weights w;
    struct err e = {0};
    struct device_config config = {.weights = &w,
                                   .max_seqs = 64,
                                   .max_tokens = 8192,
                                   .block_size = 16,
                                   .n_blocks = 8192,
                                   .max_context = 8192 + 16};
    double params = 32.0 * (4096.0 * (6144 + 4096) + 3 * 4096.0 * 14336) + 4096.0 * 128256, ns;
    struct engine *g;

    weights_random(&w, &llama_8b, 1);
    g = engine_open(&config, true, &e);
    if (!(g))
        GPU_FAIL("%s", e.text);
    for (uint32_t n = 1; n <= 64; n *= 4) {
        double kv = (double)n * 1024 * 32 * 2 * 8 * 128 * 2;
        double floor_ns = (2 * params + kv) / c->bytes_per_ns;
        char what[64];

        (void)snprintf(what, sizeof(what), "decode step, %u x 1024", n);
        ns = bench_step(g, n, 1023, 1, what);
        printf(", %.2f x the floor of %.3f ms\n", ns / floor_ns, floor_ns / 1e6);
    }
    for (uint32_t n = 512; n <= 8192; n *= 4) {
        double layers = params - 4096.0 * 128256;
        double flops = 2 * layers * n + 2.0 * 4096 * 128256 + 32 * 4 * 0.5 * n * n * 128 * 32;
        char what[64];

        (void)snprintf(what, sizeof(what), "prefill step, %u tokens", n);
        ns = bench_step(g, 1, 0, n, what);
        printf(", %.0f TFLOP/s, %.1f %% of the product's\n", flops / ns / 1e3,
               100 * flops / ns / c->flops_per_ns);
    }
    engine_close(g);
    weights_release(&w);
}

int main(int argc, char **argv)
{
    struct blas b = {0};
    struct err e = {0};
    struct ceilings c;
    void *workspace;
    bool attention = argc == 1, kv = argc == 1, steps = argc == 1;

    for (int i = 1; i < argc; i++) {
        attention = attention || strcmp(argv[i], "attention") == 0;
        kv = kv || strcmp(argv[i], "kv") == 0;
        steps = steps || strcmp(argv[i], "step") == 0;
    }
    if (!gpu_present())
        return NO_GPU;
    workspace = gpu_poisoned(64 << 20);
    if (!(blas_open(&b, ELEM_BF16, 0, workspace, 64 << 20, &e)))
        GPU_FAIL("%s", e.text);
    c = measure_ceilings(&b);
    if (attention)
        bench_attention(&c);
    if (kv)
        bench_kv(&c);
    if (steps) {
        bench_steps(&c);
        bench_products(&b, &c, 64);
        bench_products(&b, &c, 2048);
    }
    blas_close(&b);
    return 0;
}
