/* rmsnorm.cu: one block a row; the row is read twice, the second time from the cache. */
#include "backend/cuda/common.cuh"

#define THREADS 256

template <typename T>
__global__ void __launch_bounds__(THREADS)
    rmsnorm_kernel(T *out, const float *x, const T *weight, const uint32_t *row, uint32_t hidden,
                   float eps)
{
    __shared__ float sums[THREADS / 32];
    const uint32_t from = row ? row[blockIdx.x] : blockIdx.x;
    const float *in = x + (size_t)from * hidden;
    T *to = out + (size_t)blockIdx.x * hidden;
    float sum = 0;

    for (uint32_t i = threadIdx.x * 4; i < hidden; i += THREADS * 4) {
        const float4 v = load4(in + i);
        sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0)
        sums[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = 0;
    for (int i = 0; i < THREADS / 32; i++)
        sum += sums[i];

    const float factor = 1 / sqrtf(sum / (float)hidden + eps);
    for (uint32_t i = threadIdx.x * 4; i < hidden; i += THREADS * 4) {
        const float4 v = load4(in + i), w = load4(weight + i);
        store4(to + i, make_float4(v.x * factor * w.x, v.y * factor * w.y, v.z * factor * w.z,
                                   v.w * factor * w.w));
    }
}

extern "C" cudaError_t rmsnorm(cudaStream_t s, enum elem elem, void *out, const float *x,
                               const void *weight, const uint32_t *row, uint32_t rows,
                               uint32_t hidden, float eps)
{
    if (rows == 0)
        return cudaSuccess;
    if (hidden % 4 != 0)
        return cudaErrorInvalidValue;
    if (elem == ELEM_F32)
        rmsnorm_kernel<<<rows, THREADS, 0, s>>>((float *)out, x, (const float *)weight, row, hidden,
                                                eps);
    else
        rmsnorm_kernel<<<rows, THREADS, 0, s>>>((bf16 *)out, x, (const bf16 *)weight, row, hidden,
                                                eps);
    return cudaGetLastError();
}
