/* row_file.h: a text file written row by row, compressed if its name ends in ".gz". A file that is
 * there is replaced when the new one is whole; of one that fails nothing is kept. */
#ifndef TRACES_ROW_FILE_H
#define TRACES_ROW_FILE_H

#include <zlib.h>

#include "sim/base.h"

struct row_file {
    char *path, *part; /* owned: where it goes, and where it is until it is whole */
    gzFile file;       /* owned */
    char *row;         /* owned: the row so far */
    size_t len, cap;
};

/* After false there is nothing to close. */
bool row_file_open(struct row_file *f, const char *path, struct err *e) NODISCARD;
void row_add(struct row_file *f, const char *fmt, ...) PRINTF_LIKE(2, 3);
void row_time(struct row_file *f, ns_t t); /* seconds, as many decimals as they have */
bool row_end(struct row_file *f, struct err *e) NODISCARD;        /* ends the line */
bool row_file_close(struct row_file *f, struct err *e) NODISCARD; /* on failure too, all is gone */
void row_file_abandon(struct row_file *f);                        /* no file is left behind */

#endif
