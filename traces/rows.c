/* rows.c: see rows.h. */
#include "traces/rows.h"

#include <string.h>

#define COLUMNS_MAX 1000u

/* Unquotes the cell that begins at the quote `p`, in place. Returns what follows its closing
 * quote; NULL if there is none. */
static char *unquote(char *p)
{
    char *to = p;

    for (char *from = p + 1; *from; from++) {
        if (*from == '"' && *++from != '"') {
            *to = '\0';
            return from;
        }
        *to++ = *from;
    }
    return NULL;
}

/* Splits `line` in place into at most `max` cells. */
static bool split(struct rows *r, char *line, size_t max, struct err *e)
{
    char *p = line;

    for (r->n_cells = 0;;) {
        bool quoted = *p == '"';
        char *end = quoted ? unquote(p) : strchrnul(p, ',');
        bool more;

        if (r->n_cells == max)
            return text_fail(&r->text, e,
                             "more than %zu cells; every row needs as many cells as "
                             "the header",
                             max);
        if (!end || (quoted && *end && *end != ',') ||
            (!quoted && memchr(p, '"', (size_t)(end - p))))
            return text_fail(&r->text, e,
                             "cell %zu: misplaced quote; quote whole cells, on one line, with \"\" "
                             "for a quote inside",
                             r->n_cells + 1);
        r->cell = mem_reserve(r->cell, &r->cell_cap, r->n_cells + 1, sizeof(*r->cell));
        r->cell[r->n_cells++] = p;
        more = *end != '\0';
        *end = '\0';
        if (!more)
            return true;
        p = end + 1;
    }
}

static bool read_header(struct rows *r, struct err *e)
{
    enum trace_status st;
    char *line;

    while ((st = text_line(&r->text, &line, e)) == TRACE_REC && (*line == '#' || *line == '\0'))
        if (*line == '#' && !r->comment)
            r->comment = mem_strdup(line + 1);
    if (st == TRACE_ERR)
        return false;
    if (st == TRACE_END)
        return text_fail(&r->text, e, "no header line; the first line names the columns");
    if (!split(r, line, COLUMNS_MAX, e))
        return false;
    r->column = mem_alloc(r->n_cells * sizeof(*r->column));
    for (size_t i = 0; i < r->n_cells; i++) {
        if (rows_find(r, r->cell[i]) != ROWS_NONE)
            return text_fail(&r->text, e, "column %s appears twice; name every column once",
                             text_quote(r->cell[i]).s);
        r->column[r->n_columns++] = mem_strdup(r->cell[i]);
    }
    return true;
}

static bool find_columns(struct rows *r, const char *const *names, size_t n_required, size_t n,
                         struct err *e)
{
    CHECK(n <= ROWS_NAMES_MAX, "rows: a reader's columns fit", "%zu names", n);
    for (size_t i = 0; i < n; i++) {
        r->at[i] = rows_find(r, names[i]);
        if (r->at[i] == ROWS_NONE && i < n_required)
            return text_fail(&r->text, e, "column %s is missing; the header must name it",
                             names[i]);
    }
    return true;
}

bool rows_open(struct rows *r, const char *path, const char *const *names, size_t n_required,
               size_t n, struct err *e)
{
    *r = (struct rows){0};
    if (!text_open(&r->text, path, e))
        return false;
    if (read_header(r, e) && find_columns(r, names, n_required, n, e))
        return true;
    rows_close(r);
    return false;
}

void rows_close(struct rows *r)
{
    for (size_t i = 0; i < r->n_columns; i++)
        mem_free(r->column[i]);
    mem_free(r->column);
    mem_free(r->comment);
    mem_free(r->cell);
    text_close(&r->text);
}

size_t rows_find(const struct rows *r, const char *column)
{
    for (size_t i = 0; i < r->n_columns; i++)
        if (strcmp(r->column[i], column) == 0)
            return i;
    return ROWS_NONE;
}

enum trace_status rows_next(struct rows *r, struct err *e)
{
    enum trace_status st;
    char *line;

    do {
        st = text_line(&r->text, &line, e);
        if (st != TRACE_REC)
            return st;
    } while (*line == '\0');
    if (!split(r, line, r->n_columns, e))
        return TRACE_ERR;
    if (r->n_cells == r->n_columns)
        return TRACE_REC;
    text_report(&r->text, e, "%zu cells where the header has %zu; every row needs as many",
                r->n_cells, r->n_columns);
    return TRACE_ERR;
}

/* Does the header line that begins at `line` name `column`? */
static bool header_has(const char *line, const char *column)
{
    size_t len = strlen(column);

    for (const char *p = line; *p && *p != '\n' && *p != '\r'; p += *p == ',') {
        size_t n = strcspn(p, ",\r\n");

        if (n == len && memcmp(p, column, n) == 0)
            return true;
        if (n == len + 2 && *p == '"' && memcmp(p + 1, column, len) == 0)
            return true;
        p += n;
    }
    return false;
}

int rows_detect(const char *head, const char *const *names, size_t n)
{
    size_t found = 0;

    if (strncmp(head, "\xef\xbb\xbf", 3) == 0)
        head += 3;
    while (*head == '#' || *head == '\n' || *head == '\r') {
        head += strcspn(head, "\n");
        head += *head == '\n';
    }
    for (size_t i = 0; i < n; i++)
        found += header_has(head, names[i]);
    return n == 0 || 2 * found < n ? 0 : (int)(100 * found / n);
}
