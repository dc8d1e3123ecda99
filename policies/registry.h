/* registry.h: policies by name. Tables are expanded from registry.def, in its order. */
#ifndef POLICIES_REGISTRY_H
#define POLICIES_REGISTRY_H

#include "sim/kvpolicy.h"
#include "sim/predictor.h"
#include "sim/prefix.h"
#include "sim/router.h"
#include "sim/scheduler.h"

/* NULL: no such name / past the end. */
const struct scheduler_ops *scheduler_find(const char *name);
const struct scheduler_ops *scheduler_at(size_t i);
const struct router_ops *router_find(const char *name);
const struct router_ops *router_at(size_t i);
const struct kvpolicy_ops *kvpolicy_find(const char *name);
const struct kvpolicy_ops *kvpolicy_at(size_t i);
const struct kvbudget_ops *kvbudget_find(const char *name);
const struct kvbudget_ops *kvbudget_at(size_t i);
const struct prefix_ops *prefix_find(const char *name);
const struct prefix_ops *prefix_at(size_t i);
const struct predictor_ops *predictor_find(const char *name);
const struct predictor_ops *predictor_at(size_t i);

#endif
