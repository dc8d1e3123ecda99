/* rope.cu: rotary position codes (rotate-half, as Hugging Face), and the paged append of K and V.
 * Angles are worked out in double once, at open: a float32 angle is off by thousandths of a radian
 * at position 100,000. */
#include "backend/cuda/common.cuh"

#define THREADS 256

__global__ void table_kernel(float2 *table, const double *frequency, uint32_t pairs)
{
    for (uint32_t i = threadIdx.x; i < pairs; i += blockDim.x) {
        double sine, cosine;

        sincos(blockIdx.x * frequency[i], &sine, &cosine);
        table[(size_t)blockIdx.x * pairs + i] = make_float2((float)cosine, (float)sine);
    }
}

extern "C" cudaError_t rope_table(cudaStream_t s, float2 *table, const double *frequency,
                                  uint32_t positions, uint32_t pairs)
{
    if (positions == 0)
        return cudaSuccess;
    table_kernel<<<positions, 64, 0, s>>>(table, frequency, pairs);
    return cudaGetLastError();
}

/* Four pairs of a head: elements i .. i + 4 and half a head further. */
template <typename T>
__device__ static void turn(T *out, const float *in, const float2 *angle, uint32_t half)
{
    const float4 a = load4(in), b = load4(in + half);
    const float2 p = angle[0], q = angle[1], r = angle[2], t = angle[3];

    store4(out, make_float4(a.x * p.x - b.x * p.y, a.y * q.x - b.y * q.y, a.z * r.x - b.z * r.y,
                            a.w * t.x - b.w * t.y));
    store4(out + half, make_float4(b.x * p.x + a.x * p.y, b.y * q.x + a.y * q.y,
                                   b.z * r.x + a.z * r.y, b.w * t.x + a.w * t.y));
}

/* A thread takes eight elements of a row: four pairs of q or k, or of v, unturned. */
template <typename T>
__global__ void __launch_bounds__(THREADS)
    append_kernel(T *q, T *kv, const float *qkv, const float2 *table, const uint32_t *position,
                  const uint32_t *slot, attn_shape shape)
{
    const uint32_t half = shape.head_dim / 2, units = half / 4; /* of a head */
    const uint32_t unit = blockIdx.y * THREADS + threadIdx.x;
    const uint32_t head = unit / units, i = unit % units * 4;
    const uint32_t to = slot[blockIdx.x], heads = shape.heads + 2 * shape.kv_heads;

    if (to == PLAN_NONE || head >= heads)
        return;
    const float *in = qkv + ((size_t)blockIdx.x * heads + head) * shape.head_dim + i;
    const float2 *angle = table + (size_t)position[blockIdx.x] * half + i;
    if (head < shape.heads) {
        turn(q + ((size_t)blockIdx.x * shape.heads + head) * shape.head_dim + i, in, angle, half);
        return;
    }
    const uint32_t which = (head - shape.heads) / shape.kv_heads;
    const uint32_t row = kv_row(to / shape.block_size, to % shape.block_size, which,
                                (head - shape.heads) % shape.kv_heads, shape);
    T *out = kv + (size_t)row * shape.head_dim + i;
    if (which == 0) {
        turn(out, in, angle, half);
    } else {
        store4(out, load4(in));
        store4(out + half, load4(in + half));
    }
}

extern "C" cudaError_t rope_append(cudaStream_t s, enum elem elem, void *q, void *kv,
                                   const float *qkv, const float2 *table, const uint32_t *position,
                                   const uint32_t *slot, uint32_t rows, struct attn_shape shape)
{
    const uint32_t units = (shape.heads + 2 * shape.kv_heads) * (shape.head_dim / 8);
    const dim3 grid(rows, div_ceil_u32(units, THREADS));

    if (rows == 0)
        return cudaSuccess;
    if (shape.head_dim % 8 != 0)
        return cudaErrorInvalidValue;
    if (elem == ELEM_F32)
        append_kernel<<<grid, THREADS, 0, s>>>((float *)q, (float *)kv, qkv, table, position, slot,
                                               shape);
    else
        append_kernel<<<grid, THREADS, 0, s>>>((bf16 *)q, (bf16 *)kv, qkv, table, position, slot,
                                               shape);
    return cudaGetLastError();
}
