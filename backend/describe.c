/* describe.c: JSON to model and GPU descriptions. Our own format: one object with `id`, `doc`,
 * `source`, optional `aliases`, and one member a field; a value is either plain (then the file's
 * `source` is its source) or {"value": ..., "source": "..."}. Hugging Face: a config.json, known by
 * its `hidden_size`. What must hold: nothing missing, misspelled or out of range passes; the
 * message names the file and the key. */
#include "backend/describe.h"

#include "backend/presets.h"
#include "sim/nearest.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum kind { COUNT, REAL, FLAG };

struct field {
    const char *key;
    enum kind kind;
    size_t offset;
    double min, max; /* numbers, inclusive */
    bool optional;   /* absent: stays 0 or false */
};

#define MAX_BYTES 1e15 /* also per second: beyond any machine, so a slip of units is noticed */
#define MODEL_COUNT(key, min)                                                                      \
    {                                                                                              \
#key, COUNT, offsetof(struct model_desc, key), min, UINT32_MAX, false                      \
    }
#define MODEL_EXPERTS(key)                                                                         \
    {                                                                                              \
#key, COUNT, offsetof(struct model_desc, key), 0, UINT32_MAX, true                         \
    }
#define MODEL_FLAG(key)                                                                            \
    {                                                                                              \
#key, FLAG, offsetof(struct model_desc, key), 0, 0, true                                   \
    }
#define MODEL_BYTES(key)                                                                           \
    {                                                                                              \
#key, REAL, offsetof(struct model_desc, key), 0.25, 8, false                               \
    }
#define MODEL_REAL(key, min, max)                                                                  \
    {                                                                                              \
#key, REAL, offsetof(struct model_desc, key), min, max, true                               \
    }
#define GPU_REAL(key, min, max)                                                                    \
    {                                                                                              \
#key, REAL, offsetof(struct gpu_desc, key), min, max, false                                \
    }

static const struct field model_fields[] = {
    MODEL_COUNT(layers, 1),
    MODEL_COUNT(hidden, 1),
    MODEL_COUNT(heads, 1),
    MODEL_COUNT(kv_heads, 1),
    MODEL_COUNT(head_dim, 1),
    MODEL_COUNT(intermediate, 0), /* 0: a mixture of experts without a dense MLP */
    MODEL_COUNT(vocab, 1),
    MODEL_COUNT(max_model_len, 1),
    MODEL_FLAG(tied_embeddings),
    MODEL_FLAG(qk_norm),
    MODEL_EXPERTS(experts),
    MODEL_EXPERTS(experts_per_token),
    MODEL_EXPERTS(moe_intermediate),
    MODEL_BYTES(weight_bytes_per_param),
    MODEL_BYTES(kv_bytes_per_elem),
    MODEL_REAL(rms_norm_eps, 0, 1),
    MODEL_REAL(rope_theta, 1, 1e12),
};

/* Members of "rope_scaling", the same in both formats. */
static const struct field rope_fields[] = {
    {"factor", REAL, offsetof(struct rope_scaling, factor), 1, 1e6, false},
    {"low_freq_factor", REAL, offsetof(struct rope_scaling, low_freq_factor), 1e-3, 1e6, false},
    {"high_freq_factor", REAL, offsetof(struct rope_scaling, high_freq_factor), 1e-3, 1e6, false},
    {"original_max_position_embeddings", COUNT,
     offsetof(struct rope_scaling, original_max_position), 1, UINT32_MAX, false},
};

static const struct field gpu_fields[] = {
    GPU_REAL(memory_bytes, 1, MAX_BYTES),     GPU_REAL(hbm_bytes_per_s, 1, MAX_BYTES),
    GPU_REAL(hbm_efficiency, 0.01, 1),        GPU_REAL(gemm_hbm_efficiency, 0.01, 1),
    GPU_REAL(flops_per_s, 1, 1e18),           GPU_REAL(flops_efficiency, 0.01, 1),
    GPU_REAL(attn_flops_efficiency, 0.01, 1), GPU_REAL(half_tokens, 0, 1e6),
    GPU_REAL(kernel_ramp_ns, 0, 1e9),         GPU_REAL(kernel_launch_ns, 0, 1e9),
    GPU_REAL(graph_node_ns, 0, 1e9),          GPU_REAL(pcie_bytes_per_s, 1, MAX_BYTES),
    GPU_REAL(pcie_latency_ns, 0, 1e9),        GPU_REAL(link_bytes_per_s, 1, MAX_BYTES),
    GPU_REAL(link_latency_ns, 0, 1e9),        GPU_REAL(reserved_bytes, 0, MAX_BYTES),
};

