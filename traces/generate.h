/* generate.h: the source behind a SPEC (spec.h). */
#ifndef TRACES_GENERATE_H
#define TRACES_GENERATE_H

#include "sim/trace.h"

/* Its `path` is a SPEC; never detected, and no format that a file may have. */
extern const struct trace_ops trace_generate;

#endif
