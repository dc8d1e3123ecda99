/* kv_pages.cu: Quest's choice of pages (eviction.md 4): bounds of a page's keys, a bound of the
 * products with them, and the pages with the highest ones. What is read is the bounds: 1 of
 * block_size tokens' K and V.
 *
 * sum over channels of max(q least, q most) is a product of (max(q, 0), min(q, 0)) with (most,
 * least), so that tensor cores rank pages as they score tokens. Rows of 2 head_dim go from memory
 * into fragments without shared memory: a lane takes 16 bytes of a row where the instruction has it
 * hold other channels, which is the same permutation of channels for both factors. */
#include "backend/cuda/mma.cuh"

#define GROUP_ROWS 16
#define RANK_WARPS 4
#define RANK_PAGES 8 /* of a warp at once: columns of a product */
#define RANK_STEPS 8 /* of a warp */
#define PICK_THREADS 512
#define BINS 256

/* One block for a page, one thread a channel. */
__global__ void bounds_kernel(const __grid_constant__ kv_attn_args a, bf16 *bounds)
{
    const kv_list list = a.list[blockIdx.x];
    const uint32_t size = a.shape.block_size, dim = blockDim.x, first = blockIdx.y * size;

    if (first >= list.n)
        return;
    const uint32_t page = a.page[list.table + blockIdx.y], n = min(size, list.n - first);
    const bf16 *key = (const bf16 *)a.kv + (size_t)page * 2 * size * dim + threadIdx.x;
    bf16 most = key[0], least = key[0];

    for (uint32_t t = 1; t < n; t++) {
        most = __hmax(most, key[t * dim]);
        least = __hmin(least, key[t * dim]);
    }
    bounds[(size_t)page * 2 * dim + threadIdx.x] = most;
    bounds[((size_t)page * 2 + 1) * dim + threadIdx.x] = least;
}

static bool is_computed(const struct kv_attn_args *a)
{
    return (a->shape.head_dim == 64 || a->shape.head_dim == 128) &&
           a->shape.heads / a->shape.kv_heads <= GROUP_ROWS;
}

extern "C" cudaError_t kv_bounds(cudaStream_t s, void *bounds, const struct kv_attn_args *a,
                                 uint32_t lists, uint32_t longest)
{
    const uint32_t pages = div_ceil_u32(longest, a->shape.block_size);

    if (!is_computed(a) || pages > 65535)
        return cudaErrorInvalidValue;
    if (lists == 0 || pages == 0)
        return cudaSuccess;
    bounds_kernel<<<dim3(lists, pages), a->shape.head_dim, 0, s>>>(*a, (bf16 *)bounds);
    return cudaGetLastError();
}

/* ---- ranks ---- */

__device__ static uint32_t part_of(uint32_t pair, bool negative)
{
    const __nv_bfloat162 q = *reinterpret_cast<const __nv_bfloat162 *>(&pair);
    const __nv_bfloat162 zero = __float2bfloat162_rn(0);
    const __nv_bfloat162 part = negative ? __hmin2(q, zero) : __hmax2(q, zero);

    return *reinterpret_cast<const uint32_t *>(&part);
}

/* The group's queries as A fragments: positive parts, then negative ones; zeros below. */
template <int D>
__device__ static void load_parts(uint32_t q[D / 8][4], const bf16 *from, uint32_t group)
{
    const uint32_t lane = threadIdx.x % 32;

#pragma unroll
    for (int i = 0; i < D / 8; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const uint32_t row = lane / 4 + j % 2 * 8;
            const uint32_t column = i % (D / 16) / 2 * 32 + lane % 4 * 8 + i % 2 * 4 + j / 2 * 2;
            const uint32_t pair = row < group ? *(const uint32_t *)(from + row * D + column) : 0;

            q[i][j] = part_of(pair, i >= D / 16);
        }
}