/* Members of our own format that are no fields of one value. */
static const char *const label_keys[] = {"id", "doc", "source", "aliases", "rope_scaling"};

/* Hugging Face names of model_fields. */
static const struct hf_key {
    const char *key, *other; /* `other`: a second name for it, or NULL */
    const char *field;
    bool optional;
} hf_keys[] = {
    {"num_hidden_layers", NULL, "layers", false},
    {"hidden_size", NULL, "hidden", false},
    {"num_attention_heads", NULL, "heads", false},
    {"num_key_value_heads", NULL, "kv_heads", true},
    {"head_dim", NULL, "head_dim", true},
    {"intermediate_size", NULL, "intermediate", false},
    {"vocab_size", NULL, "vocab", false},
    {"max_position_embeddings", NULL, "max_model_len", false},
    {"tie_word_embeddings", NULL, "tied_embeddings", true},
    {"num_experts", "num_local_experts", "experts", true},
    {"num_experts_per_tok", NULL, "experts_per_token", true},
    {"moe_intermediate_size", NULL, "moe_intermediate", true},
    {"rms_norm_eps", NULL, "rms_norm_eps", true},
    {"rope_theta", NULL, "rope_theta", true},
};

/* Members of a config.json that change the shape in a way that model_desc cannot say. */
static const char *const hf_unsupported[] = {
    "kv_lora_rank",          "n_shared_experts",    "shared_expert_intermediate_size",
    "first_k_dense_replace", "quantization_config", "mlp_only_layers",
};

/* ---- values ---- */

/* A member, with null as absent and {"value": v} as v. */
static const json_t *member(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);

    if (json_is_object(v) && json_object_get(v, "value"))
        v = json_object_get(v, "value");
    return json_is_null(v) ? NULL : v;
}

static bool read_number(double *out, const struct field *f, const json_t *v, const char *where,
                        const char *key, struct err *e)
{
    double x = json_number_value(v);

    if (!json_is_number(v))
        return err_set(e, "%s: \"%s\" is not a number; give one", where, key);
    if (!(x >= f->min && x <= f->max))
        return err_set(e, "%s: \"%s\" is %g; it must lie in %g to %g", where, key, x, f->min,
                       f->max);
    if (f->kind == COUNT && x != floor(x))
        return err_set(e, "%s: \"%s\" is %g; it must be a whole number", where, key, x);
    *out = x;
    return true;
}

/* Stores `v` in the field of `desc`. `key` is the name that the file uses for it. */
static bool read_field(void *desc, const struct field *f, const json_t *v, const char *where,
                       const char *key, struct err *e)
{
    char *at = (char *)desc + f->offset;
    double x = 0;
    uint32_t count;
    bool flag = json_is_true(v);

    if (f->kind == FLAG) {
        if (!json_is_boolean(v))
            return err_set(e, "%s: \"%s\" is neither true nor false; give one", where, key);
        memcpy(at, &flag, sizeof(flag));
        return true;
    }
    if (!read_number(&x, f, v, where, key, e))
        return false;
    if (f->kind == COUNT) {
        count = (uint32_t)x;
        memcpy(at, &count, sizeof(count));
    } else {
        memcpy(at, &x, sizeof(x));
    }
    return true;
}

static bool missing(const char *where, const char *key, struct err *e)
{
    return err_set(e, "%s: \"%s\" is missing; add it", where, key);
}

/* ---- our own format ---- */

static const struct field *field_named(const struct field *fields, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].key, key) == 0)
            return &fields[i];
    return NULL;
}

static bool unknown_key(const char *where, const char *key, const struct field *fields, size_t n,
                        struct err *e)
{
    const char *known[ARRAY_LEN(model_fields) + ARRAY_LEN(gpu_fields)];

