/* base.c: errors, checks and memory. The only file of the library that may end the process: in
 * bug() for our own faults, in out_of_memory() when the machine has no more to give. */
#include "sim/base.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool err_set(struct err *e, const char *fmt, ...)
{
    if (e->set)
        return false;
    e->set = true;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    return false;
}

void bug(const char *file, int line, const char *invariant, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    fprintf(stderr, "tandem: BUG: %s:%d: %s: %s\n", file, line, invariant, text);
    abort();
}

/* _exit, not exit: a handler that ran now would need memory, and what was committed is on disk. */
static void __attribute__((noreturn, cold)) out_of_memory(size_t bytes)
{
    fprintf(stderr,
            "tandem: out of memory: %zu bytes refused; free memory, or lower the load or "
            "max_request_rows\n",
            bytes);
    _exit(2);
}

void *mem_alloc(size_t bytes)
{
    void *p = calloc(1, bytes > 0 ? bytes : 1);
    if (p == NULL)
        out_of_memory(bytes);
    return p;
}

void *mem_grow(void *p, size_t bytes)
{
    void *q = realloc(p, bytes > 0 ? bytes : 1);
    if (q == NULL)
        out_of_memory(bytes);
    return q;
}

void mem_free(void *p)
{
    free(p);
}

char *mem_strdup(const char *s)
{
    size_t bytes = strlen(s) + 1;
    char *copy = mem_alloc(bytes);
    memcpy(copy, s, bytes);
    return copy;
}

void *mem_reserve(void *p, size_t *cap, size_t need, size_t elem)
{
    if (need <= *cap)
        return p;
    size_t doubled = *cap > SIZE_MAX / 2 ? SIZE_MAX : *cap * 2;
    size_t new_cap = MAX(MAX(doubled, need), 8);
    size_t bytes;
    if (__builtin_mul_overflow(new_cap, elem, &bytes))
        out_of_memory(SIZE_MAX);
    *cap = new_cap;
    return mem_grow(p, bytes);
}

ns_t ns_from_s(double s)
{
    double ns = s * (double)NS_PER_S;
    /* 2^63 is the first double that llround cannot give; a NaN fails the comparison too. */
    if (!(fabs(ns) < 0x1p63))
        return NS_NEVER;
    return llround(ns);
}
