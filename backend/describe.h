/* describe.h: model and GPU descriptions from JSON: presets (backend/models, backend/gpus, built
 * into the program so that it runs from anywhere), or a path; for models also a Hugging Face
 * config.json. */
#ifndef BACKEND_DESCRIBE_H
#define BACKEND_DESCRIBE_H

#include "sim/model.h"

/* `id`: a preset's id or alias, or a path (contains '/' or ends in .json). Unknown ids name the
 * nearest known one. */
bool describe_model(const char *id, struct model_desc *out, struct err *e) NODISCARD;
bool describe_gpu(const char *id, struct gpu_desc *out, struct err *e) NODISCARD;

struct preset {
    const char *id, *doc, *source, *json;
};
const struct preset *preset_model_at(size_t i); /* NULL past the end */
const struct preset *preset_gpu_at(size_t i);
const struct preset *preset_model_named(const char *id); /* or alias; NULL: no preset */
const struct preset *preset_gpu_named(const char *id);

#endif