    for (size_t i = 0; i < n; i++)
        known[i] = fields[i].key;
    return err_set(e, "%s: unknown key \"%s\"; the nearest is \"%s\"", where, key,
                   nearest_word(key, known, n));
}

static bool check_keys(json_t *root, const struct field *fields, size_t n, const char *where,
                       struct err *e)
{
    const char *key;
    json_t *v;

    json_object_foreach(root, key, v)
    {
        bool label = false;

        for (size_t i = 0; i < ARRAY_LEN(label_keys); i++)
            label |= strcmp(label_keys[i], key) == 0;
        if (!label && !field_named(fields, n, key))
            return unknown_key(where, key, fields, n, e);
    }
    return true;
}

static bool copy_id(char *out, size_t size, const char *id, const char *where, struct err *e)
{
    if (!id || id[0] == '\0' || strlen(id) >= size)
        return err_set(e, "%s: \"id\" must be a string of 1 to %zu characters", where, size - 1);
    memcpy(out, id, strlen(id) + 1);
    return true;
}

static bool read_fields(void *desc, const struct field *fields, size_t n, json_t *root,
                        const char *where, struct err *e)
{
    if (!check_keys(root, fields, n, where, e))
        return false;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = member(root, fields[i].key);

        if (!v && fields[i].optional)
            continue;
        if (!v)
            return missing(where, fields[i].key, e);
        if (!read_field(desc, &fields[i], v, where, fields[i].key, e))
            return false;
    }
    return true;
}

/* What no single field shows. */
static bool check_model(const struct model_desc *m, const char *where, struct err *e)
{
    if (m->heads % m->kv_heads != 0)
        return err_set(e, "%s: %u heads are no multiple of %u kv_heads; correct one", where,
                       m->heads, m->kv_heads);
    if (m->experts == 0 && m->intermediate == 0)
        return err_set(e, "%s: \"intermediate\" is 0 in a model without experts; give it", where);
    if (m->experts > 0 && (m->moe_intermediate == 0 || m->experts_per_token == 0 ||
                           m->experts_per_token > m->experts))
        return err_set(e,
                       "%s: %u experts need \"moe_intermediate\" (%u) above 0 and "
                       "\"experts_per_token\" (%u) in 1 to %u",
                       where, m->experts, m->moe_intermediate, m->experts_per_token, m->experts);
    return true;
}

/* "rope_scaling" of kind llama3; absent: none. */
static bool read_rope(json_t *root, const char *where, struct rope_scaling *r, struct err *e)
{
    const json_t *scaling = member(root, "rope_scaling");

    if (!scaling)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(rope_fields); i++) {
        const json_t *v = member(scaling, rope_fields[i].key);

        if (!v)
            return missing(where, rope_fields[i].key, e);
        if (!read_field(r, &rope_fields[i], v, where, rope_fields[i].key, e))
            return false;
    }
    if (r->low_freq_factor >= r->high_freq_factor)
        return err_set(e, "%s: \"low_freq_factor\" %g is not below \"high_freq_factor\" %g", where,
                       r->low_freq_factor, r->high_freq_factor);
    return true;
}

static bool parse_model(json_t *root, const char *where, struct model_desc *m, struct err *e)
{
    return copy_id(m->id, sizeof(m->id), json_string_value(member(root, "id")), where, e) &&
           read_fields(m, model_fields, ARRAY_LEN(model_fields), root, where, e) &&
           read_rope(root, where, &m->rope, e) && check_model(m, where, e);
}

static bool parse_gpu(json_t *root, const char *where, struct gpu_desc *g, struct err *e)
{
    return copy_id(g->id, sizeof(g->id), json_string_value(member(root, "id")), where, e) &&
           read_fields(g, gpu_fields, ARRAY_LEN(gpu_fields), root, where, e);
}

/* ---- Hugging Face config.json ---- */

