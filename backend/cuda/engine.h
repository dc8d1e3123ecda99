/* engine.h: the CUDA device's insides. One GPU, one stream for forward passes and one for copies to
 * and from the host; one allocation of device memory, taken at open and carved by offsets; tensor
 * parallel of 1.
 *
 * KV: [layer][block][K, V][kv_head][block_size][head_dim]; on the host [block][layer][...]. */
#ifndef BACKEND_CUDA_ENGINE_H
#define BACKEND_CUDA_ENGINE_H

#include "backend/cuda/blas.h"

#define ENGINE_COPIES 64  /* copies under way at once */
#define ENGINE_GRAPHS 128 /* padded batch sizes at most */

struct layer_weights {
    void *attn_norm, *qkv, *o, *ffn_norm, *gate_up, *down; /* q, k, v and gate, up in one each */
};

struct engine {
    struct arch arch;
    enum elem elem;
    size_t elem_bytes;
    uint32_t n_blocks, n_host_blocks, max_context, max_seqs;
    struct plan_limits limits;
    struct cudaDeviceProp gpu;

    cudaStream_t stream, copy_stream;
    cudaEvent_t started, ended, copied[ENGINE_COPIES];
    uint64_t copies, copies_done;
    struct blas blas;

    /* The device's memory: `memory` is the allocation, the rest lies within. */
    void *memory;
    size_t memory_bytes, scratch_bytes;
    struct layer_weights *layer; /* [layers], on the host */
    void *embedding, *final_norm, *head;
    char *kv;
    void *normed;          /* [rows][hidden] */
    float *x;              /* residual stream [rows][hidden] */
    float *qkv;            /* before RoPE [rows][(heads + 2 kv_heads) * head_dim] */
    void *q, *attended;    /* [rows][heads * head_dim] */
    void *gate_up, *gated; /* [rows][2 * intermediate], [rows][intermediate] */
    float *logits;         /* [max_seqs][vocab] */
    uint32_t *next;        /* [max_seqs] */
    float *partial;        /* of decode pieces */
    float2 *partial_weight;
    float2 *rope; /* [max_context][head_dim / 2] */
    void *scratch;
    struct plan plan;

    struct plan host_plan; /* pinned */
    void *plan_buffer;
    size_t plan_bytes;
    uint32_t *host_next; /* pinned, [max_seqs] */
    void *host_kv;       /* pinned */

    uint32_t n_graphs;
    uint32_t graph_rows[ENGINE_GRAPHS];
    cudaGraphExec_t graph[ENGINE_GRAPHS];
};

/* True, or an error that says what failed at `doing`. */
bool cuda_ok(cudaError_t rc, const char *doing, struct err *e) NODISCARD;

/* open.c; `graphs`: decode steps are captured, as they should be but for tests. */
struct engine *engine_open(const struct device_config *c, bool graphs, struct err *e) NODISCARD;
void engine_close(struct engine *g);
/* How many pieces of decode contexts fill a GPU (plan.h). */
uint32_t engine_target_pieces(const struct cudaDeviceProp *gpu, uint32_t kv_heads);
uint64_t engine_layer_block_bytes(const struct engine *g);
char *engine_layer_kv(const struct engine *g, uint32_t layer);

/* load.c */
bool engine_load(struct engine *g, const struct weights *w, struct err *e) NODISCARD;

/* forward.c */
bool engine_capture(struct engine *g, struct err *e) NODISCARD;
bool engine_forward(struct engine *g, const struct forward *f, struct forward_result *r,
                    struct err *e) NODISCARD;

/* warm.c: at open, products before the first pass and the prompt after graphs are captured. */
bool engine_warm_products(struct engine *g, struct err *e) NODISCARD;
bool engine_warm_prompt(struct engine *g, struct err *e) NODISCARD;

/* copies.c */
bool engine_copy(struct engine *g, enum copy_direction direction, const uint32_t *block,
                 const uint32_t *host, uint32_t n, uint64_t *ticket, struct err *e) NODISCARD;
bool engine_copies_done(struct engine *g, uint64_t seen, bool wait, uint64_t *done,
                        struct err *e) NODISCARD;

#endif
