/* attn_decode.cuh: decode attention of a block of threads to a piece of a list of tokens, for one
 * KV head: bound by reading K and V once. It serves all query heads of the KV head's group, which
 * are the rows of a 16-row tensor-core tile (its rest is padding: the cores have time).
 *
 * Every warp takes 16 tokens of every 64, with copies under way of its own and an online softmax of
 * its own, so that the loop has no barrier; the four are merged at the end. */
#ifndef BACKEND_CUDA_ATTN_DECODE_CUH
#define BACKEND_CUDA_ATTN_DECODE_CUH

#include "backend/cuda/mma.cuh"

#define WARPS 4
#define STAGES 3
#define TILE 16 /* tokens a warp takes at once; also the most query heads of a KV head */

template <int D> struct warp_tiles {
    bf16 k[STAGES][TILE * D], v[STAGES][TILE * D];
};

/* Running softmax of a warp: of accumulator rows lane / 4 and lane / 4 + 8. */
template <int D> struct softmax {
    float max[2], sum[2], out[D / 8][4];
};

/* Where a piece's tokens lie: `head` of the heads that a block of `paged` holds. */
struct cache {
    const bf16 *kv;
    const uint32_t *table; /* the blocks of the list that the piece is cut from */
    uint32_t head;
    attn_shape paged;
};

/* KV row of K of this lane's token of a tile (lane % 16), or PLAN_NONE past the end. */
__device__ static uint32_t find_row(const cache &c, uint32_t tile, uint32_t end)
{
    const uint32_t t = tile + threadIdx.x % TILE, size = c.paged.block_size;

    if (t >= end)
        return PLAN_NONE;
    return kv_row(c.table[t / size], t % size, 0, c.head, c.paged);
}

/* Starts copying a tile of K and V, whose rows the lanes hold. */
template <int D>
__device__ static void fetch(const cache &cached, uint32_t row, uint32_t k, uint32_t v)
{
    const uint32_t lane = threadIdx.x % 32,
                   v_rows = cached.paged.kv_heads * cached.paged.block_size;

#pragma unroll
    for (uint32_t i = 0; i < TILE * D / CHUNK / 32; i++) {
        const uint32_t id = i * 32 + lane, r = id / (D / CHUNK), c = id % (D / CHUNK);
        const uint32_t from = __shfl_sync(0xffffffff, row, r);
        const bool valid = from != PLAN_NONE;
        const bf16 *p = cached.kv + (size_t)(valid ? from : 0) * D + c * CHUNK;

        copy_async(k + tile_offset<D>(r, c), p, valid);
        copy_async(v + tile_offset<D>(r, c), p + (valid ? (size_t)v_rows * D : 0), valid);
    }
}

/* The query heads of a KV head as the rows of A fragments; zeros below. */
template <int D>
__device__ static void load_queries(uint32_t q[D / 16][4], const bf16 *from, uint32_t group)
{
    const uint32_t lane = threadIdx.x % 32;

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const uint32_t row = lane / 4 + i % 2 * 8, column = kk * 16 + lane % 4 * 2 + i / 2 * 8;
            q[kk][i] = row < group ? *(const uint32_t *)(from + row * D + column) : 0;
        }
}

/* Scores of a tile in `s`, then their weights: 2 to the power of score minus largest. */
template <int D>
__device__ static void weigh(float s[2][4], softmax<D> *st, float scale, uint32_t left)
{
    const uint32_t column = threadIdx.x % 4 * 2;
    float keep[2];

#pragma unroll
    for (int i = 0; i < 8; i++)
        if (i / 4 * 8 + column + i % 2 >= left)
            s[i / 4][i % 4] = -INFINITY;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const float here =
            fmaxf(fmaxf(s[0][2 * h], s[0][2 * h + 1]), fmaxf(s[1][2 * h], s[1][2 * h + 1]));
        const float larger = fmaxf(st->max[h], row_max(here) * scale);
        keep[h] = exp2_fast(st->max[h] - larger);
        st->max[h] = larger;
        float sum = 0;
#pragma unroll
        for (int n = 0; n < 2; n++)
#pragma unroll
            for (int e = 2 * h; e < 2 * h + 2; e++) {
                s[n][e] = exp2_fast(s[n][e] * scale - larger);
                sum += s[n][e];
            }
        st->sum[h] = st->sum[h] * keep[h] + sum;
    }
    if (__any_sync(0xffffffff, keep[0] != 1 || keep[1] != 1)) {
#pragma unroll
        for (int n = 0; n < D / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                st->out[n][e] *= keep[e / 2];
    }
}

/* Scores of a tile, [group][TILE]: powers of two. Those past the end are of zeros. */
__device__ static void keep_scores(float *to, const float s[2][4], float scale, uint32_t group)
{
    const uint32_t row = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;

#pragma unroll
    for (int i = 0; i < 4; i++)
        if (row + i % 2 * 8 < group)
            *(float2 *)(to + (row + i % 2 * 8) * TILE + i / 2 * 8 + column) =
                make_float2(s[i / 2][i % 2 * 2] * scale, s[i / 2][i % 2 * 2 + 1] * scale);
}

/* What a piece is attended with: its query heads, the first of them at q, and where its list's
 * scores go if SCORES. */
struct asking {
    const bf16 *q;
    uint32_t group;
    float scale, *score;
};

