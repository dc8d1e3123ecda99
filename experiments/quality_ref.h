/* quality_ref.h: what a serving run under a lossy KV policy points to: figures of `tandem quality`
 * of the same policy and budget. */
#ifndef EXPERIMENTS_QUALITY_REF_H
#define EXPERIMENTS_QUALITY_REF_H

#include "experiments/config.h"

/* The database that key quality_ref names, and the figures found in it, as a line of text; empty
 * where the key is not set. A database without any is an error: it would point to nothing. */
bool quality_ref_find(const struct config *c, char *text, size_t size, struct err *e) NODISCARD;

#endif
