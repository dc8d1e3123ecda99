/* forward.c: a forward pass on the GPU. Passes of decodes alone are replays of CUDA graphs, one for
 * each padded batch size, captured at open: all that changes from pass to pass is in the plan. */
#include "backend/cuda/engine.h"

static bool product(struct engine *g, void *y, enum elem y_elem, const void *x, const void *w,
                    uint32_t rows, uint32_t out, uint32_t in, struct err *e)
{
    return blas_product(&g->blas, y, y_elem, false, x, w, rows, out, in, e);
}

/* Onto the residual stream, which stays float32: sums over layers are not rounded to bf16. */
static bool add_product(struct engine *g, const void *x, const void *w, uint32_t rows, uint32_t in,
                        struct err *e)
{
    return blas_product(&g->blas, g->x, ELEM_F32, true, x, w, rows, g->arch.hidden, in, e);
}

static bool norm(struct engine *g, const void *weight, const uint32_t *row, uint32_t rows,
                 struct err *e)
{
    return cuda_ok(rmsnorm(g->stream, g->elem, g->normed, g->x, weight, row, rows, g->arch.hidden,
                           (float)g->arch.rms_eps),
                   "rmsnorm", e);
}

static bool attention(struct engine *g, uint32_t layer, const struct pass *p, struct err *e)
{
    const struct arch *a = &g->arch;
    char *kv = engine_layer_kv(g, layer);
    struct attn_args args = {
        .q = g->q,
        .out = g->attended,
        .kv = kv,
        .q_stride = a->heads * a->head_dim,
        .shape = {.heads = a->heads,
                  .kv_heads = a->kv_heads,
                  .head_dim = a->head_dim,
                  .block_size = g->limits.block_size},
        .plan = g->plan,
    };

    if (!cuda_ok(rope_append(g->stream, g->elem, g->q, kv, g->qkv, g->rope, g->plan.position,
                             g->plan.slot, p->rows, args.shape),
                 "rope_append", e))
        return false;
    if (g->elem == ELEM_F32)
        return cuda_ok(attn_rows(g->stream, &args, p->rows), "attn_rows", e);
    return cuda_ok(attn_prefill(g->stream, &args, p->tiles), "attn_prefill", e) &&
           cuda_ok(attn_decode(g->stream, &args, p->pieces, g->partial, g->partial_weight),
                   "attn_decode", e) &&
           cuda_ok(attn_combine(g->stream, &args, p->decodes, g->partial, g->partial_weight),
                   "attn_combine", e);
}

static bool layer(struct engine *g, uint32_t i, const struct pass *p, struct err *e)
{
    const struct arch *a = &g->arch;
    const struct layer_weights *w = &g->layer[i];
    uint32_t q = a->heads * a->head_dim, qkv = q + 2 * a->kv_heads * a->head_dim;

    return norm(g, w->attn_norm, NULL, p->rows, e) &&
           product(g, g->qkv, ELEM_F32, g->normed, w->qkv, p->rows, qkv, a->hidden, e) &&
           attention(g, i, p, e) && add_product(g, g->attended, w->o, p->rows, q, e) &&
           norm(g, w->ffn_norm, NULL, p->rows, e) &&
           product(g, g->gate_up, g->elem, g->normed, w->gate_up, p->rows, 2 * a->intermediate,
                   a->hidden, e) &&
           cuda_ok(swiglu(g->stream, g->elem, g->gated, g->gate_up, p->rows, a->intermediate),
                   "swiglu", e) &&
           add_product(g, g->gated, w->down, p->rows, a->intermediate, e);
}

/* Everything from token numbers on the device to greedy choices on the device. */
static bool enqueue(struct engine *g, const struct pass *p, struct err *e)
{
    const struct arch *a = &g->arch;

    if (!cuda_ok(embed(g->stream, g->elem, g->x, g->embedding, g->plan.token, p->rows, a->hidden),
                 "embed", e))
        return false;
    for (uint32_t i = 0; i < a->layers; i++)
        if (!layer(g, i, p, e))
            return false;
    return norm(g, g->final_norm, g->plan.emit_row, p->emits, e) &&
           product(g, g->logits, ELEM_F32, g->normed, g->head, p->emits, a->vocab, a->hidden, e) &&
           cuda_ok(argmax(g->stream, g->next, g->logits, p->emits, a->vocab), "argmax", e);
}

/* The plan of a pass, onto the device. */
static bool send_plan(struct engine *g, const struct forward *f, uint32_t padded, struct pass *p,
                      struct err *e)
{
    size_t bytes = plan_fill(&g->host_plan, &g->limits, f, padded, p);

    return cuda_ok(
        cudaMemcpyAsync(g->plan.n_pieces, g->plan_buffer, bytes, cudaMemcpyHostToDevice, g->stream),
        "copying the plan", e);
}

