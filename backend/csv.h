/* csv.h: rows of a measured table: a CSV file with a header line, plain or gzip, cells without
 * quotes. Every message names FILE:LINE and the column. */
#ifndef BACKEND_CSV_H
#define BACKEND_CSV_H

#include <zlib.h>

#include "sim/arena.h"

#define CSV_COLUMNS_MAX 32u
#define CSV_LINE_MAX 4096u

struct csv {
    char *path;
    gzFile file;
    const char *const *column; /* the caller's */
    uint32_t at[CSV_COLUMNS_MAX];
    uint32_t n_columns, width; /* the caller's; the header's */
    uint64_t line;             /* of the current row, 1-based */
    char buf[CSV_LINE_MAX];
    char *cell[CSV_COLUMNS_MAX];
};

enum csv_status { CSV_ROW, CSV_END, CSV_ERR };

/* Whether FOLDER/NAME is there, or FOLDER/NAME.gz. */
bool csv_exists(const char *folder, const char *name);
/* Opens it and finds the columns, all of which must be there. After false there is nothing to
 * close. */
bool csv_open(struct csv *c, const char *folder, const char *name, const char *const *column,
              uint32_t n_columns, struct err *e) NODISCARD;
void csv_close(struct csv *c);
enum csv_status csv_next(struct csv *c, struct err *e) NODISCARD;

/* Of the current row, the caller's i-th column. A number must lie in min..max. */
const char *csv_text(const struct csv *c, uint32_t i);
bool csv_number(const struct csv *c, uint32_t i, double min, double max, double *out,
                struct err *e) NODISCARD;

/* Records "PATH:LINE: <message>"; always false. */
bool csv_fail(const struct csv *c, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);

#endif
