/* db.c: opening a results database. What must hold: nothing is written to a file before classify()
 * has found it to be empty or ours. */
#include "experiments/db.h"

#include <sqlite3.h>

#include "experiments/schema.h"

enum db_content { CONTENT_EMPTY, CONTENT_OURS };

static const char *advice(int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return "free some space or write to another disk with --db; runs stored before are safe";
    case SQLITE_IOERR:
        return "check the disk (space, quota, file size limit); runs stored before are safe";
    case SQLITE_NOMEM:
        return "free memory, or lower the load or max_request_rows; runs stored before are safe";
    case SQLITE_NOTADB:
        return "name a database made by tandem, or a new file";
    case SQLITE_CORRUPT:
        return "restore a copy, or write to a new file with --db";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return "check that the path exists and its permissions";
    default:
        return "this should not happen: please report it";
    }
}

static const char *where(sqlite3 *db)
{
    const char *name = sqlite3_db_filename(db, "main");

    return name && *name ? name : "database";
}

bool db_error(sqlite3 *db, struct err *e)
{
    int code = sqlite3_extended_errcode(db);

    if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED)
        return err_set(e,
                       "%s: database in use by another process; wait until that has finished, or "
                       "write to another file with --db",
                       where(db));
    return err_set(e, "%s: %s; %s", where(db), sqlite3_errmsg(db), advice(code));
}

bool db_exec(sqlite3 *db, const char *sql, struct err *e)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK || db_error(db, e);
}

sqlite3_stmt *db_prepare(sqlite3 *db, const char *sql, struct err *e)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        db_error(db, e);
    return stmt;
}

bool db_step(sqlite3_stmt *stmt, bool *row, struct err *e)
{
    int rc = sqlite3_step(stmt);

    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE || db_error(sqlite3_db_handle(stmt), e);
}

bool db_has(sqlite3 *db, const char *name, bool *there, struct err *e)
{
    sqlite3_stmt *stmt = db_prepare(db, "SELECT 1 FROM main.sqlite_schema WHERE name = ?", e);
    bool ok;

    *there = false;
    if (!stmt)
        return false;
    ok = sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC) == SQLITE_OK ? db_step(stmt, there, e)
                                                                          : db_error(db, e);
    sqlite3_finalize(stmt);
    return ok;
}

/* The first column of the only row of a query. */
static bool number(sqlite3 *db, const char *sql, int *value, struct err *e)
{
    sqlite3_stmt *stmt = db_prepare(db, sql, e);
    bool row = false, ok = stmt && db_step(stmt, &row, e);

    if (ok)
        *value = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return ok;
}

static bool classify(sqlite3 *db, enum db_content *content, struct err *e)
{
    int version = 0, tables = 0, ours = 0;

    if (!number(db, "PRAGMA user_version", &version, e) ||
        !number(db, "SELECT count(*) FROM sqlite_schema", &tables, e) ||
        !number(db,
                "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN"
                " ('runs', 'summary', 'requests', 'timeline', 'histograms')",
                &ours, e))
        return false;
    *content = tables == 0 && version == 0 ? CONTENT_EMPTY : CONTENT_OURS;
    if (*content == CONTENT_EMPTY || (ours == 5 && version == SCHEMA_VERSION))
        return true;
    if (ours < 5)
        return err_set(e, "%s: not a database made by tandem; name another file", where(db));
    return err_set(e,
                   "%s: made by %s tandem (schema %d, this one knows %d); use that program, or "
                   "write to a new file with --db",
                   where(db), version < SCHEMA_VERSION ? "an older" : "a newer", version,
                   SCHEMA_VERSION);
}

/* Opens the file, or says why not; never leaves a handle behind on failure. */
static sqlite3 *open_file(const char *path, int flags, int busy_ms, struct err *e)
{
    sqlite3 *db = NULL;
    /* one thread: no locks */
    int rc = sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX, NULL);

    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(db, busy_ms);
        return db;
    }
    err_set(e, "%s: %s; %s", path, sqlite3_errstr(rc), advice(rc));
    sqlite3_close(db);
    return NULL;
}

sqlite3 *db_open_read(const char *path, struct err *e)
{
    enum { BUSY_MS = 5000 };
    sqlite3 *db = open_file(path, SQLITE_OPEN_READONLY, BUSY_MS, e);
    enum db_content content = CONTENT_EMPTY;

    if (!db)
        return NULL;
    if (classify(db, &content, e)) {
        if (content == CONTENT_OURS)
            return db;
        err_set(e, "%s: the database is empty; fill it with `tandem run --db %s`", path, path);
    }
    sqlite3_close(db);
    return NULL;
}

/* Under a write lock, so that two processes may start on the same new file. */
static bool create(sqlite3 *db, struct err *e)
{
    enum db_content content = CONTENT_EMPTY;

    if (!db_exec(db, "BEGIN IMMEDIATE", e))
        return false;
    if (classify(db, &content, e) && (content == CONTENT_OURS || db_exec(db, schema_sql, e)) &&
        db_exec(db, "COMMIT", e))
        return true;
    if (!sqlite3_get_autocommit(db))
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

sqlite3 *db_open_write(const char *path, int busy_ms, struct err *e)
{
    sqlite3 *db = open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, busy_ms, e);
    enum db_content content = CONTENT_EMPTY;

    if (!db)
        return NULL;
    if (!classify(db, &content, e))
        goto fail;
    if (sqlite3_db_readonly(db, "main") == 1) {
        err_set(e, "%s: no permission to write; write to another file with --db", path);
        goto fail;
    }
    if ((content == CONTENT_EMPTY && !create(db, e)) ||
        !db_exec(db,
                 "PRAGMA journal_mode = WAL; PRAGMA cache_size = -16384; PRAGMA foreign_keys = ON",
                 e) ||
        !db_exec(db, "CREATE TABLE IF NOT EXISTS " SCHEMA_EXPERIMENTS, e)) /* of an older program */
        goto fail;
    return db;
fail:
    sqlite3_close(db);
    return NULL;
}

sqlite3 *db_open_scratch(const char *path, struct err *e)
{
    sqlite3 *db = open_file(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, 0, e);

    if (!db)
        return NULL;
    if (db_exec(db,
                "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF;"
                " PRAGMA locking_mode = EXCLUSIVE; PRAGMA foreign_keys = ON",
                e) &&
        create(db, e))
        return db;
    sqlite3_close(db);
    return NULL;
}

bool db_close_write(sqlite3 *db, struct err *e)
{
    if (!db)
        return true;
    /* Checkpoints and leaves one plain file. While others have it open it stays in WAL mode, and
     * the last of them to close switches it. */
    bool ok = sqlite3_exec(db, "PRAGMA journal_mode = DELETE", NULL, NULL, NULL) == SQLITE_OK ||
              sqlite3_errcode(db) == SQLITE_BUSY || db_error(db, e);

    sqlite3_close(db);
    return ok;
}
