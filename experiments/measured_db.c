/* measured_db.c: requests of a stored run, and what its database says of it. */
#include "experiments/measured_requests.h"

#include <inttypes.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "experiments/db.h"

bool measured_choose_run(sqlite3 *db, const char *path, int64_t *run_id, json_t **config,
                         struct err *e)
{
    sqlite3_stmt *q =
        db_prepare(db, "SELECT id, config FROM runs WHERE ?1 = 0 OR id = ?1 ORDER BY id", e);
    bool row = false, more = false;
    bool ok = q && (sqlite3_bind_int64(q, 1, *run_id) == SQLITE_OK || db_error(db, e)) &&
              db_step(q, &row, e);
    if (ok && row) {
        const char *text = (const char *)sqlite3_column_text(q, 1);
        int64_t asked = *run_id;
        *run_id = sqlite3_column_int64(q, 0);
        *config = text ? json_loads(text, 0, NULL) : NULL;
        if (!json_is_object(*config))
            ok = err_set(e, "%s: run %" PRId64 " has no configuration; store it again", path,
                         *run_id);
        else if (db_step(q, &more, e) && more)
            ok = err_set(e, "%s: holds several runs, %" PRId64 " is one; choose with --run ID",
                         path, asked ? asked : *run_id);
    } else if (ok) {
        ok = err_set(e, "%s: no such run as --run says; see its table runs", path);
    }
    sqlite3_finalize(q);
    return ok && !e->set;
}

static double between_ms(sqlite3_stmt *q, int from, int to, double n)
{
    if (sqlite3_column_type(q, from) == SQLITE_NULL || sqlite3_column_type(q, to) == SQLITE_NULL)
        return (double)NAN;
    return (double)(sqlite3_column_int64(q, to) - sqlite3_column_int64(q, from)) /
           (double)NS_PER_MS / n;
}

/* What never came out of a request that did not finish is not known: it is replayed as if it had
 * been as long as it got. */
static void fill_row(struct measured *m, sqlite3_stmt *q)
{
    struct measured_request *r = measured_add(m);
    const char *tenant = (const char *)sqlite3_column_text(q, 1);
    r->seq = (uint64_t)sqlite3_column_int64(q, 0);
    r->tenant = tenant ? arena_strdup(&m->strings, tenant) : NULL;
    r->arrived_at = sqlite3_column_int64(q, 2);
    r->finished = sqlite3_column_int(q, 9) != 0;
    r->prompt_tokens = (uint32_t)sqlite3_column_int64(q, 5);
    r->output_tokens = (uint32_t)MAX(sqlite3_column_int64(q, 6), 1);
    r->max_tokens = (uint32_t)sqlite3_column_int64(q, 7);
    m->cached_tokens += (uint64_t)sqlite3_column_int64(q, 8);
    if (!r->finished)
        return;
    r->ms[LATENCY_TTFT] = between_ms(q, 2, 3, 1);
    r->ms[LATENCY_E2E] = between_ms(q, 2, 4, 1);
    if (r->output_tokens > 1)
        r->ms[LATENCY_TPOT] = between_ms(q, 3, 4, r->output_tokens - 1);
}

static bool read_requests(struct measured *m, sqlite3 *db, int64_t run_id, struct err *e)
{
    sqlite3_stmt *q =
        db_prepare(db,
                   "SELECT seq, tenant, arrived_ns, first_token_ns, done_ns, prompt_tokens,"
                   " output_tokens, max_tokens, cached_tokens, status = 'finished' FROM requests"
                   " WHERE run_id = ? ORDER BY seq",
                   e);
    bool row = true;
    bool ok = q && (sqlite3_bind_int64(q, 1, run_id) == SQLITE_OK || db_error(db, e));
    while (ok && (ok = db_step(q, &row, e)) && row)
        fill_row(m, q);
    sqlite3_finalize(q);
    return ok;
}

static bool read_summary(struct measured *m, sqlite3 *db, int64_t run_id, struct err *e)
{
    sqlite3_stmt *q =
        db_prepare(db, "SELECT metric, value FROM summary WHERE run_id = ? ORDER BY metric", e);
    bool row = true;
    bool ok = q && (sqlite3_bind_int64(q, 1, run_id) == SQLITE_OK || db_error(db, e));
    m->summary = json_object();
    while (ok && (ok = db_step(q, &row, e)) && row)
        json_object_set_new(m->summary, (const char *)sqlite3_column_text(q, 0),
                            sqlite3_column_type(q, 1) == SQLITE_NULL
                                ? json_null()
                                : json_real(sqlite3_column_double(q, 1)));
    sqlite3_finalize(q);
    return ok;
}

/* Every request of the run must be there, or the load was another. */
static bool check_rows(const struct measured *m, const char *path, int64_t run_id, struct err *e)
{
    double requests = json_number_value(json_object_get(m->summary, "requests"));
    if (m->n > 0 && (double)m->n >= requests)
        return true;
    return err_set(e,
                   "%s: run %" PRId64 " has rows of %zu requests, and had %.0f; store all of them "
                   "(max_request_rows, no --no-requests)",
                   path, run_id, m->n, requests);
}

bool measured_read_db(struct measured *m, const char *path, int64_t run_id, struct err *e)
{
    *m = (struct measured){.is_trace = true, .has = {true, true, true}};
    arena_init(&m->strings);
    sqlite3 *db = db_open_read(path, e);
    if (!db)
        return false;
    bool ok = measured_choose_run(db, path, &run_id, &m->config, e) &&
              read_requests(m, db, run_id, e) && read_summary(m, db, run_id, e) &&
              check_rows(m, path, run_id, e);
    sqlite3_close(db);
    return ok;
}
