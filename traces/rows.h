/* rows.h: rows of a CSV file with a header line (RFC 4180, except that a quoted cell ends on its
 * line). Blank lines are skipped; lines that begin with '#' before the header are comments. */
#ifndef TRACES_ROWS_H
#define TRACES_ROWS_H

#include "traces/text.h"

#define ROWS_NONE SIZE_MAX
#define ROWS_NAMES_MAX 32u

struct rows {
    struct text text;
    char *comment; /* owned: the first comment line without '#', NULL: none */
    char **column; /* owned: names, each once */
    size_t n_columns;
    char **cell; /* of the current row, n_columns of them, as text_line gives them */
    size_t n_cells, cell_cap;
    size_t at[ROWS_NAMES_MAX]; /* column of the reader's i-th name, ROWS_NONE: missing */
};

/* Opens the file, reads its header and finds the reader's columns, of which the first n_required
 * may not be missing; others are NULL in every row. After false there is nothing to close. */
bool rows_open(struct rows *r, const char *path, const char *const *names, size_t n_required,
               size_t n, struct err *e) NODISCARD;
void rows_close(struct rows *r);

/* Index of a column, ROWS_NONE where it is missing. */
size_t rows_find(const struct rows *r, const char *column);

/* TRACE_REC: there is a row, as wide as the header, for rows_cell. */
enum trace_status rows_next(struct rows *r, struct err *e) NODISCARD;

/* The current row's cell of the reader's i-th name; NULL where that column is missing. */
static inline char *rows_cell(const struct rows *r, size_t i)
{
    return r->at[i] == ROWS_NONE ? NULL : r->cell[r->at[i]];
}

/* For detect(): how many percent of `names` the header in `head` has; 0 if fewer than half. */
int rows_detect(const char *head, const char *const *names, size_t n);

#endif
