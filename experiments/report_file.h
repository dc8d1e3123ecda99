/* report_file.h: the files of a report. */
#ifndef EXPERIMENTS_REPORT_FILE_H
#define EXPERIMENTS_REPORT_FILE_H

#include <stdio.h>

#include "sim/base.h"

struct report_file {
    FILE *f;
    char path[4096];
};

/* Makes the folder and those above it, as far as they are missing. */
bool report_make_dir(const char *dir, struct err *e) NODISCARD;

/* Writes DIR/NAME anew. Close in any case once opened; closing says whether everything arrived. */
bool report_file_open(struct report_file *file, const char *dir, const char *name,
                      struct err *e) NODISCARD;
bool report_file_close(struct report_file *file, struct err *e) NODISCARD;

#endif