static bool hf_refuse_unsupported(json_t *root, const char *where, struct err *e)
{
    const json_t *sparse = member(root, "decoder_sparse_step");

    for (size_t i = 0; i < ARRAY_LEN(hf_unsupported); i++) {
        const json_t *v = member(root, hf_unsupported[i]);
        bool none = !v || (json_is_array(v) && json_array_size(v) == 0) ||
                    (json_is_number(v) && json_number_value(v) <= 0);

        if (!none)
            return err_set(e,
                           "%s: \"%s\" describes what the cost model does not know; write a "
                           "description of our own (docs: backend/models)",
                           where, hf_unsupported[i]);
    }
    if (sparse && json_number_value(sparse) != 1)
        return err_set(e, "%s: \"decoder_sparse_step\" must be 1: every layer has experts", where);
    return true;
}

/* Bytes of one weight. */
static bool hf_dtype(json_t *root, const char *where, double *bytes, struct err *e)
{
    static const struct {
        const char *name;
        double bytes;
    } known[] = {{"bfloat16", 2}, {"float16", 2}, {"float32", 4}, {"float8_e4m3fn", 1}};
    const json_t *v = member(root, "torch_dtype");
    const char *name = json_string_value(v ? v : member(root, "dtype"));

    if (!name)
        return missing(where, "torch_dtype", e);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].name, name) == 0) {
            *bytes = known[i].bytes;
            return true;
        }
    }
    return err_set(e,
                   "%s: \"torch_dtype\" is \"%s\"; known are bfloat16, float16, float32, "
                   "float8_e4m3fn",
                   where, name);
}

/* Fills in what a config.json may leave out, by the rules of its library. */
static bool hf_defaults(json_t *root, const char *where, struct model_desc *m, struct err *e)
{
    const char *type = json_string_value(member(root, "model_type"));

    if (m->kv_heads == 0)
        m->kv_heads = m->heads;
    if (m->head_dim == 0) {
        if (m->hidden % m->heads != 0)
            return err_set(e, "%s: \"hidden_size\" %u is no multiple of %u heads; add head_dim",
                           where, m->hidden, m->heads);
        m->head_dim = m->hidden / m->heads;
    }
    if (m->experts > 0 && m->moe_intermediate == 0)
        m->moe_intermediate = m->intermediate; /* Mixtral's name for it */
    m->qk_norm = type && strncmp(type, "qwen3", strlen("qwen3")) == 0;
    m->kv_bytes_per_elem = 2; /* activations are 16 bit whatever the weights are */
    return hf_dtype(root, where, &m->weight_bytes_per_param, e);
}

/* Whether nothing in the file departs from a plain LLaMA decoder. */
static bool hf_is_llama(json_t *root)
{
    const char *type = json_string_value(member(root, "model_type"));
    const char *act = json_string_value(member(root, "hidden_act"));
    const json_t *rope = member(root, "rope_scaling");
    const json_t *rope_type = rope ? member(rope, "rope_type") : NULL;

    return type && (strcmp(type, "llama") == 0 || strcmp(type, "mistral") == 0) &&
           (!act || strcmp(act, "silu") == 0) && !json_is_true(member(root, "attention_bias")) &&
           !json_is_true(member(root, "mlp_bias")) && !member(root, "sliding_window") &&
           (!rope ||
            (json_is_string(rope_type) && strcmp(json_string_value(rope_type), "llama3") == 0));
}

/* What the real engines compute with, if they can. */
static bool hf_llama(json_t *root, const char *where, struct model_desc *m, struct err *e)
{
    if (!hf_is_llama(root)) {
        m->rope_theta = 0;
        return true;
    }
    if (m->rope_theta == 0)
        m->rope_theta = 10000; /* LlamaConfig's default: files of Llama 2 leave it out */
    if (m->rms_norm_eps == 0)
        m->rms_norm_eps = 1e-6; /* as well */
    return read_rope(root, where, &m->rope, e);
}

static bool parse_hf(json_t *root, const char *path, struct model_desc *m, struct err *e)
{
    const char *name = json_string_value(member(root, "_name_or_path"));
    const char *id = name && name[0] ? name : path;
    size_t skip = strlen(id) < sizeof(m->id) ? 0 : strlen(id) - sizeof(m->id) + 1;

    if (!hf_refuse_unsupported(root, path, e))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(hf_keys); i++) {
        const struct hf_key *k = &hf_keys[i];
        const json_t *v = member(root, k->key);

        if (!v && k->other)
            v = member(root, k->other);
        if (!v && k->optional)
            continue;
        if (!v)
            return missing(path, k->key, e);
        if (!read_field(m, field_named(model_fields, ARRAY_LEN(model_fields), k->field), v, path,
                        k->key, e))
            return false;
    }
    return hf_defaults(root, path, m, e) && hf_llama(root, path, m, e) && check_model(m, path, e) &&
           copy_id(m->id, sizeof(m->id), id + skip, path, e); /* the end tells models apart */
}

