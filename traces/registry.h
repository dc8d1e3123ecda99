/* registry.h: trace formats by name or by looking at a file, and the stack of a run: reader, then
 * what trace.* and session_mode ask for (traces/wrap.h): spread ticks, window, sessions, pace,
 * seeded overlays. */
#ifndef TRACES_REGISTRY_H
#define TRACES_REGISTRY_H

#include "sim/trace.h"

const struct trace_ops *trace_find(const char *name); /* NULL: unknown */
const struct trace_ops *trace_at(size_t i);           /* NULL past the end */

/* Opens `path` as `format` (NULL: detected from its first bytes) and wraps it as the `trace.*`
 * parameters in env->params say. The caller ends with source.ops->close(source.self). */
bool trace_open(const char *path, const char *format, const struct trace_env *env,
                struct trace_source *out, struct err *e) NODISCARD;

/* What the overlays make up, for the run's row: "tenants:zipf(1)x8 seed 1"; "" when nothing. It is
 * made up only in records that lack it. 320 bytes hold any. */
void trace_synthetic(const struct trace_env *env, char *out, size_t size);

/* The `trace.*` keys and session_mode, all with owner "trace"; outside, session_mode is spelled
 * without the owner. A default "" of a number means: not set. */
extern const struct param_desc trace_params[];

#endif
