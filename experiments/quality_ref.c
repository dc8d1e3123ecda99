#include "experiments/quality_ref.h"

#include <sqlite3.h>
#include <stdio.h>

#include "experiments/db.h"

/* Over all depths, layers and heads, the first metric of each task. */
static const char query[] =
    "SELECT task, coalesce(protocol, ''), length, metric, value, n FROM quality"
    " WHERE kv_policy = ?1 AND json_extract(params, '$.\"kv.budget\"') = ?2 AND depth IS NULL"
    " AND layer IS NULL AND metric IN ('accuracy', 'top1', 'nll_delta', 'recall')"
    " ORDER BY rowid";

static void append(char *text, size_t size, size_t *used, sqlite3_stmt *q)
{
    int n = snprintf(text + *used, size - *used, "%s %s%s%s at %lld tokens: %s %.3g (n %lld)",
                     text[*used - 1] == ':' ? "" : ",", (const char *)sqlite3_column_text(q, 0),
                     *sqlite3_column_text(q, 1) ? " " : "", (const char *)sqlite3_column_text(q, 1),
                     (long long)sqlite3_column_int64(q, 2), (const char *)sqlite3_column_text(q, 3),
                     sqlite3_column_double(q, 4), (long long)sqlite3_column_int64(q, 5));
    *used = MIN(*used + (size_t)MAX(n, 0), size - 1);
}

/* Whether there are any. */
static bool read_figures(sqlite3_stmt *q, const char *path, char *text, size_t size, struct err *e)
{
    size_t used = (size_t)snprintf(text, size, "%s:", path);
    bool row = false, found = false;
    used = MIN(used, size - 1);
    while (db_step(q, &row, e) && row) {
        found = true;
        append(text, size, &used, q);
    }
    return found;
}

bool quality_ref_find(const struct config *c, char *text, size_t size, struct err *e)
{
    const char *path = config_str(c, "quality_ref"), *kv = config_str(c, "kv");
    bool found = false;
    *text = '\0';
    if (path == NULL || *path == '\0')
        return true;
    sqlite3 *db = db_open_read(path, e);
    if (db == NULL)
        return false;
    sqlite3_stmt *q = db_prepare(db, query, e);
    if (q != NULL) {
        sqlite3_bind_text(q, 1, kv, -1, SQLITE_TRANSIENT);
        sqlite3_bind_double(q, 2, config_num(c, "kv.budget"));
        found = read_figures(q, path, text, size, e);
        sqlite3_finalize(q);
    }
    sqlite3_close(db);
    return !e->set &&
           (found || err_set(e,
                             "quality_ref: %s has no figures of %s with kv.budget %g; measure them "
                             "with `tandem quality --kv %s --budget %g`",
                             path, kv, config_num(c, "kv.budget"), kv, config_num(c, "kv.budget")));
}
