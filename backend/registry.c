#include "backend/registry.h"

#include <string.h>

/* First expansion: declare every ops struct. */
#define BACKEND(id) extern const struct backend_ops backend_##id;
#include "backend/registry.def"
#undef BACKEND

#define BACKEND(id) &backend_##id,
static const struct backend_ops *const backends[] = {
#include "backend/registry.def"
};
#undef BACKEND

const struct backend_ops *backend_at(size_t i)
{
    return i < ARRAY_LEN(backends) ? backends[i] : NULL;
}

const struct backend_ops *backend_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(backends); i++)
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}
