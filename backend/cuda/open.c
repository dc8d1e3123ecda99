/* open.c: opening the CUDA device: which GPU, what it can compute, how its memory is divided. */
#include "backend/cuda/engine.h"

#define ALIGNMENT 256                      /* bytes between arrays */
#define SCRATCH_BYTES (UINT64_C(64) << 20) /* cuBLAS asks for 32 MiB on Hopper */
#define PIECES_PER_SM 8                    /* decode pieces times KV heads, an SM */

bool cuda_ok(cudaError_t rc, const char *doing, struct err *e)
{
    if (rc == cudaSuccess)
        return true;
    return err_set(e, "cuda: %s: %s; look at nvidia-smi and the kernel's log", doing,
                   cudaGetErrorString(rc));
}

static bool find_gpu(struct engine *g, struct err *e)
{
    int count = 0;
    cudaError_t rc = cudaGetDeviceCount(&count);

    if (rc != cudaSuccess || count == 0)
        return err_set(e, "cuda: no usable GPU (%s); use --backend cpu, or a machine with one",
                       rc == cudaSuccess ? "there is none" : cudaGetErrorString(rc));
    if (!cuda_ok(cudaSetDevice(0), "taking GPU 0", e) ||
        !cuda_ok(cudaGetDeviceProperties(&g->gpu, 0), "reading what GPU 0 is", e))
        return false;
    if (g->gpu.major < 8)
        return err_set(e,
                       "cuda: %s is too old (compute capability %d.%d, 8.0 is needed: A100 and "
                       "later); use --backend cpu",
                       g->gpu.name, g->gpu.major, g->gpu.minor);
    return true;
}

/* What the kernels and 32-bit row numbers cannot do is refused here, so that nothing fails later.
 */
static bool check_sizes(const struct engine *g, const struct device_config *c, struct err *e)
{
    const struct arch *a = &g->arch;
    uint64_t kv_rows = (uint64_t)c->n_blocks * 2 * a->kv_heads * c->block_size;
    const char *source = c->weights->source;

    if (g->elem == ELEM_BF16 && a->head_dim != 64 && a->head_dim != 128)
        return err_set(e, "cuda: %s: head_dim %u; the kernels have 64 and 128; use --backend cpu",
                       source, a->head_dim);
    if (a->head_dim % 32 != 0 || a->head_dim > 256 || a->hidden % 8 != 0 ||
        a->intermediate % 8 != 0)
        return err_set(e,
                       "cuda: %s: head_dim %u, hidden %u, intermediate %u; multiples of 32 (to "
                       "256), 8 and 8 are needed; use --backend cpu",
                       source, a->head_dim, a->hidden, a->intermediate);
    if (a->heads / a->kv_heads > 16)
        return err_set(e, "cuda: %s: %u heads on %u KV heads; at most 16 to one; use --backend cpu",
                       source, a->heads, a->kv_heads);
    if (kv_rows >= UINT32_MAX)
        return err_set(e, "cuda: %u blocks of %u tokens are too many; lower num_gpu_blocks",
                       c->n_blocks, c->block_size);
    if (c->max_seqs > 32768 || g->limits.max_rows > (1u << 20))
        return err_set(e,
                       "cuda: max_num_seqs %u, max_num_batched_tokens %u; at most 32768 and "
                       "1048576",
                       c->max_seqs, c->max_tokens);
    return true;
}

uint64_t engine_layer_block_bytes(const struct engine *g)
{
    return UINT64_C(2) * g->arch.kv_heads * g->limits.block_size * g->arch.head_dim * g->elem_bytes;
}

char *engine_layer_kv(const struct engine *g, uint32_t layer)
{
    return g->kv + (uint64_t)layer * g->n_blocks * engine_layer_block_bytes(g);
}

/* The next n bytes of the allocation; with g->memory NULL, addresses mean nothing yet. */
static void *carve(struct engine *g, uint64_t n)
{
    void *at = (char *)g->memory + g->memory_bytes;

    g->memory_bytes += div_ceil_u64(n, ALIGNMENT) * ALIGNMENT;
    return at;
}

static void carve_weights(struct engine *g)
{
    const struct arch *a = &g->arch;
    uint64_t hidden = a->hidden, matrix = hidden * g->elem_bytes;
    uint64_t q_rows = (uint64_t)a->heads * a->head_dim;
    uint64_t kv_rows = (uint64_t)a->kv_heads * a->head_dim;

    for (uint32_t l = 0; l < a->layers; l++)
        g->layer[l] = (struct layer_weights){
            .attn_norm = carve(g, matrix),
            .qkv = carve(g, (q_rows + 2 * kv_rows) * matrix),
            .o = carve(g, q_rows * matrix),
            .ffn_norm = carve(g, matrix),
            .gate_up = carve(g, UINT64_C(2) * a->intermediate * matrix),
            .down = carve(g, a->intermediate * matrix),
        };
    g->embedding = carve(g, a->vocab * matrix);
    g->final_norm = carve(g, matrix);
    g->head = a->tied_embeddings ? g->embedding : carve(g, a->vocab * matrix);
}