template <int D>
__global__ void __launch_bounds__(RANK_WARPS * 32)
    rank_kernel(const __grid_constant__ kv_attn_args a, const bf16 *bounds, float *rank)
{
    const kv_list list = a.list[blockIdx.x];
    const uint32_t lane = threadIdx.x % 32, group = a.shape.heads / a.shape.kv_heads;
    const uint32_t row = blockIdx.x / a.shape.kv_heads, head = blockIdx.x % a.shape.kv_heads;
    const uint32_t pages = (list.n + a.shape.block_size - 1) / a.shape.block_size;
    const uint32_t begin = (blockIdx.y * RANK_WARPS + threadIdx.x / 32) * (RANK_STEPS * RANK_PAGES);
    const uint32_t end = min(pages, begin + RANK_STEPS * RANK_PAGES);
    uint32_t q[D / 8][4];

    if (begin >= end)
        return;
    load_parts<D>(q, (const bf16 *)a.q + (size_t)row * a.q_stride + head * group * D, group);
    for (uint32_t first = begin; first < end; first += RANK_PAGES) {
        const uint32_t page = a.page[list.table + min(first + lane / 4, end - 1)];
        const uint4 *from = (const uint4 *)(bounds + (size_t)page * 2 * D) + lane % 4;
        uint4 b[D / 16];
        float c[4] = {};

#pragma unroll
        for (int i = 0; i < D / 16; i++)
            b[i] = from[i * 4];
#pragma unroll
        for (int i = 0; i < D / 16; i++) {
            multiply_add(c, q[2 * i], b[i].x, b[i].y);
            multiply_add(c, q[2 * i + 1], b[i].z, b[i].w);
        }
#pragma unroll
        for (int i = 0; i < 2; i++) {
            float v = lane / 4 < group ? c[i] : -INFINITY;

            if (lane / 4 + 8 < group)
                v = fmaxf(v, c[i + 2]);
            for (int lanes = 4; lanes < 32; lanes *= 2)
                v = fmaxf(v, __shfl_xor_sync(0xffffffff, v, lanes));
            if (lane < 4 && first + lane * 2 + i < end)
                rank[list.table + first + lane * 2 + i] = v;
        }
    }
}

extern "C" cudaError_t kv_rank(cudaStream_t s, float *rank, const struct kv_attn_args *a,
                               const void *bounds, uint32_t lists, uint32_t longest)
{
    const uint32_t pages = div_ceil_u32(longest, a->shape.block_size);
    const dim3 grid(lists, div_ceil_u32(pages, RANK_WARPS * RANK_STEPS * RANK_PAGES));

    if (!is_computed(a) || grid.y > 65535)
        return cudaErrorInvalidValue;
    if (lists == 0 || pages == 0)
        return cudaSuccess;
    if (a->shape.head_dim == 64)
        rank_kernel<64><<<grid, RANK_WARPS * 32, 0, s>>>(*a, (const bf16 *)bounds, rank);
    else
        rank_kernel<128><<<grid, RANK_WARPS * 32, 0, s>>>(*a, (const bf16 *)bounds, rank);
    return cudaGetLastError();
}

/* ---- the highest ranks ---- */

/* Bits that are ordered as the numbers are. */
__device__ static uint32_t ordered(float x)
{
    const uint32_t bits = __float_as_uint(x);

    return bits ^ (bits >> 31 ? 0xffffffff : 0x80000000);
}

/* What is left to find: the `want`th largest of the keys that begin as `prefix` does. */
struct search {
    uint32_t prefix, want;
};

/* Warp 0: the bin that the `want`th largest is in, from the highest down; 8 bins a lane. */
__device__ static void choose_bin(search *found, const uint32_t *bin, uint32_t shift)
{
    const uint32_t lane = threadIdx.x, want = found->want;
    uint32_t sum = 0, through;

    for (uint32_t i = 0; i < 8; i++)
        sum += bin[BINS - 1 - (lane * 8 + i)];
    through = sum;
    for (uint32_t lanes = 1; lanes < 32; lanes *= 2) {
        const uint32_t v = __shfl_up_sync(0xffffffff, through, lanes);

        through += lane >= lanes ? v : 0;
    }
    __syncwarp();
    if (through - sum >= want || through < want)
        return;
    uint32_t above = through - sum, at = BINS - 1 - lane * 8;
    while (above + bin[at] < want)
        above += bin[at--];
    found->want = want - above;
    found->prefix |= at << shift;
}

