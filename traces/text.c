/* text.c: see text.h. The buffer holds at least the line being read; it grows for a longer one and
 * never with the file. */
#include "traces/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUF_START ((size_t)256 << 10)
#define PATH_SHOWN 240 /* last characters of a path that messages show */

void text_report(const struct text *t, struct err *e, const char *fmt, ...)
{
    char what[700];
    size_t len = strlen(t->path);
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    err_set(e, "%s%s:%" PRIu64 ": %s", len > PATH_SHOWN ? "..." : "",
            len > PATH_SHOWN ? t->path + len - PATH_SHOWN : t->path, t->line, what);
}

struct text_quoted text_quote(const char *token)
{
    struct text_quoted q;
    size_t n = 0;

    q.s[n++] = '"';
    for (; *token && n < sizeof(q.s) - 5; token++)
        q.s[n++] = *token >= ' ' && *token <= '~' ? *token : '?';
    for (unsigned i = 0; i < 3 && *token; i++)
        q.s[n++] = '.';
    q.s[n++] = '"';
    q.s[n] = '\0';
    return q;
}

/* ---- lines ---- */

bool text_open(struct text *t, const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0) {
        err_set(e, "%s: cannot be opened: %s; check the path and its permissions", path,
                strerror(errno));
        return false;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        err_set(e, "%s: is not a regular file; name a trace file", path);
        return false;
    }
    *t = (struct text){.path = mem_strdup(path), .noun = "column", .file = gzdopen(fd, "rb")};
    if (!t->file) {
        close(fd);
        mem_free(t->path);
        return err_set(e, "%s: no memory to read it; free memory and try again", path);
    }
    t->buf = mem_grow(NULL, BUF_START);
    t->cap = BUF_START;
    return true;
}

void text_close(struct text *t)
{
    gzclose(t->file);
    mem_free(t->buf);
    mem_free(t->path);
    *t = (struct text){0};
}

/* zlib's message, without the "<fd:3>: " it begins with where it knows no path. */
static const char *zlib_says(const char *message)
{
    const char *after = strncmp(message, "<fd:", 4) == 0 ? strstr(message, ": ") : NULL;

    return after ? after + 2 : message;
}

/* Reads more bytes behind those that are there. */
static void fill(struct text *t)
{
    const char *why;
    int n, code = Z_OK;

    if (t->start > 0) {
        memmove(t->buf, t->buf + t->start, t->end - t->start);
        t->end -= t->start;
        t->start = 0;
    }
    if (t->cap - t->end < BUF_START / 2) {
        t->cap *= 2;
        t->buf = mem_grow(t->buf, t->cap);
    }
    /* one byte is kept for the NUL behind a last line without a line end */
    n = gzread(t->file, t->buf + t->end, (unsigned)(t->cap - t->end - 1));
    why = gzerror(t->file, &code);
    if (n > 0)
        t->end += (size_t)n;
    t->ended = n <= 0;
    if (n < 0 || (n == 0 && code != Z_OK))
        snprintf(t->broken, sizeof(t->broken), "%s",
                 code == Z_ERRNO ? strerror(errno) : zlib_says(why));
}

/* The line [start, start + len); `next` is where the one after it starts. */
static enum trace_status give(struct text *t, size_t len, size_t next, char **line, struct err *e)
{
    char *s = t->buf + t->start, *nul;

    t->line++;
    t->start = next;
    if (len > TEXT_LINE_MAX) {
        text_report(t, e, "line longer than %zu bytes; this is not a trace", TEXT_LINE_MAX);
        return TRACE_ERR;
    }
    if (len > 0 && s[len - 1] == '\r')
        len--;
    s[len] = '\0';
    nul = memchr(s, '\0', len);
    if (nul) {
        text_report(t, e, "NUL byte at character %zu; this is not a text file",
                    (size_t)(nul - s) + 1);
        return TRACE_ERR;
    }
    if (t->line == 1 && strncmp(s, "\xef\xbb\xbf", 3) == 0)
        s += 3; /* the byte order mark some programs write */
    *line = s;
    return TRACE_REC;
}

enum trace_status text_line(struct text *t, char **line, struct err *e)
{
    size_t seen = 0; /* bytes from start on that hold no line end */

    for (;;) {
        char *from = t->buf + t->start;
        char *nl = memchr(from + seen, '\n', t->end - t->start - seen);

        if (nl)
            return give(t, (size_t)(nl - from), (size_t)(nl + 1 - t->buf), line, e);
        seen = t->end - t->start;
        if (seen > TEXT_LINE_MAX)
            return give(t, seen, t->end, line, e);
        if (t->ended)
            break;
        fill(t);
    }
    if (t->broken[0]) {
        t->line++;
        text_report(t, e, "cannot be read further: %s; fetch the file again", t->broken);
        return TRACE_ERR;
    }
    if (seen > 0)
        return give(t, seen, t->end, line, e);
    if (t->line > 0)
        return TRACE_END;
    t->line = 1;
    text_report(t, e, "the file is empty; name a trace file");
    return TRACE_ERR;
}

