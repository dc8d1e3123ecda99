/* weights.cu: random weights drawn where they are needed, with the host's bits, and weights of a
 * file from their type to the run's. */
#include "backend/cuda/common.cuh"
#include "backend/model/random_weights.h"

#define THREADS 256
#define BLOCKS 4096

__device__ static void put(float *out, float v)
{
    *out = v;
}

__device__ static void put(bf16 *out, float v)
{
    *out = __float2bfloat16_rn(v); /* exact for what was drawn: it is a bf16 already */
}

template <typename T> __global__ void draw_kernel(T *out, uint64_t n, struct random_tensor tensor)
{
    const uint64_t stride = (uint64_t)gridDim.x * THREADS;

    for (uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += stride)
        put(out + i, __uint_as_float((uint32_t)random_tensor_bf16(&tensor, i) << 16));
}

extern "C" cudaError_t draw_weights(cudaStream_t s, enum elem elem, void *out, uint64_t n,
                                    uint64_t seed, uint32_t tensor, uint32_t cols, bool norm)
{
    const struct random_tensor r = random_tensor(seed, tensor, cols, norm);

    if (elem == ELEM_F32)
        draw_kernel<<<BLOCKS, THREADS, 0, s>>>((float *)out, n, r);
    else
        draw_kernel<<<BLOCKS, THREADS, 0, s>>>((bf16 *)out, n, r);
    return cudaGetLastError();
}

template <typename T, typename F> __global__ void convert_kernel(T *out, const F *in, uint64_t n)
{
    const uint64_t stride = (uint64_t)gridDim.x * THREADS;

    for (uint64_t i = (uint64_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += stride)
        put(out + i, (float)in[i]);
}

template <typename T>
static void convert_to(cudaStream_t s, T *out, enum elem from, const void *in, uint64_t n)
{
    if (from == ELEM_F32)
        convert_kernel<<<BLOCKS, THREADS, 0, s>>>(out, (const float *)in, n);
    else
        convert_kernel<<<BLOCKS, THREADS, 0, s>>>(out, (const bf16 *)in, n);
}

extern "C" cudaError_t convert_weights(cudaStream_t s, enum elem elem, void *out, enum elem from,
                                       const void *in, uint64_t n)
{
    if (elem == ELEM_F32)
        convert_to(s, (float *)out, from, in, n);
    else
        convert_to(s, (bf16 *)out, from, in, n);
    return cudaGetLastError();
}
