/* trace_world.h: what a trace test needs: temporary files, an environment, records as text. */
#ifndef TESTS_SUPPORT_TRACE_WORLD_H
#define TESTS_SUPPORT_TRACE_WORLD_H

#include "tests/support/trace_check.h"
#include "traces/registry.h"

struct trace_world {
    struct names tenants, classes;
    struct params params;
    struct trace_env env;
    struct err err;
    char dir[64], path[96]; /* a folder of its own and the one file in it */
};

void trace_world_init(struct trace_world *w);
void trace_world_release(struct trace_world *w); /* the file and the folder too */

/* Writes w->path: as it is, or compressed. */
void trace_world_file(struct trace_world *w, const char *bytes, size_t n);
void trace_world_gzip(struct trace_world *w, const char *bytes, size_t n);

/* Sets "key=value;key=value" (owner trace); types as trace_params says. */
void trace_world_set(struct trace_world *w, const char *settings);

/* Reads `path` to its end and checks every record. One line a record is appended to `out` (may be
 * NULL): "SEQ @SECONDS pN oN ..." with what else it says, and its segments as [STREAM:OFFSET+N
 * ...], streams numbered in order of appearance. Returns how it ended; the message is in w->err,
 * the number of records in *n. */
enum trace_status trace_world_read(struct trace_world *w, const char *path, const char *format,
                                   char *out, size_t size, uint64_t *n);

#endif
