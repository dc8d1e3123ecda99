/* weights.h: a LLaMA-family decoder: its architecture and its weights in host memory. RMSNorm, RoPE
 * (rotate-half, as Hugging Face), grouped-query attention, SwiGLU, optional tied embeddings. Every
 * matrix is row-major [rows = output features][cols = input features].
 *
 * A tensor has a number: layer * LAYER_TENSORS + enum layer_tensor, then those of enum last_tensor
 * after the last layer. Loops over all tensors need nothing else: weights_shape, weights_tensor. */
#ifndef BACKEND_MODEL_WEIGHTS_H
#define BACKEND_MODEL_WEIGHTS_H

#include "backend/model/arch.h"

enum weight_dtype { WEIGHT_F32, WEIGHT_BF16 };

enum layer_tensor {
    LAYER_ATTN_NORM, /* [hidden] */
    LAYER_Q,         /* [heads * head_dim][hidden] */
    LAYER_K,         /* [kv_heads * head_dim][hidden] */
    LAYER_V,         /* [kv_heads * head_dim][hidden] */
    LAYER_O,         /* [hidden][heads * head_dim] */
    LAYER_FFN_NORM,  /* [hidden] */
    LAYER_GATE,      /* [intermediate][hidden] */
    LAYER_UP,        /* [intermediate][hidden] */
    LAYER_DOWN,      /* [hidden][intermediate] */
    LAYER_TENSORS
};

/* Tensors after those of the layers; tied models have no LAST_HEAD. */
enum last_tensor { LAST_EMBEDDING, LAST_NORM, LAST_HEAD };

struct tensor_shape {
    uint32_t rows, cols;
    bool norm; /* a vector of factors: rows is 1 */
};

/* Weights of one dtype throughout (norms too). data NULL everywhere: `random_seed` says what they
 * are, and who needs them draws them where they are needed (a GPU draws 16 GB itself, by
 * backend/model/random_weights.h). */
struct weights {
    struct arch arch;
    enum weight_dtype dtype;
    bool random;
    uint64_t random_seed;
    const void *embedding;               /* [vocab][hidden] */
    const void *final_norm;              /* [hidden] */
    const void *lm_head;                 /* [vocab][hidden]; = embedding when tied */
    const void *(*layer)[LAYER_TENSORS]; /* [layers] */
    void *owned;                         /* what weights_release frees */
    char source[256];                    /* path or "random, seed N": goes into the run's note */
};

/* Random weights without data, dtype bf16. Release with weights_release. */
void weights_random(struct weights *w, const struct arch *a, uint64_t seed);
/* Draws the data of random weights into host memory; nothing if it is there already. */
void weights_draw(struct weights *w);

/* Weights of a file, converted to `dtype`: .gguf; .safetensors (with config.json beside it); the
 * model.safetensors.index.json of a sharded model; or a folder with one of the latter two. */
bool weights_load(struct weights *w, const char *path, enum weight_dtype dtype,
                  struct err *e) NODISCARD;
/* Whether a name is that of such a file, going by how it ends (or a folder's). */
bool weights_is_file(const char *path);
/* The model that such a file holds, without its weights; its id is the file's name. */
bool weights_describe(const char *path, struct model_desc *m, struct err *e) NODISCARD;
void weights_release(struct weights *w); /* of zeroed or failed weights, too */

/* ---- tensors by number ---- */

uint32_t weights_tensors(const struct arch *a); /* how many */
struct tensor_shape weights_shape(const struct arch *a, uint32_t tensor);
const void *weights_tensor(const struct weights *w, uint32_t tensor); /* its data, or NULL */
uint32_t weights_layer_tensor(uint32_t layer, enum layer_tensor t);
uint32_t weights_last_tensor(const struct arch *a, enum last_tensor t);
size_t weights_elem_bytes(enum weight_dtype dtype);

#endif
