/* swiglu.cu: the activation between the two halves of the feed-forward network. */
#include "backend/cuda/common.cuh"

#define THREADS 256

__device__ static float gated(float gate, float up)
{
    return gate / (1 + expf(-gate)) * up;
}

template <typename T>
__global__ void __launch_bounds__(THREADS)
    swiglu_kernel(T *out, const T *gate_up, uint32_t intermediate)
{
    const uint32_t i = (blockIdx.y * THREADS + threadIdx.x) * 4;

    if (i >= intermediate)
        return;
    const T *in = gate_up + (size_t)blockIdx.x * 2 * intermediate + i;
    const float4 g = load4(in), u = load4(in + intermediate);
    store4(out + (size_t)blockIdx.x * intermediate + i,
           make_float4(gated(g.x, u.x), gated(g.y, u.y), gated(g.z, u.z), gated(g.w, u.w)));
}

extern "C" cudaError_t swiglu(cudaStream_t s, enum elem elem, void *out, const void *gate_up,
                              uint32_t rows, uint32_t intermediate)
{
    const dim3 grid(rows, div_ceil_u32(intermediate, THREADS * 4));

    if (rows == 0)
        return cudaSuccess;
    if (intermediate % 4 != 0)
        return cudaErrorInvalidValue;
    if (elem == ELEM_F32)
        swiglu_kernel<<<grid, THREADS, 0, s>>>((float *)out, (const float *)gate_up, intermediate);
    else
        swiglu_kernel<<<grid, THREADS, 0, s>>>((bf16 *)out, (const bf16 *)gate_up, intermediate);
    return cudaGetLastError();
}
