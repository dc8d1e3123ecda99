/* weights_file.c: weights from files. What must hold: every tensor of the decoder is found with its
 * shape, and every tensor of the file is one of the decoder's: a model that computes something else
 * is refused, not run without a part of it. */
#include "backend/model/weights_memory.h"

#include "backend/describe.h"
#include "backend/model/float16.h"
#include "backend/model/gguf.h"
#include "backend/model/safetensors.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* What the two formats differ in. `%u` is the layer. */
struct naming {
    const char *layer[LAYER_TENSORS];
    const char *last[3];
    bool turned; /* rows of q and k: see source_row */
};

static const struct naming gguf_naming = {
    .layer =
        {
            [LAYER_ATTN_NORM] = "blk.%u.attn_norm.weight",
            [LAYER_Q] = "blk.%u.attn_q.weight",
            [LAYER_K] = "blk.%u.attn_k.weight",
            [LAYER_V] = "blk.%u.attn_v.weight",
            [LAYER_O] = "blk.%u.attn_output.weight",
            [LAYER_FFN_NORM] = "blk.%u.ffn_norm.weight",
            [LAYER_GATE] = "blk.%u.ffn_gate.weight",
            [LAYER_UP] = "blk.%u.ffn_up.weight",
            [LAYER_DOWN] = "blk.%u.ffn_down.weight",
        },
    .last = {"token_embd.weight", "output_norm.weight", "output.weight"},
    .turned = true,
};

