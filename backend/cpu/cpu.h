/* cpu.h: the CPU engine inside: the device's state, and its operators in float32 and float64. The
 * operators are written once for REAL (backend/cpu/ops) and compiled twice (f32.c, f64.c): the
 * double ones are the truth that every other engine is held against.
 *
 * What must hold, and makes the results bit-equal whatever the number of threads, the chunking of a
 * prompt, the size of blocks and what else is in the batch: a value is computed from its inputs in
 * one fixed order, which depends on the sizes of the model and the position of the token alone. */
#ifndef BACKEND_CPU_CPU_H
#define BACKEND_CPU_CPU_H

#include "backend/cpu/kv_store.h"
#include "backend/cpu/pool.h"
#include "backend/device.h"

/* KV blocks: [block][layer][K, V][kv_head][block_size][head_dim]. */
struct kv_layout {
    uint32_t block_size, kv_heads, head_dim, layers;
};

static inline size_t kv_head_elems(const struct kv_layout *l)
{
    return (size_t)l->block_size * l->head_dim;
}

static inline size_t kv_block_elems(const struct kv_layout *l)
{
    return 2 * (size_t)l->layers * l->kv_heads * kv_head_elems(l);
}

enum kv_part { KV_KEYS, KV_VALUES };

/* Where, in elements, the tokens of one layer, part and head lie in a block. */
static inline size_t kv_offset(const struct kv_layout *l, uint32_t block, uint32_t layer,
                               enum kv_part part, uint32_t kv_head)
{
    return kv_block_elems(l) * block +
           kv_head_elems(l) * ((2 * (size_t)layer + part) * l->kv_heads + kv_head);
}

/* Memory of a forward pass, in elements of the device's precision; rows are tokens. */
struct cpu_buffers {
    void *x, *normed;    /* [max_tokens][hidden] */
    void *q, *attended;  /* [max_tokens][heads * head_dim] */
    void *k, *v;         /* [max_tokens][kv_heads * head_dim] */
    void *gate, *up;     /* [max_tokens][intermediate] */
    void *cosine, *sine; /* [max_tokens][head_dim / 2] */
    void *norms;         /* [2 * layers + 1][hidden]: factors of all norms */
    void *logits;        /* [max_seqs][vocab] */
    void *scratch;       /* [threads][scratch_elems] */
    uint32_t *seq;       /* [max_tokens]: sequence of a token */
    uint32_t *position;  /* [max_tokens]: in its sequence */
    size_t scratch_elems;
};

/* Of a thread that attends to KV under a policy; sized for the places of the longest sequence. */
struct kv_scratch {
    uint32_t *all, *read, *order; /* places */
    void *p, *p_full;             /* [group][places]: softmax, in the device's precision */
    void *out;                    /* [group][head_dim] */
    float *q, *rank, *mass;
    bool *kept;
};

struct cpu {
    struct device_config config;
    struct weights weights; /* random ones are drawn here; else the caller's */
    bool own_weights;
    struct pool *pool;
    struct kv_layout layout;
    size_t elem_bytes;      /* of the precision */
    double *rope_frequency; /* [head_dim / 2]: radians a position */
    void *kv, *host_kv;     /* blocks of the device and of the host */
    struct cpu_buffers buf;
    struct kv_store *store;     /* of KV under a policy; NULL: whole blocks */
    struct kv_scratch *scratch; /* [threads], for it */
    uint64_t copies;
};

/* Rows that a thread converts and multiplies at a time. */
#define MATMUL_ROWS 16u

/* One product of several that share their input: out[t][0..rows) (+)= w[rows][cols] x[t]. */
struct matrix {
    const void *w;
    uint32_t rows;
    void *out;
};

/* ---- operators; NAME(x) is x_f32 or x_f64 ---- */

/* rmsnorm: out = x / sqrt(mean(x^2) + eps) * factor, of one row of n.
 * rope: turns `heads` heads of head_dim: pairs are (i, i + head_dim / 2).
 * kv_append: stores the key and value rows of a token, [kv_heads][head_dim], in its block.
 * matmul: see struct matrix; `add` adds to out.
 * attention: softmax(q K^T / sqrt(head_dim)) V of one token and KV head over positions
 *   0..position, for its group of query heads; `scores` has room for group * (position + 1).
 * swiglu: gate = silu(gate) * up, n elements.
 * kv_store_append: as kv_append, to the places of a sequence under a policy, its i-th new token.
 * attend: of the `n` tokens from `position` on of a sequence under a policy, in one layer and KV
 *   head: q and out [n][heads * head_dim], from the head's group on; gathers the statistics.
 * norm_factors: fills buf.norms from the weights.
 * forward: device_ops.forward, of a step that was checked; `kv`: under a policy, else NULL. */
#define DECLARE_OPERATORS(REAL, NAME)                                                              \
    void NAME(rmsnorm)(REAL * out, const REAL *x, const REAL *factor, uint32_t n, double eps);     \
    void NAME(rope)(REAL * x, uint32_t heads, uint32_t head_dim, const REAL *cosine,               \
                    const REAL *sine);                                                             \
    void NAME(kv_append)(REAL * kv, const struct kv_layout *l, uint32_t layer, uint32_t block,     \
                         uint32_t slot, const REAL *k, const REAL *v);                             \
    void NAME(matmul)(struct cpu * c, const struct matrix *m, uint32_t n_matrices, const REAL *x,  \
                      uint32_t n_tokens, uint32_t cols, bool add);                                 \
    void NAME(attention)(REAL * out, const REAL *q, uint32_t group, const REAL *kv,                \
                         const struct kv_layout *l, uint32_t layer, uint32_t kv_head,              \
                         const uint32_t *table, uint32_t position, REAL *scores);                  \
    void NAME(swiglu)(REAL * gate, const REAL *up, uint32_t n);                                    \
    void NAME(kv_store_append)(struct kv_store * s, const struct kv_sequence *q, uint32_t layer,   \
                               uint32_t i, const REAL *k, const REAL *v);                          \
    void NAME(attend)(struct kv_store * s, struct kv_sequence * sequence, uint32_t layer,          \
                      uint32_t head, REAL * out, const REAL *q, uint32_t n, uint32_t position,     \
                      struct kv_scratch *scratch);                                                 \
    void NAME(forward)(struct cpu * c, const struct forward *f, const struct kv_pass *kv,          \
                       struct forward_result *r);                                                  \
    void NAME(norm_factors)(struct cpu * c);

#define NAME_F32(name) name##_f32
#define NAME_F64(name) name##_f64
DECLARE_OPERATORS(float, NAME_F32)
DECLARE_OPERATORS(double, NAME_F64)

#endif
