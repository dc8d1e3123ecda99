/* report.h: what people read of a results database: a table for the terminal, CSV of everything,
 * pictures, one HTML page, and timelines for Perfetto. All of it comes from the tables and views of
 * schema.sql, nothing is simulated here. */
#ifndef EXPERIMENTS_REPORT_H
#define EXPERIMENTS_REPORT_H

#include <stdio.h>

#include "sim/base.h"

struct sqlite3;
struct report_runs;

/* Table with one column a run, then where the numbers come from. `experiment` NULL: every run.
 * Fails when there is no such run. The database comes from db_open_read (experiments/db.h). */
bool report_table(struct sqlite3 *db, const char *experiment, FILE *out, struct err *e) NODISCARD;
bool report_table_run(struct sqlite3 *db, int64_t run_id, FILE *out, struct err *e) NODISCARD;

/* The second half of that table: model, cost model and its error, limits, quality, program; runs
 * that agree are told together. */
bool report_provenance(struct sqlite3 *db, const struct report_runs *runs, FILE *out,
                       struct err *e) NODISCARD;

/* Writes DIR/<table>.csv for every table and view (RFC 4180, header line, NULL is empty); makes
 * DIR. `experiment` not NULL: only rows of its runs. */
bool report_csv(struct sqlite3 *db, const char *experiment, const char *dir,
                struct err *e) NODISCARD;

/* DIR/<name>.png and .svg. */
struct report_pictures {
    char name[24][24];
    size_t n;
    size_t runs_drawn, runs; /* configurations: in the pictures; there are */
    bool no_gnuplot;         /* then n = 0 */
};

/* Writes data files under DIR/data and draws pictures from them with gnuplot and scripts/plot;
 * names them on `out`. Without gnuplot: says so on `out`, and that is no error. */
bool report_plots(struct sqlite3 *db, const char *experiment, const char *dir,
                  struct report_pictures *pictures, FILE *out, struct err *e) NODISCARD;

/* Writes DIR/report.html: claim, tables, the pictures (embedded), provenance. Needs nothing but
 * itself to be read. */
bool report_html(struct sqlite3 *db, const char *experiment, const char *dir,
                 const struct report_pictures *pictures, struct err *e) NODISCARD;

/* Writes DIR/trace-RUN.json, Chrome's trace format, for the first run of each configuration, as far
 * as they are drawn: steps as slices if they were stored, state as counters. Names them on `out`.
 */
bool report_traces(struct sqlite3 *db, const char *experiment, const char *dir, FILE *out,
                   struct err *e) NODISCARD;

#endif
