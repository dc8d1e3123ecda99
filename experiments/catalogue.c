#include "experiments/catalogue.h"

#include <string.h>

#include "backend/describe.h"
#include "backend/registry.h"
#include "policies/registry.h"
#include "sim/engine_model.h"
#include "traces/registry.h"

/* clang-format off */
#define CATALOGUE(kind, selecting_key, type, lookup, id_field, source_field, param_list)           \
    static bool kind##_entry(size_t i, struct catalogue_entry *out)                                \
    {                                                                                              \
        const struct type *x = lookup(i);                                                          \
        if (x)                                                                                     \
            *out = (struct catalogue_entry){x->id_field, x->doc, x->source_field, param_list};     \
        return x != NULL;                                                                          \
    }                                                                                              \
    const struct catalogue catalogue_##kind = {#kind, selecting_key, kind##_entry};

static const struct engine_model *engine_at(size_t i)
{
    return engine_model_at((uint32_t)i);
}

CATALOGUE(schedulers, "scheduler", scheduler_ops, scheduler_at, name, source, x->params)
CATALOGUE(routers, "router", router_ops, router_at, name, source, x->params)
CATALOGUE(kv, "kv", kvpolicy_ops, kvpolicy_at, name, source, x->params)
CATALOGUE(budgets, "kv.budget_policy", kvbudget_ops, kvbudget_at, name, source, x->params)
CATALOGUE(prefix, "prefix", prefix_ops, prefix_at, name, source, x->params)
CATALOGUE(backends, "backend", backend_ops, backend_at, name, source, x->params)
CATALOGUE(traces, "trace_format", trace_ops, trace_at, name, source, x->params)
CATALOGUE(engines, "engine", engine_model, engine_at, name, provenance, NULL)
CATALOGUE(models, "model", preset, preset_model_at, id, source, NULL)
CATALOGUE(gpus, "gpu", preset, preset_gpu_at, id, source, NULL)
/* clang-format on */

/* Predictors have one more: to do without. */
static bool predictors_entry(size_t i, struct catalogue_entry *out)
{
    if (i == 0) {
        *out = (struct catalogue_entry){"none", "no predictions", "", NULL};
        return true;
    }
    const struct predictor_ops *p = predictor_at(i - 1);
    if (!p)
        return false;
    *out = (struct catalogue_entry){p->name, p->doc, p->source, p->params};
    return true;
}
const struct catalogue catalogue_predictors = {"predictors", "predictor", predictors_entry};

const struct catalogue *catalogue_at(size_t i)
{
    static const struct catalogue *const all[] = {
        &catalogue_schedulers, &catalogue_routers,    &catalogue_kv,     &catalogue_budgets,
        &catalogue_prefix,     &catalogue_predictors, &catalogue_traces, &catalogue_backends,
        &catalogue_engines,    &catalogue_models,     &catalogue_gpus,
    };
    return i < ARRAY_LEN(all) ? all[i] : NULL;
}

bool catalogue_has(const struct catalogue *c, const char *id)
{
    struct catalogue_entry entry;
    for (size_t i = 0; c->at(i, &entry); i++)
        if (strcmp(entry.id, id) == 0)
            return true;
    return false;
}
