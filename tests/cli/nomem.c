/* nomem.c: a library to preload: the n-th allocation fails, and only that one. TANDEM_NOMEM=N
 * counts malloc, calloc and realloc from 1; the file TANDEM_NOMEM_MARK is made when it happens.
 * Needs the names that glibc has for those it replaces. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

/* Whether this call is the one. Allocates nothing. */
static int fails(void)
{
    static long calls;
    const char *n = getenv("TANDEM_NOMEM"), *path = getenv("TANDEM_NOMEM_MARK");
    if (!n || !path || ++calls != strtol(n, NULL, 10))
        return 0;
    int fd = open(path, O_CREAT | O_WRONLY, 0644);
    if (fd >= 0)
        close(fd);
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return fails() ? NULL : __libc_realloc(p, size);
}
