/* warm.c: what the first steps of a run would otherwise pay for: cuBLAS loads a kernel when it
 * first needs it, up to 15 ms for each of its choices, and so does CUDA with ours. Every size of
 * product that a pass may have, or one close to it, is therefore tried at open. What must hold:
 * activations are zeros before engine_warm_products, and so they stay. */
#include "backend/cuda/engine.h"

#define CLOSE 128 /* sizes that are tried differ by a part in so many, or by one row */

/* The products of a pass with so many rows: those of one layer, since all are alike. */
static bool try_products(struct engine *g, uint32_t rows, struct err *e)
{
    const struct arch *a = &g->arch;
    const struct layer_weights *w = &g->layer[0];
    uint32_t q = a->heads * a->head_dim, qkv = q + 2 * a->kv_heads * a->head_dim;
    struct blas *b = &g->blas;

    return blas_product(b, g->qkv, ELEM_F32, false, g->normed, w->qkv, rows, qkv, a->hidden, e) &&
           blas_product(b, g->x, ELEM_F32, true, g->attended, w->o, rows, a->hidden, q, e) &&
           blas_product(b, g->gate_up, g->elem, false, g->normed, w->gate_up, rows,
                        2 * a->intermediate, a->hidden, e) &&
           blas_product(b, g->x, ELEM_F32, true, g->gated, w->down, rows, a->hidden,
                        a->intermediate, e) &&
           (rows > g->max_seqs || blas_product(b, g->logits, ELEM_F32, false, g->normed, g->head,
                                               rows, a->vocab, a->hidden, e));
}

bool engine_warm_products(struct engine *g, struct err *e)
{
    for (uint32_t rows = 1; rows <= g->limits.max_rows; rows += MAX(rows / CLOSE, 1))
        if (!try_products(g, rows, e))
            return false;
    return try_products(g, g->limits.max_rows, e) &&
           cuda_ok(cudaStreamSynchronize(g->stream), "trying products", e);
}

/* A prompt in block 0, which nobody has yet, for the kernels that graphs of decodes do without. */
bool engine_warm_prompt(struct engine *g, struct err *e)
{
    const uint32_t zero = 0, start[] = {0, 1};
    const bool emits = true;
    const struct forward f = {.n_seqs = 1,
                              .n_tokens = 1,
                              .token = &zero,
                              .q_start = start,
                              .context = &zero,
                              .table_start = start,
                              .block = &zero,
                              .emits = &emits};
    uint32_t next;
    struct forward_result r = {.next_token = &next};

    return engine_forward(g, &f, &r, e);
}
