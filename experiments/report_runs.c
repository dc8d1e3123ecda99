/* report_runs.c: reading `runs`. */
#include "experiments/report_runs.h"

#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "experiments/db.h"

static const char *text(struct report_runs *r, sqlite3_stmt *stmt, int column)
{
    const char *s = (const char *)sqlite3_column_text(stmt, column);

    return s ? arena_strdup(&r->strings, s) : NULL;
}

static const char *text_or_dash(struct report_runs *r, sqlite3_stmt *stmt, int column)
{
    const char *s = text(r, stmt, column);

    return s ? s : "-";
}

/* A file without its folder; a specification may hold slashes of its own. */
static const char *short_trace(const char *trace)
{
    const char *slash = strrchr(trace, '/');

    return slash && slash[1] && strncmp(trace, "generate:", 9) != 0 ? slash + 1 : trace;
}

/* A run is labelled by its point, else by its scheduler, the router where there is something to
 * route, a lossy KV policy, and whatever else tells the runs apart. */
static const char select_runs[] =
    "WITH shown AS (SELECT * FROM runs"
    "  WHERE (?1 IS NULL OR experiment = ?1) AND (?2 = 0 OR id = ?2)),"
    " many AS (SELECT count(DISTINCT router) > 1 AS router, count(DISTINCT kv_policy) > 1 AS kv,"
    "  count(DISTINCT prefix_policy) > 1 AS prefix FROM shown)"
    "SELECT id, seed, rep, config_hash,"
    " coalesce(point, scheduler || iif(many.router OR replicas > 1, '/' || shown.router, '')"
    "  || iif(many.kv OR kv_policy <> 'full', '/' || kv_policy, '') || iif(many.prefix, '/' || "
    "prefix_policy, '')),"
    " trace, digest, model, gpu,"
    " backend, profile, clock, kv_policy, slo_source, cost_model, git_revision, started_at,"
    " quality_ref, replicas, dirty, wall_s"
    " FROM shown, many ORDER BY id";

static void add_run(struct report_runs *r, sqlite3_stmt *stmt)
{
    const char **const field[] = {
        &r->run[r->n].config_hash,  &r->run[r->n].label,      &r->run[r->n].trace,
        &r->run[r->n].digest,       &r->run[r->n].model,      &r->run[r->n].gpu,
        &r->run[r->n].backend,      &r->run[r->n].profile,    &r->run[r->n].clock,
        &r->run[r->n].kv_policy,    &r->run[r->n].slo_source, &r->run[r->n].cost_model,
        &r->run[r->n].git_revision, &r->run[r->n].started_at,
    };
    struct report_run *run = &r->run[r->n++];
    int column = 0;

    run->id = sqlite3_column_int64(stmt, column++);
    run->seed = sqlite3_column_int64(stmt, column++);
    run->rep = sqlite3_column_int64(stmt, column++);
    for (size_t i = 0; i < ARRAY_LEN(field); i++)
        *field[i] = text_or_dash(r, stmt, column++);
    run->quality_ref = text(r, stmt, column++);
    run->replicas = sqlite3_column_int(stmt, column++);
    run->dirty = sqlite3_column_int(stmt, column++) != 0;
    run->wall_s = sqlite3_column_double(stmt, column);
    run->trace = short_trace(run->trace);
}

/* Nothing was found: says what there is. */
static bool none(sqlite3 *db, const char *experiment, int64_t run_id, struct err *e)
{
    sqlite3_stmt *stmt;
    bool row = false;

    if (run_id != ALL_RUNS)
        return err_set(e, "--run %" PRId64 ": no such run in the database; see its table runs",
                       run_id);
    if (!experiment)
        return err_set(e, "the database holds no runs; make one with `tandem run --db`");
    stmt = db_prepare(db, "SELECT group_concat(DISTINCT experiment) FROM runs", e);
    if (stmt && db_step(stmt, &row, e)) {
        const char *names = (const char *)sqlite3_column_text(stmt, 0);

        err_set(e, "--experiment %s: no run of that name; there is: %s", experiment,
                names ? names : "no experiment, only single runs (leave the option out)");
    }
    sqlite3_finalize(stmt);
    return false;
}

static bool several_traces(const struct report_runs *r)
{
    for (size_t i = 1; i < r->n; i++)
        if (strcmp(r->run[i].trace, r->run[0].trace) != 0)
            return true;
    return false;
}

/* ---- names ---- */

/* A part of a label: they are separated by ", ". Returns where the next one begins. */
static const char *part_end(const char *part, size_t *length)
{
    const char *end = strstr(part, ", ");

    *length = end ? (size_t)(end - part) : strlen(part);
    return end ? end + 2 : part + *length;
}

static bool has_part(const char *label, const char *part, size_t length)
{
    for (size_t n; *label;) {
        const char *next = part_end(label, &n);

        if (n == length && memcmp(label, part, n) == 0)
            return true;
        label = next;
    }
    return false;
}

