/* base.h: units, errors, checks and memory: what every other file may rely on.
 *
 * Three kinds of trouble, kept apart (conventions.md, "Errors"):
 *   our fault       CHECK() fails: prints the invariant and both values, aborts. On in every build.
 *   the world       `bool` + `struct err *`: the first error wins, main prints it once, exit 2.
 *   out of memory   fatal inside mem_alloc: one line, exit 2.
 * Simulated memory pressure is none of these: it is a result.
 */
#ifndef SIM_BASE_H
#define SIM_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int64_t ns_t; /* nanoseconds: points are named *_at, lengths *_ns */

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)
#define NS_NEVER INT64_MAX

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof(*(a)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ---- errors of the world ---- */

struct err {
    bool set;
    char text[1024]; /* "WHERE: what is wrong; what to do", without a trailing newline */
};

/* Records the message unless one is recorded already. Always returns false, so that a fallible
 * function can end in `return err_set(err, ...)`. `e` may not be NULL. */
bool err_set(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- our own faults ---- */

/* Prints "tandem: BUG: file:line: <invariant>: <message>" to stderr and aborts. */
void bug(const char *file, int line, const char *invariant, const char *fmt, ...) PRINTF_LIKE(4, 5)
    __attribute__((noreturn, cold));

/* `inv` names the invariant (a string, usually one of sim/engine.h's numbered list); the rest is a
 * printf format that shows the values on both sides. */
#define CHECK(cond, inv, ...)                                                                      \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            bug(__FILE__, __LINE__, inv, __VA_ARGS__);                                             \
    } while (0)

/* ---- memory ---- */

void *mem_alloc(size_t bytes) NODISCARD;         /* zeroed; never NULL */
void *mem_grow(void *p, size_t bytes) NODISCARD; /* realloc that never fails; new part not zeroed */
void mem_free(void *p);                          /* NULL is fine */
char *mem_strdup(const char *s) NODISCARD;

/* Makes room for at least `need` elements of `elem` bytes in the array `p` of capacity `*cap`,
 * growing by doubling. Returns the (moved) array. */
void *mem_reserve(void *p, size_t *cap, size_t need, size_t elem) NODISCARD;

/* ---- arithmetic that says when it overflows ---- */

static inline uint32_t div_ceil_u32(uint32_t a, uint32_t b)
{
    return a / b + (a % b != 0);
}

static inline uint64_t div_ceil_u64(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* at + len, saturating at NS_NEVER (a clock at its end stays there). len >= 0. */
static inline ns_t ns_add(ns_t at, ns_t len)
{
    return len > NS_NEVER - at ? NS_NEVER : at + len;
}

/* A length of time computed as a double, rounded to nearest, halves up: llround of x >= 0, which is
 * no library call in a loop. x < 2^63. */
static inline ns_t ns_round(double x)
{
    ns_t whole = (ns_t)x;
    return whole + (x - (double)whole >= 0.5);
}

/* A length of time computed as a double >= 0, cut off; NS_NEVER when out of range. */
static inline ns_t ns_cut(double x)
{
    return x < 0x1p63 ? (ns_t)x : NS_NEVER;
}

/* Seconds to ns, rounded to nearest; NS_NEVER when out of range. */
ns_t ns_from_s(double s);

#endif