bool text_head(const char *path, char head[TEXT_HEAD_MAX + 1], struct err *e)
{
    struct text t;
    bool ok = true;

    if (!text_open(&t, path, e))
        return false;
    fill(&t);
    t.line = 1;
    if (t.end == 0)
        ok = t.broken[0] ? text_fail(&t, e, "cannot be read: %s; fetch the file again", t.broken)
                         : text_fail(&t, e, "the file is empty; name a trace file");
    t.end = MIN(t.end, TEXT_HEAD_MAX);
    memcpy(head, t.buf, t.end);
    head[t.end] = '\0';
    text_close(&t);
    return ok;
}

/* ---- fields ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool not_a_number(const struct text *t, const char *name, const char *token, struct err *e)
{
    return text_fail(t, e, "%s %s: %s is not a whole number; write digits only", t->noun, name,
                     text_quote(token).s);
}

bool field_u64(const struct text *t, const char *name, const char *token, uint64_t min,
               uint64_t max, uint64_t *out, struct err *e)
{
    uint64_t v = 0;
    bool fits = true;
    const char *p = token;

    for (; is_digit(*p); p++) {
        uint64_t d = (uint64_t)(*p - '0');

        fits = fits && v <= (UINT64_MAX - d) / 10;
        v = v * 10 + d;
    }
    if (p == token || *p)
        return not_a_number(t, name, token, e);
    if (!fits || v < min || v > max)
        return text_fail(t, e, "%s %s: %s is out of range; %" PRIu64 " to %" PRIu64 " is allowed",
                         t->noun, name, text_quote(token).s, min, max);
    *out = v;
    return true;
}

bool field_u32(const struct text *t, const char *name, const char *token, uint32_t min,
               uint32_t max, uint32_t *out, struct err *e)
{
    uint64_t v;

    if (!field_u64(t, name, token, min, max, &v, e))
        return false;
    *out = (uint32_t)v;
    return true;
}

bool field_i32(const struct text *t, const char *name, const char *token, int32_t *out,
               struct err *e)
{
    bool minus = token[0] == '-';
    uint64_t v;

    if (minus && !is_digit(token[1]))
        return not_a_number(t, name, token, e);
    if (!field_u64(t, name, token + minus, 0, INT32_MAX, &v, e))
        return false;
    *out = minus ? -(int32_t)v : (int32_t)v;
    return true;
}

bool parse_real(const char *token, double *out)
{
    char *end;

    if (token[0] == '\0' || token[strspn(token, "0123456789.eE+-")] != '\0')
        return false;
    *out = strtod(token, &end);
    return *end == '\0' && isfinite(*out);
}

bool field_real(const struct text *t, const char *name, const char *token, double min, double max,
                double *out, struct err *e)
{
    if (!parse_real(token, out))
        return text_fail(t, e, "%s %s: %s is not a number; write a decimal number", t->noun, name,
                         text_quote(token).s);
    if (*out < min || *out > max)
        return text_fail(t, e, "%s %s: %s is out of range; %g to %g is allowed", t->noun, name,
                         text_quote(token).s, min, max);
    return true;
}

/* A decimal number taken apart. */
struct decimal {
    const char *whole, *frac; /* digits before and after the point */
    size_t n_whole, n_frac;
    int64_t exponent;
};

static size_t count_digits(const char *s)
{
    size_t n = 0;

    while (is_digit(s[n]))
        n++;
    return n;
}

static bool decimal_parse(const char *s, struct decimal *d)
{
    *d = (struct decimal){.whole = s, .n_whole = count_digits(s)};
    s += d->n_whole;
    if (*s == '.') {
        d->frac = s + 1;
        d->n_frac = count_digits(d->frac);
        s = d->frac + d->n_frac;
    }
    if (d->n_whole + d->n_frac == 0)
        return false;
    if (*s == 'e' || *s == 'E') {
        bool minus = s[1] == '-';
        size_t n;

        s += 1 + (minus || s[1] == '+');
        n = count_digits(s);
        if (n == 0 || n > 4)
            return false;
        for (; n > 0; n--, s++)
            d->exponent = d->exponent * 10 + (*s - '0');
        if (minus)
            d->exponent = -d->exponent;
    }
    return *s == '\0';
}

static int64_t decimal_digit(const struct decimal *d, int64_t i)
{
    size_t at = (size_t)i;

    if (at < d->n_whole)
        return d->whole[at] - '0';
    return at - d->n_whole < d->n_frac ? d->frac[at - d->n_whole] - '0' : 0;
}

bool field_time(const struct text *t, const char *name, const char *token, enum time_unit unit,
                ns_t *out, struct err *e)
{
    const ns_t max = NS_NEVER - 1;
    struct decimal d;
    int64_t n; /* leading digits that stand for whole ns */
    ns_t v = 0;

    if (!decimal_parse(token, &d))
        return text_fail(t, e, "%s %s: %s is not a time in %s; write a decimal number >= 0",
                         t->noun, name, text_quote(token).s, unit == TIME_S ? "s" : "ms");
    n = (int64_t)d.n_whole + d.exponent + (int64_t)unit;
    for (int64_t i = 0; i < n; i++) {
        int64_t digit = decimal_digit(&d, i);

        if (v > (max - 1 - digit) / 10)
            return text_fail(t, e, "%s %s: %s is out of range; the clock ends after 292 years",
                             t->noun, name, text_quote(token).s);
        v = v * 10 + digit;
    }
    *out = v + (n >= 0 && decimal_digit(&d, n) >= 5);
    return true;
}
