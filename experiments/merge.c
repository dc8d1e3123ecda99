/* merge.c: see merge.h. The file is attached as `part`. Tables of a run are those with a column
 * run_id, so that a new one in schema.sql needs no change here. */
#include "experiments/merge.h"

#include <sqlite3.h>
#include <string.h>

#include "experiments/db.h"

enum { NO_RUN = 0 };

/* A run of the part, and what `out` has of its key. */
struct match {
    int64_t from, to; /* ids; to: NO_RUN = none */
    bool same, later; /* than what is there: the same run; one that started later */
};

struct match_list {
    struct match *match;
    size_t n, cap;
};

struct table_list {
    char **name;
    size_t n, cap;
};

static sqlite3_stmt *query(sqlite3 *db, const char *sql, const char *first, const char *second,
                           struct err *e)
{
    sqlite3_stmt *stmt = db_prepare(db, sql, e);
    if (stmt && first)
        sqlite3_bind_text(stmt, 1, first, -1, SQLITE_TRANSIENT);
    if (stmt && second)
        sqlite3_bind_text(stmt, 2, second, -1, SQLITE_TRANSIENT);
    return stmt;
}

/* Runs SQL made by sqlite3_mprintf, which is freed. Parameters are ids, NO_RUN is NULL. */
static bool run(sqlite3 *db, char *sql, int64_t first, int64_t second, struct err *e)
{
    if (!sql)
        return err_set(e, "merge: no memory for a statement; free memory and merge again");
    sqlite3_stmt *stmt = db_prepare(db, sql, e);
    sqlite3_free(sql);
    if (stmt && first != NO_RUN)
        sqlite3_bind_int64(stmt, 1, first);
    if (stmt && second != NO_RUN)
        sqlite3_bind_int64(stmt, 2, second);
    bool row, ok = stmt && db_step(stmt, &row, e);
    sqlite3_finalize(stmt);
    return ok;
}

/* ---- the two schemas ---- */

/* The tables whose rows belong to a run. */
static bool list_tables(struct table_list *t, sqlite3 *db, struct err *e)
{
    sqlite3_stmt *stmt =
        query(db,
              "SELECT name FROM main.sqlite_schema AS t WHERE type = 'table' AND EXISTS"
              " (SELECT 1 FROM pragma_table_info(t.name) WHERE name = 'run_id') ORDER BY name",
              NULL, NULL, e);
    bool row = false, ok = stmt != NULL;
    while (ok && (ok = db_step(stmt, &row, e)) && row) {
        t->name = mem_reserve(t->name, &t->cap, t->n + 1, sizeof *t->name);
        t->name[t->n++] = mem_strdup((const char *)sqlite3_column_text(stmt, 0));
    }
    sqlite3_finalize(stmt);
    return ok;
}

static void release_tables(struct table_list *t)
{
    for (size_t i = 0; i < t->n; i++)
        mem_free(t->name[i]);
    mem_free(t->name);
}

/* The same columns in the same order: comments may differ, and so may the key, since rows are
 * copied by the names of their columns. */
static bool check_table(sqlite3 *db, const char *in, const char *table, struct err *e)
{
#define COLUMNS(schema)                                                                            \
    "(SELECT group_concat(name || ' ' || type || (\"notnull\" OR pk))"                             \
    " FROM pragma_table_info(?1, '" schema "'))"
    sqlite3_stmt *stmt =
        query(db, "SELECT 1 WHERE " COLUMNS("main") " = " COLUMNS("part"), table, NULL, e);
#undef COLUMNS
    bool same = false, ok = stmt && db_step(stmt, &same, e);
    sqlite3_finalize(stmt);
    return ok && (same || err_set(e,
                                  "%s: its table %s is not like that of %s; merge databases that "
                                  "one version of the program made, or write to a new file",
                                  in, table, sqlite3_db_filename(db, "main")));
}

static bool check_tables(sqlite3 *db, const char *in, const struct table_list *t, struct err *e)
{
    bool ok = check_table(db, in, "runs", e);
    for (size_t i = 0; ok && i < t->n; i++)
        ok = check_table(db, in, t->name[i], e);
    return ok;
}

/* ---- copying ---- */

/* Copies the rows of run `from`, as those of run `to`; `id` is the column that says so. */
static bool copy_rows(sqlite3 *db, const char *table, const char *id, int64_t from, int64_t to,
                      struct err *e)
{
    sqlite3_stmt *stmt = query(db,
                               "SELECT group_concat('\"' || name || '\"')"
                               " FROM pragma_table_info(?1) WHERE name <> ?2",
                               table, id, e);
    bool row = false, ok = stmt && db_step(stmt, &row, e);
    if (ok) {
        const char *columns = (const char *)sqlite3_column_text(stmt, 0);
        ok = run(db,
                 sqlite3_mprintf("INSERT INTO main.\"%w\" (\"%w\", %s)"
                                 " SELECT ?2, %s FROM part.\"%w\" WHERE \"%w\" = ?1",
                                 table, id, columns, columns, table, id),
                 from, to, e);
    }
    sqlite3_finalize(stmt);
    return ok;
}

