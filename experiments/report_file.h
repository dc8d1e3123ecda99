/* report_file.h: the files of a report. What must hold: a file has its name only once it is whole;
 * until then, and after a failure, the name is that of an earlier report's file, or of none. */
#ifndef EXPERIMENTS_REPORT_FILE_H
#define EXPERIMENTS_REPORT_FILE_H

#include <stdio.h>

#include "sim/base.h"

struct report_file {
    FILE *f;
    char path[4096], unfinished[4096 + 16]; /* unfinished: where it is written */
};

/* Makes the folder and those above it, as far as they are missing. */
bool report_make_dir(const char *dir, struct err *e) NODISCARD;

/* Writes DIR/NAME anew. Close in any case once opened. */
bool report_file_open(struct report_file *file, const char *dir, const char *name,
                      struct err *e) NODISCARD;

/* Gives the file its name if it is complete and everything arrived, else removes it; returns
 * which. */
bool report_file_close(struct report_file *file, bool complete, struct err *e) NODISCARD;

#endif