template <int D, bool SCORES>
__device__ static void attend(softmax<D> *st, const uint32_t q[D / 16][4], uint32_t k, uint32_t v,
                              const asking &ask, uint32_t tile, uint32_t end)
{
    const uint32_t lane = threadIdx.x % 32;
    float s[2][4] = {};
    uint32_t b[4];

#pragma unroll
    for (int kk = 0; kk < D / 16; kk++) {
        load_fragments(b, k + tile_offset<D>(lane % 8 + lane / 16 * 8, kk * 2 + lane / 8 % 2));
        multiply_add(s[0], q[kk], b[0], b[1]);
        multiply_add(s[1], q[kk], b[2], b[3]);
    }
    if (SCORES)
        keep_scores(ask.score + (size_t)tile * ask.group, s, ask.scale, ask.group);
    weigh<D>(s, st, ask.scale, end - tile);
    const uint32_t p[4] = {pack_bf16(s[0][0], s[0][1]), pack_bf16(s[0][2], s[0][3]),
                           pack_bf16(s[1][0], s[1][1]), pack_bf16(s[1][2], s[1][3])};
#pragma unroll
    for (int n = 0; n < D / 16; n++) {
        load_transposed(b, v + tile_offset<D>(lane % 16, n * 2 + lane / 16));
        multiply_add(st->out[2 * n], p, b[0], b[1]);
        multiply_add(st->out[2 * n + 1], p, b[2], b[3]);
    }
}

/* The warps' results into one, through shared memory: `mine` is the warp's own part of it. */
template <int D>
__device__ static void merge(const softmax<D> &st, float *mine, const float *first,
                             size_t warp_floats, float *partial, float2 *weight, uint32_t group)
{
    __shared__ float maxes[WARPS][TILE], sums[WARPS][TILE];
    const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;

#pragma unroll
    for (int h = 0; h < 2; h++) {
        const uint32_t row = lane / 4 + h * 8;
        const float sum = row_sum(st.sum[h]);
        if (lane % 4 == 0) {
            maxes[warp][row] = st.max[h];
            sums[warp][row] = sum;
        }
#pragma unroll
        for (int n = 0; n < D / 8; n++)
            *(float2 *)(mine + row * D + n * 8 + lane % 4 * 2) =
                make_float2(st.out[n][2 * h], st.out[n][2 * h + 1]);
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < group * D; i += WARPS * 32) {
        const uint32_t row = i / D;
        const float max =
            fmaxf(fmaxf(maxes[0][row], maxes[1][row]), fmaxf(maxes[2][row], maxes[3][row]));
        float sum = 0, value = 0;
        for (int w = 0; w < WARPS; w++) {
            const float factor = exp2_fast(maxes[w][row] - max);
            sum += factor * sums[w][row];
            value += factor * first[w * warp_floats + i];
        }
        partial[i] = value;
        if (i % D == 0)
            weight[row] = make_float2(max, sum);
    }
}

/* Attention of a block of threads to tokens [begin, end) of a list: into partial [group][D] and
 * weight [group]. `shared`: WARPS warp_tiles. */
template <int D, bool SCORES>
__device__ static void attend_piece(char *shared, const cache &cached, const asking &ask,
                                    uint32_t begin, uint32_t end, float *partial, float2 *weight)
{
    warp_tiles<D> *tiles = (warp_tiles<D> *)shared + threadIdx.x / 32;
    const uint32_t k = shared_address(tiles->k), v = shared_address(tiles->v);
    const uint32_t tile_bytes = TILE * D * sizeof(bf16);
    uint32_t tile = begin + threadIdx.x / 32 * TILE, ahead = tile; /* computed and fetched next */
    uint32_t row = find_row(cached, ahead, end), stage = 0, q[D / 16][4];
    softmax<D> st = {{-INFINITY, -INFINITY}, {}, {}};

    for (int i = 0; i < STAGES - 1; i++) {
        if (ahead < end)
            fetch<D>(cached, row, k + i * tile_bytes, v + i * tile_bytes);
        copy_commit();
        ahead += WARPS * TILE;
        row = find_row(cached, ahead, end);
    }
    load_queries<D>(q, ask.q, ask.group);
    for (; tile < end; tile += WARPS * TILE) {
        const uint32_t freed = stage == 0 ? STAGES - 1 : stage - 1;

        copy_wait<STAGES - 2>();
        __syncwarp();
        if (ahead < end)
            fetch<D>(cached, row, k + freed * tile_bytes, v + freed * tile_bytes);
        copy_commit();
        ahead += WARPS * TILE;
        row = find_row(cached, ahead, end);
        attend<D, SCORES>(&st, q, k + stage * tile_bytes, v + stage * tile_bytes, ask, tile, end);
        stage = stage == STAGES - 1 ? 0 : stage + 1;
    }
    copy_wait<0>();
    __syncwarp();
    merge<D>(st, (float *)tiles, (float *)shared, sizeof(*tiles) / sizeof(float), partial, weight,
             ask.group);
}

/* Element threadIdx.x of a query head's output, of its pieces [begin, end). `head` of the `heads`
 * whose partial results a piece has. */
__device__ static inline float combined(uint32_t begin, uint32_t end, uint32_t head, uint32_t heads,
                                        const float *partial, const float2 *weight)
{
    float max = -INFINITY, sum = 0, value = 0;

    for (uint32_t i = begin; i < end; i++)
        max = fmaxf(max, weight[(size_t)i * heads + head].x);
#pragma unroll 4
    for (uint32_t i = begin; i < end; i++) {
        const size_t at = (size_t)i * heads + head;
        const float2 w = weight[at];
        const float factor = exp2_fast(w.x - max);
        sum += factor * w.y;
        value += factor * partial[at * blockDim.x + threadIdx.x];
    }
    return value / sum;
}

#endif