static bool capture(struct engine *g, uint32_t padded, struct err *e)
{
    const uint32_t no_table = 0;
    struct forward nothing = {.q_start = &no_table, .table_start = &no_table, .block = &no_table};
    struct pass p;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t *exec = &g->graph[g->n_graphs];
    bool ok;

    /* Run once as it is, so that every kernel and cuBLAS's choices are loaded before. */
    if (!send_plan(g, &nothing, padded, &p, e) || !enqueue(g, &p, e) ||
        !cuda_ok(cudaStreamSynchronize(g->stream), "trying a decode step", e) ||
        !cuda_ok(cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeRelaxed),
                 "capturing a decode step", e))
        return false;
    ok = enqueue(g, &p, e);
    ok = cuda_ok(cudaStreamEndCapture(g->stream, &graph), "capturing a decode step", e) && ok;
    ok = ok && cuda_ok(cudaGraphInstantiate(exec, graph, 0), "making a graph", e);
    if (graph)
        (void)cudaGraphDestroy(graph);
    if (ok)
        g->graph_rows[g->n_graphs++] = padded;
    return ok;
}

bool engine_capture(struct engine *g, struct err *e)
{
    for (uint32_t n = 1; n <= g->max_seqs && g->n_graphs < ENGINE_GRAPHS;) {
        uint32_t padded = plan_padded(n, g->max_seqs);

        if (!capture(g, padded, e))
            return false;
        n = padded + 1;
    }
    return true;
}

/* The graph for n decodes, or ENGINE_GRAPHS. */
static uint32_t graph_of(const struct engine *g, const struct forward *f)
{
    uint32_t padded = plan_padded(f->n_decode, g->max_seqs);

    if (f->n_decode == f->n_seqs)
        for (uint32_t i = 0; i < g->n_graphs; i++)
            if (g->graph_rows[i] == padded)
                return i;
    return ENGINE_GRAPHS;
}

static void check_forward(const struct engine *g, const struct forward *f)
{
    CHECK(f->n_seqs > 0 && f->n_seqs <= g->max_seqs && f->n_tokens <= g->limits.max_rows &&
              f->q_start[f->n_seqs] == f->n_tokens &&
              f->table_start[f->n_seqs] <= g->limits.max_table,
          "a forward pass is within the device's limits",
          "%u sequences, %u tokens, %u blocks; at most %u, %u, %llu", f->n_seqs, f->n_tokens,
          f->table_start[f->n_seqs], g->max_seqs, g->limits.max_rows,
          (unsigned long long)g->limits.max_table);
    for (uint32_t i = 0; i < f->n_seqs; i++) {
        uint32_t n = f->q_start[i + 1] - f->q_start[i];
        uint32_t blocks = f->table_start[i + 1] - f->table_start[i];

        CHECK(n > 0 && (i >= f->n_decode || (n == 1 && f->context[i] > 0)) &&
                  f->context[i] + n <= g->max_context &&
                  (uint64_t)blocks * g->limits.block_size >= f->context[i] + n,
              "a sequence computes tokens its table covers, decodes first",
              "sequence %u: %u tokens after %u in %u blocks", i, n, f->context[i], blocks);
    }
}

/* Logits of the sequences that emit, in order; row[i] is the row of logits of sequence i. */
static bool fetch_logits(struct engine *g, const struct forward *f, bool padded, float *to,
                         struct err *e)
{
    uint32_t vocab = g->arch.vocab, n = 0;

    for (uint32_t i = 0; i < f->n_seqs; i++) {
        if (!f->emits[i])
            continue;
        if (!cuda_ok(cudaMemcpyAsync(to + (size_t)n * vocab,
                                     g->logits + (size_t)(padded ? i : n) * vocab,
                                     vocab * sizeof(float), cudaMemcpyDeviceToHost, g->stream),
                     "copying logits", e))
            return false;
        n++;
    }
    return cuda_ok(cudaStreamSynchronize(g->stream), "copying logits", e);
}

bool engine_forward(struct engine *g, const struct forward *f, struct forward_result *r,
                    struct err *e)
{
    uint32_t graph = graph_of(g, f), n = 0;
    bool padded = graph < ENGINE_GRAPHS;
    struct pass p;
    float ms;

    check_forward(g, f);
    if (!cuda_ok(cudaEventRecord(g->started, g->stream), "starting the clock", e) ||
        !send_plan(g, f, padded ? g->graph_rows[graph] : 0, &p, e) ||
        !(padded ? cuda_ok(cudaGraphLaunch(g->graph[graph], g->stream), "a decode step", e)
                 : enqueue(g, &p, e)) ||
        !cuda_ok(cudaMemcpyAsync(g->host_next, g->next, p.emits * sizeof(*g->next),
                                 cudaMemcpyDeviceToHost, g->stream),
                 "copying tokens", e) ||
        !cuda_ok(cudaEventRecord(g->ended, g->stream), "stopping the clock", e) ||
        !cuda_ok(cudaEventSynchronize(g->ended), "a forward pass", e) ||
        !cuda_ok(cudaEventElapsedTime(&ms, g->started, g->ended), "reading the clock", e))
        return false;
    r->device_ns = (double)ms * 1e6;
    for (uint32_t i = 0; i < f->n_seqs; i++)
        r->next_token[i] = f->emits[i] ? g->host_next[padded ? i : n++] : UINT32_MAX;
    return !r->logits || fetch_logits(g, f, padded, r->logits, e);
}
