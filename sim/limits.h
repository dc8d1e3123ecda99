/* limits.h: the capacities of one replica, fixed for a run. Names are vLLM's. */
#ifndef SIM_LIMITS_H
#define SIM_LIMITS_H

#include "sim/base.h"

enum kv_admission {
    KV_ADMISSION_PAGED,    /* blocks for what remains of the prompt, or of the chunk */
    KV_ADMISSION_RESERVE,  /* blocks for prompt + max_tokens, promised at admission */
    KV_ADMISSION_LIGHTLLM, /* the peak test of LightLLM on true lengths: an oracle, as published */
};

enum prefill_mode {
    PREFILL_MIXED,    /* prompts and decodes share a step */
    PREFILL_SEPARATE, /* a step is whole new prompts only, or decodes only */
};

enum preempt_mode { PREEMPT_RECOMPUTE, PREEMPT_SWAP };

struct limits {
    uint32_t max_num_seqs;
    uint32_t max_num_batched_tokens;
    uint32_t block_size;      /* tokens */
    uint32_t max_model_len;   /* prompt + output, tokens */
    uint64_t num_gpu_blocks;  /* usable: the null block of vllm-* is already taken off */
    uint64_t units_per_block; /* page units of a full-cache block: layers x kv_heads */
    uint64_t block_bytes;     /* of a full-cache block, for swap */
    uint64_t host_blocks;     /* swap tier, 0: none */
    double pcie_bytes_per_s;  /* each direction */
    ns_t pcie_latency_ns;
    enum kv_admission kv_admission;
    enum preempt_mode preempt;
    enum prefill_mode prefill_mode;
    uint32_t admit_interval; /* steps from one admission to the next at least, >= 1 */
    bool enable_prefix_caching;
    bool scheduler_reserve_full_isl;
};

static inline uint64_t limits_kv_tokens(const struct limits *l) /* M of scheduling.md */
{
    return l->num_gpu_blocks * l->block_size;
}

#endif
