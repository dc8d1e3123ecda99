/* sweep.c: see sweep.h. */
#include "experiments/sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "experiments/db.h"
#include "experiments/merge.h"
#include "experiments/progress.h"
#include "experiments/run_job.h"
#include "experiments/version.h"
#include "experiments/workers.h"

enum { BUSY_MS = 5000, PATH_SIZE = 4096 };

/* ---- what is there ---- */

static sqlite3_stmt *bind_point(sqlite3_stmt *stmt, const struct experiment_point *p)
{
    sqlite3_bind_text(stmt, 1, p->config->config_hash, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, (int64_t)p->seed);
    sqlite3_bind_int64(stmt, 3, p->rep);
    return stmt;
}

static bool is_finished(sqlite3_stmt *stmt, const struct experiment_point *p, bool *finished,
                        struct err *e)
{
    bind_point(stmt, p);
    sqlite3_bind_text(stmt, 4, p->config->inputs_sha256, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 5, version_git, -1, SQLITE_STATIC);
    sqlite3_bind_int(stmt, 6, version_dirty);
    bool ok = db_step(stmt, finished, e);
    sqlite3_reset(stmt);
    return ok;
}

/* The database at `path` to read; *db stays NULL where nothing is there. */
static bool open_if_there(sqlite3 **db, const char *path, struct err *e)
{
    struct stat st;
    if (!path || stat(path, &st) != 0 || st.st_size == 0)
        return true;
    *db = db_open_read(path, e);
    return *db != NULL;
}

/* The question to a database whether it has a point; *stmt stays NULL without one. */
static bool prepare_finished(sqlite3_stmt **stmt, sqlite3 *db, struct err *e)
{
    if (db)
        *stmt = db_prepare(db,
                           "SELECT 1 FROM runs WHERE config_hash = ? AND seed = ? AND rep = ?"
                           " AND inputs_sha256 = ? AND git_revision = ? AND dirty = ?",
                           e);
    return !db || *stmt;
}

/* Either may be NULL: nothing is there. */
static bool plan_without(struct sweep_plan *p, const struct experiment *x,
                         const struct sweep_options *o, sqlite3 *db, sqlite3 *have, struct err *e)
{
    uint64_t n = experiment_points(x);
    sqlite3_stmt *stmt[2] = {NULL, NULL};
    *p = (struct sweep_plan){.point = mem_alloc((n / o->shards + 1) * sizeof *p->point)};
    bool ok = prepare_finished(&stmt[0], db, e) && prepare_finished(&stmt[1], have, e);
    for (uint64_t i = o->shard; ok && i < n; i += o->shards) {
        struct experiment_point point = experiment_point(x, i);
        bool finished = false;
        for (size_t k = 0; ok && !finished && k < ARRAY_LEN(stmt); k++)
            ok = !stmt[k] || is_finished(stmt[k], &point, &finished, e);
        if (finished)
            p->kept++;
        else
            p->point[p->n++] = i;
    }
    for (size_t k = 0; k < ARRAY_LEN(stmt); k++)
        sqlite3_finalize(stmt[k]);
    return ok;
}

static bool plan(struct sweep_plan *p, const struct experiment *x, const struct sweep_options *o,
                 sqlite3 *db, struct err *e)
{
    sqlite3 *have = NULL;
    bool ok = open_if_there(&have, o->have, e) &&
              plan_without(p, x, o, o->fresh ? NULL : db, o->fresh ? NULL : have, e);
    sqlite3_close(have);
    return ok;
}

bool sweep_plan(struct sweep_plan *p, const struct experiment *x, const struct sweep_options *o,
                struct err *e)
{
    sqlite3 *db = NULL;
    *p = (struct sweep_plan){.n = 0};
    bool ok = open_if_there(&db, o->db, e) && plan(p, x, o, db, e);
    sqlite3_close(db);
    return ok;
}

void sweep_plan_release(struct sweep_plan *p)
{
    mem_free(p->point);
}

/* ---- the folder of runs under way ---- */

struct parts {
    char path[PATH_SIZE];
    int fd;   /* of the folder; -1: not open */
    int lock; /* the file LOCK in it, locked; -1: not open */
};

static void part_path(const struct parts *p, uint64_t point, char out[PATH_SIZE])
{
    int n = snprintf(out, PATH_SIZE, "%.*s/%" PRIu64 ".db", PATH_SIZE - 32, p->path, point);
    CHECK(n > 0 && n < PATH_SIZE, "sweep: a part's path fits", "%s", p->path);
}

/* A file, because a folder on NFS cannot be locked. */
#define LOCK "lock"

