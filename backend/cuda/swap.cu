/* swap.cu: KV blocks to pinned host memory and back, by a kernel that reads or writes the host's
 * memory itself. A block's layers lie far apart on the device; one launch gathers 256 blocks, where
 * copies by the driver would take a call a block and layer. Few blocks of threads: the forward
 * passes beside it keep nearly all of the GPU, and PCIe is full long before. */
#include "backend/cuda/common.cuh"

#define THREADS 512
#define BLOCKS 16
#define AT_ONCE 4 /* 16-byte words a thread has under way */

__global__ void __launch_bounds__(THREADS)
    copy_kernel(uint4 *kv, uint4 *host, const __grid_constant__ struct block_pairs pairs,
                bool to_host, uint32_t layers, uint64_t n_blocks, uint64_t layer_words)
{
    const uint64_t total = (uint64_t)pairs.n * layers * layer_words;
    const uint64_t stride = (uint64_t)BLOCKS * THREADS;

    for (uint64_t first = (uint64_t)blockIdx.x * THREADS + threadIdx.x; first < total;
         first += AT_ONCE * stride) {
        uint4 *to[AT_ONCE];
        uint4 word[AT_ONCE];

#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            const uint64_t i = first + k * stride;
            if (i >= total)
                break;
            const uint32_t pair = (uint32_t)(i / (layers * layer_words));
            const uint64_t in_block = i % (layers * layer_words);
            const uint64_t layer = in_block / layer_words, in_layer = in_block % layer_words;
            uint4 *near = kv + (layer * n_blocks + pairs.device[pair]) * layer_words + in_layer;
            uint4 *far = host + (uint64_t)pairs.host[pair] * layers * layer_words + in_block;
            word[k] = to_host ? *near : *far;
            to[k] = to_host ? far : near;
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            if (first + k * stride >= total)
                break;
            *to[k] = word[k];
        }
    }
}

extern "C" cudaError_t copy_blocks(cudaStream_t s, enum copy_direction direction, void *kv,
                                   void *host, const struct block_pairs *pairs, uint32_t layers,
                                   uint64_t n_blocks, uint64_t layer_bytes)
{
    if (pairs->n > COPY_BLOCKS || layer_bytes % sizeof(uint4) != 0)
        return cudaErrorInvalidValue;
    copy_kernel<<<BLOCKS, THREADS, 0, s>>>((uint4 *)kv, (uint4 *)host, *pairs,
                                           direction == COPY_TO_HOST, layers, n_blocks,
                                           layer_bytes / sizeof(uint4));
    return cudaGetLastError();
}
