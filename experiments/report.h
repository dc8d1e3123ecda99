/* report.h: what people read of a results database: a table for the terminal, CSV of everything,
 * pictures. All of it comes from the tables and views of schema.sql, nothing is simulated here. */
#ifndef EXPERIMENTS_REPORT_H
#define EXPERIMENTS_REPORT_H

#include <stdio.h>

#include "sim/base.h"

struct sqlite3;

/* Table with one column a run, then where the numbers come from. `experiment` NULL: every run.
 * Fails when there is no such run. The database comes from db_open_read (experiments/db.h). */
bool report_table(struct sqlite3 *db, const char *experiment, FILE *out, struct err *e) NODISCARD;
bool report_table_run(struct sqlite3 *db, int64_t run_id, FILE *out, struct err *e) NODISCARD;

/* Writes DIR/<table>.csv for every table and view (RFC 4180, header line, NULL is empty); makes
 * DIR. `experiment` not NULL: only rows of its runs. */
bool report_csv(struct sqlite3 *db, const char *experiment, const char *dir,
                struct err *e) NODISCARD;

/* Writes data files under DIR/data and draws DIR/<picture>.png and .svg from them with gnuplot and
 * scripts/plot; names them on `out`. Without gnuplot: says so on `out`, and that is no error. */
bool report_plots(struct sqlite3 *db, const char *experiment, const char *dir, FILE *out,
                  struct err *e) NODISCARD;

#endif
