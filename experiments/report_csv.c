/* report_csv.c: every table and view of schema.sql as a CSV file. */
#include "experiments/report.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "experiments/db.h"
#include "experiments/report_file.h"

#define OF_EXPERIMENT "experiment = ?1"
#define OF_ITS_RUNS "run_id IN (SELECT id FROM runs WHERE experiment = ?1)"

static const struct {
    const char *name, *filter, *order;
} tables[] = {
    {"runs", OF_EXPERIMENT, "id"},
    {"summary", OF_ITS_RUNS, "run_id, metric"},
    {"requests", OF_ITS_RUNS, "run_id, seq"},
    {"tenants", OF_ITS_RUNS, "run_id, tenant"},
    {"steps", OF_ITS_RUNS, "run_id, replica, step"},
    {"transfers", OF_ITS_RUNS, "run_id, replica, n"},
    {"timeline", OF_ITS_RUNS, "run_id, series, at_ns"},
    {"histograms", OF_ITS_RUNS, "run_id, metric, bucket_low"},
    {"quality", OF_ITS_RUNS, "run_id, rowid"},
    {"latency", OF_ITS_RUNS, "run_id, metric"},
    {"slo", OF_ITS_RUNS, "run_id, slo_class"},
    {"compare", OF_EXPERIMENT, "experiment, point, scheduler, router, kv_policy, metric"},
    {"pareto", OF_EXPERIMENT, "experiment, workload, point"},
    {"experiments", "name = ?1", "name"},
};

static void put_text(FILE *f, const char *s)
{
    if (!s[strcspn(s, "\",\r\n")]) {
        fputs(s, f);
        return;
    }
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"')
            fputc('"', f);
        fputc(*s, f);
    }
    fputc('"', f);
}

/* As few digits as read back the same number. */
static void put_real(FILE *f, double v)
{
    char text[32];
    int digits = 15;

    do
        snprintf(text, sizeof(text), "%.*g", digits, v);
    while ((strtod(text, NULL) < v || strtod(text, NULL) > v) && digits++ < 17);
    fputs(text, f);
}

static void put_value(FILE *f, sqlite3_stmt *stmt, int column)
{
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_NULL:
        break;
    case SQLITE_FLOAT:
        put_real(f, sqlite3_column_double(stmt, column));
        break;
    default:
        put_text(f, (const char *)sqlite3_column_text(stmt, column));
    }
}

static bool put_rows(FILE *f, sqlite3_stmt *stmt, struct err *e)
{
    int columns = sqlite3_column_count(stmt);
    bool row = false;

    for (int i = 0; i < columns; i++) {
        fputs(i ? "," : "", f);
        put_text(f, sqlite3_column_name(stmt, i));
    }
    fputc('\n', f);
    while (db_step(stmt, &row, e)) {
        if (!row)
            return true;
        for (int i = 0; i < columns; i++) {
            fputs(i ? "," : "", f);
            put_value(f, stmt, i);
        }
        fputc('\n', f);
    }
    return false;
}

static bool export_table(sqlite3 *db, size_t i, const char *experiment, const char *dir,
                         struct err *e)
{
    struct report_file file;
    char sql[256], name[32];
    sqlite3_stmt *stmt;
    bool there = false, ok = db_has(db, tables[i].name, &there, e);

    if (!ok || !there)
        return ok;
    snprintf(sql, sizeof(sql), "SELECT * FROM %s WHERE ?1 IS NULL OR %s ORDER BY %s",
             tables[i].name, tables[i].filter, tables[i].order);
    snprintf(name, sizeof(name), "%s.csv", tables[i].name);
    stmt = db_prepare(db, sql, e);
    if (!stmt)
        return false;
    ok = sqlite3_bind_text(stmt, 1, experiment, -1, SQLITE_STATIC) == SQLITE_OK || db_error(db, e);
    if (ok && (ok = report_file_open(&file, dir, name, e))) {
        ok = put_rows(file.f, stmt, e);
        ok = report_file_close(&file, ok, e);
    }
    sqlite3_finalize(stmt);
    return ok;
}

bool report_csv(sqlite3 *db, const char *experiment, const char *dir, struct err *e)
{
    if (!report_make_dir(dir, e))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        if (!export_table(db, i, experiment, dir, e))
            return false;
    return true;
}
