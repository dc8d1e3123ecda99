/* model_files.h: small model files that tests write themselves, whole or damaged, and the one real
 * model that some tests use where it was fetched (scripts/get-model). */
#ifndef TESTS_SUPPORT_MODEL_FILES_H
#define TESTS_SUPPORT_MODEL_FILES_H

#include "backend/model/weights.h"

/* ---- growing bytes ---- */

struct bytes {
    uint8_t *at; /* free with mem_free */
    size_t n, cap;
};

void put_bytes(struct bytes *b, const void *from, size_t n);
void put_le(struct bytes *b, uint64_t x, size_t bytes);

/* ---- files in a folder of the test's own ---- */

struct model_folder {
    char path[64];
};

void model_folder_make(struct model_folder *f);
void model_folder_remove(struct model_folder *f);
/* The path of a file in it, valid until the next call. */
const char *model_file_path(const struct model_folder *f, const char *name);
const char *model_file_write(const struct model_folder *f, const char *name, const void *from,
                             size_t n);

/* ---- GGUF ---- */

void gguf_put_text(struct bytes *b, const char *text);
void gguf_put_key(struct bytes *b, const char *key, uint32_t type); /* its value follows */
void gguf_put_u32(struct bytes *b, const char *key, uint32_t value);
void gguf_put_f32(struct bytes *b, const char *key, float value);
void gguf_put_string(struct bytes *b, const char *key, const char *value);
void gguf_put_strings(struct bytes *b, const char *key, const char *const *value, size_t n);
void gguf_put_i32s(struct bytes *b, const char *key, const int32_t *value, size_t n);

/* What to write otherwise than right: a test changes one thing. */
struct gguf_damage {
    const char *architecture, *rope_scaling;
    const char *leave_out, *add; /* a tensor or a key; a tensor */
    uint32_t version, type, dims, alignment;
    uint64_t offset_by;
};

/* A file of the weights, which are in memory, in F32. `extra` is n_extra more keys and values. */
void gguf_make(struct bytes *out, const struct weights *w, const struct gguf_damage *d,
               const struct bytes *extra, uint32_t n_extra);

/* Bytes of its tensors, which are the end of the file. */
size_t gguf_data_bytes(const struct weights *w);

/* ---- the real one ---- */

/* The path of SmolLM2-135M-Instruct; NULL, and a line that says so: it was not fetched. */
const char *smollm2_path(void);

#endif
