#include "experiments/recording.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/db.h"
#include "experiments/measured_requests.h"

/* ---- the configuration ---- */

/* A column of table runs; cut to size. */
static bool read_text(sqlite3 *db, const char *column, int64_t run_id, char *text, size_t size,
                      struct err *e)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT %s FROM runs WHERE id = ?", column);
    sqlite3_stmt *q = db_prepare(db, sql, e);
    bool row = false;
    bool ok = q && (sqlite3_bind_int64(q, 1, run_id) == SQLITE_OK || db_error(db, e)) &&
              db_step(q, &row, e);
    const char *value = ok && row ? (const char *)sqlite3_column_text(q, 0) : NULL;
    snprintf(text, size, "%s", value != NULL ? value : "");
    sqlite3_finalize(q);
    return ok;
}

bool recording_config(struct config *c, const char *path, int64_t run_id, struct err *e)
{
    char id[32], digest[17], where[512], bad[CONFIG_NAME_MAX];
    json_t *stored = NULL;
    sqlite3 *db = db_open_read(path, e);
    if (!db)
        return false;
    snprintf(where, sizeof where, "%s: ", path);
    bool ok = measured_choose_run(db, path, &run_id, &stored, e) &&
              config_merge(c, stored, where, bad, e) &&
              read_text(db, "digest", run_id, digest, sizeof digest, e);
    snprintf(id, sizeof id, "%" PRId64, run_id);
    ok = ok && config_set(c, "backend", "replay", e) && config_set(c, "replay", path, e) &&
         config_set(c, "run", id, e) && config_set(c, "replay_digest", digest, e) &&
         config_set(c, "clock", "virtual", e);
    json_decref(stored);
    sqlite3_close(db);
    return ok;
}

/* ---- what was stored ---- */

/* Calls take(f, query) for each row of the run. */
static bool each_row(sqlite3 *db, const char *sql, int64_t run_id,
                     bool (*take)(struct recording_file *, sqlite3_stmt *, struct err *),
                     struct recording_file *f, struct err *e)
{
    sqlite3_stmt *q = db_prepare(db, sql, e);
    bool row = true;
    bool ok = q && (sqlite3_bind_int64(q, 1, run_id) == SQLITE_OK || db_error(db, e));
    while (ok && (ok = db_step(q, &row, e)) && row)
        ok = take(f, q, e);
    sqlite3_finalize(q);
    return ok;
}

/* The replica that a row is of. */
static struct recorded_replica *row_replica(struct recording_file *f, sqlite3_stmt *q,
                                            struct err *e)
{
    int64_t replica = sqlite3_column_int64(q, 0);
    if (replica >= 0 && replica < f->n_replicas)
        return &f->replica[replica];
    err_set(e, "replay: the run has a replica %" PRId64 ", the configuration %u of them", replica,
            f->n_replicas);
    return NULL;
}

/* Rows are numbered from 0 on each replica, and none is missing. */
static bool expect_number(sqlite3_stmt *q, const char *what, size_t next, struct err *e)
{
    int64_t number = sqlite3_column_int64(q, 1);
    return number == (int64_t)next ||
           err_set(e, "replay: %s %zu of replica %d is not stored, the next is %" PRId64, what,
                   next, sqlite3_column_int(q, 0), number);
}

static bool take_step(struct recording_file *f, sqlite3_stmt *q, struct err *e)
{
    struct recorded_replica *r = row_replica(f, q, e);
    if (!r || !expect_number(q, "step", r->rec.n_steps, e))
        return false;
    r->step = mem_reserve(r->step, &r->step_cap, r->rec.n_steps + 1, sizeof *r->step);
    r->rec.step = r->step;
    r->step[r->rec.n_steps++] = (struct recorded_step){
        .start_at = sqlite3_column_int64(q, 2),
        .duration_ns = sqlite3_column_int64(q, 3),
        .device_ns = sqlite3_column_double(q, 4),
        .n_decode = (uint32_t)sqlite3_column_int64(q, 5),
        .n_prefill = (uint32_t)sqlite3_column_int64(q, 6),
        .decode_tokens = (uint32_t)sqlite3_column_int64(q, 7),
        .prefill_tokens = (uint32_t)sqlite3_column_int64(q, 8),
        .context_tokens = (uint64_t)sqlite3_column_int64(q, 9),
    };
    return true;
}

static ns_t column_ns(sqlite3_stmt *q, int column, ns_t absent)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL ? absent : sqlite3_column_int64(q, column);
}

static bool take_swap(struct recording_file *f, sqlite3_stmt *q, struct err *e)
{
    struct recorded_replica *r = row_replica(f, q, e);
    if (!r || !expect_number(q, "transfer", r->rec.n_swaps, e))
        return false;
    const char *direction = (const char *)sqlite3_column_text(q, 3);
    r->swap = mem_reserve(r->swap, &r->swap_cap, r->rec.n_swaps + 1, sizeof *r->swap);
    r->rec.swap = r->swap;
    r->swap[r->rec.n_swaps++] = (struct recorded_swap){
        .seq = (uint64_t)sqlite3_column_int64(q, 2),
        .out = direction != NULL && strcmp(direction, "out") == 0,
        .submitted_at = sqlite3_column_int64(q, 4),
        .done_at = column_ns(q, 5, NS_NEVER),
    };
    return true;
}

