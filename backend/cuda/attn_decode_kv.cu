/* attn_decode_kv.cu: decode attention in which every KV head of every sequence reads a list of
 * pages of its own (kernels.h): what remains after eviction, or what was picked. The work is that
 * of attn_decode.cuh, one block of threads a piece of a list.
 *
 * H2O wants the softmax of every token. A piece does not know the sum of all weights, so that it
 * leaves its raw scores, and attn_mass turns them once all pieces are through: 8 bytes for a token
 * and query head, written and read, beside 4 head_dim for a token's K and V. No atomics: a token is
 * of one piece. */
#include "backend/cuda/attn_decode.cuh"

#define MASS_THREADS 256
#define MASS_STEP 4 /* tokens of a thread: whole vectors, as pieces start at multiples of 16 */

template <int D, bool SCORES>
__global__ void __launch_bounds__(WARPS * 32)
    decode_lists(const __grid_constant__ kv_attn_args a, float scale)
{
    extern __shared__ __align__(128) char shared[];
    const decode_piece piece = a.piece[blockIdx.x];
    const uint32_t group = a.shape.heads / a.shape.kv_heads, row = piece.row / a.shape.kv_heads;
    const uint32_t head = piece.row % a.shape.kv_heads;
    const bf16 *q = (const bf16 *)a.q + (size_t)row * a.q_stride + head * group * D;
    const cache cached = {
        (const bf16 *)a.kv, a.page + piece.table, 0, {group, 1, D, a.shape.block_size}};
    float *score = SCORES ? a.score + (size_t)a.list[piece.row].slot * group : NULL;
    const asking ask = {q, group, scale, score};
    const size_t at = (size_t)blockIdx.x * group;

    attend_piece<D, SCORES>(shared, cached, ask, piece.begin, piece.end, a.partial + at * D,
                            a.weight + at);
}

template <int D, bool SCORES>
static cudaError_t launch(cudaStream_t s, const kv_attn_args &a, uint32_t pieces)
{
    const int bytes = WARPS * sizeof(warp_tiles<D>);
    const cudaError_t rc = cudaFuncSetAttribute(decode_lists<D, SCORES>,
                                                cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

    if (rc != cudaSuccess)
        return rc;
    decode_lists<D, SCORES><<<pieces, WARPS * 32, bytes, s>>>(a, score_scale(D));
    return cudaGetLastError();
}

extern "C" cudaError_t kv_attn_decode(cudaStream_t s, const struct kv_attn_args *a, uint32_t pieces)
{
    if (a->shape.heads / a->shape.kv_heads > TILE)
        return cudaErrorInvalidValue;
    if (pieces == 0)
        return cudaSuccess;
    if (a->shape.head_dim == 64)
        return a->score ? launch<64, true>(s, *a, pieces) : launch<64, false>(s, *a, pieces);
    if (a->shape.head_dim == 128)
        return a->score ? launch<128, true>(s, *a, pieces) : launch<128, false>(s, *a, pieces);
    return cudaErrorInvalidValue;
}

/* One block for a query head of a decode, one thread an element. */
__global__ void combine_lists(const __grid_constant__ kv_attn_args a)
{
    const uint32_t row = blockIdx.x, head = blockIdx.y, group = a.shape.heads / a.shape.kv_heads;
    const uint32_t list = row * a.shape.kv_heads + head / group;

    ((bf16 *)a.out)[((size_t)row * a.shape.heads + head) * blockDim.x + threadIdx.x] =
        __float2bfloat16_rn(combined(a.piece_start[list], a.piece_start[list + 1], head % group,
                                     group, a.partial, a.weight));
}

extern "C" cudaError_t kv_attn_combine(cudaStream_t s, const struct kv_attn_args *a, uint32_t rows)
{
    if (rows == 0)
        return cudaSuccess;
    combine_lists<<<dim3(rows, a->shape.heads), a->shape.head_dim, 0, s>>>(*a);
    return cudaGetLastError();
}

/* Of each query head of a list: largest score, and 1 over the sum of the weights against it. */
__device__ static void total_weights(const kv_attn_args &a, uint32_t list, uint32_t group,
                                     float2 *total)
{
    const uint32_t begin = a.piece_start[list], end = a.piece_start[list + 1];

    if (threadIdx.x < group) {
        const float2 *w = a.weight + threadIdx.x;
        float max = -INFINITY, sum = 0;

        for (uint32_t i = begin; i < end; i++)
            max = fmaxf(max, w[(size_t)i * group].x);
        for (uint32_t i = begin; i < end; i++)
            sum += exp2_fast(w[(size_t)i * group].x - max) * w[(size_t)i * group].y;
        total[threadIdx.x] = make_float2(max, 1 / sum);
    }
    __syncthreads();
}

/* One block for a piece. */
__global__ void __launch_bounds__(MASS_THREADS)
    mass_kernel(const __grid_constant__ kv_attn_args a, float *mass)
{
    __shared__ float2 total[TILE];
    const decode_piece piece = a.piece[blockIdx.x];
    const uint32_t group = a.shape.heads / a.shape.kv_heads, slot = a.list[piece.row].slot;
    const float *score = a.score + (size_t)slot * group;

    total_weights(a, piece.row, group, total);
    for (uint32_t t = piece.begin + threadIdx.x * MASS_STEP; t < piece.end;
         t += MASS_THREADS * MASS_STEP) {
        const float *at = score + (size_t)(t / TILE * group) * TILE + t % TILE;
        float4 sum = load4(mass + slot + t);

#pragma unroll 4
        for (uint32_t g = 0; g < group; g++) {
            const float4 x = load4(at + g * TILE);
            const float2 w = total[g];

            sum.x += exp2_fast(x.x - w.x) * w.y;
            sum.y += exp2_fast(x.y - w.x) * w.y;
            sum.z += exp2_fast(x.z - w.x) * w.y;
            sum.w += exp2_fast(x.w - w.x) * w.y;
        }
        if (t + MASS_STEP <= piece.end) {
            store4(mass + slot + t, sum);
            continue;
        }
        const float one[] = {sum.x, sum.y, sum.z, sum.w};
        for (uint32_t i = 0; t + i < piece.end; i++)
            mass[slot + t + i] = one[i];
    }
}

extern "C" cudaError_t kv_attn_mass(cudaStream_t s, const struct kv_attn_args *a, uint32_t pieces,
                                    float *mass)
{
    if (a->score == NULL || a->shape.heads / a->shape.kv_heads > TILE)
        return cudaErrorInvalidValue;
    if (pieces == 0)
        return cudaSuccess;
    mass_kernel<<<pieces, MASS_THREADS, 0, s>>>(*a, mass);
    return cudaGetLastError();
}
