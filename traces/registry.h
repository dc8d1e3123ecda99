/* registry.h: trace formats by name or by looking at a file, generators by their SPEC (spec.h), and
 * the stack of a run: reader, then what trace.* and session_mode ask for (traces/wrap.h): spread
 * ticks, window, sessions, pace, seeded overlays. */
#ifndef TRACES_REGISTRY_H
#define TRACES_REGISTRY_H

#include "sim/trace.h"

const struct trace_ops *trace_find(const char *name); /* NULL: unknown */
const struct trace_ops *trace_at(size_t i);           /* NULL past the end */

/* Opens `path`, a file, as `format` (NULL: detected from its first bytes), or a SPEC (without a
 * format), and wraps it as the `trace.*` parameters in env->params say. The caller ends with
 * source.ops->close(source.self). */
bool trace_open(const char *path, const char *format, const struct trace_env *env,
                struct trace_source *out, struct err *e) NODISCARD;

/* What the reader drew and the overlays make up, for the run's row: "tenants:zipf(1)x8 seed 1"; ""
 * when nothing. Overlays make up only what a record lacks. */
#define TRACE_SYNTHETIC_MAX 512u /* bytes that hold any */
void trace_synthetic(const struct trace_env *env, const struct trace_source *s, char *out,
                     size_t size);

/* The `trace.*` keys and session_mode, all with owner "trace"; outside, session_mode is spelled
 * without the owner. A default "" of a number means: not set. */
extern const struct param_desc trace_params[];

#endif
