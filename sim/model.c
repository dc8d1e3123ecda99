/* model.c: counts that follow from a model's shape. The layout is the LLaMA family's: RMSNorm
 * twice a layer, q/k/v/o projections, SwiGLU or a mixture of SwiGLU experts behind a router, one
 * final norm. Biases (Qwen2's q/k/v: under 0.01 %) are left out. */
#include "sim/model.h"

#include <math.h>

static uint64_t attention_params(const struct model_desc *m)
{
    uint64_t q_width = (uint64_t)m->heads * m->head_dim;
    uint64_t kv_width = (uint64_t)m->kv_heads * m->head_dim;
    uint64_t norms = m->qk_norm ? 2u * m->head_dim : 0;

    return m->hidden * (2 * q_width + 2 * kv_width) + norms;
}

/* `experts`: how many of them to count. */
static uint64_t mlp_params(const struct model_desc *m, uint64_t experts)
{
    uint64_t router = (uint64_t)m->hidden * m->experts;

    if (m->experts == 0)
        return UINT64_C(3) * m->hidden * m->intermediate;
    return router + experts * 3 * m->hidden * m->moe_intermediate;
}

static uint64_t params_with(const struct model_desc *m, uint64_t experts)
{
    uint64_t norms = UINT64_C(2) * m->hidden;
    uint64_t layer = attention_params(m) + mlp_params(m, experts) + norms;
    uint64_t embedding = (uint64_t)m->vocab * m->hidden;

    return m->layers * layer + embedding * (m->tied_embeddings ? 1 : 2) + m->hidden;
}

uint64_t model_params(const struct model_desc *m)
{
    return params_with(m, m->experts);
}

uint64_t model_active_params(const struct model_desc *m)
{
    return params_with(m, m->experts_per_token);
}

double model_pair_cost(const struct model_desc *m)
{
    /* A pair: a product and a sum for each element of a head, for q k and again for p v. A token:
     * the same for each weight. */
    double pair = 4.0 * m->layers * m->heads * m->head_dim;

    return pair / (2.0 * (double)model_active_params(m));
}

uint64_t model_kv_bytes_per_token(const struct model_desc *m, uint32_t tp)
{
    CHECK(tp > 0, "tensor parallel size", "tp = %u, must be >= 1", tp);
    /* With more GPUs than KV heads, each GPU keeps a whole copy of one head (as vLLM does). */
    uint64_t heads_here = div_ceil_u32(m->kv_heads, tp);
    uint64_t elems = UINT64_C(2) * m->layers * heads_here * m->head_dim;

    return (uint64_t)llround((double)elems * m->kv_bytes_per_elem);
}
