#include "policies/registry.h"

#include <string.h>

/* First expansion: declare every ops struct. */
#define SCHEDULER(id) extern const struct scheduler_ops sched_##id;
#define ROUTER(id) extern const struct router_ops router_##id;
#define KVPOLICY(id) extern const struct kvpolicy_ops kv_##id;
#define BUDGET(id) extern const struct kvbudget_ops budget_##id;
#define PREFIX(id) extern const struct prefix_ops prefix_##id;
#define PREDICTOR(id) extern const struct predictor_ops pred_##id;
#include "policies/registry.def"
#undef SCHEDULER
#undef ROUTER
#undef KVPOLICY
#undef BUDGET
#undef PREFIX
#undef PREDICTOR

/* Then one table a kind: every other kind expands to nothing. */
#define SCHEDULER(id)
#define ROUTER(id)
#define KVPOLICY(id)
#define BUDGET(id)
#define PREFIX(id)
#define PREDICTOR(id)

#undef SCHEDULER
#define SCHEDULER(id) &sched_##id,
static const struct scheduler_ops *const schedulers[] = {
#include "policies/registry.def"
};
#undef SCHEDULER
#define SCHEDULER(id)

#undef ROUTER
#define ROUTER(id) &router_##id,
static const struct router_ops *const routers[] = {
#include "policies/registry.def"
};
#undef ROUTER
#define ROUTER(id)

#undef KVPOLICY
#define KVPOLICY(id) &kv_##id,
static const struct kvpolicy_ops *const kvpolicies[] = {
#include "policies/registry.def"
};
#undef KVPOLICY
#define KVPOLICY(id)

#undef BUDGET
#define BUDGET(id) &budget_##id,
static const struct kvbudget_ops *const kvbudgets[] = {
#include "policies/registry.def"
};
#undef BUDGET
#define BUDGET(id)

#undef PREFIX
#define PREFIX(id) &prefix_##id,
static const struct prefix_ops *const prefixes[] = {
#include "policies/registry.def"
};
#undef PREFIX
#define PREFIX(id)

#undef PREDICTOR
#define PREDICTOR(id) &pred_##id,
static const struct predictor_ops *const predictors[] = {
#include "policies/registry.def"
};

#define LOOKUP(kind, type, table)                                                                  \
    const struct type *kind##_at(size_t i)                                                         \
    {                                                                                              \
        return i < ARRAY_LEN(table) ? table[i] : NULL;                                             \
    }                                                                                              \
    const struct type *kind##_find(const char *name)                                               \
    {                                                                                              \
        for (size_t i = 0; i < ARRAY_LEN(table); i++)                                              \
            if (strcmp(table[i]->name, name) == 0)                                                 \
                return table[i];                                                                   \
        return NULL;                                                                               \
    }

LOOKUP(scheduler, scheduler_ops, schedulers)
LOOKUP(router, router_ops, routers)
LOOKUP(kvpolicy, kvpolicy_ops, kvpolicies)
LOOKUP(kvbudget, kvbudget_ops, kvbudgets)
LOOKUP(prefix, prefix_ops, prefixes)
LOOKUP(predictor, predictor_ops, predictors)