/* The want-th largest of n keys, and how many equal to it are among the `want` largest. */
__device__ static search find_threshold(const float *rank, uint32_t n, uint32_t want)
{
    __shared__ uint32_t bin[BINS];
    __shared__ search found;

    if (threadIdx.x == 0)
        found = {0, want};
    for (int shift = 24; shift >= 0; shift -= 8) {
        const uint32_t known = shift == 24 ? 0 : 0xffffffff << (shift + 8);

        for (uint32_t i = threadIdx.x; i < BINS; i += PICK_THREADS)
            bin[i] = 0;
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < n; i += PICK_THREADS) {
            const uint32_t key = ordered(rank[i]);

            if (((key ^ found.prefix) & known) == 0)
                atomicAdd(&bin[key >> shift & (BINS - 1)], 1);
        }
        __syncthreads();
        if (threadIdx.x < 32)
            choose_bin(&found, bin, shift);
        __syncthreads();
    }
    return found;
}

/* Pages above the threshold, and the first `found.want` that equal it, in order. */
__device__ static void write_picked(uint32_t *picked, const uint32_t *page, const float *rank,
                                    uint32_t n, search found)
{
    __shared__ uint32_t above[PICK_THREADS / 32], equal[PICK_THREADS / 32];
    const uint32_t warp = threadIdx.x / 32, before = (1u << threadIdx.x % 32) - 1;
    uint32_t n_above = 0, n_equal = 0; /* of the pages before this round's */

    for (uint32_t first = 0; first < n; first += PICK_THREADS) {
        const uint32_t i = first + threadIdx.x, key = i < n ? ordered(rank[i]) : 0;
        const bool is_above = i < n && key > found.prefix, is_equal = i < n && key == found.prefix;
        const uint32_t above_mask = __ballot_sync(0xffffffff, is_above);
        const uint32_t equal_mask = __ballot_sync(0xffffffff, is_equal);
        uint32_t a = n_above + __popc(above_mask & before);
        uint32_t e = n_equal + __popc(equal_mask & before);

        above[warp] = __popc(above_mask);
        equal[warp] = __popc(equal_mask);
        __syncthreads();
        for (uint32_t w = 0; w < PICK_THREADS / 32; w++) {
            a += w < warp ? above[w] : 0;
            e += w < warp ? equal[w] : 0;
            n_above += above[w];
            n_equal += equal[w];
        }
        if (is_above || (is_equal && e < found.want))
            picked[a + min(e, found.want)] = page[i];
        __syncthreads();
    }
}

/* One block for a list. */
__global__ void __launch_bounds__(PICK_THREADS)
    pick_kernel(const __grid_constant__ kv_attn_args a, const float *rank, uint32_t *picked,
                uint32_t keep)
{
    const kv_list list = a.list[blockIdx.x];
    const uint32_t pages = (list.n + a.shape.block_size - 1) / a.shape.block_size;
    const uint32_t *page = a.page + list.table;

    picked += (size_t)blockIdx.x * keep;
    if (pages <= keep) {
        for (uint32_t i = threadIdx.x; i < pages; i += PICK_THREADS)
            picked[i] = page[i];
        return;
    }
    if (keep > 1)
        write_picked(picked, page, rank + list.table, pages - 1,
                     find_threshold(rank + list.table, pages - 1, keep - 1));
    if (threadIdx.x == 0)
        picked[keep - 1] = page[pages - 1];
}

extern "C" cudaError_t kv_pick(cudaStream_t s, uint32_t *picked, const struct kv_attn_args *a,
                               const float *rank, uint32_t lists, uint32_t keep)
{
    if (keep == 0)
        return cudaErrorInvalidValue;
    if (lists == 0)
        return cudaSuccess;
    pick_kernel<<<lists, PICK_THREADS, 0, s>>>(*a, rank, picked, keep);
    return cudaGetLastError();
}
