#include "backend/csv.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool csv_fail(const struct csv *c, struct err *e, const char *fmt, ...)
{
    char what[600];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    return err_set(e, "%s:%llu: %s", c->path, (unsigned long long)c->line, what);
}

/* ---- files ---- */

/* FOLDER/NAME, or with .gz behind it where that is the one that is there. The caller's. */
static char *path_of(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + sizeof("/.gz");
    char *path = mem_alloc(size);
    struct stat st;

    snprintf(path, size, "%s/%s.gz", folder, name);
    if (stat(path, &st) != 0)
        path[strlen(path) - strlen(".gz")] = '\0';
    return path;
}

bool csv_exists(const char *folder, const char *name)
{
    struct stat st;
    char *path = path_of(folder, name);
    bool found = stat(path, &st) == 0;

    mem_free(path);
    return found;
}

/* The next line without its end; CSV_END at the end. */
static enum csv_status read_line(struct csv *c, struct err *e)
{
    int code;
    size_t n;

    c->line++;
    if (!gzgets(c->file, c->buf, (int)sizeof(c->buf))) {
        const char *why = gzerror(c->file, &code);

        if (code != Z_OK && code != Z_STREAM_END) {
            csv_fail(c, e, "cannot be read: %s; fetch the file again",
                     code == Z_ERRNO ? strerror(errno) : why);
            return CSV_ERR;
        }
        return CSV_END;
    }
    n = strlen(c->buf);
    if (n + 1 == sizeof(c->buf)) {
        csv_fail(c, e, "the line is longer than %u bytes; this is not a table", CSV_LINE_MAX - 2);
        return CSV_ERR;
    }
    c->buf[strcspn(c->buf, "\r\n")] = '\0';
    return CSV_ROW;
}

/* Cuts the line into cells; more than there is room for are counted only. */
static uint32_t split(struct csv *c)
{
    char *rest = c->buf;
    uint32_t n = 0;

    for (; rest; n++) {
        char *cell = strsep(&rest, ",");

        if (n < CSV_COLUMNS_MAX)
            c->cell[n] = cell;
    }
    return n;
}

static bool find_columns(struct csv *c, struct err *e)
{
    for (uint32_t i = 0; i < c->n_columns; i++) {
        uint32_t j = 0;

        while (j < c->width && strcmp(c->cell[j], c->column[i]) != 0)
            j++;
        if (j == c->width)
            return csv_fail(c, e, "column %s is missing; the header must name it", c->column[i]);
        c->at[i] = j;
    }
    return true;
}

static bool read_header(struct csv *c, struct err *e)
{
    enum csv_status st = read_line(c, e);

    if (st == CSV_END)
        csv_fail(c, e, "the file is empty; it needs a header line");
    if (st != CSV_ROW)
        return false;
    c->width = split(c);
    if (c->width > CSV_COLUMNS_MAX)
        return csv_fail(c, e, "%u columns; at most %u are read", c->width, CSV_COLUMNS_MAX);
    return find_columns(c, e);
}

bool csv_open(struct csv *c, const char *folder, const char *name, const char *const *column,
              uint32_t n_columns, struct err *e)
{
    CHECK(n_columns <= CSV_COLUMNS_MAX, "a reader's columns fit", "%u", n_columns);
    *c = (struct csv){.path = path_of(folder, name), .column = column, .n_columns = n_columns};
    c->file = gzopen(c->path, "rb");
    if (!c->file)
        err_set(e, "%s: cannot be opened: %s; the profile needs this file", c->path,
                strerror(errno));
    else if (read_header(c, e))
        return true;
    csv_close(c);
    return false;
}

void csv_close(struct csv *c)
{
    if (c->file)
        gzclose(c->file);
    mem_free(c->path);
    *c = (struct csv){0};
}

/* ---- rows ---- */

enum csv_status csv_next(struct csv *c, struct err *e)
{
    enum csv_status st;
    uint32_t n;

    do
        st = read_line(c, e);
    while (st == CSV_ROW && c->buf[0] == '\0');
    if (st != CSV_ROW)
        return st;
    n = split(c);
    if (n == c->width)
        return CSV_ROW;
    csv_fail(c, e, "%u cells where the header has %u; complete the row", n, c->width);
    return CSV_ERR;
}

const char *csv_text(const struct csv *c, uint32_t i)
{
    return c->cell[c->at[i]];
}

bool csv_number(const struct csv *c, uint32_t i, double min, double max, double *out, struct err *e)
{
    const char *text = csv_text(c, i);
    char *end;

    *out = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(*out))
        return csv_fail(c, e, "column %s: \"%.40s\" is not a number; correct it", c->column[i],
                        text);
    if (*out < min || *out > max)
        return csv_fail(c, e, "column %s: %g is out of range; %g to %g is allowed", c->column[i],
                        *out, min, max);
    return true;
}
