/* weights.c: where the tensors of a model lie in memory, and drawing them at random. All of them
 * are in one allocation, each aligned to a cache line, in the order of their numbers. */
#include "backend/model/weights.h"

#include "backend/model/random_weights.h"
#include "backend/model/weights_memory.h"

#include <inttypes.h>
#include <stdio.h>

#define TENSOR_ALIGN 64u

/* ---- tensors by number ---- */

uint32_t weights_tensors(const struct arch *a)
{
    return weights_last_tensor(a, a->tied_embeddings ? LAST_NORM : LAST_HEAD) + 1;
}

uint32_t weights_layer_tensor(uint32_t layer, enum layer_tensor t)
{
    return layer * LAYER_TENSORS + (uint32_t)t;
}

uint32_t weights_last_tensor(const struct arch *a, enum last_tensor t)
{
    return a->layers * LAYER_TENSORS + (uint32_t)t;
}

size_t weights_elem_bytes(enum weight_dtype dtype)
{
    return dtype == WEIGHT_BF16 ? sizeof(uint16_t) : sizeof(float);
}

static struct tensor_shape layer_shape(const struct arch *a, enum layer_tensor t)
{
    switch (t) {
    case LAYER_Q:
        return (struct tensor_shape){a->heads * a->head_dim, a->hidden, false};
    case LAYER_K:
    case LAYER_V:
        return (struct tensor_shape){a->kv_heads * a->head_dim, a->hidden, false};
    case LAYER_O:
        return (struct tensor_shape){a->hidden, a->heads * a->head_dim, false};
    case LAYER_GATE:
    case LAYER_UP:
        return (struct tensor_shape){a->intermediate, a->hidden, false};
    case LAYER_DOWN:
        return (struct tensor_shape){a->hidden, a->intermediate, false};
    case LAYER_ATTN_NORM:
    case LAYER_FFN_NORM:
    case LAYER_TENSORS:
        break;
    }
    return (struct tensor_shape){1, a->hidden, true};
}

struct tensor_shape weights_shape(const struct arch *a, uint32_t tensor)
{
    if (tensor < a->layers * LAYER_TENSORS)
        return layer_shape(a, (enum layer_tensor)(tensor % LAYER_TENSORS));
    if (tensor == weights_last_tensor(a, LAST_NORM))
        return (struct tensor_shape){1, a->hidden, true};
    return (struct tensor_shape){a->vocab, a->hidden, false};
}

const void *weights_tensor(const struct weights *w, uint32_t tensor)
{
    const struct arch *a = &w->arch;

    if (!w->owned)
        return NULL;
    if (tensor < a->layers * LAYER_TENSORS)
        return w->layer[tensor / LAYER_TENSORS][tensor % LAYER_TENSORS];
    if (tensor == weights_last_tensor(a, LAST_EMBEDDING))
        return w->embedding;
    return tensor == weights_last_tensor(a, LAST_NORM) ? w->final_norm : w->lm_head;
}

/* ---- memory ---- */

static void set_tensor(struct weights *w, uint32_t tensor, const void *data)
{
    const struct arch *a = &w->arch;

    if (tensor < a->layers * LAYER_TENSORS)
        w->layer[tensor / LAYER_TENSORS][tensor % LAYER_TENSORS] = data;
    else if (tensor == weights_last_tensor(a, LAST_EMBEDDING))
        w->embedding = data;
    else if (tensor == weights_last_tensor(a, LAST_NORM))
        w->final_norm = data;
    if (tensor == weights_last_tensor(a, a->tied_embeddings ? LAST_EMBEDDING : LAST_HEAD))
        w->lm_head = data;
}

static size_t tensor_bytes(const struct weights *w, uint32_t tensor)
{
    struct tensor_shape s = weights_shape(&w->arch, tensor);
    size_t bytes = (size_t)s.rows * s.cols * weights_elem_bytes(w->dtype);

    return (bytes + TENSOR_ALIGN - 1) / TENSOR_ALIGN * TENSOR_ALIGN;
}

void weights_allocate(struct weights *w)
{
    uint32_t n = weights_tensors(&w->arch);
    size_t table = (size_t)w->arch.layers * sizeof(*w->layer), bytes = table + TENSOR_ALIGN;
    char *at;

    for (uint32_t t = 0; t < n; t++)
        bytes += tensor_bytes(w, t);
    w->owned = mem_alloc(bytes);
    w->layer = w->owned;
    at = (char *)w->owned + table;
    at += TENSOR_ALIGN - (uintptr_t)at % TENSOR_ALIGN;
    for (uint32_t t = 0; t < n; t++) {
        set_tensor(w, t, at);
        at += tensor_bytes(w, t);
    }
}

void *weights_tensor_memory(struct weights *w, uint32_t tensor)
{
    size_t offset = (size_t)((const char *)weights_tensor(w, tensor) - (const char *)w->owned);

    return (char *)w->owned + offset;
}

void weights_release(struct weights *w)
{
    mem_free(w->owned);
    *w = (struct weights){.owned = NULL};
}

/* ---- random ---- */

void weights_random(struct weights *w, const struct arch *a, uint64_t seed)
{
    *w = (struct weights){
        .arch = *a,
        .dtype = WEIGHT_BF16,
        .random = true,
        .random_seed = seed,
    };
    snprintf(w->source, sizeof(w->source), "random, seed %" PRIu64, seed);
}

void weights_draw(struct weights *w)
{
    if (!w->random || w->owned)
        return;
    weights_allocate(w);
    for (uint32_t t = 0; t < weights_tensors(&w->arch); t++) {
        struct tensor_shape s = weights_shape(&w->arch, t);
        struct random_tensor r = random_tensor(w->random_seed, t, s.cols, s.norm);
        uint64_t n = (uint64_t)s.rows * s.cols;
        uint16_t *out = weights_tensor_memory(w, t);

        for (uint64_t i = 0; i < n; i++)
            out[i] = random_tensor_bf16(&r, i);
    }
}
