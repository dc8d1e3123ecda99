/* sink_sqlite.h: the database of record (schema.sql). One transaction a run: a run appears
 * complete or not at all. */
#ifndef EXPERIMENTS_SINK_SQLITE_H
#define EXPERIMENTS_SINK_SQLITE_H

#include "sim/sink.h"

struct sqlite3;

/* What identifies and describes a run; columns of `runs`. NULL strings become NULL. */
struct run_info {
    const char *experiment, *point, *config, *config_hash;
    uint64_t seed;
    uint32_t rep;
    const char *trace, *trace_sha256, *trace_format, *model, *gpu, *backend, *profile;
    const char *inputs_sha256, *scheduler, *router, *kv_policy, *prefix_policy, *predictor;
    uint32_t replicas;
    const char *clock, *slo_source, *quality_ref;
    const char *git_revision;
    bool dirty;
    const char *compiler, *host, *driver;
    bool store_requests, store_steps;
    uint64_t max_request_rows;
};

struct sink_sqlite;

/* Opens or creates the database (busy: waits a little, then says so; an older or foreign schema is
 * refused with a clear message). */
struct sink_sqlite *sink_sqlite_open(const char *path, struct err *e) NODISCARD;
/* The same, waiting at most busy_ms for another writer, here and at the begin of each run. */
struct sink_sqlite *sink_sqlite_open_within(const char *path, int busy_ms, struct err *e) NODISCARD;
/* On a new file of one's own (db_open_scratch), to be merged into another database. */
struct sink_sqlite *sink_sqlite_open_scratch(const char *path, struct err *e) NODISCARD;
/* The sink of one run. Strings in info must outlive it. Several runs may follow one another. */
struct sink sink_sqlite_run(struct sink_sqlite *s, const struct run_info *info);
int64_t sink_sqlite_run_id(const struct sink_sqlite *s); /* of the last run that ended well */
bool sink_sqlite_replaced(const struct sink_sqlite *s);  /* it replaced an earlier run of its key */
/* Switches the finished database back to journal_mode=DELETE and closes it. */
bool sink_sqlite_close(struct sink_sqlite *s, struct err *e) NODISCARD;

#endif
