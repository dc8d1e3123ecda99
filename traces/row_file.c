/* row_file.c: see row_file.h. */
#include "traces/row_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROW_GUESS 64u

void row_add(struct row_file *f, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    f->row = mem_reserve(f->row, &f->cap, f->len + ROW_GUESS, 1);
    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(f->row + f->len, f->cap - f->len, fmt, ap);
    CHECK(n >= 0, "a cell can be printed", "%s", fmt);
    if ((size_t)n >= f->cap - f->len) {
        f->row = mem_reserve(f->row, &f->cap, f->len + (size_t)n + 1, 1);
        vsnprintf(f->row + f->len, (size_t)n + 1, fmt, again);
    }
    f->len += (size_t)n;
    va_end(again);
    va_end(ap);
}

void row_time(struct row_file *f, ns_t t)
{
    row_add(f, "%" PRId64 ".%09" PRId64, t / NS_PER_S, t % NS_PER_S);
    while (f->row[f->len - 1] == '0')
        f->len--;
    f->len -= f->row[f->len - 1] == '.';
}

static bool failed(const struct row_file *f, const char *what, struct err *e)
{
    return err_set(e, "%s: cannot be written: %s; nothing is kept", f->path, what);
}

bool row_end(struct row_file *f, struct err *e)
{
    size_t len;
    int code;

    row_add(f, "\n");
    len = f->len;
    f->len = 0;
    errno = 0;
    if (gzwrite(f->file, f->row, (unsigned)len) == (int)len)
        return true;
    return failed(f, errno != 0 ? strerror(errno) : gzerror(f->file, &code), e);
}

/* A device or pipe is written to as it is; a file is written beside and then put in its place. */
static char *part_path(const char *path)
{
    struct stat st;
    size_t size = strlen(path) + sizeof(".part");
    char *part = mem_alloc(size);
    bool is_file = stat(path, &st) != 0 || S_ISREG(st.st_mode);

    snprintf(part, size, "%s%s", path, is_file ? ".part" : "");
    return part;
}

static void release(struct row_file *f)
{
    mem_free(f->path);
    mem_free(f->part);
    mem_free(f->row);
    *f = (struct row_file){0};
}

bool row_file_open(struct row_file *f, const char *path, struct err *e)
{
    size_t len = strlen(path);
    bool compress = len > 3 && strcmp(path + len - 3, ".gz") == 0;
    int fd;

    *f = (struct row_file){.path = mem_strdup(path), .part = part_path(path)};
    fd = open(f->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        failed(f, strerror(errno), e);
        release(f);
        return false;
    }
    f->file = gzdopen(fd, compress ? "wb" : "wbT");
    if (!f->file) { /* no memory */
        close(fd);
        unlink(f->part);
        failed(f, "no memory to write it", e);
        release(f);
        return false;
    }
    return true;
}

static void drop_part(const struct row_file *f)
{
    if (strcmp(f->part, f->path) != 0)
        unlink(f->part);
}

bool row_file_close(struct row_file *f, struct err *e)
{
    bool ok;

    errno = 0;
    ok = gzclose(f->file) == Z_OK || failed(f, strerror(errno != 0 ? errno : EIO), e);
    if (ok && strcmp(f->part, f->path) != 0)
        ok = rename(f->part, f->path) == 0 || failed(f, strerror(errno), e);
    if (!ok)
        drop_part(f);
    release(f);
    return ok;
}

void row_file_abandon(struct row_file *f)
{
    gzclose(f->file);
    drop_part(f);
    release(f);
}
