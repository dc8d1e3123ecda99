/* attn_decode.cu: decode attention: one query token against its whole context, which is cut into
 * pieces (plan.h) so that short and long contexts keep the GPU equally busy. Partial results of
 * pieces are merged by attn_combine. */
#include "backend/cuda/attn_decode.cuh"

template <int D>
__global__ void __launch_bounds__(WARPS * 32)
    decode_kernel(const __grid_constant__ attn_args a, float scale, float *partial, float2 *weight)
{
    extern __shared__ __align__(128) char shared[];
    if (blockIdx.y >= *a.plan.n_pieces)
        return;
    const decode_piece piece = a.plan.piece[blockIdx.y];
    const uint32_t head = blockIdx.x, group = a.shape.heads / a.shape.kv_heads;
    const bf16 *q = (const bf16 *)a.q + (size_t)piece.row * a.q_stride + head * group * D;
    const cache cached = {(const bf16 *)a.kv, a.plan.table + piece.table, head, a.shape};
    const asking ask = {q, group, scale, NULL};
    const size_t at = ((size_t)blockIdx.y * a.shape.kv_heads + head) * group;

    attend_piece<D, false>(shared, cached, ask, piece.begin, piece.end, partial + at * D,
                           weight + at);
}

template <int D>
static cudaError_t launch(cudaStream_t s, const attn_args &a, uint32_t pieces, float *partial,
                          float2 *weight)
{
    const int bytes = WARPS * sizeof(warp_tiles<D>);
    const cudaError_t rc =
        cudaFuncSetAttribute(decode_kernel<D>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);

    if (rc != cudaSuccess)
        return rc;
    decode_kernel<D><<<dim3(a.shape.kv_heads, pieces), WARPS * 32, bytes, s>>>(a, score_scale(D),
                                                                               partial, weight);
    return cudaGetLastError();
}

extern "C" cudaError_t attn_decode(cudaStream_t s, const struct attn_args *a, uint32_t pieces,
                                   float *partial, float2 *weight)
{
    if (pieces == 0)
        return cudaSuccess;
    if (a->shape.heads / a->shape.kv_heads > TILE || pieces > 65535)
        return cudaErrorInvalidValue;
    if (a->shape.head_dim == 64)
        return launch<64>(s, *a, pieces, partial, weight);
    if (a->shape.head_dim == 128)
        return launch<128>(s, *a, pieces, partial, weight);
    return cudaErrorInvalidValue;
}

/* One block for a query head of a decode, one thread an element. */
__global__ void combine_kernel(const __grid_constant__ attn_args a, const float *partial,
                               const float2 *weight)
{
    const uint32_t row = blockIdx.x, head = blockIdx.y, heads = gridDim.y, dim = blockDim.x;
    const uint32_t begin = a.plan.piece_start[row], end = a.plan.piece_start[row + 1];

    if (begin == end)
        return; /* padding */
    ((bf16 *)a.out)[((size_t)row * heads + head) * dim + threadIdx.x] =
        __float2bfloat16_rn(combined(begin, end, head, heads, partial, weight));
}

extern "C" cudaError_t attn_combine(cudaStream_t s, const struct attn_args *a, uint32_t decodes,
                                    const float *partial, const float2 *weight)
{
    if (decodes == 0)
        return cudaSuccess;
    combine_kernel<<<dim3(decodes, a->shape.heads), a->shape.head_dim, 0, s>>>(*a, partial, weight);
    return cudaGetLastError();
}
