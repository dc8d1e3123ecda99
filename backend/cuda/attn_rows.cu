/* attn_rows.cu: float32 attention, one block for a query head of a token: for the high-precision
 * mode, where being right is all that counts. Each warp takes every fourth token of the context
 * with an online softmax of its own; the four are merged at the end. */
#include "backend/cuda/common.cuh"

#define WARPS 4
#define MAX_PER_LANE 8 /* elements of a head that a lane holds: head_dim up to 256 */

struct row_state {
    float max, sum, out[MAX_PER_LANE];
};

__device__ static void attend(row_state *st, const float q[MAX_PER_LANE], const float *k,
                              const float *v, uint32_t per_lane, float scale)
{
    float score = 0;

#pragma unroll
    for (int j = 0; j < MAX_PER_LANE; j++)
        if (j < per_lane)
            score += q[j] * k[j * 32];
    score = warp_sum(score) * scale;
    const float larger = fmaxf(st->max, score);
    const float keep = expf(st->max - larger), weight = expf(score - larger);
    st->max = larger;
    st->sum = st->sum * keep + weight;
#pragma unroll
    for (int j = 0; j < MAX_PER_LANE; j++)
        if (j < per_lane)
            st->out[j] = st->out[j] * keep + weight * v[j * 32];
}

__global__ void __launch_bounds__(WARPS * 32) rows_kernel(attn_args a, float scale)
{
    __shared__ float maxes[WARPS], sums[WARPS], outs[WARPS][MAX_PER_LANE * 32];
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const uint32_t row = blockIdx.x, head = blockIdx.y;
    const uint32_t dim = a.shape.head_dim, per_lane = dim / 32;
    const uint32_t seq = a.plan.seq[row];

    if (seq == PLAN_NONE)
        return;
    const uint32_t *table = a.plan.table + a.plan.table_start[seq];
    const uint32_t kv_head = head / (a.shape.heads / a.shape.kv_heads);
    const uint32_t length = a.plan.position[row] + 1;
    const float *q_row = (const float *)a.q + (size_t)row * a.q_stride + head * dim;
    float q[MAX_PER_LANE];
    row_state st = {-INFINITY, 0, {0}};

#pragma unroll
    for (int j = 0; j < MAX_PER_LANE; j++)
        q[j] = j < per_lane ? q_row[j * 32 + lane] : 0;
    for (uint32_t t = warp; t < length; t += WARPS) {
        const uint32_t block = table[t / a.shape.block_size], offset = t % a.shape.block_size;
        const float *kv = (const float *)a.kv + lane;
        attend(&st, q, kv + (size_t)kv_row(block, offset, 0, kv_head, a.shape) * dim,
               kv + (size_t)kv_row(block, offset, 1, kv_head, a.shape) * dim, per_lane, scale);
    }
    maxes[warp] = st.max;
    sums[warp] = st.sum;
#pragma unroll
    for (int j = 0; j < MAX_PER_LANE; j++)
        outs[warp][j * 32 + lane] = st.out[j];
    __syncthreads();

    float *out = (float *)a.out + ((size_t)row * a.shape.heads + head) * dim;
    const float max = fmaxf(fmaxf(maxes[0], maxes[1]), fmaxf(maxes[2], maxes[3]));
    for (uint32_t i = threadIdx.x; i < dim; i += WARPS * 32) {
        float sum = 0, value = 0;
        for (int w = 0; w < WARPS; w++) {
            const float weight = expf(maxes[w] - max);
            sum += weight * sums[w];
            value += weight * outs[w][i];
        }
        out[i] = value / sum;
    }
}

extern "C" cudaError_t attn_rows(cudaStream_t s, const struct attn_args *a, uint32_t rows)
{
    if (rows == 0)
        return cudaSuccess;
    if (a->shape.head_dim % 32 != 0 || a->shape.head_dim > MAX_PER_LANE * 32)
        return cudaErrorInvalidValue;
    rows_kernel<<<dim3(rows, a->shape.heads), WARPS * 32, 0, s>>>(
        *a, 1 / sqrtf((float)a->shape.head_dim));
    return cudaGetLastError();
}
