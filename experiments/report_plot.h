/* report_plot.h: what the parts of the pictures share: report_plot.c (curves over time and
 * distributions), report_points.c (figures per configuration), report_timeline.c (one run),
 * report_draw.c (gnuplot). Each writes data files into DIR/data, says in settings.gp what they
 * hold, and names the pictures that can be drawn from them. */
#ifndef EXPERIMENTS_REPORT_PLOT_H
#define EXPERIMENTS_REPORT_PLOT_H

#include <stdio.h>

#include "experiments/report.h"
#include "experiments/report_runs.h"

struct sqlite3;
struct sqlite3_stmt;

enum { MAX_CURVES = 12, PLOT_PATH = 4096 };

struct plots {
    struct sqlite3 *db;
    struct report_runs runs; /* the first of each configuration */
    bool several_seeds;
    const char *dir;
    char data[PLOT_PATH]; /* DIR/data */
    FILE *settings;
    struct report_pictures *pictures; /* to draw, then drawn */
};

/* NAME, or NAME_N if n > 0. */
void plot_add(struct plots *p, const char *name, size_t n);

/* In quotes, for gnuplot: what could end or break the line goes, so does what is not UTF-8, and the
 * middle of what is too long for a legend. */
void plot_put_quoted(FILE *f, const char *s, char quote);

/* Parameters ?1 and ?2. */
bool plot_bind(struct sqlite3_stmt *stmt, int64_t run_id, const char *text,
               struct err *e) NODISCARD;

/* Writes the rows (x, y) of a prepared and bound query as a block, and resets it; no rows, no
 * block. */
bool plot_put_block(FILE *f, struct sqlite3_stmt *stmt, const char *name, size_t *blocks,
                    struct err *e) NODISCARD;

bool plot_points(struct plots *p, struct err *e) NODISCARD;
bool plot_timelines(struct plots *p, struct err *e) NODISCARD;

/* Draws them all into DIR; names them on `out`. Without gnuplot: says so there, and draws none. */
bool plot_draw(struct plots *p, FILE *out, struct err *e) NODISCARD;

#endif
