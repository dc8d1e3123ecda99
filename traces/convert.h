/* convert.h: any trace, as trace_open gives it, written as a file in our own format. */
#ifndef TRACES_CONVERT_H
#define TRACES_CONVERT_H

#include "sim/trace.h"

struct converted {
    uint64_t rows;
    uint64_t failed; /* failed when they were recorded: left out of our own format */
    uint64_t unsaid; /* rows whose output goes on in a shared stream; the file cannot say so */
};

/* Reads `from` (a file of `format`, NULL: detected; or a SPEC) two or three times: memory grows
 * with the records that follow others elsewhere in the trace, if any, not with its length. In the
 * file, those that follow come directly behind the timed row that their chain begins with. */
bool trace_convert(const char *from, const char *format, const struct trace_env *env,
                   const char *to, struct converted *out, struct err *e) NODISCARD;

#endif
