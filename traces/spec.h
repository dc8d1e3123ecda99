/* spec.h: SPEC = "generate:NAME,key=value,...": what stands for a trace that is made up. A file in
 * it (empirical:FILE, calls=FILE) may not have a comma or colon in its name. */
#ifndef TRACES_SPEC_H
#define TRACES_SPEC_H

#include "sim/params.h"

#define SPEC_OWNER "generate"
#define SPEC_PREFIX SPEC_OWNER ":"

struct generator {
    const char *name, *doc, *source;
    const char *keys; /* those of spec_params that not every generator has, "a|b" */
};

/* The keys of all of them; values lie in a table of parameters with owner SPEC_OWNER. */
extern const struct param_desc spec_params[];

const struct generator *generator_at(size_t i); /* NULL past the end */
bool generator_has(const struct generator *g, const char *key);

bool spec_is(const char *trace);

/* Fills `p` with what the SPEC sets, checked; NULL and the message if something is wrong. */
const struct generator *spec_parse(const char *spec, struct params *p, struct err *e);

/* The next file named at or after *at, `len` bytes; moves *at behind it. NULL: no more. */
const char *spec_file(const char **at, size_t *len);

#endif