/* What a killed sweep left. */
static bool empty_parts(const struct parts *p, struct err *e)
{
    DIR *dir = fdopendir(dup(p->fd));
    bool ok = dir != NULL;
    const struct dirent *entry;
    if (dir)
        rewinddir(dir); /* a copy of a descriptor goes on where that one was */
    while (ok && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
            strcmp(entry->d_name, LOCK) != 0)
            ok = unlinkat(p->fd, entry->d_name, 0) == 0;
    if (dir)
        closedir(dir);
    return ok || err_set(e, "%s: cannot be emptied: %s; remove it", p->path, strerror(errno));
}

static bool lock_parts(struct parts *p, const char *db, struct err *e)
{
    struct stat st = {0};
    int fd = openat(p->fd, LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    bool locked = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
    int why = errno;
    if (locked && fstat(fd, &st) == 0 && st.st_nlink > 0) { /* 0: its owner just removed it */
        p->lock = fd;
        return true;
    }
    if (fd >= 0)
        close(fd);
    if (locked || (fd >= 0 && why == EWOULDBLOCK))
        return err_set(e,
                       "%s: another sweep writes to it; wait for it, or give this one a database "
                       "of its own (--db) and merge them later",
                       db);
    return err_set(e, "%s/" LOCK ": cannot be locked: %s; write to another disk with --db", p->path,
                   strerror(why));
}

static bool open_parts(struct parts *p, const char *db, struct err *e)
{
    p->fd = p->lock = -1;
    int n = snprintf(p->path, sizeof p->path, "%s.parts", db);
    if (n < 0 || n > PATH_SIZE - 64)
        return err_set(e, "--db: the path is too long");
    if (mkdir(p->path, 0777) != 0 && errno != EEXIST)
        return err_set(e, "%s: cannot be made: %s; write to another folder with --db", p->path,
                       strerror(errno));
    p->fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->fd < 0)
        return err_set(e, "%s: %s; move it away", p->path, strerror(errno));
    return lock_parts(p, db, e) && empty_parts(p, e);
}

/* Of this process. */
static void release_parts(struct parts *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->lock >= 0)
        close(p->lock);
    p->fd = p->lock = -1;
}

static void close_parts(struct parts *p)
{
    struct err ignored = {0};
    if (p->lock >= 0 && empty_parts(p, &ignored)) { /* else it stays: the next sweep says why */
        (void)unlinkat(p->fd, LOCK, 0);
        (void)rmdir(p->path);
    }
    release_parts(p);
}

/* ---- running ---- */

struct sweep {
    const struct experiment *x;
    const struct sweep_options *o;
    sqlite3 *db;
    struct parts parts;
    struct sweep_plan plan;
    uint64_t next;                      /* of plan.point */
    uint64_t *again;                    /* points whose worker died, to be tried once more */
    size_t n_again, again_cap, n_taken; /* n_taken: of them handed out */
    unsigned n_reports;
    struct progress progress;
    struct sweep_outcome *out;
};

static bool next_point(void *self, uint64_t *point)
{
    struct sweep *s = self;
    if (s->n_taken < s->n_again)
        *point = s->again[s->n_taken++];
    else if (s->next < s->plan.n)
        *point = s->plan.point[s->next++];
    else
        return false;
    return true;
}

static bool run_point(void *self, uint64_t i, struct err *e)
{
    struct sweep *s = self;
    struct experiment_point p = experiment_point(s->x, i);
    struct run_options o = {.quiet = true};
    struct run_job j;
    char path[PATH_SIZE];
    release_parts(&s->parts); /* the lock is to end with the parent, not with the last worker */
    part_path(&s->parts, i, path);
    (void)unlink(path); /* of a worker that died */
    run_job_init(&j);
    experiment_point_config(&p, &j.config);
    j.experiment = s->x->name;
    j.point = p.config->label;
    bool ok = run_job_compose(&j, NULL, e);
    struct sink_sqlite *sink = ok ? sink_sqlite_open_scratch(path, e) : NULL;
    ok = sink && run_job_store(&j, sink, &o, e);
    run_job_release(&j);
    return ok;
}

static void report(struct sweep *s, uint64_t i, const char *what, const char *why)
{
    struct experiment_point p = experiment_point(s->x, i);
    char line[2048];
    if (s->n_reports++ >= SWEEP_MAX_REPORTS || !s->o->report)
        return;
    progress_end(&s->progress);
    snprintf(line, sizeof line, "%s: %s%sseed %" PRIu64 ", rep %" PRIu32 ": %s%s%s", s->x->name,
             p.config->label, *p.config->label ? ", " : "", p.seed, p.rep, why, *what ? "; " : "",
             what);
    s->o->report(s->o->report_self, line);
}

static bool was_tried_again(const struct sweep *s, uint64_t point)
{
    for (size_t i = 0; i < s->n_again; i++)
        if (s->again[i] == point)
            return true;
    return false;
}

