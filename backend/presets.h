/* presets.h: the tables that backend/embed_presets.cmake generates from backend/models/ and
 * backend/gpus/. Each ends with an element whose id is NULL. */
#ifndef BACKEND_PRESETS_H
#define BACKEND_PRESETS_H

#include "backend/describe.h"

extern const struct preset preset_models[];
extern const struct preset preset_gpus[];

#endif
