/* mma.cuh: the instructions of sm_80 and later that attention is made of: asynchronous copies into
 * shared memory, matrix fragments from there, and the tensor cores' 16 x 8 x 16 product. Tiles in
 * shared memory have rows of D bf16 in 16-byte chunks; chunk c of row r lies at c ^ (r % 8), so
 * that eight rows' equal chunks are in different banks. */
#ifndef BACKEND_CUDA_MMA_CUH
#define BACKEND_CUDA_MMA_CUH

#include "backend/cuda/common.cuh"

#define CHUNK 8 /* elements */

template <int D> __device__ static inline uint32_t tile_offset(uint32_t row, uint32_t chunk)
{
    return row * (D * (uint32_t)sizeof(bf16)) + (chunk ^ (row % 8)) * 16; /* bytes */
}

__device__ static inline uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes from global to shared memory; zeros where not valid. `from` is an address in any case */
__device__ static inline void copy_async(uint32_t to, const void *from, bool valid)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(valid ? 16 : 0)
                 : "memory");
}

__device__ static inline void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most N of this thread's latest groups are under way. */
template <int N> __device__ static inline void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

__device__ static inline void load_fragments(uint32_t f[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
                 : "r"(address)
                 : "memory");
}

__device__ static inline void load_transposed(uint32_t f[4], uint32_t address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(f[0]), "=r"(f[1]), "=r"(f[2]), "=r"(f[3])
                 : "r"(address)
                 : "memory");
}

/* c += a b: a 16 x 16, b 16 x 8 (its column's two halves b0, b1). */
__device__ static inline void multiply_add(float c[4], const uint32_t a[4], uint32_t b0,
                                           uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ static inline float exp2_fast(float x)
{
    float y;

    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* Largest and sum over the four lanes that hold a row of an accumulator. */
__device__ static inline float row_max(float v)
{
    v = fmaxf(v, __shfl_xor_sync(0xffffffff, v, 1));
    return fmaxf(v, __shfl_xor_sync(0xffffffff, v, 2));
}

__device__ static inline float row_sum(float v)
{
    v += __shfl_xor_sync(0xffffffff, v, 1);
    return v + __shfl_xor_sync(0xffffffff, v, 2);
}

/* Factor on scores so that softmax is 2 to their power. */
static inline float score_scale(uint32_t head_dim)
{
    return 1.44269504088896f / sqrtf((float)head_dim);
}

#endif