/* The parts that the labels of all runs have, as a label. */
static const char *common_parts(struct report_runs *r)
{
    const char *first = r->n > 1 ? r->run[0].label : "";
    char *common = arena_strdup(&r->strings, first);
    size_t used = 0, n;

    for (const char *part = first, *next; *part; part = next) {
        size_t i = 1;

        next = part_end(part, &n);
        while (i < r->n && has_part(r->run[i].label, part, n))
            i++;
        if (i < r->n)
            continue;
        memmove(common + used, part, (size_t)(next - part));
        used += (size_t)(next - part);
    }
    common[used] = '\0';
    return common;
}

/* A part in few characters: of "trace.rate_scale=2" the key's last word and the value, of
 * "trace=some/where/file" the file. */
static const char *short_part(const char *part, size_t *length)
{
    const char *end = part + *length, *value = memchr(part, '=', *length), *from = NULL;

    if (value) {
        const char *slash = memrchr(value, '/', (size_t)(end - value));

        from = slash ? slash : memrchr(part, '.', (size_t)(value - part));
    }
    from = from ? from + 1 : part;
    *length = (size_t)(end - from);
    return from;
}

/* The label without the common parts, the others in few characters. */
static void shorten(const char *label, const char *common, char *to, size_t size)
{
    size_t used = 0, n;

    to[0] = '\0';
    for (const char *part = label, *next, *text; *part; part = next) {
        next = part_end(part, &n);
        if (has_part(common, part, n))
            continue;
        text = short_part(part, &n);
        snprintf(to + used, size - used, "%s%.*s", used ? ", " : "", (int)n, text);
        used = strlen(to);
    }
    if (used == 0)
        snprintf(to, size, "%s", label);
}

/* Names that tell the runs apart, as short as may be. */
static void name_all(struct report_runs *r)
{
    const char *common = common_parts(r);
    bool several = several_traces(r);

    for (size_t i = 0; i < r->n; i++) {
        struct report_run *run = &r->run[i];
        char brief[192], name[256];

        shorten(run->label, common, brief, sizeof(brief));
        if (several && !strstr(run->label, "trace="))
            snprintf(brief + strlen(brief), sizeof(brief) - strlen(brief), "%s%.50s",
                     *brief ? ", " : "", run->trace);
        if (!*brief)
            snprintf(brief, sizeof(brief), "all");
        run->brief = arena_strdup(&r->strings, brief);
        snprintf(name, sizeof(name), "%" PRId64 ": %s", run->id, brief);
        run->name = r->n > 1 ? arena_strdup(&r->strings, name) : run->brief;
    }
}

bool report_runs_load(struct report_runs *r, sqlite3 *db, const char *experiment, int64_t run_id,
                      struct err *e)
{
    sqlite3_stmt *stmt;
    bool ok, row = false;

    *r = (struct report_runs){.run = NULL};
    arena_init(&r->strings);
    stmt = db_prepare(db, select_runs, e);
    if (!stmt)
        return false;
    ok = (sqlite3_bind_text(stmt, 1, experiment, -1, SQLITE_STATIC) == SQLITE_OK &&
          sqlite3_bind_int64(stmt, 2, run_id) == SQLITE_OK) ||
         db_error(db, e);
    while (ok && (ok = db_step(stmt, &row, e)) && row) {
        r->run = mem_reserve(r->run, &r->cap, r->n + 1, sizeof(*r->run));
        add_run(r, stmt);
    }
    sqlite3_finalize(stmt);
    name_all(r);
    return ok && (r->n > 0 || none(db, experiment, run_id, e));
}

void report_runs_release(struct report_runs *r)
{
    mem_free(r->run);
    arena_release(&r->strings);
}

void report_runs_keep_first(struct report_runs *r)
{
    size_t kept = 0;

    for (size_t i = 0; i < r->n; i++) {
        size_t k = 0;

        while (k < kept && strcmp(r->run[k].config_hash, r->run[i].config_hash) != 0)
            k++;
        if (k == kept)
            r->run[kept++] = r->run[i];
    }
    r->n = kept;
    name_all(r);
}

bool report_runs_show(const struct report_runs *r, sqlite3 *db, const char *experiment,
                      struct err *e)
{
    sqlite3_stmt *stmt = NULL;
    bool row, ok;

    ok = db_exec(db,
                 "DROP TABLE IF EXISTS temp.shown;"
                 "CREATE TEMP TABLE shown (run_id INTEGER PRIMARY KEY, config INTEGER, label TEXT)",
                 e);
    for (size_t i = 0; ok && i < r->n; i++) {
        if (!stmt)
            stmt = db_prepare(
                db,
                "INSERT INTO shown SELECT b.id, ?1, ?2 FROM runs AS a JOIN runs AS b"
                " USING (config_hash) WHERE a.id = ?3 AND (?4 IS NULL OR b.experiment = ?4)",
                e);
        ok =
            stmt && ((sqlite3_bind_int64(stmt, 1, (int64_t)i) == SQLITE_OK &&
                      sqlite3_bind_text(stmt, 2, r->run[i].label, -1, SQLITE_STATIC) == SQLITE_OK &&
                      sqlite3_bind_int64(stmt, 3, r->run[i].id) == SQLITE_OK &&
                      sqlite3_bind_text(stmt, 4, experiment, -1, SQLITE_STATIC) == SQLITE_OK) ||
                     db_error(db, e));
        ok = ok && db_step(stmt, &row, e);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    return ok;
}
