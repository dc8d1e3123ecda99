/* argmax.cu: greedy sampling: one block a row; of equal logits the first wins. */
#include "backend/cuda/common.cuh"

#define THREADS 1024

struct best {
    float logit;
    uint32_t index;
};

__device__ static best better(best a, best b)
{
    return b.logit > a.logit || (b.logit == a.logit && b.index < a.index) ? b : a;
}

__device__ static best warp_best(best v)
{
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const best other = {__shfl_xor_sync(0xffffffff, v.logit, lanes),
                            __shfl_xor_sync(0xffffffff, v.index, lanes)};
        v = better(v, other);
    }
    return v;
}

__global__ void __launch_bounds__(THREADS)
    argmax_kernel(uint32_t *out, const float *logits, uint32_t vocab)
{
    __shared__ best found[THREADS / 32];
    const float *in = logits + (size_t)blockIdx.x * vocab;
    best mine = {-INFINITY, 0};

#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < vocab; i += THREADS)
        mine = better(mine, best{in[i], i});
    mine = warp_best(mine);
    if (threadIdx.x % 32 == 0)
        found[threadIdx.x / 32] = mine;
    __syncthreads();
    if (threadIdx.x >= 32)
        return;
    mine = warp_best(found[threadIdx.x]);
    if (threadIdx.x == 0)
        out[blockIdx.x] = mine.index;
}

extern "C" cudaError_t argmax(cudaStream_t s, uint32_t *out, const float *logits, uint32_t rows,
                              uint32_t vocab)
{
    if (rows == 0)
        return cudaSuccess;
    argmax_kernel<<<rows, THREADS, 0, s>>>(out, logits, vocab);
    return cudaGetLastError();
}