/* ---- finding the text ---- */

static bool has_alias(const struct preset *p, const char *id)
{
    json_t *root = json_loads(p->json, 0, NULL), *alias;
    bool found = false;
    size_t i;

    json_array_foreach(json_object_get(root, "aliases"), i, alias) found |=
        json_is_string(alias) && strcasecmp(json_string_value(alias), id) == 0;
    json_decref(root);
    return found;
}

static const struct preset *find_preset(const struct preset *table, const char *id)
{
    for (const struct preset *p = table; p->id; p++)
        if (strcasecmp(p->id, id) == 0 || has_alias(p, id))
            return p;
    return NULL;
}

const struct preset *preset_model_named(const char *id)
{
    return find_preset(preset_models, id);
}

const struct preset *preset_gpu_named(const char *id)
{
    return find_preset(preset_gpus, id);
}

static bool is_path(const char *id)
{
    size_t n = strlen(id), n_ext = strlen(".json");

    return strchr(id, '/') || (n > n_ext && strcmp(id + n - n_ext, ".json") == 0);
}

static const char *nearest_preset(const struct preset *table, const char *id)
{
    const char *known[64];
    size_t n = 0;

    for (; table[n].id && n < ARRAY_LEN(known); n++)
        known[n] = table[n].id;
    return nearest_word(id, known, n);
}

/* The JSON object that `id` names, and in `where` what to call it in messages. NULL and err if
 * there is none. The caller owns it. */
static json_t *load(const struct preset *table, const char *what, const char *id,
                    const char **where, struct err *e)
{
    const struct preset *p = find_preset(table, id);
    json_error_t bad;
    json_t *root;

    if (!p && !is_path(id)) {
        err_set(e, "%s: unknown %s; the nearest is \"%s\" (a file's name ends in .json)", id, what,
                nearest_preset(table, id));
        return NULL;
    }
    *where = p ? p->id : id;
    root = p ? json_loads(p->json, JSON_REJECT_DUPLICATES, &bad)
             : json_load_file(id, JSON_REJECT_DUPLICATES, &bad);
    if (!root && bad.line < 1)
        err_set(e, "%s: %s; give the path of a file, or a preset such as \"%s\"", *where, bad.text,
                nearest_preset(table, id));
    else if (!root)
        err_set(e, "%s:%d:%d: %s; correct the JSON", *where, bad.line, bad.column, bad.text);
    else if (!json_is_object(root))
        err_set(e, "%s: holds no JSON object; give a description of a %s", *where, what);
    if (e->set) {
        json_decref(root);
        return NULL;
    }
    return root;
}

bool describe_model(const char *id, struct model_desc *out, struct err *e)
{
    const char *where = NULL;
    json_t *root = load(preset_models, "model", id, &where, e);
    bool ok;

    *out = (struct model_desc){0};
    if (!root)
        return false;
    ok = member(root, "hidden_size") ? parse_hf(root, where, out, e)
                                     : parse_model(root, where, out, e);
    json_decref(root);
    return ok;
}

bool describe_gpu(const char *id, struct gpu_desc *out, struct err *e)
{
    const char *where = NULL;
    json_t *root = load(preset_gpus, "gpu", id, &where, e);
    bool ok;

    *out = (struct gpu_desc){0};
    if (!root)
        return false;
    ok = parse_gpu(root, where, out, e);
    json_decref(root);
    return ok;
}

/* ---- listing ---- */

static const struct preset *preset_at(const struct preset *table, size_t i)
{
    for (const struct preset *p = table; p->id; p++)
        if (i-- == 0)
            return p;
    return NULL;
}

const struct preset *preset_model_at(size_t i)
{
    return preset_at(preset_models, i);
}

const struct preset *preset_gpu_at(size_t i)
{
    return preset_at(preset_gpus, i);
}