static bool take_request(struct recording_file *f, sqlite3_stmt *q, struct err *e)
{
    (void)e;
    f->request = mem_reserve(f->request, &f->request_cap, f->n_requests + 1, sizeof *f->request);
    f->request[f->n_requests++] = (struct recorded_request){
        .seq = (uint64_t)sqlite3_column_int64(q, 0),
        .admitted_at = column_ns(q, 1, -1),
        .first_token_at = column_ns(q, 2, -1),
        .done_at = column_ns(q, 3, -1),
    };
    return true;
}

static bool read_rows(struct recording_file *f, sqlite3 *db, int64_t run_id, struct err *e)
{
    return each_row(db,
                    "SELECT replica, step, at_ns, duration_ns, device_ns, n_decode, n_prefill,"
                    " decode_tokens, prefill_tokens, context_tokens FROM steps WHERE run_id = ?"
                    " ORDER BY replica, step",
                    run_id, take_step, f, e) &&
           each_row(db,
                    "SELECT replica, n, seq, direction, submitted_ns, done_ns FROM transfers"
                    " WHERE run_id = ? ORDER BY replica, n",
                    run_id, take_swap, f, e) &&
           each_row(db,
                    "SELECT seq, admitted_ns, first_token_ns, done_ns FROM requests"
                    " WHERE run_id = ? ORDER BY seq",
                    run_id, take_request, f, e);
}

static bool check_stored(const struct recording_file *f, const struct config *c, const char *path,
                         int64_t run_id, struct err *e)
{
    const char *digest = config_str(c, "replay_digest");
    size_t steps = 0;
    for (uint32_t i = 0; i < f->n_replicas; i++)
        steps += f->replica[i].rec.n_steps;
    if (*f->digest == '\0')
        return err_set(e, "%s: there is no finished run %" PRId64 "; see its table runs", path,
                       run_id);
    if (!digest || strcmp(digest, f->digest) != 0)
        return err_set(e,
                       "%s: run %" PRId64 " has the digest %s, not the one asked for; give "
                       "--replay DB --run ID anew",
                       path, run_id, f->digest);
    return steps > 0 ||
           err_set(e, "%s: run %" PRId64 " was stored without --steps; run it again", path, run_id);
}

bool recording_read(struct recording_file *f, const struct config *c, uint32_t n_replicas,
                    struct err *e)
{
    const char *path = config_str(c, "replay");
    int64_t run_id = (int64_t)config_num(c, "run");
    *f = (struct recording_file){.n_replicas = n_replicas};
    f->replica = mem_alloc(n_replicas * sizeof *f->replica);
    if (!path)
        return err_set(e, "backend: replay plays a stored run back; give --replay DB --run ID");
    sqlite3 *db = db_open_read(path, e);
    bool ok = db && read_text(db, "digest", run_id, f->digest, sizeof f->digest, e) &&
              read_text(db, "trace_sha256", run_id, f->trace_sha256, SHA256_HEX, e) &&
              read_text(db, "cost_model", run_id, f->cost_model, sizeof f->cost_model, e) &&
              read_rows(f, db, run_id, e) && check_stored(f, c, path, run_id, e);
    for (uint32_t i = 0; i < n_replicas; i++)
        f->replica[i].rec.cost_model = f->cost_model;
    sqlite3_close(db);
    return ok;
}

void recording_release(struct recording_file *f)
{
    for (uint32_t i = 0; f->replica != NULL && i < f->n_replicas; i++) {
        mem_free(f->replica[i].step);
        mem_free(f->replica[i].swap);
    }
    mem_free(f->replica);
    mem_free(f->request);
    *f = (struct recording_file){0};
}

/* ---- what comes out again ---- */

static int by_seq(const void *key, const void *element)
{
    uint64_t seq = *(const uint64_t *)key;
    const struct recorded_request *r = element;
    return (seq > r->seq) - (seq < r->seq);
}

/* Times are told from the first on, so that the first that differs is the reason of the others. */
void recording_compare(struct recording_file *f, const struct request_row *row)
{
    const struct recorded_request *was =
        f->n_requests == 0 ? NULL
                           : bsearch(&row->seq, f->request, f->n_requests, sizeof *was, by_seq);
    if (!was)
        return;
    const struct {
        const char *what;
        ns_t was, is;
    } times[] = {
        {"admitted", was->admitted_at, row->admitted_at},
        {"first token", was->first_token_at, row->first_token_at},
        {"done", was->done_at, row->done_at},
    };
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        ns_t first = times[i].was < 0  ? times[i].is
                     : times[i].is < 0 ? times[i].was
                                       : MIN(times[i].was, times[i].is);
        if (times[i].was == times[i].is || (f->differs && first >= f->differs_at))
            continue;
        f->differs = true;
        f->differs_at = first;
        snprintf(f->difference, sizeof f->difference,
                 "request %" PRIu64 ", %s: at %" PRId64 " ns, now at %" PRId64 " ns (-1: never)",
                 row->seq, times[i].what, times[i].was, times[i].is);
    }
}

bool recording_check(const struct recording_file *f, uint64_t digest, struct err *e)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016" PRIx64, digest);
    if (strcmp(hex, f->digest) == 0)
        return true;
    return err_set(e,
                   "replay: the digest is %s, the run's %s; the first difference: %s; replay with "
                   "the run's own configuration, trace and program",
                   hex, f->digest, f->differs ? f->difference : "no time of a stored request");
}
