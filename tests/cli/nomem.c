/* nomem.c: a library to preload: the n-th allocation of main fails, and only that one.
 * TANDEM_NOMEM=N counts malloc, calloc and realloc from 1; the file TANDEM_NOMEM_MARK is made when
 * it happens. What is called before main, CUDA's registration of kernels for one, is not counted:
 * it is no code of ours, and does not look. Needs the names that glibc has for those it replaces.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

typedef int main_fn(int, char **, char **);
typedef int start_fn(main_fn *, int, char **, void (*)(void), void (*)(void), void (*)(void),
                     void *);

static main_fn *program;
static int in_main;

static int counted(int argc, char **argv, char **env)
{
    in_main = 1;
    return program(argc, argv, env);
}

start_fn __libc_start_main;

int __libc_start_main(main_fn *fn, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end)
{
    start_fn *start;
    *(void **)&start = dlsym(RTLD_NEXT, "__libc_start_main");
    program = fn;
    return start(counted, argc, argv, init, fini, rtld_fini, stack_end);
}

/* Whether this call is the one. Allocates nothing. */
static int fails(void)
{
    static long calls;
    if (!in_main)
        return 0;
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
