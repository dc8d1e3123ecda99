/* report_format.h: how the tables of a report write numbers. */
#ifndef EXPERIMENTS_REPORT_FORMAT_H
#define EXPERIMENTS_REPORT_FORMAT_H

enum { CELL_BYTES = 32 };

enum format { HEADING, COUNT, MS, RATE, SHARE, PLAIN };

/* NaN: "-". SHARE takes 0..1 and shows percent. */
void report_format(char cell[CELL_BYTES], enum format format, double v);

#endif
