/* attn_prefill.cu: attention of many query tokens of a sequence, causal, over its paged context:
 * FlashAttention-2's scheme on mma.sync. A block of threads takes 128 rows of one KV head, where a
 * row is a query head of a token: all heads of the group share what is read of K and V. Four warps
 * have 32 rows each; 64 tokens of K and V at a time are multiplied while the next 64 are copied.
 *
 * Addresses of the tokens' KV rows are looked up two tiles ahead, one thread a token. */
#include "backend/cuda/mma.cuh"

#define WARPS 4
#define THREADS (WARPS * 32)
#define WARP_ROWS 32
#define TOKENS 64 /* of K and V at a time */
#define ROWS PLAN_TILE_ROWS

template <int D> struct tiles {
    bf16 q[ROWS * D], k[2][TOKENS * D], v[2][TOKENS * D];
    uint32_t row[2][TOKENS]; /* KV row of K; PLAN_NONE past the end */
};

/* A thread's share of a warp's 32 rows: [m][h] is row m * 16 + h * 8 + lane / 4. */
template <int D> struct rows_state {
    float max[2][2], sum[2][2], out[2][D / 8][4];
};

template <int D>
__device__ static void find_rows(tiles<D> *sh, const attn_args &a, const prefill_tile &tile,
                                 uint32_t head, uint32_t step)
{
    const uint32_t t = step * TOKENS + threadIdx.x;

    if (threadIdx.x < TOKENS)
        sh->row[step % 2][threadIdx.x] =
            t < tile.end ? kv_row(a.plan.table[tile.table + t / a.shape.block_size],
                                  t % a.shape.block_size, 0, head, a.shape)
                         : PLAN_NONE;
}

template <int D> __device__ static void fetch(tiles<D> *sh, const attn_args &a, uint32_t step)
{
    const uint32_t k = shared_address(sh->k[step % 2]), v = shared_address(sh->v[step % 2]);
    const size_t v_elements = (size_t)a.shape.kv_heads * a.shape.block_size * D;

#pragma unroll
    for (uint32_t i = 0; i < TOKENS * D / CHUNK / THREADS; i++) {
        const uint32_t id = i * THREADS + threadIdx.x, r = id / (D / CHUNK), c = id % (D / CHUNK);
        const uint32_t from = sh->row[step % 2][r];
        const bool valid = from != PLAN_NONE;
        const bf16 *p = (const bf16 *)a.kv + (size_t)(valid ? from : 0) * D + c * CHUNK;

        copy_async(k + tile_offset<D>(r, c), p, valid);
        copy_async(v + tile_offset<D>(r, c), p + (valid ? v_elements : 0), valid);
    }
}

/* Where query row r of the tile begins in an array of [rows][stride]. */
template <int D>
__device__ static size_t query_offset(const attn_args &a, const prefill_tile &tile, uint32_t head,
                                      uint32_t r, uint32_t stride)
{
    const uint32_t group = a.shape.heads / a.shape.kv_heads, at = tile.first + r;

    return (size_t)(tile.q_start + at / group) * stride + (head * group + at % group) * D;
}

template <int D>
__device__ static void fetch_queries(tiles<D> *sh, const attn_args &a, const prefill_tile &tile,
                                     uint32_t head, uint32_t n_rows)
{
    const uint32_t q = shared_address(sh->q);

    for (uint32_t id = threadIdx.x; id < ROWS * D / CHUNK; id += THREADS) {
        const uint32_t r = id / (D / CHUNK), c = id % (D / CHUNK);
        const bool valid = r < n_rows;
        copy_async(q + tile_offset<D>(r, c),
                   (const bf16 *)a.q + query_offset<D>(a, tile, head, valid ? r : 0, a.q_stride) +
                       c * CHUNK,
                   valid);
    }
}

