/* wrap.h: the wrappers that trace_open puts around a reader, from the inside out: spread, window,
 * sessions, pace, overlay. Each takes over *s and leaves itself in its place; one that has nothing
 * to do leaves *s alone. Records keep their seq: it is their row in the file. */
#ifndef TRACES_WRAP_H
#define TRACES_WRAP_H

#include "sim/trace.h"

/* trace.spread_ticks: the records of one tick (equal arrivals) are spread evenly, in the file's
 * order, over the time to the next tick; those of the last over as long as the one before. Holds
 * the records of one tick in memory. */
void spread_wrap(struct trace_source *s, const struct trace_env *env);

/* trace.start_s, trace.duration_s, trace.limit: keeps the timed records that arrive in
 * [start, start + duration), in the order of the file at most `limit` records; start becomes time
 * 0. A record that follows one that was cut is cut. */
void window_wrap(struct trace_source *s, const struct trace_env *env);

/* Content of records that name a session and carry no segments: the session's history; and
 * session_mode=after (see sessions.c). */
void sessions_wrap(struct trace_source *s, const struct trace_env *env);

/* trace.rate_scale divides arrivals (delays are think times and stay); trace.max_tokens where the
 * record has none. */
void pace_wrap(struct trace_source *s, const struct trace_env *env);

/* trace.tenants, trace.prefix_groups, trace.classes: seeded, where the record has none. Always
 * there: records that are left without a tenant get the tenant "default". */
bool overlay_wrap(struct trace_source *s, const struct trace_env *env, struct err *e) NODISCARD;

#endif
