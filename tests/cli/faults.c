/* faults.c: a library to preload: the n-th call that writes to disk fails, as on a full or broken
 * disk. TANDEM_FAULT=KIND:N, of KIND write, sync, open, rename, close (a stream's: what it still
 * held is lost) counts calls from 1; the file TANDEM_FAULT_MARK is made when it happens. What goes
 * to stdout and stderr is never counted. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Those of the C library, which are replaced here. */
static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

static void mark(void)
{
    const char *path = getenv("TANDEM_FAULT_MARK");
    long fd = path ? syscall(SYS_openat, AT_FDCWD, path, O_CREAT | O_WRONLY, 0644) : -1;
    if (fd >= 0)
        syscall(SYS_close, fd);
}

/* Whether this call is the one. */
static int fails(const char *kind, int error)
{
    static long calls;
    const char *fault = getenv("TANDEM_FAULT");
    size_t n = strlen(kind);
    if (!fault || strncmp(fault, kind, n) != 0 || fault[n] != ':' ||
        ++calls != strtol(fault + n + 1, NULL, 10))
        return 0;
    mark();
    errno = error;
    return 1;
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (fd > STDERR_FILENO && fails("write", ENOSPC))
        return -1;
    return syscall(SYS_write, fd, data, size);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    if (fails("write", ENOSPC))
        return -1;
    return syscall(SYS_pwrite64, fd, data, size, at);
}

int fsync(int fd)
{
    return fails("sync", EIO) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return fails("sync", EIO) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
    va_end(args);
    if (flags & O_CREAT && fails("open", EMFILE))
        return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int rename(const char *from, const char *to)
{
    return fails("rename", EACCES) ? -1 : (int)syscall(SYS_rename, from, to);
}

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*next)(const char *, const char *);
    *(void **)&next = real("fopen");
    return mode[0] == 'w' && fails("open", EMFILE) ? NULL : next(path, mode);
}

int fclose(FILE *f)
{
    int (*next)(FILE *);
    *(void **)&next = real("fclose");
    int fd = fileno(f); /* < 0: memory */
    int lost = fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY && fails("close", ENOSPC);
    int error = errno, closed = next(f);
    if (lost)
        errno = error;
    return lost ? EOF : closed;
}
