/* capacity.c: how many KV blocks fit, as vLLM's worker computes it (vllm/v1/worker/gpu_worker.py,
 * determine_available_memory): what gpu_memory_utilization allows, less what a profiling run of
 * the largest batch needed, over the bytes of a block, rounded down.
 *
 *   blocks = (memory * utilisation - weights - activations - collectives - reserved) / block
 *
 * weights: parameters over tp. activations: the larger of two peaks of that run,
 *   layers: max_num_batched_tokens * 2 bytes * (3 * intermediate / tp + 4 * hidden) * LAYER_COPIES
 *           (gate, up and their product; sum, residual, norm and attention output)
 *   sampler: max_num_seqs * vocab * LOGIT_BYTES.
 * collectives: NCCL buffers for tp > 1 (aiconfigurator system.yaml, misc.nccl_mem).
 * reserved: CUDA context, libraries, graphs: gpu_desc.reserved_bytes, source with the preset.
 *
 * Against measured pools (tests/unit/test_capacity.c): the step from 100 to 1000 sequences of
 * bsc-h100-vllm (10,112 tokens) within 5 %; its 334,944 tokens and vLLM pull 2031's 7,351 blocks
 * (A100, Llama-2-7B) within 1 %, but `reserved` was taken from these two; 8.69 GiB of issue 13061
 * (2 x RTX 4090, Qwen 14B), of which only `reserved` was taken, within 5 %. The RTX PRO 6000 run
 * does not record its pool. */
#include "sim/backend.h"

/* bsc-h100-vllm: pools stay at 334,944 tokens to about 280 sequences, where the sampler's peak
 * takes over: 2.1 times the sum of the buffers named above. */
#define LAYER_COPIES 2.1
/* Same runs: 14 tokens of KV less a sequence from 400 to 1000, 14.3 bytes a logit (16-bit and
 * float32 logits, 64-bit indices of the sort). */
#define LOGIT_BYTES 14.3
#define ACTIVATION_BYTES 2.0

static double activation_bytes(const struct model_desc *m, uint32_t tp, const struct limits *l)
{
    /* A token's experts are computed side by side. */
    double width =
        m->experts ? (double)m->experts_per_token * m->moe_intermediate : m->intermediate;
    double token = ACTIVATION_BYTES * (3 * width / tp + 4.0 * m->hidden);
    double layers = LAYER_COPIES * token * l->max_num_batched_tokens;
    double sampler = LOGIT_BYTES * m->vocab * l->max_num_seqs;

    return MAX(layers, sampler);
}

static double collective_bytes(uint32_t tp)
{
    if (tp == 1)
        return 0;
    return tp == 2 ? 358612992.0 : 411041792.0;
}

uint64_t backend_kv_blocks(const struct model_desc *m, const struct gpu_desc *g, uint32_t tp,
                           double gpu_memory_utilization, const struct limits *l, struct err *e)
{
    double weights = (double)model_params(m) * m->weight_bytes_per_param / tp;
    double needed = weights + activation_bytes(m, tp, l) + collective_bytes(tp) + g->reserved_bytes;
    double usable = g->memory_bytes * gpu_memory_utilization;
    double block = (double)model_kv_bytes_per_token(m, tp) * l->block_size;

    if (usable - needed < block) {
        err_set(e,
                "%s on %u x %s: weights and activations take %.1f GB of %.1f GB usable, no KV "
                "block fits; raise gpu_memory_utilization or tensor_parallel_size",
                m->id, tp, g->id, needed / 1e9, usable / 1e9);
        return 0;
    }
    return (uint64_t)((usable - needed) / block);
}
