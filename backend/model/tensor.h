/* tensor.h: tensors as they lie in a model's file, whatever its format, and their way to float. */
#ifndef BACKEND_MODEL_TENSOR_H
#define BACKEND_MODEL_TENSOR_H

#include "sim/arena.h"

enum tensor_type {
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    /* Blocks of weights that share a scale, as ggml defines them: */
    TENSOR_Q8_0, /* 32: half d, 32 x int8 */
    TENSOR_Q4_0, /* 32: half d, 16 bytes; w = d * (q - 8) */
    TENSOR_Q4_1, /* 32: half d, half m, 16 bytes; w = d * q + m */
    TENSOR_Q6_K, /* 256: 4 low bits, 2 high bits, 16 x int8 scales, half d */
    TENSOR_UNSUPPORTED
};

struct tensor {
    const char *name;
    enum tensor_type type;
    char type_name[16];  /* as the file calls it */
    uint64_t rows, cols; /* cols lie next to each other; a vector has one row */
    uint64_t offset;     /* of the data, from where the file counts */
    const uint8_t *data; /* all of it is in the file; NULL where the type is unsupported */
    bool used;           /* for who reads them, to see what is left over */
};

struct tensor_set {
    struct tensor *tensor;
    size_t n, cap;
};

/* Adds a zeroed tensor of that name; all memory is the arena's. */
struct tensor *tensor_add(struct tensor_set *s, struct arena *a, const char *name, size_t len);
struct tensor *tensor_find(const struct tensor_set *s, const char *name); /* NULL: none */

/* Bytes of rows x cols of this type. False if cols is no multiple of its block, or there are more
 * bytes than memory has addresses. */
bool tensor_bytes(enum tensor_type type, uint64_t rows, uint64_t cols, uint64_t *bytes) NODISCARD;
/* One row as float, in out[cols]; not for unsupported types. */
void tensor_row(const struct tensor *t, uint64_t row, float *out);

#endif