static bool point_done(void *self, uint64_t i, enum work_result result, const char *why,
                       struct err *e)
{
    struct sweep *s = self;
    char path[PATH_SIZE];
    bool ok = true;
    part_path(&s->parts, i, path);
    if (result == WORK_DONE) {
        struct merge_counts n = {0};
        ok = merge_file(s->db, path, MERGE_NEW, &n, e);
        s->out->run += n.added + n.replaced;
    } else if (result == WORK_DIED && !was_tried_again(s, i)) {
        report(s, i, "trying once more", why);
        s->again = mem_reserve(s->again, &s->again_cap, s->n_again + 1, sizeof *s->again);
        s->again[s->n_again++] = i;
    } else {
        report(s, i, result == WORK_DIED ? "that was the second time" : "", why);
        s->out->failed++;
    }
    (void)unlink(path);
    return ok;
}

static void tick(void *self)
{
    struct sweep *s = self;
    const struct sweep_outcome *out = s->out;
    if (!s->o->quiet)
        progress_show_work(&s->progress, "points", out->kept + out->run + out->failed, out->kept,
                           s->plan.kept + s->plan.n);
}

/* All points of the experiment, whatever the shard, into a table of this connection. */
static bool list_points(struct sweep *s, struct err *e)
{
    if (!db_exec(s->db,
                 "CREATE TEMP TABLE points (config_hash, seed, rep, label,"
                 " PRIMARY KEY (config_hash, seed, rep))",
                 e))
        return false;
    sqlite3_stmt *stmt = db_prepare(s->db, "INSERT INTO points VALUES (?, ?, ?, ?)", e);
    bool row, ok = stmt != NULL;
    uint64_t n = experiment_points(s->x);
    for (uint64_t i = 0; ok && i < n; i++) {
        struct experiment_point p = experiment_point(s->x, i);
        bind_point(stmt, &p);
        sqlite3_bind_text(stmt, 4, p.config->label, -1, SQLITE_STATIC);
        ok = db_step(stmt, &row, e);
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    return ok;
}

static bool update_runs(struct sweep *s, const char *sql, struct err *e)
{
    bool row;
    sqlite3_stmt *stmt = db_prepare(s->db, sql, e);
    if (stmt)
        sqlite3_bind_text(stmt, 1, s->x->name, -1, SQLITE_STATIC);
    bool ok = stmt && db_step(stmt, &row, e);
    sqlite3_finalize(stmt);
    return ok;
}

static bool store_claim(struct sweep *s, struct err *e)
{
    bool row;
    sqlite3_stmt *stmt = db_prepare(s->db, "INSERT OR REPLACE INTO experiments VALUES (?, ?)", e);
    if (stmt) {
        sqlite3_bind_text(stmt, 1, s->x->name, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, s->x->claim, -1, SQLITE_STATIC);
    }
    bool ok = stmt && db_step(stmt, &row, e);
    sqlite3_finalize(stmt);
    return ok;
}

/* What the database calls a run of this experiment is one of its points, and the other way round:
 * runs of points that the file no longer has stay, without the name; those that somebody else made
 * get it. */
static bool relabel(struct sweep *s, struct err *e)
{
    static const char *const sql[] = {
        "UPDATE runs SET experiment = NULL, point = NULL WHERE experiment = ?"
        " AND NOT EXISTS (SELECT 1 FROM points AS p WHERE p.config_hash = runs.config_hash"
        "                 AND p.seed = runs.seed AND p.rep = runs.rep)",
        "UPDATE runs SET experiment = ?1, point = p.label FROM points AS p"
        " WHERE p.config_hash = runs.config_hash AND p.seed = runs.seed AND p.rep = runs.rep"
        " AND (experiment IS NOT ?1 OR point IS NOT p.label)",
    };
    if (!db_exec(s->db, "BEGIN IMMEDIATE", e))
        return false;
    bool ok = list_points(s, e) && update_runs(s, sql[0], e) && update_runs(s, sql[1], e) &&
              store_claim(s, e);
    return db_exec(s->db, ok ? "COMMIT" : "ROLLBACK", e) && ok;
}

static bool run_all(struct sweep *s, struct err *e)
{
    const struct workers_job job = {
        .self = s, .next = next_point, .work = run_point, .done = point_done, .tick = tick};
    if (!plan(&s->plan, s->x, s->o, s->db, e) || !relabel(s, e))
        return false;
    s->out->kept = s->plan.kept;
    progress_begin(&s->progress);
    bool ok = workers_run(&job, s->o->jobs, e);
    progress_end(&s->progress);
    return ok;
}

bool sweep_run(const struct experiment *x, const struct sweep_options *o, struct sweep_outcome *out,
               struct err *e)
{
    struct sweep s = {.x = x, .o = o, .out = out};
    *out = (struct sweep_outcome){0};
    bool ok = open_parts(&s.parts, o->db, e);
    if (ok) {
        s.db = db_open_write(o->db, BUSY_MS, e);
        ok = s.db && run_all(&s, e);
        ok = db_close_write(s.db, e) && ok;
    }
    close_parts(&s.parts);
    sweep_plan_release(&s.plan);
    mem_free(s.again);
    return ok;
}
