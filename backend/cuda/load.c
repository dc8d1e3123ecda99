/* load.c: weights onto the GPU: drawn there if random, else copied from the host, through the
 * scratch memory where the run's element type is not the file's. */
#include "backend/cuda/engine.h"

/* Where a tensor lies; those that are multiplied together follow each other. */
static void *place_of(const struct engine *g, uint32_t tensor)
{
    const struct arch *a = &g->arch;
    const struct layer_weights *l = &g->layer[MIN(tensor / LAYER_TENSORS, a->layers - 1)];
    size_t row = a->hidden * g->elem_bytes;
    size_t q = (size_t)a->heads * a->head_dim * row, k = (size_t)a->kv_heads * a->head_dim * row;

    if (tensor >= a->layers * LAYER_TENSORS) {
        switch ((enum last_tensor)(tensor - a->layers * LAYER_TENSORS)) {
        case LAST_EMBEDDING:
            return g->embedding;
        case LAST_NORM:
            return g->final_norm;
        case LAST_HEAD:
            return g->head;
        }
    }
    switch ((enum layer_tensor)(tensor % LAYER_TENSORS)) {
    case LAYER_ATTN_NORM:
        return l->attn_norm;
    case LAYER_Q:
        return l->qkv;
    case LAYER_K:
        return (char *)l->qkv + q;
    case LAYER_V:
        return (char *)l->qkv + q + k;
    case LAYER_O:
        return l->o;
    case LAYER_FFN_NORM:
        return l->ffn_norm;
    case LAYER_GATE:
        return l->gate_up;
    case LAYER_UP:
        return (char *)l->gate_up + a->intermediate * row;
    case LAYER_DOWN:
        return l->down;
    case LAYER_TENSORS:
        break;
    }
    CHECK(false, "a tensor has a place", "tensor %u of %u", tensor, weights_tensors(a));
    return NULL;
}

static bool upload(struct engine *g, char *to, const char *from, enum weight_dtype dtype,
                   uint64_t n, struct err *e)
{
    enum elem elem = dtype == WEIGHT_F32 ? ELEM_F32 : ELEM_BF16;
    size_t from_bytes = weights_elem_bytes(dtype);
    uint64_t most = elem == g->elem ? n : g->scratch_bytes / from_bytes;

    for (uint64_t done = 0; done < n; done += most) {
        uint64_t part = MIN(most, n - done);
        char *out = to + done * g->elem_bytes;

        if (!cuda_ok(cudaMemcpyAsync(elem == g->elem ? out : g->scratch, from + done * from_bytes,
                                     part * from_bytes, cudaMemcpyHostToDevice, g->stream),
                     "copying weights", e))
            return false;
        if (elem != g->elem &&
            !cuda_ok(convert_weights(g->stream, g->elem, out, elem, g->scratch, part),
                     "converting weights", e))
            return false;
    }
    return true;
}

bool engine_load(struct engine *g, const struct weights *w, struct err *e)
{
    uint32_t n = weights_tensors(&g->arch);

    for (uint32_t t = 0; t < n; t++) {
        struct tensor_shape s = weights_shape(&g->arch, t);
        uint64_t elements = (uint64_t)s.rows * s.cols;
        void *place = place_of(g, t);

        if (w->random) {
            if (!cuda_ok(draw_weights(g->stream, g->elem, place, elements, w->random_seed, t,
                                      s.cols, s.norm),
                         "drawing weights", e))
                return false;
        } else if (!upload(g, place, weights_tensor(w, t), w->dtype, elements, e)) {
            return false;
        }
    }
    return cuda_ok(cudaStreamSynchronize(g->stream), "loading weights", e);
}
