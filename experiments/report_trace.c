/* report_trace.c: a run as Chrome's trace events, which Perfetto and chrome://tracing show. Times
 * are simulated ones, in microseconds. Process 0 is the cluster: a counter a series of `timeline`.
 * Process n + 1 is replica n: a slice a step, a counter for its KV cache, a mark where requests
 * were preempted. Events are written as they are read: a run may have millions. */
#include "experiments/report.h"

#include <inttypes.h>
#include <jansson.h>
#include <sqlite3.h>

#include "experiments/db.h"
#include "experiments/report_file.h"
#include "experiments/report_runs.h"
#include "experiments/utf8.h"

enum { MAX_RUNS = 12, MAX_STEPS = 1000000, CLUSTER = 0 };

struct trace {
    FILE *f;
    size_t events;
    bool cut; /* more than MAX_STEPS */
};

/* Takes the event. */
static void put_event(struct trace *t, json_t *event)
{
    CHECK(event, "report: an event can be made", "json_pack");
    fputs(t->events++ ? ",\n" : "\n", t->f);
    json_dumpf(event, t->f, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(event);
}

static double us(int64_t ns)
{
    return (double)ns / 1e3;
}

/* A name of somebody's as JSON can hold it. */
static json_t *text(const char *s)
{
    char clean[256];
    size_t used = 0;

    while (*s && used < sizeof(clean) - 4) {
        size_t n = utf8_char(s);

        used += (size_t)snprintf(clean + used, sizeof(clean) - used, "%.*s", (int)(n ? n : 1),
                                 n ? s : "?");
        s += n ? n : 1;
    }
    return json_stringn(clean, used);
}

static void put_process(struct trace *t, int64_t pid, json_t *name)
{
    put_event(t, json_pack("{s:s,s:s,s:I,s:{s:o}}", "name", "process_name", "ph", "M", "pid",
                           (json_int_t)pid, "args", "name", name));
}

static void put_counter(struct trace *t, int64_t pid, int64_t at_ns, json_t *name, double value)
{
    put_event(t, json_pack("{s:o,s:s,s:f,s:I,s:{s:f}}", "name", name, "ph", "C", "ts", us(at_ns),
                           "pid", (json_int_t)pid, "args", "value", value));
}

/* ---- rows ---- */

enum step_column { REPLICA, STEP, AT, DURATION, N_DECODE, N_PREFILL, KV_UNITS = 9, PREEMPTED };

static const char select_steps[] =
    "SELECT replica, step, at_ns, duration_ns, n_decode, n_prefill, decode_tokens, prefill_tokens,"
    " context_tokens, kv_units_used, preempted FROM steps WHERE run_id = ? ORDER BY replica, step";

static void put_step(struct trace *t, sqlite3_stmt *stmt)
{
    int64_t pid = sqlite3_column_int64(stmt, REPLICA) + 1, at = sqlite3_column_int64(stmt, AT);
    bool decodes = sqlite3_column_int64(stmt, N_DECODE) > 0;
    bool prefills = sqlite3_column_int64(stmt, N_PREFILL) > 0;
    json_t *args = json_object();

    json_object_set_new(args, "step", json_integer(sqlite3_column_int64(stmt, STEP)));
    for (int i = N_DECODE; i <= PREEMPTED; i++)
        json_object_set_new(args, sqlite3_column_name(stmt, i),
                            json_integer(sqlite3_column_int64(stmt, i)));
    put_event(t, json_pack("{s:s,s:s,s:f,s:f,s:I,s:i,s:o}", "name",
                           decodes && prefills ? "prefill and decode"
                           : prefills          ? "prefill"
                                               : "decode",
                           "ph", "X", "ts", us(at), "dur", us(sqlite3_column_int64(stmt, DURATION)),
                           "pid", (json_int_t)pid, "tid", 1, "args", args));
    if (sqlite3_column_int64(stmt, PREEMPTED) > 0)
        put_event(t, json_pack("{s:s,s:s,s:s,s:f,s:I,s:i,s:{s:I}}", "name", "preempted", "ph", "i",
                               "s", "t", "ts", us(at), "pid", (json_int_t)pid, "tid", 1, "args",
                               "requests", (json_int_t)sqlite3_column_int64(stmt, PREEMPTED)));
}

static bool put_steps(struct trace *t, sqlite3_stmt *stmt, struct err *e)
{
    int64_t replica = -1, kv = -1;
    bool ok, row = false;

    for (size_t n = 0; (ok = db_step(stmt, &row, e)) && row; n++) {
        t->cut = n == MAX_STEPS;
        if (t->cut)
            break;
        if (sqlite3_column_int64(stmt, REPLICA) != replica) {
            replica = sqlite3_column_int64(stmt, REPLICA);
            kv = -1;
            put_process(t, replica + 1, json_sprintf("replica %" PRId64, replica));
        }
        put_step(t, stmt);
        if (sqlite3_column_int64(stmt, KV_UNITS) != kv) {
            kv = sqlite3_column_int64(stmt, KV_UNITS);
            put_counter(t, replica + 1, sqlite3_column_int64(stmt, AT),
                        json_string("KV page units in use"), (double)kv);
        }
    }
    return ok;
}

static bool put_series(struct trace *t, sqlite3_stmt *stmt, struct err *e)
{
    bool ok, row = false;

    while ((ok = db_step(stmt, &row, e)) && row)
        put_counter(t, CLUSTER, sqlite3_column_int64(stmt, 0),
                    text((const char *)sqlite3_column_text(stmt, 1)),
                    sqlite3_column_double(stmt, 2));
    return ok;
}

static bool put_rows(struct trace *t, sqlite3 *db, int64_t run_id, const char *sql,
                     bool (*put)(struct trace *, sqlite3_stmt *, struct err *), struct err *e)
{
    sqlite3_stmt *stmt = db_prepare(db, sql, e);
    bool ok = stmt && (sqlite3_bind_int64(stmt, 1, run_id) == SQLITE_OK || db_error(db, e)) &&
              put(t, stmt, e);

    sqlite3_finalize(stmt);
    return ok;
}

/* ---- files ---- */

static bool put_run(struct trace *t, sqlite3 *db, const struct report_run *run, struct err *e)
{
    bool ok;

    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", t->f);
    put_process(t, CLUSTER, json_string("cluster"));
    ok = put_rows(t, db, run->id,
                  "SELECT at_ns, series, value FROM timeline WHERE run_id = ?"
                  " ORDER BY series, at_ns",
                  put_series, e) &&
         put_rows(t, db, run->id, select_steps, put_steps, e);
    fputs("\n],\"otherData\":", t->f);
    json_t *other = json_pack("{s:I,s:o,s:o,s:o,s:s,s:b}", "run", (json_int_t)run->id, "label",
                              text(run->label), "trace", text(run->trace), "git_revision",
                              text(run->git_revision), "time", "simulated", "cut", t->cut);
    CHECK(other, "report: a run can be described", "json_pack");
    json_dumpf(other, t->f, JSON_COMPACT);
    json_decref(other);
    fputs("}\n", t->f);
    return ok;
}

static bool write_run(sqlite3 *db, const struct report_run *run, const char *dir, bool *cut,
                      struct err *e)
{
    struct report_file file;
    struct trace t = {.events = 0};
    char name[48];

    snprintf(name, sizeof(name), "trace-%" PRId64 ".json", run->id);
    if (!report_file_open(&file, dir, name, e))
        return false;
    t.f = file.f;
    bool ok = put_run(&t, db, run, e);
    *cut = t.cut;
    return report_file_close(&file, ok, e);
}

bool report_traces(sqlite3 *db, const char *experiment, const char *dir, FILE *out, struct err *e)
{
    struct report_runs runs;
    bool ok = report_runs_load(&runs, db, experiment, ALL_RUNS, e) && report_make_dir(dir, e);

    if (ok)
        report_runs_keep_first(&runs);
    for (size_t i = 0; ok && i < MIN(runs.n, (size_t)MAX_RUNS); i++) {
        bool cut = false;

        ok = write_run(db, &runs.run[i], dir, &cut, e);
        if (ok)
            fprintf(out, "%s %s/trace-%" PRId64 ".json%s\n", i ? "        " : "Timeline", dir,
                    runs.run[i].id, cut ? " (the first 1000000 steps)" : "");
    }
    report_runs_release(&runs);
    return ok;
}
