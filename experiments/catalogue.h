/* catalogue.h: what this program has, kind by kind: for `tandem list`, for checking ids, and for
 * the keys that plug-ins declare. A new entry in a registry appears here by itself. */
#ifndef EXPERIMENTS_CATALOGUE_H
#define EXPERIMENTS_CATALOGUE_H

#include "sim/params.h"

struct catalogue_entry {
    const char *id, *doc, *source;
    const struct param_desc *params; /* keys `id.name`; NULL: none */
};

struct catalogue {
    const char *plural;                                /* as `tandem list` has it */
    const char *key;                                   /* the configuration key that selects one */
    bool (*at)(size_t i, struct catalogue_entry *out); /* in registry order; false: past the end */
};

extern const struct catalogue catalogue_schedulers, catalogue_routers, catalogue_kv,
    catalogue_budgets, catalogue_prefix, catalogue_predictors, catalogue_backends,
    catalogue_engines, catalogue_models, catalogue_gpus, catalogue_traces;

const struct catalogue *catalogue_at(size_t i); /* all of them; NULL past the end */
bool catalogue_has(const struct catalogue *c, const char *id);

#endif