/* Scores of the warp's rows against 64 tokens. */
template <int D> __device__ static void score(float s[2][TOKENS / 8][4], uint32_t q, uint32_t k)
{
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        uint32_t a[2][4], b[4];
#pragma unroll
        for (int m = 0; m < 2; m++)
            load_fragments(a[m], q + tile_offset<D>(warp * WARP_ROWS + m * 16 + lane % 16,
                                                    kk * 2 + lane / 16));
#pragma unroll
        for (int n = 0; n < TOKENS / 16; n++) {
            load_fragments(
                b, k + tile_offset<D>(n * 16 + lane % 8 + lane / 16 * 8, kk * 2 + lane / 8 % 2));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                multiply_add(s[m][2 * n], a[m], b[0], b[1]);
                multiply_add(s[m][2 * n + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* Scores past each row's own position do not count; `position` is counted from the first token. */
__device__ static void mask(float s[2][TOKENS / 8][4], const int position[2][2])
{
    const int column = threadIdx.x % 4 * 2;

#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int n = 0; n < TOKENS / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (n * 8 + column + e % 2 > position[m][e / 2])
                    s[m][n][e] = -INFINITY;
}

/* From scores to weights, with the sums so far brought to the new largest score. */
template <int D>
__device__ static void weigh(rows_state<D> *st, float s[2][TOKENS / 8][4], float scale)
{
#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float here = s[m][0][2 * h], sum = 0;
#pragma unroll
            for (int n = 0; n < TOKENS / 8; n++)
                here = fmaxf(here, fmaxf(s[m][n][2 * h], s[m][n][2 * h + 1]));
            const float larger = fmaxf(st->max[m][h], row_max(here) * scale);
            const float keep = exp2_fast(st->max[m][h] - larger);
            st->max[m][h] = larger;
#pragma unroll
            for (int n = 0; n < TOKENS / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) {
                    s[m][n][e] = exp2_fast(s[m][n][e] * scale - larger);
                    sum += s[m][n][e];
                }
            st->sum[m][h] = st->sum[m][h] * keep + sum;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                st->out[m][n][2 * h] *= keep;
                st->out[m][n][2 * h + 1] *= keep;
            }
        }
}

template <int D>
__device__ static void add_values(rows_state<D> *st, const float s[2][TOKENS / 8][4], uint32_t v)
{
    const uint32_t lane = threadIdx.x % 32;

#pragma unroll
    for (int kk = 0; kk < TOKENS / 16; kk++) {
        uint32_t p[2][4], b[4];
#pragma unroll
        for (int m = 0; m < 2; m++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                p[m][i] =
                    pack_bf16(s[m][2 * kk + i / 2][i % 2 * 2], s[m][2 * kk + i / 2][i % 2 * 2 + 1]);
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            load_transposed(b, v + tile_offset<D>(kk * 16 + lane % 16, n * 2 + lane / 16));
#pragma unroll
            for (int m = 0; m < 2; m++) {
                multiply_add(st->out[m][2 * n], p[m], b[0], b[1]);
                multiply_add(st->out[m][2 * n + 1], p[m], b[2], b[3]);
            }
        }
    }
}

/* The warp's rows through its own part of q's place, which is read no more, so that they are stored
 * 16 bytes at a time. */
template <int D>
__device__ static void store(tiles<D> *sh, const rows_state<D> &st, const attn_args &a,
                             const prefill_tile &tile, uint32_t head, uint32_t n_rows)
{
    const uint32_t lane = threadIdx.x % 32, first = threadIdx.x / 32 * WARP_ROWS;

#pragma unroll
    for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float factor = 1 / row_sum(st.sum[m][h]);
            const uint32_t r = first + m * 16 + h * 8 + lane / 4;
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                *(uint32_t *)((char *)sh->q + tile_offset<D>(r, n) + lane % 4 * 4) =
                    pack_bf16(st.out[m][n][2 * h] * factor, st.out[m][n][2 * h + 1] * factor);
        }
    __syncwarp();
    for (uint32_t id = lane; id < WARP_ROWS * D / CHUNK; id += 32) {
        const uint32_t r = first + id / (D / CHUNK), c = id % (D / CHUNK);
        if (r < n_rows)
            *(uint4 *)((bf16 *)a.out + query_offset<D>(a, tile, head, r, a.shape.heads * D) +
                       c * CHUNK) = *(const uint4 *)((const char *)sh->q + tile_offset<D>(r, c));
    }
}

template <int D>
__global__ void __launch_bounds__(THREADS, 2)
    prefill_kernel(const __grid_constant__ attn_args a, float scale)
{
    extern __shared__ __align__(128) char shared[];
    tiles<D> *sh = (tiles<D> *)shared;
    const prefill_tile tile = a.plan.tile[blockIdx.y];
    const uint32_t head = blockIdx.x, group = a.shape.heads / a.shape.kv_heads;
    const uint32_t n_rows = min(tile.n_queries * group - tile.first, (uint32_t)ROWS);
    const uint32_t steps = (tile.end + TOKENS - 1) / TOKENS;
    const uint32_t warp_row = threadIdx.x / 32 * WARP_ROWS;
    rows_state<D> st = {};
    int position[2][2]; /* less the first token of the step */

#pragma unroll
    for (int i = 0; i < 4; i++) {
        const uint32_t r = warp_row + i / 2 * 16 + i % 2 * 8 + threadIdx.x % 32 / 4;
        position[i / 2][i % 2] = (int)(tile.context + (tile.first + min(r, n_rows - 1)) / group);
        st.max[i / 2][i % 2] = -INFINITY;
    }
    const int least = (int)(tile.context + (tile.first + min(warp_row, n_rows - 1)) / group);
    const int most =
        (int)(tile.context + (tile.first + min(warp_row + WARP_ROWS, n_rows) - 1) / group);

    find_rows(sh, a, tile, head, 0);
    find_rows(sh, a, tile, head, 1);
    fetch_queries(sh, a, tile, head, n_rows);
    __syncthreads();
    fetch(sh, a, 0);
    copy_commit();
    for (uint32_t step = 0; step < steps; step++) {
        const int first = (int)(step * TOKENS);

        copy_wait<0>();
        __syncthreads(); /* the step's tiles are there, and those of the last are free */
        if (step + 1 < steps)
            fetch(sh, a, step + 1);
        copy_commit();
        find_rows(sh, a, tile, head, step + 2);
        if (first <= most && warp_row < n_rows) {
            float s[2][TOKENS / 8][4] = {};
            score<D>(s, shared_address(sh->q), shared_address(sh->k[step % 2]));
            if (first + TOKENS - 1 > least)
                mask(s, position);
            weigh(&st, s, scale);
            add_values(&st, s, shared_address(sh->v[step % 2]));
        }
#pragma unroll
        for (int i = 0; i < 4; i++)
            position[i / 2][i % 2] -= TOKENS;
    }
    __syncthreads(); /* the last of q is read */
    if (warp_row < n_rows)
        store(sh, st, a, tile, head, n_rows);
}

template <int D> static cudaError_t launch(cudaStream_t s, const attn_args &a, uint32_t n_tiles)
{
    const cudaError_t rc = cudaFuncSetAttribute(
        prefill_kernel<D>, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(tiles<D>));

    if (rc != cudaSuccess)
        return rc;
    prefill_kernel<D>
        <<<dim3(a.shape.kv_heads, n_tiles), THREADS, sizeof(tiles<D>), s>>>(a, score_scale(D));
    return cudaGetLastError();
}

extern "C" cudaError_t attn_prefill(cudaStream_t s, const struct attn_args *a, uint32_t n_tiles)
{
    if (n_tiles == 0)
        return cudaSuccess;
    if (n_tiles > 65535)
        return cudaErrorInvalidValue;
    if (a->shape.head_dim == 64)
        return launch<64>(s, *a, n_tiles);
    if (a->shape.head_dim == 128)
        return launch<128>(s, *a, n_tiles);
    return cudaErrorInvalidValue;
}