/* Divides the memory; called without an allocation first, to learn its size. */
static void carve_all(struct engine *g)
{
    const struct arch *a = &g->arch;
    uint64_t rows = g->limits.max_rows, heads = a->heads;
    uint64_t pieces = plan_max_pieces(&g->limits, g->max_seqs);

    g->memory_bytes = 0;
    carve_weights(g);
    g->kv = carve(g, (uint64_t)a->layers * g->n_blocks * engine_layer_block_bytes(g));
    g->normed = carve(g, rows * a->hidden * g->elem_bytes);
    g->x = carve(g, rows * a->hidden * sizeof(float));
    g->qkv = carve(g, rows * (heads + 2 * a->kv_heads) * a->head_dim * sizeof(float));
    g->q = carve(g, rows * heads * a->head_dim * g->elem_bytes);
    g->attended = carve(g, rows * heads * a->head_dim * g->elem_bytes);
    g->gate_up = carve(g, rows * 2 * a->intermediate * g->elem_bytes);
    g->gated = carve(g, rows * a->intermediate * g->elem_bytes);
    g->logits = carve(g, (uint64_t)g->max_seqs * a->vocab * sizeof(float));
    g->next = carve(g, g->max_seqs * sizeof(uint32_t));
    g->partial = carve(g, pieces * heads * a->head_dim * sizeof(float));
    g->partial_weight = carve(g, pieces * heads * sizeof(float2));
    g->rope = carve(g, (uint64_t)g->max_context * (a->head_dim / 2) * sizeof(float2));
    g->scratch = carve(g, g->scratch_bytes);
    (void)plan_views(&g->plan, &g->limits, carve(g, g->plan_bytes));
}

static bool take_memory(struct engine *g, struct err *e)
{
    size_t available, total;
    cudaError_t rc;

    carve_all(g);
    if (!cuda_ok(cudaMemGetInfo(&available, &total), "asking for free memory", e))
        return false;
    rc = g->memory_bytes > available ? cudaErrorMemoryAllocation
                                     : cudaMalloc(&g->memory, g->memory_bytes);
    if (rc == cudaErrorMemoryAllocation)
        return err_set(e,
                       "cuda: out of device memory: %.1f GiB are needed and %.1f of %.1f GiB free; "
                       "lower num_gpu_blocks or max_num_batched_tokens, or take a smaller model",
                       (double)g->memory_bytes / 0x1p30, (double)available / 0x1p30,
                       (double)total / 0x1p30);
    if (!cuda_ok(rc, "taking device memory", e))
        return false;
    carve_all(g);
    return true;
}

static bool take_host_memory(struct engine *g, struct err *e)
{
    uint64_t kv_bytes = (uint64_t)g->n_host_blocks * g->arch.layers * engine_layer_block_bytes(g);
    cudaError_t rc = cudaMallocHost(&g->plan_buffer, g->plan_bytes);

    if (rc == cudaSuccess)
        rc = cudaMallocHost((void **)&g->host_next, g->max_seqs * sizeof(*g->host_next));
    if (rc == cudaSuccess && kv_bytes > 0)
        rc = cudaMallocHost(&g->host_kv, kv_bytes);
    if (rc == cudaErrorMemoryAllocation)
        return err_set(e, "cuda: out of pinned host memory (%.1f GiB); lower host_memory_gb",
                       (double)(kv_bytes + g->plan_bytes) / 0x1p30);
    if (rc == cudaSuccess)
        (void)plan_views(&g->host_plan, &g->limits, g->plan_buffer);
    return cuda_ok(rc, "taking pinned host memory", e);
}

static bool make_streams(struct engine *g, struct err *e)
{
    cudaError_t rc = cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking);

    if (rc == cudaSuccess)
        rc = cudaStreamCreateWithFlags(&g->copy_stream, cudaStreamNonBlocking);
    if (rc == cudaSuccess)
        rc = cudaEventCreate(&g->started);
    if (rc == cudaSuccess)
        rc = cudaEventCreate(&g->ended);
    for (int i = 0; i < ENGINE_COPIES && rc == cudaSuccess; i++)
        rc = cudaEventCreateWithFlags(&g->copied[i], cudaEventDisableTiming);
    return cuda_ok(rc, "making streams", e);
}