static bool copy_run(sqlite3 *db, const struct table_list *t, const struct match *m, struct err *e)
{
    if (m->to != NO_RUN &&
        !run(db, sqlite3_mprintf("DELETE FROM main.runs WHERE id = ?"), m->to, NO_RUN, e))
        return false;
    if (!copy_rows(db, "runs", "id", m->from, m->to, e))
        return false;
    int64_t id = sqlite3_last_insert_rowid(db);
    bool ok = true;
    for (size_t i = 0; ok && i < t->n; i++)
        ok = copy_rows(db, t->name[i], "run_id", m->from, id, e);
    return ok;
}

/* Figures of quality need not belong to a run; equal ones are there once. */
static bool copy_quality(sqlite3 *db, struct err *e)
{
    return db_exec(db,
                   "INSERT INTO main.quality SELECT * FROM part.quality WHERE run_id IS NULL"
                   " EXCEPT SELECT * FROM main.quality WHERE run_id IS NULL",
                   e);
}

/* What `out` says of an experiment stays. A file of an older program has no such table. */
static bool copy_claims(sqlite3 *db, struct err *e)
{
    sqlite3_stmt *stmt =
        query(db, "SELECT 1 FROM part.sqlite_schema WHERE name = ?1", "experiments", NULL, e);
    bool there = false, ok = stmt && db_step(stmt, &there, e);
    sqlite3_finalize(stmt);
    return ok && (!there || db_exec(db,
                                    "INSERT OR IGNORE INTO main.experiments (name, claim)"
                                    " SELECT name, claim FROM part.experiments",
                                    e));
}

static bool match_runs(struct match_list *l, sqlite3 *db, struct err *e)
{
    sqlite3_stmt *stmt =
        query(db,
              "SELECT p.id, coalesce(m.id, 0), p.digest IS m.digest AND p.dirty IS m.dirty"
              " AND p.git_revision IS m.git_revision AND p.inputs_sha256 IS m.inputs_sha256,"
              " (coalesce(p.started_at, ''), coalesce(p.digest, ''))"
              "  > (coalesce(m.started_at, ''), coalesce(m.digest, ''))"
              " FROM part.runs AS p LEFT JOIN main.runs AS m USING (config_hash, seed, rep) ORDER "
              "BY p.id",
              NULL, NULL, e);
    bool row = false, ok = stmt != NULL;
    while (ok && (ok = db_step(stmt, &row, e)) && row) {
        l->match = mem_reserve(l->match, &l->cap, l->n + 1, sizeof *l->match);
        l->match[l->n++] = (struct match){
            .from = sqlite3_column_int64(stmt, 0),
            .to = sqlite3_column_int64(stmt, 1),
            .same = sqlite3_column_int(stmt, 2) != 0,
            .later = sqlite3_column_int(stmt, 3) != 0,
        };
    }
    sqlite3_finalize(stmt);
    return ok;
}

static bool copy_all(sqlite3 *db, const struct table_list *t, enum merge_rule rule,
                     struct merge_counts *n, struct err *e)
{
    struct match_list l = {.n = 0};
    bool ok = match_runs(&l, db, e) && copy_quality(db, e) && copy_claims(db, e);
    for (size_t i = 0; ok && i < l.n; i++) {
        const struct match *m = &l.match[i];
        bool stays = m->to != NO_RUN && rule == MERGE_LATER && (m->same || !m->later);
        ok = stays || copy_run(db, t, m, e);
        *(stays ? &n->kept : m->to == NO_RUN ? &n->added : &n->replaced) += 1;
    }
    mem_free(l.match);
    return ok;
}

static bool merge_attached(sqlite3 *db, const char *in, enum merge_rule rule,
                           struct merge_counts *n, struct err *e)
{
    struct table_list t = {.n = 0};
    struct merge_counts done = *n;
    bool ok =
        list_tables(&t, db, e) && check_tables(db, in, &t, e) && db_exec(db, "BEGIN IMMEDIATE", e);
    if (ok) {
        ok = copy_all(db, &t, rule, &done, e) && db_exec(db, "COMMIT", e);
        if (!sqlite3_get_autocommit(db))
            (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    if (ok)
        *n = done;
    release_tables(&t);
    return ok;
}

bool merge_file(sqlite3 *out, const char *in, enum merge_rule rule, struct merge_counts *n,
                struct err *e)
{
    /* ATTACH alone would make a file that is not there, and take any schema. */
    sqlite3 *probe = db_open_read(in, e);
    if (!probe)
        return false;
    sqlite3_close(probe);
    sqlite3_stmt *attach = query(out, "ATTACH ? AS part", in, NULL, e);
    bool row, ok = attach && db_step(attach, &row, e);
    sqlite3_finalize(attach);
    if (!ok)
        return false;
    ok = merge_attached(out, in, rule, n, e);
    (void)sqlite3_exec(out, "DETACH part", NULL, NULL, NULL); /* nothing of it is in use any more */
    return ok;
}
