/* sink_sqlite.c: a run becomes rows of schema.sql.
 *
 * What must hold: every row is written inside the run's transaction, which `begin` opens and `end`
 * closes; a run that fails anywhere leaves the database as it was, with the earlier run of its key
 * still in it. */
#include "experiments/sink_sqlite.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "experiments/db.h"

enum { BUSY_MS = 5000, NO_RUN = 0 };

enum stmt_id {
    STMT_FIND,
    STMT_DELETE,
    STMT_RUN,
    STMT_DONE,
    STMT_REQUEST,
    STMT_STEP,
    STMT_TRANSFER,
    STMT_TENANT,
    STMT_SUMMARY,
    STMT_TIMELINE,
    STMT_HISTOGRAM,
    N_STMTS
};

/* Parameters in the order in which they are put below; all but FIND begin with the run's id. */
static const char *const stmt_sql[N_STMTS] = {
    [STMT_FIND] = "SELECT id FROM runs WHERE config_hash = ? AND seed = ? AND rep = ?",
    [STMT_DELETE] = "DELETE FROM runs WHERE id = ?",
    [STMT_RUN] = "INSERT INTO runs (id, experiment, point, config, config_hash, seed, rep, trace,"
                 " trace_sha256, trace_format, model, gpu, backend, profile, inputs_sha256,"
                 " scheduler, router, kv_policy, prefix_policy, predictor, replicas, clock,"
                 " slo_source, quality_ref, git_revision, dirty, compiler, host, driver,"
                 " started_at, status)"
                 " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,"
                 " ?, ?, ?, ?, ?, ?, 'running')",
    [STMT_DONE] = "UPDATE runs SET digest = ?2, cost_model = ?3, wall_s = ?4, status = 'done'"
                  " WHERE id = ?1",
    [STMT_REQUEST] = "INSERT INTO requests (run_id, seq, tenant, session, turn, slo_class,"
                     " arrived_ns, admitted_ns, first_token_ns, done_ns, prompt_tokens,"
                     " output_tokens, max_tokens, cached_tokens, preemptions, itl_max_ns, replica,"
                     " status, reason, met_slo)"
                     " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STMT_STEP] = "INSERT INTO steps (run_id, replica, step, at_ns, duration_ns, device_ns,"
                  " host_ns, n_decode, n_prefill, decode_tokens, prefill_tokens, context_tokens,"
                  " kv_units_used, preempted, prefill_history, prefill_pairs)"
                  " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STMT_TRANSFER] = "INSERT INTO transfers (run_id, replica, n, seq, direction, units,"
                      " submitted_ns, done_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [STMT_TENANT] = "INSERT INTO tenants (run_id, tenant, requests, service, share, ttft_ms_mean,"
                    " ttft_ms_p99, e2el_ms_p50, e2el_ms_p99, slo_attainment)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STMT_SUMMARY] = "INSERT INTO summary (run_id, metric, value) VALUES (?, ?, ?)",
    [STMT_TIMELINE] = "INSERT INTO timeline (run_id, at_ns, series, value) VALUES (?, ?, ?, ?)",
    [STMT_HISTOGRAM] = "INSERT INTO histograms (run_id, metric, bucket_low, bucket_high, count)"
                       " VALUES (?, ?, ?, ?, ?)",
};

/* Tables of many rows: BULK_ROWS of them are bound to one statement before it is carried out. The
 * table's cursor then stays where it is from row to row, which halves the cost of a row. */
enum { BULK_ROWS = 16 };
static const bool in_bulk[N_STMTS] = {
    [STMT_REQUEST] = true, [STMT_STEP] = true, [STMT_TIMELINE] = true};

struct sink_sqlite {
    sqlite3 *db;
    sqlite3_stmt *stmt[N_STMTS];
    int columns[N_STMTS], filled[N_STMTS]; /* in_bulk: of a row; rows that are bound */

    /* The run under way. */
    const struct run_info *info; /* NULL: none */
    struct sink_ops ops;         /* without the callbacks whose rows are not wanted */
    int64_t run_id;
    bool failed;      /* a row was lost: `end` may only roll back */
    char *cost_model; /* ours; NULL: not told */
    uint64_t request_rows, request_rows_dropped;
    struct timespec began; /* CLOCK_MONOTONIC */
    bool replaces;

    /* The last run that ended well. */
    int64_t last_id;
    bool replaced;
};

/* ---- binding one row ---- */

struct row {
    enum stmt_id id;
    sqlite3_stmt *stmt;
    int n;  /* parameters bound so far */
    int rc; /* first failure */
};

static void put_result(struct row *r, int rc)
{
    if (r->rc == SQLITE_OK)
        r->rc = rc;
}

static void put_int(struct row *r, int64_t v)
{
    put_result(r, sqlite3_bind_int64(r->stmt, ++r->n, v));
}

/* Counts and positions stay far below 2^63; a seed above it keeps its bits (schema.sql). */
static void put_u64(struct row *r, uint64_t v)
{
    put_int(r, (int64_t)v);
}

static void put_null(struct row *r)
{
    put_result(r, sqlite3_bind_null(r->stmt, ++r->n));
}

static void put_int_unless(struct row *r, int64_t v, int64_t absent)
{
    if (v == absent)
        put_null(r);
    else
        put_int(r, v);
}

static void put_real(struct row *r, double v) /* SQLite stores NaN as NULL */
{
    put_result(r, sqlite3_bind_double(r->stmt, ++r->n, v));
}

/* NULL: NULL. The string must live until the row is stored: of a row in bulk, until the run ends.
 */
static void put_text(struct row *r, const char *s)
{
    put_result(r, sqlite3_bind_text(r->stmt, ++r->n, s, -1, SQLITE_STATIC));
}

/* The same of a string that lives during the call only. */
static void put_copy(struct row *r, const char *s)
{
    put_result(r, sqlite3_bind_text(r->stmt, ++r->n, s, -1, SQLITE_TRANSIENT));
}

static struct row row_of_run(struct sink_sqlite *s, enum stmt_id id)
{
    struct row r = {
        .id = id, .stmt = s->stmt[id], .n = s->filled[id] * s->columns[id], .rc = SQLITE_OK};

    put_int(&r, s->run_id);
    return r;
}

/* Carries the statement out; after a failure nothing more is stored. */
static bool carry_out(struct sink_sqlite *s, sqlite3_stmt *stmt, int bound, struct err *e)
{
    if (!s->failed) {
        CHECK(!sqlite3_get_autocommit(s->db), "a row is written inside the run's transaction", "%s",
              sqlite3_sql(stmt));
        s->failed = bound != SQLITE_OK || sqlite3_step(stmt) != SQLITE_DONE;
        if (s->failed)
            db_error(s->db, e);
    }
    sqlite3_reset(stmt);
    return !s->failed;
}

/* Stores the rows that are bound: what lies behind them is left over from earlier. */
static bool store_bulk(struct sink_sqlite *s, enum stmt_id id, struct err *e)
{
    int n = s->filled[id];

    s->filled[id] = 0;
    return n == 0 || carry_out(s, s->stmt[id],
                               sqlite3_bind_int(s->stmt[id], BULK_ROWS * s->columns[id] + 1, n), e);
}

/* Stores the row, or keeps it until there are enough of its kind. */
static bool put_row(struct sink_sqlite *s, struct row *r, struct err *e)
{
    if (!in_bulk[r->id] || r->rc != SQLITE_OK)
        return carry_out(s, r->stmt, r->rc, e);
    return !s->failed && (++s->filled[r->id] < BULK_ROWS || store_bulk(s, r->id, e));
}

/* ---- the run ---- */

static void now_utc(char text[32])
{
    struct timespec now;
    struct tm utc;

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static double seconds_since(const struct timespec *then)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then->tv_sec) + (double)(now.tv_nsec - then->tv_nsec) * 1e-9;
}

static void rollback(struct sink_sqlite *s)
{
    /* Some failures (disk full) have rolled back already. Rolling back cannot fail in a way that
     * keeps anything: what was not committed is ignored by the next reader. */
    if (!sqlite3_get_autocommit(s->db))
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Forgets the run under way. */
static void clear_run(struct sink_sqlite *s)
{
    mem_free(s->cost_model);
    s->cost_model = NULL;
    s->info = NULL;
    memset(s->filled, 0, sizeof(s->filled));
}

/* Deletes what hangs on a run. Foreign keys would, too, but they look the run up for every row that
 * is stored; so the sink's connection is without them. */
static bool remove_rows(struct sink_sqlite *s, struct err *e)
{
    sqlite3_stmt *tables =
        db_prepare(s->db,
                   "SELECT 'DELETE FROM ' || m.name || ' WHERE ' || f.\"from\" || ' = ' || ?"
                   " FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f"
                   " WHERE m.type = 'table' AND f.\"table\" = 'runs'",
                   e);
    bool ok = tables &&
              (sqlite3_bind_int64(tables, 1, s->run_id) == SQLITE_OK || db_error(s->db, e)),
         more = ok;

    while (ok && (ok = db_step(tables, &more, e)) && more)
        ok = db_exec(s->db, (const char *)sqlite3_column_text(tables, 0), e);
    sqlite3_finalize(tables);
    return ok;
}

/* Deletes an earlier run of this key, if any; its id is used again. */
static bool remove_earlier(struct sink_sqlite *s, struct err *e)
{
    struct row find = {.id = STMT_FIND, .stmt = s->stmt[STMT_FIND], .rc = SQLITE_OK};
    bool ok;

    put_text(&find, s->info->config_hash);
    put_u64(&find, s->info->seed);
    put_int(&find, s->info->rep);
    ok = find.rc == SQLITE_OK ? db_step(find.stmt, &s->replaces, e) : db_error(s->db, e);
    s->run_id = ok && s->replaces ? sqlite3_column_int64(find.stmt, 0) : NO_RUN;
    sqlite3_reset(find.stmt);
    if (ok && s->replaces) {
        struct row r = row_of_run(s, STMT_DELETE);

        ok = remove_rows(s, e) && put_row(s, &r, e);
    }
    return ok;
}

static bool insert_run(struct sink_sqlite *s, struct err *e)
{
    const struct run_info *i = s->info;
    struct row r = {.id = STMT_RUN, .stmt = s->stmt[STMT_RUN], .rc = SQLITE_OK};
    char started_at[32];
    const char *const what[] = {i->trace,     i->trace_sha256, i->trace_format, i->model,
                                i->gpu,       i->backend,      i->profile,      i->inputs_sha256,
                                i->scheduler, i->router,       i->kv_policy,    i->prefix_policy,
                                i->predictor};

    now_utc(started_at);
    put_int_unless(&r, s->run_id, NO_RUN); /* NULL: SQLite picks the id */
    put_text(&r, i->experiment);
    put_text(&r, i->point);
    put_text(&r, i->config);
    put_text(&r, i->config_hash);
    put_u64(&r, i->seed);
    put_int(&r, i->rep);
    for (size_t k = 0; k < ARRAY_LEN(what); k++)
        put_text(&r, what[k]);
    put_int(&r, i->replicas);
    put_text(&r, i->clock);
    put_text(&r, i->slo_source);
    put_text(&r, i->quality_ref);
    put_text(&r, i->git_revision);
    put_int(&r, i->dirty);
    put_text(&r, i->compiler);
    put_text(&r, i->host);
    put_text(&r, i->driver);
    put_text(&r, started_at);
    if (!put_row(s, &r, e))
        return false;
    s->run_id = sqlite3_last_insert_rowid(s->db);
    return true;
}

static bool begin(void *self, struct err *e)
{
    struct sink_sqlite *s = self;

    clock_gettime(CLOCK_MONOTONIC, &s->began);
    s->failed = false;
    s->request_rows = s->request_rows_dropped = 0;
    if (db_exec(s->db, "BEGIN IMMEDIATE", e) && remove_earlier(s, e) && insert_run(s, e))
        return true;
    rollback(s);
    clear_run(s);
    return false;
}

static void cost_model(void *self, const char *text)
{
    struct sink_sqlite *s = self;

    mem_free(s->cost_model);
    s->cost_model = mem_strdup(text);
}

static bool put_request(void *self, const struct request_row *q, struct err *e)
{
    static const char *const status[] = {[STATUS_FINISHED] = "finished",
                                         [STATUS_REFUSED] = "refused",
                                         [STATUS_UNFINISHED] = "unfinished"};
    struct sink_sqlite *s = self;
    struct row r;

    if (s->request_rows == s->info->max_request_rows) {
        s->request_rows_dropped++;
        return true;
    }
    s->request_rows++;
    r = row_of_run(s, STMT_REQUEST);
    put_u64(&r, q->seq);
    put_text(&r, q->tenant);
    put_copy(&r, q->session);
    put_int_unless(&r, q->turn, UINT32_MAX);
    put_text(&r, q->slo_class);
    put_int_unless(&r, q->arrived_at, -1);
    put_int_unless(&r, q->admitted_at, -1);
    put_int_unless(&r, q->first_token_at, -1);
    put_int_unless(&r, q->done_at, -1);
    put_int(&r, q->prompt_tokens);
    put_int(&r, q->output_tokens);
    put_int(&r, q->max_tokens);
    put_int(&r, q->cached_tokens);
    put_int(&r, q->preemptions);
    put_int_unless(&r, q->itl_max_ns, -1);
    put_int_unless(&r, q->replica, UINT32_MAX);
    put_text(&r, status[q->status]);
    put_text(&r, q->reason && *q->reason ? q->reason : NULL);
    put_int(&r, q->met_slo);
    return put_row(s, &r, e);
}

static bool put_step(void *self, const struct step_row *t, struct err *e)
{
    struct sink_sqlite *s = self;
    struct row r = row_of_run(s, STMT_STEP);

    put_int(&r, t->replica);
    put_u64(&r, t->step);
    put_int(&r, t->at);
    put_int(&r, t->duration_ns);
    put_real(&r, t->device_ns);
    put_real(&r, t->host_ns);
    put_int(&r, t->n_decode);
    put_int(&r, t->n_prefill);
    put_int(&r, t->decode_tokens);
    put_int(&r, t->prefill_tokens);
    put_u64(&r, t->context_tokens);
    put_u64(&r, t->kv_units_used);
    put_int(&r, t->preempted);
    put_u64(&r, t->prefill_history);
    put_real(&r, t->prefill_pairs);
    return put_row(s, &r, e);
}

static bool put_transfer(void *self, const struct transfer_row *t, struct err *e)
{
    struct sink_sqlite *s = self;
    struct row r = row_of_run(s, STMT_TRANSFER);

    put_int(&r, t->replica);
    put_u64(&r, t->n);
    put_u64(&r, t->seq);
    put_text(&r, t->direction);
    put_u64(&r, t->units);
    put_int(&r, t->submitted_at);
    put_int_unless(&r, t->done_at, -1);
    return put_row(s, &r, e);
}

static bool put_tenant(void *self, const struct tenant_row *t, struct err *e)
{
    struct sink_sqlite *s = self;
    struct row r = row_of_run(s, STMT_TENANT);

    put_text(&r, t->tenant);
    put_u64(&r, t->requests);
    put_real(&r, t->service);
    put_real(&r, t->share);
    put_real(&r, t->ttft_ms_mean);
    put_real(&r, t->ttft_ms_p99);
    put_real(&r, t->e2el_ms_p50);
    put_real(&r, t->e2el_ms_p99);
    put_real(&r, t->slo_attainment);
    return put_row(s, &r, e);
}

static bool put_summary(void *self, const char *metric, double value, struct err *e)
{
    struct sink_sqlite *s = self;
    struct row r = row_of_run(s, STMT_SUMMARY);

    put_text(&r, metric);
    put_real(&r, value);
    return put_row(s, &r, e);
}

static bool put_timeline(void *self, ns_t at, const char *series, double value, struct err *e)
{
    struct sink_sqlite *s = self;
    struct row r = row_of_run(s, STMT_TIMELINE);

    put_int(&r, at);
    put_text(&r, series);
    put_real(&r, value);
    return put_row(s, &r, e);
}

static bool put_histogram(void *self, const char *metric, const struct quantile_bucket *b,
                          struct err *e)
{
    struct sink_sqlite *s = self;
    struct row r = row_of_run(s, STMT_HISTOGRAM);

    put_text(&r, metric);
    put_real(&r, b->low_ms);
    put_real(&r, b->high_ms);
    put_u64(&r, b->count);
    return put_row(s, &r, e);
}

/* The last rows, and the commit that makes the run visible. */
static bool commit(struct sink_sqlite *s, uint64_t digest, struct err *e)
{
    char hex[17];
    struct row r;

    for (int id = 0; id < N_STMTS; id++)
        if (!store_bulk(s, (enum stmt_id)id, e))
            return false;
    if (s->request_rows_dropped &&
        !put_summary(s, "request_rows_dropped", (double)s->request_rows_dropped, e))
        return false;
    (void)snprintf(hex, sizeof(hex), "%016" PRIx64, digest);
    r = row_of_run(s, STMT_DONE);
    put_text(&r, hex);
    put_text(&r, s->cost_model);
    put_real(&r, seconds_since(&s->began));
    return put_row(s, &r, e) && db_exec(s->db, "COMMIT", e);
}

static bool end(void *self, bool ok, uint64_t digest, struct err *e)
{
    struct sink_sqlite *s = self;
    bool done = true;

    if (ok)
        done = commit(s, digest, e);
    if (ok && done) {
        s->last_id = s->run_id;
        s->replaced = s->replaces;
    } else {
        rollback(s);
    }
    clear_run(s);
    return done;
}

/* ---- the sink ---- */

/* All but the connection. */
static void release(struct sink_sqlite *s)
{
    for (size_t i = 0; i < N_STMTS; i++)
        sqlite3_finalize(s->stmt[i]);
    mem_free(s);
}

/* "INSERT ... VALUES (?, ...)" for BULK_ROWS rows, of which the last parameter says how many.
 * NULL: no memory. */
static char *bulk_sql(const char *sql, int *columns)
{
    const char *tuple = strchr(strstr(sql, " VALUES "), '(');
    sqlite3_str *text = sqlite3_str_new(NULL);

    *columns = 0;
    for (const char *c = tuple; *c; c++)
        *columns += *c == '?';
    /* OR ROLLBACK: no rows of a statement are kept apart, since a row that fails ends the run */
    sqlite3_str_appendf(text, "INSERT OR ROLLBACK%.*sSELECT * FROM (VALUES ",
                        (int)(strstr(sql, "VALUES ") - strstr(sql, " INTO")), strstr(sql, " INTO"));
    for (int i = 0; i < BULK_ROWS; i++)
        sqlite3_str_appendf(text, "%s%s", i ? ", " : "", tuple);
    sqlite3_str_appendall(text, ") LIMIT ?");
    return sqlite3_str_finish(text);
}

static sqlite3_stmt *prepare(struct sink_sqlite *s, enum stmt_id id, struct err *e)
{
    if (!in_bulk[id])
        return db_prepare(s->db, stmt_sql[id], e);
    char *sql = bulk_sql(stmt_sql[id], &s->columns[id]);
    sqlite3_stmt *stmt = sql ? db_prepare(s->db, sql, e) : NULL;
    if (!sql)
        err_set(e, "sink: no memory for a statement; free memory, or lower the load");
    sqlite3_free(sql);
    return stmt;
}

/* Takes the connection over; NULL: there is none, and e says why. */
static struct sink_sqlite *open_on(sqlite3 *db, struct err *e)
{
    struct sink_sqlite *s;

    if (!db)
        return NULL;
    s = mem_alloc(sizeof(*s));
    s->db = db;
    if (!db_exec(db, "PRAGMA foreign_keys = OFF", e))
        goto fail;
    for (int i = 0; i < N_STMTS; i++) {
        s->stmt[i] = prepare(s, (enum stmt_id)i, e);
        if (!s->stmt[i])
            goto fail;
    }
    return s;
fail:
    release(s);
    sqlite3_close(db);
    return NULL;
}

struct sink_sqlite *sink_sqlite_open_within(const char *path, int busy_ms, struct err *e)
{
    return open_on(db_open_write(path, busy_ms, e), e);
}

struct sink_sqlite *sink_sqlite_open_scratch(const char *path, struct err *e)
{
    return open_on(db_open_scratch(path, e), e);
}

struct sink_sqlite *sink_sqlite_open(const char *path, struct err *e)
{
    return sink_sqlite_open_within(path, BUSY_MS, e);
}

struct sink sink_sqlite_run(struct sink_sqlite *s, const struct run_info *info)
{
    CHECK(sqlite3_get_autocommit(s->db), "one run of a sink at a time", "run %" PRId64, s->run_id);
    s->info = info;
    s->ops = (struct sink_ops){
        .begin = begin,
        .cost_model = cost_model,
        .request = info->store_requests ? put_request : NULL,
        .step = info->store_steps ? put_step : NULL,
        .transfer = info->store_steps ? put_transfer : NULL,
        .tenant = put_tenant,
        .summary = put_summary,
        .timeline = put_timeline,
        .histogram = put_histogram,
        .end = end,
    };
    return (struct sink){.ops = &s->ops, .self = s};
}

int64_t sink_sqlite_run_id(const struct sink_sqlite *s)
{
    return s->last_id;
}

bool sink_sqlite_replaced(const struct sink_sqlite *s)
{
    return s->replaced;
}

bool sink_sqlite_close(struct sink_sqlite *s, struct err *e)
{
    CHECK(sqlite3_get_autocommit(s->db), "a sink is closed after its run has ended", "run %" PRId64,
          s->run_id);
    sqlite3 *db = s->db;
    release(s);
    return db_close_write(db, e);
}
