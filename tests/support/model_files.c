#include "tests/support/model_files.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMOLLM2 "SmolLM2-135M-Instruct.Q4_1.gguf"

/* ---- bytes ---- */

void put_bytes(struct bytes *b, const void *from, size_t n)
{
    b->at = mem_reserve(b->at, &b->cap, b->n + n, 1);
    if (n > 0)
        memcpy(b->at + b->n, from, n);
    b->n += n;
}

void put_le(struct bytes *b, uint64_t x, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(x >> (8 * i));

        put_bytes(b, &byte, 1);
    }
}

/* ---- files ---- */

void model_folder_make(struct model_folder *f)
{
    snprintf(f->path, sizeof(f->path), "/tmp/tandem_model_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(f->path));
}

void model_folder_remove(struct model_folder *f)
{
    DIR *dir = opendir(f->path);
    struct dirent *entry;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            ck_assert_int_eq(unlink(model_file_path(f, entry->d_name)), 0);
    closedir(dir);
    ck_assert_int_eq(rmdir(f->path), 0);
}

const char *model_file_path(const struct model_folder *f, const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", f->path, name);
    return path;
}

const char *model_file_write(const struct model_folder *f, const char *name, const void *from,
                             size_t n)
{
    const char *path = model_file_path(f, name);
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(from, 1, n, file), n);
    ck_assert_int_eq(fclose(file), 0);
    return path;
}

/* ---- GGUF ---- */

enum { GGUF_U32 = 4, GGUF_I32 = 5, GGUF_F32 = 6, GGUF_STRING = 8, GGUF_ARRAY = 9 };

void gguf_put_text(struct bytes *b, const char *text)
{
    put_le(b, strlen(text), 8);
    put_bytes(b, text, strlen(text));
}

void gguf_put_key(struct bytes *b, const char *key, uint32_t type)
{
    gguf_put_text(b, key);
    put_le(b, type, 4);
}

void gguf_put_u32(struct bytes *b, const char *key, uint32_t value)
{
    gguf_put_key(b, key, GGUF_U32);
    put_le(b, value, 4);
}

void gguf_put_f32(struct bytes *b, const char *key, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    gguf_put_key(b, key, GGUF_F32);
    put_le(b, bits, 4);
}

void gguf_put_string(struct bytes *b, const char *key, const char *value)
{
    gguf_put_key(b, key, GGUF_STRING);
    gguf_put_text(b, value);
}

void gguf_put_strings(struct bytes *b, const char *key, const char *const *value, size_t n)
{
    gguf_put_key(b, key, GGUF_ARRAY);
    put_le(b, GGUF_STRING, 4);
    put_le(b, n, 8);
    for (size_t i = 0; i < n; i++)
        gguf_put_text(b, value[i]);
}

void gguf_put_i32s(struct bytes *b, const char *key, const int32_t *value, size_t n)
{
    gguf_put_key(b, key, GGUF_ARRAY);
    put_le(b, GGUF_I32, 4);
    put_le(b, n, 8);
    for (size_t i = 0; i < n; i++)
        put_le(b, (uint32_t)value[i], 4);
}

static bool left_out(const struct gguf_damage *d, const char *name)
{
    return d->leave_out && strcmp(d->leave_out, name) == 0;
}

/* Puts the keys; returns how many. */
static uint32_t put_keys(struct bytes *b, const struct arch *a, const struct gguf_damage *d)
{
    const struct {
        const char *key;
        uint32_t value;
    } sizes[] = {
        {"llama.block_count", a->layers},
        {"llama.embedding_length", a->hidden},
        {"llama.attention.head_count", a->heads},
        {"llama.attention.head_count_kv", a->kv_heads},
        {"llama.attention.key_length", a->head_dim},
        {"llama.rope.dimension_count", a->head_dim},
        {"llama.feed_forward_length", a->intermediate},
        {"llama.context_length", a->max_model_len},
    };
    uint32_t n = 1;

    gguf_put_string(b, "general.architecture", d->architecture ? d->architecture : "llama");
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        if (left_out(d, sizes[i].key))
            continue;
        gguf_put_u32(b, sizes[i].key, sizes[i].value);
        n++;
    }
    if (!left_out(d, "llama.attention.layer_norm_rms_epsilon")) {
        gguf_put_f32(b, "llama.attention.layer_norm_rms_epsilon", (float)a->rms_eps);
        n++;
    }
    gguf_put_f32(b, "llama.rope.freq_base", (float)a->rope_theta);
    if (d->rope_scaling)
        gguf_put_string(b, "llama.rope.scaling.type", d->rope_scaling);
    if (d->alignment)
        gguf_put_u32(b, "general.alignment", d->alignment);
    return n + 1 + (d->rope_scaling != NULL) + (d->alignment != 0);
}

