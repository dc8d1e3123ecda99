/* model.h: what a model and a GPU are, as far as cost and capacity go. Filled by the composition
 * root from JSON (backend/describe.c); every number's source is kept with the file. */
#ifndef SIM_MODEL_H
#define SIM_MODEL_H

#include "sim/base.h"

/* Llama 3.1's stretching of low RoPE frequencies; factor 0: none. */
struct rope_scaling {
    double factor, low_freq_factor, high_freq_factor;
    uint32_t original_max_position;
};

struct model_desc {
    char id[64];
    uint32_t layers, hidden, heads, kv_heads, head_dim, intermediate, vocab;
    uint32_t max_model_len;
    bool tied_embeddings, qk_norm;
    uint32_t experts, experts_per_token, moe_intermediate; /* 0: dense */
    double weight_bytes_per_param;                         /* 2 = bf16 */
    double kv_bytes_per_elem;
    /* What the real engines compute with; rope_theta 0: no plain LLaMA decoder, which is all they
     * can run. Cost and capacity do not depend on these. */
    double rms_norm_eps, rope_theta;
    struct rope_scaling rope;
};

struct gpu_desc {
    char id[64];
    double memory_bytes;
    double hbm_bytes_per_s;       /* peak */
    double hbm_efficiency;        /* reached share of it, large copies or decode attention */
    double gemm_hbm_efficiency;   /* reached share of it, reading weights for few tokens */
    double flops_per_s;           /* dense peak at the run's dtype */
    double flops_efficiency;      /* reached share, large GEMM */
    double attn_flops_efficiency; /* reached share, prefill attention */
    double half_tokens;           /* tokens at which a GEMM reaches half of flops_efficiency */
    double kernel_ramp_ns;        /* device time of a GEMM however small: filling, draining */
    double kernel_launch_ns;      /* per kernel outside a graph */
    double graph_node_ns;         /* per kernel inside a CUDA graph */
    double pcie_bytes_per_s, pcie_latency_ns;
    double link_bytes_per_s, link_latency_ns; /* between GPUs of one host */
    double reserved_bytes;                    /* context, libraries, graphs: not usable for KV */
};

uint64_t model_params(const struct model_desc *m);        /* weights, embeddings included */
uint64_t model_active_params(const struct model_desc *m); /* that a token passes through */
/* Work of a (token, earlier token) pair in attention over that of a token in all else. */
double model_pair_cost(const struct model_desc *m);
/* Bytes of K and V of one token over all layers on one GPU of `tp`. */
uint64_t model_kv_bytes_per_token(const struct model_desc *m, uint32_t tp);

#endif
