/* kernels.h: launchers of the GPU kernels. Each enqueues on a stream and returns at once, with the
 * launch's cudaError_t; sizes that a kernel cannot compute give cudaErrorInvalidValue. Pointers are
 * the device's. Activations, weights and KV are of one element type in a run (`enum elem`); the
 * residual stream and the logits are float32 always, sums are float32 everywhere. Rows are tokens.
 *
 * KV of one layer: rows of head_dim elements; row ((block * 2 + which) * kv_heads + head) *
 * block_size + offset holds K (which = 0) or V (1) of a token. */
#ifndef BACKEND_CUDA_KERNELS_H
#define BACKEND_CUDA_KERNELS_H

#include <cuda_runtime_api.h>

#include "backend/cuda/plan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum elem { ELEM_F32, ELEM_BF16 };

struct attn_shape {
    uint32_t heads, kv_heads, head_dim, block_size;
};

/* ---- weights ---- */

/* Elements 0 .. n of random tensor `tensor` (backend/model/random_weights.h). */
cudaError_t draw_weights(cudaStream_t s, enum elem elem, void *out, uint64_t n, uint64_t seed,
                         uint32_t tensor, uint32_t cols, bool norm);
cudaError_t convert_weights(cudaStream_t s, enum elem elem, void *out, enum elem from,
                            const void *in, uint64_t n);

/* ---- everything but matrix products and attention ---- */

/* x[row] = table[token[row]] */
cudaError_t embed(cudaStream_t s, enum elem elem, float *x, const void *table,
                  const uint32_t *token, uint32_t rows, uint32_t hidden);
/* out[i] = x[row[i]] / rms(x[row[i]]) * weight; row NULL: row i. */
cudaError_t rmsnorm(cudaStream_t s, enum elem elem, void *out, const float *x, const void *weight,
                    const uint32_t *row, uint32_t rows, uint32_t hidden, float eps);
/* (cosine, sine) of position * frequency[i] for every pair i: [positions][head_dim / 2]. */
cudaError_t rope_table(cudaStream_t s, float2 *table, const double *frequency, uint32_t positions,
                       uint32_t pairs);
/* Turns q by its position, k likewise into the KV, and copies v there. They are float32 before, so
 * that each is rounded to the element type once. qkv: [rows][(heads + 2 kv_heads) * head_dim];
 * q: [rows][heads * head_dim]. */
cudaError_t rope_append(cudaStream_t s, enum elem elem, void *q, void *kv, const float *qkv,
                        const float2 *table, const uint32_t *position, const uint32_t *slot,
                        uint32_t rows, struct attn_shape shape);
/* out[row][i] = silu(gate_up[row][i]) * gate_up[row][intermediate + i] */
cudaError_t swiglu(cudaStream_t s, enum elem elem, void *out, const void *gate_up, uint32_t rows,
                   uint32_t intermediate);
/* The first largest logit of each row. */
cudaError_t argmax(cudaStream_t s, uint32_t *out, const float *logits, uint32_t rows,
                   uint32_t vocab);
/* Copies n <= COPY_BLOCKS blocks between the KV of all layers and the host's, whose blocks hold
 * their layers one after another: layer_bytes each. */
#define COPY_BLOCKS 256
struct block_pairs {
    uint32_t n, device[COPY_BLOCKS], host[COPY_BLOCKS];
};
cudaError_t copy_blocks(cudaStream_t s, enum copy_direction direction, void *kv, void *host,
                        const struct block_pairs *pairs, uint32_t layers, uint64_t n_blocks,
                        uint64_t layer_bytes);

/* ---- attention: causal, over paged KV that holds the pass's own tokens already ---- */

struct attn_args {
    const void *q; /* [rows][q_stride], heads first */
    void *out;     /* [rows][heads * head_dim] */
    const void *kv;
    uint32_t q_stride;
    struct attn_shape shape;
    struct plan plan; /* on the device */
};

/* Any rows, one at a time: float32 only. */
cudaError_t attn_rows(cudaStream_t s, const struct attn_args *a, uint32_t rows);
/* Prefill tiles and decode pieces, on tensor cores: bf16 only, head_dim 64 or 128, at most 16
 * query heads for each of K and V. Decodes leave a partial result a piece: sums of weighted V
 * [pieces][heads][head_dim] and (largest score, sum of weights) [pieces][heads]. */
cudaError_t attn_prefill(cudaStream_t s, const struct attn_args *a, uint32_t tiles);
cudaError_t attn_decode(cudaStream_t s, const struct attn_args *a, uint32_t pieces, float *partial,
                        float2 *weight);
cudaError_t attn_combine(cudaStream_t s, const struct attn_args *a, uint32_t decodes,
                         const float *partial, const float2 *weight);

/* ---- decode attention under KV policies: each KV head of a sequence reads tokens of its own ----
 *
 * Pages are of one layer and KV head, in rows of head_dim elements: row
 * (page * 2 + which) * block_size + offset holds K (which = 0) or V (1) of a token. Lists are in
 * order of row, then KV head; tokens may be in any order. bf16 only, head_dim 64 or 128, at most 16
 * query heads for each of K and V.
 */

struct kv_attn_args {
    const void *q; /* [rows][q_stride], heads first */
    void *out;     /* [rows][heads * head_dim] */
    const void *kv;
    uint32_t q_stride;
    struct attn_shape shape;
    const struct kv_list *list;       /* [rows * kv_heads] */
    const uint32_t *page;             /* table that the pieces' pages are in */
    const struct decode_piece *piece; /* plan_lists */
    const uint32_t *piece_start;      /* [rows * kv_heads + 1] */
    float *partial;                   /* [pieces][group][head_dim] */
    float2 *weight;                   /* [pieces][group] */
    /* NULL, or what kv_attn_mass needs: scores by token and query head, of all lists' tokens,
     * rounded up to PLAN_PIECE_STEP each: [slot / 16][group][16]. */
    float *score;
};

/* StreamingLLM, DuoAttention, H2O and full differ in the lists only. */
cudaError_t kv_attn_decode(cudaStream_t s, const struct kv_attn_args *a, uint32_t pieces);
cudaError_t kv_attn_combine(cudaStream_t s, const struct kv_attn_args *a, uint32_t rows);
/* H2O: adds to mass[slot] the attention that the decode paid the token, over the group's heads. */
cudaError_t kv_attn_mass(cudaStream_t s, const struct kv_attn_args *a, uint32_t pieces,
                         float *mass);

/* Quest. Bounds: [page][2][head_dim]: the largest of each channel of K, then the least. */
cudaError_t kv_bounds(cudaStream_t s, void *bounds, const struct kv_attn_args *a, uint32_t lists,
                      uint32_t longest);
/* rank[i], for page i of the page table: no product of a query of the group with a key of the page
 * is larger. `longest`: tokens of the longest list. */
cudaError_t kv_rank(cudaStream_t s, float *rank, const struct kv_attn_args *a, const void *bounds,
                    uint32_t lists, uint32_t longest);
/* picked[list * keep + i]: the pages of the keep - 1 highest ranks, ties to the first, in order,
 * then the list's last page; all pages of a list that has no more. */
cudaError_t kv_pick(cudaStream_t s, uint32_t *picked, const struct kv_attn_args *a,
                    const float *rank, uint32_t lists, uint32_t keep);

#ifdef __cplusplus
}
#endif

#endif