static void name_of(const struct arch *a, uint32_t tensor, char *out, size_t size)
{
    static const char *const layer[] = {"attn_norm", "attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_norm",  "ffn_gate", "ffn_up", "ffn_down"};
    static const char *const last[] = {"token_embd", "output_norm", "output"};
    uint32_t n = a->layers * LAYER_TENSORS;

    if (tensor < n)
        snprintf(out, size, "blk.%u.%s.weight", tensor / LAYER_TENSORS,
                 layer[tensor % LAYER_TENSORS]);
    else
        snprintf(out, size, "%s.weight", last[tensor - n]);
}

/* Which row of q or k is written as row `row`: llama.cpp has the halves of a head interleaved. */
static uint32_t written_row(const struct arch *a, uint32_t tensor, uint32_t row)
{
    uint32_t d = a->head_dim, in_head = row % d, kind = tensor % LAYER_TENSORS;

    if (tensor >= a->layers * LAYER_TENSORS || (kind != LAYER_Q && kind != LAYER_K))
        return row;
    return row - in_head + in_head % 2 * (d / 2) + in_head / 2;
}

static void put_data(struct bytes *b, const struct weights *w, uint32_t tensor)
{
    struct tensor_shape s = weights_shape(&w->arch, tensor);
    const uint16_t *bf16 = weights_tensor(w, tensor);

    while (b->n % 32 != 0)
        put_le(b, 0, 1);
    for (uint32_t row = 0; row < s.rows; row++)
        for (uint32_t i = 0; i < s.cols; i++)
            put_le(b, (uint64_t)bf16[(size_t)written_row(&w->arch, tensor, row) * s.cols + i] << 16,
                   4);
}

static void put_tensor(struct bytes *b, const char *name, struct tensor_shape s, uint64_t offset,
                       const struct gguf_damage *d)
{
    uint32_t dims = d->dims ? d->dims : s.norm ? 1 : 2;

    gguf_put_text(b, name);
    put_le(b, dims, 4);
    put_le(b, s.cols, 8);
    for (uint32_t i = 1; i < dims; i++)
        put_le(b, i == 1 ? s.rows : 1, 8);
    put_le(b, d->type, 4);
    put_le(b, offset + d->offset_by, 8);
}

void gguf_make(struct bytes *out, const struct weights *w, const struct gguf_damage *d,
               const struct bytes *extra, uint32_t n_extra)
{
    struct bytes keys = {0}, tensors = {0}, data = {0};
    uint32_t n_keys = put_keys(&keys, &w->arch, d), n_tensors = 0;
    char name[64];

    for (uint32_t t = 0; t < weights_tensors(&w->arch); t++) {
        name_of(&w->arch, t, name, sizeof(name));
        if (left_out(d, name))
            continue;
        put_data(&data, w, t);
        put_tensor(&tensors, name, weights_shape(&w->arch, t),
                   data.n - 4 * (uint64_t)weights_shape(&w->arch, t).rows *
                                weights_shape(&w->arch, t).cols,
                   d);
        n_tensors++;
    }
    if (d->add)
        put_tensor(&tensors, d->add, (struct tensor_shape){1, w->arch.hidden, true}, 0, d);
    put_bytes(out, "GGUF", 4);
    put_le(out, d->version ? d->version : 3, 4);
    put_le(out, n_tensors + (d->add != NULL), 8);
    put_le(out, n_keys + n_extra, 8);
    put_bytes(out, keys.at, keys.n);
    if (extra)
        put_bytes(out, extra->at, extra->n);
    put_bytes(out, tensors.at, tensors.n);
    while (out->n % 32 != 0)
        put_le(out, 0, 1);
    put_bytes(out, data.at, data.n);
    mem_free(keys.at);
    mem_free(tensors.at);
    mem_free(data.at);
}

size_t gguf_data_bytes(const struct weights *w)
{
    struct bytes data = {0};
    size_t n;

    for (uint32_t t = 0; t < weights_tensors(&w->arch); t++)
        put_data(&data, w, t);
    n = data.n;
    mem_free(data.at);
    return n;
}

/* ---- the real one ---- */

const char *smollm2_path(void)
{
    static char path[512];
    const char *models = getenv("TANDEM_MODELS"), *cache = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");

    if (models)
        snprintf(path, sizeof(path), "%s/%s", models, SMOLLM2);
    else if (cache)
        snprintf(path, sizeof(path), "%s/tandem/%s", cache, SMOLLM2);
    else
        snprintf(path, sizeof(path), "%s/.cache/tandem/%s", home ? home : "", SMOLLM2);
    if (access(path, R_OK) == 0)
        return path;
    printf("SKIP: SmolLM2 is not in %s; scripts/get-model fetches it\n", path);
    fflush(stdout);
    return NULL;
}
