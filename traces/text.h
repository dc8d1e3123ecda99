/* text.h: lines of a text file, plain or gzip, streamed; and strict parsers of the tokens in them.
 *
 * Every message names FILE:LINE, the column (or key) and what was found there. Nothing is guessed:
 * a token is a number from its first to its last character or it is an error. */
#ifndef TRACES_TEXT_H
#define TRACES_TEXT_H

#include <zlib.h>

#include "sim/trace.h"

#define TEXT_LINE_MAX ((size_t)16 << 20) /* bytes */
#define TEXT_HEAD_MAX 4096u              /* bytes a format is detected from */

/* Longest prompt or output a reader accepts: sums of four fit in 32 bits. */
#define TOKENS_MAX UINT32_C(1000000000)

struct text {
    char *path;       /* owned */
    const char *noun; /* of a field, in messages: "column" unless changed ("key") */
    gzFile file;      /* owned; zlib passes plain files through */
    char *buf;        /* owned; bytes [start, end) are not given yet */
    size_t start, end, cap;
    bool ended;       /* the file has no more bytes */
    char broken[128]; /* why it ended early; reported after the whole lines before that */
    uint64_t line;    /* number of the last line given, 1-based */
};

/* Only regular files. After false there is nothing to close. */
bool text_open(struct text *t, const char *path, struct err *e) NODISCARD;
void text_close(struct text *t);

/* The next line, without its line end (LF or CRLF), NUL-terminated; the caller may write to it; it
 * stays valid until the next call. TRACE_REC: a line. An empty file is an error. */
enum trace_status text_line(struct text *t, char **line, struct err *e) NODISCARD;

/* The file's first bytes, for detection. */
bool text_head(const char *path, char head[TEXT_HEAD_MAX + 1], struct err *e) NODISCARD;

/* Records "PATH:LINE: <message>". text_fail is the same as an expression that is false. */
void text_report(const struct text *t, struct err *e, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define text_fail(...) (text_report(__VA_ARGS__), false)

/* A token as messages show it: quoted, short, without unprintable bytes. */
struct text_quoted {
    char s[48];
};
struct text_quoted text_quote(const char *token);

/* A whole token as a finite number: "12", "-0.5", "5e-05"; no blanks, no hexadecimal, no words. */
bool parse_real(const char *token, double *out) NODISCARD;

/* ---- fields ---- */

/* Digits only, min..max. */
bool field_u32(const struct text *t, const char *name, const char *token, uint32_t min,
               uint32_t max, uint32_t *out, struct err *e) NODISCARD;
bool field_u64(const struct text *t, const char *name, const char *token, uint64_t min,
               uint64_t max, uint64_t *out, struct err *e) NODISCARD;
/* A number that is no time: digits, point, exponent; min..max. */
bool field_real(const struct text *t, const char *name, const char *token, double min, double max,
                double *out, struct err *e) NODISCARD;
/* A minus sign is allowed. */
bool field_i32(const struct text *t, const char *name, const char *token, int32_t *out,
               struct err *e) NODISCARD;

/* A decimal number ("12", "0.25", "5e-05"), never negative, in ns; exact in its decimal digits and
 * rounded half up after the last that counts. */
enum time_unit { TIME_MS = 6, TIME_S = 9 }; /* decimal places down to ns */
bool field_time(const struct text *t, const char *name, const char *token, enum time_unit unit,
                ns_t *out, struct err *e) NODISCARD;

#endif
