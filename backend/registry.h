/* registry.h: backends by name, expanded from registry.def, in its order. */
#ifndef BACKEND_REGISTRY_H
#define BACKEND_REGISTRY_H

#include "sim/backend.h"

const struct backend_ops *backend_find(const char *name); /* NULL: unknown */
const struct backend_ops *backend_at(size_t i);           /* NULL past the end */

#endif