static const struct naming hf_naming = {
    .layer =
        {
            [LAYER_ATTN_NORM] = "model.layers.%u.input_layernorm.weight",
            [LAYER_Q] = "model.layers.%u.self_attn.q_proj.weight",
            [LAYER_K] = "model.layers.%u.self_attn.k_proj.weight",
            [LAYER_V] = "model.layers.%u.self_attn.v_proj.weight",
            [LAYER_O] = "model.layers.%u.self_attn.o_proj.weight",
            [LAYER_FFN_NORM] = "model.layers.%u.post_attention_layernorm.weight",
            [LAYER_GATE] = "model.layers.%u.mlp.gate_proj.weight",
            [LAYER_UP] = "model.layers.%u.mlp.up_proj.weight",
            [LAYER_DOWN] = "model.layers.%u.mlp.down_proj.weight",
        },
    .last = {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"},
};

/* ---- tensors of the file to tensors in memory ---- */

static void tensor_name(const struct naming *n, const struct arch *a, uint32_t tensor, char *out,
                        size_t size)
{
    uint32_t layers = a->layers * LAYER_TENSORS;

    if (tensor >= layers) {
        snprintf(out, size, "%s", n->last[tensor - layers]);
        return;
    }
    const char *format = n->layer[tensor % LAYER_TENSORS], *number = strstr(format, "%u");

    snprintf(out, size, "%.*s%" PRIu32 "%s", (int)(number - format), format, tensor / LAYER_TENSORS,
             number + 2);
}

/* The row of the file that is row `row` in memory. RoPE here turns element i of a head against
 * element i + d/2; llama.cpp turns 2i against 2i + 1, and its files have the rows of q and k in
 * that order. */
static uint64_t source_row(const struct naming *n, const struct arch *a, uint32_t tensor,
                           uint64_t row)
{
    uint32_t d = a->head_dim, kind = tensor % LAYER_TENSORS;
    uint64_t in_head = row % d;

    if (!n->turned || tensor >= a->layers * LAYER_TENSORS || (kind != LAYER_Q && kind != LAYER_K))
        return row;
    return row - in_head + 2 * (in_head % (d / 2)) + in_head / (d / 2);
}

static void store_row(struct weights *w, uint32_t tensor, uint64_t row, const float *from,
                      uint32_t cols)
{
    void *memory = weights_tensor_memory(w, tensor);

    if (w->dtype == WEIGHT_F32)
        memcpy((float *)memory + row * cols, from, cols * sizeof(float));
    for (uint32_t i = 0; w->dtype == WEIGHT_BF16 && i < cols; i++)
        ((uint16_t *)memory)[row * cols + i] = bf16_from_float(from[i]);
}

static struct tensor *find_tensor(const struct weights *w, uint32_t tensor, const struct naming *n,
                                  struct tensor_set *set, struct err *e)
{
    struct tensor_shape s = weights_shape(&w->arch, tensor);
    struct tensor *t;
    char name[64];

    tensor_name(n, &w->arch, tensor, name, sizeof(name));
    t = tensor_find(set, name);
    if (!t) {
        err_set(e, "%s: tensor %s is missing; is the file of a LLaMA-family model, and whole?",
                w->source, name);
        return NULL;
    }
    if (t->type == TENSOR_UNSUPPORTED) {
        err_set(e,
                "%s: tensor %s is quantised as %s; F32, F16, BF16, Q8_0, Q4_0, Q4_1 and Q6_K can "
                "be read",
                w->source, name, t->type_name);
        return NULL;
    }
    if (t->rows != s.rows || t->cols != s.cols) {
        err_set(e,
                "%s: tensor %s is %" PRIu64 " x %" PRIu64 ", the model's sizes say %u x %u; the "
                "file is damaged",
                w->source, name, t->rows, t->cols, s.rows, s.cols);
        return NULL;
    }
    t->used = true;
    return t;
}

/* Tensors that are left out on purpose: a head beside tied embeddings repeats them; tables of RoPE
 * are computed. */
static bool may_be_unused(const struct weights *w, const struct naming *n, const struct tensor *t)
{
    static const char *const table = "rotary_emb.inv_freq";
    size_t len = strlen(t->name), end = strlen(table);

    return (w->arch.tied_embeddings && strcmp(t->name, n->last[LAST_HEAD]) == 0) ||
           (len > end && strcmp(t->name + len - end, table) == 0) ||
           strcmp(t->name, "rope_freqs.weight") == 0;
}

/* Checks all tensors before memory is taken for them. */
static bool check_tensors(const struct weights *w, const struct naming *n, struct tensor_set *set,
                          struct err *e)
{
    for (uint32_t tensor = 0; tensor < weights_tensors(&w->arch); tensor++)
        if (!find_tensor(w, tensor, n, set, e))
            return false;
    for (size_t i = 0; i < set->n; i++)
        if (!set->tensor[i].used && !may_be_unused(w, n, &set->tensor[i]))
            return err_set(e,
                           "%s: holds tensor %s, which a LLaMA decoder has not; take another "
                           "model",
                           w->source, set->tensor[i].name);
    return true;
}

static bool read_tensors(struct weights *w, const struct naming *n, struct tensor_set *set,
                         struct err *e)
{
    const struct arch *a = &w->arch;
    uint32_t most = MAX(MAX(a->hidden, a->intermediate), a->heads * a->head_dim);
    float *buffer;

    if (!check_tensors(w, n, set, e))
        return false;
    weights_allocate(w);
    buffer = mem_alloc(most * sizeof(*buffer));
    for (uint32_t tensor = 0; tensor < weights_tensors(a); tensor++) {
        const struct tensor *t = find_tensor(w, tensor, n, set, e);
        struct tensor_shape s = weights_shape(a, tensor);

        for (uint32_t row = 0; t && row < s.rows; row++) {
            tensor_row(t, source_row(n, a, tensor, row), buffer);
            store_row(w, tensor, row, buffer, s.cols);
        }
    }
    mem_free(buffer);
    return true;
}

/* ---- architecture from GGUF ---- */

static bool size_of(const struct gguf *g, const char *path, const char *key, uint32_t *out,
                    struct err *e)
{
    uint64_t x;

    if (!gguf_uint(g, key, &x) || x > UINT32_MAX)
        return err_set(e, "%s: %s is missing or no size; convert the model anew", path, key);
    *out = (uint32_t)x;
    return true;
}

/* Llama 3's stretched RoPE is a table of divisors. Finds the parameters behind it. */
static bool read_divisors(struct arch *a, const struct tensor *t, const char *path, struct err *e)
{
    struct arch plain = *a;
    float divisor[512];

    if (t->type != TENSOR_F32 || t->cols != a->head_dim / 2 || t->cols > ARRAY_LEN(divisor))
        return err_set(e,
                       "%s: rope_freqs.weight is no table of head_dim / 2 floats; convert the "
                       "model anew",
                       path);
    tensor_row(t, 0, divisor);
    a->rope = (struct rope_scaling){(double)divisor[t->cols - 1], 1, 4, 8192};
    for (uint32_t i = 0; i < t->cols; i++) {
        double want = arch_rope_frequency(&plain, i) / (double)divisor[i];

        if (!(fabs(arch_rope_frequency(a, i) - want) <= 1e-3 * want))
            return err_set(e,
                           "%s: rope_freqs.weight is not Llama 3's stretching of RoPE; take "
                           "another model",
                           path);
    }
    return true;
}

static bool read_gguf_sizes(const struct gguf *g, struct arch *a, const char *path, struct err *e)
{
    const struct {
        const char *key;
        uint32_t *size;
    } sizes[] = {
        {"llama.block_count", &a->layers},
        {"llama.embedding_length", &a->hidden},
        {"llama.attention.head_count", &a->heads},
        {"llama.feed_forward_length", &a->intermediate},
        {"llama.context_length", &a->max_model_len},
    };
    uint64_t x;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        if (!size_of(g, path, sizes[i].key, sizes[i].size, e))
            return false;
    a->kv_heads = a->heads;
    if (gguf_uint(g, "llama.attention.head_count_kv", &x))
        a->kv_heads = (uint32_t)x;
    a->head_dim = a->heads ? a->hidden / a->heads : 0;
    if (gguf_uint(g, "llama.attention.key_length", &x))
        a->head_dim = (uint32_t)x;
    if (gguf_uint(g, "llama.rope.dimension_count", &x) && x != a->head_dim)
        return err_set(e,
                       "%s: RoPE turns %" PRIu64 " of %u elements of a head; only models that "
                       "turn all can be run",
                       path, x, a->head_dim);
    return true;
}

static bool read_gguf_arch(struct gguf *g, struct arch *a, const char *path, struct err *e)
{
    const struct tensor *embedding = tensor_find(gguf_tensors(g), gguf_naming.last[LAST_EMBEDDING]);
    const struct tensor *divisors = tensor_find(gguf_tensors(g), "rope_freqs.weight");
    struct text name = {"", 0};

    *a = (struct arch){.layers = 0};
    if (!gguf_text_is(g, "general.architecture", "llama")) {
        if (!gguf_text(g, "general.architecture", &name))
            name = (struct text){"none", 4};
        return err_set(e, "%s: its architecture is %.*s; the real engines run \"llama\" only", path,
                       (int)MIN(name.len, 40), name.at);
    }
    if (gguf_text(g, "llama.rope.scaling.type", &name) &&
        !gguf_text_is(g, "llama.rope.scaling.type", "none"))
        return err_set(e, "%s: RoPE is scaled by %.*s; plain RoPE and Llama 3's can be run", path,
                       (int)MIN(name.len, 40), name.at);
    if (!read_gguf_sizes(g, a, path, e))
        return false;
    if (!gguf_real(g, "llama.attention.layer_norm_rms_epsilon", &a->rms_eps))
        return err_set(e,
                       "%s: llama.attention.layer_norm_rms_epsilon is missing; convert the "
                       "model anew",
                       path);
    if (!gguf_real(g, "llama.rope.freq_base", &a->rope_theta))
        a->rope_theta = 10000; /* llama.cpp's default */
    a->vocab = embedding && embedding->rows <= UINT32_MAX ? (uint32_t)embedding->rows : 0;
    a->tied_embeddings = !tensor_find(gguf_tensors(g), gguf_naming.last[LAST_HEAD]);
    return arch_check(a, path, e) && (!divisors || read_divisors(a, divisors, path, e));
}

/* ---- the two formats ---- */

static bool load_gguf(struct weights *w, const char *path, struct err *e)
{
    struct gguf *g = gguf_open(path, e);
    bool ok = g && read_gguf_arch(g, &w->arch, path, e) &&
              read_tensors(w, &gguf_naming, gguf_tensors(g), e);

    gguf_close(g);
    return ok;
}

static bool load_safetensors(struct weights *w, const char *path, struct err *e)
{
    struct safetensors *s = safetensors_open(path, e);
    struct model_desc m;
    bool ok = s && describe_model(safetensors_config(s), &m, e) &&
              arch_from_model(&m, &w->arch, e) &&
              read_tensors(w, &hf_naming, safetensors_tensors(s), e);

    safetensors_close(s);
    return ok;
}

static bool ends_in(const char *path, const char *ext)
{
    size_t n = strlen(path), n_ext = strlen(ext);

    return n >= n_ext && strcmp(path + n - n_ext, ext) == 0;
}

static bool is_safetensors(const char *path)
{
    struct stat st;

    return ends_in(path, ".safetensors") || ends_in(path, ".json") ||
           (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

bool weights_load(struct weights *w, const char *path, enum weight_dtype dtype, struct err *e)
{
    bool ok;

    *w = (struct weights){.dtype = dtype};
    snprintf(w->source, sizeof(w->source), "%s", path);
    ok = is_safetensors(path) ? load_safetensors(w, path, e) : load_gguf(w, path, e);
    if (!ok)
        weights_release(w);
    return ok;
}

bool weights_is_file(const char *path)
{
    /* Another .json describes a model and holds no weights. */
    return ends_in(path, ".gguf") || ends_in(path, ".safetensors.index.json") ||
           (is_safetensors(path) && !ends_in(path, ".json"));
}

static void set_id(struct model_desc *m, const char *path)
{
    size_t n = strlen(path);

    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/')
        from--;
    snprintf(m->id, sizeof(m->id), "%.*s", (int)MIN(n - from, sizeof(m->id) - 1), path + from);
}

bool weights_describe(const char *path, struct model_desc *m, struct err *e)
{
    bool ok;

    if (is_safetensors(path)) {
        struct safetensors *s = safetensors_open(path, e);

        ok = s && describe_model(safetensors_config(s), m, e);
        safetensors_close(s);
    } else {
        struct gguf *g = gguf_open(path, e);
        struct arch a;

        ok = g && read_gguf_arch(g, &a, path, e);
        if (ok)
            arch_describe(&a, m);
        gguf_close(g);
    }
    set_id(m, path);
    return ok;
}
