/* common.cuh: what the kernels share: element types, four elements at a time, sums over a block. */
#ifndef BACKEND_CUDA_COMMON_CUH
#define BACKEND_CUDA_COMMON_CUH

#include <cuda_bf16.h>

#include "backend/cuda/kernels.h"

typedef __nv_bfloat16 bf16;

/* Four consecutive elements as float32; p is aligned to four elements. */
__device__ static inline float4 load4(const float *p)
{
    return *reinterpret_cast<const float4 *>(p);
}

__device__ static inline float4 load4(const bf16 *p)
{
    const uint2 bits = *reinterpret_cast<const uint2 *>(p);
    const float2 low = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&bits.x));
    const float2 high = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&bits.y));

    return make_float4(low.x, low.y, high.x, high.y);
}

__device__ static inline void store4(float *p, float4 v)
{
    *reinterpret_cast<float4 *>(p) = v;
}

__device__ static inline uint32_t pack_bf16(float low, float high)
{
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);

    return *reinterpret_cast<const uint32_t *>(&pair);
}

__device__ static inline void store4(bf16 *p, float4 v)
{
    *reinterpret_cast<uint2 *>(p) = make_uint2(pack_bf16(v.x, v.y), pack_bf16(v.z, v.w));
}

__device__ static inline float warp_sum(float v)
{
    for (int lanes = 16; lanes > 0; lanes /= 2)
        v += __shfl_xor_sync(0xffffffff, v, lanes);
    return v;
}

/* KV row of a token whose slot is block * block_size + offset. */
__device__ static inline uint32_t kv_row(uint32_t block, uint32_t offset, uint32_t which,
                                         uint32_t head, struct attn_shape shape)
{
    return ((block * 2 + which) * shape.kv_heads + head) * shape.block_size + offset;
}

#endif
