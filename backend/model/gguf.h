/* gguf.h: files of llama.cpp: metadata (key, value) and tensors. Versions 2 and 3, little-endian.
 * gguf_open checks the whole header, so that nothing read afterwards lies outside the file. */
#ifndef BACKEND_MODEL_GGUF_H
#define BACKEND_MODEL_GGUF_H

#include "backend/model/file_map.h"
#include "backend/model/tensor.h"

struct gguf;

struct text {
    const char *at; /* `len` bytes, not terminated */
    size_t len;
};

struct gguf *gguf_open(const char *path, struct err *e) NODISCARD;
void gguf_close(struct gguf *g); /* NULL is fine */
struct tensor_set *gguf_tensors(struct gguf *g);

/* Values; false: there is no such key, or its value is of another kind. Integers of any width are
 * uints if they are not negative. */
bool gguf_uint(const struct gguf *g, const char *key, uint64_t *out) NODISCARD;
bool gguf_real(const struct gguf *g, const char *key, double *out) NODISCARD;
bool gguf_bool(const struct gguf *g, const char *key, bool *out) NODISCARD;
bool gguf_text(const struct gguf *g, const char *key, struct text *out) NODISCARD;
bool gguf_text_is(const struct gguf *g, const char *key, const char *value);

/* Arrays, one element after the other. */
struct gguf_array {
    uint32_t type;
    uint64_t left;
    const uint8_t *at;
};
bool gguf_texts(const struct gguf *g, const char *key, struct gguf_array *out) NODISCARD;
bool gguf_ints(const struct gguf *g, const char *key, struct gguf_array *out) NODISCARD;
bool gguf_next_text(struct gguf_array *a, struct text *out) NODISCARD; /* false: past the end */
bool gguf_next_int(struct gguf_array *a, int64_t *out) NODISCARD;

#endif
