/* safetensors.h: files of Hugging Face: an 8-byte length, a JSON header, then the data. F32, F16
 * and BF16 can be read; a model may be in several files (model.safetensors.index.json). */
#ifndef BACKEND_MODEL_SAFETENSORS_H
#define BACKEND_MODEL_SAFETENSORS_H

#include "backend/model/tensor.h"

struct safetensors;

/* `path`: a .safetensors file, an index (.json), or a folder with model.safetensors or
 * model.safetensors.index.json. */
struct safetensors *safetensors_open(const char *path, struct err *e) NODISCARD;
void safetensors_close(struct safetensors *s); /* NULL is fine */
struct tensor_set *safetensors_tensors(struct safetensors *s);
/* The config.json beside it. */
const char *safetensors_config(const struct safetensors *s);

#endif
