/* embed.cu: rows of the embedding into the residual stream. */
#include "backend/cuda/common.cuh"

#define THREADS 128

template <typename T>
__global__ void embed_kernel(float *x, const T *table, const uint32_t *token, uint32_t hidden)
{
    const T *in = table + (size_t)token[blockIdx.x] * hidden;
    float *out = x + (size_t)blockIdx.x * hidden;

    for (uint32_t i = threadIdx.x * 4; i < hidden; i += THREADS * 4)
        store4(out + i, load4(in + i));
}

extern "C" cudaError_t embed(cudaStream_t s, enum elem elem, float *x, const void *table,
                             const uint32_t *token, uint32_t rows, uint32_t hidden)
{
    if (rows == 0)
        return cudaSuccess;
    if (hidden % 4 != 0)
        return cudaErrorInvalidValue;
    if (elem == ELEM_F32)
        embed_kernel<<<rows, THREADS, 0, s>>>(x, (const float *)table, token, hidden);
    else
        embed_kernel<<<rows, THREADS, 0, s>>>(x, (const bf16 *)table, token, hidden);
    return cudaGetLastError();
}
