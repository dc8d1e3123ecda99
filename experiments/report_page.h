/* report_page.h: what the parts of report.html share. */
#ifndef EXPERIMENTS_REPORT_PAGE_H
#define EXPERIMENTS_REPORT_PAGE_H

#include <stdio.h>

#include "sim/base.h"

struct sqlite3;

/* The tables of the page, from `shown` (report_runs_show). One without rows is left out. */
bool page_results(struct sqlite3 *db, FILE *f, struct err *e) NODISCARD;
bool page_classes(struct sqlite3 *db, FILE *f, struct err *e) NODISCARD;
bool page_tenants(struct sqlite3 *db, FILE *f, struct err *e) NODISCARD;
bool page_quality(struct sqlite3 *db, FILE *f, struct err *e) NODISCARD;
bool page_runs(struct sqlite3 *db, FILE *f, struct err *e) NODISCARD;

#endif