/* Activations start as zeros, since graphs compute padding rows, too. */
static bool fill_constants(struct engine *g, struct err *e)
{
    uint32_t pairs = g->arch.head_dim / 2;
    size_t activations = (size_t)((char *)g->scratch - (char *)g->normed);
    double *frequency = mem_alloc(pairs * sizeof(*frequency));
    bool ok;

    for (uint32_t i = 0; i < pairs; i++)
        frequency[i] = arch_rope_frequency(&g->arch, i);
    ok = cuda_ok(cudaMemsetAsync(g->normed, 0, activations, g->stream), "clearing memory", e) &&
         cuda_ok(cudaMemcpyAsync(g->scratch, frequency, pairs * sizeof(*frequency),
                                 cudaMemcpyHostToDevice, g->stream),
                 "copying frequencies", e) &&
         cuda_ok(rope_table(g->stream, g->rope, g->scratch, g->max_context, pairs),
                 "working out angles", e) &&
         cuda_ok(cudaStreamSynchronize(g->stream), "working out angles", e);
    mem_free(frequency);
    return ok;
}

static void set_sizes(struct engine *g, const struct device_config *c)
{
    const struct arch *a = &c->weights->arch;
    uint32_t per_seq = div_ceil_u32(c->max_context, c->block_size);

    g->arch = *a;
    g->elem = c->high_precision ? ELEM_F32 : ELEM_BF16;
    g->elem_bytes = c->high_precision ? 4 : 2;
    g->n_blocks = c->n_blocks;
    g->n_host_blocks = c->n_host_blocks;
    g->max_context = c->max_context;
    g->max_seqs = c->max_seqs;
    g->scratch_bytes = SCRATCH_BYTES;
    g->layer = mem_alloc(a->layers * sizeof(*g->layer));
    g->limits = (struct plan_limits){
        .max_seqs = c->max_seqs,
        .max_rows = MAX(c->max_tokens, c->max_seqs),
        .block_size = c->block_size,
        .kv_heads = a->kv_heads,
        .group = a->heads / a->kv_heads,
        .max_table = (uint64_t)c->max_seqs * per_seq,
    };
}

uint32_t engine_target_pieces(const struct cudaDeviceProp *gpu, uint32_t kv_heads)
{
    return div_ceil_u32((uint32_t)gpu->multiProcessorCount * PIECES_PER_SM, kv_heads);
}

struct engine *engine_open(const struct device_config *c, bool graphs, struct err *e)
{
    struct engine *g = mem_alloc(sizeof(*g));

    set_sizes(g, c);
    if (!check_sizes(g, c, e) || !find_gpu(g, e))
        goto failed;
    g->limits.target_pieces = engine_target_pieces(&g->gpu, g->arch.kv_heads);
    g->plan_bytes = plan_views(&g->plan, &g->limits, NULL);
    if (!take_memory(g, e) || !take_host_memory(g, e) || !make_streams(g, e) ||
        !blas_open(&g->blas, g->elem, g->stream, g->scratch, g->scratch_bytes, e) ||
        !engine_load(g, c->weights, e) || !fill_constants(g, e) || !engine_warm_products(g, e))
        goto failed;
    if ((graphs && !engine_capture(g, e)) || !engine_warm_prompt(g, e))
        goto failed;
    return g;
failed:
    engine_close(g);
    return NULL;
}

/* Errors do not matter any more: what failed before was reported, and the memory goes anyway. */
void engine_close(struct engine *g)
{
    if (g->stream)
        (void)cudaStreamSynchronize(g->stream);
    if (g->copy_stream)
        (void)cudaStreamSynchronize(g->copy_stream);
    for (uint32_t i = 0; i < g->n_graphs; i++)
        (void)cudaGraphExecDestroy(g->graph[i]);
    blas_close(&g->blas);
    for (int i = 0; i < ENGINE_COPIES; i++)
        if (g->copied[i])
            (void)cudaEventDestroy(g->copied[i]);
    if (g->started)
        (void)cudaEventDestroy(g->started);
    if (g->ended)
        (void)cudaEventDestroy(g->ended);
    if (g->stream)
        (void)cudaStreamDestroy(g->stream);
    if (g->copy_stream)
        (void)cudaStreamDestroy(g->copy_stream);
    (void)cudaFreeHost(g->plan_buffer);
    (void)cudaFreeHost(g->host_next);
    (void)cudaFreeHost(g->host_kv);
    (void)cudaFree(g->memory);
    mem_free(g->layer);
    mem_free(g);
}
