#include "backend/model/tensor.h"

#include "backend/model/file_map.h"
#include "backend/model/float16.h"

#include <string.h>

/* ---- sets ---- */

struct tensor *tensor_add(struct tensor_set *s, struct arena *a, const char *name, size_t len)
{
    char *copy = arena_alloc(a, len + 1);

    memcpy(copy, name, len);
    s->tensor = arena_reserve(a, s->tensor, &s->cap, s->n + 1, sizeof(*s->tensor));
    s->tensor[s->n] = (struct tensor){.name = copy, .type = TENSOR_UNSUPPORTED};
    return &s->tensor[s->n++];
}

struct tensor *tensor_find(const struct tensor_set *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->tensor[i].name, name) == 0)
            return &s->tensor[i];
    return NULL;
}

/* ---- types ---- */

static float half_at(const uint8_t *at)
{
    return half_to_float((uint16_t)read_le(at, 2));
}

static void f32_block(const uint8_t *b, float *out)
{
    *out = float_from_bits((uint32_t)read_le(b, 4));
}

static void f16_block(const uint8_t *b, float *out)
{
    *out = half_at(b);
}

static void bf16_block(const uint8_t *b, float *out)
{
    *out = bf16_to_float((uint16_t)read_le(b, 2));
}

static void q8_0_block(const uint8_t *b, float *out)
{
    float d = half_at(b);

    for (int i = 0; i < 32; i++)
        out[i] = d * (float)(int8_t)b[2 + i];
}

/* The first 16 weights are the low halves of the bytes, the others the high ones. */
static void q4_nibbles(const uint8_t *q, float d, float add, float *out)
{
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)(q[i] & 15) + add;
        out[i + 16] = d * (float)(q[i] >> 4) + add;
    }
}

static void q4_0_block(const uint8_t *b, float *out)
{
    float d = half_at(b);

    q4_nibbles(b + 2, d, -8 * d, out);
}

static void q4_1_block(const uint8_t *b, float *out)
{
    q4_nibbles(b + 4, half_at(b), half_at(b + 2), out);
}

/* Halves of 128 weights, in each four runs of 32: the runs share bytes of low and high bits, and
 * every 16 weights have a scale. */
static void q6_k_block(const uint8_t *b, float *out)
{
    const uint8_t *low = b, *high = b + 128, *scale = b + 192;
    float d = half_at(b + 208);

    for (int i = 0; i < 256; i++) {
        int half = i / 128, run = i % 128 / 32, at = i % 32;
        int q = low[64 * half + 32 * (run % 2) + at] >> (4 * (run / 2)) & 15;

        q |= (high[32 * half + at] >> (2 * run) & 3) << 4;
        out[i] = d * (float)(int8_t)scale[8 * half + 2 * run + at / 16] * (float)(q - 32);
    }
}

static const struct {
    uint32_t elems, bytes; /* of a block */
    void (*to_float)(const uint8_t *block, float *out);
} types[] = {
    [TENSOR_F32] = {1, 4, f32_block},       [TENSOR_F16] = {1, 2, f16_block},
    [TENSOR_BF16] = {1, 2, bf16_block},     [TENSOR_Q8_0] = {32, 34, q8_0_block},
    [TENSOR_Q4_0] = {32, 18, q4_0_block},   [TENSOR_Q4_1] = {32, 20, q4_1_block},
    [TENSOR_Q6_K] = {256, 210, q6_k_block},
};

bool tensor_bytes(enum tensor_type type, uint64_t rows, uint64_t cols, uint64_t *bytes)
{
    return cols % types[type].elems == 0 &&
           !__builtin_mul_overflow(cols / types[type].elems, (uint64_t)types[type].bytes, bytes) &&
           !__builtin_mul_overflow(*bytes, rows, bytes);
}

void tensor_row(const struct tensor *t, uint64_t row, float *out)
{
    uint64_t blocks = t->cols / types[t->type].elems;
    const uint8_t *at = t->data + row * blocks * types[t->type].bytes;

    for (uint64_t i = 0; i < blocks; i++)
        types[t->type].to_float(at + i * types[t->type].bytes, out + i * types[t->type].elems);
}
